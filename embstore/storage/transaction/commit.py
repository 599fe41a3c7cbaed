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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError, FileAccessError, StoreError
from embstore.storage.files.paths import StorePaths, write_marker
from embstore.storage.transaction.manifest import MANIFEST_FORMAT, Snapshot, read_snapshot, stamp_of

_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)
_MAX_CHANGES = 16
_FEW_FILES = 64
"""Number of files up to which each manifest is complete, so that opening a small store reads one."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the files that make up a store.

    Attributes:
        added: Files that make up the store from now on; they exist.
        removed: Files that no longer do.
        replaced: New part files, each with the old ones that have the same rows; they are added and removed too.
    """

    added: tuple[Path, ...] = ()
    removed: tuple[Path, ...] = ()
    replaced: Mapping[Path, tuple[Path, ...]] = field(default_factory=dict)

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
    """Commit a change; one that changes nothing writes nothing.

    Raises:
        StoreError: The disk is full or cannot be written, or another writer has removed what the change replaces.
        DamagedError: A manifest was altered.
    """
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
            disk.committed(paths.root)
            return
        # Without its parent, the number may have been free only since rivals' manifests of it and before were deleted.


def create_store(paths: StorePaths) -> None:
    """Create an empty store in an empty folder: its first manifest, then the marker."""
    create_complete(paths)
    write_marker(paths)


def create_complete(paths: StorePaths, files: Iterable[str] = ()) -> None:
    """Create a complete manifest that depends on none before it: the first of a store, or of one that is repaired.

    Args:
        paths: Paths of the store.
        files: Files that make up the store, as keys; none for a new store.
    """
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
        _prune(paths, base.number - base.n_changes)
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


def _prune(paths: StorePaths, number: int) -> None:
    """Delete the manifests before the given number, in order: a commit relies on its parent being deleted before it.

    The two last complete ones, and those after them, are kept.
    """
    for old in paths.manifest_numbers():
        if old < number:
            with suppress(FileAccessError):  # it is deleted another time
                disk.remove(paths.manifest(old), missing_ok=True)


def _properties(path: Path) -> dict[str, Any]:
    """Return what a manifest says of a file: the size of an immutable one; others contain their own hash."""
    return {} if path.parent.name in ("spaces", "datasets") else {"bytes": disk.size(path)}


@contextmanager
def committing(paths: StorePaths, change: Change) -> Iterator[None]:
    """Commit a change when the context ends; its new files are written within. After an error they are deleted."""
    try:
        yield
        commit(paths, change)
    except BaseException:
        discard_unnamed(paths, change.all_added)
        raise


def discard_unnamed(paths: StorePaths, files: Iterable[Path]) -> None:
    """Delete new files that were not committed, with the summaries of shards; what fails is left to the next writer."""
    with suppress(DamagedError, FileAccessError):
        snapshot = read_snapshot(paths)
        for path in files:
            if not snapshot.is_named(paths, path):
                disk.remove(path, missing_ok=True)
                if paths.key(path).startswith("embeddings/"):
                    disk.remove(paths.summary_of(path), missing_ok=True)
