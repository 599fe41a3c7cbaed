"""Read the vectors of a few items from shards, without pyarrow, which takes longer to load than they take to read."""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embstore.base import supply
from embstore.storage.files.paths import Shard
from embstore.storage.parquet.footer import RowGroup, fetch_footers, read_row_groups
from embstore.storage.parquet.reader import read_rows, read_values

if TYPE_CHECKING:
    from pathlib import Path

Ids = NDArray[np.int64]
Block = NDArray[np.float32]


def read_items(
    shards: Sequence[Shard], layers: Collection[int], ids: Ids, dim: int
) -> Iterator[tuple[int, Ids, Block]]:
    """Yield the layer, the ids (m,) and the vectors (m, dim) of some items, row group by row group.

    Footers are checked against their hash, and the pages that are read against their CRC.

    Args:
        shards: Shards of a space.
        layers: Ids of layers.
        ids: Ids of the items, ascending.
        dim: Dimension of the vectors.

    Raises:
        DamagedError: A shard was altered.
    """
    if not len(ids):
        return
    fetch_footers([shard.path for shard in shards])
    groups = [(shard, group) for shard in shards for group in _row_groups(shard, layers, ids)]
    _fetch([(shard, group.item_ids) for shard, group in groups])
    found: list[tuple[Shard, RowGroup, Ids, NDArray[np.int64]]] = []
    for shard, group in groups:
        n_items, n_values = group.item_ids.num_values, group.vectors.num_values
        if n_values != n_items * dim:
            raise shard.damage(f"layer {group.layer} has {n_values} components for {n_items} vectors of {dim}")
        stored = _read(shard, partial(read_values, shard.path, group.item_ids))
        is_wanted = ids[np.searchsorted(ids, stored).clip(max=len(ids) - 1)] == stored
        if is_wanted.any():
            found.append((shard, group, stored[is_wanted], np.flatnonzero(is_wanted)))
    _fetch([(shard, group.vectors) for shard, group, _, _ in found])
    for shard, group, found_ids, rows in found:
        vectors = _read(shard, partial(read_rows, shard.path, group.vectors, rows, dim))
        shard.check_finite(group.layer, vectors)
        yield group.layer, found_ids, vectors


def _row_groups(shard: Shard, layers: Collection[int], ids: Ids) -> list[RowGroup]:
    """Return the row groups that may have some items, by pyarrow if embstore's writer would write another footer."""
    if (groups := read_row_groups(shard.path, layers, ids)) is not None:
        return groups
    from embstore.storage.files.vectors import LayerVectors

    return [group for layer in layers for group in LayerVectors([shard], layer, 0, ids).row_groups()]


def _read(shard: Shard, read: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    try:
        return read()
    except (FileNotFoundError, ValueError) as error:
        raise shard.damage(error) from error


def _fetch(chunks: Sequence[tuple[Shard, Any]]) -> None:
    """Fetch column chunks of shards that are only partly on this machine, all at the same time."""
    parts: dict[Path, list[supply.Range]] = {}
    for shard, chunk in chunks:
        start = chunk.data_page_offset
        parts.setdefault(shard.path, []).append((start, start + chunk.total_compressed_size))
    supply.fetch(parts)
