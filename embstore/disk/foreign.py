"""Read files outside a store, such as sources, checkpoints and recipes; they may be symbolic links."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embstore.disk.operations import Operation
from embstore.errors import FileAccessError


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
