"""Neighbours that only their ids tell apart."""

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.spec import Ids, LayerData

_ROUNDING = 1e-12
TIED = "all items are equally near each other"


def are_tied(
    data: LayerData, k: int, nearness: NDArray[np.float64], distance: str = "cosine", only: Ids | None = None
) -> bool:
    """Return whether the k nearest of each item are as near as the next one, and alike for all items.

    Args:
        data: the vectors.
        k: how many neighbours.
        nearness: cosines or distances (n, k) of the k nearest, as :meth:`LayerData.neighbours` gives them.
        distance: ``cosine`` or ``euclidean``.
        only: ascending ids of the items that were searched; None for all.
    """
    n, found = nearness.shape
    if found >= n - 1 or not _alike(nearness):
        return False
    # One more, so that k neighbours of equal distance in a lattice are no ties.
    return _alike(data.neighbours(k + 1, distance, only=only)[2])


def _alike(nearness: NDArray[np.float64]) -> bool:
    return bool(np.ptp(nearness) <= _ROUNDING * np.abs(nearness).max())
