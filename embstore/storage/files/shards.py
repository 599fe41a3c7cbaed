"""Write shards, immutable Parquet files with all layers of some items, and their summaries.

A shard is renamed to its final name after its summary was written, and counts once a manifest names it
(:mod:`embstore.storage.transaction.commit`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embstore.base import atomic, disk
from embstore.base.errors import EncodeError
from embstore.base.space import Layers
from embstore.base.summary import Summary
from embstore.storage.files import names
from embstore.storage.files.card import Card
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.files.tables import write_table
from embstore.storage.parquet.writer import ShardFile, to_table

SHARD_BYTES = 128 << 20
"""Approximate size of a shard's vectors in bytes."""
FLOAT16_MAX = float(np.finfo(np.float16).max)
_NOT_FINITE = "is not finite"

SUMMARY_SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("layer", pa.int16(), nullable=False),
        pa.field("n", pa.int64(), nullable=False),
        pa.field("n_zero", pa.int64(), nullable=False),
        *(
            pa.field(name, pa.list_(pa.field("element", pa.float64(), nullable=False)), nullable=False)
            for name in ("total", "unit_total", "unit_square_total")
        ),
        *(
            pa.field(name, pa.float64(), nullable=False)
            for name in ("norm_total", "norm_square_total", "norm_min", "norm_max")
        ),
    ]
)
_SUMS = SUMMARY_SCHEMA.names[4:]


class InvalidVectorError(EncodeError):
    """A vector of an item has a component that is NaN, infinite, or too large for float16."""

    def __init__(self, item_id: int, layer: str, problem: str) -> None:
        super().__init__(f"the vector of item {item_id} at layer {layer} {problem}.")
        self.item_id = item_id
        self.layer = layer


def embeddings_schema(dim: int, dtype: str) -> pa.Schema:
    """Return the Parquet schema of a shard; no column is nullable."""
    element = pa.field("element", pa.type_for_alias(dtype), nullable=False)
    return pa.schema(
        [
            pa.field("layer", pa.int16(), nullable=False),
            pa.field("item_id", pa.int64(), nullable=False),
            pa.field("vector", pa.list_(element, dim), nullable=False),
        ]
    )


@dataclass(frozen=True, slots=True)
class StagedShard:
    """Complete shard that has not been renamed to its final name."""

    temp: Path
    shard: Shard
    summary: pa.Table


@dataclass(frozen=True, slots=True, eq=False)
class ShardContent:
    """Vectors of some items of a space, which make a shard."""

    card: Card  # card of the space, with its layers and the stored dtype
    item_ids: NDArray[np.int64]  # distinct item ids, int64 (n,); rows are stored by ascending id
    # Vectors of each layer of the card, float32 (n, dim); read once. With ids that ascend, a layer may also be an
    # iterator of blocks of its rows, each but the last of a multiple of :data:`.ROW_GROUP_ROWS`.
    vectors: Iterable[NDArray[np.float32] | Iterator[NDArray[np.float32]]]


def stage_shard(temp: Path, paths: StorePaths, content: ShardContent) -> StagedShard:
    """Write a shard to a temporary file.

    Raises:
        InvalidVectorError: A component is NaN, infinite, or too large for float16.
    """
    card, layers, dtype = content.card, content.card.layers, content.card.dtype
    order = np.argsort(content.item_ids)
    in_order = bool((order[1:] > order[:-1]).all())
    item_ids = content.item_ids[order]
    summaries = []
    # While a block is summed, the one before it is written, and those before that are flushed to the disk: the last
    # flush, before the file is renamed, takes less time then.
    with disk.writing(temp) as file, ThreadPoolExecutor(2, "embstore-shard") as pool:
        shard_file = ShardFile(file, embeddings_schema(card.dim, dtype), layers.ids, item_ids)
        writing: list[Future[None]] = []
        flushing: list[Future[None]] = []
        for layer, rows in zip(layers, content.vectors, strict=True):
            summaries.append(Summary.empty(card.dim))
            n = 0
            whole = [rows if in_order else rows[order]] if isinstance(rows, np.ndarray) else rows
            for block in whole:
                ids = item_ids[n : n + len(block)]
                n += len(block)
                stored = _as_stored(block, ids, layer.name, dtype)
                summary = Summary.of(stored)
                if not summary.is_finite:
                    bad = np.flatnonzero(~np.isfinite(stored).all(axis=1))
                    raise InvalidVectorError(int(ids[bad[0]]), layer.name, _NOT_FINITE)
                summaries[-1] += summary
                if writing:
                    writing[-1].result()
                    if all(flush.done() for flush in flushing):
                        file.flush()
                        flushing.append(pool.submit(disk.sync_open, file, temp))
                writing.append(pool.submit(shard_file.write, stored))
        for done in (*writing[-1:], *flushing):  # the system reports a failed flush once
            done.result()
        digest = shard_file.close()
    shard = Shard(names.PARTS.path(paths.embeddings(card.space), names.part_name(digest)))
    return StagedShard(temp, shard, summary_table(shard, digest, disk.size(temp), layers, summaries))


def publish_shard(staged: StagedShard) -> None:
    """Write the summary of a shard, then rename the shard to its final name; a commit then makes it count."""
    shard = staged.shard
    try:
        write_table(shard.summary_path, staged.summary, plain=True)
        atomic.publish(staged.temp, shard.path)
    except BaseException:
        if not disk.exists(shard.path):
            disk.remove(shard.summary_path, missing_ok=True)
        raise


def _as_stored(rows: NDArray[np.float32], item_ids: NDArray[np.int64], layer: str, dtype: str) -> NDArray[np.floating]:
    """Return vectors (n, dim) in the stored dtype; raise an error that names the item if a component does not fit."""
    if dtype == "float32":
        return rows
    largest = np.abs(rows).max(axis=1)
    over = np.flatnonzero(largest > FLOAT16_MAX)
    if not len(over):
        with np.errstate(over="ignore"):
            cast = rows.astype(np.float16)
        over = np.flatnonzero(np.isinf(cast).any(axis=1) & np.isfinite(largest))
        if not len(over):
            return cast
    worst = over[0]
    if not np.isfinite(largest[worst]):
        raise InvalidVectorError(int(item_ids[worst]), layer, _NOT_FINITE)
    problem = f"has a component of size {largest[worst]:.6g}; float16 ends at {FLOAT16_MAX:.0f}"
    raise InvalidVectorError(int(item_ids[worst]), layer, f"{problem}. Build this space with ⦃dtype=float32⦄")


def summary_table(shard: Shard, digest: str, n_bytes: int, layers: Layers, summaries: Sequence[Summary]) -> pa.Table:
    """Return the summary of a shard as a table in :data:`SUMMARY_SCHEMA`, with a row per layer."""
    rows = [
        {"shard": shard.name, "sha256": digest, "bytes": n_bytes, **summary_row(layer.id, summary)}
        for layer, summary in zip(layers, summaries, strict=True)
    ]
    return to_table(rows, SUMMARY_SCHEMA)


def summary_row(layer_id: int, summary: Summary) -> dict[str, object]:
    """Return the columns of a summary's row that follow the shard's name, hash and size."""
    sums = ((name, getattr(summary, name)) for name in _SUMS)
    return {"layer": layer_id, **{name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in sums}}


def stored_sums(row: Mapping[str, Any]) -> Summary:
    """Return the sums in a row of :data:`SUMMARY_SCHEMA`."""
    sums: dict[str, Any] = {name: np.asarray(row[name]) if isinstance(row[name], list) else row[name] for name in _SUMS}
    return Summary(**sums)
