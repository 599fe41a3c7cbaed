"""Merge many small part files into few large ones: neighbours by their smallest id, up to a size.

Rows are copied bit for bit, so results do not change. All new files are complete before any is committed, and the old
ones are deleted last (:mod:`embstore.storage.transaction.commit`).
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError
from embstore.base.space import Layer
from embstore.base.summary import Summary
from embstore.storage.files.card import Card
from embstore.storage.files.names import PARTS
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.files.shards import (
    SHARD_BYTES,
    SUMMARY_SCHEMA,
    ShardContent,
    StagedShard,
    publish_shard,
    stage_shard,
    stored_sums,
)
from embstore.storage.files.tables import ITEMS_SCHEMA, most_unpacked, read_part, read_sealed, read_table, stage_part
from embstore.storage.files.unpacked import unpacked_limit
from embstore.storage.files.vectors import LayerVectors, shard_row_groups
from embstore.storage.maintenance.column_tables import joined
from embstore.storage.transaction.manifest import committed_shards, list_parts
from embstore.storage.transaction.recovery import replacing

TABLE_BYTES = 32 << 20
_ROUND_BYTES = 8 << 30
"""Bytes written before the replaced parts are deleted: the disk space that a compaction needs."""

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sized:
    """A part file that may be merged with others.

    Attributes:
        name: Name of the file.
        first: Smallest item id in the file.
        n_bytes: Size that the file adds to a merged file, in bytes.
    """

    name: str
    first: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Compacted:
    """A part file that replaced several others.

    Attributes:
        path: Path of the new file.
        old: Names of the replaced files.
        n_items: Number of rows, or of items for a shard.
        n_bytes: Size of the new file in bytes.
    """

    path: Path
    old: tuple[str, ...]
    n_items: int
    n_bytes: int


def plan_groups(parts: Sequence[Sized], target_bytes: int) -> list[tuple[str, ...]]:
    """Group the part files to merge: runs of neighbours by smallest id, of at most ``target_bytes``.

    No two adjacent groups fit together, so that a second compaction finds nothing to do.
    """
    groups: list[tuple[list[str], int]] = []
    for part in sorted(parts, key=lambda part: (part.first, part.name)):
        if groups and groups[-1][1] + part.n_bytes <= target_bytes:
            names, n_bytes = groups[-1]
            groups[-1] = ([*names, part.name], n_bytes + part.n_bytes)
        else:
            groups.append(([part.name], part.n_bytes))
    return [tuple(names) for names, _ in groups if len(names) > 1]


def plan_shards(paths: StorePaths, card: Card, target_bytes: int = SHARD_BYTES) -> list[tuple[Shard, ...]]:
    """Return the groups of a space's shards to merge."""
    shards = {shard.name: shard for shard in committed_shards(paths, card.space)}
    row_bytes = card.dim * np.dtype(card.dtype).itemsize
    sized = []
    for shard in shards.values():
        groups = shard_row_groups(shard)
        n_rows = sum(group.item_ids.num_values for group in groups)
        sized.append(Sized(shard.name, min((group.first for group in groups), default=0), n_rows * row_bytes))
    return [tuple(shards[name] for name in names) for names in plan_groups(sized, target_bytes)]


def compact_shards(paths: StorePaths, card: Card, groups: Sequence[Sequence[Shard]]) -> Iterator[Compacted]:
    """Merge each group of shards into one, layer by layer; yield each new shard. Requires the store's lock.

    Several groups, of :data:`_ROUND_BYTES` together, are committed at once; their old shards are deleted before the
    next groups are merged, which limits the disk space needed.
    """
    for round_ in _rounds(groups):
        with ExitStack() as stack:
            new_shards: dict[str, tuple[StagedShard, Sequence[Shard]]] = {}
            for group in round_:
                temp = stack.enter_context(atomic.temporary(paths.embeddings(card.space)))
                staged = _stage(temp, paths, card, group)
                new_shards[staged.shard.name] = (staged, group)
            replaced = {name: [shard.name for shard in group] for name, (_, group) in new_shards.items()}
            with replacing(paths, paths.embeddings(card.space), replaced):
                for staged, _ in new_shards.values():
                    publish_shard(staged)
        for staged, group in new_shards.values():
            n_items, n_bytes = (staged.summary[column][0].as_py() for column in ("n", "bytes"))
            yield Compacted(staged.shard.path, tuple(shard.name for shard in group), n_items, n_bytes)


def _rounds(groups: Sequence[Sequence[Shard]]) -> Iterator[list[Sequence[Shard]]]:
    """Divide groups of shards into rounds of about :data:`_ROUND_BYTES` each, to be committed one after the other."""
    round_: list[Sequence[Shard]] = []
    n_bytes = 0
    for group in groups:
        round_.append(group)
        n_bytes += sum(disk.size(shard.path) for shard in group)
        if n_bytes >= _ROUND_BYTES:
            yield round_
            round_, n_bytes = [], 0
    if round_:
        yield round_


def _stage(temp: Path, paths: StorePaths, card: Card, group: Sequence[Shard]) -> StagedShard:
    """Write the merged shard of a group to a temporary file, after checking the old shards."""
    for shard in group:
        check_shard_hash(shard)
    ids = LayerVectors(group, card.layers.ids[0], card.dim).ids()
    if len(duplicates := ids[1:][ids[1:] == ids[:-1]]):
        raise DamagedError(f"item {duplicates[0]} is twice in {paths.embeddings(card.space)}. Run: embstore repair")
    vectors = (_gather(group, card, layer, ids) for layer in card.layers)
    staged = stage_shard(temp, paths, ShardContent(card, ids, vectors))
    _check_sums(staged, group)
    return staged


def check_shard_hash(shard: Shard) -> None:
    """Raise DamagedError unless a shard's SHA-256 matches its name."""
    if shard.name != f"part-{disk.sha256(shard.path)[:16]}":
        raise DamagedError(f"{shard.path} is damaged: its SHA-256 is not the one in its name. Run: embstore repair")


def _gather(group: Sequence[Shard], card: Card, layer: Layer, ids: Ids) -> NDArray[np.float32]:
    """Return the vectors (n, dim) of a layer from a group of shards, in the order of the item ids (n,)."""
    found, vectors = LayerVectors(group, layer.id, card.dim).gather()
    if not np.array_equal(found, ids):
        raise DamagedError(
            f"{group[0].path.parent} is damaged: layer {layer.name} does not have the ids of layer "
            f"{card.layers.names[0]}. Run: embstore verify"
        )
    return vectors


def _check_sums(staged: StagedShard, group: Sequence[Shard]) -> None:
    """Raise DamagedError unless the summaries of the old shards add up to that of the new one."""
    old = [read_summary(shard) for shard in group]
    for layer, new in summaries_in(staged.summary).items():
        total = Summary.empty(len(new.total))
        for sums in old:
            other = sums.get(layer, Summary.empty(len(new.total)))
            total = total + other if len(other.total) == len(new.total) else total
        if not new.isclose(total):
            raise DamagedError(
                f"{group[0].summary_path.parent} is damaged: the summaries there are not those of the shards. Run: "
                "embstore repair"
            )


def read_summary(shard: Shard) -> dict[int, Summary]:
    """Return the summary of a shard: layer id → Summary."""
    return summaries_in(read_sealed(shard.summary_path, SUMMARY_SCHEMA))


def summaries_in(table: pa.Table) -> dict[int, Summary]:
    """Return the sums in a shard's summary, read as a table: layer id → Summary."""
    return {row["layer"]: stored_sums(row) for row in table.to_pylist()}


def compact_tables(paths: StorePaths, folder: Path, target_bytes: int = TABLE_BYTES) -> Iterator[Compacted]:
    """Merge the small tables of a folder into large ones, without duplicate rows."""
    for names in plan_tables(paths, folder, target_bytes):
        files = [PARTS.path(folder, name) for name in names]
        table = joined(paths.root, files) if folder == paths.columns else merged_rows(files)
        if most_unpacked(table) > unpacked_limit() // 2:  # by values that are null where tables have different columns
            continue
        with atomic.temporary(folder) as temp:
            target = stage_part(temp, table)
            n_bytes = disk.size(temp)
            with replacing(paths, folder, {target.stem: names}):
                if not disk.exists(target):
                    atomic.publish(temp, target)
        yield Compacted(target, names, len(table), n_bytes)


def plan_tables(paths: StorePaths, folder: Path, target_bytes: int = TABLE_BYTES) -> list[tuple[str, ...]]:
    """Return the groups of a folder's tables to merge, as names."""
    files = list_parts(paths, folder).files
    parts = [Sized(file.stem, _first(file), max(disk.size(file), most_unpacked(read_table(file)))) for file in files]
    return plan_groups(parts, min(target_bytes, unpacked_limit() // 2))


def _first(file: Path) -> int:
    """Return the smallest item id of a table; 0 where it has none."""
    ids = read_part(file, ["item_id"])["item_id"].drop_null().to_numpy()
    return int(ids.min()) if len(ids) else 0


def merged_rows(files: Sequence[Path]) -> pa.Table:
    """Return the distinct rows of several tables, sorted by item id and then by the other columns."""
    table = pa.concat_tables([read_part(file) for file in files]).combine_chunks()
    if table.schema.equals(ITEMS_SCHEMA):
        _, first = np.unique(table["item_id"].to_numpy(), return_index=True)
        return table.take(first)
    names = table.column_names
    distinct = table.group_by(names).aggregate([]).select(names).cast(table.schema)
    return distinct.sort_by([(name, "ascending") for name in sorted(names, key=lambda name: name != "item_id")])
