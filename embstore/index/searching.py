"""Search a graph or an index of codes with FAISS: item ids and cosines, best first, ties by ascending id."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from embstore.base import disk
from embstore.base.arrays import Positions, rounding_error_bound
from embstore.index import faiss_index
from embstore.index.base import Index
from embstore.index.card import IndexCard
from embstore.index.exact_search import candidates
from embstore.index.hnsw_holdout import is_on_ground_level, unlinked
from embstore.index.policy import FLAT_BYTES
from embstore.index.structure import check_positions, damage
from embstore.index.vectors import Gather, Ids, Units, Vectors, ordered, unit_vectors

if TYPE_CHECKING:
    import faiss

TUNED_K = 10
# A graph search computes about 16 distances per candidate; scanning all members may need fewer.
_DISTANCES_PER_CANDIDATE = 16


@dataclass(eq=False)
class FaissIndex(Index):
    """Searchable index of one layer, approximate: a graph, or codes in lists.

    Attributes:
        kind: ``hnsw`` or ``ivf``.
        dim: Dimension of the vectors.
        effort: Search parameters for 10 neighbours and the item itself; see :class:`.card.IndexCard`.
        layer: Number of the layer.
        path: Index file; None during a build.
    """

    _index: "faiss.IndexIDMap"
    kind: str
    dim: int
    effort: dict[str, int]
    layer: int
    path: Path | None = None

    @classmethod
    def open(cls, path: Path, card: IndexCard) -> Self:
        """Open an index file, memory-mapped, and check it against its card.

        Raises:
            DamagedError: The file cannot be read, or does not match the card.
        """
        return cls(faiss_index.load(path, card), card.kind, card.dim, card.effort, card.layer, path)

    def check(self, card: IndexCard) -> None:
        """Do nothing: only the cards of exact indexes have a CRC-32, since their results depend on each bit."""

    def check_positions(self) -> None:
        """Raise DamagedError unless the lists of an ``ivf`` index contain each of its vectors exactly once."""
        if self.kind == "ivf" and self.path is not None:
            check_positions(self.path, self._inner, len(self.ids))

    @cached_property
    def ids(self) -> Ids:
        """Item id of each position (n,)."""
        import faiss

        ids: Ids = faiss.rev_swig_ptr(self._index.id_map.data(), self._index.id_map.size())
        return ids

    @cached_property
    def _inner(self) -> Any:
        return faiss_index.inner_of(self._index)

    @property
    def n_lists(self) -> int:
        """Number of lists of an ``ivf`` index."""
        return int(self._inner.nlist)

    def can_unlink(self, ids: Ids) -> NDArray[np.bool_]:
        """Return a mask (n,) of the items that :meth:`unlinking` accepts."""
        if self.kind != "hnsw" or not len(ids):
            return np.ones(len(ids), bool)
        return is_on_ground_level(self._inner.hnsw)[self._positions(ids)]

    @contextmanager
    def unlinking(self, ids: Ids) -> Iterator[None]:
        """Temporarily unlink items of a graph, as if they were not stored; other kinds are unchanged.

        Args:
            ids: Items to unlink (n,), accepted by :meth:`can_unlink`. The index must be in memory, not memory-mapped.
        """
        if self.kind != "hnsw":
            yield
            return
        with unlinked(self._inner.hnsw, faiss_index.units_of(self._inner), self._positions(ids)):
            yield

    def _units_at(self, positions: Positions) -> Units:
        units: Units = faiss_index.inner_storage(self._inner).reconstruct_batch(positions)
        return units

    def agrees(self, item: int, vector: Vectors) -> bool:
        """Return whether the indexed vector of an item has the direction of the given vector (dim,).

        Always True for ``ivf``, which stores no vectors: its cosines are computed from the shards.
        """
        return self.kind == "ivf" or super().agrees(item, vector)

    def search(
        self, queries: Vectors, k: int, *, members: NDArray[np.bool_] | None = None, gather: Gather | None = None
    ) -> tuple[Ids, NDArray[np.floating]]:
        """Return the nearest items of each query; see :meth:`.base.Index.search`."""
        units = unit_vectors(queries)
        n = len(self.ids) if members is None else int(members.sum())
        k = min(k, max(1, n))
        if self.kind == "ivf" and gather is None:
            raise TypeError("an index of codes needs the vectors of its candidates")
        effort = self._effort(k, n)
        # Also those that were visited anyway: float32 may put some of the nearest behind others.
        visited = effort["ef_search" if self.kind == "hnsw" else "n_exact"] if gather is not None else k
        positions, products = self._candidates(units, k, min(max(k, visited), max(1, n)), effort, members)
        if gather is None:
            ids, cosines = ordered(self._ids_at(positions), products)
            return ids[:, :k], cosines[:, :k]
        self._ids_at(positions)  # of a damaged index some may be out of range
        near = []
        for row, query in enumerate(queries):
            found = positions[row, positions[row] >= 0]
            if self.kind == "hnsw":
                found = self._narrowed(found[candidates(products[row, : len(found)], k, self.dim)], query, k)
            near.append(found)
        return self._ranked(queries, near, k, gather)

    def _candidates(
        self, units: Units, k: int, width: int, effort: dict[str, int], members: NDArray[np.bool_] | None
    ) -> tuple[Ids, Units]:
        """Return the positions of the nearest items of each query and their inner products, (q, width) or more."""
        if members is None:
            return self._find(units, width, effort, members)
        n = int(members.sum())
        if self.kind == "ivf":  # lists without an allowed item are of no use, and their number is unknown
            wider = effort | {"n_probe": math.ceil(effort["n_probe"] * len(self.ids) / max(1, n))}
            return self._find(units, width, wider, members)
        if is_few(n, self.dim) or n <= _DISTANCES_PER_CANDIDATE * effort["ef_search"]:
            return self._scan(units, k, width, members)
        positions, products = self._find(units, width, effort, members)
        return (positions, products) if (positions[:, :k] >= 0).all() else self._scan(units, k, width, members)

    def _find(
        self, units: Units, k: int, effort: dict[str, int], members: NDArray[np.bool_] | None
    ) -> tuple[Ids, Units]:
        """Search by position as in :func:`.faiss_index.find`; an error of FAISS means that the file is damaged."""
        try:
            return faiss_index.find(self._inner, self.kind, units, k, effort, members)
        except RuntimeError as error:
            if self.path is None:
                raise
            raise disk.quoted_error(str(error), self.path) or damage(self.path, "FAISS cannot search it") from error

    def _scan(self, units: Units, k: int, width: int, members: NDArray[np.bool_]) -> tuple[Ids, Units]:
        """Search all vectors, for as many as their float32 products let be among the k nearest."""
        storage, n = faiss_index.inner_storage(self._inner), int(members.sum())
        while True:
            positions, products = faiss_index.find(storage, "flat", units, width, {}, members)
            lowest = products[:, k - 1] - 2 * rounding_error_bound(self.dim, np.float32)
            if width >= n or (products[:, -1] < lowest).all():
                return positions, products
            width = min(n, 4 * width)

    def _effort(self, k: int, n: int) -> dict[str, int]:
        """Return the search parameters for k of n allowed items: in proportion, since other items are visited too."""
        scale = max(1.0, k / (TUNED_K + 1))
        if self.kind == "hnsw":
            return {"ef_search": math.ceil(self.effort["ef_search"] * scale * len(self.ids) / max(1, n))}
        return {
            "n_probe": math.ceil(self.effort["n_probe"] * scale),
            "n_exact": math.ceil(self.effort["n_exact"] * scale),
        }

    def _ids_at(self, positions: Ids) -> Ids:
        """Return the item ids at positions of any shape; -1 where the position is -1."""
        if not len(self.ids):
            return np.full_like(positions, -1)
        if positions.max(initial=-1) >= len(self.ids) or positions.min(initial=-1) < -1:
            raise damage(self.path or Path("the index"), "it names positions that it does not have")
        return np.where(positions >= 0, self.ids[positions], -1)


def is_few(n: int, dim: int) -> bool:
    """Return whether n vectors are few enough for an exact scan, which then takes about 50 ms."""
    return 4 * n * dim <= FLAT_BYTES
