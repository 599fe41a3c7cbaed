"""Where the mirrors of stores at URLs are, and how much room they take."""

import errno
import hashlib
import os
import re
import time
from enum import Enum
from pathlib import Path
from threading import Lock

from filelock import FileLock

from embstore.base import disk, installation
from embstore.base.errors import FileAccessError, RemoteError, UsageError
from embstore.base.table import show_size
from embstore.storage.transaction.folder_lock import FolderLock

FOLDER_VARIABLE, SIZE_VARIABLE = "EMBSTORE_CACHE", "EMBSTORE_CACHE_SIZE"
STORE = "store"
"""Folder of the files of the store in a mirror."""
_DEFAULT_GB = 50
_USED = "last-used"
_PAUSE_SECONDS = 0.02
_LOCK = Lock()  # while one thread locks a mirror for itself, others do not take it for unused


class IfFull(Enum):
    """What to do with content that does not fit into the cache: refuse it, leave it, or fetch it above the limit."""

    REFUSE, SKIP, EXCEED = range(3)


def cache_folder() -> Path:
    """Return the folder of the mirrors: ``$EMBSTORE_CACHE``, else in the user's cache folder."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        return Path(folder).resolve()
    return installation.user_cache_folder("stores").resolve()


def max_bytes() -> int:
    """Return the size limit of all mirrors in bytes: ``$EMBSTORE_CACHE_SIZE`` in GB.

    Raises:
        UsageError: It is not a number.
    """
    value = os.environ.get(SIZE_VARIABLE) or str(_DEFAULT_GB)
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        raise UsageError(f"{SIZE_VARIABLE} is {value!r}: give a number of GB, such as {_DEFAULT_GB}.")
    return int(float(value) * 1e9)


def mirror_folder(url: str, endpoint: str) -> Path:
    """Return the folder of the mirrors of a URL; its name begins with what is readable of the URL."""
    digest = hashlib.sha256(f"{url}\n{endpoint}".encode()).hexdigest()[:16]
    return cache_folder() / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', url)[:60]}-{digest}"


def make_folder(folder: Path) -> None:
    """Create a folder of the cache.

    Raises:
        RemoteError: The cache cannot be written.
    """
    try:
        disk.make_folder(folder)
        (cache_folder() / "CACHEDIR.TAG").write_text(  # backups leave the folder out: bford.info/cachedir
            "Signature: 8a477f597d28d172789f06886806bc55\n# Mirrors of embstore's stores at URLs; may be deleted.\n"
        )
    except (OSError, FileAccessError) as error:
        raise refused(error) from error


def refused(error: OSError | FileAccessError) -> RemoteError:
    """Return the error for a cache that cannot be written."""
    place = cache_folder()
    reason = error.strerror or str(error)
    remedy = (
        f"Free some space, delete {place} if nothing uses it (it is fetched again), or set {FOLDER_VARIABLE} to a "
        "folder on a larger disk."
        if error.errno in (errno.ENOSPC, errno.EDQUOT)
        else f"Change its permissions, or set {FOLDER_VARIABLE} to a folder that can be written."
    )
    return RemoteError(f"the cache {place}, which a store at a URL needs, cannot be written: {reason}. {remedy}")


def lock_of(folder: Path) -> FileLock:
    """Return the lock that guards changes of a mirror by several processes."""
    return FileLock(folder / "lock", fallback_to_soft=False)


def in_use(folder: Path) -> FolderLock:
    """Mark a mirror as used by this process, until the returned lock is released; wait while another one deletes it."""
    lock = FolderLock(folder)
    while not (lock.acquire(shared=True) and lock.is_of_folder()):
        lock.release()
        time.sleep(_PAUSE_SECONDS)
        disk.make_folder(folder)
    (folder / _USED).touch()
    return lock


def disk_bytes(folder: Path) -> int:
    """Return the bytes that the files of a folder occupy on the disk, without the holes of sparse files."""
    total = 0
    for path in disk.files_below(folder):
        try:
            status = disk.status(path)
        except FileNotFoundError:
            continue
        total += getattr(status, "st_blocks", -(-status.st_size // 512)) * 512
    return total


def make_room(n_bytes: int, own: Path) -> int:
    """Delete mirrors that no process uses, the longest unused first, until some bytes fit below the limit.

    If they do not fit then, content is deleted that this process does not need, of mirrors that only it uses.

    Args:
        n_bytes: Number of bytes that will be fetched.
        own: Mirror for which they are; it is not deleted.

    Returns:
        How many of them do not fit; 0 if all do.
    """
    with _LOCK:
        sizes = {}
        for place in disk.listed(cache_folder()):
            for mirror in disk.listed(place) if disk.is_folder(place) else ():
                if disk.is_folder(mirror):
                    sizes[mirror] = disk_bytes(mirror)
        above = sum(sizes.values()) + n_bytes - max_bytes()
        for mirror in sorted(sizes, key=_last_used):
            lock = FolderLock(mirror)
            if above > 0 and mirror != own and lock.acquire():
                try:
                    disk.remove_tree(mirror)
                    above -= sizes[mirror]
                finally:
                    lock.release()
        for mirror in sizes:
            if above > 0 and (supplier := disk.supplier_of(mirror / STORE)) is not None:
                above -= supplier.free(above)
    return max(0, above)


def is_full(n_bytes: int) -> RemoteError:
    """Return the error for bytes that do not fit below the limit."""
    return RemoteError(
        f"the cache {cache_folder()} is full: {show_size(n_bytes)} are needed above its limit of "
        f"{show_size(max_bytes())}. Set {SIZE_VARIABLE} to a larger number of GB, or delete the cache while nothing "
        "uses it."
    )


def _last_used(mirror: Path) -> float:
    try:
        return disk.status(mirror / _USED).st_mtime
    except FileNotFoundError:
        return 0.0
