"""Detect layers in which all items are equally near each other."""

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.declaration.spec import Ids, LayerData
from embstore.metrics.numerics.directions import cosine_error

_RELATIVE = 1e-9  # ten times the error bound of Euclidean distances
TIED = "all items are equally near each other"


def are_tied(
    data: LayerData, k: int, nearness: NDArray[np.float64], distance: str = "cosine", only: Ids | None = None
) -> bool:
    """Return whether all neighbours are at one distance, so that the choice of the k nearest is arbitrary.

    These are the k + 1 nearest neighbours of every item: all of their cosines or distances, over all items, are equal
    up to rounding. False if k neighbours are all there are.

    Args:
        data: Vectors of a layer.
        k: Number of neighbours.
        nearness: Cosines or distances (n, k) of the k nearest, from :meth:`LayerData.neighbours`.
        distance: ``cosine`` or ``euclidean``.
        only: Ids of the items that were searched, ascending; None for all.
    """
    n, n_neighbours = nearness.shape
    if n_neighbours >= n - 1 or not _all_equal(nearness, data.dim, distance):
        return False
    # With one more neighbour: in a lattice, the k nearest may be equally near and the next farther away.
    return _all_equal(data.neighbours(k + 1, distance, only=only)[2], data.dim, distance)


def _all_equal(nearness: NDArray[np.float64], dim: int, distance: str) -> bool:
    """Return whether all cosines or distances are equal up to rounding."""
    rounding = 2 * cosine_error(dim) if distance == "cosine" else _RELATIVE * float(nearness.max())
    return bool(np.ptp(nearness) <= rounding)
