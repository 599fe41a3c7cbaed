"""Give metrics access to the vectors of one layer, stored or transformed."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import (
    Float64Array,
    Int64Array,
    distinct,
    distinct_rows,
    has_direction,
    slices,
)
from embstore.base.progress import current_task
from embstore.base.summary import Summary
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.vectors import LayerVectors

if TYPE_CHECKING:
    from embstore.base.space import Layer
    from embstore.metrics import LayerData, NotComputable
    from embstore.metrics.transforms import Step

Block = NDArray[np.floating]
T = TypeVar("T")

_FEW = 256  # items whose pages are read one by one; those of more are most of a layer's
_PART = 1 << 16  # components of vectors that are transformed at a time


class LayerMethods:
    """What the layers of this package have in common."""

    @property
    def dim(self: "LayerData") -> int:
        """Number of components of a vector."""
        return len(self.dims)

    @cached_property
    def summary(self: "LayerData") -> Summary:
        """The sums over the vectors."""
        return Summary.sum_of(self.map(Summary.of), self.dim)

    def map(self: "LayerData", function: Callable[[Block], T]) -> Iterator[T]:
        """Yield ``function(block)`` for each block of vectors."""
        return self.map_with_ids(lambda _, block: function(block))

    def neighbours(
        self: "LayerData",
        k: int,
        distance: str = "cosine",
        *,
        distinct: bool = False,
        only: Ids | None = None,
    ) -> tuple[Ids, Int64Array, Float64Array]:
        """Return the k nearest other items of every item, by an exact search: see
        :class:`LayerData`.
        """
        from embstore.index.exact_knn import nearest_rows

        ids, vectors = self.gather(only)
        if distance == "cosine":
            is_kept = has_direction(vectors)
            if not is_kept.all():
                ids, vectors = ids[is_kept], vectors[is_kept]
        if distinct and len(first := distinct_rows(vectors)[0]) < len(ids):
            ids, vectors = ids[first], vectors[first]
        if isinstance(self, StoredLayer) and distance == "cosine" and not distinct:
            return ids, *_shared(self, ids, vectors, k)
        return ids, *nearest_rows(vectors, k, distance, report=_reporter())

    def neighbours_of(
        self: "LayerData", items: Ids, k: int, only: Ids
    ) -> tuple[Int64Array, Float64Array]:
        """Return the k nearest other items by cosine of some items: see :class:`LayerData`."""
        from embstore.index.exact_knn import nearest_rows

        ids, vectors = self.gather(only)
        if len(items) == len(ids) and isinstance(self, StoredLayer):
            return _shared(self, ids, vectors, k)
        rows = np.searchsorted(ids, items)
        return nearest_rows(vectors, k, rows=rows, report=_reporter())


@dataclass
class StoredLayer(LayerMethods):
    """The selected vectors of one layer of a space (the protocol ``LayerData``).

    Attributes:
        known_summary: Stored summary of the layer if all items are selected; None to compute it.
    """

    catalog: Catalog
    card: Card
    layer: "Layer"
    only: Ids | None = None  # ids of the selected items, ascending; None for all
    known_summary: Summary | None = None

    @property
    def dims(self) -> Int64Array:
        """Index of each component in the stored vectors, int64 (dim,)."""
        return np.arange(self.card.dim)

    @cached_property
    def summary(self) -> Summary:
        """The stored summary, or the sums over the selected vectors."""
        if self.known_summary is not None:
            return self.known_summary
        return self._vectors(self.only).summary

    def map_with_ids(self, function: Callable[[Ids, Block], T]) -> Iterator[T]:
        """Yield ``function(item_ids, block)`` for each block, and report to the current task."""
        task = current_task()
        results = self._vectors(self.only).map_with_ids(function)
        return results if task is None else task.report_each(results)

    def gather(self, ids: Ids | None = None) -> tuple[Ids, Block]:
        """Return the item ids int64 (n,), ascending, and vectors (n, dim); ``ids`` restricts the
        selection.
        """
        if ids is not None and self.only is not None:
            ids = np.intersect1d(ids, self.only)
        if ids is None or len(ids) > _FEW:
            return self._vectors(self.only if ids is None else distinct(ids)).gather()
        parts = [*self.catalog.read_items(self.card.space, self.layer.id, distinct(ids))]
        found_ids = np.concatenate([np.empty(0, np.int64), *(part for part, _ in parts)])
        vectors = np.concatenate(
            [np.empty((0, self.dim), np.float32), *(rows for _, rows in parts)]
        )
        order = np.argsort(found_ids)
        return found_ids[order], vectors[order]

    def _vectors(self, only: Ids | None) -> LayerVectors:
        """Open the vectors of some items of the layer, to be read; None for all."""
        return self.catalog.vectors(self.card.space, self.layer.id, only)


@dataclass
class TransformedLayer(LayerMethods):
    """The float64 vectors of a layer after a fitted transform (the protocol ``LayerData``).

    Attributes:
        transform: Function from vectors, float (n, layer.dim), to transformed vectors, float64 (n,
            dim).
    """

    layer: "LayerData"  # vectors before the transform
    transform: Callable[[Block], Float64Array]
    # Index in the stored vectors of each component of the transformed ones, int64 (dim,).
    dims: Int64Array
    known_summary: Summary | None = (
        None  # sums over the transformed vectors, if they are known; None to compute them
    )

    @cached_property
    def summary(self) -> Summary:
        """The sums over the transformed vectors."""
        if self.known_summary is not None:
            return self.known_summary

        def summarise(block: Block) -> Summary:
            # In parts, of which the float64 vectors stay in a core's cache.
            parts = slices(len(block), max(1, _PART // block.shape[1]))
            sums = (Summary.of(self.transform(block[rows])) for rows in parts)
            return Summary.sum_of(sums, self.dim)

        return Summary.sum_of(self.layer.map(summarise), self.dim)

    def map_with_ids(self, function: Callable[[Ids, Block], T]) -> Iterator[T]:
        """Yield ``function(item_ids, block)`` for each block of transformed vectors."""
        return self.layer.map_with_ids(lambda ids, block: function(ids, self.transform(block)))

    def gather(self, ids: Ids | None = None) -> tuple[Ids, Block]:
        """Return the item ids int64 (n,), ascending, and transformed vectors (n, dim); equal
        vectors stay equal.
        """
        found_ids, vectors = self.layer.gather(ids)
        first, labels = distinct_rows(vectors)
        if len(first) == len(found_ids):
            return found_ids, self.transform(vectors)
        # The rounding of a matrix product depends on the position of a row: equal rows would differ
        # slightly.
        return found_ids, self.transform(vectors[first])[labels]


def stored_layers(
    catalog: Catalog, card: Card, layers: Iterable["Layer"], only: Ids | None = None
) -> list[StoredLayer]:
    """Return the vectors of some layers of a space, with the stored summaries if all items are
    selected.
    """
    summaries = catalog.summaries(card.space) if only is None else {}
    return [StoredLayer(catalog, card, layer, only, summaries.get(layer.id)) for layer in layers]


def transformed(
    data: StoredLayer, steps: "Sequence[Step]"
) -> tuple["StoredLayer | TransformedLayer | NotComputable", list[str]]:
    """Fit transforms on a layer and apply them; return its vectors, or the reason why not, and
    notes.
    """
    if not steps:
        return data, []
    from embstore.metrics import NotComputable  # which neighbours of stored vectors do not need
    from embstore.metrics.transforms import fit

    try:
        transform = fit(data, steps)
    except NotComputable as error:
        return NotComputable(str(error), data.summary.n), []
    notes = [f"{data.card.space} layer {data.layer.name}: {note}." for note in transform.notes]
    return TransformedLayer(data, transform, transform.columns), notes


def _shared(data: StoredLayer, ids: Ids, vectors: Block, k: int) -> tuple[Int64Array, Float64Array]:
    """Return the neighbours of all of some items, searched once where several metrics share
    them.
    """
    from embstore.index.exact_knn import nearest_rows

    def search(n_neighbours: int) -> tuple[Int64Array, Float64Array]:
        return nearest_rows(vectors, n_neighbours, report=_reporter())

    return found_once(data.card.space, data.layer.id, ids, k, search)


def _reporter() -> Callable[[float], None] | None:
    """Return a function that reports to the current task, if there is one, that a search goes
    on.
    """
    task = current_task()
    return None if task is None else lambda _share: task.report()


Lists = tuple[Int64Array, Float64Array]
Search = Callable[[int], Lists]

# what all three need for k = 10: one more neighbour shows whether the choice of ten is arbitrary
_LEAST = 11


# The lists that are kept, by layer and items, and how many bytes of them at most.
_kept: ContextVar[tuple[dict[tuple[str, int, bytes], Lists], int] | None] = ContextVar(
    "kept", default=None
)


@contextmanager
def sharing_neighbours(most_bytes: int = 1 << 28) -> Iterator[None]:
    """Keep the lists of neighbours by cosine that are searched within a ``with`` block, for other
    metrics in it.

    The store must stay the same within it.
    """
    token = _kept.set(({}, most_bytes))
    try:
        yield
    finally:
        _kept.reset(token)


def found_once(space: str, layer: int, ids: Ids, k: int, search: Search) -> Lists:
    """Return the k nearest other items of each item by cosine, from an earlier search or a new
    one.
    """
    if (kept := _kept.get()) is None:
        return search(k)
    lists, most_bytes = kept
    key = (space, layer, hashlib.sha256(ids.tobytes()).digest())
    if key not in lists or lists[key][0].shape[1] < min(k, len(ids) - 1):
        lists.pop(key, None)
        positions, cosines = search(max(k, _LEAST))
        lists[key] = positions.astype(np.int32), cosines
        while len(lists) > 1 and sum(p.nbytes + c.nbytes for p, c in lists.values()) > most_bytes:
            del lists[next(iter(lists))]  # the oldest
    positions, cosines = lists[key]
    return positions[:, :k].astype(np.int64), cosines[:, :k]
