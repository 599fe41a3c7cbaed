"""Read files outside a store, such as sources, checkpoints and recipes; they may be symbolic links."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embstore.base.disk.operations import Operation
from embstore.base.errors import FileAccessError, UsageError


@contextmanager
def foreign(name: str, path: Path, kind: type[FileAccessError], called: str = "") -> Iterator[None]:
    """Raise the system errors of an operation on a file outside a store as errors of the given class.

    Args:
        name: Name of the operation.
        path: File.
        kind: Class of the raised error.
        called: Name of the file in messages; its path by default.
    """
    try:
        with Operation(name, path):
            yield
    except FileAccessError as error:
        raise kind(called or path, error.code) from error


def open_regular(path: str, flags: int) -> int:
    """Open a regular file, and return its descriptor; an opener for :func:`open`.

    Raises:
        UsageError: It is a device, which may have no end, or a named pipe, which may never be written to.
    """
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # open refuses a folder itself
        os.close(descriptor)
        raise UsageError(f"{path} is not a regular file. Write its content to a file first, and give that file.")
    return descriptor


def read_foreign(path: Path) -> bytes:
    """Return the content of a file that a user gave; errors: :func:`open_regular`, and those of the system."""
    with open(path, "rb", opener=open_regular) as file:
        return file.read()


def foreign_status(path: Path, kind: type[FileAccessError], called: str = "") -> os.stat_result | None:
    """Return the status of a file or folder outside a store, or None if it does not exist; see :func:`foreign`."""
    try:
        with foreign("status", path, kind, called):
            return path.stat()
    except ValueError:  # the path contains a NUL
        return None
    except FileAccessError as error:
        if error.code in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise
