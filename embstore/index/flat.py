"""Search a flat index, which FAISS wrote, without loading FAISS: its file is vectors and ids one after the other.

Loading FAISS takes a sixth of the time of ``embstore neighbours``, and a flat index is what most stores have.
"""

import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from zlib_ng.zlib_ng import crc32

from embstore.base import disk
from embstore.base.arrays import Float64Array, Positions, distinct, slices
from embstore.base.errors import DamagedError
from embstore.index.card import IndexCard
from embstore.index.exact_search import (
    UNIT_ROUNDING,
    Gather,
    Ids,
    Units,
    Vectors,
    above,
    approximate_cosines,
    candidates,
    inner_products,
    nearest,
    unit_vectors,
)
from embstore.index.structure import damage

UNIT_ERROR = 1e-5  # tolerance for the rounding of a unit vector's component


class Index(ABC):
    """Searchable index of one layer."""

    kind: str
    dim: int
    layer: int
    path: Path | None

    @property
    @abstractmethod
    def ids(self) -> Ids:
        """Item id of each position (n,)."""

    def units(self, ids: Ids) -> Units:
        """Return the unit vectors (n, dim) of items (n,), from an index of a kind other than ``ivf``."""
        return self._units_at(self._positions(ids))

    @abstractmethod
    def _units_at(self, positions: Positions) -> Units:
        """Return the unit vectors (n, dim) at some positions (n,), from an index of a kind other than ``ivf``."""

    @abstractmethod
    def search(
        self, queries: Vectors, k: int, *, members: NDArray[np.bool_] | None = None, gather: Gather | None = None
    ) -> tuple[Ids, NDArray[np.floating]]:
        """Return the nearest items of each query.

        Args:
            queries: Vectors (n, dim), not necessarily normalised.
            k: Number of neighbours.
            members: Mask of the positions that may be returned (:meth:`members`); None for all. If few are allowed, the
                search is exact.
            gather: Function that returns stored vectors by item id, whose cosines rank the items; required for ``ivf``,
                which stores only codes. None for the unit vectors of the index, which are rounded to float32.

        Returns:
            Item ids and cosines, each (n, k), with fewer columns if the index has fewer items; id -1 where fewer were
            found.
        """

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
        if self.kind != "ivf" and (np.abs(self._units_at(positions) - unit_vectors(vectors)) > UNIT_ERROR).any():
            raise DamagedError(
                f"the shards and the index {self.path} disagree about layer {self.layer}: one of them is damaged. Run: "
                "⦃embstore verify⦄"
            )
        return vectors

    def _narrowed(self, positions: Positions, query: Vectors, k: int) -> Positions:
        """Return which of some positions can be of the k nearest, by float64 cosines of the unit vectors."""
        if len(positions) <= k:
            return positions
        return positions[above(approximate_cosines(self._units_at(positions), query), k, UNIT_ROUNDING)]

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


# Of an IndexIDMap and of the IndexFlatIP in it: type, dimension, number of vectors, two unused numbers, whether it is
# trained, metric (0: inner product). Then the number of components and the vectors; then the number of ids and the ids.
_HEADER = struct.Struct("<4siqqq?i")
_COUNT = struct.Struct("<Q")
_TYPES = (b"IxMp", b"IxFI")
_VECTORS_AT = 2 * _HEADER.size + _COUNT.size
# Vectors in the file are not aligned to their 4 bytes: they are copied by blocks that stay in the processor's cache.
_BLOCK_BYTES = 256 << 10
_PRODUCT_BYTES = 64 << 20
_MANY = 20  # queries from which a matrix product is faster than single vectors


class FlatIndex(Index):
    """Exact index of one layer: its unit vectors and item ids, memory-mapped."""

    kind = "flat"
    path: Path

    def __init__(self, path: Path, card: IndexCard, data: NDArray[np.uint8]) -> None:
        """Wrap the bytes of a file whose structure was checked."""
        self.path, self.dim, self.layer, self._n_searches = path, card.dim, card.layer, 0
        ids_at = _VECTORS_AT + 4 * card.n * card.dim + _COUNT.size
        self._codes, self._id_bytes = data[_VECTORS_AT : ids_at - _COUNT.size], data[ids_at:]
        self._vectors = self._codes.view("<f4").reshape(card.n, card.dim)

    @classmethod
    def open(cls, path: Path, card: IndexCard) -> Self:
        """Open an index file, memory-mapped, and check it against its card."""
        n, dim = card.n, card.dim
        with disk.reading(path) as file:
            head = file.read(_VECTORS_AT)
            if len(head) < _VECTORS_AT:
                raise damage(path, "it is cut short")
            for place, kind in enumerate(_TYPES):
                found, of_dim, of_n, _, _, is_trained, metric = _HEADER.unpack_from(head, place * _HEADER.size)
                if found != kind:
                    raise damage(path, "it is no index of the kind 'flat'")
                if (of_dim, of_n, is_trained, metric) != (dim, n, True, 0):
                    raise damage(path, "it is not of the size that its card says, or does not compute cosines")
            size = _VECTORS_AT + 4 * n * dim + _COUNT.size + 8 * n
            if _COUNT.unpack(head[-_COUNT.size :]) != (n * dim,) or disk.size(path) != size:
                raise damage(path, "it is not of the size that its card says")
            data = np.memmap(file, np.uint8, "r", shape=(size,)).view(np.ndarray)
        if _COUNT.unpack(data[size - 8 * n - _COUNT.size : size - 8 * n].tobytes()) != (n,):
            raise damage(path, "it does not say which items it holds")
        return cls(path, card, data)

    @cached_property
    def ids(self) -> Ids:
        """Item id of each position (n,)."""
        return np.frombuffer(self._id_bytes.tobytes(), "<i8")

    def check(self, card: IndexCard) -> None:
        """Raise DamagedError if the vectors or ids do not match the CRC-32 of the card, where the card has one.

        This reads the whole file; the first search would read it anyway, and a memory-mapped file is read from disk
        once.
        """
        if card.crc32 is not None and crc32(self._id_bytes, crc32(self._codes)) != card.crc32:
            raise damage(self.path, "its CRC-32 is not the one in its card")

    def _units_at(self, positions: Positions) -> Units:
        return np.ascontiguousarray(self._vectors[positions])

    def search(
        self, queries: Vectors, k: int, *, members: NDArray[np.bool_] | None = None, gather: Gather | None = None
    ) -> tuple[Ids, NDArray[np.floating]]:
        """Return the nearest items of each query exactly; see :meth:`Index.search`."""
        n = len(self.ids) if members is None else int(members.sum())
        k = min(k, max(1, n))
        units, near = unit_vectors(queries), []
        for part in slices(len(units), max(1, _PRODUCT_BYTES // (4 * max(1, len(self.ids))))):
            products = self._products(units[part])
            if members is not None:
                products[:, ~members] = -np.inf
            for row, query in enumerate(queries[part]):
                positions = candidates(products[row], k, self.dim)
                near.append(self._narrowed(positions, query, k))
        return self._ranked(queries, near, k, gather)

    def _products(self, queries: Units) -> Units:
        """Return the float32 inner products (q, n) of all vectors with queries (q, dim), by the faster of two ways.

        FAISS multiplies single vectors without copying the unaligned ones; an index that is searched again is worth
        the time to load it. The products differ in rounding only, and what is found does not depend on them.
        """
        products = np.empty((len(queries), len(self._vectors)), np.float32)
        self._n_searches += 1
        if len(queries) < _MANY and (self._n_searches > 1 or "faiss" in sys.modules):
            _faiss_inner_products(self._codes, queries, products)
            return products
        for rows in slices(len(self._vectors), max(1, _BLOCK_BYTES // (4 * self.dim))):
            products[:, rows] = inner_products(np.array(self._vectors[rows]), queries)
        return products


def _faiss_inner_products(codes: NDArray[np.uint8], queries: Units, products: Units) -> None:
    """Compute the inner products of vectors, as the bytes of a flat index, with some queries."""
    import faiss as untyped  # its stubs lack what its Python layer adds

    faiss: Any = untyped
    for query, row in zip(queries, products, strict=True):
        faiss.fvec_inner_products_ny(
            faiss.swig_ptr(row), faiss.swig_ptr(query), faiss.cast_integer_to_float_ptr(codes.ctypes.data),
            len(query), len(row),
        )  # fmt: skip
