"""The operations on the files of a store, in one place.

An error of the operating system is a :class:`~embstore.base.errors.FileAccessError` everywhere,
which names the remedy. It is never taken for damage. A store may come from others: no operation
follows a symbolic link, and only regular files are opened.
"""

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from embstore.base.errors import (
    DamagedError,
    FileAccessError,
    MissingFileError,
    StoreError,
    UsageError,
)
from embstore.base.messages import is_utf8

# Errors whose description a library may quote in its own message. ENOENT is excluded: files may
# come and go.
_QUOTED = tuple(
    getattr(errno, name)
    for name in (
        "EMFILE",
        "ENFILE",
        "ENOMEM",
        "EACCES",
        "EPERM",
        "ESTALE",
        "EIO",
        "ENOSPC",
        "EDQUOT",
        "EROFS",
    )
    if hasattr(errno, name)
)


class Access:
    """Context in which errors of the system are raised as FileAccessError."""

    __slots__ = ("path", "writing")

    def __init__(self, path: Path | str, *, writing: bool = False) -> None:
        self.path, self.writing = path, writing

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        if (
            isinstance(error, OSError)
            and error.errno is not None
            and not isinstance(error, FileAccessError)
        ):
            raise access_error(error, self.path, writing=self.writing) from error


def access_error(error: OSError, path: Path | str, *, writing: bool = False) -> FileAccessError:
    """Return the embstore error for an error of the operating system."""
    code = error.errno or errno.EIO
    is_missing = code == errno.ENOENT or (code == errno.ENOTDIR and not writing)
    kind = MissingFileError if is_missing else FileAccessError
    return kind(path, code, writing=writing)


def quoted_error(message: str, path: Path, *, writing: bool = False) -> FileAccessError | None:
    """Return the error for a system error that a library quotes in its own message; None if it
    quotes none.
    """
    code = next((code for code in _QUOTED if os.strerror(code) in message), None)
    return None if code is None else FileAccessError(path, code, writing=writing)


Entry = os.DirEntry[str]

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(
    os, "O_NONBLOCK", 0
)  # opening a named pipe would block


def open_without_following(path: str, flags: int) -> int:
    """Open a file without following a symbolic link, and return its descriptor; an opener for
    :func:`open`.
    """
    return os.open(path, flags | _NO_FOLLOW, 0o666)


def check_file(path: Path) -> None:
    """Raise DamagedError unless the path is a regular file."""
    if problem := _problem(os.lstat(path).st_mode, folder=False):
        raise DamagedError(f"{path} is damaged: {problem}.")


def check_inside(root: Path, folder: Path) -> None:
    """Raise DamagedError if the way from a store's folder to one below it leads through a link, or
    no folder.
    """
    while folder != root:
        if (mode := _mode(folder)) and (problem := _problem(mode, folder=True)):
            raise DamagedError(f"{folder} is damaged: {problem}.")
        folder = folder.parent


def irregular(entry: Entry, *, folder: bool) -> str | None:
    """Return the problem of an entry that is not a regular folder (or file, if ``folder`` is
    False), or None.
    """
    if entry.is_dir(follow_symlinks=False) if folder else entry.is_file(follow_symlinks=False):
        return None
    return _problem(entry.stat(follow_symlinks=False).st_mode, folder=folder)


def _problem(mode: int, *, folder: bool) -> str | None:
    """Return what an entry of this mode is, and should be instead; None if it is a folder or file
    as expected.
    """
    expected = "folder" if folder else "file"
    if stat.S_ISDIR(mode) if folder else stat.S_ISREG(mode):
        return None
    types = {
        stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFREG: "a file",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
    }  # fmt: skip
    found = types.get(stat.S_IFMT(mode), "a device")
    return (
        f"it is {found} where a {expected} should be. Put the {expected} itself there, or remove it"
    )


def status(path: Path | str) -> os.stat_result:
    """Return the status of a file or folder, or of the symbolic link itself."""
    with Access(path):
        return os.lstat(path)


def size(path: Path) -> int:
    """Return the size of a file in bytes."""
    return status(path).st_size


Stamp = tuple[int, int, int]


def stamp_of(path: Path | str) -> Stamp | None:
    """Return inode, size and modification time of a file, which change when it is replaced; None if
    it is missing.
    """
    try:
        found = status(path)
    except MissingFileError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def free_bytes(path: Path) -> int | None:
    """Return the bytes that are free on the file system of a path, which need not exist; None if
    that is unknown.
    """
    try:
        return shutil.disk_usage(
            next(folder for folder in (path, *path.parents) if folder.is_dir())
        ).free
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
    return _mode(path) != 0


def is_file(path: Path) -> bool:
    """Return whether the path is a regular file."""
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Return whether the path is a folder."""
    return stat.S_ISDIR(_mode(path))


def _mode(path: Path) -> int:
    """Return the type and permissions of a path; 0 if it does not exist."""
    try:
        return status(path).st_mode
    except MissingFileError:
        return 0


def resolved(path: Path) -> Path:
    """Return the absolute path of a store's folder, with symbolic links resolved."""
    try:
        with Access(path):
            found = path.resolve()
        if not is_utf8(str(found)):
            raise StoreError(
                f"{found} is not UTF-8, as the paths of a store are. Rename that folder."
            )
        return found
    except RuntimeError as error:
        raise FileAccessError(path, errno.ELOOP) from error
    except ValueError as error:  # the path contains a NUL
        raise StoreError(
            f"{str(path)!r} can be no path of a store: {error}. Name its folder."
        ) from error


MAX_BYTES = 1 << 30  # of a file that is read whole


@contextmanager
def opening(path: Path, *, writing: bool = False) -> Iterator[None]:
    """Check that a file is a regular one, for a library that opens it within the context."""
    with Access(path, writing=writing):
        with suppress(FileNotFoundError):
            check_file(path)
        yield


@contextmanager
def reading(path: Path) -> Iterator[BufferedReader]:
    """Open a file for reading."""
    with Access(path):
        check_file(path)
        with open(path, "rb", opener=open_without_following) as file:
            yield file


def read(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a file."""
    with reading(path) as file:
        if os.fstat(file.fileno()).st_size > max_bytes:
            raise DamagedError(f"{path} is damaged: it is larger than {max_bytes >> 10:,} KiB.")
        return file.read()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with reading(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing; create it, or truncate an existing one."""
    with Access(path, writing=True), open(path, "wb", opener=open_without_following) as file:
        yield file


def write(path: Path, data: bytes) -> None:
    """Write a file, not atomically; :mod:`embstore.base.atomic` does."""
    with writing(path) as file:
        file.write(data)


def sync(path: Path) -> None:
    """Flush the content of a file from the system's cache to the disk."""
    with Access(path, writing=True), open(path, "rb") as file:
        os.fsync(file.fileno())


def replace(source: Path, target: Path) -> None:
    """Rename a file atomically, replacing any file at the target path."""
    with Access(target, writing=True):
        os.replace(source, target)


def link(source: Path, target: Path) -> None:
    """Give a file a second name, atomically, unless there is a file of that name: FileAccessError
    (EEXIST).
    """
    with Access(target, writing=True):
        os.link(source, target)


def remove(path: Path, *, missing_ok: bool = False) -> None:
    """Remove a file."""
    try:
        with Access(path, writing=True):
            os.unlink(path)
    except MissingFileError:
        if not missing_ok:
            raise


def copy(source: Path, target: Path) -> None:
    """Copy the content of a file."""
    with reading(source) as old, writing(target) as new:
        shutil.copyfileobj(old, new)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, so that renames survive a power loss; POSIX systems
    only.
    """
    if os.name != "posix":
        return
    with Access(folder, writing=True):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, and flush their names to the disk."""
    if not is_folder(folder):
        make_folder(folder.parent)
        with Access(folder, writing=True):
            folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def remove_folder(folder: Path) -> None:
    """Remove an empty folder."""
    with Access(folder, writing=True):
        os.rmdir(folder)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all its contents, if it exists; of a symbolic link, only the link."""
    if not is_folder(folder):
        remove(folder, missing_ok=True)
        return
    found = [
        (Path(entry.path), entry.is_dir(follow_symlinks=False)) for entry in entries_below(folder)
    ]
    for path, is_inner_folder in [*reversed(found), (folder, True)]:  # contents before their folder
        with suppress(MissingFileError):
            (remove_folder if is_inner_folder else remove)(path)


def listed(folder: Path) -> list[Path]:
    """Return the paths of a folder's entries, sorted by name; empty if the folder does not
    exist.
    """
    return [folder / entry.name for entry in entries(folder)]


def files_below(folder: Path) -> list[Path]:
    """Return the regular files in a folder and its subfolders."""
    return [
        Path(entry.path) for entry in entries_below(folder) if entry.is_file(follow_symlinks=False)
    ]


def entries_below(folder: Path) -> Iterator[Entry]:
    """Yield the entries of a folder and of its subfolders."""
    pending = [
        iter(entries(folder))
    ]  # not recursive: a received store may nest folders without limit
    while pending:
        if (entry := next(pending[-1], None)) is None:
            pending.pop()
            continue
        yield entry
        if entry.is_dir(follow_symlinks=False):
            pending.append(iter(entries(Path(entry.path))))


def entries(folder: Path) -> list[Entry]:
    """Return the entries of a folder, sorted by name; empty if the folder does not exist."""
    try:
        with Access(folder), os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except MissingFileError:
        return []


@contextmanager
def foreign(path: Path, kind: type[FileAccessError], called: str = "") -> Iterator[None]:
    """Raise the system errors of an operation on a file outside a store, ``called`` so in messages,
    as ``kind``.
    """
    try:
        with Access(path):
            yield
    except FileAccessError as error:
        raise kind(called or path, error.code) from error


def open_regular(path: str, flags: int) -> int:
    """Open a regular file, and return its descriptor; an opener for :func:`open`."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # open refuses a folder itself
        os.close(descriptor)
        raise UsageError(
            f"{path} is not a regular file. Write its content to a file first, and give that file."
        )
    return descriptor


def read_foreign(path: Path) -> bytes:
    """Return the content of a file that a user gave; errors: :func:`open_regular`, and those of the
    system.
    """
    with open(path, "rb", opener=open_regular) as file:
        return file.read()


def foreign_status(
    path: Path, kind: type[FileAccessError], called: str = ""
) -> os.stat_result | None:
    """Return the status of a file or folder outside a store, or None if it does not exist; see
    :func:`foreign`.
    """
    try:
        with foreign(path, kind, called):
            return path.stat()
    except ValueError:  # the path contains a NUL
        return None
    except FileAccessError as error:
        if error.code in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise
