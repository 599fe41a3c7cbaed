"""Import the files of another store: unchanged if all their items are new to this store, else only the new items.

All files are first copied to temporary ones, and checked against their hashes, before any is committed.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError
from embstore.base.space import Layer
from embstore.storage.files import names
from embstore.storage.files.card import Card
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.files.shards import SUMMARY_SCHEMA, ShardContent, StagedShard, stage_shard
from embstore.storage.files.tables import read_part, read_sealed, stage_part, write_table
from embstore.storage.files.vectors import LayerVectors
from embstore.storage.maintenance.file_checks import IdSet, Problem, summary_rows
from embstore.storage.sql import connections, interruptible
from embstore.storage.sql.reader import Reader
from embstore.storage.staging.staging import SHOWN, collision

Ids = NDArray[np.int64]
Rows: TypeAlias = pa.Table
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ShardImport:
    """Items to import from a shard of another store.

    Attributes:
        shard: Shard of the other store.
        ids: Ids of the items that are new to this store, ascending.
        is_whole: Whether these are all items of the shard.
    """

    shard: Shard
    ids: Ids
    is_whole: bool


def plan_imports(card: Card, shards: Sequence[Shard], stored_ids: Ids) -> list[ShardImport]:
    """Return the shards of another store that have items missing in this store, with the ids of these items."""
    planned = []
    seen = IdSet(stored_ids)
    for shard in shards:
        ids = LayerVectors([shard], card.layers.ids[0], card.dim).ids()
        new = seen.missing(ids)
        if len(new):
            planned.append(ShardImport(shard, new, len(new) == len(ids)))
            seen.add(new)
    return planned


def stage_import(temp: Path, paths: StorePaths, card: Card, shard_import: ShardImport) -> StagedShard:
    """Copy a shard, or its new items, to a temporary file."""
    shard = shard_import.shard
    rows = summary_rows(shard)
    if isinstance(rows, Problem):
        raise DamagedError(f"{rows.file} is damaged: {rows.problem}. {_remedy(shard.path)}")
    digest = copy_hashed(shard.path, temp)
    if digest != rows[0]["sha256"] or shard.name != f"part-{digest[:16]}":
        raise DamagedError(f"{shard.path} is damaged: its SHA-256 is not the one in its summary. {_remedy(shard.path)}")
    if shard_import.is_whole:
        [target] = paths.as_shards(card.space, [names.PARTS.path(paths.embeddings(card.space), shard.name)])
        return StagedShard(temp, target, pa.Table.from_pylist(rows, schema=SUMMARY_SCHEMA))
    vectors = (LayerVectors([shard], layer.id, card.dim, shard_import.ids).gather()[1] for layer in card.layers)
    return stage_shard(temp, paths, ShardContent(card, shard_import.ids, vectors))


def copy_hashed(source: Path, target: Path) -> str:
    """Copy a file, and return the SHA-256 of its content."""
    digest = hashlib.sha256()
    try:
        with disk.reading(source) as reader, disk.writing(target) as writer:
            while data := reader.read(_CHUNK):
                digest.update(data)
                writer.write(data)
    except FileNotFoundError as error:
        raise DamagedError(f"{source} cannot be read: {error.strerror}. {_remedy(source)}") from error
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class StagedTable:
    """Complete table of items or skipped texts that has not been renamed to its final name."""

    temp: Path
    path: Path
    n_rows: int

    def publish(self) -> None:
        """Rename the table to its final name; a commit then makes it count."""
        if not disk.exists(self.path):
            atomic.publish(self.temp, self.path)


def new_items(files: Sequence[Path], stored_ids: Ids, requested: Ids | None) -> Iterator[pa.Table]:
    """Yield, for each table of items of another store, the rows that are new to this store.

    Args:
        files: Tables of the other store.
        stored_ids: Ids of the items in this store.
        requested: Ids of the items to import, ascending; None for all.
    """
    if requested is not None:
        requested = np.union1d(requested, _sentences_of(files, requested))
    seen = IdSet(stored_ids)
    for path in files:
        table = read_part(path)
        ids = table["item_id"].to_numpy()
        new = np.isin(ids, seen.missing(ids))
        if requested is not None:
            new &= np.isin(ids, requested)
        if new.any():
            yield table.filter(pa.array(new))
            seen.add(ids[new])


def _sentences_of(files: Iterable[Path], requested: Ids) -> Ids:
    """Return the ids of the sentences of the requested occurrences."""
    parts = [np.empty(0, np.int64)]
    for path in files:
        table = read_part(path, ["item_id", "context_id"])
        of_wanted = table.filter(pa.array(np.isin(table["item_id"].to_numpy(), requested)))
        parts.append(of_wanted["context_id"].drop_null().to_numpy())
    return np.unique(np.concatenate(parts))


def new_skipped(
    source_files: Iterable[Path], target_files: Iterable[Path], spaces: Collection[str | None]
) -> pa.Table | None:
    """Return the rows of skipped texts of some spaces that are new to this store, or None if there are none.

    Args:
        source_files: Tables of the other store.
        target_files: Tables of this store.
        spaces: Names of the spaces; None for texts that belong to no space.
    """
    listed = {tuple(row.values()) for path in target_files for row in read_part(path).to_pylist()}
    tables = [read_part(path) for path in source_files]
    if not tables:
        return None
    table = pa.concat_tables(tables)
    keep = []
    for row in table.to_pylist():
        key = tuple(row.values())
        keep.append(row["space"] in spaces and key not in listed)
        listed.add(key)
    return table.filter(pa.array(keep, pa.bool_())) if any(keep) else None


def stage_table(temp: Path, rows: pa.Table) -> StagedTable:
    """Write rows to a temporary file, as a part file of its folder."""
    return StagedTable(temp, stage_part(temp, rows), len(rows))


@dataclass(frozen=True, slots=True)
class MergedDataset:
    """Rows of a dataset after a merge."""

    path: Path
    rows: pa.Table
    n_new: int
    differing: tuple[str, ...]

    def publish(self) -> None:
        """Write the merged rows, if any is new; a commit then makes a new dataset count."""
        if self.n_new:
            write_table(self.path, self.rows)


def merged_dataset(source: Path, target: Path, units: Collection[str] | None) -> MergedDataset:
    """Merge a dataset of another store into that of this store, adding the rows of missing units.

    Args:
        source: File of the other store.
        target: File in this store, which need not exist.
        units: Units to import; None for all.
    """
    table, kind = _read_dataset(source)
    rows = {unit: table.filter(pc.equal(table["unit"], unit)) for unit in table["unit"].unique().to_pylist()}
    rows = {unit: part for unit, part in rows.items() if units is None or unit in units}
    parts, differing = [], []
    if disk.exists(target):
        stored, kind = _read_dataset(target)
        parts.append(stored)
        for unit in list(rows):
            stored_rows = stored.filter(pc.equal(stored["unit"], unit))
            if len(stored_rows) or not stored.schema.equals(rows[unit].schema):
                if not stored_rows.equals(rows[unit]):
                    differing.append(unit)
                del rows[unit]
    parts += rows.values()
    whole = pa.concat_tables(parts) if parts else table.slice(0, 0)
    n_new = sum(map(len, rows.values()))
    return MergedDataset(target, whole.replace_schema_metadata(kind), n_new, tuple(differing))


def _read_dataset(path: Path) -> tuple[pa.Table, dict[str, str]]:
    """Return the rows of a dataset without metadata, and its kind as new metadata."""
    table = read_sealed(path, remedy=_remedy(path))
    if not {"unit", "item_id", "text"} <= {*table.column_names}:
        raise DamagedError(f"{path} is damaged: its columns are not those of a dataset. {_remedy(path)}")
    kind = (table.schema.metadata or {}).get(b"kind", b"").decode()
    return table.replace_schema_metadata(None), {"kind": kind}


def copy_index(
    source_paths: StorePaths, target_paths: StorePaths, space: str, layer: Layer, shards: Collection[str]
) -> bool:
    """Copy the index of a layer if it covers exactly these shards, and return whether it was copied."""
    source, target = source_paths.index(space, layer), target_paths.index(space, layer)
    try:
        document = atomic.read_document(source_paths.index_card(source), "index-card")
        if set(document["shards"]) != set(shards):
            return False
        with atomic.temporary(target.parent) as temp:
            if copy_hashed(source, temp) != document["sha256"]:
                return False
            disk.remove(target_paths.index_card(target), missing_ok=True)
            atomic.publish(temp, target)
        atomic.write_document(target_paths.index_card(target), document, "index-card")
    except (DamagedError, FileNotFoundError):  # it is rebuilt instead
        return False
    return True


def _remedy(path: Path) -> str:
    return f"Nothing was taken. Repair that store first: embstore repair --store {_root_of(path)}"


def _root_of(path: Path) -> Path:
    """Return the store's folder that a file is in."""
    return next((folder for folder in path.parents if disk.exists(StorePaths(folder).marker)), path.parent)


_MEMORY = "1GB"
_SOURCE = "SELECT * FROM read_parquet($theirs, hive_partitioning = false)"
_REQUESTED = f"""{_SOURCE} SEMI JOIN (SELECT item_id FROM requested UNION ALL
                 SELECT context_id AS item_id FROM ({_SOURCE}) SEMI JOIN requested USING (item_id)) USING (item_id)"""
_DIFFERING = """SELECT item_id, ours.text, theirs.text
FROM read_parquet($ours, hive_partitioning = false) AS ours JOIN ({source}) AS theirs USING (item_id)
WHERE ours.unit <> theirs.unit OR ours.text <> theirs.text OR ours.context_id IS DISTINCT FROM theirs.context_id
   OR ours.start IS DISTINCT FROM theirs.start OR ours."end" IS DISTINCT FROM theirs."end"
ORDER BY item_id LIMIT 1"""


def check_same_items(
    paths: StorePaths,
    stored_tables: Sequence[Path],
    source_paths: StorePaths,
    source_tables: Sequence[Path],
    requested: NDArray[np.int64] | None,
) -> None:
    """Raise SourceError, with both texts, if two stores have different items with the same id.

    Args:
        paths: Paths of the importing store.
        stored_tables: Sound tables of items of the importing store.
        source_paths: Paths of the other store.
        source_tables: Sound tables of items of the other store.
        requested: Ids of the items to import, with their sentences; None for all.
    """
    if not stored_tables or not source_tables:
        return
    spill = atomic.temporary_path(paths.root)
    connection = connections.connect_to_spill(spill, _MEMORY)
    try:
        if requested is not None:
            interruptible.run(connection, lambda it: it.register("requested", {"item_id": requested}))
        sql = _DIFFERING.format(source=_SOURCE if requested is None else _REQUESTED)
        files = {"ours": connections.literal(stored_tables), "theirs": connections.literal(source_tables)}
        tables = [*stored_tables, *source_tables]
        reader = Reader(paths.root, connection)
        found = reader.run_over(tables, lambda sql: interruptible.rows(connection, sql, files), sql)
    finally:
        connection.close()
        atomic.discard(spill)
    for _, text, other in found:
        raise collision(
            f"{text[:SHOWN]!r} (in {paths.root})", f"{other[:SHOWN]!r} (in {source_paths.root}, nothing was taken)"
        )
