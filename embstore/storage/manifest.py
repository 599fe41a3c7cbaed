"""Read manifests and commit new ones: the newest manifest is the store.

A manifest names every file that makes up the store, with its size and SHA-256, and what is asked of
files without reading them: numbers of items, first and last id, and the facts of indexes. It is
created once and never replaced. A commit writes files, then creates the manifest of the next
number; if a rival has taken the number, the same change is made to the rival's state and tried
again.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from embstore.base import atomic, checksum, documents
from embstore.base.errors import DamagedError, MissingObjectError, StoreError
from embstore.storage import keys
from embstore.storage.keys import Kind
from embstore.storage.objects import Objects, back_off

FORMAT = 4
"""Format of a store."""
GARBAGE_SECONDS = 24 * 3600
"""How long a file is kept after the last manifest that names it was the newest."""

_MASK = (1 << 64) - 1
_REMEDY = "Restore that file from a copy of the store; or build it anew, in another folder."
_SMALLER = "Join shards, with: embstore compact; or give shorter names to columns."

Entry = Mapping[str, Any]
"""What a manifest says of a file: ``bytes`` and ``sha256``, and by kind ``n``, ``first``, ``last``,
``ids`` …
"""
Files = Mapping[str, Entry]
"""Files by key."""


@dataclass(frozen=True, slots=True)
class ItemSet:
    """A set of items by its size and a digest, which tells whether two sets are the same.

    Attributes:
        n: Number of items.
        digest: Sum of their ids modulo 2⁶⁴. Ids are hashes, so that different sets have different
            sums.
    """

    n: int
    digest: int

    def __add__(self, other: "ItemSet") -> "ItemSet":
        return ItemSet(self.n + other.n, (self.digest + other.digest) & _MASK)

    @classmethod
    def of_entry(cls, entry: Entry) -> "ItemSet":
        """Return the items that a manifest says a file has, or covers."""
        return cls(entry["n"], int(entry["ids"], 16))

    @classmethod
    def of_entries(cls, entries: Iterable[Entry]) -> "ItemSet":
        """Return the items of several files together."""
        return sum(map(cls.of_entry, entries), NO_ITEMS)

    @property
    def facts(self) -> dict[str, Any]:
        """Members of an entry."""
        return {"n": self.n, "ids": f"{self.digest:016x}"}


NO_ITEMS = ItemSet(0, 0)


@dataclass(frozen=True)
class Manifest:
    """The files of a store at one moment.

    Attributes:
        number: Number of the commit, from 1; 0 for an empty store before the first one.
        files: Files by key.
        removed: Time, in seconds since 1970, at which each file was dropped that may not be deleted
            yet, by key.
        tag: Tag of the object, which changes if another store was begun in its place.
        n_bytes: Size of the document.
    """

    number: int
    files: Files
    removed: Mapping[str, int] = field(default_factory=dict)
    tag: str = ""
    n_bytes: int = 0

    @cached_property
    def parsed(self) -> Mapping[str, keys.Key | None]:
        """Parts of each key, by key, ascending; None for one that is none of a store."""
        return {key: keys.parse(key) for key in sorted(self.files)}

    @cached_property
    def _groups(self) -> Mapping[tuple[str, str, int | None], tuple[str, ...]]:
        """Keys by folder, name and layer, ascending."""
        groups: dict[tuple[str, str, int | None], list[str]] = {}
        for text, key in self.parsed.items():
            if key is not None:
                groups.setdefault((key.kind.folder, key.name, key.layer), []).append(text)
        return {group: tuple(members) for group, members in groups.items()}

    def keys_of(self, kind: Kind, name: str = "", layer: int | None = None) -> tuple[str, ...]:
        """Return the keys of a kind, ascending: of a space or dataset, and of a layer of it."""
        return self._groups.get((kind.folder, name, layer), ())

    def keys_with(
        self, items: ItemSet, kind: Kind, space: str, layer: int | None = None
    ) -> list[str]:
        """Return the keys of the sums of a space, or of the indexes of a layer of it, that are of
        some items.
        """
        named = self.keys_of(kind, space, layer)
        return [key for key in named if ItemSet.of_entry(self.files[key]) == items]

    def names_of(self, kind: Kind) -> list[str]:
        """Return the names of the spaces or datasets that have files of a kind, ascending."""
        return sorted({name for folder, name, _ in self._groups if folder == kind.folder})

    def layers_of(self, kind: Kind, space: str) -> list[int]:
        """Return the numbers of the layers of a space that have files of a kind, ascending."""
        return sorted(
            layer
            for folder, name, layer in self._groups
            if folder == kind.folder and name == space and layer is not None
        )

    def keys_of_space(self, space: str) -> list[str]:
        """Return the keys of all files of a space."""
        folders = {kind.folder for kind in (keys.CARDS, keys.VECTORS, keys.SUMS, keys.INDEXES)}
        return [
            key
            for (folder, name, _), of in self._groups.items()
            if name == space and folder in folders
            for key in of
        ]

    def items_of(self, space: str, layer: int) -> ItemSet:
        """Return the items that have vectors in a layer of a space."""
        return ItemSet.of_entries(
            self.files[key] for key in self.keys_of(keys.VECTORS, space, layer)
        )


EMPTY = Manifest(0, {})
"""What an empty folder or bucket has."""


def read(objects: Objects, known: Manifest | None = None) -> Manifest | None:
    """Return the newest manifest of a store; None if there is none, so that there is no store.

    Raises:
        DamagedError: It was cut short or altered: an older, smaller state is never taken for the
            store.
    """
    while True:
        info = objects.newest_manifest()
        if info is None:
            return None
        is_known = known is not None and info.key in (
            keys.manifest_key(known.number),
            keys.PUBLISHED,
        )
        if known is not None and is_known and known.tag == info.tag:
            return known
        try:
            data = objects.get(info.key, documents.MAX_BYTES["manifest"])
        except (FileNotFoundError, MissingObjectError):
            if objects.newest_manifest() == info:
                raise
            continue  # another process has committed since, and deleted it
        place = f"{objects.url}/{info.key}"
        manifest = parse(data, place, info.tag)
        if info.key not in (keys.manifest_key(manifest.number), keys.PUBLISHED):
            raise DamagedError(
                f"{place} is damaged: it is the manifest of another number, {manifest.number}."
                f" {_REMEDY}"
            )
        return manifest


def parse(data: bytes, place: str, tag: str = "") -> Manifest:
    """Return the manifest in a document; its hash is checked before anything else."""
    checksum.check(place, data, _REMEDY)
    document = documents.read_bytes(data, place, "manifest", _REMEDY, is_sealed=False)
    manifest = Manifest(document["number"], document["files"], document["removed"], tag, len(data))
    for key, parts in manifest.parsed.items():
        if parts is None or parts.kind.is_derived or parts.kind is keys.MANIFESTS:
            raise DamagedError(
                f"{place} is damaged: {key[:300]!r} is no file of a store. {_REMEDY}"
            )
    return manifest


def to_bytes(manifest: Manifest) -> bytes:
    """Return the document of a manifest; raise StoreError if it could not be read again."""
    document = {
        "format": FORMAT,
        "number": manifest.number,
        "created": int(time.time()),
        "files": dict(sorted(manifest.files.items())),
        "removed": dict(sorted(manifest.removed.items())),
    }
    return atomic.checked_bytes(keys.manifest_key(manifest.number), document, "manifest", _SMALLER)


def size_notes(manifest: Manifest) -> list[str]:
    """Return a note if a manifest is near its largest size."""
    most = documents.MAX_BYTES["manifest"]
    if manifest.n_bytes < 0.75 * most:
        return []
    return [
        f"the manifest names {len(manifest.files):,} files and has {manifest.n_bytes / most:.0%} of"
        " its largest size. Join shards, with: embstore compact"
    ]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the files that make up a store: the new ones, which exist, and the keys of those
    it drops.
    """

    added: Files = field(default_factory=dict)
    removed: Iterable[str] = ()


Edit = Callable[[Manifest], Change]
"""Function that returns the change to make to the newest state; called again if a rival has
committed meanwhile.
"""


_INDEXES = f"{keys.INDEXES.folder}/"


def commit(objects: Objects, edit: Edit, known: Manifest | None = None) -> Manifest:
    """Commit a change, and return the new manifest; a change of nothing writes nothing.

    Indexes that it replaces are deleted; a reader that misses one looks at the newest manifest.
    """
    n_lost = 0
    while True:
        base = read(objects, known) or EMPTY
        new = apply(base, edit(base))
        if new is base:
            return base
        key = keys.manifest_key(new.number)
        if objects.put_new(key, to_bytes(new)):
            newest = objects.newest_manifest()
            if newest is not None and newest.key == key:
                replaced = base.files.keys() - new.files.keys()
                # The commit is done, and what stays is deleted with what no manifest names.
                with suppress(OSError, StoreError):
                    objects.delete(name for name in replaced if name.startswith(_INDEXES))
                return replace(new, tag=newest.tag, n_bytes=newest.size)
            if _exists(objects, base):
                return new
        n_lost += 1
        back_off(n_lost)


def _exists(objects: Objects, base: Manifest) -> bool:
    """Return whether the manifest that another one follows still exists.

    The number of a writer that slept for a day may be free again, since the manifests of its rivals
    were deleted. They are deleted in order, so that the one before it is gone then too, and its
    commit is made anew.
    """
    try:
        objects.get(keys.manifest_key(base.number))
    except (FileNotFoundError, MissingObjectError):
        return not base.number
    return True


def apply(base: Manifest, change: Change) -> Manifest:
    """Return the manifest that follows another one; the same one if nothing changes."""
    dropped = {key for key in change.removed if key in base.files and key not in change.added}
    files = {key: entry for key, entry in base.files.items() if key not in dropped} | dict(
        change.added
    )
    if files == base.files and base.number:
        return base
    now = int(time.time())
    removed = {
        key: since
        for key, since in base.removed.items()
        if since > now - GARBAGE_SECONDS and key not in files
    }
    # Sums are replaced by each commit of vectors, indexes after it; a reader that misses some looks
    # at the newest manifest.
    noted = {key for key in dropped if not key.startswith((f"{keys.SUMS.folder}/", _INDEXES))}
    return Manifest(base.number + 1, files, removed | dict.fromkeys(noted, now))


def is_garbage(manifest: Manifest, key: str, modified: float) -> bool:
    """Return whether a file that was written at a time may be deleted: no manifest of the last day
    names it.

    A file that is not named yet may be of a commit in the making, so that its own age counts too.
    """
    oldest = time.time() - GARBAGE_SECONDS
    return key not in manifest.files and manifest.removed.get(key, 0) < oldest and modified < oldest


def no_store(place: str, *, is_url: bool = False) -> StoreError:
    """Return the error for a place where there is no store."""
    check = (
        "Or check the URL and the endpoint."
        if is_url
        else "Or name the folder of another with `store`, or by EMBSTORE_STORE."
    )
    return StoreError(
        f"there is no store at {place}. Make one with: embstore build words --model"
        f" minilm --store {place}. {check}"
    )
