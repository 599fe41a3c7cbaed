"""The searchable index of one layer, whatever its kind: item ids by position, membership, and the search itself."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float64Array, Positions, distinct
from embstore.base.errors import DamagedError
from embstore.index.card import IndexCard
from embstore.index.exact_search import UNIT_ROUNDING, above, approximate_cosines, nearest
from embstore.index.vectors import Gather, Ids, Units, Vectors, unit_vectors

UNIT_ERROR = 1e-5  # tolerance for the rounding of a unit vector's component


class Index(ABC):
    """Searchable index of one layer.

    Attributes:
        kind: ``flat``, ``hnsw`` or ``ivf``.
        dim: Dimension of the vectors.
        layer: Number of the layer.
        path: Index file; None during a build.
    """

    kind: str
    dim: int
    layer: int
    path: Path | None

    @property
    @abstractmethod
    def ids(self) -> Ids:
        """Item id of each position (n,)."""

    @abstractmethod
    def check(self, card: IndexCard) -> None:
        """Raise DamagedError if the index does not match the CRC-32 of its card, where the card has one."""

    @abstractmethod
    def check_positions(self) -> None:
        """Raise DamagedError unless the index contains each of its vectors exactly once."""

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

        Raises:
            DamagedError: The index is damaged, or names items that are not in its shards.
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
            raise DamagedError("an index names items that its shards do not hold. Run: embstore verify")
        if self.kind != "ivf" and (np.abs(self._units_at(positions) - unit_vectors(vectors)) > UNIT_ERROR).any():
            raise DamagedError(
                f"the shards and the index {self.path} disagree about layer {self.layer}: one of them is damaged. Run: "
                "embstore verify"
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
