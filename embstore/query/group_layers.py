"""Give metrics the vectors of parts of a layer's items: of groups, one after the other."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from embstore.base.arrays import Int64Array, batches, positions_of
from embstore.base.summary import Summary
from embstore.metrics import LayerData, NotComputable
from embstore.query.layer_data import Block, LayerMethods, StoredLayer, TransformedLayer
from embstore.storage.catalog import Ids

if TYPE_CHECKING:
    from embstore.metrics.transforms import Step
    from embstore.query.grouping import Group, Groups

T = TypeVar("T")

MEMORY_BYTES = 256 << 20  # memory up to which the vectors of several groups are read at once
_BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class GroupLayer(LayerMethods):
    """The vectors of a group in memory (the protocol ``LayerData``)."""

    ids: Ids  # item ids (n,), ascending
    vectors: Block  # vectors (n, dim), read-only
    dims: Int64Array  # index in the stored vectors of each component, int64 (dim,)

    def map_with_ids(self, function: Callable[[Ids, Block], T]) -> Iterator[T]:
        """Yield ``function(item_ids, block)`` for each block of vectors."""
        size = max(1, _BLOCK_BYTES // (8 * max(1, self.dim)))
        for start in range(0, len(self.ids), size):
            yield function(self.ids[start : start + size], self.vectors[start : start + size])

    def gather(self, ids: Ids | None = None) -> tuple[Ids, Block]:
        """Return the item ids int64 (n,), ascending, and vectors (n, dim); ``ids`` restricts the
        group.
        """
        kept = np.arange(len(self.ids)) if ids is None else np.flatnonzero(np.isin(self.ids, ids))
        return self.ids[kept], self.vectors[kept]


def layers_of_groups(
    data: LayerData | NotComputable,
    groups: "Groups",
    steps: Sequence["Step"] = (),
    *,
    with_summary: bool = False,
) -> Iterator[tuple["Group", LayerData | NotComputable]]:
    """Yield each group with its vectors in a layer, or the reason why there are none.

    Groups are read together as far as their vectors fit in ``MEMORY_BYTES``; a larger one is read
    block by block, and the sums of all of those once.

    Args:
        data: Vectors of the layer.
        groups: Groups of its items.
        steps: Transforms that are fitted on each group.
        with_summary: Whether the sums of large groups are needed.
    """
    if isinstance(data, NotComputable):
        yield from ((group, NotComputable(str(data), len(group.ids))) for group in groups.members)
        return
    is_float64 = isinstance(data, TransformedLayer) or steps
    max_rows = MEMORY_BYTES // (data.dim * (8 if is_float64 else 4))
    large = [group for group in groups.members if len(group.ids) > max_rows]
    of_large = iter(summaries(data, large) if with_summary else ())
    sizes = [len(group.ids) for group in groups.members]
    for batch in batches(groups.members, sizes, max_rows):
        if len(batch[0].ids) > max_rows:
            large_data = restricted(data, batch[0].ids, next(of_large, None))
            yield batch[0], fitted(large_data, steps)
            continue
        wanted = np.concatenate([group.ids for group in batch])
        ids, vectors = data.gather(None if len(batch) == len(sizes) else np.sort(wanted))
        places = np.searchsorted(ids, wanted)
        ends = np.cumsum([len(group.ids) for group in batch])
        for group, rows in zip(batch, np.split(places, ends[:-1]), strict=True):
            # Copied one by one: the rows of a small group stay in the processor's cache.
            members = vectors[rows]
            members.flags.writeable = False
            yield group, fitted(GroupLayer(group.ids, members, data.dims), steps)


def fitted(data: LayerData, steps: Sequence["Step"]) -> LayerData | NotComputable:
    """Return the vectors of a group after transforms that are fitted on them; or why there are
    none.
    """
    if not steps:
        return data
    from embstore.metrics.transforms import fit, transform_group

    if isinstance(data, GroupLayer) and len(data.ids):
        vectors = transform_group(data.vectors, steps)
        if vectors is not None:
            return GroupLayer(data.ids, vectors, data.dims)
    try:
        transform = fit(data, steps)
    except NotComputable as error:
        return NotComputable(str(error), data.summary.n)
    after = TransformedLayer(data, transform, data.dims[transform.columns])
    return GroupLayer(*after.gather(), after.dims) if isinstance(data, GroupLayer) else after


def restricted(data: LayerData, ids: Ids | None, summary: Summary | None = None) -> LayerData:
    """Return some of the vectors of a layer (None: all), after the transform that was fitted on
    those selected.
    """
    if isinstance(data, TransformedLayer):
        return TransformedLayer(restricted(data.layer, ids), data.transform, data.dims, summary)
    assert isinstance(data, StoredLayer)
    return replace(data, only=ids, known_summary=summary)


def summaries(data: LayerData, groups: Sequence["Group"]) -> list[Summary]:
    """Return the sums over the vectors of each group, from one pass over the layer."""
    if not groups:
        return []
    ids = np.concatenate([group.ids for group in groups])
    numbers = np.repeat(np.arange(len(groups)), [len(group.ids) for group in groups])
    order = np.argsort(ids)
    ids, numbers = ids[order], numbers[order]
    sums = [Summary.empty(data.dim) for _ in groups]

    def sum_block(block_ids: Ids, block: Block) -> list[tuple[int, Summary]]:
        places = positions_of(block_ids, ids)
        is_member, block_numbers = places >= 0, numbers[places]
        return [
            (number, Summary.of(block[is_member & (block_numbers == number)]))
            for number in np.unique(block_numbers[is_member]).tolist()
        ]

    for parts in data.map_with_ids(sum_block):
        for number, part in parts:
            sums[number] = sums[number] + part
    return sums
