"""Give the files of a store as files of this machine: those of a folder, or whole copies of objects
in a cache.

A file of a store at a URL is fetched whole when it is first used, compared with its hash in the
manifest, and kept in a folder of the cache under its key, which has its hash: it is never stale. If
the cache is full, the files that were not used for the longest time go first.
"""

import errno
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from embstore.base import atomic, disk, installation
from embstore.base.errors import DamagedError, RemoteError, StoreError, UsageError, system_reason
from embstore.base.table import show_size
from embstore.storage import keys, manifest
from embstore.storage.keys import Kind
from embstore.storage.manifest import Change, Edit, Entry, Files, Manifest
from embstore.storage.objects import Folder, Objects

FOLDER_VARIABLE, SIZE_VARIABLE = "EMBSTORE_CACHE", "EMBSTORE_CACHE_SIZE"
_DEFAULT_GB = 50
_N_DOWNLOADS = 16


class StoreFiles:
    """The files of a store, in a folder or at a URL.

    They can be pickled: another machine has a cache of its own.

    Attributes:
        objects: Objects of the store.
        root: Folder with the files of the store, or with copies of them; derived files are there
            too.
        name: Folder or URL of the store, as messages name it.
        is_local: Whether the store is in a folder, not at a URL.
    """

    def __init__(self, objects: Objects) -> None:
        self.objects, self.name, self.is_local = objects, objects.url, objects.is_local
        self.root = (
            Path(self.name) if objects.is_local else folder_for(objects.url, objects.endpoint)
        )
        self._known: Manifest | None = None
        self._checked: dict[str, disk.Stamp] = {}
        self._beginning = Lock()
        self._folders: set[Path] = set()  # those without a link on the way to them

    @property
    def place(self) -> Path | str:
        """Folder or URL of the store."""
        return self.root if self.is_local else self.name

    def __reduce__(self) -> tuple[type["StoreFiles"], tuple[Objects]]:
        return StoreFiles, (self.objects,)

    @classmethod
    def of_folder(cls, root: "Path | StoreFiles") -> "StoreFiles":
        """Return the files of the store in a folder, which may not exist; files of a store are
        returned as they are.
        """
        return root if isinstance(root, StoreFiles) else cls(Folder(disk.resolved(root)))

    def find_manifest(self) -> Manifest | None:
        """Return the newest manifest; None if there is no store.

        Raises:
            UnsupportedFormatError: The store has a newer format.
            StoreError: The folder has other files and is no store.
        """
        self._known = manifest.read(self.objects, self._known)
        if self._known is None:
            try:
                self._check_other_files()
            except StoreError:
                # Another process may have begun the store since its manifests were listed.
                self._known = manifest.read(self.objects)
                if self._known is None:
                    raise
        return self._known

    def manifest(self) -> Manifest:
        """Return the newest manifest; raise StoreError if there is no store."""
        newest = self.find_manifest()
        if newest is None:
            raise manifest.no_store(self.name, is_url=not self.is_local)
        return newest

    def _check_other_files(self) -> None:
        """Raise StoreError if the folder has files, but no manifest."""
        if not self.is_local:
            return
        names = [path.name for path in disk.listed(self.root)]
        others = [
            name for name in names if not name.startswith(".") and name != keys.MANIFESTS.folder
        ]
        if {keys.VECTORS.folder, keys.CARDS.folder, keys.ITEMS.folder} & {*others}:
            raise DamagedError(
                f"{self.root}/{keys.MANIFESTS.folder} is damaged: it has no manifest, and the rest"
                " of a store is there. Restore it from a copy; or build the store anew, in another"
                " folder."
            )
        if others:
            raise StoreError(
                f"{self.root} is not a store: it has no manifest. Name the store's folder,"
                " as by EMBSTORE_STORE; to build a new store, name a folder that is empty or"
                " does not exist."
            )

    def commit(self, change: Change | Edit) -> Manifest:
        """Commit a change, or what a function makes of the newest manifest; see
        :func:`.manifest.commit`.
        """
        edit = (lambda _: change) if isinstance(change, Change) else change
        self._known = manifest.commit(self.objects, edit, self._known)
        return self._known

    def file(self, key: str, entry: Entry) -> "StoredFile":
        """Return a file that a manifest names."""
        return StoredFile(self, key, entry)

    def files_of(self, named: Manifest, stored_keys: Iterable[str]) -> "list[StoredFile]":
        """Return files that a manifest names, by key."""
        return [StoredFile(self, key, named.files[key]) for key in stored_keys]

    def fetch(self, files: "Iterable[StoredFile]") -> list[Path]:
        """Return the paths of files on this machine; those of a store at a URL are fetched at the
        same time.
        """
        files = [*files]
        if self.is_local:
            for folder in {(self.root / file.key).parent for file in files} - self._folders:
                disk.check_inside(self.root, folder)
                self._folders.add(folder)
        else:
            missing = [
                file for file in files if not _use(self.root / file.key, file.entry["bytes"])
            ]
            if missing:
                with writing_to_cache():
                    make_room(
                        sum(file.entry["bytes"] for file in missing),
                        {self.root / file.key for file in files},
                    )
                with ThreadPoolExecutor(min(_N_DOWNLOADS, len(missing))) as pool:
                    for _ in pool.map(self._download, missing):
                        pass
        return [self.root / file.key for file in files]

    def fetch_again(self, file: "StoredFile") -> None:
        """Fetch a file of a store at a URL, though it is in the cache; the copy there is replaced
        once the new one was compared with its hash.
        """
        with writing_to_cache():
            make_room(file.entry["bytes"], {self.root / file.key})
        self._download(file)

    def _download(self, file: "StoredFile") -> None:
        target = self.root / file.key
        with writing_to_cache(), atomic.temporary(self.root) as temp:
            self.objects.download(file.key, temp)
            if not file.has_content(temp):
                raise file.damage(
                    "its content does not have the size and the SHA-256 that the manifest says"
                )
            disk.make_folder(target.parent)
            disk.sync(temp)
            os.replace(temp, target)

    def write(self, files: Mapping[str, Path]) -> None:
        """Store files by key from temporary ones, which are moved; of a store at a URL, copies stay
        in the cache.
        """
        with self._beginning:
            if self._known is None and self.find_manifest() is None:
                # So that files without a manifest are never those of a store that lost it.
                self.commit(Change())
        self.objects.put(files)
        if not self.is_local:
            n_bytes = sum(map(os.path.getsize, files.values()))
            if n_bytes > max_bytes():
                return
            with writing_to_cache():
                make_room(n_bytes, set(files.values()))
                for key, temp in files.items():
                    disk.make_folder((self.root / key).parent)
                    disk.sync(temp)
                    os.replace(temp, self.root / key)

    def add(
        self,
        kind: Kind,
        write: Callable[[Path], Entry | None],
        /,
        *,
        name: str = "",
        layer: int | None = None,
        **facts: Any,
    ) -> Files:
        """Store what a function writes to a temporary file, and return it as a manifest names it;
        the function may return more facts of it.
        """
        with self.temporary() as temp:
            facts |= write(temp) or {}
            entry = entry_of(temp, **facts)
            key = keys.make(kind, entry["sha256"], name=name, layer=layer)
            self.write({key: temp})
        return {key: entry}

    def temporary(self) -> AbstractContextManager[Path]:
        """Provide the path of a new temporary file on the disk of the files, removed when the
        context ends.
        """
        return atomic.temporary(self.root)

    def check(self, file: "StoredFile", also: Callable[[], object] | None = None) -> None:
        """Raise DamagedError unless the content of a file has its hash, once until the file
        changes.

        Args:
            file: The file.
            also: Function that checks more of the content, and raises DamagedError.
        """
        path = file.path
        if not self.is_local:  # it was compared when it was fetched
            return
        stamp = disk.stamp_of(path)
        if stamp is None or self._checked.get(file.key) != stamp:
            file.compare()
            if also is not None:
                also()
            if stamp is not None:
                self._checked[file.key] = stamp

    def is_outdated(self, named: Manifest) -> bool:
        """Return whether files that a manifest names are of the store no more, so that they may be
        gone.
        """
        newest = self.find_manifest()
        return newest is None or not newest.files.keys() >= named.files.keys()

    def collect(self) -> None:
        """Delete what no manifest of the last day names, manifests before it, and what killed
        processes left.
        """
        self.discard_leftovers()
        self.objects.delete(self.garbage())

    def discard_leftovers(self) -> None:
        """Remove what processes that have died have left half-written in a folder."""
        if self.is_local:
            for folder in (self.root, self.root / keys.MANIFESTS.folder):
                atomic.discard_leftovers(folder)

    def garbage(self) -> list[str]:
        """Return the keys of the files that no manifest of the last day names, and of manifests
        before it.
        """
        named = self.manifest()
        newest = keys.manifest_key(named.number)
        garbage = []
        for folder in dict.fromkeys(kind.folder for kind in keys.KINDS if not kind.is_derived):
            for info in self.objects.list(folder):
                if (key := keys.parse(info.key)) is None or info.key == newest:
                    continue
                is_old = (
                    key.kind is keys.MANIFESTS
                    and key.name < f"{named.number - _KEPT_MANIFESTS:020d}"
                )
                if is_old or manifest.is_garbage(named, info.key, info.modified.timestamp()):
                    garbage.append(info.key)
        return garbage


_KEPT_MANIFESTS = 1000
"""Number of manifests after which older ones are deleted before a day has passed."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that a manifest names: its key, and what the manifest says of it."""

    files: StoreFiles
    key: str
    entry: Entry

    @property
    def path(self) -> Path:
        """Path of the file on this machine; it is fetched if need be."""
        return self.files.fetch([self])[0]

    @property
    def place(self) -> str:
        """Folder or URL, and key, as messages name the file."""
        return f"{self.files.name}/{self.key}"

    @contextmanager
    def opened(self) -> Iterator[Path]:
        """Provide the path of the file, of the size in the manifest, to a library that opens it
        within the context.
        """
        path = self.path
        try:
            with disk.opening(path):
                size = os.path.getsize(path)
                if not size or size != self.entry["bytes"]:
                    raise self.damage(
                        "it does not have the size in the manifest, so it was altered or truncated"
                    )
                yield path
        except FileNotFoundError as error:
            raise self.damage("it is missing, and the manifest names it") from error

    def has_content(self, path: Path) -> bool:
        """Return whether a file has the size and the SHA-256 in the manifest."""
        expected = (self.entry["bytes"], self.entry["sha256"])
        return (os.path.getsize(path), disk.sha256(path)) == expected

    def compare(self) -> None:
        """Read the file whole, and raise DamagedError unless it has the hash in the manifest."""
        with self.opened() as path:
            if disk.sha256(path) != self.entry["sha256"]:
                raise self.damage(
                    "its SHA-256 is not the one in the manifest, so it was altered or truncated"
                )

    def check(self) -> None:
        """Raise DamagedError unless the content has the hash in the manifest, once until the file
        changes.
        """
        self.files.check(self)

    def damage(self, cause: object) -> DamagedError:
        """Return the error for a file that was read and found wrong, with the remedy."""
        parts = keys.parse(self.key)
        remedy = f"{parts.kind.remedy}." if parts else ""
        if parts and parts.kind is not keys.CARDS:  # which cannot be made again
            remedy = f"To repair it, run embstore repair. {remedy}"
        return DamagedError(f"{self.place} is damaged: {str(cause).rstrip('.')}. {remedy}")


def fetch(files: Sequence[StoredFile]) -> list[Path]:
    """Return the paths of files of one store on this machine; see :meth:`StoreFiles.fetch`."""
    return files[0].files.fetch(files) if files else []


def entry_of(path: Path, **facts: Any) -> dict[str, Any]:
    """Return what a manifest says of a file: size, SHA-256, and facts."""
    return {"bytes": os.path.getsize(path), "sha256": disk.sha256(path), **facts}


def cache_folder() -> Path:
    """Return the folder of the copies: ``$EMBSTORE_CACHE``, else in the user's cache folder."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        return Path(folder).resolve()
    return installation.user_cache_folder("stores").resolve()


def max_bytes() -> int:
    """Return the size limit of the cache in bytes: ``$EMBSTORE_CACHE_SIZE`` in GB."""
    value = os.environ.get(SIZE_VARIABLE) or str(_DEFAULT_GB)
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        raise UsageError(
            f"{SIZE_VARIABLE} is {value!r}: give a number of GB, such as {_DEFAULT_GB}."
        )
    return int(float(value) * 1e9)


def folder_for(url: str, endpoint: str = "") -> Path:
    """Return the folder of the cache for a URL, created; its name begins with what is readable of
    the URL.
    """
    digest = hashlib.sha256(f"{url}\n{endpoint}".encode()).hexdigest()[:16]
    folder = cache_folder() / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', url)[:60]}-{digest}"
    with writing_to_cache():
        disk.make_folder(folder)
    atomic.discard_leftovers(folder)
    # One that cannot be written is read; backups leave it out: bford.info/cachedir
    with suppress(OSError), (cache_folder() / "CACHEDIR.TAG").open("x") as file:
        file.write(
            "Signature: 8a477f597d28d172789f06886806bc55\n# Copies of files of embstore's stores;"
            " may be deleted.\n"
        )
    return folder


def _use(path: Path, n_bytes: int) -> bool:
    """Return whether a file of this size is in the cache, and note that it is used now."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    with suppress(OSError):  # a cache that cannot be written
        os.utime(path, ns=(time.time_ns(), status.st_mtime_ns))
    return status.st_size == n_bytes


def make_room(n_bytes: int, kept: set[Path]) -> None:
    """Delete the files of the cache that were not used for the longest time until some bytes fit
    below its limit.
    """
    if n_bytes > max_bytes():
        raise RemoteError(
            f"the cache {cache_folder()} is too small: {show_size(n_bytes)} are needed at once, and"
            f" its limit is {show_size(max_bytes())}. Set {SIZE_VARIABLE} to a larger number of GB."
        )
    statuses = []
    for path in disk.files_below(cache_folder()):
        key = path.relative_to(cache_folder()).as_posix().partition("/")[2]
        with suppress(FileNotFoundError):
            if keys.parse(key) is not None:  # what is being written, too, is below the folder
                statuses.append((path, os.lstat(path)))
    above = sum(status.st_size for _, status in statuses) + n_bytes - max_bytes()
    for path, status in sorted(statuses, key=lambda entry: entry[1].st_atime_ns):
        if above <= 0:
            break
        if path not in kept:
            path.unlink(missing_ok=True)
            above -= status.st_size


@contextmanager
def writing_to_cache() -> Iterator[None]:
    """Raise RemoteError, with the remedy, if the cache cannot be written within the context."""
    try:
        yield
    except OSError as error:
        place = cache_folder()
        remedy = (
            f"Change its permissions, or set {FOLDER_VARIABLE} to a folder that can be written."
        )
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = (
                f"Free some space, delete {place}, or set {FOLDER_VARIABLE} to a folder on a larger"
                " disk."
            )
        raise RemoteError(
            f"the cache {place}, which a store at a URL needs, cannot be written:"
            f" {system_reason(error)} {remedy}"
        ) from error
