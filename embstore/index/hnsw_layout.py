"""Lay near vectors near each other: a search goes from neighbour to neighbour, and finds them in the same pages.

What a graph's search waits for is memory. Among a million vectors of 384 components in the order of their ids, which is
a random one, it takes about half as long again (Coleman, Segarra, Smola & Shrivastava, 2022, Graph Reordering for
Cache-Efficient Near Neighbor Search, NeurIPS, compare such orders).
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from embstore.index.vectors import Units

Positions = NDArray[np.int64]

# Groups of so many vectors are not divided: they fill a few pages. A leader has at least so many followers, on average.
_UNDIVIDED, _FOLLOWERS = 64, 32
_DEPTH = 4  # of groups in groups, for vectors that cannot be divided well
_BYTES = 8 << 20  # of vectors whose leaders are looked for at once


def near_together(units: Units) -> Positions:
    """Return positions (n,) in an order in which near vectors are near each other.

    Each vector goes to the nearest of √n leaders, which are vectors as well; those of a leader are ordered in the same
    way, and the few of the last by their cosine to it. That takes n √n products.

    Args:
        units: unit vectors (n, dim).
    """
    return np.concatenate([*_ordered(units, np.arange(len(units)), _DEPTH)])


def _ordered(units: Units, members: Positions, depth: int) -> Iterator[Positions]:
    leaders = members[:: max(_FOLLOWERS, math.isqrt(len(members)))]
    leader, cosine = _nearest(units, members, leaders)
    order = np.lexsort((-cosine, leader))
    groups = np.split(members[order], np.flatnonzero(np.diff(leader[order])) + 1)
    for group in groups:
        if len(group) <= _UNDIVIDED or len(group) == len(members) or depth == 1:
            yield group
        else:
            yield from _ordered(units, group, depth - 1)


def _nearest(units: Units, members: Positions, leaders: Positions) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return which of the leaders is nearest to each member (n,), and its cosine."""
    import faiss

    leader = np.empty(len(members), np.int64)
    cosine = np.empty(len(members), np.float32)
    rows = max(256, _BYTES // (4 * units.shape[1]))
    for start in range(0, len(members), rows):
        some = slice(start, start + rows)
        found = faiss.knn(units[members[some]], units[leaders], 1, faiss.METRIC_INNER_PRODUCT)
        cosine[some], leader[some] = found[0][:, 0], found[1][:, 0]
    return leader, cosine
