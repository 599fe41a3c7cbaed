"""Commit a change of a store: create the next manifest, and never replace one.

A change is made in three steps:

1. the new files are written whole under their names, where no manifest names them yet;
2. the manifest of the next number is created, only if there is none: this is the commit. If another writer has taken
   the number, the change is made to that writer's state and tried again with the next one;
3. files that the manifest does not name any more are deleted.

A process that dies in between leaves files that no manifest names; the next writer deletes them
(:mod:`.recovery`).
"""

import errno
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock

from embstore.base import atomic, disk, supply
from embstore.base.errors import DamagedError, FileAccessError, StoreError
from embstore.base.space import Unit
from embstore.storage.files import names, tables
from embstore.storage.files.card import Card, store_card
from embstore.storage.files.paths import Shard, StorePaths, write_marker
from embstore.storage.files.shards import ShardContent, publish_shard, stage_shard
from embstore.storage.transaction.manifest import MANIFEST_FORMAT, Snapshot, read_snapshot, stamp_of

_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)
_MAX_CHANGES = 16
_FEW_FILES = 64
"""Number of files up to which each manifest is complete, so that opening a small store reads one."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the files that make up a store."""

    added: tuple[Path, ...] = ()  # they exist
    removed: tuple[Path, ...] = ()
    replaced: Mapping[Path, tuple[Path, ...]] = field(default_factory=dict)  # new part files, with old ones of the rows

    @property
    def all_added(self) -> tuple[Path, ...]:
        """All files that make up the store from now on."""
        return (*self.added, *self.replaced)

    @property
    def all_removed(self) -> tuple[Path, ...]:
        """All files that no longer do."""
        old = (path for paths in self.replaced.values() for path in paths)
        kept = {*self.all_added}
        return tuple(path for path in dict.fromkeys((*self.removed, *old)) if path not in kept)


def commit(paths: StorePaths, change: Change) -> None:
    """Commit a change; one that changes nothing writes nothing."""
    added = {paths.key(path): _properties(path) for path in change.all_added}
    removed = [paths.key(path) for path in change.all_removed]
    replaced = {
        paths.key(new): [key for path in old if (key := paths.key(path)) not in added]
        for new, old in change.replaced.items()
    }
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
        if _create(paths, base, new, gone, replaced) and stamp_of(paths.manifest(base.number)) == base.stamp:
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
            for path in change.all_added:
                if not snapshot.is_named(paths, path):
                    disk.remove(path, missing_ok=True)
                    if names.kind_of(paths.key(path)) is names.SHARDS:
                        disk.remove(paths.summary_of(path), missing_ok=True)
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
    """Write the rows of a dataset for a unit; see :func:`.tables.store_dataset` for the arguments."""
    with committing(paths, Change(added=(paths.dataset(name),))):
        tables.store_dataset(paths, name, kind, unit, columns)


def write_rows(paths: StorePaths, folder: Path, parts: Iterable[pa.Table]) -> list[Path]:
    """Write rows of items, columns or skipped texts as new tables of bounded size, and return their files."""
    found = []
    for rows in tables.bounded(part for part in parts if part.num_rows):
        with atomic.temporary(folder) as temp:
            found.append(tables.stage_part(temp, rows))
            with committing(paths, Change(added=(found[-1],))):
                atomic.publish(temp, found[-1])
    return found
