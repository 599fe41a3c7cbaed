"""Open a store at a URL as a folder: for reading, for writing, or with all its content fetched anew.

A mirror that is written to is uploaded and committed by its only writer. Each change that is committed to it becomes a
commit of the remote store: first the new objects, then one manifest. The manifest also says until when no other process
writes (a lease), by the server's clock. What a killed or displaced writer has uploaded is named by no manifest. A new
store begins with its first change: a command that is refused before it changes anything leaves nothing, even if killed.
"""

import hashlib
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Lock, RLock, Thread
from typing import Any

from filelock import Timeout

from embstore.base import disk, supply
from embstore.base.errors import LockedError, MissingObjectError, RemoteError, StoreError, UsageError
from embstore.storage.files import names
from embstore.storage.files.paths import StorePaths
from embstore.storage.remote import cache, manifest
from embstore.storage.remote.manifest import RemoteFile, RemoteState, Writer
from embstore.storage.remote.mirror import Mirror
from embstore.storage.remote.objects import ObjectReader, ObjectStore, check_url
from embstore.storage.remote.published import PREFIX, HubDataset, HubObjects, WebObjects
from embstore.storage.transaction.manifest import Snapshot, read_newest

_LOCK = Lock()  # of the mirrors that stores share


class RemoteStore:
    """A store at a URL: in a bucket; or, where it is only read, in a dataset repository or on a web server.

    ``n_uploaded`` files, of ``uploaded_bytes``, are new in the store since the last :meth:`writing`.
    """

    def __init__(self, url: str, options: Mapping[str, str] | None = None) -> None:
        self._published: WebObjects | None = None
        if url.startswith((PREFIX, "https://", "http://")):
            self._published = HubObjects(HubDataset(url)) if url.startswith(PREFIX) else WebObjects(url)
        if self._published is not None and options:
            raise UsageError(f"{self._published.url} takes no options. Leave out ⦃store-option⦄.")
        self.url, self._options = self._published.url if self._published else check_url(url), dict(options or {})
        self._folder = cache.mirror_folder(self.url, self._options.get("endpoint", ""))
        self._mirror: Mirror | None = None
        self.n_uploaded = self.uploaded_bytes = 0

    @cached_property
    def objects(self) -> ObjectStore:
        """Objects of the store, to be changed."""
        if self._published is not None:
            raise StoreError(
                f"{self.url} is only read: its server takes no changes. Change a copy of it: embstore pull {self.url}"
            )
        return ObjectStore(self.url, self._options)

    @property
    def _reader(self) -> ObjectReader:
        return self._published or self.objects

    @property
    def is_listed(self) -> bool:
        """Whether the server lists its files with their sizes."""
        return self._published is None

    @property
    def has_ranges(self) -> bool:
        """Whether the server sends parts of files; else each file that is needed is fetched whole."""
        return self._published.has_ranges if self._published else True

    @property
    def root(self) -> Path:
        """Folder of the mirror for reading, which exists after :meth:`synchronise`."""
        return self._folder / "reading" / cache.STORE

    def synchronise(self, *, is_listed: bool = False) -> Path:
        """Bring the mirror for reading up to date, and return its folder; its content is fetched when it is read."""
        if self._mirror is None:
            self._mirror = self._shared_mirror()
        with self._mirror.locked():
            self._mirror.synchronise(self._newest(self._mirror.contents.load()))
        if is_listed and (snapshot := self._mirror.snapshot()) is not None:
            _ = snapshot.files  # adds those of all groups
        return self._mirror.root

    def _shared_mirror(self) -> Mirror:
        """Return the mirror for reading, which all stores of this process at the URL share: one knows what is there."""
        with _LOCK:
            found = supply.supplier_of(self.root)
            if isinstance(found, Mirror):
                found.open(self._reader)
                return found
            mirror = Mirror(self._folder / "reading", self._reader, is_read_only=True)
            supply.add_supplier(mirror.root, mirror)
            return mirror

    def n_bytes(self) -> int:
        """Return the number of bytes of all files."""
        return sum(file.size for file in self._newest().files.values())

    def exists(self) -> bool:
        """Return whether there is a store at the URL."""
        return self._latest() is not None

    def is_outdated(self) -> bool:
        """Return whether the remote store has changed since :meth:`synchronise`, so that objects may be gone."""
        state = self._mirror.state if self._mirror else None
        return state is None or self._newest(state).files != state.files

    def _newest(self, known: RemoteState | None = None) -> RemoteState:
        newest = self._latest(known)
        if newest is None:
            raise self._no_store()
        return newest

    def _latest(self, known: RemoteState | None = None) -> RemoteState | None:
        if self._published is not None:
            self._published.renew()
            return manifest.read_published(self._published)
        return manifest.read_newest(self.objects, known)

    def _no_store(self) -> StoreError:
        return StoreError(
            f"there is no store at {self.url}. Make one with: embstore build --store {self.url}. Or check the URL and "
            "the endpoint."
        )

    @contextmanager
    def writing(self, *, is_new: bool = False, is_repair: bool = False, collects: bool = False) -> Iterator[Path]:
        """Yield the folder of a mirror to write to within the context; its changes are committed to the remote store.

        A store begins if it is new, all content is fetched anew and unchecked for a repair, and garbage is collected at
        the end.
        """
        if manifest.read_newest(self.objects) is None and not is_new:
            raise self._no_store()
        objects = ObjectStore(self.url, self._options, is_patient=True)  # there is a server
        mirror = Mirror(self._folder / "writing", objects, is_checked=not is_repair)
        writer = RemoteWriter(mirror, objects, is_repair=is_repair, collects=collects)
        try:
            with self._alone(), supply.supplied(mirror.root, mirror), writer.lease():
                yield mirror.root
        finally:
            self.n_uploaded, self.uploaded_bytes = writer.n_uploaded, writer.uploaded_bytes
            mirror.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Be the only process of this machine that writes to the store within the context."""
        try:
            with cache.lock_of(self._folder / "writing").acquire(timeout=0):
                yield
        except Timeout:
            newest = manifest.read_newest(self.objects)
            by = newest.writer if newest and newest.lease_seconds else "another process of this machine"
            raise LockedError(f"{self.url} is being written by {by}. Wait for it to end.") from None

    @contextmanager
    def fresh(self) -> Iterator[Mirror]:
        """Yield a new mirror within the context, whose content is fetched unchecked, to look for damage.

        Its files have the sizes that the server lists; those of the hub or a web server, which list none, the sizes
        that the manifest says.
        """
        cache.make_folder(self._folder)
        with TemporaryDirectory(prefix="verifying-", dir=self._folder) as folder:
            mirror = Mirror(Path(folder), self._reader, is_checked=False)
            try:
                mirror.synchronise(self._newest(), None if self._published else stored_sizes(self.objects))
                with supply.supplied(mirror.root, mirror):
                    yield mirror
            finally:
                mirror.close()


LEASE_SECONDS, RENEWAL_SECONDS = 120, 30
_PAUSE_SECONDS = 10
"""Time between the commits of a long build; what it commits in between is uploaded with the next."""
_PROBES = "probes"


def stored_files(paths: StorePaths, snapshot: Snapshot) -> Iterator[str]:
    """Yield the paths of the files that make up a store, with those that are derived from them and shared with it."""
    yield from snapshot.files
    for space in snapshot.spaces:
        summaries = (shard.summary_path for shard in snapshot.shards(paths, space))
        pairs = (path for pair in paths.index_pairs(space) if all(map(disk.exists, pair)) for path in pair)
        found = [*summaries, *pairs, *paths.files_of(names.MAPS, space), paths.merged(space)]
        yield from (paths.key(path) for path in found if disk.exists(path))


def object_key(path: str, sha256: str) -> str:
    """Return the key of the object of a file: its path, with a hash unless the name of the file is one already."""
    if (kind := names.kind_of(path)) is not None and kind.is_immutable:
        return path
    stem, _, suffix = path.rpartition(".")
    return f"{stem}.{sha256[:16]}.{suffix}"


def stored_sizes(objects: ObjectStore) -> dict[str, int]:
    """Return the sizes in bytes of all objects, by key."""
    return {found.key: found.size for found in objects.list()}


def probe(objects: ObjectStore) -> datetime:
    """Check that the server refuses to replace an object that must be new, and return the time by its clock."""
    key = f"{_PROBES}/{secrets.token_hex(16)}"
    try:
        objects.put_new(key, b"first")
        if objects.put_new(key, b"second") or objects.get(key) != b"first":
            raise StoreError(
                f"{objects.url} cannot be written safely: its server replaces objects where it is told not to "
                "(it ignores If-None-Match: *), so two writers could overwrite each other's changes. Use a server that "
                "has conditional writes, or build in a folder and copy it."
            )
        return objects.head(key).modified
    finally:
        with suppress(RemoteError):
            objects.delete([key])


class RemoteWriter:
    """The only writer of a store at a URL, through a mirror that the caller has locked.

    ``n_uploaded`` files are new in the store, also those that an interrupted command had uploaded.
    """

    def __init__(
        self, mirror: Mirror, objects: ObjectStore, *, is_repair: bool = False, collects: bool = False
    ) -> None:
        self._mirror, self._objects, self._is_repair, self._collects = mirror, objects, is_repair, collects
        self._writer = Writer.this_process()
        self._lock = RLock()
        self._paths = StorePaths(mirror.root)
        self._published = 0.0
        self._is_resumed = False
        self.n_uploaded = self.uploaded_bytes = 0

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Be the only writer within the context, and commit what the mirror has at its end."""
        now = probe(self._objects)
        newest = manifest.read_newest(self._objects)
        if newest is not None and newest.writer.id not in self._mirror.writers():  # who locked it before is dead
            self._check_free(newest, now)
        self._mirror.note_writer(self._writer)
        self._prepare(newest)
        ended = Event()
        renewal = Thread(target=self._renew, args=(ended,), name="embstore-lease", daemon=True)
        renewal.start()
        self._mirror.on_commit = self._committed
        self._published = time.monotonic()
        try:
            yield
        except BaseException as error:
            ended.set()  # else the lease that is given up could be renewed
            # Without a state there is no store yet, and no change of it.
            if self._mirror.state is not None and not isinstance(error, LockedError):
                with suppress(StoreError):  # the first error is raised
                    self._publish(0)
            raise
        else:
            if self._collects:
                self._publish(LEASE_SECONDS)
                collect(self._objects, now)
            ended.set()
            self._publish(0)
        finally:
            self._mirror.on_commit = None
            ended.set()
            renewal.join()

    def _check_free(self, newest: RemoteState, now: datetime) -> None:
        """Raise LockedError if the lease of another process has not expired."""
        if not newest.lease_seconds or newest.created is None:
            return
        left = newest.lease_seconds - (now - newest.created).total_seconds() + 1  # times are of whole seconds
        if left > 0:
            raise LockedError(
                f"{self._objects.url} is being written by {newest.writer}. Wait for it to end; if it was killed, its "
                f"lease ends in {left:.0f} s, and the same command then goes on."
            )

    def _prepare(self, newest: RemoteState | None) -> None:
        """Bring the mirror up to date, and take the lease of a store that exists."""
        base = self._mirror.contents.load()
        if newest is None:
            self._mirror.start()
            return
        local = set(self._local_files() if base is not None else ())
        if base is not None and (local != set(base.files) or not all(map(self._mirror.contents.is_unchanged, local))):
            # It has changes that were not committed to the remote store.
            if base.store == newest.store and base.files == newest.files:
                self._mirror.contents.purge()
                self._mirror.save(newest)  # an interrupted command goes on where it stopped
                self._is_resumed = not self._is_repair
            else:
                self._mirror.contents.reset()
        if self._is_repair:
            self._mirror.contents.reset()
        if self._mirror.state is not newest:
            self._mirror.synchronise(newest, stored_sizes(self._objects) if self._is_repair else None)
        self._commit(newest.files, LEASE_SECONDS)

    def _renew(self, ended: Event) -> None:
        """Renew the lease until the writer ends or is displaced, which its next commit finds too."""
        while not ended.wait(RENEWAL_SECONDS):
            with self._lock:
                if ended.is_set():
                    return
                if self._mirror.state is None:  # there is no store yet
                    continue
                try:
                    self._commit(self._mirror.state.files, LEASE_SECONDS)
                except LockedError:
                    return
                except RemoteError:  # tried again before the lease ends; the next commit reports it
                    continue

    def _begin(self) -> None:
        """Create a store that does not exist, with the lease, at its first change."""
        with self._lock:
            if self._mirror.state is None:
                self._commit({}, LEASE_SECONDS)

    def _committed(self) -> None:
        """Commit to the remote store what was committed to the mirror."""
        self._begin()
        if time.monotonic() - self._published > _PAUSE_SECONDS:
            self._publish(LEASE_SECONDS)
            self._published = time.monotonic()

    def _publish(self, lease_seconds: int) -> None:
        """Upload what is new in the mirror, and commit it."""
        with self._lock:
            self._begin()
            self._commit(self._uploaded(), lease_seconds)

    def _commit(self, files: Mapping[str, RemoteFile], lease_seconds: int) -> None:
        with self._lock:
            state = manifest.commit(self._objects, self._mirror.state, files, self._writer, lease_seconds)
            self._mirror.save(state)

    def _local_files(self) -> Iterable[str]:
        return stored_files(self._paths, read_newest(self._paths)) if disk.exists(self._paths.marker) else ()

    def _uploaded(self) -> dict[str, RemoteFile]:
        """Upload the new and changed files of the mirror, and return all its files."""
        old = self._mirror.state.files if self._mirror.state else {}
        found = {}
        for path in self._local_files():
            before = old.get(path)
            if before is not None and self._mirror.contents.is_unchanged(path):
                found[path] = before
            else:
                found[path] = self._upload(path, before)
        return found

    def _upload(self, path: str, before: RemoteFile | None) -> RemoteFile:
        """Upload a file unless the store has it, and return its entry."""
        place = self._mirror.root / path
        stamp = self._mirror.contents.stamp_of(path)
        content: bytes | Path = place
        if names.kind_of(path) in (names.SHARDS, names.INDEXES):
            digest, size = disk.sha256(place), disk.size(place)
        else:  # what is hashed is what is uploaded, whoever replaces the file meanwhile
            content = disk.read(place)
            digest, size = hashlib.sha256(content).hexdigest(), len(content)
        file = RemoteFile(object_key(path, digest), size, digest)
        if file != before:
            if not (self._is_resumed and self._is_there(file)):
                self._objects.put(file.key, content)
            self.n_uploaded += 1
            self.uploaded_bytes += size
        self._mirror.contents.note_unchanged(path, stamp)
        return file

    def _is_there(self, file: RemoteFile) -> bool:
        """Return whether an interrupted command has uploaded a file: its key has a hash of the content."""
        try:
            return self._objects.head(file.key).size == file.size
        except MissingObjectError:
            return False


KEPT = timedelta(days=1)
"""How long readers of an old manifest may go on."""

FOLDERS = (*{kind.folder: kind for kind in names.KINDS if kind.is_shared}, _PROBES, manifest.LISTS_FOLDER)


def collect(objects: ObjectStore, now: datetime) -> list[str]:
    """Delete what nothing refers to, and return the keys; the caller is the only writer.

    An object stays if it was written within a day, or if a manifest names it that was the newest within a day; ``now``
    is by the server's clock.
    """
    numbers = manifest.list_numbers(objects)
    documents = {number: manifest.whole(objects, number) for number in sorted(numbers)}
    whole = [number for number, document in documents.items() if document is not None]
    # A manifest was the newest until the next one was created.
    recent = [number for number, later in pairwise(whole) if numbers[later].modified > now - KEPT]
    needed = {number for start in [*recent, *whole[-1:]] for number in _chain(documents, start)}
    named: set[str] = set()
    lists: set[tuple[str, manifest.FileList]] = set()
    for document in filter(None, map(documents.get, needed)):
        named.update(file.key for file in document["files"].values())
        lists.update(document["lists"].items())
    for group, each in lists:
        named |= {each.key, *(file.key for file in manifest.read_list(objects, group, each).values())}
    garbage = [
        found.key
        for folder in FOLDERS
        for found in objects.list(folder)
        if found.key not in named and found.modified < now - KEPT
    ]
    objects.delete(garbage)
    old = [number for number in sorted(numbers) if number not in needed and numbers[number].modified < now - KEPT]
    objects.delete([manifest.key_of(number) for number in old])
    return garbage


def _chain(documents: dict[int, dict[str, Any] | None], number: int) -> list[int]:
    """Return the number of a manifest, and of those that it is a change of."""
    found = [number]
    while (document := documents.get(found[-1])) is not None and not document["complete"]:
        found.append(document["parent"]["number"])
    return [each for each in found if each in documents]
