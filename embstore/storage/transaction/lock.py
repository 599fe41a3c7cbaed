"""Lock a store for one writer, or for several builds that divide a source among them."""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError, FileAccessError, LockedError
from embstore.storage.files.paths import StorePaths
from embstore.storage.transaction import filesystem
from embstore.storage.transaction.folder_lock import FolderLock

_START_SECONDS, _END_SECONDS = 5.0, 60.0

Others = Sequence[Mapping[str, Any]]
"""Metadata of other builds: ``host``, ``pid``, ``shard``, and ``plan`` once it is known."""


@contextmanager
def write_lock(paths: StorePaths) -> Iterator[None]:
    """Lock the store exclusively within the context; the system releases the lock if the process dies.

    Raises:
        LockedError: Other processes are writing; the message names them.
        StoreError: The store cannot be written, or its file system cannot keep a store.
    """
    with _gate(paths):
        if others := _live_builds(paths):
            raise _locked_error(paths, f"{_describe(others)}. Wait for them to end")
        with _locked_folder(paths), _owner_recorded(paths.lock):
            yield


class SharedLock:
    """Lock of one of several builds that divide a source among them and exclude all other writers.

    Each build has a lock of its own. The store's write lock serves as a gate: its owner sees which builds are writing,
    and none can begin or end meanwhile.

    Args:
        paths: Paths of the store.
        shard: Share of the source that the build takes, as ``2/3``.
    """

    def __init__(self, paths: StorePaths, shard: str) -> None:
        self._paths, self._shard = paths, shard
        self._path = paths.shard_lock(shard)
        self._lock = _file_lock(self._path)
        self._folder = FolderLock(paths.root)
        self._identity = (0, 0)

    @contextmanager
    def gate(self, *, is_starting: bool = False) -> Iterator[Others]:
        """Lock the gate within the context, and yield the metadata of the other builds.

        Args:
            is_starting: Whether the build is just beginning, so that it waits only for a short time.

        Raises:
            LockedError: The store has an exclusive writer.
            StoreError: As in :func:`write_lock`.
        """
        with _gate(self._paths, _START_SECONDS if is_starting else _END_SECONDS):
            yield _live_builds(self._paths, excluded=self._path)

    def acquire(self, others: Others) -> None:
        """Acquire the lock of this build's share of the source; the gate must be locked.

        Raises:
            LockedError: Another build has this share, or the others divide the source into another number of shares.
        """
        n = self._shard.partition("/")[2]
        if other := next((owner for owner in others if str(owner.get("shard")).partition("/")[2] != n), None):
            raise _locked_error(
                self._paths, f"{_describe([other])}, which makes no sense beside {self._shard}. Wait for it to end"
            )
        try:
            with disk.opening(self._path, "lock"):
                self._lock.acquire(blocking=False)
        except Timeout:
            raise _locked_error(self._paths, f"{_describe([_read_metadata(self._path)])}. Wait for it to end") from None
        if not self._folder.acquire(shared=True):
            self._lock.release()
            raise _deleted_lock_error(self._paths)
        self._identity = _identity(self._path)
        self._write_metadata({})

    def check(self) -> None:
        """Check that the lock file still exists; called before anything is written.

        Raises:
            LockedError: The file was deleted, so that another build may have taken the same share.
        """
        try:
            is_there = _identity(self._path) == self._identity
        except FileNotFoundError:
            is_there = False
        if not is_there:
            raise LockedError(
                f"the lock file {self._path} was deleted while this build was at work: another one may have begun with "
                f"part {self._shard}. What was written before is whole; see that no other build is at work, and run "
                "the same command again."
            )

    def _write_metadata(self, plan: Mapping[str, Any]) -> None:
        """Write the metadata of this build, with further fields, for other builds to read."""
        metadata = {**_own_metadata(), "shard": self._shard, **plan}
        atomic.write_document(StorePaths.holder(self._path), metadata, "lock-holder")

    def compare_plan(self, plan: str, others: Others) -> None:
        """Publish the plan of this build, and compare it with the others'; the gate must be locked.

        Args:
            plan: Hash of the plan.
            others: Metadata of the other builds, from :meth:`gate`.

        Raises:
            LockedError: Another build has a different plan.
        """
        if other := next((owner for owner in others if owner.get("plan", plan) != plan), None):
            raise _locked_error(
                self._paths,
                f"{_describe([other])}, from other sources or with other options. Give all parts the same, one after "
                "the other if need be",
            )
        self._write_metadata({"plan": plan})

    @contextmanager
    def texts(self) -> Iterator[None]:
        """Exclude the other builds from writing texts within the context, so that no text is written twice.

        Raises:
            LockedError: As in :meth:`check`.
        """
        self.check()
        with disk.opening(self._paths.texts_lock, "lock"), _file_lock(self._paths.texts_lock):
            yield

    @contextmanager
    def owner_recorded(self) -> Iterator[None]:
        """Record this process as the owner of the gate within the context, for messages of other processes."""
        with _owner_recorded(self._paths.lock):
            yield

    def release(self) -> None:
        """Release the lock and remove its metadata."""
        self._folder.release()
        if self._lock.is_locked:
            try:
                disk.remove(StorePaths.holder(self._path), missing_ok=True)
            finally:
                self._lock.release()


@contextmanager
def _gate(paths: StorePaths, seconds: float = 0.0) -> Iterator[None]:
    """Lock the store's lock file within the context, waiting up to some seconds, and check the file system.

    Raises:
        LockedError: Another process has the lock.
        StoreError: As in :func:`write_lock`.
        DamagedError: An entry of the store is a symbolic link or of the wrong type.
    """
    paths.check_contents()
    lock = _file_lock(paths.lock)
    try:
        with disk.opening(paths.lock, "lock"):
            lock.acquire(timeout=seconds, poll_interval=0.01)
    except Timeout:
        raise _locked_error(paths, f"{_describe([_read_metadata(paths.lock)])}. Wait for it to end") from None
    except NotImplementedError as error:
        raise filesystem.no_locks(paths.root) from error
    except FileAccessError as error:
        raise filesystem.lock_error(error, paths.root) from error
    try:
        filesystem.check(paths.root, paths.lock)
        yield
    finally:
        lock.release()


def _live_builds(paths: StorePaths, excluded: Path | None = None) -> list[Mapping[str, Any]]:
    """Return the metadata of the builds that share the store, and remove the locks of dead ones."""
    found: list[Mapping[str, Any]] = []
    for path in paths.shard_locks():
        if path == excluded:
            continue
        lock = _file_lock(path)
        try:
            with disk.opening(path, "lock"):
                lock.acquire(blocking=False)
        except Timeout:
            found.append(_read_metadata(path))
            continue
        disk.remove(StorePaths.holder(path), missing_ok=True)
        disk.remove(path, missing_ok=True)
        lock.release()
    return found


@contextmanager
def _locked_folder(paths: StorePaths) -> Iterator[None]:
    """Lock the store's folder itself exclusively."""
    folder = FolderLock(paths.root)
    if not folder.acquire():
        raise _deleted_lock_error(paths)
    try:
        yield
    finally:
        folder.release()


def _file_lock(path: Path) -> FileLock:
    """Return the lock of a file, or an error where the file system has none: no file is taken for a lock."""
    return FileLock(path, fallback_to_soft=False)


def _identity(path: Path) -> tuple[int, int]:
    """Return device and inode of a file, which distinguish it from a later file of the same name."""
    found = disk.status(path)
    return (found.st_dev, found.st_ino)


@contextmanager
def _owner_recorded(lock: Path) -> Iterator[None]:
    """Record this process as the owner of a lock within the context."""
    holder = StorePaths.holder(lock)
    try:
        atomic.write_document(holder, _own_metadata(), "lock-holder")
        yield
    finally:
        disk.remove(holder, missing_ok=True)


def _own_metadata() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _read_metadata(lock: Path) -> Mapping[str, Any]:
    """Return the metadata of a lock's owner; empty if it is just acquiring or releasing it."""
    try:
        return atomic.read_document(StorePaths.holder(lock), "lock-holder")
    except (FileAccessError, DamagedError):
        return {}


def _describe(holders: Others) -> str:
    """Return the owners of locks in words: ``process 12 on host (--shard 2/3)``."""
    return ", ".join(
        f"process {owner['pid']} on {owner['host']}" + (f" (--shard {owner['shard']})" if "shard" in owner else "")
        if owner
        else "another process"
        for owner in holders
    )


def _deleted_lock_error(paths: StorePaths) -> LockedError:
    """Return the error for a running writer whose lock file was deleted."""
    others = [found for found in map(_read_metadata, [paths.lock, *paths.shard_locks()]) if found]
    return _locked_error(paths, f"{_describe(others or [{}])}, whose lock file was deleted. Wait for it to end")


def _locked_error(paths: StorePaths, by: str) -> LockedError:
    return LockedError(f"{paths.root} is being written by {by}, or build into another store.")
