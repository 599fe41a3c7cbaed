"""Read the vectors of a few items from shards, without pyarrow, which takes longer to load than they take to read."""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embstore.base import disk
from embstore.base.errors import DamagedError
from embstore.storage.files.paths import Shard
from embstore.storage.parquet.footer import RowGroup, read_row_groups
from embstore.storage.parquet.reader import read_rows, read_values

if TYPE_CHECKING:
    from pathlib import Path

Ids = NDArray[np.int64]
Block = NDArray[np.float32]

_FOOTER_BYTES = 64 << 10  # of a shard of 128 MiB about half of it


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
    fetch_footers(shards)
    groups = [(shard, group) for shard in shards for group in _row_groups(shard, layers, ids)]
    _fetch([(shard, group.item_ids) for shard, group in groups])
    found: list[tuple[Shard, RowGroup, Ids, NDArray[np.int64]]] = []
    for shard, group in groups:
        n_items, n_values = group.item_ids.num_values, group.vectors.num_values
        if n_values != n_items * dim:
            raise shard_damage(shard, f"layer {group.layer} has {n_values} components for {n_items} vectors of {dim}")
        stored = _read(shard, partial(read_values, shard.path, group.item_ids))
        is_wanted = ids[np.searchsorted(ids, stored).clip(max=len(ids) - 1)] == stored
        if is_wanted.any():
            found.append((shard, group, stored[is_wanted], np.flatnonzero(is_wanted)))
    _fetch([(shard, group.vectors) for shard, group, _, _ in found])
    for shard, group, found_ids, rows in found:
        vectors = _read(shard, partial(read_rows, shard.path, group.vectors, rows, dim))
        check_finite(shard, group.layer, vectors)
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
        raise shard_damage(shard, error) from error


def check_finite(shard: Shard, layer: int, vectors: Block) -> None:
    """Raise DamagedError if a vector of a layer of a shard is not finite."""
    values = vectors.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):  # the product of finite values is quick, and may overflow
        is_finite = np.isfinite(np.dot(values, values)) or np.isfinite(values).all()
    if not is_finite:
        raise shard_damage(shard, f"layer {layer} has a value that is not finite")


def shard_damage(shard: Shard, cause: object) -> DamagedError:
    """Return the error for a shard that was read and found wrong."""
    return DamagedError(
        f"{shard.path} is damaged: {cause}. Run: embstore verify. To repair it, run embstore repair, and build the "
        "same sources again: exactly its items are embedded anew."
    )


def fetch_footers(shards: Sequence[Shard]) -> None:
    """Fetch the ends of shards that are only partly on this machine, from all of them at the same time."""
    if not shards or disk.supplier_of(shards[0].path) is None:
        return
    ends = {shard.path: disk.size(shard.path) for shard in shards}
    disk.fetch_all({path: [(max(0, end - _FOOTER_BYTES), end)] for path, end in ends.items()}, is_kept=False)


def _fetch(chunks: Sequence[tuple[Shard, Any]]) -> None:
    """Fetch column chunks of shards that are only partly on this machine, all at the same time."""
    parts: dict[Path, list[disk.Range]] = {}
    for shard, chunk in chunks:
        start = chunk.data_page_offset
        parts.setdefault(shard.path, []).append((start, start + chunk.total_compressed_size))
    disk.fetch_all(parts, is_kept=False)
