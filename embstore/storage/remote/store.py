"""Open a store at a URL as a folder: for reading, for writing, or with all its content fetched anew."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from filelock import Timeout

from embstore.base import supply
from embstore.base.errors import LockedError, StoreError, UsageError
from embstore.storage.remote import cache
from embstore.storage.remote.hub import PREFIX, HubObjects
from embstore.storage.remote.manifest import RemoteState, read_newest, read_published
from embstore.storage.remote.mirror import Mirror
from embstore.storage.remote.objects import ObjectReader, ObjectStore, check_url
from embstore.storage.remote.web import WebObjects
from embstore.storage.remote.writing import RemoteWriter, stored_sizes

_LOCK = Lock()  # of the mirrors that stores share


class RemoteStore:
    """A store at a URL: in a bucket; or, where it is only read, in a dataset repository or on a web server.

    ``n_uploaded`` files, of ``uploaded_bytes``, are new in the store since the last :meth:`writing`.
    """

    def __init__(self, url: str, options: Mapping[str, str] | None = None) -> None:
        self._published: WebObjects | None = None
        if url.startswith((PREFIX, "https://", "http://")):
            self._published = HubObjects(url) if url.startswith(PREFIX) else WebObjects(url)
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
            snapshot.list_all()
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
            return read_published(self._published)
        return read_newest(self.objects, known)

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
        if read_newest(self.objects) is None and not is_new:
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
            newest = read_newest(self.objects)
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
