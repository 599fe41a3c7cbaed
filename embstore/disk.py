"""The operations on the files of a store, in one place.

Nothing else in embstore opens, lists, renames or removes a file of a store. A library that does so itself (DuckDB,
pyarrow, FAISS, filelock) is announced by :func:`opening`. So tests can see each operation before it happens, count it,
let it fail, or end the process there (:func:`watched`); and what the system refuses is a
:class:`~embstore.errors.FileAccessError` everywhere, which says what to do. It is never taken for damage.

A store may come from others: no operation follows a symbolic link, and only regular files are opened that are where
their size says: of a file of terabytes that takes no room on the disk, the SHA-256 would take hours.
"""

import errno
import hashlib
import io
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from embstore.errors import DamagedError, FileAccessError, MissingFileError, StoreError

Entry = os.DirEntry[str]
"""What a folder holds: its name, its path, and what the system says of it."""

MAX_BYTES = 1 << 30
"""Of a file that is read whole."""

_MAX_HOLES = 1 << 30
"""Maximum size of the holes in a file, in bytes; embstore writes every byte, so larger holes are damage."""

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # a named pipe would wait for a writer

Observer = Callable[[str, Path, Path | None], None]
"""Called before each operation, with its name, its path and, where a file is renamed, the name that it had.

An OSError that it raises is taken for one that the system gave.
"""

_READING = ("open", "read", "list", "status")
# What else a library may quote in the words of its own errors. ENOENT is in none of them: files may come and go.
_QUOTED = tuple(
    getattr(errno, name)
    for name in ("EMFILE", "ENFILE", "ENOMEM", "EACCES", "EPERM", "ESTALE", "EIO", "ENOSPC", "EDQUOT", "EROFS")
    if hasattr(errno, name)
)

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


class _Operation:
    """An operation: seen before it happens; what the system says of it becomes a FileAccessError."""

    __slots__ = ("name", "path", "source")

    def __init__(self, name: str, path: Path | str, source: Path | None = None) -> None:
        self.name, self.path, self.source = name, path, source

    def __enter__(self) -> None:
        if _observer is not None:
            try:
                _observer(self.name, Path(self.path), self.source)
            except OSError as error:
                raise self._explained(error) from error

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, FileAccessError):
            raise self._explained(error) from error

    def _explained(self, error: OSError) -> FileAccessError:
        return explained(error, self.path, writing=self.name not in _READING)


def explained(error: OSError, path: Path | str, *, writing: bool = False) -> FileAccessError:
    """Return the error of embstore's own for one of the system."""
    code = error.errno or errno.EIO
    is_missing = code == errno.ENOENT or (code == errno.ENOTDIR and not writing)
    kind = MissingFileError if is_missing else FileAccessError
    return kind(path, code, writing=writing)


def quoted(said: str, path: Path, *, writing: bool = False) -> FileAccessError | None:
    """Return the error for what a library says, if it has the system's words in it; None otherwise."""
    code = next((code for code in _QUOTED if os.strerror(code) in said), None)
    return None if code is None else FileAccessError(path, code, writing=writing)


@contextmanager
def opening(path: Path, operation: str = "open") -> Iterator[None]:
    """Give a context in which a library opens, reads or writes a file, and make sure that it is one.

    Args:
        path: the file.
        operation: ``open``, ``create`` if the library writes it, or ``lock``.

    Raises:
        DamagedError: there is something of that name that is no file, as a symbolic link or a folder.
    """
    with _Operation(operation, path):
        with suppress(FileNotFoundError):
            _check_file(path)
        yield


def operation(name: str, path: Path) -> _Operation:
    """Return a context in which something is done to a file or folder that no other function here does."""
    return _Operation(name, path)


@contextmanager
def foreign(name: str, path: Path, kind: type[FileAccessError], called: str = "") -> Iterator[None]:
    """Give a context in which something is done to a file that is of no store, as a source or a checkpoint.

    Args:
        name: Name of the operation.
        path: The file, which may be a symbolic link.
        kind: What is raised for what the system refuses.
        called: What messages call the file; by default its path.
    """
    try:
        with _Operation(name, path):
            yield
    except FileAccessError as error:
        raise kind(called or path, error.code) from error


def foreign_status(path: Path, kind: type[FileAccessError], called: str = "") -> os.stat_result | None:
    """Return what the system says of a file or folder that is of no store; None if there is none."""
    try:
        with foreign("status", path, kind, called):
            return path.stat()
    except ValueError:  # a path with a NUL
        return None
    except FileAccessError as error:
        if error.code in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise


class _File(io.FileIO):
    """An open file, each reading and writing of which is seen."""

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode, opener=_open_itself)
        self._path = path

    def readinto(self, buffer: Any, /) -> int:
        with _Operation("read", self._path):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with _Operation("read", self._path):
            return super().readall()

    def write(self, data: Any, /) -> int:
        with _Operation("write", self._path):
            return super().write(data)

    def close(self) -> None:
        try:
            super().close()
        except OSError as error:  # a network file system may say only now that it is full
            raise explained(error, self._path, writing=True) from error


@contextmanager
def reading(path: Path) -> Iterator["io.BufferedReader[_File]"]:
    """Open a file for reading.

    Raises:
        DamagedError: it is no file, as a symbolic link or a folder.
    """
    with _Operation("open", path):
        _check_file(path)
        file = io.BufferedReader(_File(path, "r"))
    with file, _Operation("read", path):
        yield file


def read(path: Path, most: int = MAX_BYTES) -> bytes:
    """Return the bytes of a file.

    Raises:
        DamagedError: it has more than ``most``, or is no file.
    """
    with reading(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise DamagedError(f"{path} is damaged: it is larger than {most >> 10:,} KiB.")
        return file.read()


def _open_itself(path: str, flags: int) -> int:
    """Open a file without following a symbolic link."""
    return os.open(path, flags | _NO_FOLLOW, 0o666)


def _check_file(path: Path) -> None:
    status = os.lstat(path)
    if problem := _irregular(status.st_mode, folder=False):
        raise DamagedError(f"{path} is damaged: {problem}.")
    if status.st_size > _MAX_HOLES and _has_holes(path, status.st_size):
        raise DamagedError(
            f"{path} is damaged: of its {status.st_size:,} bytes most were never written. Run: embstore repair"
        )


def _has_holes(path: Path, size: int) -> bool:
    """Return whether more of a file than :data:`_MAX_HOLES` is holes, as far as the file system can tell."""
    if not hasattr(os, "SEEK_DATA"):
        return False
    with open(path, "rb", buffering=0, opener=_open_itself) as file:
        holes = at = 0
        while at < size and holes <= _MAX_HOLES:
            try:
                data = file.seek(at, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:  # of a file system that knows nothing of holes
                    return False
                data = size  # there is only a hole from here to the end
            holes += data - at
            at = file.seek(data, os.SEEK_HOLE) if data < size else size
    return holes > _MAX_HOLES


def irregular(entry: Entry, *, folder: bool) -> str | None:
    """Return what is wrong with an entry that should be a folder, or a file, itself; None if it is one."""
    if entry.is_dir(follow_symlinks=False) if folder else entry.is_file(follow_symlinks=False):
        return None
    return _irregular(entry.stat(follow_symlinks=False).st_mode, folder=folder)


def _irregular(mode: int, *, folder: bool) -> str | None:
    wanted = "folder" if folder else "file"
    if stat.S_ISDIR(mode) if folder else stat.S_ISREG(mode):
        return None
    kinds = {
        stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFREG: "a file", stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
    }  # fmt: skip
    found = kinds.get(stat.S_IFMT(mode), "a device")
    return f"it is {found} where a {wanted} should be. Put the {wanted} itself there, or remove it"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with reading(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(path: Path) -> Iterator["io.BufferedWriter[_File]"]:
    """Open a file for writing; create it, or truncate an existing one."""
    with _Operation("create", path):
        file = io.BufferedWriter(_File(path, "w"))
    with file:
        yield file


def write(path: Path, data: bytes) -> None:
    """Write a file; only :mod:`embstore.atomic` writes one whole or not at all."""
    with writing(path) as file:
        file.write(data)


def sync(path: Path) -> None:
    """Bring the content of a file to the disk."""
    with _Operation("sync", path), open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_open(file: BinaryIO, path: Path) -> None:
    """Bring to the disk what was flushed of a file that is being written."""
    with _Operation("sync", path):
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (not every platform can: there the rename alone must do)."""
    if os.name != "posix":
        return
    with _Operation("sync folder", folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace(source: Path, target: Path) -> None:
    """Rename a file, in the place of one that may have that name."""
    with _Operation("replace", target, source):
        os.replace(source, target)


def remove(path: Path, *, missing_ok: bool = False) -> None:
    """Remove a file."""
    try:
        with _Operation("remove", path):
            os.unlink(path)
    except MissingFileError:
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
        with _Operation("make folder", folder):
            folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def remove_folder(folder: Path) -> None:
    """Remove an empty folder."""
    with _Operation("remove folder", folder):
        os.rmdir(folder)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, if there is one; of a link, the link alone."""
    if not is_folder(folder):
        remove(folder, missing_ok=True)
        return
    found = [(Path(entry.path), entry.is_dir(follow_symlinks=False)) for entry in entries_below(folder)]
    for path, is_inner_folder in [*reversed(found), (folder, True)]:  # what is in a folder goes before it
        with suppress(MissingFileError):
            (remove_folder if is_inner_folder else remove)(path)


def listed(folder: Path) -> list[Path]:
    """Return what is in a folder, by name; nothing if there is no such folder."""
    return [folder / entry.name for entry in entries(folder)]


def files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and in the folders below it."""
    return [Path(entry.path) for entry in entries_below(folder) if entry.is_file(follow_symlinks=False)]


def entries_below(folder: Path) -> Iterator[Entry]:
    """Yield what is in a folder and in the folders below it."""
    pending = [iter(entries(folder))]  # not by recursion: a received store may have folders in folders without end
    while pending:
        if (entry := next(pending[-1], None)) is None:
            pending.pop()
            continue
        yield entry
        if entry.is_dir(follow_symlinks=False):
            pending.append(iter(entries(Path(entry.path))))


def entries(folder: Path) -> list[Entry]:
    """Return what is in a folder, by name; nothing if there is no such folder."""
    try:
        with _Operation("list", folder), os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except MissingFileError:
        return []


def status(path: Path | str) -> os.stat_result:
    """Return what the system says of a file or folder, or of the link that bears its name."""
    with _Operation("status", path):
        return os.lstat(path)


def size(path: Path) -> int:
    """Return how many bytes a file has."""
    return status(path).st_size


def is_same(path: Path, other: Path) -> bool:
    """Return whether there is a file or folder that has both names."""
    try:
        return os.path.samestat(status(path), status(other))
    except MissingFileError:
        return False


def exists(path: Path) -> bool:
    """Return whether there is anything of that name."""
    return _mode(path) is not None


def is_file(path: Path) -> bool:
    """Return whether there is a file of that name."""
    mode = _mode(path)
    return mode is not None and stat.S_ISREG(mode)


def is_folder(path: Path) -> bool:
    """Return whether there is a folder of that name."""
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def _mode(path: Path) -> int | None:
    try:
        return status(path).st_mode
    except MissingFileError:
        return None


def resolved(path: Path) -> Path:
    """Return the path of a folder from the root on, with no links in it."""
    try:
        with _Operation("status", path):
            return path.resolve()
    except RuntimeError as error:
        raise FileAccessError(path, errno.ELOOP) from error
    except ValueError as error:  # a NUL in it
        raise StoreError(f"{str(path)!r} can be no path of a store: {error}. Name its folder.") from error
