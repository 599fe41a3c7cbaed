"""Open and read the files of sources; system errors are reported with the name of the source.

Unlike the files of a store (:mod:`embstore.base.disk`), they may be symbolic links.
"""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import IO, Any, cast

from embstore.base import disk
from embstore.base.errors import SourceAccessError, SourceError

GZIP_SUFFIX = ".gz"


def open_binary(path: Path, name: str) -> "io.BufferedReader[io.FileIO]":
    """Open a file for reading.

    Args:
        path: Path of the file.
        name: Name of the source in messages.

    Raises:
        SourceAccessError: The file cannot be opened, or later not be read.
    """
    return io.BufferedReader(_File(path, name))


def read_binary(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        SourceAccessError: The file cannot be read.
    """
    with open_binary(path, str(path)) as file:
        return file.read()


@contextmanager
def open_decompressed(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file for reading within a ``with`` block; a file named ``….gz`` is decompressed while it is read.

    Args:
        path: Path of the file.
        name: Name of the source in messages.

    Raises:
        SourceAccessError: The file cannot be opened, or later not be read.
    """
    with open_binary(path, name) as stream:
        if path.suffix.lower() != GZIP_SUFFIX:
            yield stream
            return
        import gzip

        with gzip.open(stream) as decompressed:
            yield cast("IO[bytes]", decompressed)


def file_type(path: Path) -> str:
    """Return the suffix of a file in lower case; of a compressed file, the suffix before ``.gz``."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix == GZIP_SUFFIX else suffix


def status(path: Path, name: str) -> os.stat_result | None:
    """Return the status of a file or folder; None if it does not exist.

    Raises:
        SourceAccessError: The system denies access to it.
    """
    return disk.foreign_status(path, SourceAccessError, name)


def is_file(path: Path) -> bool:
    """Return whether a regular file of that name exists.

    Raises:
        SourceAccessError: The system denies access to it.
    """
    file_status = status(path, str(path))
    return file_status is not None and S_ISREG(file_status.st_mode)


def unreadable(name: str, error: OSError) -> SourceError:
    """Return the SourceError for a system error."""
    if error.errno is None:
        return SourceError(f"{name} cannot be read: {error or type(error).__name__}. Check the path.")
    return SourceAccessError(name, error.errno)


class _File(io.FileIO):
    """An open file of a source, whose system errors are SourceAccessErrors with the name of the source."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        with disk.foreign("open", path, SourceAccessError, name):
            super().__init__(path, "r", opener=disk.open_regular)

    def readinto(self, buffer: Any, /) -> int:
        with disk.foreign("read", self._path, SourceAccessError, self._name):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with disk.foreign("read", self._path, SourceAccessError, self._name):
            return super().readall()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        SourceError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with open_binary(path, str(path)) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
