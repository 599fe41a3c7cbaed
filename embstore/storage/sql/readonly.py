"""Give DuckDB a file system for users' SQL that reads only the given files, and cannot write.

It replaces the operating system's file system, which is disabled for that connection. It is a separate module because
importing fsspec is slow.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import get_ident
from typing import Any, NoReturn

from fsspec import AbstractFileSystem

from embstore.base import disk, supply
from embstore.base.errors import FileAccessError, RemoteError


class ReadOnlyFiles(AbstractFileSystem):  # type: ignore[misc]
    """Read-only file system of given Parquet files, under names that are not paths of the operating system."""

    protocol = "embstore"
    cachable = False

    def __init__(self, root: Path, files: Mapping[str, Path]) -> None:
        super().__init__()
        self._root, self._files = root, files
        self._status: dict[str, os.stat_result] = {}
        self.last_error: FileAccessError | RemoteError | None = None
        """Last error of the operating system on opening or reading a file."""

    def open(self, path: str, mode: str = "rb", **_: object) -> "ReadOnlyFile":
        """Open a file for reading."""
        if mode != "rb":
            self._refuse(path)
        try:
            return ReadOnlyFile(self, self._file(path))
        except FileAccessError as error:
            self.last_error = error
            raise

    def glob(self, path: str, **_: object) -> list[str]:
        """Return the name if its file still exists, else nothing: names are never patterns."""
        try:
            self._status[path] = disk.status(self._file(path))
        except FileNotFoundError:
            return []
        except FileAccessError as error:
            self.last_error = error
            raise
        return [path]

    def _file(self, path: str) -> Path:
        """Return the path of a name; raise FileNotFoundError if there is none."""
        try:
            return self._files[path]
        except KeyError:
            raise FileNotFoundError(f"{path} is no file of this store") from None

    def info(self, path: str, **_: object) -> dict[str, Any]:
        """Return the size of a file in bytes, with its type: there are no folders."""
        return {"name": path, "type": "file", "size": self._stat(path).st_size}

    def modified(self, path: str) -> datetime:
        """Return the time of the file's last modification, in UTC."""
        return datetime.fromtimestamp(self._stat(path).st_mtime, UTC)

    def _stat(self, path: str) -> os.stat_result:
        if path not in self._status:
            self._status[path] = disk.status(self._file(path))
        return self._status[path]

    def ls(self, path: str, detail: bool = True, **_: object) -> list[Any]:
        """Return an empty list: there are no folders."""
        return []

    def _refuse(self, path: str, *_: object, **__: object) -> NoReturn:
        raise PermissionError(f"users' SQL cannot write {path}")

    mkdir = makedirs = rmdir = rm = rm_file = _rm = mv = cp_file = copy = touch = pipe_file = put_file = _refuse


class ReadOnlyFile:
    """Open file that several threads can read at once.

    DuckDB seeks and then reads, and another thread may come in between: each thread has its own position.
    """

    __slots__ = ("_descriptor", "_next", "_owner", "_path", "_places")

    def __init__(self, owner: ReadOnlyFiles, file: Path) -> None:
        self._descriptor = -1
        with disk.opening(file, ranges=[]):
            self._descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        self._owner, self._path = owner, file
        self._places: dict[int, int] = {}
        self._next = 0

    def seek(self, position: int) -> None:
        """Set the position of the next read of this thread, in bytes."""
        self._places[get_ident()] = position

    def tell(self) -> int:
        """Return the position after the last read, in bytes."""
        return self._next

    def read(self, n_bytes: int) -> bytes:
        """Return ``n_bytes`` bytes, or fewer at the end of the file."""
        position = self._places.pop(get_ident(), self._next)
        try:
            if supply.supplier_of(self._path) is None:
                with disk.Operation("read", self._path):
                    data = os.pread(self._descriptor, n_bytes, position)
            else:  # opened again: it may have been emptied since
                with disk.reading(self._path, [(position, position + n_bytes)]) as file:
                    file.seek(position)
                    data = file.read(n_bytes)
        except (FileAccessError, RemoteError) as error:
            self._owner.last_error = error
            raise
        self._next = position + len(data)
        return data

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    __del__ = close
