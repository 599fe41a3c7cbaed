"""Open and read the files of sources; system errors are reported with the source's name, never as damage.

Unlike the files of a store (:mod:`embstore.disk`) they may be symbolic links. Each operation on them is seen there.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import IO, Any, cast

from embstore import disk
from embstore.errors import SourceAccessError, SourceError

PACKED = ".gz"


def open_binary(path: Path, name: str) -> "io.BufferedReader[io.FileIO]":
    """Open a file for reading.

    Args:
        path: Path of the file.
        name: Name of the source in messages.

    Raises:
        SourceAccessError: If it cannot be opened; reading from it raises this too.
    """
    return io.BufferedReader(_File(path, name))


def read_binary(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        SourceAccessError: If it cannot be read.
    """
    with open_binary(path, str(path)) as file:
        return file.read()


@contextmanager
def open_unpacked(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file for reading, and close it in the end; one whose name ends with ``.gz`` is unpacked while it is read.

    Args:
        path: Path of the file.
        name: Name of the source in messages.

    Raises:
        SourceAccessError: If it cannot be opened; reading from it raises this too.
    """
    with open_binary(path, name) as stream:
        if path.suffix.lower() != PACKED:
            yield stream
            return
        import gzip

        with gzip.open(stream) as unpacked:
            yield cast("IO[bytes]", unpacked)


def file_type(path: Path) -> str:
    """Return the lower-case suffix of a file; of one that is packed, the suffix before ``.gz``."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix == PACKED else suffix


def status(path: Path, name: str) -> os.stat_result | None:
    """Return the status of a file or folder; None if it does not exist.

    Raises:
        SourceAccessError: If the system does not say.
    """
    return disk.foreign_status(path, SourceAccessError, name)


def is_file(path: Path) -> bool:
    """Return whether there is a file of that name.

    Raises:
        SourceAccessError: If the system does not say.
    """
    found = status(path, str(path))
    return found is not None and S_ISREG(found.st_mode)


def unreadable(name: str, error: OSError) -> SourceError:
    """Return the error for what the system does not let us read."""
    if error.errno is None:
        return SourceError(f"{name} cannot be read: {error or type(error).__name__}. Check the path.")
    return SourceAccessError(name, error.errno)


class _File(io.FileIO):
    """An open file of a source."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._called = path, name
        with disk.foreign("open", path, SourceAccessError, name):
            super().__init__(path, "r")

    def readinto(self, buffer: Any, /) -> int:
        with disk.foreign("read", self._path, SourceAccessError, self._called):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with disk.foreign("read", self._path, SourceAccessError, self._called):
            return super().readall()
