"""Encode one range of item ids of a job: the unit of work of a build, in this process or in a worker of a cluster.

Nothing is committed here: the vectors go to writers, and what becomes of their files is decided by who runs the task.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.build.job import Group, Options, encode_windows, item_passages
from embstore.build.report import work_of
from embstore.encode import Encoded, Encoder, Skipped, Tokenizer
from embstore.errors import ClusterError
from embstore.storage.files.card import Card
from embstore.storage.staging.missing import Window
from embstore.storage.staging.staging import Ids
from embstore.storage.writer import SpaceWriter
from embstore.text import Passage

N_TRIES = 3
"""Number of workers that may die over a range."""


class Step(NamedTuple):
    """What became of some items of a range.

    Attributes:
        n: Number of items that are finished.
        work: Their work, the sum of :func:`work_of`.
        n_tokens: Number of tokens that the model read for them.
        n_forward_passes: Number of forward passes.
        skipped: Skipped or truncated item; None if the step is of vectors.
        spaces: Names of the spaces that are missing that item.
    """

    n: int
    work: float
    n_tokens: int = 0
    n_forward_passes: int = 0
    skipped: Skipped | None = None
    spaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class RangeTask:
    """A range of item ids of a job, whose vectors become one shard of each space.

    It can be sent to another process if ``windows`` is a sequence.

    Attributes:
        number: Number of the range in its group, from 0.
        cards: Cards of the spaces, which share their forward passes.
        options: Options of the build.
        windows: Items of the range, window by window; read once.
    """

    number: int
    cards: tuple[Card, ...]
    options: Options
    windows: Iterable[Window]

    def encode(self, encoder: Encoder, writers: Sequence[SpaceWriter[Any]]) -> Iterator[Step]:
        """Encode the items and give their vectors to the writers, which then begin to write them as shards.

        Args:
            encoder: Encoder of the checkpoint.
            writers: Writer of each space, in the order of the cards.

        Yields:
            Each batch of vectors, and each skipped or truncated item.
        """
        reading = _Windows(self.windows)
        passages = reading.passages(encoder.tokenizer, self.options)
        for result in encode_windows(encoder, passages, self.cards, self.options):
            if isinstance(result, Encoded):
                done = reading.done(result.item_ids)
                self._add(result, done.is_missing, writers)
                yield Step(done.n, done.work, result.n_tokens, 1)
            else:
                done = reading.done(np.array([result.item_id]), finished=result.outcome == "skipped")
                pairs = zip(self.cards, done.is_missing, strict=True)
                yield Step(
                    done.n, done.work, skipped=result,
                    spaces=tuple(card.space for card, is_missing in pairs if is_missing),
                )  # fmt: skip
        for writer in writers:
            writer.cut()

    def embedded(self, steps: Iterable[Step]) -> list[Ids]:
        """Return the ids of the items that got a vector in each space, given what became of the items."""
        skipped = {step.skipped.item_id for step in steps if step.skipped and step.skipped.outcome == "skipped"}
        excluded = np.fromiter(skipped, np.int64, len(skipped))
        ids = np.concatenate([window.ids for window in self.windows])
        is_missing = np.concatenate([window.is_missing for window in self.windows], axis=1)
        return [ids[missing & ~np.isin(ids, excluded)] for missing in is_missing]

    def _add(self, result: Encoded, is_missing: NDArray[np.bool_], writers: Sequence[SpaceWriter[Any]]) -> None:
        """Add a batch of vectors to the writers, each getting the items missing in its space only."""
        for card, keep, writer in zip(self.cards, is_missing, writers, strict=True):
            ids, vectors = result.item_ids, result.vectors[card.pooling]
            if not keep.all():
                ids, vectors = ids[keep], vectors[:, keep]
            writer.add(ids, vectors)


class LostRangesError(ClusterError):
    """Workers died again and again over some ranges.

    Attributes:
        tasks: Tasks of these ranges.
    """

    def __init__(self, tasks: Iterable[RangeTask]) -> None:
        self.tasks = list(tasks)
        super().__init__(f"{len(self.tasks)} ranges of texts cannot be encoded.")


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

    ids: Ids
    is_missing: NDArray[np.bool_]
    work: NDArray[np.float64]
    n_left: int = field(init=False)

    def __post_init__(self) -> None:
        self.n_left = len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class _Done:
    """Items of one window that came back from the encoder.

    Attributes:
        is_missing: bool (spaces, n); whether a space is missing the item.
        n: Number of items that are finished.
        work: Work of the finished items.
    """

    is_missing: NDArray[np.bool_]
    n: int
    work: float


class _Windows:
    """Gives windows of passages to the encoder, and finds the items that come back.

    Args:
        windows: Windows of items.
    """

    def __init__(self, windows: Iterable[Window]) -> None:
        self._windows = windows
        self._open: list[_OpenWindow] = []

    def passages(self, tokenizer: Tokenizer, options: Options) -> Iterator[Iterator[Passage]]:
        """Yield the passages of each window, for the encoder to read."""
        for window in self._windows:
            self._open = [*(other for other in self._open if other.n_left), _opened(window)]
            yield item_passages(window.items, tokenizer, options)

    def done(self, ids: Ids, *, finished: bool = True) -> _Done:
        """Record that items of one window came back from the encoder.

        Args:
            ids: Item ids, all from the same window.
            finished: Whether the items are finished; False for a truncated item, whose vector is still to come.
        """
        for window in self._open:
            positions = np.minimum(np.searchsorted(window.ids, ids), len(window.ids) - 1)
            if len(ids) and window.ids[positions[0]] == ids[0]:
                if not finished:
                    return _Done(window.is_missing[:, positions], 0, 0.0)
                window.n_left -= len(ids)
                return _Done(window.is_missing[:, positions], len(ids), float(window.work[positions].sum()))
        raise AssertionError(f"the model returned items of no window: {ids[:3]}")


def _opened(window: Window) -> _OpenWindow:
    """Return a window with its items sorted by id, none of them finished."""
    order = np.argsort(window.ids)
    work = np.array(work_of(window.items), dtype=np.float64)
    return _OpenWindow(window.ids[order], window.is_missing[:, order], work[order])
