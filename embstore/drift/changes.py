"""Compute how much the neighbourhood of an item differs between two layers.

With A and B the k nearest neighbours of an item by cosine in the two layers:

* overlap = |A ∩ B| / k (Gonen, Jawahar, Seddah & Goldberg, 2020, who count the shared neighbours);
* turnover = 1 − cos(s, t), where s and t are the item's cosines with all items of A ∪ B in the first and in the second
  layer (Hamilton, Leskovec & Jurafsky, 2016: the local neighbourhood measure).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float64Array, Positions, Vectors, in_threads, slices
from embstore.metrics.numerics.neighbour_lists import n_shared

_ROWS = 256
_ROUNDING = 1e-24  # turnover below which two layers differ by the rounding of float64, and not of the float32 vectors


class Neighbourhoods(NamedTuple):
    """The nearest neighbours of some items in a layer.

    Attributes:
        near: Neighbours of each item as positions among all items, int64 (m, k), nearest first.
        cosines: Cosines with them, float64 (m, k).
        are_tied: Whether the k + 1 nearest items of an item are equally near, so that ids alone decide which k are its
            neighbours, bool (m,).
        are_last_tied: Whether the next item is as near as the last of the k, so that ids decide, bool (m,).
    """

    near: Positions
    cosines: Float64Array
    are_tied: NDArray[np.bool_]
    are_last_tied: NDArray[np.bool_]


def overlaps(first: Neighbourhoods, second: Neighbourhoods) -> Float64Array:
    """Return the overlap of each item's neighbours in two layers, float64 (m,), in [0, 1]."""
    lists = (np.sort(each.near.astype(np.int32), axis=1) for each in (first, second))
    return np.asarray(n_shared(*lists) / max(1, first.near.shape[1]))


def turnovers(
    first: Neighbourhoods, second: Neighbourhoods, vectors: tuple[Vectors, Vectors], rows: Positions
) -> Float64Array:
    """Return the turnover of each item's neighbourhood between two layers.

    Args:
        first: Neighbours of the items in the first layer.
        second: Neighbours of the items in the second layer.
        vectors: Vectors of all items in both layers, (n, dim) and (n, dim 2), none zero.
        rows: Positions of the m items among all.

    Returns:
        Turnover, float64 (m,), in [0, 2]; NaN where all cosines of a layer are zero.
    """

    def of_some(part: slice) -> Float64Array:
        near, near_2 = first.near[part], second.near[part]
        is_new = ~(near_2[:, :, None] == near[:, None, :]).any(axis=2)
        left = [first.cosines[part], np.where(is_new, _cosines(vectors[0], rows[part], near_2), 0)]
        right = [_cosines(vectors[1], rows[part], near), np.where(is_new, second.cosines[part], 0)]
        # Half the squared distance of unit vectors: 1 − cos without cancellation, and 0 for equal ones.
        units = [_units(np.concatenate(parts, axis=1)) for parts in (left, right)]
        difference = units[0] - units[1]
        found = np.vecdot(difference, difference) / 2
        return np.asarray(np.where(found < _ROUNDING, 0.0, found))

    parts = in_threads(of_some, slices(len(rows), _ROWS))
    return np.concatenate([np.empty(0), *parts])


def _cosines(vectors: Vectors, rows: Positions, others: Positions) -> Float64Array:
    """Return the cosines (c, k) of rows (c,) with other rows (c, k), in float64."""
    own = _units(vectors[rows].astype(np.float64))
    return np.asarray(np.vecdot(_units(vectors[others].astype(np.float64)), own[:, None]))


def _units(vectors: NDArray[np.float64]) -> Float64Array:
    with np.errstate(invalid="ignore"):  # 0/0 is NaN
        return np.asarray(vectors / np.sqrt(np.vecdot(vectors, vectors))[..., None])
