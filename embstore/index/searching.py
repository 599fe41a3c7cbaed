"""Search a graph: candidates by float32 distances, ranked by the float64 cosines of their stored
vectors.
"""

import math
from collections.abc import Mapping
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore.base.arrays import Float64Array, Ids, Mask, Vectors, distinct
from embstore.base.errors import DamagedError
from embstore.index import faiss_index
from embstore.index.card import FLAT_BYTES, IndexCard
from embstore.index.exact_search import Gather, candidates_by_distance, nearest, unit_vectors
from embstore.storage.cache import StoredFile

if TYPE_CHECKING:
    import faiss

TUNED_K = 10
# A graph search computes about 16 distances per candidate; scanning all members may need fewer.
_DISTANCES_PER_CANDIDATE = 16
# Maximum number of open graphs. They are memory-mapped; each has its ids and levels in memory.
_MAX_OPEN = 32


class Graph:
    """Searchable graph of one layer.

    Attributes:
        ids: Item id of each position (n,).
        effort: Search parameter ``ef_search``, tuned for 10 neighbours.
    """

    def __init__(
        self, index: "faiss.IndexIDMap", effort: Mapping[str, int], file: StoredFile | None = None
    ) -> None:
        self._index, self.effort, self._file = index, effort, file
        self._inner: Any = faiss_index.inner_of(index)
        self.dim: int = index.d

    @cached_property
    def ids(self) -> Ids:
        """Item id of each position (n,)."""
        return faiss_index.ids_of(self._index)

    def search(
        self, queries: Vectors, k: int, gather: Gather, members: Mask | None = None
    ) -> tuple[Ids, Float64Array] | None:
        """Return the nearest items of each query.

        Args:
            queries: Vectors (n, dim), not necessarily normalised.
            k: Number of neighbours.
            gather: Function that returns stored vectors by item id, whose cosines rank the items.
            members: Mask (n_total,) of the positions that may be returned; None for all.

        Returns:
            Item ids and cosines, each (n, k), best first, with fewer columns if the graph has fewer
            items; id -1 where fewer were found. None if a scan of the members is faster, or the
            graph does not lead to enough of them.
        """
        n = len(self.ids) if members is None else int(members.sum())
        k = min(k, n)
        effort = self._effort(k, max(1, n))
        if members is not None and n <= _DISTANCES_PER_CANDIDATE * effort:
            return None
        # Also those that were visited anyway: float32 may put some of the nearest behind others.
        width = min(max(k, effort), n)
        try:
            positions, squares = faiss_index.find(
                self._inner, unit_vectors(queries), width, effort, members
            )
            ids = np.where(positions >= 0, self.ids[positions], -1)
        except (RuntimeError, IndexError) as error:
            if self._file is None:
                raise
            self._file.compare()
            raise self._file.damage("FAISS cannot search it") from error
        if members is not None and (ids[:, :k] < 0).any():
            return None
        n_found = (positions >= 0).sum(axis=1)
        rows = zip(ids, squares, n_found, strict=True)
        near = [
            found[candidates_by_distance(square[:count], k, self.dim)]
            for found, square, count in rows
        ]
        return self._ranked(queries, near, k, gather)

    def _effort(self, k: int, n: int) -> int:
        """Return the search width for k of n allowed items: in proportion, since other items are
        visited too.
        """
        scale = max(1.0, k / (TUNED_K + 1))
        return math.ceil(self.effort.get("ef_search", 1) * scale * len(self.ids) / n)

    def _ranked(
        self, queries: Vectors, near: list[Ids], k: int, gather: Gather
    ) -> tuple[Ids, Float64Array]:
        """Return the best of some items (m,) of each query, by the cosines of their stored
        vectors.
        """
        wanted = distinct(np.concatenate(near))
        stored_ids, vectors = gather(wanted)
        if not np.array_equal(stored_ids, wanted):
            place = "an index" if self._file is None else self._file.place
            raise DamagedError(
                f"{place} names items that its layer does not have. Run: embstore verify"
            )
        ids, cosines = np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf)
        for row, own in enumerate(near):
            rows = np.searchsorted(stored_ids, own)
            best_ids, best = nearest(own, vectors[rows], queries[row], k)
            ids[row, : len(best)], cosines[row, : len(best)] = best_ids, best
        return ids, cosines


_lock = Lock()
_open: dict[str, Graph] = {}


def open_graph(file: StoredFile) -> Graph:
    """Return the graph in a file, memory-mapped; the last ones are kept open."""
    with _lock:  # else two threads would read the same file
        graph = _open.pop(file.place, None)  # a key has the hash of the content
        if graph is None:
            card = IndexCard.from_entry(file.entry)
            graph = Graph(faiss_index.load(file, card), card.effort, file)
        _open[file.place] = graph
        if len(_open) > _MAX_OPEN:
            del _open[next(iter(_open))]
    return graph


def stored_ids(file: StoredFile) -> Ids:
    """Return the item ids in the file of an index, ascending."""
    # Referenced until its ids are copied.
    index = faiss_index.load(file, IndexCard.from_entry(file.entry))
    ids: Ids = np.sort(faiss_index.ids_of(index))
    return ids


def is_few(n: int, dim: int) -> bool:
    """Return whether n vectors are few enough for an exact scan, which then takes about 50 ms."""
    return 4 * n * dim <= FLAT_BYTES
