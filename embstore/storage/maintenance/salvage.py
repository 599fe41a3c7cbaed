"""Repair single files: examine a shard without its summary, move damaged files away, rewrite summaries and tables."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError
from embstore.base.space import Unit
from embstore.base.summary import Summary
from embstore.base.text import item_id
from embstore.storage.files.card import Card
from embstore.storage.files.items import has_its_id
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.files.shards import (
    ShardContent,
    embeddings_schema,
    publish_shard,
    stage_shard,
    stored_sums,
    summary_table,
)
from embstore.storage.files.tables import ITEMS_SCHEMA, read_part, read_table, stage_part, write_table
from embstore.storage.files.vectors import LayerVectors
from embstore.storage.maintenance.file_checks import Problem, layer_sums, n_rows, schema_problem, summary_rows
from embstore.storage.transaction.commit import Change, commit
from embstore.storage.transaction.recovery import replacing

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SoundShard:
    """Undamaged shard, regardless of its summary.

    Attributes:
        shard: Paths of the shard and its summary.
        ids: Item ids, ascending.
        sha256: SHA-256 of the file.
        sums: Summary of each layer, in the order of the card.
    """

    shard: Shard
    ids: Ids
    sha256: str
    sums: tuple[Summary, ...]

    def has_summary(self, card: Card) -> bool:
        """Return whether the stored summary matches this shard."""
        rows = summary_rows(self.shard)
        if isinstance(rows, Problem) or tuple(row["layer"] for row in rows) != card.layers.ids:
            return False
        size = disk.size(self.shard.path)
        if any((row["sha256"], row["bytes"]) != (self.sha256, size) for row in rows):
            return False
        return all(stored_sums(row).isclose(sums) for row, sums in zip(rows, self.sums, strict=True))

    def write_summary(self, card: Card) -> None:
        """Rewrite the summary of this shard."""
        size = disk.size(self.shard.path)
        summary = summary_table(self.shard, self.sha256, size, card.layers, self.sums)
        write_table(self.shard.summary_path, summary, plain=True)


def check_shard(shard: Shard, card: Card) -> SoundShard | Problem:
    """Check a shard by itself, without its summary: the hash in its name, its columns, layers, ids and values."""
    try:
        digest = disk.sha256(shard.path)
    except DamagedError as error:
        return Problem(shard.path, str(error))
    if shard.name != f"part-{digest[:16]}":
        return Problem(shard.path, "its SHA-256 is not the one in its name, so it was altered or truncated")
    if problem := schema_problem(shard.path, embeddings_schema(card.dim, card.dtype)):
        return Problem(shard.path, problem)
    sums: list[Summary] = []
    first: Ids | None = None
    for layer in card.layers:
        found = layer_sums(shard, card, layer.id)
        if isinstance(found, Problem):
            return found
        if first is not None and not np.array_equal(found[0], first):
            return Problem(shard.path, f"layer {layer.name} does not have the ids of layer {card.layers.names[0]}")
        first = found[0]
        sums.append(found[1])
    if first is None or n_rows(shard) != len(first) * len(sums):
        return Problem(shard.path, f"its layers are not those of the card, {card.layers.ids}")
    return SoundShard(shard, first, digest, tuple(sums))


def readable_ids(shard: Shard, card: Card) -> Ids | None:
    """Return the item ids of a damaged shard from the first readable layer, else read without checks, or None."""
    for layer in card.layers:
        try:
            ids = LayerVectors([shard], layer.id, card.dim).ids()
        except DamagedError:
            continue
        if len(ids):
            return ids
    try:  # unchecked: a wrong id belongs to no item
        ids = read_table(shard.path, columns=["item_id"])["item_id"].to_numpy()
    except (DamagedError, OSError, pa.ArrowException):
        return None
    return np.unique(ids) if len(ids) else None


def sound_rows(path: Path, tables: Sequence[Path]) -> pa.Table | None:
    """Return the undamaged rows of a damaged table of items: their ids are hashes of the other columns.

    Args:
        path: Damaged table.
        tables: Sound tables, which may have the sentences of its occurrences.
    """
    try:
        table = read_table(path)
        if not table.schema.equals(ITEMS_SCHEMA):
            return None
        rows = table.to_pylist()
    except (DamagedError, OSError, pa.ArrowException, UnicodeDecodeError):
        return None
    sentences = {row["item_id"]: row["text"] for row in rows if row["unit"] == Unit.SENTENCE}
    context_ids = pa.array({row["context_id"] for row in rows if row["context_id"] is not None}, pa.int64())
    for other in tables:
        found = read_part(other, ["item_id", "text"])
        found = found.filter(pc.is_in(found["item_id"], context_ids))
        sentences |= dict(zip(found["item_id"].to_pylist(), found["text"].to_pylist(), strict=True))
    sentences = {item: text for item, text in sentences.items() if item_id(Unit.SENTENCE, text) == item}
    return table.filter(pa.array([_is_sound(row, sentences.get(row["context_id"])) for row in rows], pa.bool_()))


def _is_sound(row: dict[str, Any], context: str | None) -> bool:
    """Return whether the id of an item is the hash of its other columns, given the text of its sentence."""
    if (context is None) != (row["context_id"] is None):
        return False
    return has_its_id((row["item_id"], row["unit"], row["text"], context, row["start"], row["end"]))


def replace_table(paths: StorePaths, path: Path, rows: pa.Table) -> None:
    """Replace a damaged table by its sound rows, after copying it into :attr:`StorePaths.damaged`."""
    target = paths.damaged_path(path)
    disk.make_folder(target.parent)
    disk.copy(path, target)
    _rewrite(paths, path, rows)


def _rewrite(paths: StorePaths, path: Path, rows: pa.Table) -> None:
    """Replace a table by a new one with these rows; remove it if there are none."""
    with atomic.temporary(path.parent) as temp:
        target = stage_part(temp, rows)
        if target == path:  # all rows were intact; other bytes of the file were altered
            atomic.publish(temp, target)
            return
        with replacing(paths, path.parent, {target.stem: [path.stem]} if len(rows) else {}, [path.stem]):
            if len(rows) and not disk.exists(target):
                atomic.publish(temp, target)


def move_out(paths: StorePaths, path: Path) -> Path:
    """Move a damaged file into :attr:`StorePaths.damaged`, commit that it is not of the store, return its new path."""
    target = paths.damaged_path(path)
    disk.make_folder(target.parent)
    disk.replace(path, target)  # before the commit, after which a file that no manifest names would be deleted
    commit(paths, Change(removed=(path,)))
    return target


def list_items(target: Path, ids: Ids, tables: Sequence[Path]) -> None:
    """Write the items with these ids as JSON lines, with their texts where sound tables have them."""
    rows = {int(item): {"item_id": int(item)} for item in ids}
    context_ids = pa.array(ids)
    for path in tables:
        table = read_part(path)
        for row in table.filter(pc.is_in(table["item_id"], context_ids)).to_pylist():
            rows[row["item_id"]] = {key: value for key, value in row.items() if value is not None}
    atomic.write_bytes(target, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows.values()).encode())


def keep_rows(paths: StorePaths, path: Path, ids: Ids) -> None:
    """Rewrite a table of items with only the given ids, without duplicates; remove it if none is left."""
    table = read_part(path)
    _, first = np.unique(table["item_id"].to_numpy(), return_index=True)
    kept = table.take(first)
    kept = kept.filter(pc.is_in(kept["item_id"], pa.array(ids)))
    _rewrite(paths, path, kept)


def keep_items(paths: StorePaths, card: Card, shard: Shard, ids: Ids) -> None:
    """Rewrite a sound shard with only the given items; remove it if none is left."""
    if not len(ids):
        with replacing(paths, paths.embeddings(card.space), {}, [shard.name]):
            return
    vectors = (LayerVectors([shard], layer.id, card.dim, ids).gather()[1] for layer in card.layers)
    with atomic.temporary(paths.embeddings(card.space)) as temp:
        staged = stage_shard(temp, paths, ShardContent(card, ids, vectors))
        with replacing(paths, paths.embeddings(card.space), {staged.shard.name: [shard.name]}):
            publish_shard(staged)
