"""The operations on the files of a store, in one place.

Nothing else in embstore opens, lists, renames or removes a file of a store. A library that does so itself (DuckDB,
pyarrow, FAISS, filelock) is announced by :func:`opening`. So tests can see each operation before it happens, count it,
let it fail, or end the process there (:func:`watched`).
"""

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

Observer = Callable[[str, Path, Path | None], None]
"""Called before each operation, with its name, its path and, where a file is renamed, the name that it had.

What it raises is raised by the operation.
"""

_observer: Observer | None = None


@contextmanager
def watched(observer: Observer) -> Iterator[None]:
    """Have all operations in the context seen by an observer, in all threads."""
    global _observer
    before, _observer = _observer, observer
    try:
        yield
    finally:
        _observer = before


def opening(path: Path, operation: str = "open") -> None:
    """Announce that a library is about to open a file.

    Args:
        path: the file.
        operation: ``open``, or ``create`` if the library writes it.
    """
    _see(operation, path)


def _see(operation: str, path: Path, source: Path | None = None) -> None:
    if _observer is not None:
        _observer(operation, path, source)


@contextmanager
def reading(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file for reading."""
    _see("open", path)
    with open(path, "rb") as file:
        _see("read", path)
        yield file


def read(path: Path) -> bytes:
    """Return the bytes of a file."""
    with reading(path) as file:
        return file.read()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with reading(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Writer(io.BufferedWriter):
    """A file that is written, each write of which is seen."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "w"))
        self._path = path

    def write(self, data: Any) -> int:
        _see("write", self._path)
        return super().write(data)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file, or an empty one in the place of an old one, for writing."""
    _see("create", path)
    with _Writer(path) as file:
        yield file


def write(path: Path, data: bytes) -> None:
    """Write a file; only :mod:`embstore.atomic` writes one whole or not at all."""
    with writing(path) as file:
        file.write(data)


def sync(path: Path) -> None:
    """Bring the content of a file to the disk."""
    _see("sync", path)
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_open(file: BinaryIO, path: Path) -> None:
    """Bring to the disk what was flushed of a file that is being written."""
    _see("sync", path)
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (not every platform can: there the rename alone must do)."""
    if os.name != "posix":
        return
    _see("sync folder", folder)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(source: Path, target: Path) -> None:
    """Rename a file, in the place of one that may have that name."""
    _see("replace", target, source)
    os.replace(source, target)


def remove(path: Path, *, missing_ok: bool = False) -> None:
    """Remove a file."""
    _see("remove", path)
    try:
        os.unlink(path)
    except FileNotFoundError:
        if not missing_ok:
            raise


def copy(source: Path, target: Path) -> None:
    """Copy the content of a file."""
    with reading(source) as old, writing(target) as new:
        shutil.copyfileobj(old, new)


def make_folder(folder: Path) -> None:
    """Make a folder, and make its name and those of the folders above it that are new durable."""
    if not is_folder(folder):
        make_folder(folder.parent)
        _see("make folder", folder)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def remove_folder(folder: Path) -> None:
    """Remove an empty folder."""
    _see("remove folder", folder)
    os.rmdir(folder)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, if there is one."""
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            remove_tree(Path(entry.path))
        else:
            remove(Path(entry.path), missing_ok=True)
    with suppress(FileNotFoundError):
        remove_folder(folder)


def listed(folder: Path, pattern: str = "*") -> list[Path]:
    """Return what is in a folder and has a name like a pattern, by name; nothing if there is no such folder."""
    return [folder / entry.name for entry in _entries(folder) if pattern == "*" or fnmatchcase(entry.name, pattern)]


def below(folder: Path) -> list[Path]:
    """Return what is in a folder and in the folders below it; links to folders are not followed."""
    return [Path(entry.path) for entry in _walked(folder)]


def files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and in the folders below it; links to folders are not followed."""
    return [Path(entry.path) for entry in _walked(folder) if entry.is_file()]


def _walked(folder: Path) -> Iterator[os.DirEntry[str]]:
    for entry in _entries(folder):
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _walked(Path(entry.path))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    _see("list", folder)
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def status(path: Path | str) -> os.stat_result:
    """Return what the system says of a file or folder."""
    if _observer is not None:
        _observer("status", Path(path), None)
    return os.stat(path)


def size(path: Path) -> int:
    """Return how many bytes a file has."""
    return status(path).st_size


def is_same(path: Path, other: Path) -> bool:
    """Return whether there is a file or folder that has both names."""
    try:
        return os.path.samestat(status(path), status(other))
    except FileNotFoundError:
        return False


def exists(path: Path) -> bool:
    """Return whether there is a file or folder of that name."""
    _see("status", path)
    return path.exists()


def is_file(path: Path) -> bool:
    """Return whether there is a file of that name."""
    _see("status", path)
    return path.is_file()


def is_folder(path: Path) -> bool:
    """Return whether there is a folder of that name."""
    _see("status", path)
    return path.is_dir()
