"""Keep the content of stores at URLs on this machine: where it is, how much room it takes, and what is there.

A mirror is a folder of the cache::

    store/                  a store of embstore, which all other code reads
    fetched/<path>          the parts of a sparse file that were fetched, one per line; removed once it is whole
    fetched/state.json      the manifest of the remote store that it mirrors
    fetched/files.json      the files of the remote store that are in store/
    fetched/lists/          lists of the manifest that were read

A record in ``fetched/`` never guesses: it begins with inode and modification time of its file, so that it is not taken
for that of a later file at the same path, and a line is added after the bytes are on the disk. A file without a record
is whole; so without ``state.json`` beside the records the mirror is made anew. Ranges of bytes are half-open pairs of
offsets, ascending and apart from each other.
"""

import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from filelock import FileLock

from embstore.base import atomic, disk, installation, supply
from embstore.base.errors import DamagedError, FileAccessError, RemoteError, UsageError
from embstore.base.supply import Range
from embstore.base.table import show_size
from embstore.storage.files import names
from embstore.storage.files.paths import StorePaths
from embstore.storage.remote import manifest
from embstore.storage.remote.objects import ObjectReader
from embstore.storage.transaction.lock import FolderLock

FOLDER_VARIABLE, SIZE_VARIABLE = "EMBSTORE_CACHE", "EMBSTORE_CACHE_SIZE"
STORE = "store"
_DEFAULT_GB = 50
_USED = "last-used"
_PAUSE_SECONDS = 0.02
_STATE, _FILES, _LISTS = "state.json", "files.json", "lists"
_LOCK = Lock()  # while one thread locks a mirror for itself, others do not take it for unused
_coming: dict[int, list[Range]] = {}  # ranges that threads are fetching into the room made for them


def cache_folder() -> Path:
    """Return the folder of the mirrors: ``$EMBSTORE_CACHE``, else in the user's cache folder."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        return Path(folder).resolve()
    return installation.user_cache_folder("stores").resolve()


def max_bytes() -> int:
    """Return the size limit of all mirrors in bytes: ``$EMBSTORE_CACHE_SIZE`` in GB."""
    value = os.environ.get(SIZE_VARIABLE) or str(_DEFAULT_GB)
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        raise UsageError(f"{SIZE_VARIABLE} is {value!r}: give a number of GB, such as {_DEFAULT_GB}.")
    return int(float(value) * 1e9)


def mirror_folder(url: str, endpoint: str) -> Path:
    """Return the folder of the mirrors of a URL; its name begins with what is readable of the URL."""
    digest = hashlib.sha256(f"{url}\n{endpoint}".encode()).hexdigest()[:16]
    return cache_folder() / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', url)[:60]}-{digest}"


def make_folder(folder: Path) -> None:
    """Create a folder of the cache."""
    try:
        disk.make_folder(folder)
        (cache_folder() / "CACHEDIR.TAG").write_text(  # backups leave the folder out: bford.info/cachedir
            "Signature: 8a477f597d28d172789f06886806bc55\n# Mirrors of embstore's stores at URLs; may be deleted.\n"
        )
    except (OSError, FileAccessError) as error:
        raise refused(error) from error


def refused(error: OSError | FileAccessError) -> RemoteError:
    """Return the error for a cache that cannot be written."""
    place = cache_folder()
    reason = error.strerror or str(error)
    remedy = (
        f"Free some space, delete {place} if nothing uses it (it is fetched again), or set {FOLDER_VARIABLE} to a "
        "folder on a larger disk."
        if error.errno in (errno.ENOSPC, errno.EDQUOT)
        else f"Change its permissions, or set {FOLDER_VARIABLE} to a folder that can be written."
    )
    return RemoteError(f"the cache {place}, which a store at a URL needs, cannot be written: {reason}. {remedy}")


def lock_of(folder: Path) -> FileLock:
    """Return the lock that guards changes of a mirror by several processes."""
    return FileLock(folder / "lock", fallback_to_soft=False)


def in_use(folder: Path) -> FolderLock:
    """Mark a mirror as used by this process, until the returned lock is released; wait while another one deletes it."""
    lock = FolderLock(folder)
    while True:
        with suppress(FileNotFoundError):  # it was deleted just now
            if lock.acquire(shared=True) and lock.is_of_folder():
                (folder / _USED).touch()
                return lock
        lock.release()
        time.sleep(_PAUSE_SECONDS)
        disk.make_folder(folder)


def disk_bytes(path: Path) -> int:
    """Return the bytes that a file, or the files in a folder, occupy on the disk, without the holes of sparse files."""
    total = 0
    for file in disk.files_below(path) if disk.is_folder(path) else (path,):
        with suppress(FileNotFoundError):
            status = disk.status(file)
            total += getattr(status, "st_blocks", -(-status.st_size // 512)) * 512
    return total


@contextmanager
def room_for(ranges: list[Range], own: Path) -> Iterator[int]:
    """Delete mirrors that no process uses, the longest unused first, until some ranges of files fit below the limit.

    If they do not fit then, files that this process does not use are emptied, of mirrors that only it uses. Yield how
    many bytes do not fit. Within the context, the ranges count as if they were there; remove from the list those that
    are.
    """
    with _LOCK:
        sizes = {}
        for place in disk.listed(cache_folder()):
            for mirror in disk.listed(place) if disk.is_folder(place) else ():
                if disk.is_folder(mirror):
                    sizes[mirror] = disk_bytes(mirror)
        n_coming = sum(end - start for found in (ranges, *_coming.values()) for start, end in [*found])
        above = sum(sizes.values()) + n_coming - max_bytes()
        for mirror in sorted(sizes, key=lambda mirror: (disk.stamp_of(mirror / _USED) or (0, 0, 0))[2]):
            lock = FolderLock(mirror)
            if above > 0 and mirror != own and lock.acquire():
                try:
                    disk.remove_tree(mirror)
                    above -= sizes[mirror]
                finally:
                    lock.release()
        for mirror in sizes:
            if above > 0 and (supplier := supply.supplier_of(mirror / STORE)) is not None:
                above -= supplier.free(above)
        _coming[id(ranges)] = ranges
    try:
        yield max(0, above)
    finally:
        with _LOCK:
            del _coming[id(ranges)]


def is_full(n_bytes: int) -> RemoteError:
    """Return the error for bytes that do not fit below the limit."""
    return RemoteError(
        f"the cache {cache_folder()} is full: {show_size(n_bytes)} are needed above its limit of "
        f"{show_size(max_bytes())}. Set {SIZE_VARIABLE} to a larger number of GB, or delete the cache while nothing "
        "uses it."
    )


class Sparse(NamedTuple):
    """A sparse file: its inode, its modification time in ns, which it keeps, its size, and the fetched parts of it."""

    inode: int
    time: int
    size: int
    present: list[Range]


class Contents:
    """What a mirror has: the state that it mirrors, its files, and which parts of them were fetched.

    ``files`` are those in ``root``, by path, and ``stamps`` theirs as they were fetched or uploaded; a stamp changes
    when a file is replaced, and not when its content is fetched.
    """

    def __init__(self, folder: Path, objects: ObjectReader) -> None:
        self._folder, self.objects = folder, objects
        self.root, self._records = folder / STORE, folder / "fetched"
        self.state: manifest.RemoteState | None = None
        self.files: dict[str, manifest.RemoteFile] = {}
        self.stamps: dict[str, disk.Stamp] = {}

    def load(self) -> manifest.RemoteState | None:
        """Return the state on the disk; None if there is none that can be used."""
        if not disk.exists(StorePaths(self.root).marker):
            return None
        try:
            document = json.loads(disk.read(self._records / _STATE))
            named = {path: manifest.RemoteFile(*entry) for path, entry in document["named"].items()}
            lists = {group: manifest.FileList(*entry) for group, entry in document["lists"].items()}
            state = manifest.RemoteState(
                document["number"], document["sha256"], document["store"],
                manifest.FileLists(named, lists, self.read_list), manifest.Writer(*document["writer"]),
                document["lease_seconds"], document["n_changes"], tag=document["tag"],
            )  # fmt: skip
            self._load_files()
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            return None
        self.state = state
        return state

    def save(self, state: manifest.RemoteState) -> None:
        """Write a state and the files to the disk, and delete the lists of others."""
        self.save_files()
        document = {
            "url": self.objects.url, "number": state.number, "sha256": state.sha256,
            "store": state.store, "writer": list(state.writer), "lease_seconds": state.lease_seconds,
            "n_changes": state.n_changes, "tag": state.tag, "named": state.files.named, "lists": state.files.lists,
        }  # fmt: skip
        self._write(_STATE, document)
        self.state = state
        used = {each.sha256 for each in state.files.lists.values()}
        for path in disk.listed(self._records / _LISTS):
            if path.stem not in used:
                disk.remove(path, missing_ok=True)

    def save_files(self) -> None:
        """Write the files to the disk."""
        stamps = {path: stamp for path, stamp in self.stamps.items() if path in self.files}
        self._write(_FILES, {"files": self.files, "stamps": stamps})

    def note_emptied(self, paths: Iterable[str]) -> None:
        """Write the stamps of files to the disk, where another process may have noted more files than this one has."""
        with suppress(FileNotFoundError):
            document = json.loads(disk.read(self._records / _FILES))
            document["stamps"].update((path, self.stamps[path]) for path in paths)
            self._write(_FILES, document)

    def refresh(self) -> str:
        """Read from the disk what other processes have added, and return the hash of the manifest mirrored last."""
        try:
            self._load_files()
            return str(json.loads(disk.read(self._records / _STATE))["sha256"])
        except FileNotFoundError:
            raise self._deleted() from None

    def read_list(self, group: str, file_list: manifest.FileList) -> dict[str, manifest.RemoteFile]:
        """Return the files of a group from its list, which is fetched once."""
        path = names.LISTS.path(self._records / _LISTS, file_list.sha256)
        with suppress(FileNotFoundError, DamagedError):
            return manifest.parse_list(disk.read(path), group, file_list, str(path))
        data = manifest.fetch_list(self.objects, file_list)
        found = manifest.parse_list(data, group, file_list, f"{self.objects.url}/{file_list.key}")
        disk.make_folder(path.parent)
        atomic.write_bytes(path, data, derived=True)
        return found

    def reset(self) -> None:
        """Delete all; the content before what says that it is there."""
        disk.remove_tree(self.root)
        disk.remove_tree(self._records)
        self.state, self.files, self.stamps = None, {}, {}

    def stamp_of(self, path: str) -> disk.Stamp | None:
        """Return the stamp of a file; None if it is missing."""
        return disk.stamp_of(self.root / path)

    def is_unchanged(self, path: str) -> bool:
        """Return whether a file is still the one that was fetched or uploaded."""
        return self.stamps.get(path, ()) == self.stamp_of(path)

    def note_unchanged(self, path: str, stamp: disk.Stamp | None) -> None:
        """Note that a file of this stamp is that of the remote store."""
        if stamp is not None:
            self.stamps[path] = stamp

    def make_sparse(self, sizes: Mapping[str, int]) -> None:
        """Create files of some sizes without content, whose records are there before them."""
        for folder in {(root / path).parent for root in (self.root, self._records) for path in sizes}:
            disk.make_folder(folder)
        with atomic.temporary(self.root) as temp, atomic.temporary(self._records) as record:
            for path, size in sizes.items():
                with disk.Operation("create", self.root / path):
                    with open(temp, "xb") as file:
                        file.truncate(size)
                        status = os.fstat(file.fileno())
                    record.write_bytes(_lines([(status.st_ino, status.st_mtime_ns)]))
                    os.replace(record, self._records / path)
                    os.replace(temp, self.root / path)
                self.stamps[path] = (status.st_ino, status.st_size, status.st_mtime_ns)

    def sparse(self, path: str) -> Sparse | None:
        """Return inode and fetched parts of a sparse file; None if it is whole, or is another one by now."""
        record = self._record(path)
        if record is None:
            if not disk.exists(self._records / _STATE):  # nothing is known of any file
                raise self._deleted()
            return None
        (inode, time), *present = record
        stamp = self.stamp_of(path)
        return Sparse(inode, time, stamp[1], present) if stamp is not None and stamp[0] == inode else None

    def _record(self, path: str) -> list[Range] | None:
        """Return inode and time of a sparse file, and its fetched parts; None if it has no record."""
        try:
            text = disk.read(self._records / path).decode()
        except FileNotFoundError:
            return None
        # A line that was cut counts only as far as it goes, which is less than was fetched.
        lines = [line.split() for line in text.split("\n")[:-1]]
        return [(int(line[0]), int(line[1])) for line in lines if len(line) == 2] or [(0, 0)]  # empty: of no file

    def fill(self, path: str, sparse: Sparse, piece: Range, data: bytes) -> None:
        """Write a fetched range into its sparse file unless that was replaced, flush it, and record it."""
        target, record = self.root / path, self._records / path
        with disk.Operation("write", target), open(target, "r+b", 0, opener=disk.open_without_following) as file:
            if os.fstat(file.fileno()).st_ino != sparse.inode:
                return
            os.pwrite(file.fileno(), data, piece[0])
            os.fsync(file.fileno())
            os.utime(file.fileno(), ns=(sparse.time, sparse.time))
        with (
            disk.Operation("write", record),
            suppress(FileNotFoundError),  # it is whole by now
            open(record, "ab", 0, opener=lambda path, _: os.open(path, os.O_WRONLY | os.O_APPEND)) as file,
        ):
            file.write(b"\n" + _lines([piece]))

    def note_whole(self, path: str) -> None:
        """Record that a file is whole, or gone."""
        disk.remove(self._records / path, missing_ok=True)

    def purge(self) -> None:
        """Remove records of other files than are there, and empty what a killed process was just replacing."""
        replaced = {}
        atomic.discard_dead(self._records)
        for file in disk.files_below(self._records):
            path = file.relative_to(self._records).as_posix()
            if path.partition("/")[0] in (_STATE, _FILES, _LISTS) or atomic.is_temporary(path):
                continue
            # Without a record by now, another process has just fetched all of the file.
            record, stamp = self._record(path), self.stamp_of(path)
            if record is None or (stamp is not None and stamp[0] == record[0][0]):
                continue
            if self.is_unchanged(path):
                replaced[path] = self.stamps[path][1]
            else:
                self.note_whole(path)
        if replaced:
            self.make_sparse(replaced)
            self.save_files()

    def _deleted(self) -> RemoteError:
        return RemoteError(f"the mirror {self._folder} was deleted while it was in use. Run the same command again.")

    def _load_files(self) -> None:
        document = json.loads(disk.read(self._records / _FILES))
        self.files = {path: manifest.RemoteFile(*entry) for path, entry in document["files"].items()}
        self.stamps = {path: (stamp[0], stamp[1], stamp[2]) for path, stamp in document["stamps"].items()}

    def _write(self, name: str, document: dict[str, Any]) -> None:
        atomic.write_bytes(self._records / name, json.dumps(document).encode())


def _lines(pairs: Iterable[Range]) -> bytes:
    return "".join(f"{first} {second}\n" for first, second in pairs).encode()


def merge_ranges(ranges: Iterable[Range], gap: int = 0) -> list[Range]:
    """Return ranges as ascending ones that are apart by more than a gap."""
    found: list[Range] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1] + gap:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif start < end:
            found.append((start, end))
    return found


def missing_ranges(wanted: Iterable[Range], present: Iterable[Range]) -> list[Range]:
    """Return the parts of ranges that are not present."""
    found = merge_ranges(wanted)
    for first, last in present:
        parts = (part for start, end in found for part in ((start, min(end, first)), (max(start, last), end)))
        found = [part for part in parts if part[0] < part[1]]
    return found
