"""Find the nearest points in the plane."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

Rows = NDArray[np.int64]

_MORE = 5  # candidates beyond k and the point itself


def nearest_in_plane(points: NDArray[np.floating], k: int, rows: Rows) -> Rows:
    """Return the k nearest other points of some points, exactly.

    Args:
        points: Points (n, 2), finite.
        k: Number of neighbours, less than n.
        rows: Points to find the neighbours of, as positions (m,).

    Returns:
        Positions (m, k), nearest first, ties by ascending position.
    """
    wide = np.asarray(points, np.float64)
    width = min(len(wide), k + 1 + _MORE)
    distances, near = KDTree(wide).query(wide[rows], width)
    order = np.lexsort((near, distances), axis=1)
    distances, near = np.take_along_axis(distances, order, axis=1), np.take_along_axis(near, order, axis=1)
    others = near != rows[:, None]
    found = np.take_along_axis(near, np.argsort(~others, axis=1, kind="stable")[:, :k], axis=1).astype(np.int64)
    if width < len(wide):  # ties beyond the candidates, of which any may have been found
        for row in np.flatnonzero(distances[:, k] == distances[:, -1]):
            found[row] = _nearest_of_all(wide, k, int(rows[row]))
    return found


def _nearest_of_all(points: NDArray[np.float64], k: int, row: int) -> Rows:
    distances = np.sqrt(((points - points[row]) ** 2).sum(axis=1))
    distances[row] = np.inf
    candidates = np.flatnonzero(distances <= np.partition(distances, k - 1)[k - 1])
    return candidates[np.argsort(distances[candidates], kind="stable")[:k]]
