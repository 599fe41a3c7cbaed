"""The searchable index of one layer, whatever its kind: item ids by position, membership, and the search itself."""

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from embstore.index.card import IndexCard
from embstore.index.vectors import Gather, Ids, Units, Vectors, unit_vectors

UNIT_ERROR = 1e-5  # tolerance for the rounding of a unit vector's component


class Index(ABC):
    """Searchable index of one layer.

    Attributes:
        kind: ``flat``, ``hnsw`` or ``ivf``.
        dim: Dimension of the vectors.
    """

    kind: str
    dim: int

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

    @abstractmethod
    def units(self, ids: Ids) -> Units:
        """Return the unit vectors (n, dim) of items (n,), from an index of a kind other than ``ivf``."""

    @abstractmethod
    def search(
        self, queries: Vectors, k: int, *, members: NDArray[np.bool_] | None = None, gather: Gather | None = None
    ) -> tuple[Ids, Units]:
        """Return the nearest items of each query.

        Args:
            queries: Vectors (n, dim), not necessarily normalised.
            k: Number of neighbours.
            members: Mask of the positions that may be returned (:meth:`members`); None for all. If few are allowed, the
                search is exact.
            gather: Function that returns vectors by item id; required for ``ivf``, which stores only codes.

        Returns:
            Item ids and cosines, each (n, k), with fewer columns if the index has fewer items; id -1 where fewer were
            found.

        Raises:
            DamagedError: The index is damaged, or names items that are not in its shards.
        """

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
