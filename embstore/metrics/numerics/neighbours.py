"""Find the nearest neighbours of all items and equally near ones, shared neighbours, and clusters
of directions.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import DISTANCE_ERROR, Float64Array, Mask, Positions, cosine_error
from embstore.metrics.declaration import Ids, LayerData

TIED = "all items are equally near each other"
_MORE = 5  # candidates in the plane beyond k and the point itself
_FITTED = 10_000  # vectors to which the centres of clusters are fitted


class Nearest(NamedTuple):
    """The nearest neighbours of all n items of a layer.

    Attributes:
        positions: Positions of the neighbours among them, int64 (n, k), nearest first, ties by
            ascending id.
    """

    ids: Ids  # ids of the items, int64 (n,), ascending
    positions: NDArray[np.integer]
    # Whether the next item is as near as the last of the k, so that ids decide, bool (n,).
    are_tied: Mask
    # whether all k + 1 nearest of all items are at one distance, so that the choice is arbitrary
    are_all_tied: bool


def find_nearest(
    data: LayerData, k: int, distance: str = "cosine", only: Ids | None = None
) -> Nearest:
    """Return the k nearest neighbours of every item, and where the choice of the k is arbitrary.

    Arguments are those of :meth:`LayerData.neighbours`.
    """
    ids, positions, nearness = data.neighbours(k + 1, distance, only=only)
    if nearness.shape[1] <= k:  # all others are neighbours
        return Nearest(ids, positions, np.zeros(len(ids), np.bool_), are_all_tied=False)
    are_last_tied = are_equal(nearness[:, k - 1 :], data.dim, distance)
    return Nearest(
        ids, positions[:, :k], are_last_tied, bool(are_equal(nearness.ravel(), data.dim, distance))
    )


def why_too_many(k: int, n: int) -> str | None:
    """Return the reason why n items have no k neighbours and others; None if they have."""
    if k < n:
        return None
    return f"{k} neighbours of {max(n - 1, 0)} other items: take a smaller k"


def are_equal(nearness: Float64Array, dim: int, distance: str = "cosine") -> Mask:
    """Return whether cosines or distances (..., n) are all equal along the last axis (...), up to
    rounding.

    Two are equal if they differ by no more than the sum of the bounds on their rounding errors.
    """
    low, high = nearness.min(axis=-1), nearness.max(axis=-1)
    errors = 2 * cosine_error(dim) if distance == "cosine" else DISTANCE_ERROR * (low + high)
    return np.asarray(high - low <= errors)


def n_shared(left: NDArray[np.integer], right: NDArray[np.integer]) -> Positions:
    """Return the number of elements that two sets share, row by row, (n,); each row (n, k) is a
    set.
    """
    elements = np.sort(np.concatenate([left, right], axis=1), axis=1)
    return np.asarray(np.count_nonzero(elements[:, 1:] == elements[:, :-1], axis=1))


def nearest_in_plane(points: NDArray[np.floating], k: int, rows: Positions) -> Positions:
    """Return the k nearest other points of some points, exactly.

    Args:
        points: Points (n, 2), finite.
        k: Number of neighbours, less than n.
        rows: Points to find the neighbours of, as positions (m,).

    Returns:
        Positions (m, k), nearest first, ties by ascending position.
    """
    from scipy.spatial import KDTree  # slow to import

    wide = np.asarray(points, np.float64)
    width = min(len(wide), k + 1 + _MORE)
    distances, near = KDTree(wide).query(wide[rows], width)
    order = np.lexsort((near, distances), axis=1)
    distances, near = (
        np.take_along_axis(distances, order, axis=1),
        np.take_along_axis(near, order, axis=1),
    )
    others = near != rows[:, None]
    nearest = np.take_along_axis(
        near, np.argsort(~others, axis=1, kind="stable")[:, :k], axis=1
    ).astype(np.int64)
    if width < len(wide):  # ties beyond the candidates, of which any may have been found
        for row in np.flatnonzero(distances[:, k] == distances[:, -1]):
            of_all = np.sqrt(((wide - wide[rows[row]]) ** 2).sum(axis=1))
            of_all[rows[row]] = np.inf
            candidates = np.flatnonzero(of_all <= np.partition(of_all, k - 1)[k - 1])
            nearest[row] = candidates[np.argsort(of_all[candidates], kind="stable")[:k]]
    return nearest


def spherical_clusters(unit_vectors: NDArray[np.float32], k: int) -> Positions:
    """Cluster unit vectors (n, dim) by k-means; return the number of each one's cluster, by falling
    size, (n,).

    Centres are fitted to at most 10,000 vectors, drawn at random; every vector then goes to its
    nearest centre.
    """
    from scipy.cluster.vq import kmeans2, vq  # slow to import

    n, rng = len(unit_vectors), np.random.default_rng(0)
    if n <= k:
        return np.arange(n)
    sample = unit_vectors if n <= _FITTED else unit_vectors[rng.choice(n, _FITTED, replace=False)]
    centres = np.unique(sample.astype(np.float64), axis=0)
    if len(centres) > k:  # k-means++ needs as many different vectors as clusters
        centres, _ = kmeans2(sample.astype(np.float64), k, minit="++", missing="warn", rng=rng)
    labels, _ = vq(unit_vectors.astype(np.float64), centres)
    sizes = np.bincount(labels, minlength=len(centres))
    rank = np.empty(len(centres), np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(centres))
    numbers: Positions = rank[labels]
    return numbers
