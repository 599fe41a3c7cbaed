"""Find neighbours, with those that are equally near: of some items at the k-th place, or of a whole layer."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import DISTANCE_ERROR, cosine_error
from embstore.metrics.declaration.spec import Ids, LayerData

TIED = "all items are equally near each other"


class Nearest(NamedTuple):
    """The nearest neighbours of all n items of a layer.

    Attributes:
        ids: Ids of the items, int64 (n,), ascending.
        positions: Positions of the neighbours among them, int64 (n, k), nearest first, ties by ascending id.
        are_tied: Whether the next item is as near as the last of the k, so that ids decide, bool (n,).
        are_all_tied: Whether this is so of all k + 1 of all items: see :func:`are_tied`.
    """

    ids: Ids
    positions: NDArray[np.int64]
    are_tied: NDArray[np.bool_]
    are_all_tied: bool


def find_nearest(data: LayerData, k: int, distance: str = "cosine", only: Ids | None = None) -> Nearest:
    """Return the k nearest neighbours of every item, and where the choice of the k is arbitrary.

    Args:
        data: Vectors of a layer.
        k: Number of neighbours; reduced to n − 1 if there are fewer other items.
        distance: ``cosine`` or ``euclidean``.
        only: Ids of the items that are searched, ascending; None for all.
    """
    ids, positions, nearness = data.neighbours(k + 1, distance, only=only)
    if nearness.shape[1] <= k:  # all others are neighbours
        return Nearest(ids, positions, np.zeros(len(ids), np.bool_), are_all_tied=False)
    are_last_tied = are_equal(nearness[:, k - 1 :], data.dim, distance)
    return Nearest(ids, positions[:, :k], are_last_tied, bool(are_equal(nearness.ravel(), data.dim, distance)))


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
    if n_neighbours >= n - 1 or not are_equal(nearness.ravel(), data.dim, distance):
        return False
    # With one more neighbour: in a lattice, the k nearest may be equally near and the next farther away.
    return bool(are_equal(data.neighbours(k + 1, distance, only=only)[2].ravel(), data.dim, distance))


def are_equal(nearness: NDArray[np.float64], dim: int, distance: str = "cosine") -> NDArray[np.bool_]:
    """Return whether cosines or distances (..., n) are all equal along the last axis (...), up to rounding.

    Two are equal if they differ by no more than the sum of the bounds on their rounding errors.
    """
    low, high = nearness.min(axis=-1), nearness.max(axis=-1)
    errors = 2 * cosine_error(dim) if distance == "cosine" else DISTANCE_ERROR * (low + high)
    return np.asarray(high - low <= errors)
