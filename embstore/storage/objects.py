"""Read and write the objects of a store by key: in a folder, in a bucket, on a web server or on the
hub.

Objects are whole files that never change. The one thing that rivals compete for is the next
manifest, which is created by :meth:`Objects.put_new` and never replaced.
"""

import errno
import os
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from embstore.base import atomic, disk
from embstore.base.errors import StoreError
from embstore.storage import keys

_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)


_FIRST_SECONDS, _MOST_SECONDS = 0.05, 5.0


def back_off(n_failed: int) -> None:
    """Wait a random time before another attempt: up to twice as long after each that failed, so
    that rivals do not meet again.

    Reference:
        M. Brooker, Exponential backoff and jitter, AWS Architecture Blog, 2015.
    """
    time.sleep(random.uniform(0, min(_MOST_SECONDS, _FIRST_SECONDS * 2**n_failed)))


class ObjectInfo(NamedTuple):
    """An object of a store.

    Attributes:
        key: Path below the folder or URL.
        size: Size in bytes.
        modified: Time at which it was written, by the clock of the disk or server.
        tag: Text that differs if another object of the key was written since.
    """

    key: str
    size: int
    modified: datetime
    tag: str


class Objects(ABC):
    """Objects below a folder or URL.

    Attributes:
        url: Folder or URL, as messages name it.
        endpoint: Address of the server, if options name it.
        takes_changes: Whether objects can be written.
        is_local: Whether the objects are files of a folder of this machine.
    """

    url: str
    endpoint = ""
    takes_changes = True
    is_local = False

    @abstractmethod
    def get(self, key: str, max_bytes: int | None = None) -> bytes:
        """Return the content of an object.

        Raises:
            MissingObjectError, FileNotFoundError: There is none of this key.
            DamagedError: It is larger than ``max_bytes``.
        """

    @abstractmethod
    def download(self, key: str, target: Path) -> None:
        """Write the content of an object to a file."""

    @abstractmethod
    def newest_manifest(self) -> ObjectInfo | None:
        """Return the manifest of the highest number; None if there is none."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below a folder, by ascending key; web servers list none."""
        return iter(())

    def put(self, sources: Mapping[str, Path]) -> None:
        """Store the content of some files under keys that have its hash, and flush them to the
        disk.

        In a folder the files are moved. An object that exists has the same content.
        """
        raise self.only_read()

    def put_new(self, key: str, data: bytes) -> bool:
        """Create an object that must not be replaced; return False, and change nothing, if there is
        one of this key.
        """
        raise self.only_read()

    def replace(self, key: str, data: bytes) -> None:
        """Write an object, in place of another one of this key."""
        raise self.only_read()

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; missing ones do not matter."""
        raise self.only_read()

    def check_writable(self) -> None:
        """Raise StoreError unless the next manifest can be created without replacing a rival's."""
        if not self.takes_changes:
            raise self.only_read()

    def only_read(self) -> StoreError:
        """Return the error for a change of objects that are only read."""
        return StoreError(
            f"{self.url} is only read: its server takes no changes. Change a copy of it: embstore"
            f" pull {self.url}"
        )


class Folder(Objects):
    """The files below a folder. No symbolic link is followed, and only regular files are read."""

    is_local = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = str(root)

    def _path(self, key: str) -> Path:
        """Return the path of a file, to which no link leads."""
        path = self.root / key
        disk.check_inside(self.root, path.parent)
        return path

    def get(self, key: str, max_bytes: int | None = None) -> bytes:
        """Return the content of a file."""
        return disk.read(self._path(key), disk.MAX_BYTES if max_bytes is None else max_bytes)

    def download(self, key: str, target: Path) -> None:
        """Copy a file."""
        disk.copy(self._path(key), target)

    def newest_manifest(self) -> ObjectInfo | None:
        """Return the manifest of the highest number."""
        folder = self.root / keys.MANIFESTS.folder
        while names := [
            entry.name
            for entry in disk.entries(folder)
            if keys.parse(f"{keys.MANIFESTS.folder}/{entry.name}")
        ]:
            for name in reversed(names):
                with suppress(FileNotFoundError):  # deleted meanwhile, for a newer one
                    return _info(f"{keys.MANIFESTS.folder}/{name}", os.lstat(folder / name))
        return None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the regular files below a folder, by ascending key."""
        folder = self.root / prefix
        disk.check_inside(self.root, folder)
        for entry in disk.entries_below(folder):
            if atomic.is_temporary(entry.name):
                continue
            with suppress(FileNotFoundError):  # it was deleted meanwhile
                if entry.is_file(follow_symlinks=False):
                    key = Path(entry.path).relative_to(self.root).as_posix()
                    yield _info(key, entry.stat(follow_symlinks=False))

    def put(self, sources: Mapping[str, Path]) -> None:
        """Flush temporary files to the disk, move them to their places, and flush the folders with
        the new names.
        """
        targets = {key: self._path(key) for key in sources}
        for folder in sorted({target.parent for target in targets.values()}):
            disk.make_folder(folder)
        for source in sources.values():
            disk.sync(source)
        for key, source in sources.items():
            os.replace(source, targets[key])
        for folder in sorted({target.parent for target in targets.values()}):
            disk.sync_folder(folder)

    def put_new(self, key: str, data: bytes) -> bool:
        """Create a file by a hard link, or under a lock where the file system has none."""
        target = self._path(key)
        disk.make_folder(target.parent)
        try:
            return atomic.create(target, data)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        with FileLock(self.root / ".lock-commit"):
            if disk.exists(target):
                return False
            atomic.write_bytes(target, data)
        return True

    def replace(self, key: str, data: bytes) -> None:
        """Write a file atomically."""
        atomic.write_bytes(self._path(key), data)

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, and the folders that become empty."""
        folders = set()
        for key in names:
            self._path(key).unlink(missing_ok=True)
            folders |= {
                folder for folder in (self.root / key).parents if folder.is_relative_to(self.root)
            }
        for folder in sorted(folders - {self.root}, key=lambda folder: -len(folder.parts)):
            if disk.is_folder(folder) and not disk.entries(folder):
                with suppress(OSError):  # another process has written to it
                    folder.rmdir()


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    """Return the description of a file."""
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return ObjectInfo(key, status.st_size, modified, f"{status.st_ino}-{status.st_mtime_ns}")
