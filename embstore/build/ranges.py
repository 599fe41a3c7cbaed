"""Encode one range of item ids of a job: the unit of work of a build, in this process or in a worker of a cluster.

Nothing is committed here: the vectors go to writers, and what becomes of their files is decided by who runs the task.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base.text import Passage
from embstore.build.job import Group, Options, encode_windows, item_passages
from embstore.build.report import work_of
from embstore.encode import Encoded, Encoder, Skipped, Tokenizer
from embstore.storage.files.card import Card
from embstore.storage.staging.missing import Window
from embstore.storage.staging.staging import Ids
from embstore.storage.writer import SpaceWriter


class Lengths(NamedTuple):
    """The numbers of tokens of items that got vectors.

    Attributes:
        ids: Item ids, int64 (n,).
        n_tokens: Number of tokens of each item itself, int64 (n,).
        is_new: bool (spaces, n); whether the vector of the item is new in a space.
    """

    ids: Ids
    n_tokens: NDArray[np.int64]
    is_new: NDArray[np.bool_]

    @classmethod
    def joined(cls, parts: "Sequence[Lengths]") -> "Lengths":
        """Return one or more parts as one, with the items in their order."""
        return cls(*(np.concatenate(arrays, axis=-1) for arrays in zip(*parts, strict=True)))


class Step(NamedTuple):
    """What became of some items of a range.

    Attributes:
        work: Their work, the sum of :func:`work_of`.
        skipped: Skipped or truncated item; None if the step is of vectors.
        spaces: Names of the spaces that are missing that item.
        lengths: Numbers of tokens of the items with vectors; None if there are none.
    """

    n: int
    work: float
    n_tokens: int = 0
    n_forward_passes: int = 0
    skipped: Skipped | None = None
    spaces: tuple[str, ...] = ()
    lengths: Lengths | None = None


@dataclass(frozen=True)
class RangeTask:
    """A range of item ids of a job, whose vectors become one shard of each space.

    It can be sent to another process if ``windows`` is a sequence.

    Attributes:
        number: Number of the range in its group, from 0.
        windows: Items of the range, window by window; read once.
    """

    number: int
    cards: tuple[Card, ...]
    options: Options
    windows: Iterable[Window]

    @property
    def n_items(self) -> int:
        """Number of items, if ``windows`` is a sequence."""
        return sum(len(window.ids) for window in self.windows)

    def halves(self) -> "tuple[RangeTask, RangeTask]":
        """Return two tasks with about half of the items each, in order, if ``windows`` is a sequence."""
        left: list[Window] = []
        right: list[Window] = []
        n_left = self.n_items // 2
        for window in self.windows:
            cut = min(len(window.ids), max(0, n_left))
            n_left -= cut
            left += [window.part(slice(0, cut))] if cut else []
            right += [window.part(slice(cut, None))] if cut < len(window.ids) else []
        return replace(self, windows=tuple(left)), replace(self, windows=tuple(right))

    def embedded(self, steps: Iterable[Step]) -> list[Ids]:
        """Return the ids of the items that got a vector in each space, given what became of the items."""
        skipped = {step.skipped.item_id for step in steps if step.skipped and step.skipped.outcome == "skipped"}
        excluded = np.fromiter(skipped, np.int64, len(skipped))
        ids = np.concatenate([window.ids for window in self.windows])
        is_missing = np.concatenate([window.is_missing for window in self.windows], axis=1)
        return [ids[missing & ~np.isin(ids, excluded)] for missing in is_missing]


def encode_ranges(
    tasks: Iterable[RangeTask], encoder: Encoder, writers: Sequence[SpaceWriter[Any]], *, steady: bool = False
) -> Iterator[Step]:
    """Encode the ranges of a group of spaces and give their vectors to writers, which write a shard of each range.

    A range is written while the next one is encoded, and the model does not wait between them. When all are encoded,
    the writers still have to write the last one.
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
            is_missing, n, work = windows.done(result.item_ids)
            for card, keep, writer in zip(cards, is_missing, writers, strict=True):  # each gets what its space lacks
                ids, vectors = result.item_ids, result.vectors[card.pooling]
                writer.add(*((ids, vectors) if keep.all() else (ids[keep], vectors[:, keep])))
            lengths = Lengths(result.item_ids, result.item_lengths, is_missing)
            yield Step(n, work, result.n_tokens, 1, lengths=lengths)
        else:
            is_missing, n, work = windows.done(np.array([result.item_id]), finished=result.outcome == "skipped")
            spaces = tuple(card.space for card, missing in zip(cards, is_missing, strict=True) if missing)
            yield Step(n, work, skipped=result, spaces=spaces)


def range_tasks(group: Group, options: Options) -> Iterator[RangeTask]:
    """Yield the ranges of a group of spaces; the windows of each are read from the staged texts as it is encoded."""
    for number, windows in groupby(group.work.windows(), key=lambda window: window.shard_number):
        yield RangeTask(number, group.cards, options, windows)


@dataclass(slots=True, eq=False)
class _OpenWindow:
    """A window with items that are not encoded yet.

    Attributes:
        ids: Item ids (n,), ascending.
        is_missing: bool (spaces, n); whether a space is missing the item.
        work: float64 (n,), the work of each item.
        n_left: Number of items that are not encoded yet.
    """

    range_number: int
    ids: Ids
    is_missing: NDArray[np.bool_]
    work: NDArray[np.float64]
    n_left: int


class _Windows:
    """Gives windows of passages to the encoder, and tracks which items and ranges are finished."""

    def __init__(self, tasks: Iterable[RangeTask]) -> None:
        self._tasks = tasks
        self._open: list[_OpenWindow] = []
        self._unfinished: list[int] = []  # numbers of ranges; the last one may still get windows
        self._all_read = False

    def passages(self, tokenizer: Tokenizer, options: Options) -> Iterator[Iterator[Passage]]:
        """Yield the passages of each window, for the encoder to read."""
        for task in self._tasks:
            for window in task.windows:
                if task.number not in self._unfinished:
                    self._unfinished.append(task.number)
                items = window.items()
                order = np.argsort(window.ids)
                work = np.array(work_of(items), dtype=np.float64)[order]
                ids, is_missing = window.ids[order], window.is_missing[:, order]
                self._open.append(_OpenWindow(task.number, ids, is_missing, work, len(ids)))
                yield item_passages(items, tokenizer, options)
        self._all_read = True

    def completes(self) -> bool:
        """Return whether the oldest unfinished range has all its items encoded; if so, go on to the next range."""
        self._open = [window for window in self._open if window.n_left]
        read = self._unfinished if self._all_read else self._unfinished[:-1]
        if not read or any(window.range_number == read[0] for window in self._open):
            return False
        self._unfinished.remove(read[0])
        return True

    def done(self, ids: Ids, *, finished: bool = True) -> tuple[NDArray[np.bool_], int, float]:
        """Record that items of one window came back; those of a truncated text are not finished: vectors follow.

        Return whether each space is missing them, bool (spaces, n), and the number and the work of those finished.
        """
        for window in self._open:
            positions = np.minimum(np.searchsorted(window.ids, ids), len(window.ids) - 1)
            if len(ids) and window.ids[positions[0]] == ids[0]:
                is_missing = window.is_missing[:, positions]
                if not finished:
                    return is_missing, 0, 0.0
                window.n_left -= len(ids)
                return is_missing, len(ids), float(window.work[positions].sum())
        raise AssertionError(f"the model returned items of no window: {ids[:3]}")
