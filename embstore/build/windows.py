"""The windows of items that are in the model or on their way to it."""

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
class _Open:
    """A window of which some items are not done.

    Attributes:
        part: the number of its shard.
        ids: its items, ascending.
        lacks: bool (spaces, n), in their order.
        work: float64 (n,), in their order.
        n_left: items that are not done.
    """

    part: int
    ids: Ids
    lacks: NDArray[np.bool_]
    work: NDArray[np.float64]
    n_left: int = field(init=False)

    def __post_init__(self) -> None:
        self.n_left = len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """Items that came out of the model, or that it skipped.

    Attributes:
        lacks: bool (spaces, n): which of them each space lacks.
        n: how many are done with now.
        work: what these were of the work.
    """

    lacks: NDArray[np.bool_]
    n: int
    work: float


class Windows:
    """Gives windows to the encoder, and knows what comes back of them.

    Args:
        job: of the checkpoint.
        group: whose missing items they are.
    """

    def __init__(self, job: Job, group: Group) -> None:
        self._job, self._windows = job, group.work.windows()
        self._open: list[_Open] = []
        self._begun: list[int] = []  # parts that are not complete; of the last one there may be windows to come
        self._all_read = False

    def passages(self) -> Iterator[Iterator[Passage]]:
        """Yield the passages of each window."""
        for window in self._windows:
            if window.part not in self._begun:
                self._begun.append(window.part)
            self._open.append(_opened(window))
            yield self._job.passages(window.items)
        self._all_read = True

    def done(self, ids: Ids, *, settled: bool = True) -> Done:
        """Take note of items of one window that came back, each once.

        Args:
            ids: theirs.
            settled: whether they are done with; a truncated item is told of before its vector comes.
        """
        for window in self._open:
            at = np.minimum(np.searchsorted(window.ids, ids), len(window.ids) - 1)
            if len(ids) and window.ids[at[0]] == ids[0]:
                if not settled:
                    return Done(window.lacks[:, at], 0, 0.0)
                window.n_left -= len(ids)
                return Done(window.lacks[:, at], len(ids), float(window.work[at].sum()))
        raise AssertionError(f"items of no window came out of the model: {ids[:3]}")

    def completes(self) -> bool:
        """Return whether a part is complete, and forget it: what comes now is of a later one."""
        self._open = [window for window in self._open if window.n_left]
        read = self._begun if self._all_read else self._begun[:-1]
        if not read or any(window.part == read[0] for window in self._open):
            return False
        self._begun.remove(read[0])
        return True


def _opened(window: Window) -> _Open:
    order = np.argsort(window.ids)
    work = np.array(work_of(window.items), dtype=np.float64)
    return _Open(window.part, window.ids[order], window.lacks[:, order], work[order])
