"""Check that an entry of a folder is a regular file or folder, as a store that comes from others may contain links."""

import errno
import os
import stat
from pathlib import Path

from embstore.base.disk.supply import supplier_of
from embstore.base.errors import DamagedError

Entry = os.DirEntry[str]
"""Entry of a folder."""

_MAX_HOLES = 1 << 30
"""Maximum size of the holes in a file, in bytes; embstore writes every byte, so larger holes are damage."""

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # opening a named pipe would block


def open_without_following(path: str, flags: int) -> int:
    """Open a file without following a symbolic link, and return its descriptor; an opener for :func:`open`."""
    return os.open(path, flags | _NO_FOLLOW, 0o666)


def check_file(path: Path) -> None:
    """Raise DamagedError unless the path is a regular file without large holes.

    Raises:
        FileNotFoundError: There is no such file.
    """
    status = os.lstat(path)
    if problem := _problem(status.st_mode, folder=False):
        raise DamagedError(f"{path} is damaged: {problem}.")
    if status.st_size > _MAX_HOLES and supplier_of(path) is None and _has_large_holes(path, status.st_size):
        raise DamagedError(
            f"{path} is damaged: of its {status.st_size:,} bytes most were never written. Run: embstore repair"
        )


def irregular(entry: Entry, *, folder: bool) -> str | None:
    """Return the problem of an entry that is not a regular folder (or file, if ``folder`` is False), or None."""
    if entry.is_dir(follow_symlinks=False) if folder else entry.is_file(follow_symlinks=False):
        return None
    return _problem(entry.stat(follow_symlinks=False).st_mode, folder=folder)


def _problem(mode: int, *, folder: bool) -> str | None:
    """Return what an entry of this mode is, and should be instead; None if it is a folder or file as expected."""
    expected = "folder" if folder else "file"
    if stat.S_ISDIR(mode) if folder else stat.S_ISREG(mode):
        return None
    types = {
        stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFREG: "a file", stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
    }  # fmt: skip
    found = types.get(stat.S_IFMT(mode), "a device")
    return f"it is {found} where a {expected} should be. Put the {expected} itself there, or remove it"


def _has_large_holes(path: Path, size: int) -> bool:
    """Return whether the holes of a file exceed :data:`_MAX_HOLES`, as far as the file system reports them."""
    if not hasattr(os, "SEEK_DATA"):
        return False
    with open(path, "rb", buffering=0, opener=open_without_following) as file:
        holes = offset = 0
        while offset < size and holes <= _MAX_HOLES:
            try:
                data = file.seek(offset, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:  # the file system does not report holes
                    return False
                data = size  # only a hole follows
            holes += data - offset
            offset = file.seek(data, os.SEEK_HOLE) if data < size else size
    return holes > _MAX_HOLES
