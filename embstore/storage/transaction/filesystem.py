"""Check that a file system can keep a store: its locks exclude others, and its renames replace files."""

import errno
from pathlib import Path

from filelock import FileLock, Timeout

from embstore.base import atomic, disk
from embstore.base.errors import FileAccessError, StoreError


def check(root: Path, lock: Path) -> None:
    """Raise StoreError unless the file system can keep a store; this takes less than a millisecond.

    Args:
        root: Folder of the store.
        lock: File in it on which this process has a lock.
    """
    again = FileLock(lock, fallback_to_soft=False)
    try:
        with disk.opening(lock, "lock"):
            again.acquire(blocking=False)
    except Timeout:
        pass
    else:
        again.release()
        raise no_locks(root)
    with atomic.temporary(root) as new, atomic.temporary(root) as old:
        disk.write(old, b"old")
        disk.write(new, b"new")
        try:
            disk.replace(new, old)
            replaced = disk.read(old) == b"new" and not disk.exists(new)
        except FileAccessError as error:
            raise _no_rename(root) from error
        if not replaced:
            raise _no_rename(root)
        disk.write(new, b"new")
        if _links_replace(new, old):
            raise _no_rename(root)


def _links_replace(new: Path, old: Path) -> bool:
    """Return whether a hard link takes the place of an existing file, as a manifest never may."""
    try:
        disk.link(new, old)
    except FileAccessError:  # there is one already, or there are no links
        return False
    return True


def no_locks(root: Path) -> StoreError:
    """Return the error for a file system whose locks do not exclude others."""
    return StoreError(
        f"the file system of {root} has no locks that work: two builds could write there at once and damage the store. "
        "Build on a local disk (or NFS with its lock service) and copy the store there when it is complete."
    )


def lock_error(error: FileAccessError, root: Path) -> StoreError:
    """Return the error for a lock that the system refuses."""
    code = error.errno or errno.EIO
    if code in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
        return no_locks(root)
    return FileAccessError(root, code, writing=True)


def _no_rename(root: Path) -> StoreError:
    return StoreError(
        f"the file system of {root} does not replace a file by renaming another, or replaces one by a link: a build "
        "that dies would leave half a store. Build on a local disk and copy the store there when it is complete."
    )
