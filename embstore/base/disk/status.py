"""Look up the types and sizes of files, without following symbolic links."""

import errno
import os
import shutil
import stat
from pathlib import Path

from embstore.base.disk.operations import Operation
from embstore.base.errors import FileAccessError, MissingFileError, StoreError
from embstore.base.escape import is_utf8


def status(path: Path | str) -> os.stat_result:
    """Return the status of a file or folder, or of the symbolic link itself.

    Raises:
        MissingFileError: Nothing has this path.
    """
    with Operation("status", path):
        return os.lstat(path)


def size(path: Path) -> int:
    """Return the size of a file in bytes."""
    return status(path).st_size


def free_bytes(path: Path) -> int | None:
    """Return the bytes that are free on the file system of a path, which need not exist; None if that is unknown."""
    try:
        return shutil.disk_usage(next(folder for folder in (path, *path.parents) if folder.is_dir())).free
    except (OSError, StopIteration):
        return None


def is_same(path: Path, other: Path) -> bool:
    """Return whether both paths lead to the same file or folder."""
    try:
        return os.path.samestat(status(path), status(other))
    except MissingFileError:
        return False


def exists(path: Path) -> bool:
    """Return whether a file, folder or symbolic link has this path."""
    return _mode(path) is not None


def is_file(path: Path) -> bool:
    """Return whether the path is a regular file."""
    mode = _mode(path)
    return mode is not None and stat.S_ISREG(mode)


def is_folder(path: Path) -> bool:
    """Return whether the path is a folder."""
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def _mode(path: Path) -> int | None:
    """Return the type and permissions of a path, or None if it does not exist."""
    try:
        return status(path).st_mode
    except MissingFileError:
        return None


def resolved(path: Path) -> Path:
    """Return the absolute path of a store's folder, with symbolic links resolved."""
    try:
        with Operation("status", path):
            found = path.resolve()
        if not is_utf8(str(found)):
            raise StoreError(f"{found} is not UTF-8, as the paths of a store are. Rename that folder.")
        return found
    except RuntimeError as error:
        raise FileAccessError(path, errno.ELOOP) from error
    except ValueError as error:  # the path contains a NUL
        raise StoreError(f"{str(path)!r} can be no path of a store: {error}. Name its folder.") from error
