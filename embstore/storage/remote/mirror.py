"""Keep a local store whose files have their sizes, and whose content is fetched when it is needed.

Where the cache is full, shards and indexes are emptied that this process does not use, if no other uses the mirror.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import cached_property
from hashlib import file_digest, sha256
from pathlib import Path
from threading import RLock

from embstore.base import atomic, disk
from embstore.base.arrays import in_threads
from embstore.base.errors import DamagedError, FileAccessError, RemoteError
from embstore.base.supply import Range, Ranges
from embstore.storage.catalog import Deferred
from embstore.storage.files import names
from embstore.storage.files.paths import StorePaths, write_marker
from embstore.storage.remote import cache
from embstore.storage.remote.cache import Contents, Sparse, merge_ranges, missing_ranges
from embstore.storage.remote.manifest import RemoteFile, RemoteState, Writer, group_of
from embstore.storage.remote.objects import ObjectReader
from embstore.storage.transaction.commit import Change, commit, create_store
from embstore.storage.transaction.lock import FolderLock
from embstore.storage.transaction.manifest import Files, Snapshot, by_folder, read_newest

_THREADS = 16
_PIECE_BYTES = 8 << 20
_GAP_BYTES = 64 << 10  # a request for the bytes between two ranges costs more than these bytes


class Mirror:
    """Local mirror of a store at a URL.

    Whole files are compared with their SHA-256 when they arrive unless ``is_checked`` is false, where damage is looked
    for. With ``is_read_only``, nobody writes to the mirror: a group of files that the manifest lists then comes when it
    is needed, and :meth:`snapshot` names the files instead of manifests of the folder.
    """

    def __init__(
        self, folder: Path, objects: ObjectReader, *, is_checked: bool = True, is_read_only: bool = False
    ) -> None:
        self._folder, self._is_checked, self._is_read_only = folder, is_checked, is_read_only
        self.contents = Contents(folder, objects)
        self._in_use: Counter[str] = Counter()
        self.root = self.contents.root
        self._paths = StorePaths(self.root)
        self._lock = RLock()
        self._snapshot: MirrorSnapshot | None = None
        self.on_commit: Callable[[], None] | None = None  # called after each commit to the local store
        cache.make_folder(folder)
        self._use = cache.in_use(folder)

    def open(self, objects: ObjectReader) -> None:
        """Use objects with other credentials from here on; the folder may have been deleted meanwhile."""
        self.contents.objects = objects
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
        except (FileAccessError, PermissionError) as error:
            if isinstance(error, FileAccessError) and str(self._folder) not in str(error.path):
                raise
            raise cache.refused(error) from error

    @property
    def state(self) -> RemoteState | None:
        """State of the remote store that is mirrored."""
        return self.contents.state

    def save(self, state: RemoteState) -> None:
        """Write the state that the mirror has to the disk; one that is not only read has all files of it."""
        if not self._is_read_only:
            self.contents.files = dict(state.files)
        self.contents.save(state)

    def snapshot(self) -> "MirrorSnapshot | None":
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
            newest = self.contents.refresh()
            new = self._new(found)
            self.contents.make_sparse({path: file.size for path, file in new.items()})
            self.contents.files |= new
            # Where another process mirrors a newer manifest, it reads the others.
            old = {path for path in self.contents.files if group_of(path) == group} - found.keys()
            self._remove(old if state.sha256 == newest else ())
            if new or old:
                self.contents.save_files()
        return found

    def synchronise(self, state: RemoteState, sizes: Mapping[str, int] | None = None) -> None:
        """Make the mirror that of a state of the remote store; the caller has locked it.

        Files that are not of the remote store and have names of their own (answers, maps) stay. The sizes of the
        objects that exist, by key, are given to show damage as it is; else all are as the manifest says.
        """
        old = self.contents.load()
        if old is None or old.store != state.store:
            self.contents.reset()
            old = None
        self.contents.state, files = state, state.files
        files.read = self.contents.read_list
        with self._lock:  # no thread writes records meanwhile
            self.contents.purge()
        wanted = files.named if self._is_read_only else files
        new = self._new(wanted)
        is_whole = not new and all(disk.exists(self.root / path) for path in self.contents.files)  # as we left it
        if old and old.sha256 == state.sha256 and is_whole:
            return
        if sizes is not None:
            new = {path: file._replace(size=sizes.get(file.key, 0)) for path, file in new.items()}
        # Fetched now: cards, and the merged sums of a space.
        small = {
            path: file
            for path, file in new.items()
            if names.kind_of(path) in (names.CARDS, names.MERGED) and file.key in (sizes or {file.key})
        }
        in_threads(lambda path: self._place(path, small[path]), small, n_threads=_THREADS)
        self.contents.make_sparse({path: file.size for path, file in new.items() if path not in small})
        if not self._is_read_only:
            self._commit(state, {path for path in new if names.is_file_key(path)})
        elif not disk.exists(self._paths.marker):
            write_marker(self._paths)
        self.contents.files |= new
        listed = files.lists.keys() if self._is_read_only else ()  # of these, files go when the list comes
        self._remove({path for path in self.contents.files.keys() - wanted.keys() if group_of(path) not in listed})
        if sizes is not None:
            for path in (path for path, file in wanted.items() if file.key not in sizes):
                disk.remove(self.root / path, missing_ok=True)
        self.save(state)

    def start(self) -> None:
        """Make the mirror that of a new store without files."""
        self.contents.reset()
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

    def _commit(self, state: RemoteState, new: Iterable[str]) -> None:
        """Let the local manifest name the files of a state."""
        if not disk.exists(self._paths.marker):
            create_store(self._paths)
        named, before = set(filter(names.is_file_key, state.files)), read_newest(self._paths).files.keys()
        added = tuple(self.root / path for path in named & {*new, *named - before})
        commit(self._paths, Change(added, tuple(self.root / path for path in before - named)))

    def _new(self, files: Mapping[str, RemoteFile]) -> dict[str, RemoteFile]:
        """Return the files that the mirror does not have, or has as others."""
        return {
            path: file
            for path, file in files.items()
            if self.contents.files.get(path) != file or not disk.exists(self.root / path)
        }

    def _remove(self, files: Iterable[str]) -> None:
        """Remove files that are not of the remote store any more."""
        for path in files:
            disk.remove(self.root / path, missing_ok=True)
            del self.contents.files[path]

    def _place(self, path: str, file: RemoteFile) -> None:
        """Fetch a whole file, and check it."""
        data = self.contents.objects.get(file.key)
        if self._is_checked and (len(data) != file.size or sha256(data).hexdigest() != file.sha256):
            raise self._damaged(file)
        atomic.write_bytes(self.root / path, data)
        self.contents.note_unchanged(path, self.contents.stamp_of(path))

    def _damaged(self, file: RemoteFile) -> DamagedError:
        return DamagedError(
            f"{self.contents.objects.url}/{file.key} is damaged: its content is not that which its manifest names. "
            "Run: ⦃embstore verify⦄"
        )

    def forget(self, path: Path) -> None:
        """Note that a file was removed, or replaced by one that is whole."""
        key = self._paths.key(path)
        with self._lock, suppress(FileNotFoundError, RemoteError):
            if self.contents.sparse(key) is None:
                self.contents.note_whole(key)

    def committed(self) -> None:
        """Commit to the remote store what was committed to the mirror, if it is one that is written to."""
        if self.on_commit is not None:
            self.on_commit()

    def fetch(self, parts: Mapping[Path, Ranges]) -> None:
        """Fetch parts of several files that are not on this machine yet, unless there is no room for them."""
        by_path = {self._paths.key(path): ranges for path, ranges in parts.items()}
        with self._using(by_path):
            self._fetch(by_path, is_optional=True)

    @contextmanager
    def fetched(self, path: Path, ranges: Ranges = None) -> Iterator[None]:
        """Fetch parts of a file, which is in use within the context."""
        by_path = {self._paths.key(path): ranges}
        with self._using(by_path):
            above = self._fetch(by_path)
            yield
        if above:
            with cache.room_for([], self._folder):
                pass  # what was above the limit is emptied

    @contextmanager
    def _using(self, paths: Iterable[str]) -> Iterator[None]:
        """Do not empty some files within the context."""
        with self._lock:
            self._in_use.update([*paths])
        try:
            yield
        finally:
            with self._lock:
                self._in_use.subtract([*paths])

    def _fetch(self, parts: Mapping[str, Ranges], *, is_optional: bool = False) -> int:
        """Fetch parts of files; without room, leave optional ones, and refuse whole files.

        Other parts exceed the limit while they are read. Return by how many bytes.
        """
        files, has_ranges = self.contents.files, self.contents.objects.has_ranges
        jobs: list[tuple[str, RemoteFile, Sparse, Range]] = []
        wanted: dict[str, list[Range]] = {}
        # A whole file is in memory until it is written.
        piece, n_threads = (_PIECE_BYTES, _THREADS) if has_ranges else (sys.maxsize, 2)
        with self._lock:  # nothing is emptied between
            for path, ranges in parts.items():
                if ranges == [] or path not in files or (sparse := self.contents.sparse(path)) is None:
                    continue
                size = sparse.size
                if ranges is None or not has_ranges:
                    requested = [(0, size)]
                else:
                    requested = [(max(0, start), min(end, size)) for start, end in ranges]
                wanted[path] = merge_ranges(missing_ranges(requested, sparse.present), _GAP_BYTES)
                pieces = ((at, min(at + piece, end)) for start, end in wanted[path] for at in range(start, end, piece))
                jobs += [(path, files[path], sparse, part) for part in pieces]
        coming = [piece for *_, piece in jobs]

        def fetch_piece(job: tuple[str, RemoteFile, Sparse, Range]) -> None:
            path, file, sparse, piece = job
            self.contents.fill(path, sparse, piece, self.contents.objects.get_range(file.key, piece))
            coming.remove(piece)

        try:
            with cache.room_for(coming, self._folder) if jobs else nullcontext(0) as above:
                if above and is_optional:
                    return above
                if above and None in parts.values():
                    raise cache.is_full(above)
                in_threads(fetch_piece, jobs, n_threads=n_threads)
            self._finish(wanted)
        except FileAccessError as error:
            raise cache.refused(error) from error
        return above

    def _finish(self, wanted: Iterable[str]) -> None:
        """Check the files that are whole by now, and remove their records."""
        for path in wanted:
            file = self.contents.files.get(path)
            with self._lock:
                sparse = self.contents.sparse(path)
                if file is None or sparse is None or missing_ranges([(0, sparse.size)], sparse.present):
                    continue
                if self._is_checked:
                    with disk.Operation("read", self.root / path), open(self.root / path, "rb") as content:
                        is_sound = file_digest(content, "sha256").hexdigest() == file.sha256
                    if not is_sound:
                        self.contents.make_sparse({path: file.size})  # what was fetched is not used again
                        raise self._damaged(file)
                self.contents.note_whole(path)

    def free(self, n_bytes: int) -> int:
        """Empty shards and indexes that are not in use, if no other process uses the mirror; return the freed bytes.

        Each is replaced by an empty one: who has the old one open goes on with it.
        """
        freed, emptied = 0, []
        with self._lock, self._alone() as is_alone:
            for path in sorted(self.contents.files) if is_alone else ():  # shards before indexes
                if freed >= n_bytes:
                    break
                is_free = path.startswith(("embeddings/", "indexes/")) and not self._in_use[path]
                if is_free and self.contents.is_unchanged(path) and (n := cache.disk_bytes(self.root / path)):
                    self.contents.make_sparse({path: disk.size(self.root / path)})
                    freed += n
                    emptied.append(path)
            self.contents.note_emptied(emptied)
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


class MirrorSnapshot(Snapshot):
    """The files of a store at a URL at one moment."""

    def __init__(self, state: RemoteState, add_group: Callable[[RemoteState, str], Mapping[str, RemoteFile]]) -> None:
        self.state, self._add_group = state, add_group
        super().__init__(state.number, state.sha256, {})

    @cached_property
    def _by_folder(self) -> Mapping[str, Sequence[str]]:
        lists = self.state.files.lists
        named = by_folder(filter(names.is_file_key, self.state.files.named))

        def names_in(folder: str) -> Sequence[str]:
            files = by_folder(self._add_group(self.state, folder)) if folder in lists else named
            return files.get(folder, [])

        return Deferred([*named, *lists], names_in)

    @cached_property
    def files(self) -> Files:
        """All files, which are added to the mirror."""
        paths = (f"{folder}/{name}" for folder, entries in self._by_folder.items() for name in entries)
        return {path: {"bytes": self.state.files[path].size} for path in paths}

    def has_all_of(self, other: Snapshot) -> bool:
        """Return whether no file of another snapshot is missing in this one; adds none to the mirror."""
        files = other.state.files if isinstance(other, MirrorSnapshot) else other.files
        return self.state.files.keys() >= files.keys()

    def names_hash(self, paths: StorePaths, folder: Path) -> str:
        """Return the hash of the names of a folder's part files, which is known where they are listed."""
        file_list = self.state.files.lists.get(paths.key(folder))
        return super().names_hash(paths, folder) if file_list is None else file_list.names_sha256
