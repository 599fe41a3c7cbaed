"""Read and create the manifests of a store at a URL: the numbered objects that name the objects which make it up.

``manifests/<number>.json`` contains its own hash, and its files: completely, by lists where there are many, or as a
change of the manifest before. The newest one that is whole is the store. A commit creates a later number, only if there
is none of it. One that was torn on its way is skipped by all. Another writer's whole manifest in the way means that
this writer was displaced.

What opening a store reads may not grow with its items. So a complete manifest of many files names cards, merged sums
and indexes itself, and of the shards of a space, or of the tables of a folder, only a list: an object whose key is the
hash of its content.

``manifest.json`` is a complete manifest under a fixed name, where files cannot be listed: web servers do not list them,
and a dataset repository on the hub has versions of its own.
"""

import hashlib
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from embstore.base import atomic, checksum, documents
from embstore.base.errors import DamagedError, LockedError, MissingObjectError, StoreError, UnsupportedFormatError
from embstore.storage.files import names
from embstore.storage.remote.objects import ObjectInfo, ObjectReader, ObjectStore

FOLDER, LISTS_FOLDER, PUBLISHED_NAME = "manifests", "lists", "manifest.json"
_FORMAT, _FORMAT_WITH_LISTS = 1, 2
_MAX_CHANGES = 16
_FEW_FILES, _FEW_OF_GROUP = 64, 16
"""Number of files up to which each manifest is complete and has no lists; and up to which a group is not listed."""
_REMEDY = "Restore that object from a copy or an older version of it."
_TABLES = ("items", "columns", "skipped")
_A_PART = f"part-{'0' * 16}.parquet"
_KEY = r"(?!.*(?:^|/)\.+(?:/|$))[A-Za-z0-9._=-]+(?:/[A-Za-z0-9._=-]+)*"


class RemoteFile(NamedTuple):
    """A file of a store at a URL: the key of its object below the URL, its size in bytes and its SHA-256."""

    key: str
    size: int
    sha256: str


class FileList(NamedTuple):
    """A list of files: SHA-256 and size of its object, and the hash of the names of the group's shards or tables."""

    sha256: str
    bytes: int
    names_sha256: str

    @property
    def key(self) -> str:
        """Key of its object below the URL."""
        return f"{LISTS_FOLDER}/{self.sha256}.json"


def group_of(path: str) -> str | None:
    """Return the group of files that a file is listed in: a folder of tables, or that of the shards of a space.

    A shard and its summary are of one group. None is for files that manifests name themselves.
    """
    kind, _, rest = path.partition("/")
    if kind in _TABLES:
        return kind
    return f"embeddings/{rest.partition('/')[0]}" if kind in ("embeddings", "summaries") else None


class FileLists(Mapping[str, RemoteFile]):
    """Files by path, of which those of some groups are read, by ``read``, when they are needed."""

    def __init__(
        self,
        named: Mapping[str, RemoteFile],
        lists: Mapping[str, FileList],
        read: Callable[[str, FileList], dict[str, RemoteFile]],  # returns the files of a group
    ) -> None:
        self.named, self.lists, self.read = named, lists, read
        self._files: dict[str, dict[str, RemoteFile]] = {}

    def of_group(self, group: str) -> Mapping[str, RemoteFile]:
        """Return the files of a group that has a list, by path."""
        if group not in self._files:
            self._files[group] = self.read(group, self.lists[group])
        return self._files[group]

    def remember(self, files: Mapping[str, RemoteFile]) -> None:
        """Note all files, so that no list needs to be read."""
        self._files = {group: {} for group in self.lists}
        for path, file in files.items():
            if (group := group_of(path)) and group in self.lists:
                self._files[group][path] = file

    def changed(self, added: Mapping[str, RemoteFile], removed: set[str]) -> "FileLists":
        """Return the files after a change; the groups that it changes are named from then on."""
        groups = self.lists.keys() & {group_of(path) for path in (*added, *removed)}
        named = dict(self.named)
        for group in groups:
            named |= self.of_group(group)
        for path in removed:
            named.pop(path, None)
        lists = {group: each for group, each in self.lists.items() if group not in groups}
        return FileLists({**named, **added}, lists, self.read)

    def __getitem__(self, path: str) -> RemoteFile:
        group = group_of(path)
        return self.of_group(group)[path] if group and group in self.lists else self.named[path]

    def __iter__(self) -> Iterator[str]:
        yield from self.named
        for group in self.lists:
            yield from self.of_group(group)

    def __len__(self) -> int:
        return len(self.named) + sum(len(self.of_group(group)) for group in self.lists)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FileLists) and self.lists == other.lists:
            return self.named == other.named
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]


def _split(
    files: Mapping[str, RemoteFile], longest: int
) -> tuple[dict[str, RemoteFile], dict[str, tuple[FileList, bytes]]]:
    """Return the files that a manifest names itself, and by group the list of the others with its content."""
    groups: dict[str | None, dict[str, RemoteFile]] = {}
    for path, file in files.items():
        groups.setdefault(group_of(path), {})[path] = file
    lists = {group: listed(group, found) for group, found in groups.items() if group and len(found) > longest}
    return {path: file for path, file in files.items() if group_of(path) not in lists}, lists


def listed(group: str, files: Mapping[str, RemoteFile]) -> tuple[FileList, bytes]:
    """Return the list of the files of a group, with the content of its object."""
    document = {"format": 1, "files": _entries_of(files)}
    data = atomic.checked_bytes(f"the list of {group}", document, "remote-list", indent=None)
    own = sorted(PurePosixPath(path).stem for path in files if path.startswith(f"{group}/"))
    return FileList(hashlib.sha256(data).hexdigest(), len(data), names.hash_of(own)), data


def _entries_of(files: Mapping[str, RemoteFile]) -> dict[str, dict[str, Any]]:
    """Return files as a document has them, by ascending path."""
    return {
        path: {**({} if file.key == path else {"key": file.key}), "bytes": file.size, "sha256": file.sha256}
        for path, file in sorted(files.items())
    }


def _files_of(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, RemoteFile]:
    """Return the files that a document has; InvalidDocument for a path or key that cannot be one of a store's."""
    files = {
        path: RemoteFile(entry.get("key", path), entry["bytes"], entry["sha256"]) for path, entry in entries.items()
    }
    for path, file in files.items():
        _check_path(path)
        if not re.fullmatch(_KEY, file.key):
            raise documents.InvalidDocument(f"{file.key[:300]!r} is no key of a store")
    return files


def _check_path(path: str) -> None:
    """Raise InvalidDocument if a path cannot be one of a store's file."""
    kind = names.kind_of(path)
    if kind is None or not (kind.is_named or kind.is_shared):
        raise documents.InvalidDocument(f"{path[:300]!r} is no file of a store")


def parse_list(data: bytes, group: str, file_list: FileList, place: str) -> dict[str, RemoteFile]:
    """Return the files of a list from the content of its object."""
    try:
        if hashlib.sha256(data).hexdigest() != file_list.sha256:
            raise documents.InvalidDocument("its content does not have the hash in its name")
        document = documents.parse(data, "remote-list")
        documents.check(document, "remote-list")
        files = _files_of(document["files"])
        if any(group_of(path) != group for path in files):
            raise documents.InvalidDocument(f"it is not a list of {group}")
    except documents.InvalidDocument as error:
        raise DamagedError(f"{place} is damaged: {error}. {_REMEDY}") from error
    return files


def read_list(objects: ObjectReader, group: str, file_list: FileList) -> dict[str, RemoteFile]:
    """Return the files of a group from its list."""
    return parse_list(fetch_list(objects, file_list), group, file_list, f"{objects.url}/{file_list.key}")


def fetch_list(objects: ObjectReader, file_list: FileList) -> bytes:
    """Return the content of a list, unchecked."""
    try:
        return objects.get(file_list.key)
    except MissingObjectError as error:
        raise DamagedError(f"{objects.url}/{file_list.key} is missing. {_REMEDY}") from error


class Writer(NamedTuple):
    """A process that writes to a store at a URL."""

    id: str
    host: str
    pid: int

    @classmethod
    def this_process(cls) -> "Writer":
        """Return this process, with a new random number."""
        return cls(secrets.token_hex(16), socket.gethostname()[:255], os.getpid())

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True, slots=True)
class RemoteState:
    """A store at a URL as of one manifest."""

    number: int
    sha256: str
    store: str  # random number
    files: FileLists = field(repr=False)
    writer: Writer
    lease_seconds: int = 0  # how long after ``created`` no other process writes; 0 if the writer has ended
    n_changes: int = 0  # since the last complete manifest
    created: datetime | None = None  # by the server's clock; None if it was not read from a bucket
    tag: str = ""  # the server's, of the manifest


def key_of(number: int) -> str:
    """Return the key of the manifest of a number."""
    return f"{FOLDER}/{number:020d}.json"


def read_newest(objects: ObjectStore, known: RemoteState | None = None) -> RemoteState | None:
    """Return the store as of its newest whole manifest; None if it has none."""
    listed = list_numbers(objects, known.number - 1 if known else 0)
    if known is not None and (known.number not in listed or listed[known.number].tag != known.tag):
        known, listed = None, list_numbers(objects)  # another store, or one that went on for longer than a day
    for number in sorted(listed, reverse=True):
        if known is not None and number == known.number:
            return known
        if (document := whole(objects, number)) is not None:
            return _resolved(objects, document, known, listed[number])
    return None


def list_numbers(objects: ObjectStore, after: int = 0) -> dict[int, ObjectInfo]:
    """Return the manifests after a number, whole or torn, by number."""
    found = objects.list(FOLDER, after=key_of(after) if after > 0 else "")
    prefix = len(FOLDER) + 1
    return {int(name): info for info in found if (name := names.MANIFESTS.name(info.key[prefix:]))}


def whole(objects: ObjectReader, number: int) -> dict[str, Any] | None:
    """Return the manifest of a number; None if it was torn, or is gone."""
    try:
        data = objects.get(key_of(number))
        return parse(data, f"{objects.url}/{key_of(number)}", number)
    except (DamagedError, MissingObjectError) as error:
        if isinstance(error, UnsupportedFormatError):
            raise
        return None


def parse(data: bytes, place: str, number: int | None = None) -> dict[str, Any]:
    """Return the document of a manifest, with its files and lists as such."""
    document = atomic.parse_document(data, place, "remote-manifest", _REMEDY)
    try:
        document["files"] = _files_of(document["files"])
        for path in document["removed"]:
            _check_path(path)
        document["lists"] = {group: FileList(**entry) for group, entry in document.get("lists", {}).items()}
        for group in document["lists"]:
            if group_of(f"{group}/x") != group or not (group in _TABLES or names.is_file_key(f"{group}/{_A_PART}")):
                raise documents.InvalidDocument(f"{group[:300]!r} is no folder of a store")
        if number is not None and document["number"] != number:
            raise documents.InvalidDocument("it is the manifest of another number")
    except documents.InvalidDocument as error:
        raise DamagedError(f"{place} is damaged: {error}. {_REMEDY}") from error
    return document


def _state_of(document: Mapping[str, Any], files: FileLists, n_changes: int = 0) -> RemoteState:
    """Return the state of a parsed manifest."""
    return RemoteState(
        document["number"], document[checksum.KEY], document["store"], files, Writer(**document["writer"]),
        document["lease_seconds"], n_changes,
    )  # fmt: skip


def _state_after(base: RemoteState | None, document: Mapping[str, Any], objects: ObjectReader) -> RemoteState:
    """Return the state of a parsed manifest: complete, or a change of a base."""
    if document["complete"] or base is None:
        read = partial(read_list, objects)
        return _state_of(document, FileLists(document["files"], document["lists"], read))
    return _state_of(document, base.files.changed(document["files"], {*document["removed"]}), base.n_changes + 1)


def _resolved(
    objects: ObjectStore, document: dict[str, Any], known: RemoteState | None, info: ObjectInfo
) -> RemoteState:
    """Return the state of a manifest, from those that it depends on, or from a known one."""
    changes = [document]
    while not changes[-1]["complete"]:
        parent = changes[-1]["parent"]
        if known is not None and parent == {"number": known.number, "sha256": known.sha256}:
            break
        found = whole(objects, parent["number"]) if parent else None
        if found is None or found[checksum.KEY] != parent["sha256"]:
            raise DamagedError(
                f"{objects.url}/{key_of(document['number'])} is damaged: a manifest that it is a change of is missing "
                f"or was altered. {_REMEDY}"
            )
        changes.append(found)
    state = _state_after(known, changes.pop(), objects)
    for change in reversed(changes):
        state = _state_after(state, change, objects)
    return replace(state, created=info.modified, tag=info.tag)


def complete_document(
    base: RemoteState | None, number: int, files: Mapping[str, RemoteFile], writer: Writer, lease_seconds: int = 0
) -> dict[str, Any]:
    """Return the document of a manifest that names all files, without its hash."""
    return {
        "format": _FORMAT, "number": number, "store": base.store if base else secrets.token_hex(16),
        "parent": {"number": base.number, "sha256": base.sha256} if base else None,
        "writer": writer._asdict(), "lease_seconds": lease_seconds, "complete": True,
        "files": _entries_of(files), "removed": [],
    }  # fmt: skip


def _document_of(
    base: RemoteState | None, number: int, files: Mapping[str, RemoteFile], writer: Writer, lease_seconds: int
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the document of the manifest that follows a base, without its hash, and the content of its lists by key.

    The last manifest of a writer is complete, so that what opening the store then reads does not grow with it.
    """
    document = complete_document(base, number, files, writer, lease_seconds)
    if len(files) <= _FEW_FILES:
        return document, {}
    if base is not None and lease_seconds and base.n_changes < _MAX_CHANGES:
        changed = {path: file for path, file in files.items() if base.files.get(path) != file}
        removed = sorted(base.files.keys() - files.keys())
        return {**document, "complete": False, "files": _entries_of(changed), "removed": removed}, {}
    named, lists = _split(files, _FEW_OF_GROUP)
    entries = {group: each._asdict() for group, (each, _) in sorted(lists.items())}
    document |= {"format": _FORMAT_WITH_LISTS, "files": _entries_of(named), "lists": entries}
    return document, {each.key: content for each, content in lists.values()}


def commit(
    objects: ObjectStore, base: RemoteState | None, files: Mapping[str, RemoteFile], writer: Writer, lease_seconds: int
) -> RemoteState:
    """Create the manifest that follows a base, and return its state; its objects exist."""
    after = base.number if base else 0
    while True:
        taken = list_numbers(objects, after)
        _check_rivals(objects, taken)
        number = max(taken, default=after) + 1  # those in between were torn
        document, lists = _document_of(base, number, files, writer, lease_seconds)
        known = {each.key for each in base.files.lists.values()} if base else set()
        for key in lists.keys() - known:
            objects.put(key, lists[key])
        data = atomic.checked_bytes(f"{objects.url}/{key_of(number)}", document, "remote-manifest", indent=None)
        if objects.put_new(key_of(number), data):
            break
    later = list_numbers(objects, after)
    # A number may have been free only since a rival's manifests were deleted while this process slept.
    _check_rivals(objects, later.keys() - {number})
    state = _state_after(base, parse(data, key_of(number), number), objects)
    state.files.remember(files)
    info = later.get(number)
    return replace(state, created=info.modified, tag=info.tag) if info else state


def _check_rivals(objects: ObjectStore, numbers: Iterable[int]) -> None:
    """Raise LockedError if one of these manifests is whole: this process was displaced, and committed nothing."""
    for number in sorted(numbers):
        if (found := whole(objects, number)) is not None:
            raise LockedError(
                f"{objects.url} was written meanwhile by {Writer(**found['writer'])}, which took the lease before this "
                "process took or renewed its own. What this process committed before stays. Run the same command again "
                "once the other one has ended."
            )


def read_published(objects: ObjectReader) -> RemoteState | None:
    """Return the store whose files a ``manifest.json`` names; None if there is none."""
    try:
        data = objects.get(PUBLISHED_NAME)
    except MissingObjectError:
        return None
    return parse_published(data, f"{objects.url}/{PUBLISHED_NAME}")


def parse_published(data: bytes, place: str) -> RemoteState:
    """Return the store whose files the content of a ``manifest.json`` names."""
    document = parse(data, place)
    if not document["complete"] or document["lists"]:
        raise StoreError(f"{place} does not name all files of its store. Push the store again.")
    named, lists = _split(document["files"], 0)  # of which those of a group are used only when they are needed
    files = FileLists(named, {group: each for group, (each, _) in lists.items()}, lambda _group, _list: {})
    files.remember(document["files"])
    return _state_of(document, files)


def published_bytes(files: Mapping[str, RemoteFile], before: RemoteState | None) -> bytes:
    """Return the content of the ``manifest.json`` of some files."""
    nobody = Writer(secrets.token_hex(16), "", 0)  # the name of a machine is nobody's business
    document = complete_document(None, before.number + 1 if before else 1, files, nobody)
    document |= {"store": before.store if before else document["store"]}
    return atomic.checked_bytes(PUBLISHED_NAME, document, "remote-manifest", indent=None)
