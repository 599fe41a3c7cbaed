"""Measure which share of the true nearest neighbours a map keeps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embstore.metrics import LayerData
from embstore.metrics.numerics.neighbours import TIED, are_equal, are_tied, n_shared, nearest_in_plane
from embstore.query.layer_data import neighbours_of
from embstore.storage.files.maps import Ids, Positions

K = 10
"""Number of neighbours that are compared."""
SAMPLE = 2000
"""Number of items whose neighbours are searched for the sake of the share alone."""

Near = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Kept:
    """Share of the ten nearest neighbours by cosine that are among the ten nearest on the map.

    Attributes:
        share: Mean over the items, in [0, 1]; None if not computable.
        n: Number of items that it is the mean of.
        reason: Reason why there is no share.
    """

    share: float | None
    n: int
    reason: str | None = None


def kept_of_all(data: LayerData, near: Near, cosines: NDArray[np.float64], positions: Positions) -> Kept:
    """Return the share over all n items of a map.

    Args:
        data: Vectors of the layer.
        near: Nearest other items of each item, as positions (n, k), k ≥ 10 if there are as many, nearest first.
        cosines: Cosines with them (n, k).
        positions: Positions of the items on the map (n, 2).
    """
    if reason := _too_few(len(near)):
        return Kept(None, 0, reason)
    if are_tied(data, K, cosines[:, :K]):
        return Kept(None, 0, TIED)
    return _share(np.arange(len(near)), near[:, :K], positions)


def kept_of_some(data: LayerData, ids: Ids, positions: Positions, seed: int) -> Kept:
    """Return the share over all items of a map if they are few, else over 2,000 items drawn at random.

    Args:
        data: Vectors of the layer.
        ids: Ids of the n items, ascending.
        positions: Positions of the items on the map (n, 2).
        seed: Random seed of the draw.
    """
    if reason := _too_few(len(ids)):
        return Kept(None, 0, reason)
    if len(ids) <= SAMPLE:
        _, near, cosines = data.neighbours(K)
        return kept_of_all(data, near, cosines, positions)
    drawn = np.random.default_rng(seed).choice(ids, SAMPLE, replace=False, shuffle=False)
    # One neighbour more shows whether the choice of ten is arbitrary.
    _, rows, near, cosines = neighbours_of(data, np.sort(drawn), K + 1)
    return Kept(None, 0, TIED) if are_equal(cosines.ravel(), data.dim) else _share(rows, near[:, :K], positions)


def _too_few(n: int) -> str | None:
    if n == 0:
        return "no item is selected that has a direction"
    return f"n = {n}: the ten nearest items are all others" if n <= K + 1 else None


def _share(rows: NDArray[np.int64], near: Near, positions: Positions) -> Kept:
    on_map = nearest_in_plane(positions, K, rows)
    shared = n_shared(*(np.sort(lists.astype(np.int32), axis=1) for lists in (near, on_map)))
    return Kept(float(shared.mean() / K), len(rows))
