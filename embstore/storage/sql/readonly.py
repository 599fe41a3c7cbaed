"""The file system of users' SQL: it reads the files it is given, and has no operation that writes.

DuckDB asks it in place of the operating system's, which is switched off there. It is a module of its own because
fsspec takes time to import.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import get_ident
from typing import Any, NoReturn

from fsspec import AbstractFileSystem

from embstore import disk
from embstore.errors import FileAccessError


class ReadOnlyFiles(AbstractFileSystem):  # type: ignore[misc]
    """A file system of certain Parquet files, each under a name that is no path of the operating system.

    Args:
        root: The folder that holds the files.
        files: The files by name, which begins with the protocol.
    """

    protocol = "embstore"
    cachable = False

    def __init__(self, root: Path, files: Mapping[str, Path]) -> None:
        super().__init__()
        self._root, self._files = root, files
        self._status: dict[str, os.stat_result] = {}
        self.failure: FileAccessError | None = None
        """Why the operating system did not open or read a file, the last time it did not."""

    def open(self, path: str, mode: str = "rb", **_: object) -> "ReadOnlyFile":
        """Open a file for reading."""
        if mode != "rb":
            self._refuse(path)
        try:
            return ReadOnlyFile(self, self._file(path))
        except FileAccessError as error:
            self.failure = error
            raise

    def glob(self, path: str, **_: object) -> list[str]:
        """Return the file of exactly this name, unless it has gone: no name is a pattern."""
        try:
            self._status[path] = disk.status(self._file(path))
        except FileNotFoundError:
            return []
        except FileAccessError as error:
            self.failure = error
            raise
        return [path]

    def _file(self, path: str) -> Path:
        try:
            return self._files[path]
        except KeyError:
            raise FileNotFoundError(f"{path} is no file of this store") from None

    def unstrip_protocol(self, name: str) -> str:
        """Return the name of a file that :meth:`glob` found."""
        return name

    def size(self, path: str) -> int:
        """Return the size in bytes."""
        return self._stat(path).st_size

    def modified(self, path: str) -> datetime:
        """Return when the file was last changed."""
        return datetime.fromtimestamp(self._stat(path).st_mtime, UTC)

    def _stat(self, path: str) -> os.stat_result:
        if path not in self._status:
            self._status[path] = disk.status(self._file(path))
        return self._status[path]

    def isfile(self, path: str) -> bool:
        """Return whether there is a file of this name."""
        return path in self._files

    def isdir(self, path: str) -> bool:
        """Return False: there are no folders."""
        return False

    exists = isfile

    def ls(self, path: str, detail: bool = True, **_: object) -> list[Any]:
        """Return nothing: there are no folders."""
        return []

    def _refuse(self, path: str, *_: object, **__: object) -> NoReturn:
        raise PermissionError(f"users' SQL cannot write {path}")

    mkdir = makedirs = rmdir = rm = rm_file = _rm = mv = cp_file = copy = touch = pipe_file = put_file = _refuse


class ReadOnlyFile:
    """An open file, which several threads may read at once.

    DuckDB seeks and then reads, which another thread may interrupt between the two: each thread has a place of its own.
    """

    __slots__ = ("_descriptor", "_next", "_owner", "_path", "_places")

    def __init__(self, owner: ReadOnlyFiles, file: Path) -> None:
        self._descriptor = -1
        with disk.opening(file):
            self._descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        self._owner, self._path = owner, file
        self._places: dict[int, int] = {}
        self._next = 0

    def seek(self, place: int) -> None:
        """Set the place at which this thread reads next."""
        self._places[get_ident()] = place

    def tell(self) -> int:
        """Return the place behind what was read last."""
        return self._next

    def read(self, n_bytes: int) -> bytes:
        """Return so many bytes, or fewer at the end of the file."""
        place = self._places.pop(get_ident(), self._next)
        try:
            with disk.operation("read", self._path):
                data = os.pread(self._descriptor, n_bytes, place)
        except FileAccessError as error:
            self._owner.failure = error
            raise
        self._next = place + len(data)
        return data

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    __del__ = close
