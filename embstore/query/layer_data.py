"""Give metrics access to the vectors of one layer, stored or transformed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore.progress import current_task
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.card import Card
from embstore.summary import Summary

if TYPE_CHECKING:
    from embstore.metrics import LayerData
    from embstore.space import Layer
    from embstore.storage.files.vectors import LayerVectors

Block = NDArray[np.floating]
T = TypeVar("T")

_LARGE_DIM = 8192  # whose square takes half a gigabyte


@dataclass
class StoredLayer:
    """The selected vectors of one layer of a space (the protocol ``LayerData``).

    Attributes:
        catalog: Store to read.
        card: Card of the space.
        layer: Layer of the space.
        only: Ids of the selected items, ascending; None for all.
        known_summary: Stored summary, if all items are selected; None to compute it.
        was_read: Whether vectors were read.
    """

    catalog: Catalog
    card: Card
    layer: "Layer"
    only: Ids | None = None
    known_summary: Summary | None = field(default=None)
    was_read: bool = field(default=False, init=False)

    @property
    def dim(self) -> int:
        """Components of a vector."""
        return self._checked_dim

    @property
    def dims(self) -> NDArray[np.int64]:
        """The index of each component in the stored vectors, int64 (dim,)."""
        return np.arange(self.dim)

    @cached_property
    def summary(self) -> Summary:
        """The stored summary, or the sums over the selected vectors."""
        return self.known_summary if self.known_summary is not None else self._vectors(self.only).summary

    def map(self, function: Callable[[Block], T]) -> Iterator[T]:
        """Yield ``function(block)`` for each block of vectors."""
        return self._tracked(self._vectors(self.only).map, function)

    def map_with_ids(self, function: Callable[[Ids, Block], T]) -> Iterator[T]:
        """Yield ``function(item_ids, block)`` for each block of vectors."""
        return self._tracked(self._vectors(self.only).map_with_ids, function)

    def _tracked(
        self, map_blocks: Callable[[Callable[..., T]], Iterator[T]], function: Callable[..., T]
    ) -> Iterator[T]:
        """Apply a function to each block, and report the vectors read to the current task, if their number is known."""
        task = current_task()
        n_known = self.known_summary.n if self.known_summary is not None else 0
        n = n_known if self.only is None else len(self.only)
        if task is None or not n:
            return map_blocks(function)
        return task.track_blocks((self.card.space, self.layer.id), n, map_blocks, function)

    def gather(self, ids: Ids | None = None) -> tuple[Ids, Block]:
        """Return ids, ascending, and vectors in memory."""
        if ids is not None and self.only is not None:
            ids = np.intersect1d(ids, self.only)
        return self._vectors(self.only if ids is None else np.unique(ids)).gather()

    def neighbours(
        self, k: int, distance: str = "cosine", *, distinct: bool = False, only: Ids | None = None
    ) -> tuple[Ids, NDArray[np.int64], NDArray[np.float64]]:
        """Return the k nearest other items of every item, exactly: see :class:`LayerData`."""
        return _neighbours(self, k, distance, distinct, only)

    def _vectors(self, only: Ids | None) -> "LayerVectors":
        from embstore.storage.files.vectors import LayerVectors  # brings pyarrow, which a summary does not need

        self.was_read = True
        return LayerVectors(self.catalog.shards[self.card.space], self.layer.id, self.card.dim, only)

    @cached_property
    def _checked_dim(self) -> int:
        """The components by the card, checked against a shard where metrics would make much room for them."""
        if self.card.dim > _LARGE_DIM:
            from embstore.storage.files.vectors import LayerVectors

            shards = self.catalog.shards[self.card.space]
            LayerVectors(shards, self.layer.id, self.card.dim).check_dim()
        return self.card.dim


@dataclass
class TransformedLayer:
    """The vectors of a layer after a fitted transform (the protocol ``LayerData``), float64.

    Attributes:
        layer: Vectors before the transform.
        transform: Float (n, layer.dim) → float64 (n, dim).
        dims: Index in the stored vector of each component of a transformed one, int64 (dim,).
    """

    layer: "LayerData"
    transform: Callable[[Block], NDArray[np.float64]]
    dims: NDArray[np.int64]

    @property
    def dim(self) -> int:
        """Components of a transformed vector."""
        return len(self.dims)

    @cached_property
    def summary(self) -> Summary:
        """The sums over the transformed vectors."""
        total = Summary.empty(self.dim)
        for part in self.map(Summary.of):
            total = total + part
        return total

    def map(self, function: Callable[[Block], T]) -> Iterator[T]:
        """Yield ``function(block)`` for each block of transformed vectors."""
        return self.layer.map(lambda block: function(self.transform(block)))

    def map_with_ids(self, function: Callable[[Ids, Block], T]) -> Iterator[T]:
        """Yield ``function(item_ids, block)`` likewise."""
        return self.layer.map_with_ids(lambda ids, block: function(ids, self.transform(block)))

    def gather(self, ids: Ids | None = None) -> tuple[Ids, Block]:
        """Return ids, ascending, and transformed vectors in memory; of equal vectors, equal ones."""
        from embstore.arrays import distinct_rows

        found, vectors = self.layer.gather(ids)
        first, label = distinct_rows(vectors)
        if len(first) == len(found):
            return found, self.transform(vectors)
        # The rounding of a product depends on where in a matrix a row stands: equal ones would be a hair apart.
        return found, self.transform(vectors[first])[label]

    def neighbours(
        self, k: int, distance: str = "cosine", *, distinct: bool = False, only: Ids | None = None
    ) -> tuple[Ids, NDArray[np.int64], NDArray[np.float64]]:
        """Return the k nearest other items of every item in the transformed space, exactly."""
        return _neighbours(self, k, distance, distinct, only)


def _neighbours(
    data: "LayerData", k: int, distance: str, distinct: bool, only: Ids | None
) -> tuple[Ids, NDArray[np.int64], NDArray[np.float64]]:
    from embstore.arrays import distinct_rows, has_direction
    from embstore.index.exact_knn import neighbours_of_all

    ids, vectors = data.gather(only)
    if distance == "cosine" and not (keep := has_direction(vectors)).all():
        ids, vectors = ids[keep], vectors[keep]
    if distinct and len(first := distinct_rows(vectors)[0]) < len(ids):
        ids, vectors = ids[first], vectors[first]
    return ids, *neighbours_of_all(vectors, k, distance)
