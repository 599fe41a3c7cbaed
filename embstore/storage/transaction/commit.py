"""Commit a change of a store: create the next manifest, and never replace one.

A change is made in three steps:

1. the new files are written whole under their names, where no manifest names them yet;
2. the manifest of the next number is created, only if there is none: this is the commit. If another writer has taken
   the number, the change is made to that writer's state and tried again with the next one;
3. files that the manifest does not name any more are deleted.

A process that dies in between leaves files that no manifest names; the next writer deletes them (:func:`recover`).
"""

import errno
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock

from embstore.base import atomic, checksum, disk, supply
from embstore.base.errors import DamagedError, FileAccessError, StoreError
from embstore.base.space import Unit
from embstore.storage.files import names, tables
from embstore.storage.files.card import Card, store_card
from embstore.storage.files.maps import read_map, write_map
from embstore.storage.files.paths import Shard, StorePaths, check_marker, write_marker
from embstore.storage.files.shards import ShardContent, publish_shard, stage_shard
from embstore.storage.transaction.lock import write_lock
from embstore.storage.transaction.manifest import MANIFEST_FORMAT, Snapshot, committed_shards, read_snapshot

_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)
_MAX_CHANGES = 16
_FEW_FILES = 64
"""Number of files up to which each manifest is complete, so that opening a small store reads one."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the files that make up a store."""

    added: tuple[Path, ...] = ()  # they exist
    removed: tuple[Path, ...] = ()
    replaced: Mapping[Path, tuple[Path, ...]] = field(default_factory=dict)  # of added shards, the removed ones in them


def commit(paths: StorePaths, change: Change) -> None:
    """Commit a change; one that changes nothing writes nothing."""
    added = {paths.key(path): _properties(path) for path in change.added}
    removed = [key for key in map(paths.key, change.removed) if key not in added]
    replaced = {paths.key(new): [*map(paths.key, old)] for new, old in change.replaced.items()}
    while True:
        base = read_snapshot(paths)
        if lost := [key for old in replaced.values() for key in old if key not in base.files]:
            raise StoreError(
                f"{paths.file(lost[0])} was replaced or removed by another process meanwhile. Run the command again."
            )
        new = {key: properties for key, properties in added.items() if base.files.get(key) != properties}
        gone = [key for key in removed if key in base.files]
        if not new and not gone:
            return
        if _create(paths, base, new, gone, replaced) and disk.stamp_of(paths.manifest(base.number)) == base.stamp:
            supply.committed(paths.root)
            return
        # Without its parent, the number may have been free only since rivals' manifests of it and before were deleted.


def create_store(paths: StorePaths) -> None:
    """Create an empty store in an empty folder: its first manifest, then the marker."""
    create_complete(paths)
    write_marker(paths)


def create_complete(paths: StorePaths, files: Iterable[str] = ()) -> None:
    """Create a complete manifest that depends on none before it: the first of a store, or of one that is repaired."""
    properties = {key: _properties(paths.file(key)) for key in files}
    _create(paths, Snapshot(max(paths.manifest_numbers(), default=0), "", {}), properties, [], {})


def _create(
    paths: StorePaths, base: Snapshot, added: dict[str, Any], removed: list[str], replaced: dict[str, Any]
) -> bool:
    """Create the manifest that follows a snapshot; return False if another writer has created one of its number."""
    gone = {*removed}
    files = {key: properties for key, properties in base.files.items() if key not in gone} | added
    is_complete = not base.sha256 or len(files) <= _FEW_FILES or base.n_changes >= _MAX_CHANGES
    document = {
        "format": MANIFEST_FORMAT, "number": base.number + 1,
        "parent": {"number": base.number, "sha256": base.sha256} if base.sha256 else None,
        "writer": secrets.token_hex(8), "complete": is_complete,
        "added": dict(sorted((files if is_complete else added).items())), "removed": sorted(removed),
        "replaced": replaced,
    }  # fmt: skip
    path = paths.manifest(base.number + 1)
    if not _create_file(paths, path, atomic.checked_bytes(path, document, "manifest", indent=None)):
        return False
    if is_complete:
        # The two last complete manifests, and those after them, are kept. The others are deleted in order: a commit
        # relies on its parent being deleted before it.
        for old in paths.manifest_numbers():
            if old < base.number - base.n_changes:
                with suppress(FileAccessError):  # it is deleted another time
                    disk.remove(paths.manifest(old), missing_ok=True)
    return True


def _create_file(paths: StorePaths, path: Path, data: bytes) -> bool:
    """Create a manifest, under a lock where the file system has no hard links; return False if it exists."""
    try:
        return atomic.create(path, data)
    except FileAccessError as error:
        if error.code not in _NO_LINKS:
            raise
    with disk.opening(paths.commit_lock, "lock"), FileLock(paths.commit_lock, fallback_to_soft=False):
        if disk.exists(path):
            return False
        atomic.write_bytes(path, data)
    return True


def _properties(path: Path) -> dict[str, Any]:
    """Return what a manifest says of a file: the size of an immutable one; others contain their own hash."""
    return {} if path.parent.name in ("spaces", "datasets") else {"bytes": disk.size(path)}


@contextmanager
def committing(paths: StorePaths, change: Change) -> Iterator[None]:
    """Commit a change when the context ends; its new files are written within.

    After an error they are deleted, with the summaries of shards; if that fails, they are left to the next writer.
    """
    try:
        yield
        commit(paths, change)
    except BaseException:
        with suppress(DamagedError, FileAccessError):
            snapshot = read_snapshot(paths)
            for path in change.added:
                if not snapshot.is_named(paths.key(path)):
                    disk.remove(path, missing_ok=True)
                    if names.kind_of(paths.key(path)) is names.SHARDS:
                        disk.remove(Shard(path).summary_path, missing_ok=True)
        raise


def write_shard(paths: StorePaths, content: ShardContent) -> Shard:
    """Write one shard and its summary, and commit it."""
    with atomic.temporary(paths.embeddings(content.card.space)) as temp:
        staged = stage_shard(temp, paths, content)
        with committing(paths, Change(added=(staged.shard.path,))):
            publish_shard(staged)
    return staged.shard


def write_card(paths: StorePaths, card: Card) -> None:
    """Store the card of a space, and commit the space."""
    with committing(paths, Change(added=(paths.card(card.space),))):
        store_card(paths, card)


def write_dataset(paths: StorePaths, name: str, kind: str, unit: Unit, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write the rows of a dataset for a unit to its file, and commit it; rows of other units are kept.

    The columns are ``item_id`` and ``text``, for pairs also ``item_id_2`` and ``text_2``, then the dataset's own ones
    (score, rank …), in its order. The kind of the dataset is stored in the file's metadata.
    """
    arrays = {"unit": pa.array([unit.value] * len(columns["item_id"]))}
    for key, values in columns.items():
        arrays[key] = pa.array(values, tables.DATASET_TYPES.get(key))
    table, path = pa.table(arrays), paths.dataset(name)
    if disk.exists(path) and checksum.has_valid_checksum(disk.read(path)):  # a damaged one is written anew
        import pyarrow.compute as pc  # as slow as the rest of pyarrow, and not needed to read tables

        stored = tables.read_table(path).replace_schema_metadata(None)
        if stored.schema.equals(table.schema):
            table = pa.concat_tables([stored.filter(pc.not_equal(stored["unit"], unit.value)), table])
    with committing(paths, Change(added=(path,))):
        tables.write_table(path, table.replace_schema_metadata({"kind": kind}))


def write_rows(paths: StorePaths, folder: Path, parts: Iterable[pa.Table]) -> list[Path]:
    """Write rows of items, columns or skipped texts as new tables of bounded size, and return their files."""
    found = []
    for rows in tables.bounded(part for part in parts if part.num_rows):
        with atomic.temporary(folder) as temp:
            found.append(tables.stage_part(temp, rows))
            with committing(paths, Change(added=(found[-1],))):
                atomic.publish(temp, found[-1])
    return found


Replaced = Mapping[str, Iterable[str]]
"""Name of each new part file → names of the old ones whose rows it has."""


@contextmanager
def maintenance_lock(paths: StorePaths) -> Iterator[None]:
    """Lock an existing store within the context, after recovery from interrupted writes."""
    check_marker(paths)
    with write_lock(paths):
        recover(paths)
        yield


def recover(paths: StorePaths) -> list[Path]:
    """Finish or roll back interrupted writes, and return the removed paths.

    Of a new store without a marker yet, only temporary files are removed.
    """
    if not disk.exists(paths.marker):
        return _remove(paths.contents().temporaries)
    finish_replacements(paths)
    return _remove(list_leftovers(paths, read_snapshot(paths)))


def list_leftovers(paths: StorePaths, snapshot: Snapshot) -> list[Path]:
    """Return the files that :func:`recover` would remove, given those that make up the store.

    They are the temporary ones, those that the snapshot does not name, those of spaces that it has not, and the half of
    an index; of datasets none. Folders of these spaces are removed if nothing else is in them.
    """
    contents, spaces = paths.contents(), leftover_spaces(paths, snapshot)
    files = {paths.key(path): path for path in contents.files}

    def is_left(key: str) -> bool:
        kind, stem = names.kind_of(key), key.rpartition(".")[0]
        if kind in (*names.TABLES, names.SHARDS, names.SUMMARIES):
            return not snapshot.is_named(key)
        if kind in (names.INDEXES, names.INDEX_CARDS) and not {f"{stem}.faiss", f"{stem}.json"} <= files.keys():
            return True
        return names.space_of(key) in spaces

    left = [path for key, path in files.items() if is_left(key)]
    return [*contents.temporaries, *left, *(folder for space in spaces for folder in paths.folders_of(space))]


def forget_missing(paths: StorePaths, folders: Iterable[Path]) -> list[Path]:
    """Commit that the missing files of some folders are not of the store any more, and return their paths."""
    snapshot = read_snapshot(paths)
    missing = [path for folder in folders for path in snapshot.parts(paths, folder).missing]
    commit(paths, Change(removed=tuple(missing)))
    return missing


@contextmanager
def replacing(paths: StorePaths, replaced: Mapping[Path, tuple[Path, ...]]) -> Iterator[None]:
    """Replace shards atomically: write new ones within the context, delete the old ones of each at its end.

    Indexes and maps that cover old shards then cover the new ones, which contain the same vectors.
    """
    old = tuple(path for each in replaced.values() for path in each if path not in replaced)
    with committing(paths, Change((*replaced,), old, replaced)):
        yield
    finish_replacements(paths)
    _remove(path for shard in map(Shard, old) for path in (shard.path, shard.summary_path))


def rewrite_tables(
    paths: StorePaths, folder: Path, rewritten: Iterable[tuple[Path, pa.Table | None]], removed: Iterable[Path] = ()
) -> list[Path]:
    """Commit tables in place of part files of a folder, None for none, and that other files are removed.

    One table at a time is in memory. The old part files are deleted. Return the new ones.
    """
    with ExitStack() as stack:
        staged, old = {}, []
        for path, table in rewritten:
            old.append(path)
            if table is not None:
                temp = stack.enter_context(atomic.temporary(folder))
                staged[tables.stage_part(temp, table)] = temp
        with committing(paths, Change(added=tuple(staged), removed=(*old, *removed))):
            for target, temp in staged.items():
                atomic.publish(temp, target)
    _remove(path for path in old if path not in staged)
    return [*staged]


def finish_replacements(paths: StorePaths) -> None:
    """Update what covers the shards that the newest manifest replaced: index cards and maps."""
    of_spaces: dict[str, dict[str, list[str]]] = {}
    for new, old in read_snapshot(paths).replaced.items():
        folder = paths.file(new).parent
        if (space := names.SPACES.name(folder.name)) is not None and old:
            of_spaces.setdefault(space, {})[Path(new).stem] = [Path(name).stem for name in old]
    for space, replaced in of_spaces.items():
        _cover(paths, space, replaced)


def remove_space(paths: StorePaths, space: str) -> None:
    """Remove a space with its skipped texts at once, then delete its files."""
    import pyarrow.compute as pc  # as slow as the rest of pyarrow, and not needed to commit

    named = json.dumps(space).encode()
    for path in paths.files_of(names.ANSWERS):
        with suppress(FileNotFoundError):  # a query removed it meanwhile
            if named in disk.read(path):
                disk.remove(path)
    snapshot = read_snapshot(paths)
    folder = paths.embeddings(space)
    key = f"{paths.key(folder)}/"
    gone = [*(paths.file(name) for name in snapshot.files if name.startswith(key)), paths.card(space)]

    def of_others() -> Iterator[tuple[Path, pa.Table | None]]:
        for path in snapshot.parts(paths, paths.skipped).files:
            table = tables.read_part(path)
            others = table.filter(pc.fill_null(pc.not_equal(table["space"], space), True))
            if len(others) < len(table):
                yield path, others if len(others) else None

    rewrite_tables(paths, paths.skipped, of_others(), gone)
    for folder in paths.folders_of(space):  # with whatever else is in them
        disk.remove_tree(folder)
    recover(paths)


def count_items(paths: StorePaths, space: str) -> int | None:
    """Return the number of items of a space from its summaries, or None if they cannot be read."""
    try:
        files = [shard.summary_path for shard in committed_shards(paths, space)]
        counts = [tables.read_table(file, columns=["n"])["n"].to_pylist() for file in files]
    except (StoreError, OSError, pa.ArrowException):
        return None
    return int(sum(max(of_layers, default=0) for of_layers in counts))


def leftover_spaces(paths: StorePaths, snapshot: Snapshot) -> list[str]:
    """Return the names of the spaces that are not of the store and have files."""
    stored = {*snapshot.spaces, *snapshot.spaces_with_shards}
    merged = (path.stem for path in paths.files_of(names.MERGED))
    return sorted({*paths.spaces_on_disk(), *names.CARDS.listed(paths.spaces), *merged} - stored)


def _cover(paths: StorePaths, space: str, replaced: Replaced) -> None:
    """Let the indexes and maps of a space cover the new shards instead of the old ones.

    One that covers only some of the old shards of a new one, or a shard that was removed, is not used any more.
    """
    for _, card in paths.index_pairs(space):
        try:
            document = atomic.read_document(card, "index-card")
        except (DamagedError, FileNotFoundError):  # not searched, and rebuilt by a build or a repair
            continue
        covered = _successors(document["shards"], replaced)
        if covered != set(document["shards"]):
            atomic.write_document(card, {**document, "shards": sorted(covered)}, "index-card")
    for path in paths.files_of(names.MAPS, space):
        try:
            found = read_map(paths, path)
        except DamagedError:  # not used, and removed by a repair
            continue
        shards = _successors(found.shards, replaced)
        if shards != set(found.shards):
            write_map(paths, replace(found, shards=tuple(sorted(shards))))  # they have the same vectors


def _successors(shards: Iterable[str], replaced: Replaced) -> set[str]:
    """Return the names of shards with a new one instead of all the old ones that it replaces."""
    found = set(shards)
    for new, old in replaced.items():
        if (names_of_old := set(old)) and found >= names_of_old:
            found = found - names_of_old | {new}
    return found


def _remove(found: Iterable[Path]) -> list[Path]:
    """Remove files, temporary folders and empty folders; return the paths of the files."""
    removed = []
    for path in found:
        if not disk.is_folder(path):
            removed.append(path)
            disk.remove(path, missing_ok=True)
        elif atomic.is_temporary(path.name):
            disk.remove_tree(path)
        elif not disk.entries(path):
            disk.remove_folder(path)
    return removed
