"""Copy files of one store into another: find what is missing there, receive it checked, and commit all at once."""

import hashlib
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embstore.base import atomic, checksum, disk, supply
from embstore.base.errors import DamagedError, StoreError
from embstore.storage.catalog import Catalog
from embstore.storage import keys
from embstore.storage.card import Card
from embstore.storage.datasets import check_dataset
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.vectors import SUMMARY_SCHEMA, ShardContent, publish_shard, stage_shard
from embstore.storage.tables import bounded, read_part, read_sealed, read_table, stage_part, write_table
from embstore.storage.vectors import Ids, LayerVectors
from embstore.storage.check import IdSet
from embstore.storage.column_tables import new_columns
from embstore.storage.sql import connections, interruptible
from embstore.storage.sql.reader import REMEDY, Reader
from embstore.storage.staging.staging import SHOWN, collision
from embstore.storage.transaction.commit import Change, committing, recover

Content = dict[str, Path]
"""Path of a file in a store, with slashes → the file that has its content."""

_CHUNK = 1 << 20
_MISMATCH = "its content does not have the SHA-256 that it should have"


def open_source(root: Path) -> Catalog:
    """Return the catalog of a store that is copied."""
    if not disk.exists(root):
        raise StoreError(f"there is no store at {root}. Name the store to copy from by its folder or URL.")
    try:
        source = Catalog(root)
        source.paths.check_contents()
        cards = source.cards
    except DamagedError as error:
        raise _of_source(error, root) from error
    if not cards:
        raise StoreError(f"{source.paths.root} holds no space: there is nothing to copy.")
    return source


@contextmanager
def explaining_changes(source: Catalog) -> Iterator[None]:
    """Report damage that another process causes by changing the store that is read within the context as what it is."""
    try:
        yield
    except DamagedError as error:
        if source.is_outdated:
            raise StoreError(
                f"{source.paths.root} was changed while it was read: another process writes to it. Nothing was "
                "committed; run the same command again."
            ) from error
        raise _of_source(error, source.paths.root) from error


def _of_source(error: DamagedError, root: Path) -> DamagedError:
    """Return an error whose commands are about the store that is read, if a file of it is damaged."""
    if type(error) is not DamagedError or str(root) not in error.args[0] or supply.supplier_of(root) is not None:
        return error  # the folder of a store at a URL is of no use
    store = shlex.quote(str(root))
    named = error.args[0].replace("⦃embstore verify⦄", f"embstore verify --store {store}")
    return DamagedError(named.replace("⦃embstore repair⦄", f"embstore repair --store {store}"))


def is_settled(key: str, named: Mapping[str, object]) -> bool:
    """Return whether a place that has a file has it with the same content, by its name, or as a card checked before."""
    kind = names.kind_of(key)
    return key in named and kind is not None and (kind.is_immutable or kind is names.CARDS)


def is_stored(key: str, content: Content, named: Mapping[str, object], paths: StorePaths) -> bool:
    """Return whether a store has a file with the same content, given the files that its manifest names."""
    kind = names.kind_of(key)
    if kind is None or not disk.exists(paths.root / key):
        return False
    if kind.is_immutable or kind is names.CARDS:
        return key in named
    if kind is names.SUMMARIES:
        return f"{names.SHARDS.folder}{key.removeprefix(kind.folder)}" in named
    holder = names.hash_holder(key)
    target = paths.root / holder
    return disk.exists(target) and disk.sha256(target) == disk.sha256(content[holder])


def content_problem(key: str, path: Path, sha256: str, find: Callable[[str], Path]) -> str | None:
    """Return the problem of a file of a store whose content, of this SHA-256, is not that of its hash, or None.

    ``find`` returns another file that has the hash: the summary of a shard, or the card of an index.
    """
    kind = names.kind_of(key)
    if kind is None or not (kind.is_immutable or kind is names.INDEXES):
        return None if checksum.has_valid_checksum(disk.read(path)) else checksum.ALTERED
    expected = sha256
    if kind is names.SHARDS:
        expected = shard_hash(find(names.hash_holder(key)))
    elif kind is names.INDEXES:
        expected = atomic.read_document(find(names.hash_holder(key)), "index-card")["sha256"]
    is_named_so = not kind.is_immutable or Path(key).stem == names.part_name(sha256)
    return None if sha256 == expected and is_named_so else _MISMATCH


def shard_hash(summary: Path) -> str:
    """Return the SHA-256 of a shard in hexadecimal, which each row of its summary has."""
    hashes = set(read_sealed(summary, SUMMARY_SCHEMA)["sha256"].to_pylist())
    if len(hashes) != 1:
        raise DamagedError(f"{summary} is damaged: its rows do not name one shard. {REMEDY}")
    return str(hashes.pop())


class Incoming:
    """Files on their way into a store, in a folder of it where no reader sees them."""

    def __init__(self, store: StorePaths, folder: Path) -> None:
        self._store, self.paths = store, StorePaths(folder)
        # A received store may have a link in place of a folder here.
        own = [entry for entry in disk.entries(store.root) if entry.name == folder.name]
        for entry in (*own, *disk.entries_below(folder)):
            is_folder = entry in own or entry.is_dir(follow_symlinks=False)
            if problem := disk.irregular(entry, folder=is_folder):
                raise DamagedError(f"{entry.path} is damaged: {problem}.")

    def receive(self, key: str, source: Path) -> None:
        """Copy a file, and check it against its hash, unless it is there from an interrupted copy."""
        target = self.paths.root / key
        if disk.exists(target):
            sha256 = disk.sha256(target)
            if disk.size(target) == disk.size(source) and not content_problem(key, target, sha256, self._find):
                return
            disk.remove(target)
        digest = hashlib.sha256()
        with atomic.temporary(target.parent) as temp:
            try:
                with disk.reading(source) as reader, disk.writing(temp) as writer:
                    while data := reader.read(_CHUNK):
                        digest.update(data)
                        writer.write(data)
            except FileNotFoundError as error:
                raise DamagedError(f"{source} cannot be read: {error.strerror}. Run: ⦃embstore verify⦄") from error
            if problem := content_problem(key, temp, digest.hexdigest(), self._find):
                raise DamagedError(f"{source} is damaged: {problem}. Run: ⦃embstore verify⦄")
            atomic.publish(temp, target)

    def _find(self, key: str) -> Path:
        """Return a file that is on its way, or is in the store."""
        path = self.paths.root / key
        return path if disk.exists(path) else self._store.root / key

    def publish(self, keys: Iterable[str], removed: Iterable[str] = ()) -> None:
        """Move files to their places in the store, commit them instead of those removed, and delete these."""
        ordered = in_order(keys)
        # No card may be taken for that of another index, even after a loss of power: the old ones go first, and the
        # new ones come last.
        last = [key for key in ordered if names.kind_of(key) is names.INDEX_CARDS]
        for key in last:
            disk.remove(self._store.root / key, missing_ok=True)
        for folder in sorted({(self._store.root / key).parent for key in last}):
            if disk.exists(folder):
                disk.sync_folder(folder)
        added = tuple(self._store.file(key) for key in ordered if names.is_file_key(key))
        with committing(self._store, Change(added, tuple(map(self._store.file, removed)))):
            self._move([key for key in ordered if names.kind_of(key) is not names.INDEX_CARDS])
            self._move(last)
        recover(self._store)
        disk.remove_tree(self.paths.root)

    def _move(self, keys: Sequence[str]) -> None:
        """Move files to their places in the store, and flush their names to the disk."""
        for key in keys:
            target = self._store.root / key
            disk.make_folder(target.parent)
            disk.replace(self.paths.root / key, target)
        for folder in sorted({(self._store.root / key).parent for key in keys}):
            disk.sync_folder(folder)


def in_order(keys: Iterable[str]) -> list[str]:
    """Return paths of files in the order in which they are copied."""
    order = {kind: place for place, kind in enumerate(names.KINDS)}
    return sorted(keys, key=lambda key: (order[kind] if (kind := names.kind_of(key)) else len(order), key))


def write_subset(paths: StorePaths, shard: Shard, card: Card, ids: Ids) -> Shard:
    """Write the vectors of some items of a shard, in the layers of a card, as a new shard with its summary."""
    vectors = (LayerVectors([shard], layer.id, card.dim, ids).gather()[1] for layer in card.layers)
    with atomic.temporary(paths.embeddings(card.space)) as temp:
        staged = stage_shard(temp, paths, ShardContent(card, ids, vectors))
        publish_shard(staged)
    return staged.shard


class New(NamedTuple):
    """What a store does not have of a folder of tables or a dataset: its path, what the rows are, and their files.

    ``differing`` are the units of which both stores have rows of a dataset, and other ones.
    """

    place: str
    label: str
    n_rows: int
    files: list[str]
    differing: tuple[str, ...] = ()


def write_new(
    source: Catalog,
    stored: Catalog | None,
    cards: Collection[Card],
    requested: Ids | None,
    own: StorePaths,
    *,
    dry_run: bool = False,
) -> Iterator[New]:
    """Write what a store does not have of texts, columns, skipped texts and datasets; see :func:`new_rows`."""
    for kind, tables in new_rows(source, stored, cards, requested, own.root).items():
        n_rows, files = 0, []
        for rows in tables if dry_run else bounded(tables):
            n_rows += len(rows)
            if not dry_run:
                with atomic.temporary(own.root / kind.folder) as temp:
                    target = stage_part(temp, rows)
                    atomic.publish(temp, target)
                files.append(own.key(target))
        yield New(kind.folder, LABELS[kind], n_rows, files)
    units = {card.unit.value for card in cards} if requested is not None else None
    for path in source.paths.files_of(names.DATASETS):
        key = source.paths.key(path)
        merged = merged_dataset(path, (stored.paths if stored else own).root / key, units)
        if merged.n_new and not dry_run:
            write_table(own.root / key, merged.rows)
        yield New(key, "rows of the dataset", merged.n_new, [key] if merged.n_new else [], merged.differing)


def new_rows(
    source: Catalog, stored: Catalog | None, cards: Collection[Card], requested: Ids | None, root: Path
) -> dict[names.Kind, Iterable[pa.Table]]:
    """Return the rows of texts, columns and skipped texts of some spaces that a store, if there is one, does not have.

    They are of the requested items, by ascending ids, or of all with the skipped texts that belong to no space.
    """
    spaces = [card.space for card in cards]
    stored_files = [stored.item_files, stored.column_files, stored.skipped_files] if stored else [[], [], []]
    known_names = {file.name for files in stored_files for file in files}  # files of these names have the same rows
    items, columns, skipped = (
        [file for file in files if file.name not in known_names]
        for files in (source.item_files, source.column_files, source.skipped_files)
    )
    known = stored.item_ids() if stored and items else np.empty(0, np.int64)
    place = stored.paths.root if stored else root
    return {
        names.ITEMS: _new_items(items, known, requested),
        names.COLUMNS: new_columns(place, stored_files[1], source.paths.root, columns, spaces, requested),
        names.SKIPPED: _new_skipped(skipped, stored_files[2], spaces if requested is not None else [*spaces, None]),
    }


LABELS = {names.ITEMS: "texts", names.COLUMNS: "values of columns", names.SKIPPED: "skipped texts"}


def _new_items(files: Sequence[Path], stored_ids: Ids, requested: Ids | None) -> Iterator[pa.Table]:
    """Yield, for each table of items of another store, the requested rows that are new to this store."""
    if requested is not None:
        sentences = [requested]  # and the sentences of occurrences
        for path in files:
            table = read_part(path, ["item_id", "context_id"])
            occurrences = table.filter(pa.array(np.isin(table["item_id"].to_numpy(), requested)))
            sentences.append(occurrences["context_id"].drop_null().to_numpy())
        requested = np.unique(np.concatenate(sentences))
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


def _new_skipped(
    source_files: Sequence[Path], target_files: Iterable[Path], spaces: Collection[str | None]
) -> list[pa.Table]:
    """Return the rows of skipped texts of some spaces, None for none, that are new to this store: at most one table."""
    if not source_files:
        return []
    listed = {tuple(row.values()) for path in target_files for row in read_part(path).to_pylist()}
    table = pa.concat_tables([read_part(path) for path in source_files])
    keep = []
    for row in table.to_pylist():
        key = tuple(row.values())
        keep.append(row["space"] in spaces and key not in listed)
        listed.add(key)
    return [table.filter(pa.array(keep, pa.bool_()))] if any(keep) else []


class MergedDataset(NamedTuple):
    """Rows of a dataset after a merge, and the units whose rows in the other store are others."""

    rows: pa.Table
    n_new: int
    differing: tuple[str, ...]


def merged_dataset(source: Path, target: Path, units: Collection[str] | None) -> MergedDataset:
    """Merge the file of a dataset into another one, which need not exist: add the rows of missing units, or of some."""
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
    return MergedDataset(whole.replace_schema_metadata(kind), n_new, tuple(differing))


def _read_dataset(path: Path) -> tuple[pa.Table, dict[str, str]]:
    """Return the rows of a dataset without metadata, and its kind as new metadata."""
    check_dataset(path)
    table = read_table(path)
    kind = (table.schema.metadata or {}).get(b"kind", b"").decode()
    return table.replace_schema_metadata(None), {"kind": kind}


_MEMORY = "1GB"
_SOURCE = "SELECT * FROM read_parquet($theirs, hive_partitioning = false)"
_REQUESTED = f"""{_SOURCE} SEMI JOIN (SELECT item_id FROM requested UNION ALL
                 SELECT context_id AS item_id FROM ({_SOURCE}) SEMI JOIN requested USING (item_id)) USING (item_id)"""
_DIFFERING = """SELECT item_id, ours.text, theirs.text
FROM read_parquet($ours, hive_partitioning = false) AS ours JOIN ({source}) AS theirs USING (item_id)
WHERE ours.unit <> theirs.unit OR ours.text <> theirs.text OR ours.context_id IS DISTINCT FROM theirs.context_id
   OR ours.start IS DISTINCT FROM theirs.start OR ours."end" IS DISTINCT FROM theirs."end"
ORDER BY item_id LIMIT 1"""


def check_same_items(source: Catalog, stored: Catalog, requested: Ids | None) -> None:
    """Raise SourceError, with both texts, if two stores have different items with the same id, among some or all."""
    paths, source_tables, stored_tables = stored.paths, source.checked_item_tables(), stored.checked_item_tables()
    if not stored_tables or not source_tables:
        return
    spill = atomic.temporary_path(paths.root)
    connection = connections.connect_to_spill(spill, _MEMORY)
    try:
        if requested is not None:
            interruptible.run(connection, lambda it: it.register("requested", {"item_id": requested}))
        sql = _DIFFERING.format(source=_SOURCE if requested is None else _REQUESTED)
        files = {"ours": stored_tables, "theirs": source_tables}
        found = Reader(paths.root, connection).run(interruptible.rows, sql, files)
    finally:
        connection.close()
        atomic.discard(spill)
    for _, text, other in found:
        raise collision(
            f"{text[:SHOWN]!r} (in {paths.root})", f"{other[:SHOWN]!r} (in {source.paths.root}, nothing was taken)"
        )
