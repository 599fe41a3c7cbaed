"""Temporarily unlink vectors of an HNSW graph, to measure its recall for texts that are not stored.

A stored vector is easy to find, since its neighbours link to it. An unlinked one has no links, and a vector that linked
to it links instead to that neighbour of the unlinked vector which is nearest to itself and not linked yet. This
simplifies the deletion of Singh et al. (2021, FreshDiskANN, arXiv:2105.09613, Algorithm 4).

Compared with queries that were never in the graph, the recall of unlinked vectors was the same within its standard
error (about .002) for words of MiniLM in layers 0, 3 and 6, and for clustered vectors. Without clusters it is too high,
near .99 by up to .007 (25,000 normally distributed vectors of 64 dimensions).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Positions
from embstore.index.exact_search import Units

_NODES = 1 << 16  # nodes whose links are scanned at once
_BYTES = 16 << 20  # size of the vectors that are compared at once

Links = NDArray[np.int32]
Offsets = NDArray[np.int64]


def is_on_ground_level(graph: Any) -> NDArray[np.bool_]:
    """Return a mask (n,) of the vectors in the ground level only, without the entry point: most of them, at random."""
    import faiss

    levels = faiss.rev_swig_ptr(graph.levels.data(), graph.levels.size())
    is_ground: NDArray[np.bool_] = levels == 1
    is_ground[graph.entry_point] = False
    return is_ground


@contextmanager
def unlinked(graph: Any, units: Units, positions: Positions) -> Iterator[None]:
    """Temporarily unlink vectors of a graph, rerouting their incoming edges; restore the links at exit."""
    ground = _Ground(graph)
    is_out = np.zeros(len(units), bool)
    is_out[positions] = True
    own_offsets = ground.offsets(positions)
    incoming, replacements = ground.rerouted_links(units, is_out)
    changed = np.concatenate([own_offsets.ravel(), incoming])
    original = ground.links[changed]
    try:
        ground.links[incoming] = replacements
        ground.links[own_offsets] = -1
        yield
    finally:
        ground.links[changed] = original


class _Ground:
    """Links of the ground level of a graph."""

    def __init__(self, graph: Any) -> None:
        import faiss

        self.links: Links = faiss.rev_swig_ptr(graph.neighbors.data(), graph.neighbors.size())
        self._starts = faiss.rev_swig_ptr(graph.offsets.data(), graph.offsets.size())
        self._each = np.arange(graph.nb_neighbors(0))

    def offsets(self, nodes: Positions | Links) -> Offsets:
        """Return the offsets in ``links`` of the ground-level links of some nodes: (n, links per node)."""
        starts: Offsets = self._starts[nodes].astype(np.int64)
        return starts[:, None] + self._each

    def rerouted_links(self, units: Units, is_out: NDArray[np.bool_]) -> tuple[Offsets, Links]:
        """Return the offsets of the links that lead to unlinked vectors, and their replacements."""
        replaced, replacements = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
        for start in range(0, len(is_out), _NODES):
            nodes = np.arange(start, min(start + _NODES, len(is_out)))
            offsets = self.offsets(nodes)
            links = self.links[offsets]
            row, column = np.nonzero(is_out[links] & (links >= 0) & ~is_out[nodes][:, None])
            rows_at_once = max(1, _BYTES // (4 * units.shape[1] * len(self._each)))
            for first in range(0, len(row), rows_at_once):
                rows, columns = row[first : first + rows_at_once], column[first : first + rows_at_once]
                replaced.append(offsets[rows, columns])
                replacements.append(self._replace(units, is_out, nodes[rows], links[rows], links[rows, columns]))
        return np.concatenate(replaced), np.concatenate(replacements)

    def _replace(
        self, units: Units, is_out: NDArray[np.bool_], nodes: Positions, links: Links, removed: Links
    ) -> Links:
        """Return the new target of a removed link of each node (n,), the node itself if there is none."""
        candidates = self.links[self.offsets(removed)]
        is_linked = (candidates[:, :, None] == links[:, None, :]).any(axis=2)
        is_excluded = (candidates < 0) | is_out[candidates] | is_linked | (candidates == nodes[:, None])
        cosines = np.einsum("nkd,nd->nk", units[candidates], units[nodes])
        best = np.where(is_excluded, -np.inf, cosines).argmax(axis=1)
        rows = np.arange(len(nodes))
        return np.where(is_excluded[rows, best], nodes, candidates[rows, best]).astype(np.int32)


# Groups of up to 64 vectors are not divided: they fill a few pages. A leader has at least 32 followers on average.
_UNDIVIDED, _FOLLOWERS = 64, 32
_DEPTH = 4  # limit of the recursion, for vectors that cannot be divided well
_ASSIGNED_BYTES = 8 << 20  # size of the vectors that are assigned at once


def similarity_order(units: Units) -> Positions:
    """Return a permutation (n,) of the vectors in which similar ones are adjacent.

    Each vector is assigned to the nearest of √n leaders, which are vectors themselves; the groups are divided
    recursively in the same way, and the members of the last groups are sorted by their cosine to the leader. Cost: n √n
    products.
    """
    return np.concatenate([*_ordered(units, np.arange(len(units)), _DEPTH)])


def _ordered(units: Units, members: Positions, depth: int) -> Iterator[Positions]:
    """Yield groups of similar members, divided recursively down to a depth."""
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
    """Return the index of the nearest leader of each member (n,), and the cosine with it."""
    import faiss

    leader = np.empty(len(members), np.int64)
    cosine = np.empty(len(members), np.float32)
    rows = max(256, _ASSIGNED_BYTES // (4 * units.shape[1]))
    for start in range(0, len(members), rows):
        part = slice(start, start + rows)
        found = faiss.knn(units[members[part]], units[leaders], 1, faiss.METRIC_INNER_PRODUCT)
        cosine[part], leader[part] = found[0][:, 0], found[1][:, 0]
    return leader, cosine
