"""Lock a store for one writer, or for several builds that share the parts of a source."""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from embstore import atomic, disk
from embstore.errors import DamagedError, FileAccessError, LockedError
from embstore.storage.files.paths import StorePaths
from embstore.storage.transaction import filesystem
from embstore.storage.transaction.folder_lock import FolderLock

_BEGIN_SECONDS, _END_SECONDS = 5.0, 60.0

Others = Sequence[Mapping[str, Any]]
"""Metadata of other builds: host, pid and shard, and their plan once it is known."""


@contextmanager
def write_lock(paths: StorePaths) -> Iterator[None]:
    """Lock the store exclusively within the context; the system releases the lock if the process dies.

    Raises:
        LockedError: Other processes are writing; the message names them.
        StoreError: The store cannot be written, or its file system cannot keep a store.
    """
    with _hold(paths):
        if others := _sharing(paths):
            raise _refused(paths, f"{_named(others)}. Wait for them to end")
        with _held_folder(paths), _signed(paths.lock):
            yield


class SharedLock:
    """Lock of one of several builds that share the parts of a source and exclude all other writers.

    Each build has a lock of its own. The store's write lock serves as a gate: its owner sees which builds are writing,
    and none can begin or end meanwhile.

    Args:
        paths: Paths of the store.
        shard: Part of the source that the build takes, as ``2/3``.
    """

    def __init__(self, paths: StorePaths, shard: str) -> None:
        self._paths, self._shard = paths, shard
        self._path = paths.shard_lock(shard)
        self._lock = _file_lock(self._path)
        self._folder = FolderLock(paths.root)
        self._identity = (0, 0)

    @contextmanager
    def gate(self, *, begins: bool = False) -> Iterator[Others]:
        """Lock the gate within the context, and yield the metadata of the other builds.

        Args:
            begins: Whether the build is just beginning, so that it waits only for a short time.

        Raises:
            LockedError: The store has an exclusive writer.
            StoreError: As in :func:`write_lock`.
        """
        with _hold(self._paths, _BEGIN_SECONDS if begins else _END_SECONDS):
            yield _sharing(self._paths, but=self._path)

    def take(self, others: Others) -> None:
        """Acquire the lock of this part; the gate must be locked.

        Raises:
            LockedError: Another build has this part, or the others use another number of parts.
        """
        n = self._shard.partition("/")[2]
        if other := next((one for one in others if str(one.get("shard")).partition("/")[2] != n), None):
            raise _refused(
                self._paths, f"{_named([other])}, which makes no sense beside {self._shard}. Wait for it to end"
            )
        try:
            with disk.opening(self._path, "lock"):
                self._lock.acquire(blocking=False)
        except Timeout:
            raise _refused(self._paths, f"{_named([_read(self._path)])}. Wait for it to end") from None
        if not self._folder.acquire(shared=True):
            self._lock.release()
            raise _deleted(self._paths)
        self._identity = _identity(self._path)
        self._say({})

    def check(self) -> None:
        """Check that the lock file still exists; called before anything is written.

        Raises:
            LockedError: The file was deleted, so that another build may have taken the same part.
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

    def _say(self, plan: Mapping[str, Any]) -> None:
        atomic.write_document(StorePaths.holder(self._path), {**_me(), "shard": self._shard, **plan})

    def agree(self, plan: str, others: Others) -> None:
        """Publish the plan of this build, and compare it with the others'; the gate must be locked.

        Args:
            plan: Hash of the plan.
            others: Metadata of the other builds, from :meth:`gate`.

        Raises:
            LockedError: Another build has a different plan.
        """
        if other := next((one for one in others if one.get("plan", plan) != plan), None):
            raise _refused(
                self._paths,
                f"{_named([other])}, from other sources or with other options. Give all parts the same, one after the "
                "other if need be",
            )
        self._say({"plan": plan})

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
    def named(self) -> Iterator[None]:
        """Record this process as the owner of the gate within the context, for a longer use of it."""
        with _signed(self._paths.lock):
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
def _hold(paths: StorePaths, seconds: float = 0.0) -> Iterator[None]:
    paths.check_contents()
    lock = _file_lock(paths.lock)
    try:
        with disk.opening(paths.lock, "lock"):
            lock.acquire(timeout=seconds, poll_interval=0.01)
    except Timeout:
        raise _refused(paths, f"{_named([_read(paths.lock)])}. Wait for it to end") from None
    except NotImplementedError as error:
        raise filesystem.no_locks(paths.root) from error
    except FileAccessError as error:
        raise filesystem.lock_error(error, paths.root) from error
    try:
        filesystem.check(paths.root, paths.lock)
        yield
    finally:
        lock.release()


def _sharing(paths: StorePaths, but: Path | None = None) -> list[Mapping[str, Any]]:
    """Return the metadata of the builds that share the store, and remove the locks of dead ones."""
    found: list[Mapping[str, Any]] = []
    for path in paths.shard_locks():
        if path == but:
            continue
        lock = _file_lock(path)
        try:
            with disk.opening(path, "lock"):
                lock.acquire(blocking=False)
        except Timeout:
            found.append(_read(path))
            continue
        disk.remove(StorePaths.holder(path), missing_ok=True)
        disk.remove(path, missing_ok=True)
        lock.release()
    return found


@contextmanager
def _held_folder(paths: StorePaths) -> Iterator[None]:
    """Lock the store's folder itself exclusively."""
    folder = FolderLock(paths.root)
    if not folder.acquire():
        raise _deleted(paths)
    try:
        yield
    finally:
        folder.release()


def _file_lock(path: Path) -> FileLock:
    """Return the lock of a file, or an error where the file system has none: no file is taken for a lock."""
    return FileLock(path, fallback_to_soft=False)


def _identity(path: Path) -> tuple[int, int]:
    found = disk.status(path)
    return (found.st_dev, found.st_ino)


@contextmanager
def _signed(lock: Path) -> Iterator[None]:
    """Record this process as the owner of a lock within the context."""
    holder = StorePaths.holder(lock)
    try:
        atomic.write_document(holder, _me())
        yield
    finally:
        disk.remove(holder, missing_ok=True)


def _me() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _read(lock: Path) -> Mapping[str, Any]:
    """Return the metadata of a lock's owner; empty if it is just acquiring or releasing it."""
    try:
        return atomic.read_document(StorePaths.holder(lock), "lock-holder")
    except (FileAccessError, DamagedError):
        return {}


def _named(holders: Others) -> str:
    return ", ".join(
        f"process {one['pid']} on {one['host']}" + (f" (--shard {one['shard']})" if "shard" in one else "")
        if one
        else "another process"
        for one in holders
    )


def _deleted(paths: StorePaths) -> LockedError:
    """Return the error for a running writer whose lock file was deleted."""
    others = [found for found in map(_read, [paths.lock, *paths.shard_locks()]) if found]
    return _refused(paths, f"{_named(others or [{}])}, whose lock file was deleted. Wait for it to end")


def _refused(paths: StorePaths, by: str) -> LockedError:
    return LockedError(f"{paths.root} is being written by {by}, or build into another store.")
