"""The files that a manifest of a store at a URL names: itself, or by lists that are read when they are needed.

What opening a store reads may not grow with its items. So a complete manifest of many files names cards, merged sums
and indexes itself, and of the shards of a space, or of the tables of a folder, only a list: an object whose key is the
hash of its content.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from embstore.base import atomic, documents
from embstore.base.errors import DamagedError
from embstore.storage.files import names

FOLDER = "lists"
REMEDY = "Restore that object from a copy or an older version of it."
_TABLES = ("items", "columns", "skipped")
_A_PART = f"part-{'0' * 16}.parquet"
_KEY = r"(?!.*(?:^|/)\.+(?:/|$))[A-Za-z0-9._=-]+(?:/[A-Za-z0-9._=-]+)*"


class RemoteFile(NamedTuple):
    """A file of a store at a URL.

    Attributes:
        key: Key of its object below the URL.
        size: Size in bytes.
        sha256: SHA-256 in hexadecimal.
    """

    key: str
    size: int
    sha256: str


class FileList(NamedTuple):
    """A list of files.

    Attributes:
        sha256: SHA-256 of its object in hexadecimal, which is its key.
        bytes: Size of its object.
        names_sha256: Hash of the names of the group's shards or tables, ascending; see :func:`.names.hash_of`.
    """

    sha256: str
    bytes: int
    names_sha256: str

    @property
    def key(self) -> str:
        """Key of its object below the URL."""
        return f"{FOLDER}/{self.sha256}.json"


def group_of(path: str) -> str | None:
    """Return the group of files that a file is listed in: a folder of tables, or that of the shards of a space.

    A shard and its summary are of one group. None is for files that manifests name themselves.
    """
    kind, _, rest = path.partition("/")
    if kind in _TABLES:
        return kind
    return f"embeddings/{rest.partition('/')[0]}" if kind in ("embeddings", "summaries") else None


class FileLists(Mapping[str, RemoteFile]):
    """Files by path, of which those of some groups are read when they are needed.

    Args:
        named: Files that the manifest names itself.
        lists: Lists by group.
        read: Function that returns the files of a group, given its name and its list.

    Attributes:
        named: Files that the manifest names itself.
        lists: Lists by group.
    """

    def __init__(
        self,
        named: Mapping[str, RemoteFile],
        lists: Mapping[str, FileList],
        read: Callable[[str, FileList], dict[str, RemoteFile]],
    ) -> None:
        self.named, self.lists, self._read = named, lists, read
        self._files: dict[str, dict[str, RemoteFile]] = {}

    def read_by(self, read: Callable[[str, FileList], dict[str, RemoteFile]]) -> "FileLists":
        """Return the same files, whose lists are read by another function unless they are known."""
        found = FileLists(self.named, self.lists, read)
        found._files = self._files
        return found

    def of_group(self, group: str) -> Mapping[str, RemoteFile]:
        """Return the files of a group by path.

        Raises:
            DamagedError: Its list was altered or is missing.
            RemoteError: The server cannot be reached.
        """
        if group not in self.lists:
            return self._named_of_groups.get(group, {})
        if group not in self._files:
            self._files[group] = self._read(group, self.lists[group])
        return self._files[group]

    def remember(self, files: Mapping[str, RemoteFile]) -> None:
        """Note all files, so that no list needs to be read."""
        self._files = {group: {} for group in self.lists}
        for path, file in files.items():
            if (group := group_of(path)) in self.lists and group is not None:
                self._files[group][path] = file

    def changed(self, added: Mapping[str, RemoteFile], removed: set[str]) -> "FileLists":
        """Return the files after a change; the groups that it changes are named from then on."""
        groups = {group for path in (*added, *removed) if (group := group_of(path)) in self.lists and group is not None}
        named = dict(self.named)
        for group in groups:
            named |= self.of_group(group)
        for path in removed:
            named.pop(path, None)
        lists = {group: each for group, each in self.lists.items() if group not in groups}
        return FileLists({**named, **added}, lists, self._read)

    @cached_property
    def _named_of_groups(self) -> dict[str, dict[str, RemoteFile]]:
        found: dict[str, dict[str, RemoteFile]] = {}
        for path, file in self.named.items():
            if (group := group_of(path)) is not None:
                found.setdefault(group, {})[path] = file
        return found

    def __getitem__(self, path: str) -> RemoteFile:
        group = group_of(path)
        return self.of_group(group)[path] if group in self.lists and group is not None else self.named[path]

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


def in_groups(files: Mapping[str, RemoteFile]) -> FileLists:
    """Return files of which those of a group are used only when they are needed, as if lists named them."""
    named, lists = split(files, 0)
    found = FileLists(named, {group: each for group, (each, _) in lists.items()}, lambda _group, _list: {})
    found.remember(files)
    return found


def split(
    files: Mapping[str, RemoteFile], longest: int
) -> tuple[dict[str, RemoteFile], dict[str, tuple[FileList, bytes]]]:
    """Return the files that a manifest names itself, and by group the list of the others with its content.

    Args:
        files: All files of a store.
        longest: Number of files up to which a group is named by the manifest.
    """
    of_group: dict[str | None, dict[str, RemoteFile]] = {}
    for path, file in files.items():
        of_group.setdefault(group_of(path), {})[path] = file
    named: dict[str, RemoteFile] = {}
    lists = {}
    for group, found in of_group.items():
        if group is None or len(found) <= longest:
            named |= found
        else:
            lists[group] = listed(group, found)
    return named, lists


def listed(group: str, files: Mapping[str, RemoteFile]) -> tuple[FileList, bytes]:
    """Return the list of the files of a group, with the content of its object."""
    data = atomic.checked_bytes(
        f"the list of {group}", {"format": 1, "files": entries_of(files)}, "remote-list", indent=None
    )
    own = sorted(PurePosixPath(path).stem for path in files if path.startswith(f"{group}/"))
    return FileList(hashlib.sha256(data).hexdigest(), len(data), names.hash_of(own)), data


def entries_of(files: Mapping[str, RemoteFile]) -> dict[str, dict[str, Any]]:
    """Return files as a document has them, by ascending path."""
    return {
        path: {**({} if file.key == path else {"key": file.key}), "bytes": file.size, "sha256": file.sha256}
        for path, file in sorted(files.items())
    }


def files_of(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, RemoteFile]:
    """Return the files that a document has."""
    return {
        path: RemoteFile(entry.get("key", path), entry["bytes"], entry["sha256"]) for path, entry in entries.items()
    }


def check_entries(entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise InvalidDocument if a path of a document cannot be one of a store's file, or a key one of its object."""
    for path, entry in entries.items():
        check_path(path)
        if not re.fullmatch(_KEY, entry.get("key", "x")):
            raise documents.InvalidDocument(f"{entry['key'][:300]!r} is no key of a store")


def check_groups(lists: Iterable[str]) -> None:
    """Raise InvalidDocument if a name in a document cannot be one of a group."""
    for group in lists:
        if group_of(f"{group}/x") != group or (group not in _TABLES and not names.is_file_key(f"{group}/{_A_PART}")):
            raise documents.InvalidDocument(f"{group[:300]!r} is no folder of a store")


def check_path(path: str) -> None:
    """Raise InvalidDocument if a path cannot be one of a store's file."""
    if not (names.is_file_key(path) or names.is_derived_key(path)):
        raise documents.InvalidDocument(f"{path[:300]!r} is no file of a store")


def lists_of(document: Mapping[str, Any]) -> dict[str, FileList]:
    """Return the lists that the document of a manifest has, by group."""
    return {group: FileList(**entry) for group, entry in document.get("lists", {}).items()}


def parse(data: bytes, group: str, file_list: FileList, place: str) -> dict[str, RemoteFile]:
    """Return the files of a list from the content of its object.

    Args:
        data: Content of the object.
        group: Group of the files.
        file_list: The list, as a manifest names it.
        place: URL of the object, for messages.

    Raises:
        DamagedError: It was altered, or names what cannot be a file of the group.
    """
    try:
        if hashlib.sha256(data).hexdigest() != file_list.sha256:
            raise documents.InvalidDocument("its content does not have the hash in its name")
        document = documents.parse(data, "remote-list")
        documents.check(document, "remote-list")
        check_entries(document["files"])
        if any(group_of(path) != group for path in document["files"]):
            raise documents.InvalidDocument(f"it is not a list of {group}")
    except documents.InvalidDocument as error:
        raise DamagedError(f"{place} is damaged: {error}. {REMEDY}") from error
    return files_of(document["files"])
