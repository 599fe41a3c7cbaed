"""Keep a local store whose files have their sizes, and whose content is fetched when it is needed.

A mirror is a folder of the cache::

    store/                  a store of embstore, which all other code reads
    state.json              the manifest of the remote store that it mirrors
    files.json, lists/      the files of the remote store that are in store/; lists of the manifest that were read
    fetched/<path>          the parts of a sparse file that were fetched, one per line; removed once it is whole
    fetched/TOKEN           identifies the folder: without it the mirror is made anew

What does not fit, and this process does not need, is deleted again, if no other process uses the mirror.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import file_digest, sha256
from pathlib import Path
from threading import RLock

from embstore.base import atomic, disk
from embstore.base.disk import Parts, Range
from embstore.base.errors import DamagedError, FileAccessError, RemoteError
from embstore.storage.files import names
from embstore.storage.files.paths import StorePaths, write_marker
from embstore.storage.remote import cache, ranges
from embstore.storage.remote.contents import Contents, Stamp
from embstore.storage.remote.file_lists import RemoteFile, group_of
from embstore.storage.remote.manifest import RemoteState, Writer
from embstore.storage.remote.mirror_snapshot import MirrorSnapshot
from embstore.storage.remote.needs import Needs, free_content
from embstore.storage.remote.objects import ObjectReader
from embstore.storage.remote.parallel import in_parallel
from embstore.storage.remote.records import Records, Sparse
from embstore.storage.transaction.commit import Change, commit, create_store
from embstore.storage.transaction.folder_lock import FolderLock
from embstore.storage.transaction.manifest import read_newest

_THREADS = 16
_PIECE_BYTES = 8 << 20
_GAP_BYTES = 64 << 10  # a request for the bytes between two ranges costs more than these bytes


class Mirror:
    """Local mirror of a store at a URL.

    Args:
        folder: Folder of the mirror, in the cache.
        objects: Objects of the remote store.
        is_checked: Whether whole files are compared with their SHA-256 when they arrive; not where damage is looked
            for.
        is_read_only: Whether nobody writes to the mirror: a group of files that the manifest lists then comes when it
            is needed, and :meth:`snapshot` names the files instead of manifests of the folder.

    Attributes:
        root: Folder of the local store.
        state: State of the remote store that it mirrors; None before the first synchronisation.
        on_commit: Function that is called after each commit to the local store.
    """

    def __init__(
        self, folder: Path, objects: ObjectReader, *, is_checked: bool = True, is_read_only: bool = False
    ) -> None:
        self._folder, self._objects, self._is_checked, self._is_read_only = folder, objects, is_checked, is_read_only
        self.root = folder / cache.STORE
        self._records, self._needs = Records(folder / "fetched", self.root), Needs()
        self._paths = StorePaths(self.root)
        self._lock = RLock()
        self._contents = Contents(folder, objects)
        self._snapshot: MirrorSnapshot | None = None
        self.state: RemoteState | None = None
        self.on_commit: Callable[[], None] | None = None
        cache.make_folder(folder)
        self._use = cache.in_use(folder)

    def open(self, objects: ObjectReader) -> None:
        """Use objects with other credentials from here on; the folder may have been deleted meanwhile."""
        self._objects = self._contents.objects = objects
        if not self._use.is_of_folder():
            cache.make_folder(self._folder)
            self._use.release()
            self._use = cache.in_use(self._folder)

    def close(self) -> None:
        """Let other processes delete the mirror."""
        self._use.release()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude other processes from changing the mirror within the context."""
        try:
            with cache.lock_of(self._folder):
                yield
        except FileAccessError as error:
            if str(self._folder) not in str(error.path):
                raise
            raise cache.refused(error) from error
        except PermissionError as error:
            raise cache.refused(error) from error

    def load(self) -> RemoteState | None:
        """Return the state that the mirror has on the disk; None if there is none that can be used."""
        try:
            found = self._contents.load(self._records.token) if disk.exists(self._paths.marker) else None
        except FileNotFoundError:
            return None
        if found is not None:
            self.state = found
        return found

    def save(self, state: RemoteState) -> None:
        """Write the state that the mirror has to the disk; one that is not only read has all files of it."""
        if not self._is_read_only:
            self._contents.files = dict(state.files)
        self._contents.save(state, self._records.token)
        self.state = state

    def snapshot(self) -> MirrorSnapshot | None:
        """Return the files of the store that is mirrored; None if the manifests of the folder name them."""
        if not self._is_read_only or self.state is None:
            return None
        if self._snapshot is None or self._snapshot.state is not self.state:
            self._snapshot = MirrorSnapshot(self.state, self._add_group)
        return self._snapshot

    def _add_group(self, state: RemoteState, group: str) -> Mapping[str, RemoteFile]:
        """Add the files of a group that are not in the folder yet, and return all of the group."""
        found = state.files.of_group(group)
        with self.locked(), self._lock:
            newest = self._contents.refresh()
            new = {path: file for path, file in found.items() if self._differs(path, file)}
            for path, file in new.items():
                self._make_sparse(path, file)
            self._contents.files |= new
            # Where another process mirrors a newer manifest, it reads the others.
            old = {path for path in self._contents.files if group_of(path) == group} - found.keys()
            self._remove(old if state.sha256 == newest else ())
            if new or old:
                self._contents.save_files()
        return found

    def _remove(self, files: Iterable[str]) -> None:
        """Remove files that are not of the remote store any more."""
        for path in files:
            disk.remove(self.root / path, missing_ok=True)
            del self._contents.files[path]

    def synchronise(self, state: RemoteState, sizes: Mapping[str, int] | None = None) -> None:
        """Make the mirror that of a state of the remote store; the caller has locked it.

        Files that are not of the remote store and have names of their own (answers, maps) stay.

        Args:
            state: State of the remote store.
            sizes: Sizes in bytes of the objects that exist, by key, to show damage as it is; None if all are as the
                manifest says.

        Raises:
            RemoteError: Content cannot be fetched, or the cache cannot be written.
        """
        old = self.load()
        if old is None or old.store != state.store:
            self.reset()
            old = None
        files = state.files.read_by(self._contents.read_list)
        self.state = state = replace(state, files=files)
        with self._lock:  # no thread writes records anew meanwhile
            self._records.purge()
        wanted = files.named if self._is_read_only else files
        if old is not None and old.sha256 == state.sha256 and self._is_complete(wanted):
            return
        new = {path: file for path, file in wanted.items() if self._differs(path, file)}
        if sizes is not None:
            new = {path: file._replace(size=sizes.get(file.key, 0)) for path, file in new.items()}
        small = {path: file for path, file in new.items() if _is_small(path) and file.key in (sizes or {file.key})}
        in_parallel(lambda path: self._place(path, self._content(small[path])), small, _THREADS)
        for path, file in new.items():
            if path not in small:
                self._make_sparse(path, file)
        if not self._is_read_only:
            self._commit(state, {path for path in new if names.is_file_key(path)})
        elif not disk.exists(self._paths.marker):
            write_marker(self._paths)
        self._contents.files |= new
        listed = files.lists.keys() if self._is_read_only else ()  # of these, files go when the list comes
        self._remove({path for path in self._contents.files.keys() - wanted.keys() if group_of(path) not in listed})
        if sizes is not None:
            for path in (path for path, file in wanted.items() if file.key not in sizes):
                disk.remove(self.root / path, missing_ok=True)
        self.save(state)

    def reset(self) -> None:
        """Delete what the mirror has."""
        self._contents.reset()
        disk.remove_tree(self.root)
        self._records.reset()
        self.state = None

    def start(self) -> None:
        """Make the mirror that of a new store without files."""
        self.reset()
        create_store(self._paths)

    def writers(self) -> list[str]:
        """Return the random numbers of the last writers of the mirror."""
        try:
            return disk.read(self._folder / "writers").decode().split()
        except FileNotFoundError:
            return []

    def note_writer(self, writer: Writer) -> None:
        """Note a writer of the mirror, before it commits anything."""
        atomic.write_bytes(self._folder / "writers", " ".join([writer.id, *self.writers()[:9]]).encode())

    def stamp_of(self, path: str) -> Stamp | None:
        """Return what changes when a file is replaced, and not when its content is fetched; None if it is missing."""
        try:
            status = disk.status(self.root / path)
        except FileNotFoundError:
            return None
        return (status.st_ino, status.st_size, status.st_mtime_ns)

    def is_unchanged(self, path: str) -> bool:
        """Return whether a file is still the one that was fetched or uploaded."""
        return self._contents.stamps.get(path, ()) == self.stamp_of(path)

    def note_unchanged(self, path: str, stamp: Stamp | None) -> None:
        """Note that a file of this stamp is that of the remote store."""
        if stamp is not None:
            self._contents.stamps[path] = stamp

    def _commit(self, state: RemoteState, new: Iterable[str]) -> None:
        """Let the local manifest name the files of a state."""
        named = {path for path in state.files if names.is_file_key(path)}
        if not disk.exists(self._paths.marker):
            create_store(self._paths)
        gone = read_newest(self._paths).files.keys() - named
        added = tuple(self.root / path for path in named & {*new, *named - read_newest(self._paths).files.keys()})
        commit(self._paths, Change(added, tuple(self.root / path for path in gone)))

    def _differs(self, path: str, file: RemoteFile) -> bool:
        """Return whether the mirror does not have a file of a state."""
        return self._contents.files.get(path) != file or not disk.exists(self.root / path)

    def _is_complete(self, wanted: Iterable[str]) -> bool:
        """Return whether all files are there: somebody may have deleted some."""
        return all(disk.exists(self.root / path) for path in {*wanted, *self._contents.files})

    def _content(self, file: RemoteFile) -> bytes:
        """Return the whole content of an object, checked."""
        data = self._objects.get(file.key, file.size)
        if self._is_checked and (len(data) != file.size or sha256(data).hexdigest() != file.sha256):
            raise self._damaged(file)
        return data

    def _damaged(self, file: RemoteFile) -> DamagedError:
        return DamagedError(
            f"{self._objects.url}/{file.key} is damaged: its content is not that which its manifest names. Run: "
            "embstore verify"
        )

    def _place(self, path: str, data: bytes) -> None:
        atomic.write_bytes(self.root / path, data)
        self.note_unchanged(path, self.stamp_of(path))

    def _make_sparse(self, path: str, file: RemoteFile) -> None:
        """Create a file of the right size without content, whose record is there before it."""
        target = self.root / path
        with atomic.temporary(target.parent) as temp:
            with disk.writing(temp) as opened:
                opened.truncate(file.size)
            self._records.write(path, disk.status(temp))
            os.replace(temp, target)
        self.note_unchanged(path, self.stamp_of(path))

    def forget(self, path: Path) -> None:
        """Note that a file was removed, or replaced by one that is whole."""
        key = path.relative_to(self.root).as_posix()
        with self._lock, suppress(FileNotFoundError, RemoteError):
            found = self._records.read(key)
            if found is None:
                self._records.remove(key)

    def committed(self) -> None:
        """Commit to the remote store what was committed to the mirror, if it is one that is written to."""
        if self.on_commit is not None:
            self.on_commit()

    def fetch(self, parts: Parts, *, is_kept: bool = True) -> None:
        """Fetch parts of files that are not on this machine yet, several at the same time.

        Args:
            parts: Parts of files.
            is_kept: Whether they stay until they are released; else they may be deleted to make room, and are not
                fetched if there is none.

        Raises:
            RemoteError: They cannot be fetched, do not fit into the cache, or it cannot be written.
        """
        by_path = {file.relative_to(self.root).as_posix(): of_file for file, of_file in parts.items()}
        for path, of_file in by_path.items() if is_kept else ():
            self._needs.keep(path, of_file)
        with self._needs.within(by_path):
            self._fetch(by_path, cache.IfFull.REFUSE if is_kept else cache.IfFull.SKIP)

    @contextmanager
    def fetched(self, path: Path, ranges: Sequence[Range]) -> Iterator[None]:
        """Fetch parts of a file that stay within the context; errors: :meth:`fetch`."""
        by_path = {path.relative_to(self.root).as_posix(): ranges}
        with self._needs.within(by_path):
            self._fetch(by_path, cache.IfFull.EXCEED)  # what the threads of a process read at a time is little
            yield

    def release(self, path: Path) -> None:
        """Let what was fetched of a file be deleted to make room."""
        self._needs.release(path.relative_to(self.root).as_posix())

    def _fetch(self, parts: Mapping[str, Sequence[Range] | None], if_full: cache.IfFull) -> None:
        files = self._contents.files
        jobs: list[tuple[str, RemoteFile, Sparse, Range]] = []
        wanted: dict[str, list[Range]] = {}
        # A whole file is in memory until it is written.
        piece_bytes, n_threads = (_PIECE_BYTES, _THREADS) if self._objects.has_ranges else (sys.maxsize, 2)
        with self._lock:  # nothing is deleted between
            for path, of_file in parts.items():
                if path not in files or (sparse := self._records.read(path)) is None:
                    continue
                everything = [(0, sparse.size)]
                is_whole = of_file is None or not self._objects.has_ranges
                ask = everything if is_whole else [(max(0, a), min(b, sparse.size)) for a, b in of_file or ()]
                wanted[path] = ranges.merged(ranges.missing(ask, sparse.present), _GAP_BYTES)
                jobs += [(path, files[path], sparse, piece) for piece in ranges.pieces(wanted[path], piece_bytes)]
        if not jobs:
            return self._finish(wanted)
        n_bytes = sum(end - start for *_, (start, end) in jobs)
        try:
            if (above := cache.make_room(n_bytes, self._folder)) and if_full is not cache.IfFull.EXCEED:
                if if_full is cache.IfFull.SKIP:
                    return None
                raise cache.is_full(above)
            in_parallel(lambda job: self._fetch_piece(*job), jobs, n_threads)
            self._finish(wanted)
        except FileAccessError as error:
            raise cache.refused(error) from error
        return None

    def free(self, n_bytes: int) -> int:
        """Delete content that this process does not need, if no other uses the mirror, and return the freed bytes."""
        freed = 0
        with self._lock, self._alone() as is_alone:
            for path in self._contents.files if is_alone else ():
                if freed < n_bytes and not _is_small(path) and self.is_unchanged(path):
                    freed += free_content(self.root, self._records, path, self._needs.of(path))
        return freed

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Exclude other users of the mirror within the context, and yield whether there are none."""
        self._use.release()
        lock = FolderLock(self._folder)
        try:
            yield lock.acquire() and lock.is_supported and lock.is_of_folder()
        finally:
            lock.release()
            self._use = cache.in_use(self._folder)

    def _fetch_piece(self, path: str, file: RemoteFile, sparse: Sparse, piece: Range) -> None:
        """Fetch a range of an object into its sparse file."""
        [data] = self._objects.get_ranges(file.key, [piece])
        self._records.fill(path, sparse, piece, data)

    def _finish(self, wanted: Mapping[str, Sequence[Range]]) -> None:
        """Check the files that are whole by now, and remove their records."""
        for path in wanted:
            file = self._contents.files.get(path)
            with self._lock:
                sparse = self._records.read(path)
                if file is None or sparse is None or ranges.missing([(0, sparse.size)], sparse.present):
                    continue
                if self._is_checked and _sha256(self.root / path) != file.sha256:
                    self._make_sparse(path, file)  # what was fetched is not used again
                    raise self._damaged(file)
                self._records.remove(path)


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file of the mirror, without fetching anything."""
    with disk.operation("read", path), open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _is_small(path: str) -> bool:
    """Return whether a file is fetched when the store is opened: cards, and the merged sums of a space."""
    return path.startswith(("spaces/", "merged/"))
