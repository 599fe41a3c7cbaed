"""Divide the vectors of a layer into those of groups of items, in one pass where they fit in memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore.base.summary import Summary
from embstore.metrics import LayerData, NotComputable
from embstore.query.grouping import Group, Groups
from embstore.query.layer_data import Block, StoredLayer, TransformedLayer, neighbours_within
from embstore.storage.catalog import Ids

T = TypeVar("T")

MEMORY_BYTES = 256 << 20
"""Memory up to which the vectors of all groups of a layer are read at once."""
_BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class GroupLayer:
    """The vectors of a group in memory (the protocol ``LayerData``).

    Attributes:
        ids: Item ids (n,), ascending.
        vectors: Vectors (n, dim), read-only.
        dims: Index in the stored vectors of each component, int64 (dim,).
    """

    ids: Ids
    vectors: Block
    dims: NDArray[np.int64]

    @property
    def dim(self) -> int:
        """Number of components of a vector."""
        return len(self.dims)

    @cached_property
    def summary(self) -> Summary:
        """The sums over the vectors."""
        return Summary.sum_of(self.map(Summary.of), self.dim)

    def map(self, function: Callable[[Block], T]) -> Iterator[T]:
        """Yield ``function(block)`` for each block of vectors."""
        return self.map_with_ids(lambda _, block: function(block))

    def map_with_ids(self, function: Callable[[Ids, Block], T]) -> Iterator[T]:
        """Yield ``function(item_ids, block)`` for each block of vectors."""
        size = max(1, _BLOCK_BYTES // (8 * max(1, self.dim)))
        for start in range(0, len(self.ids), size):
            yield function(self.ids[start : start + size], self.vectors[start : start + size])

    def gather(self, ids: Ids | None = None) -> tuple[Ids, Block]:
        """Return the item ids int64 (n,), ascending, and vectors (n, dim); ``ids`` restricts the group."""
        kept = np.arange(len(self.ids)) if ids is None else np.flatnonzero(np.isin(self.ids, ids))
        return self.ids[kept], self.vectors[kept]

    def neighbours(
        self, k: int, distance: str = "cosine", *, distinct: bool = False, only: Ids | None = None
    ) -> tuple[Ids, NDArray[np.int64], NDArray[np.float64]]:
        """Return the k nearest other items of every item, by an exact search: see :class:`LayerData`."""
        return neighbours_within(self, k, distance, distinct, only)


def layers_of_groups(
    data: LayerData | NotComputable, groups: Groups, *, with_summary: bool = False
) -> Iterator[tuple[Group, LayerData | NotComputable]]:
    """Yield each group with its vectors in a layer, or the reason why there are none.

    The layer is read once if its vectors fit in ``MEMORY_BYTES``; else once for each group, and once for their sums.

    Args:
        data: Vectors of the selected items, after their transforms; or the reason why there are none.
        groups: Groups of these items.
        with_summary: Whether the metric needs the sums.
    """
    if isinstance(data, NotComputable):
        yield from ((group, NotComputable(str(data), len(group.ids))) for group in groups.members)
        return
    if len(groups.ids) * data.dim * (8 if isinstance(data, TransformedLayer) else 4) <= MEMORY_BYTES:
        ids, vectors = data.gather()
        for group in groups.members:
            members = vectors[np.searchsorted(ids, group.ids)]
            members.flags.writeable = False
            yield group, GroupLayer(group.ids, members, data.dims)
        return
    summaries = _summaries(data, groups) if with_summary else [None] * len(groups.members)
    for group, summary in zip(groups.members, summaries, strict=True):
        yield group, restricted(data, group.ids, summary)


def restricted(data: LayerData, ids: Ids, summary: Summary | None = None) -> LayerData:
    """Return some of the vectors of a layer, after the transform that was fitted on all of them.

    Args:
        data: Stored or transformed layer.
        ids: Item ids, ascending.
        summary: Sums over these vectors, if they are known.
    """
    if isinstance(data, TransformedLayer):
        return TransformedLayer(restricted(data.layer, ids), data.transform, data.dims, summary)
    assert isinstance(data, StoredLayer)
    return replace(data, only=ids, known_summary=summary)


def _summaries(data: LayerData, groups: Groups) -> list[Summary]:
    """Return the sums over the vectors of each group, from one pass over the layer."""
    ids = np.concatenate([group.ids for group in groups.members])
    numbers = np.repeat(np.arange(len(groups.members)), [len(group.ids) for group in groups.members])
    order = np.argsort(ids)
    ids, numbers = ids[order], numbers[order]
    sums = [Summary.empty(data.dim) for _ in groups.members]

    def sum_block(block_ids: Ids, block: Block) -> list[tuple[int, Summary]]:
        places = np.searchsorted(ids, block_ids).clip(max=len(ids) - 1)
        is_member = ids[places] == block_ids
        found = numbers[places]
        return [
            (number, Summary.of(block[is_member & (found == number)]))
            for number in np.unique(found[is_member]).tolist()
        ]

    for parts in data.map_with_ids(sum_block) if len(ids) else ():
        for number, part in parts:
            sums[number] = sums[number] + part
    return sums
