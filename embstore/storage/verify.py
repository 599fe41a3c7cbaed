"""Check a store's files against each other: hashes, rows, finite values, summaries, and the same ids in every layer."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embstore.errors import DamagedError
from embstore.storage.card import Card
from embstore.storage.paths import Shard, StorePaths
from embstore.storage.shards import SUMMARY_SCHEMA, embeddings_schema
from embstore.storage.tables import ITEMS_SCHEMA, SKIPPED_SCHEMA, file_sha256
from embstore.storage.vectors import LayerVectors
from embstore.summary import Summary


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong.

    Attributes:
        file: the file at fault.
        problem: what is wrong with it.
    """

    file: Path
    problem: str


def verify_space(paths: StorePaths, card: Card) -> Iterator[Problem]:
    """Yield what is wrong with the shards and summaries of a space."""
    seen: dict[int, str] = {}
    for shard in paths.shards(card.space):
        ids = None
        for result in _verify_shard(shard, card):
            if isinstance(result, Problem):
                yield result
            else:
                ids = result
        if ids is None:
            continue
        for item in ids.tolist():
            if item in seen:
                yield Problem(shard.path, f"item {item} is in {seen[item]} too")
                break
            seen[item] = shard.path.name
        yield from _verify_texts(paths, shard, ids)


def verify_tables(paths: StorePaths) -> Iterator[Problem]:
    """Yield what is wrong with the tables of items, skipped texts and datasets, and which files do not belong."""
    for folder, schema in ((paths.items, ITEMS_SCHEMA), (paths.skipped, SKIPPED_SCHEMA)):
        for path in sorted(folder.glob("*.parquet")):
            problem = _readable(path, schema)
            if problem is None and path.stem != f"part-{file_sha256(path)[:16]}":
                problem = "its SHA-256 is not the one in its name: it was altered"
            if problem:
                yield Problem(path, problem)
    for path in sorted(paths.datasets.glob("*.parquet")):
        if problem := _readable(path, None):
            yield Problem(path, problem)


def _verify_shard(shard: Shard, card: Card) -> Iterator[Problem | NDArray[np.int64]]:
    rows = _summary_rows(shard)
    if isinstance(rows, Problem):
        yield rows
        return
    digest = file_sha256(shard.path)
    if digest != rows[0]["sha256"] or shard.name != f"part-{digest[:16]}":
        yield Problem(shard.path, "its SHA-256 is not the one in its summary: it was altered or truncated")
        return
    if (unreadable := _readable(shard.path, embeddings_schema(card.dim, card.dtype))) is not None:
        yield Problem(shard.path, unreadable)
        return
    if sorted(row["layer"] for row in rows) != list(card.layers.ids):
        yield Problem(shard.summary_path, f"its layers are not those of the card, {card.layers.ids}")
        return
    first: NDArray[np.int64] | None = None
    for row in rows:
        ids, problem = _verify_layer(shard, card, row)
        if problem is None and first is not None and not np.array_equal(ids, first):
            problem = Problem(shard.path, f"layer {row['layer']} does not have the ids of layer {rows[0]['layer']}")
        if problem is not None:
            yield problem
            return
        first = ids
    if first is not None:
        yield first


def _verify_layer(shard: Shard, card: Card, row: dict[str, Any]) -> tuple[NDArray[np.int64], Problem | None]:
    data = LayerVectors([shard], row["layer"], card.dim)
    total = Summary.empty(card.dim)
    parts = []
    try:
        for ids, part in data.map_with_ids(lambda ids, block: (ids, Summary.of(block))):
            parts.append(ids)
            total = total + part
    except DamagedError as error:
        return np.empty(0, np.int64), Problem(shard.path, str(error))
    found = np.concatenate(parts) if parts else np.empty(0, np.int64)
    layer = row["layer"]
    if not total.is_finite:
        return found, Problem(shard.path, f"layer {layer} has a value that is not finite")
    if len(np.unique(found)) != len(found):
        return found, Problem(shard.path, f"layer {layer} has an item twice")
    stored = Summary(**{name: _array(row[name]) for name in SUMMARY_SCHEMA.names[4:]})
    if stored.n != total.n:
        return found, Problem(shard.path, f"layer {layer} has {total.n} rows, its summary says {stored.n}")
    if not stored.isclose(total):
        return found, Problem(shard.summary_path, f"the sums of layer {layer} are not those of the shard's vectors")
    return found, None


def _summary_rows(shard: Shard) -> list[dict[str, Any]] | Problem:
    if not shard.summary_path.is_file():
        return Problem(shard.path, f"its summary {shard.summary_path} is missing")
    if (problem := _readable(shard.summary_path, SUMMARY_SCHEMA)) is not None:
        return Problem(shard.summary_path, problem)
    rows: list[dict[str, Any]] = pq.read_table(shard.summary_path, partitioning=None).to_pylist()
    if not rows or any(row["shard"] != shard.name for row in rows):
        return Problem(shard.summary_path, "it is not the summary of the shard of that name")
    return rows


def _verify_texts(paths: StorePaths, shard: Shard, ids: NDArray[np.int64]) -> Iterator[Problem]:
    known: set[int] = set()
    for path in paths.items.glob("part-*.parquet"):
        if _readable(path, ITEMS_SCHEMA) is None:
            known.update(pq.read_table(path, columns=["item_id"])["item_id"].to_pylist())
    if lacking := set(ids.tolist()) - known:
        yield Problem(shard.path, f"{len(lacking)} of its items have no text in items/, as {min(lacking)}")


def _readable(path: Path, schema: pa.Schema | None) -> str | None:
    """Return what keeps a Parquet file from being read whole with this schema, or None."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if schema is not None and not file.schema_arrow.equals(schema):
                return "its columns are not those of the format"
            for group in range(file.num_row_groups):
                file.read_row_group(group)
    except (OSError, pa.ArrowException) as error:
        return f"it cannot be read: {str(error).splitlines()[0]}"
    return None


def _array(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, list) else value
