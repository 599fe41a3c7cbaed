"""Neighbours that only their ids tell apart."""

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.declaration.spec import Ids, LayerData
from embstore.metrics.numerics.directions import cosine_error

_RELATIVE = 1e-9  # Euclidean distances are exact to a tenth of it
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
    if found >= n - 1 or not _alike(nearness, data.dim, distance):
        return False
    # One more, so that k neighbours of equal distance in a lattice are no ties.
    return _alike(data.neighbours(k + 1, distance, only=only)[2], data.dim, distance)


def _alike(nearness: NDArray[np.float64], dim: int, distance: str) -> bool:
    """Return whether cosines or distances differ by no more than rounding."""
    rounding = 2 * cosine_error(dim) if distance == "cosine" else _RELATIVE * float(nearness.max())
    return bool(np.ptp(nearness) <= rounding)
