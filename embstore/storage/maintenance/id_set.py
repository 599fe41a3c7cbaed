"""A set of item ids that grows part by part."""

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class IdSet:
    """A set of item ids that grows part by part, in O(N log² N) for N ids, whatever the number of parts.

    The ids are held in sorted runs of which each is more than twice as long as the next, so that an id is sorted again
    only log N times: to sort all of them for each part would take time that grows with the square of the parts.

    Args:
        ids: Item ids to start with, of shape (n,), in any order.
    """

    def __init__(self, ids: Ids | None = None) -> None:
        self._runs: list[Ids] = []
        if ids is not None:
            self.add(ids)

    def add(self, ids: Ids) -> None:
        """Add item ids (n,), in any order."""
        run = np.unique(ids)
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.union1d(self._runs.pop(), run)
        if len(run):
            self._runs.append(run)

    def missing(self, ids: Ids) -> Ids:
        """Return those of some ids (n,) that are not in the set, in the order given."""
        is_member = np.zeros(len(ids), bool)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, ids), len(run) - 1)
            is_member |= run[at] == ids
        return ids[~is_member]

    def ids(self) -> Ids:
        """Return all ids of the set, ascending."""
        return np.unique(np.concatenate([np.empty(0, np.int64), *self._runs]))
