"""Lock the folder of a store for one writer.

The lock is a courtesy: it tells a second writer early that another one is at work. What keeps a
store whole is that a manifest is created once and never replaced. So a store in a bucket has no
lock, nor has one on a file system without locks, nor one that workers build together.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from embstore.base.errors import LockedError
from embstore.storage.cache import StoreFiles

LOCK_FILE = ".lock"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


@contextmanager
def write_lock(files: StoreFiles) -> Iterator[None]:
    """Lock a store within the context; the system releases the lock if the process dies.

    Half-written files of processes that have died are removed first.

    Raises:
        LockedError: Another process has the lock.
    """
    if not files.is_local:
        yield
        return
    lock = FileLock(files.root / LOCK_FILE, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise LockedError(
            f"{files.name} is being written by another process. Wait for it to end, or build into"
            " another store."
        ) from None
    except NotImplementedError:
        pass
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        files.discard_leftovers()
        yield
    finally:
        lock.release()
