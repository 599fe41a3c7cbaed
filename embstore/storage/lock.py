"""Lock the folder of a store for one writer.

The lock is a courtesy: it tells a second writer early who is at work. What keeps a store whole is
that a manifest is created once and never replaced. So a store in a bucket has no lock, nor has one
on a file system without locks.
"""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from embstore.base import atomic, disk, documents
from embstore.base.errors import DamagedError, LockedError
from embstore.base.sharding import ShardSpec
from embstore.storage.cache import StoreFiles

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


@contextmanager
def write_lock(files: StoreFiles, worker: ShardSpec | None = None) -> Iterator[None]:
    """Lock a store within the context; the system releases the lock if the process dies.

    Half-written files of processes that have died are removed first. Workers that share a
    build have a lock each, since no text belongs to two of them.

    Raises:
        LockedError: Another process has the lock.
    """
    if not files.is_local:
        yield
        return
    is_shared = worker is not None and worker.total > 1
    path = files.root / (
        f".lock-{worker.index}-of-{worker.total}" if worker and is_shared else ".lock"
    )
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise _locked(files, path) from None
    except NotImplementedError:
        pass
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        files.discard_leftovers()
        atomic.write_document(
            _owner(path), {"host": socket.gethostname(), "pid": os.getpid()}, "lock-holder"
        )
        yield
    finally:
        with suppress(OSError):
            os.unlink(_owner(path))
        lock.release()


def other_workers(files: StoreFiles, worker: ShardSpec) -> bool:
    """Return whether other workers that share a build are at work in the folder of a store."""
    for path in disk.listed(files.root):
        is_lock = path.name.startswith(".lock-") and path.suffix != ".json"
        if is_lock and path.name != f".lock-{worker.index}-of-{worker.total}":
            lock = FileLock(path, fallback_to_soft=False)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                return True
            except (OSError, NotImplementedError):
                continue
            lock.release()
    return False


def _owner(lock: Path) -> Path:
    """Return the path of the document that names the owner of a lock."""
    return lock.with_name(f"{lock.name}.json")


def _locked(files: StoreFiles, lock: Path) -> LockedError:
    """Return the error for a store that another process writes to."""
    owner: dict[str, Any] = {}
    with suppress(OSError, DamagedError):
        owner = documents.read(_owner(lock), "lock-holder")
    by = f"process {owner['pid']} on {owner['host']}" if owner else "another process"
    return LockedError(
        f"{files.name} is being written by {by}. Wait for it to end, or build into another store."
    )
