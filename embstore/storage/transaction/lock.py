"""Lock a store for one writer, or for several builds that divide a source among them.

The lock files in a store can be deleted. So the folder itself is locked too: a writer takes that lock exclusively,
builds that divide a source among them share it. Network file systems and Windows cannot lock folders: there only the
lock files protect the store.
"""

import errno
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError, FileAccessError, LockedError, StoreError
from embstore.storage.files.paths import StorePaths

_START_SECONDS, _END_SECONDS = 5.0, 60.0
_LOCKED = (errno.EAGAIN, errno.EWOULDBLOCK)
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
_UNSUPPORTED = (*_NO_LOCKS, errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOTSUP)

Others = Sequence[Mapping[str, Any]]
"""Metadata of other builds: ``host``, ``pid``, ``shard``, and ``plan`` once it is known."""


@contextmanager
def write_lock(paths: StorePaths) -> Iterator[None]:
    """Lock the store exclusively within the context; the system releases the lock if the process dies."""
    with _gate(paths):
        if others := _live_builds(paths):
            raise _locked_error(paths, others, remedy="Wait for them to end")
        folder = FolderLock(paths.root)
        if not folder.acquire():
            raise _deleted_lock_error(paths)
        try:
            with owner_recorded(paths):
                yield
        finally:
            folder.release()


class SharedLock:
    """Lock of one of several builds that divide a source among them and exclude all other writers.

    Each build has a lock of its own. The store's write lock serves as a gate: its owner sees which builds are writing,
    and none can begin or end meanwhile.
    """

    def __init__(self, paths: StorePaths, shard: str) -> None:
        self._paths, self._shard = paths, shard
        self._path = paths.shard_lock(shard)
        self._lock = _file_lock(self._path)
        self._folder = FolderLock(paths.root)
        self._status: os.stat_result | None = None  # of the lock file

    @contextmanager
    def gate(self, *, is_starting: bool = False) -> Iterator[Others]:
        """Lock the gate within the context, and yield the metadata of the other builds."""
        with _gate(self._paths, _START_SECONDS if is_starting else _END_SECONDS):
            yield _live_builds(self._paths, excluded=self._path)

    def acquire(self, others: Others) -> None:
        """Acquire the lock of this build's share of the source; the gate must be locked."""
        n = self._shard.partition("/")[2]
        if other := next((owner for owner in others if str(owner.get("shard")).partition("/")[2] != n), None):
            raise _locked_error(self._paths, [other], f", which conflicts with {self._shard}")
        try:
            with disk.opening(self._path, "lock"):
                self._lock.acquire(blocking=False)
        except Timeout:
            raise _locked_error(self._paths, [_read_metadata(self._path)]) from None
        if not self._folder.acquire(shared=True):
            self._lock.release()
            raise _deleted_lock_error(self._paths)
        self._status = disk.status(self._path)
        _record_owner(self._path, shard=self._shard)

    def check(self) -> None:
        """Check that the lock file still exists; called before anything is written."""
        with suppress(FileNotFoundError):
            if self._status is not None and os.path.samestat(disk.status(self._path), self._status):
                return
        raise LockedError(
            f"the lock file {self._path} was deleted while this build was at work: another one may have begun with "
            f"part {self._shard}. What was written before is whole; see that no other build is at work, and run "
            "the same command again."
        )

    def compare_plan(self, plan: str, others: Others) -> None:
        """Publish the plan of this build, and compare it with the others'; the gate must be locked."""
        if other := next((owner for owner in others if owner.get("plan", plan) != plan), None):
            remedy = "Give all parts the same, one after the other if need be"
            raise _locked_error(self._paths, [other], ", from other sources or with other options", remedy)
        _record_owner(self._path, shard=self._shard, plan=plan)

    @contextmanager
    def texts(self) -> Iterator[None]:
        """Exclude the other builds from writing texts within the context, so that no text is written twice."""
        self.check()
        with disk.opening(self._paths.texts_lock, "lock"), _file_lock(self._paths.texts_lock):
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
    """Lock the store's lock file within the context, waiting up to some seconds, and check the file system."""
    paths.check_contents()
    lock = _file_lock(paths.lock)
    try:
        with disk.opening(paths.lock, "lock"):
            lock.acquire(timeout=seconds, poll_interval=0.01)
    except Timeout:
        raise _locked_error(paths, [_read_metadata(paths.lock)]) from None
    except NotImplementedError as error:
        raise _no_locks(paths.root) from error
    except FileAccessError as error:
        if error.errno in _NO_LOCKS:
            raise _no_locks(paths.root) from error
        raise FileAccessError(paths.root, error.errno or errno.EIO, writing=True) from error
    try:
        _check_filesystem(paths.root, paths.lock)
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


def _file_lock(path: Path) -> FileLock:
    """Return the lock of a file, or an error where the file system has none: no file is taken for a lock."""
    return FileLock(path, fallback_to_soft=False)


@contextmanager
def owner_recorded(paths: StorePaths) -> Iterator[None]:
    """Record this process as the owner of the store's lock within the context, for messages of other processes."""
    try:
        _record_owner(paths.lock)
        yield
    finally:
        disk.remove(StorePaths.holder(paths.lock), missing_ok=True)


def _record_owner(lock: Path, **fields: str) -> None:
    document = {"host": socket.gethostname(), "pid": os.getpid(), **fields}
    atomic.write_document(StorePaths.holder(lock), document, "lock-holder")


def _read_metadata(lock: Path) -> Mapping[str, Any]:
    """Return the metadata of a lock's owner; empty if it is just acquiring or releasing it."""
    try:
        return atomic.read_document(StorePaths.holder(lock), "lock-holder")
    except (FileAccessError, DamagedError):
        return {}


def _deleted_lock_error(paths: StorePaths) -> LockedError:
    """Return the error for a running writer whose lock file was deleted."""
    others = [found for found in map(_read_metadata, [paths.lock, *paths.shard_locks()]) if found]
    return _locked_error(paths, others or [{}], ", whose lock file was deleted")


def _locked_error(
    paths: StorePaths, holders: Others, detail: str = "", remedy: str = "Wait for it to end"
) -> LockedError:
    """Return the error for a store that others write to: ``process 12 on host (--shard 2/3)``."""
    by = ", ".join(
        f"process {owner['pid']} on {owner['host']}" + (f" (⦃shard={owner['shard']}⦄)" if "shard" in owner else "")
        if owner
        else "another process"
        for owner in holders
    )
    return LockedError(f"{paths.root} is being written by {by}{detail}. {remedy}, or build into another store.")


def _check_filesystem(root: Path, lock: Path) -> None:
    """Check in under a millisecond that locks, of which this process has one, exclude others, and renames replace."""
    again = _file_lock(lock)
    try:
        with disk.opening(lock, "lock"):
            again.acquire(blocking=False)
    except Timeout:
        pass
    else:
        again.release()
        raise _no_locks(root)
    with atomic.temporary(root) as new, atomic.temporary(root) as old:
        disk.write(old, b"old")
        disk.write(new, b"new")
        is_sound = False
        with suppress(FileAccessError):  # of the link, since there is a file of that name, or there are no links
            disk.replace(new, old)
            is_sound = disk.read(old) == b"new" and not disk.exists(new)
            disk.write(new, b"new")
            disk.link(new, old)
            is_sound = False
    if not is_sound:
        raise StoreError(
            f"the file system of {root} does not replace a file by renaming another, or replaces one by a link: a "
            "build that dies would leave half a store. Build on a local disk and copy the store there when it is "
            "complete."
        )


def _no_locks(root: Path) -> StoreError:
    """Return the error for a file system whose locks do not exclude others."""
    return StoreError(
        f"the file system of {root} has no locks that work: two builds could write there at once and damage the store. "
        "Build on a local disk (or NFS with its lock service) and copy the store there when it is complete."
    )


class FolderLock:
    """Lock of a folder; the system releases it if the process dies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self.is_supported = True

    def acquire(self, *, shared: bool = False) -> bool:
        """Acquire the lock, and return False if another process has a conflicting one."""
        try:
            import fcntl
        except ImportError:  # Windows
            self.is_supported = False
            return True
        try:
            with disk.Operation("lock", self._folder):
                self._descriptor = os.open(self._folder, os.O_RDONLY)
                fcntl.flock(self._descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except FileAccessError as error:
            self.release()
            if error.errno in _LOCKED:
                return False
            if error.errno not in _UNSUPPORTED:
                raise
            self.is_supported = False
        return True

    def is_of_folder(self) -> bool:
        """Return whether the acquired lock is of the folder that is there now, not of a deleted one."""
        try:
            return self._descriptor is None or os.path.samestat(os.fstat(self._descriptor), disk.status(self._folder))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Release the lock."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
