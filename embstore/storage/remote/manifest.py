"""Read and create the manifests of a store at a URL: the numbered objects that name the objects which make it up.

``manifests/<number>.json`` contains its own hash, and its files: completely, by lists (:mod:`.file_lists`) where there
are many, or as a change of the manifest before. The newest one that is whole is the store. A commit creates a later
number, only if there is none of it. One that was torn on its way is skipped by all. Another writer's whole manifest in
the way means that this writer was displaced.
"""

import os
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from embstore.base import atomic, checksum, documents
from embstore.base.errors import DamagedError, LockedError, MissingObjectError, StoreError, UnsupportedFormatError
from embstore.storage.files import names
from embstore.storage.remote import file_lists
from embstore.storage.remote.file_lists import FileList, FileLists, RemoteFile
from embstore.storage.remote.objects import ObjectInfo, ObjectReader, ObjectStore

FOLDER = "manifests"
_FORMAT, _FORMAT_WITH_LISTS = 1, 2
_MAX_CHANGES = 16
_FEW_FILES, _FEW_OF_GROUP = 64, 16
"""Number of files up to which each manifest is complete and has no lists; and up to which a group is not listed."""


class Writer(NamedTuple):
    """A process that writes to a store at a URL.

    Attributes:
        id: Random number, 32 hexadecimal digits.
        host: Name of its machine.
        pid: Number of the process there.
    """

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
    """A store at a URL as of one manifest.

    Attributes:
        number: Number of the manifest.
        sha256: Hash of the manifest, as in the document.
        store: Random number of the store.
        files: Files by their paths in a store; some may be read when they are needed.
        writer: Process that wrote the manifest.
        lease_seconds: How long after ``created`` no other process writes; 0 if the writer has ended.
        n_changes: Number of manifests since the last complete one.
        created: Time at which the manifest was created, by the server's clock; None if it was not read from a bucket.
        tag: The server's tag of the manifest.
    """

    number: int
    sha256: str
    store: str
    files: FileLists = field(repr=False)
    writer: Writer
    lease_seconds: int = 0
    n_changes: int = 0
    created: datetime | None = None
    tag: str = ""


def key_of(number: int) -> str:
    """Return the key of the manifest of a number."""
    return f"{FOLDER}/{number:020d}.json"


def read_newest(objects: ObjectStore, known: RemoteState | None = None) -> RemoteState | None:
    """Return the store as of its newest whole manifest; None if it has none.

    Args:
        objects: Objects of the store.
        known: A state that was read before; only later manifests are looked for.

    Raises:
        DamagedError: A manifest that the newest one is a change of is missing or was altered.
        RemoteError: The server cannot be reached, or refuses.
    """
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
        data = objects.get(key_of(number), documents.MAX_BYTES["remote-manifest"])
        return parse(data, f"{objects.url}/{key_of(number)}", number)
    except (DamagedError, MissingObjectError) as error:
        if isinstance(error, UnsupportedFormatError):
            raise
        return None


def parse(data: bytes, place: str, number: int | None = None) -> dict[str, Any]:
    """Return the document of a manifest.

    Args:
        data: Content of the object.
        place: URL of the object, for messages.
        number: Number that it must have, if it is known.

    Raises:
        DamagedError: It was torn or altered, or names what cannot be a file of a store.
        UnsupportedFormatError: It has a format that this version does not read.
    """
    try:
        document = documents.parse(data, "remote-manifest")
        if not checksum.has_valid_checksum(data):
            raise documents.InvalidDocument(checksum.ALTERED)
        documents.check(document, "remote-manifest")
        file_lists.check_entries(document["files"])
        for path in document["removed"]:
            file_lists.check_path(path)
        file_lists.check_groups(document.get("lists", {}))
    except documents.UnsupportedFormat as error:
        raise UnsupportedFormatError(f"{place} {error}") from error
    except documents.InvalidDocument as error:
        raise DamagedError(f"{place} is damaged: {error}.") from error
    if number is not None and document["number"] != number:
        raise DamagedError(f"{place} is damaged: it is the manifest of another number.")
    return document


def state_of(document: Mapping[str, Any], files: FileLists, n_changes: int = 0) -> RemoteState:
    """Return the state of a parsed manifest.

    Args:
        document: The manifest.
        files: Files of the store.
        n_changes: Number of manifests since the last complete one.
    """
    return RemoteState(
        document["number"], document[checksum.KEY], document["store"], files, Writer(**document["writer"]),
        document["lease_seconds"], n_changes,
    )  # fmt: skip


def _state_after(base: RemoteState | None, document: Mapping[str, Any], objects: ObjectReader) -> RemoteState:
    """Return the state of a parsed manifest: complete, or a change of a base."""
    own = file_lists.files_of(document["files"])
    if document["complete"] or base is None:
        lists = file_lists.lists_of(document)
        return state_of(document, FileLists(own, lists, lambda group, each: read_list(objects, group, each)))
    return state_of(document, base.files.changed(own, {*document["removed"]}), base.n_changes + 1)


def read_list(objects: ObjectReader, group: str, file_list: FileList) -> dict[str, RemoteFile]:
    """Return the files of a group from its list.

    Raises:
        DamagedError: It was altered or is missing.
        RemoteError: The server cannot be reached, or refuses.
    """
    return file_lists.parse(fetch_list(objects, file_list), group, file_list, f"{objects.url}/{file_list.key}")


def fetch_list(objects: ObjectReader, file_list: FileList) -> bytes:
    """Return the content of a list, unchecked; errors: :func:`read_list`."""
    try:
        return objects.get(file_list.key, file_list.bytes)
    except MissingObjectError as error:
        raise DamagedError(f"{objects.url}/{file_list.key} is missing. {file_lists.REMEDY}") from error


def _resolved(
    objects: ObjectStore, document: dict[str, Any], known: RemoteState | None, info: ObjectInfo
) -> RemoteState:
    """Return the state of a manifest, from those that it depends on, or from a known one."""
    changes = [document]
    base: RemoteState | None = None
    while not changes[-1]["complete"]:
        parent = changes[-1]["parent"]
        if known is not None and parent == {"number": known.number, "sha256": known.sha256}:
            base = known
            break
        found = whole(objects, parent["number"]) if parent else None
        if found is None or found[checksum.KEY] != parent["sha256"]:
            raise DamagedError(
                f"{objects.url}/{key_of(document['number'])} is damaged: a manifest that it is a change of is missing "
                "or was altered. Restore that object from a copy or an older version of it."
            )
        changes.append(found)
    for change in reversed(changes):
        base = _state_after(base, change, objects)
    assert base is not None
    return replace(base, created=info.modified, tag=info.tag)


def complete_document(
    base: RemoteState | None, number: int, files: Mapping[str, RemoteFile], writer: Writer, lease_seconds: int = 0
) -> dict[str, Any]:
    """Return the document of a manifest that names all files, without its hash."""
    return {
        "format": _FORMAT, "number": number, "store": base.store if base else secrets.token_hex(16),
        "parent": {"number": base.number, "sha256": base.sha256} if base else None,
        "writer": writer._asdict(), "lease_seconds": lease_seconds, "complete": True,
        "files": file_lists.entries_of(files), "removed": [],
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
        return {**document, "complete": False, "files": file_lists.entries_of(changed), "removed": removed}, {}
    named, lists = file_lists.split(files, _FEW_OF_GROUP)
    entries = {group: each._asdict() for group, (each, _) in sorted(lists.items())}
    document |= {"format": _FORMAT_WITH_LISTS, "files": file_lists.entries_of(named), "lists": entries}
    return document, {each.key: content for each, content in lists.values()}


def commit(
    objects: ObjectStore, base: RemoteState | None, files: Mapping[str, RemoteFile], writer: Writer, lease_seconds: int
) -> RemoteState:
    """Create the manifest that follows a base, and return its state; its objects exist.

    Raises:
        LockedError: Another process has created it first: this one was displaced, and nothing was committed.
        RemoteError: The server cannot be reached, or refuses.
    """
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
    """Raise LockedError if one of these manifests is whole."""
    for number in sorted(numbers):
        if (found := whole(objects, number)) is not None:
            raise displaced(objects.url, Writer(**found["writer"]))


def displaced(url: str, writer: Writer) -> LockedError:
    """Return the error for a writer in whose place another one has committed."""
    return LockedError(
        f"{url} was written meanwhile by {writer}, which took the lease before this process took or renewed its own. "
        "What this process committed before stays. Run the same command again once the other one has ended."
    )


def no_store(url: str) -> StoreError:
    """Return the error for a URL without a store."""
    return StoreError(
        f"there is no store at {url}. Make one with: embstore build --store {url}. Or check the URL and the endpoint."
    )
