"""Search an index: candidates by distances in half precision, ranked by the float64 cosines of
their stored vectors.
"""

import math
from collections.abc import Mapping
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore.base import disk
from embstore.base.arrays import Float32Array, Float64Array, Ids, Mask, Vectors, distinct
from embstore.base.errors import DamagedError
from embstore.index import faiss_index
from embstore.index.card import IndexCard
from embstore.index.exact_search import Gather, Units, nearest, reach, unit_vectors
from embstore.storage.cache import StoredFile

if TYPE_CHECKING:
    import faiss

TUNED_K = 10
_SLACK = 32  # candidates beside the k nearest: nearly always enough to prove that none is missed
# Above so many candidates, or such a part of all items, a scan is faster.
_FEW, _ONE_IN = 2000, 20
_MANY_QUERIES = 8  # above, a scan is faster: it compares each vector with all queries at once
# A graph search computes about 16 distances per candidate; searching all members may need fewer.
_DISTANCES_PER_CANDIDATE = 16
# Maximum number of open indexes. They are memory-mapped; each has its ids in memory.
_MAX_OPEN = 32


class SearchedIndex:
    """Searchable index of one layer.

    Attributes:
        ids: Item id of each position (n,).
        effort: Search parameter of a graph, ``ef_search``, tuned for 10 neighbours.
    """

    def __init__(
        self,
        index: "faiss.IndexIDMap",
        effort: Mapping[str, int],
        error: float,
        file: StoredFile | None = None,
    ) -> None:
        self._index, self.effort, self._file = index, effort, file
        self._inner: Any = faiss_index.inner_of(index)
        self._mean = faiss_index.mean_of(index)
        self._error = error
        self.dim: int = index.d

    @cached_property
    def ids(self) -> Ids:
        """Item id of each position (n,)."""
        return faiss_index.ids_of(self._index)

    def search(
        self,
        queries: Vectors,
        k: int,
        gather: Gather,
        members: Mask | None = None,
        *,
        exact: bool = True,
    ) -> tuple[Ids, Float64Array] | None:
        """Return the nearest items of each query: exactly, or those that a graph leads to.

        The distances in half precision find candidates; all that their error lets be among the
        nearest are compared by their cosines in float64.

        Args:
            queries: Vectors (n, dim), not necessarily normalised.
            k: Number of neighbours.
            gather: Function that returns stored vectors by item id, whose cosines rank the items.
            members: Mask (n_total,) of the positions that may be returned; None for all.
            exact: Whether all vectors are searched, also those of a graph.

        Returns:
            Item ids and cosines, each (n, k), best first, with fewer columns if there are fewer
            items; id -1 where a graph found fewer. None if a scan is faster, since there are many
            queries, or half precision does not tell the items apart; or if an exact search is
            faster than that of a graph, or the graph does not lead to enough members.
        """
        n = len(self.ids) if members is None else int(members.sum())
        k = min(k, n)
        if not k or (exact and len(queries) > _MANY_QUERIES):
            return None
        effort = 0 if exact else self._effort(k, n)
        if members is not None and n <= _DISTANCES_PER_CANDIDATE * effort:
            return None
        # Of a graph also those that were visited anyway: half precision may put some of the nearest
        # behind.
        width = min(n, k + _SLACK if exact else max(k, effort))
        residuals = unit_vectors(queries) - self._mean
        all_ids, all_squares = self._find(residuals, width, effort, members)
        if members is not None and (all_ids[:, :k] < 0).any():
            return None
        near: list[Ids] = []
        for residual, ids, squares in zip(residuals, all_ids, all_squares, strict=True):
            is_found = ids >= 0
            most = reach(squares, min(k, int(is_found.sum())), self.dim, self._error)
            candidates = ids[is_found & (squares <= most)]
            if exact and len(candidates) == width < n:  # there may be others
                candidates = self.ids[faiss_index.find_within(self._inner, residual, most, members)]
            # Fewer than k are found in an index whose bits have flipped.
            if exact and not k <= len(candidates) <= max(_FEW, n // _ONE_IN):
                return None
            near.append(candidates)
        return self._ranked(queries, near, k, gather)

    def _find(
        self, residuals: Units, width: int, effort: int, members: Mask | None
    ) -> tuple[Ids, Float32Array]:
        """Return the ids and squared distances that FAISS finds; an error of it is damage."""
        try:
            positions, squares = faiss_index.find(self._inner, residuals, width, effort, members)
            return np.where(positions >= 0, self.ids[positions], -1), squares
        except (RuntimeError, IndexError) as error:
            if self._file is None:
                raise
            self._file.compare()
            raise self._file.damage("FAISS cannot search it") from error

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
        for row, candidates in enumerate(near):
            rows = np.searchsorted(stored_ids, candidates)
            best_ids, best = nearest(candidates, vectors[rows], queries[row], k)
            ids[row, : len(best)], cosines[row, : len(best)] = best_ids, best
        return ids, cosines


_lock = Lock()
_open: dict[tuple[str, disk.Stamp | None], SearchedIndex] = {}


def open_index(file: StoredFile) -> SearchedIndex:
    """Return the index in a file, memory-mapped; the last ones are kept open."""
    with file.opened() as path:  # a process that searches a file that was cut is killed
        key = file.place, disk.stamp_of(path)
    with _lock:  # else two threads would read the same file
        index = _open.pop(key, None)
        if index is None:
            card = IndexCard.from_entry(file.entry)
            index = SearchedIndex(faiss_index.load(file, card), card.effort, card.error, file)
        _open[key] = index
        if len(_open) > _MAX_OPEN:
            del _open[next(iter(_open))]
    return index
