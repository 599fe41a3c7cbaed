"""Track the windows of items that are being encoded, to know which items and shards are finished."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embstore.build.job import Group, Job
from embstore.build.report import work_of
from embstore.storage.staging.missing import Window
from embstore.storage.staging.staging import Ids
from embstore.text import Passage


@dataclass(slots=True, eq=False)
class _OpenWindow:
    """A window with items that are not encoded yet.

    Attributes:
        shard_number: Number of the shard that its items are written to, from 0.
        ids: Item ids (n,), ascending.
        is_missing: bool (spaces, n); whether a space is missing the item.
        work: float64 (n,), the work of each item.
        n_left: Number of items that are not encoded yet.
    """

    shard_number: int
    ids: Ids
    is_missing: NDArray[np.bool_]
    work: NDArray[np.float64]
    n_left: int = field(init=False)

    def __post_init__(self) -> None:
        self.n_left = len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """Items of one window that came back from the encoder.

    Attributes:
        is_missing: bool (spaces, n); whether a space is missing the item.
        n: Number of items that are finished.
        work: Work of the finished items.
    """

    is_missing: NDArray[np.bool_]
    n: int
    work: float


class Windows:
    """Gives windows of passages to the encoder, and tracks which items and shards are finished.

    Args:
        job: Job of the checkpoint.
        group: Spaces that are encoded together.
    """

    def __init__(self, job: Job, group: Group) -> None:
        self._job, self._windows = job, group.work.windows()
        self._open: list[_OpenWindow] = []
        self._unfinished: list[int] = []  # numbers of shards; the last one may still get windows
        self._all_read = False

    def passages(self) -> Iterator[Iterator[Passage]]:
        """Yield the passages of each window, for the encoder to read."""
        for window in self._windows:
            if window.shard_number not in self._unfinished:
                self._unfinished.append(window.shard_number)
            self._open.append(_opened(window))
            yield self._job.passages(window.items)
        self._all_read = True

    def done(self, ids: Ids, *, finished: bool = True) -> Done:
        """Record that items of one window came back from the encoder.

        Args:
            ids: Item ids, all from the same window.
            finished: Whether the items are finished; False for a truncated item, whose vector is still to come.
        """
        for window in self._open:
            positions = np.minimum(np.searchsorted(window.ids, ids), len(window.ids) - 1)
            if len(ids) and window.ids[positions[0]] == ids[0]:
                if not finished:
                    return Done(window.is_missing[:, positions], 0, 0.0)
                window.n_left -= len(ids)
                return Done(window.is_missing[:, positions], len(ids), float(window.work[positions].sum()))
        raise AssertionError(f"the model returned items of no window: {ids[:3]}")

    def completes(self) -> bool:
        """Return whether the oldest unfinished shard has all its items encoded; if so, go on to the next shard."""
        self._open = [window for window in self._open if window.n_left]
        read_shards = self._unfinished if self._all_read else self._unfinished[:-1]
        if not read_shards or any(window.shard_number == read_shards[0] for window in self._open):
            return False
        self._unfinished.remove(read_shards[0])
        return True


def _opened(window: Window) -> _OpenWindow:
    """Return a window with its items sorted by id, none of them finished."""
    order = np.argsort(window.ids)
    work = np.array(work_of(window.items), dtype=np.float64)
    return _OpenWindow(window.shard_number, window.ids[order], window.is_missing[:, order], work[order])
