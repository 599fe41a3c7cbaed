"""Search an index: candidates by float32 distances or products, ranked by the float64 cosines of their vectors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from embstore.base import disk
from embstore.base.arrays import Float64Array, Positions, distinct, slices
from embstore.base.errors import DamagedError
from embstore.index import faiss_index
from embstore.index.card import FLAT_BYTES, IndexCard
from embstore.index.exact_search import (
    UNIT_ROUNDING,
    Gather,
    Ids,
    Units,
    Vectors,
    above,
    approximate_cosines,
    candidates,
    candidates_by_distance,
    inner_products,
    nearest,
    ordered,
    unit_vectors,
)
from embstore.index.structure import damage

if TYPE_CHECKING:
    import faiss

UNIT_ERROR = 1e-5  # tolerance for the rounding of a unit vector's component
TUNED_K = 10
# A graph search computes about 16 distances per candidate; scanning all members may need fewer.
_DISTANCES_PER_CANDIDATE = 16
# A scan compares blocks of vectors that stay in the processor's cache with as many queries as have so many products.
_BLOCK_BYTES = 256 << 10
_PRODUCT_BYTES = 64 << 20


@dataclass(eq=False)
class Index:
    """Searchable index of one layer: its unit vectors and item ids, and for ``hnsw`` a graph that links them."""

    _index: "faiss.IndexIDMap"
    kind: str
    dim: int
    effort: dict[str, int]
    layer: int
    path: Path | None = None

    @classmethod
    def open(cls, path: Path, card: IndexCard) -> Self:
        """Open an index file, memory-mapped, and check it against its card."""
        return cls(faiss_index.load(path, card), card.kind, card.dim, card.effort, card.layer, path)

    def check(self, card: IndexCard) -> None:
        """Raise DamagedError if the vectors or ids do not match the CRC-32 of the card, where the card has one.

        This reads the whole file; the first search would read it anyway, and a memory-mapped file is read from disk
        once.
        """
        if card.crc32 is not None and self.path is not None and faiss_index.crc32_of(self._index) != card.crc32:
            raise damage(self.path, "its CRC-32 is not the one in its card")

    @cached_property
    def ids(self) -> Ids:
        """Item id of each position (n,)."""
        import faiss

        ids: Ids = faiss.rev_swig_ptr(self._index.id_map.data(), self._index.id_map.size())
        return ids

    @cached_property
    def _inner(self) -> Any:
        return faiss_index.inner_of(self._index)

    @cached_property
    def _vectors(self) -> Units:
        return faiss_index.units_of(self._inner)

    def units(self, ids: Ids) -> Units:
        """Return the unit vectors (n, dim) of items (n,)."""
        return self._units_at(self._positions(ids))

    def _units_at(self, positions: Positions) -> Units:
        """Return the unit vectors (n, dim) at some positions (n,)."""
        return np.ascontiguousarray(self._vectors[positions])

    def search(
        self, queries: Vectors, k: int, *, members: NDArray[np.bool_] | None = None, gather: Gather | None = None
    ) -> tuple[Ids, NDArray[np.floating]]:
        """Return the nearest items of each query.

        Args:
            queries: Vectors (n, dim), not necessarily normalised.
            k: Number of neighbours.
            members: Mask of the positions that may be returned (:meth:`members`); None for all. If few are allowed, the
                search is exact.
            gather: Function that returns stored vectors by item id, whose cosines rank the items. None for the unit
                vectors of the index, which are rounded to float32.

        Returns:
            Item ids and cosines, each (n, k), with fewer columns if the index has fewer items; id -1 where fewer were
            found.
        """
        units = unit_vectors(queries)
        n = len(self.ids) if members is None else int(members.sum())
        k = min(k, max(1, n))
        effort = self._effort(k, n)
        if self.kind == "flat" or (members is not None and self._is_scanned(n, effort)):
            return self._ranked(queries, self._scan(queries, units, k, members), k, gather)
        # Also those that were visited anyway: float32 may put some of the nearest behind others.
        width = k if gather is None else min(max(k, effort), max(1, n))
        positions, squares = self._walk(units, width, effort, members)
        ids = self._ids_at(positions)
        if members is not None and (ids[:, :k] < 0).any():
            return self._ranked(queries, self._scan(queries, units, k, members), k, gather)
        if gather is None:
            ids, negative = ordered(ids, -squares)
            return ids, 1 + negative / 2
        n_found = (positions >= 0).sum(axis=1)
        rows = zip(positions, squares, n_found, strict=True)
        near = [found[candidates_by_distance(square[:count], k, self.dim)] for found, square, count in rows]
        return self._ranked(queries, near, k, gather)

    def _is_scanned(self, n: int, effort: int) -> bool:
        """Return whether n allowed items are so few that they are compared one by one."""
        return is_few(n, self.dim) or n <= _DISTANCES_PER_CANDIDATE * effort

    def _effort(self, k: int, n: int) -> int:
        """Return the search width for k of n allowed items: in proportion, since other items are visited too."""
        scale = max(1.0, k / (TUNED_K + 1))
        return math.ceil(self.effort.get("ef_search", 1) * scale * len(self.ids) / max(1, n))

    def _walk(
        self, units: Units, k: int, effort: int, members: NDArray[np.bool_] | None
    ) -> tuple[Positions, NDArray[np.float32]]:
        """Search the graph, as in :func:`.find`; an error of FAISS means that the file is damaged."""
        try:
            return faiss_index.find(self._inner, units, k, effort, members)
        except RuntimeError as error:
            if self.path is None:
                raise
            raise disk.quoted_error(str(error), self.path) or damage(self.path, "FAISS cannot search it") from error

    def _scan(self, queries: Vectors, units: Units, k: int, members: NDArray[np.bool_] | None) -> list[Positions]:
        """Return the positions of all allowed items that can be among the k nearest of each query."""
        positions = np.arange(len(self.ids)) if members is None else np.flatnonzero(members)
        near: list[Positions] = []
        for part in slices(len(units), max(1, _PRODUCT_BYTES // (4 * max(1, len(positions))))):
            products = np.empty((part.stop - part.start, len(positions)), np.float32)
            for rows in slices(len(positions), max(1, _BLOCK_BYTES // (4 * self.dim))):
                products[:, rows] = inner_products(self._units_at(positions[rows]), units[part])
            for row, query in zip(products, queries[part], strict=True):
                near.append(self._narrowed(positions[candidates(row, k, self.dim)], query, k))
        return near

    def _narrowed(self, positions: Positions, query: Vectors, k: int) -> Positions:
        """Return which of some positions can be of the k nearest, by float64 cosines of the unit vectors."""
        if len(positions) <= k:
            return positions
        return positions[above(approximate_cosines(self._units_at(positions), query), k, UNIT_ROUNDING)]

    def _ranked(
        self, queries: Vectors, near: Sequence[Positions], k: int, gather: Gather | None
    ) -> tuple[Ids, Float64Array]:
        """Return the best of the items at some positions (m,) of each query, by the cosines of their vectors."""
        positions = distinct(np.concatenate([np.empty(0, np.int64), *near]))
        positions = positions[np.argsort(self.ids[positions])]
        stored_ids = self.ids[positions]
        vectors = self._units_at(positions) if gather is None else self._gathered(positions, gather)
        ids, cosines = np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf)
        for row, own in enumerate(near):
            rows = np.searchsorted(stored_ids, self.ids[own])
            best_ids, best = nearest(stored_ids[rows], vectors[rows], queries[row], k)
            ids[row, : len(best)], cosines[row, : len(best)] = best_ids, best
        return ids, cosines

    def _gathered(self, positions: Positions, gather: Gather) -> Vectors:
        """Return the stored vectors of the items at some positions (n,), which are in the order of their ids."""
        ids, vectors = gather(self.ids[positions])
        if not np.array_equal(ids, self.ids[positions]):
            raise DamagedError("an index names items that its shards do not hold. Run: ⦃embstore verify⦄")
        if (np.abs(self._units_at(positions) - unit_vectors(vectors)) > UNIT_ERROR).any():
            raise DamagedError(
                f"the shards and the index {self.path} disagree about layer {self.layer}: one of them is damaged. Run: "
                "⦃embstore verify⦄"
            )
        return vectors

    def agrees(self, item: int, vector: Vectors) -> bool:
        """Return whether the indexed vector of an item has the direction of the given vector (dim,)."""
        if not self.members(np.array([item])).any():
            return False
        difference = self.units(np.array([item]))[0] - unit_vectors(vector[None])[0]
        return bool(np.abs(difference).max(initial=0.0) <= UNIT_ERROR)

    def members(self, only: Ids) -> NDArray[np.bool_]:
        """Return a mask (n,) of the positions whose item is one of these ids."""
        order, ascending = self._by_id
        members = np.zeros(len(ascending), bool)
        ranks = np.minimum(np.searchsorted(ascending, only), max(0, len(ascending) - 1))
        if len(ascending):
            members[order[ranks[ascending[ranks] == only]]] = True
        return members

    @cached_property
    def _by_id(self) -> tuple[NDArray[np.int64], Ids]:
        """Positions (n,) sorted by item id, and the sorted ids (n,)."""
        order = np.argsort(self.ids)
        return order, self.ids[order]

    def _positions(self, ids: Ids) -> Ids:
        """Return the positions (n,) of items (n,) that the index contains."""
        order, ascending = self._by_id
        return order[np.searchsorted(ascending, ids)]

    def _ids_at(self, positions: Ids) -> Ids:
        """Return the item ids at positions of any shape; -1 where the position is -1."""
        if not len(self.ids):
            return np.full_like(positions, -1)
        lowest = positions.min(initial=0)
        try:
            ids: Ids = self.ids[positions]
        except IndexError:
            lowest = -2
        if lowest < -1:
            raise damage(self.path or Path("the index"), "it names positions that it does not have")
        return ids if lowest == 0 else np.where(positions >= 0, ids, -1)


def is_few(n: int, dim: int) -> bool:
    """Return whether n vectors are few enough for an exact scan, which then takes about 50 ms."""
    return 4 * n * dim <= FLAT_BYTES
