"""Write down which parts of a mirror's sparse files were fetched, and never guess it.

Each sparse file has a record at its path in the folder ``fetched``: its inode and modification time, then a range per
line. A line is added after the bytes are on the disk, so that a record says at most what is there. It names the inode
so that it is not taken for one of a later file at the same path. A file without a record is whole.
"""

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from embstore.base import atomic, disk
from embstore.base.disk import Range
from embstore.base.errors import RemoteError

_TOKEN = "TOKEN"


class Sparse(NamedTuple):
    """A sparse file.

    Attributes:
        inode: Its inode.
        time: Its modification time in nanoseconds, which it keeps: its content is the same whatever was fetched.
        size: Its size in bytes.
        present: Parts of it that were fetched.
    """

    inode: int
    time: int
    size: int
    present: list[Range]


def deleted(folder: Path) -> RemoteError:
    """Return the error for a mirror that was deleted."""
    return RemoteError(f"the mirror {folder} was deleted while it was in use. Run the same command again.")


class Records:
    """The records of a mirror's sparse files.

    Args:
        folder: Folder of the records.
        root: Folder of the files.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder, self._root = folder, root

    @property
    def token(self) -> str:
        """Random number of the folder of records.

        Raises:
            FileNotFoundError: The folder was deleted.
        """
        return disk.read(self._folder / _TOKEN).decode()

    def reset(self) -> None:
        """Begin without records."""
        disk.remove_tree(self._folder)
        disk.make_folder(self._folder)
        disk.write(self._folder / _TOKEN, secrets.token_hex(16).encode())

    def read(self, path: str) -> Sparse | None:
        """Return inode and fetched parts of a sparse file; None if it is whole, or is another one by now.

        Raises:
            RemoteError: The folder of records was deleted: nothing is known of any file.
        """
        try:
            text = disk.read(self._folder / path).decode()
        except FileNotFoundError:
            if not disk.exists(self._folder / _TOKEN):
                raise deleted(self._folder.parent) from None
            return None
        # A line that was cut counts only as far as it goes, which is less than was fetched.
        lines = [line.split() for line in text.split("\n")[:-1]]
        (inode, time), *present = [(int(line[0]), int(line[1])) for line in lines if len(line) == 2]
        try:
            status = disk.status(self._root / path)
        except FileNotFoundError:
            return None
        return Sparse(inode, time, status.st_size, present) if status.st_ino == inode else None

    def write(self, path: str, status: os.stat_result, present: Sequence[Range] = ()) -> None:
        """Write the record of a file of which only some parts were fetched."""
        record = self._folder / path
        disk.make_folder(record.parent)
        lines = [(status.st_ino, status.st_mtime_ns), *present]
        atomic.write_bytes(record, "".join(f"{first} {second}\n" for first, second in lines).encode(), derived=True)

    def fill(self, path: str, sparse: Sparse, piece: Range, data: bytes) -> None:
        """Write a fetched range into its sparse file, flush it, and write down that it is there.

        Args:
            path: Path of the file.
            sparse: The file before; if it was replaced meanwhile, nothing is written.
            piece: The range.
            data: Its bytes.
        """
        target, record = self._root / path, self._folder / path
        with disk.operation("write", target):
            descriptor = os.open(target, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                if os.fstat(descriptor).st_ino != sparse.inode:
                    return
                os.pwrite(descriptor, data, piece[0])
                os.fsync(descriptor)
                os.utime(descriptor, ns=(sparse.time, sparse.time))
            finally:
                os.close(descriptor)
        with disk.operation("write", record), suppress(FileNotFoundError):  # it is whole by now
            descriptor = os.open(record, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(descriptor, f"\n{piece[0]} {piece[1]}\n".encode())
            finally:
                os.close(descriptor)

    def remove(self, path: str) -> None:
        """Write down that a file is whole, or gone."""
        disk.remove(self._folder / path, missing_ok=True)

    def purge(self) -> None:
        """Remove the records of files that are gone or were replaced, after a process was killed."""
        for record in disk.files_below(self._folder):
            path = record.relative_to(self._folder).as_posix()
            if path != _TOKEN and self.read(path) is None:
                self.remove(path)
