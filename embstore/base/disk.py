"""The operations on the files of a store, in one place.

An error of the operating system is raised as it is, with the name of the file, and is never taken
for damage. A store may come from others: no operation follows a symbolic link, and only regular
files are opened.
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
from typing import BinaryIO

from embstore.base.errors import DamagedError, StoreError, UsageError
from embstore.base.messages import is_utf8


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Give errors of the system within the context the name of a file, if they name none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


Entry = os.DirEntry[str]

# Opening a named pipe would block.
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


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
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFREG: "a file",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
    }
    actual = types.get(stat.S_IFMT(mode), "a device")
    return (
        f"it is {actual} where a {expected} should be. Put the {expected} itself there, or remove"
        " it"
    )


Stamp = tuple[int, int, int]


def stamp_of(path: Path | str) -> Stamp | None:
    """Return inode, size and modification time of a file, which change when it is replaced; None if
    it is missing.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns)


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
        return os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def resolved(path: Path) -> Path:
    """Return the absolute path of a store's folder, with symbolic links resolved."""
    try:
        absolute = path.resolve()
        if not is_utf8(str(absolute)):
            raise StoreError(
                f"{absolute} is not UTF-8, as the paths of a store are. Rename that folder."
            )
        return absolute
    except RuntimeError as error:  # before Python 3.13
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from error
    except ValueError as error:  # the path contains a NUL
        raise StoreError(
            f"{str(path)!r} can be no path of a store: {error}. Name its folder."
        ) from error


MAX_BYTES = 1 << 30  # of a file that is read whole


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Check that a file is a regular one, for a library that opens it within the context."""
    with naming(path):
        check_file(path)
        yield


@contextmanager
def reading(path: Path) -> Iterator[BufferedReader]:
    """Open a file for reading."""
    with opening(path), open(path, "rb", opener=open_without_following) as file:
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
    with naming(path), open(path, "wb", opener=open_without_following) as file:
        yield file


def write(path: Path, data: bytes) -> None:
    """Write a file, not atomically; :mod:`embstore.base.atomic` does."""
    with writing(path) as file:
        file.write(data)


def sync(path: Path) -> None:
    """Flush the content of a file from the system's cache to the disk."""
    with naming(path), open(path, "rb") as file:
        os.fsync(file.fileno())


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
    with naming(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, and flush their names to the disk."""
    if not is_folder(folder):
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all its contents, if it exists; of a symbolic link, only the link."""
    if not is_folder(folder):
        folder.unlink(missing_ok=True)
        return
    contents = [
        (Path(entry.path), entry.is_dir(follow_symlinks=False)) for entry in entries_below(folder)
    ]
    # Contents before their folder.
    for path, is_inner_folder in [*reversed(contents), (folder, True)]:
        with suppress(FileNotFoundError):
            (os.rmdir if is_inner_folder else os.unlink)(path)


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
    # Not recursive: a received store may nest folders without limit.
    pending = [iter(entries(folder))]
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
        with os.scandir(folder) as scanned:
            return sorted(scanned, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


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
