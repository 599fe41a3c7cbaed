"""Open, read, write, rename and remove the files of a store."""

import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from embstore.base.disk import supply
from embstore.base.disk.operations import Operation, access_error
from embstore.base.disk.regular import check_file, open_without_following
from embstore.base.errors import DamagedError, MissingFileError

MAX_BYTES = 1 << 30
"""Maximum size in bytes of a file that is read whole."""


@contextmanager
def opening(path: Path, operation: str = "open", *, whole: bool = True) -> Iterator[None]:
    """Announce that a library opens, reads or writes a file within the context, and check that it is a regular file.

    Args:
        path: File.
        operation: ``open``, ``create`` if the library writes the file, or ``lock``.
        whole: Whether the library may read any part; else the caller has fetched those that it reads.

    Raises:
        DamagedError: The path is not a regular file, but for example a symbolic link or a folder.
    """
    if whole and operation == "open":
        supply.fetch(path)
    with Operation(operation, path):
        with suppress(FileNotFoundError):
            check_file(path)
        yield


class _File(io.FileIO):
    """Open file whose reads and writes are observed."""

    def __init__(self, path: Path, mode: str, *, is_partial: bool = False) -> None:
        super().__init__(path, mode, opener=open_without_following)
        self._path, self._is_partial = path, is_partial

    def readinto(self, buffer: Any, /) -> int:
        if self._is_partial:
            start = self.tell()
            supply.fetch(self._path, [(start, start + len(buffer))])
        with Operation("read", self._path):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        if self._is_partial:
            supply.fetch(self._path, [(self.tell(), os.fstat(self.fileno()).st_size)])
        with Operation("read", self._path):
            return super().readall()

    def write(self, data: Any, /) -> int:
        with Operation("write", self._path):
            return super().write(data)

    def close(self) -> None:
        try:
            super().close()
        except OSError as error:  # a network file system may report only now that it is full
            raise access_error(error, self._path, writing=True) from error


@contextmanager
def reading(path: Path, *, whole: bool = True) -> Iterator["io.BufferedReader[_File]"]:
    """Open a file for reading.

    Args:
        path: File.
        whole: Whether all of it will be read; else what is read is fetched then, and what is mapped by the caller.

    Raises:
        DamagedError: The path is not a regular file, but for example a symbolic link or a folder.
    """
    if whole:
        supply.fetch(path)
    with Operation("open", path):
        check_file(path)
        file = io.BufferedReader(_File(path, "r", is_partial=not whole and supply.supplier_of(path) is not None))
    with file, Operation("read", path):
        yield file


def read(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a file.

    Raises:
        DamagedError: The file is larger than ``max_bytes``, or is not a regular file.
    """
    with reading(path) as file:
        if os.fstat(file.fileno()).st_size > max_bytes:
            raise DamagedError(f"{path} is damaged: it is larger than {max_bytes >> 10:,} KiB.")
        return file.read()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with reading(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(path: Path) -> Iterator["io.BufferedWriter[_File]"]:
    """Open a file for writing; create it, or truncate an existing one."""
    with Operation("create", path):
        file = io.BufferedWriter(_File(path, "w"))
    with file:
        yield file


def write(path: Path, data: bytes) -> None:
    """Write a file, not atomically; :mod:`embstore.base.atomic` does."""
    with writing(path) as file:
        file.write(data)


def sync(path: Path) -> None:
    """Flush the content of a file from the system's cache to the disk."""
    with Operation("sync", path), open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_open(file: BinaryIO, path: Path) -> None:
    """Flush what was written so far to an open file from the system's cache to the disk."""
    with Operation("sync", path):
        os.fsync(file.fileno())


def replace(source: Path, target: Path) -> None:
    """Rename a file atomically, replacing any file at the target path."""
    supply.fetch(source)
    with Operation("replace", target, source):
        os.replace(source, target)
    supply.forget(target)


def link(source: Path, target: Path) -> None:
    """Give a file a second name, atomically, unless there is a file of that name: FileAccessError (EEXIST)."""
    with Operation("link", target, source):
        os.link(source, target)


def remove(path: Path, *, missing_ok: bool = False) -> None:
    """Remove a file.

    Raises:
        MissingFileError: It does not exist, and ``missing_ok`` is False.
        FileAccessError: The system cannot remove it.
    """
    try:
        with Operation("remove", path):
            os.unlink(path)
        supply.forget(path)
    except MissingFileError:
        if not missing_ok:
            raise


def copy(source: Path, target: Path) -> None:
    """Copy the content of a file."""
    with reading(source) as old, writing(target) as new:
        shutil.copyfileobj(old, new)
