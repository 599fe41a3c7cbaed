"""Read the manifests of a store: the numbered documents that name the files which make it up.

``manifests/<number>.json`` names the cards, shards, texts, skipped texts and datasets, completely or as a change of
the manifest before it, whose hash it contains. A manifest is never replaced. The newest one is the store; what it does
not name does not count. Summaries belong to the shard of the same name. What is derived (indexes, merged summaries,
maps, answers) is not named: it contains its hash and the names of the shards that it was computed from, and may be
deleted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from embstore.base import atomic, checksum, disk, supply
from embstore.base.errors import DamagedError, MissingFileError
from embstore.storage.files import names
from embstore.storage.files.card import Card, read_card
from embstore.storage.files.paths import Shard, StorePaths

MANIFEST_FORMAT = 1
REMEDY = "Run: ⦃embstore repair⦄"

Files = Mapping[str, Mapping[str, Any]]
"""Files of a store: path below its folder, with slashes → properties; ``bytes`` of immutable files."""


class PartFiles(NamedTuple):
    """The part files of a folder that a manifest names, sorted by name."""

    files: tuple[Path, ...]
    missing: tuple[Path, ...]


class Snapshot:
    """The files of a store at one moment, as its manifest of some number names them; 0 if none can be read.

    ``n_changes`` manifests were read after the last complete one. The manifest ``replaced`` old part files by new ones.
    """

    def __init__(
        self,
        number: int,
        sha256: str,
        files: Files,
        n_changes: int = 0,
        replaced: Mapping[str, Sequence[str]] = MappingProxyType({}),
        stamp: disk.Stamp | None = None,
    ) -> None:
        self.number, self.sha256, self._files, self.n_changes = number, sha256, files, n_changes
        self.replaced, self.stamp = replaced, stamp

    @property
    def files(self) -> Files:
        """Files that make up the store."""
        return self._files

    @cached_property
    def _by_folder(self) -> Mapping[str, Sequence[str]]:
        """Names of the files in each folder, ascending."""
        return by_folder(self.files)

    def has_all_of(self, other: "Snapshot") -> bool:
        """Return whether no file of another snapshot is missing in this one."""
        return self.files.keys() >= other.files.keys()

    def names_hash(self, paths: StorePaths, folder: Path) -> str:
        """Return the hash of the names of a folder's part files; see :func:`.names.hash_of`."""
        return names.hash_of(entry.removesuffix(".parquet") for entry in self._by_folder.get(paths.key(folder), ()))

    @property
    def spaces(self) -> list[str]:
        """Names of the spaces that have a card, ascending."""
        return sorted(name for entry in self._by_folder.get("spaces", ()) if (name := names.CARDS.name(entry)))

    @property
    def spaces_with_shards(self) -> list[str]:
        """Names of the spaces that have shards, with or without a card, ascending."""
        folders = (folder.partition("/") for folder in self._by_folder)
        return sorted(name for kind, _, entry in folders if kind == "embeddings" and (name := names.SPACES.name(entry)))

    def parts(self, paths: StorePaths, folder: Path) -> PartFiles:
        """Return the part files of a folder."""
        named = [entry.removesuffix(".parquet") for entry in self._by_folder.get(paths.key(folder), ())]
        if not named:
            return PartFiles((), ())
        found = names.PARTS.listed(folder)
        missing = tuple(names.PARTS.path(folder, name) for name in named if name not in found)
        return PartFiles(tuple(found[name] for name in named if name in found), missing)

    def shards(self, paths: StorePaths, space: str) -> tuple[Shard, ...]:
        """Return the existing shards of a space, by name."""
        return tuple(map(Shard, self.parts(paths, paths.embeddings(space)).files))

    def missing(self, paths: StorePaths) -> Iterator[Path]:
        """Yield the files that do not exist."""
        for folder, entries in self._by_folder.items():
            files = [paths.file(f"{folder}/{entry}") for entry in entries]
            if folder in (names.CARDS.folder, names.DATASETS.folder):
                yield from (path for path in files if not disk.exists(path))
            else:
                yield from self.parts(paths, files[0].parent).missing

    def is_named(self, key: str) -> bool:
        """Return whether a file makes up the store, or is the summary of a shard that does."""
        if key.startswith("summaries/"):
            key = "embeddings/" + key.removeprefix("summaries/")
        return key in self.files


def by_folder(files: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of files by folder, ascending."""
    found: dict[str, list[str]] = {}
    for path in sorted(files):
        folder, _, name = path.rpartition("/")
        found.setdefault(folder, []).append(name)
    return found


def read_snapshot(paths: StorePaths) -> Snapshot:
    """Return the files of a store as of now."""
    supplier = supply.supplier_of(paths.root)
    supplied: Snapshot | None = None if supplier is None else supplier.snapshot()
    return read_newest(paths) if supplied is None else supplied


def committed_shards(paths: StorePaths, space: str) -> tuple[Shard, ...]:
    """Return the committed shards of a space that exist, by name."""
    return read_snapshot(paths).shards(paths, space)


def read_cards(paths: StorePaths) -> dict[str, Card]:
    """Return the cards of all spaces, sorted by name."""
    return {space: read_named_card(paths, space) for space in read_snapshot(paths).spaces}


def read_named_card(paths: StorePaths, space: str) -> Card:
    """Return the card of a space that a snapshot names."""
    path = paths.card(space)
    try:
        return read_card(path)
    except MissingFileError as error:
        raise DamagedError(f"{path} is missing. {card_remedy(path)}") from error


def card_remedy(path: Path) -> str:
    """Return the remedy for a card that is missing or was altered, as sentences."""
    return f"Restore it from a copy; or give the space up and build it anew: ⦃embstore remove --space {path.stem}⦄"


def list_parts(paths: StorePaths, folder: Path) -> PartFiles:
    """Return the committed part files of a folder."""
    return read_snapshot(paths).parts(paths, folder)


def is_outdated(paths: StorePaths, snapshot: Snapshot) -> bool:
    """Return whether files of a snapshot do not make up the store any more, so that they may be gone."""
    newest = read_snapshot(paths)
    return newest is not snapshot and not newest.has_all_of(snapshot)


_newest: dict[Path, Snapshot] = {}
"""The last snapshot of each store: a commit reads only the manifests after it."""


def read_newest(paths: StorePaths) -> Snapshot:
    """Return the snapshot of the newest manifest, whatever the marker says."""
    while True:
        numbers = paths.manifest_numbers()
        if not numbers:
            raise DamagedError(f"{paths.manifests} is damaged: it has no manifest. {REMEDY}")
        try:
            return _read_number(paths, numbers[-1])
        except (MissingFileError, DamagedError) as error:
            # Else others have committed meanwhile, and deleted or reused the numbers of manifests before theirs.
            if paths.manifest_numbers() == numbers:
                if isinstance(error, MissingFileError):
                    raise DamagedError(f"{error.path} is missing. {REMEDY}") from error
                raise


def _read_number(paths: StorePaths, number: int) -> Snapshot:
    """Return the snapshot of a manifest, from those that it depends on, or from the last one that was read."""
    path = paths.manifest(number)
    stamp = disk.stamp_of(path)
    before = _newest.get(paths.root)
    if before is not None and stamp is not None and before.stamp == stamp:
        return before
    newest = read_manifest(path)
    changes = [newest]
    start: Snapshot | None = None
    while not changes[-1]["complete"]:
        parent = changes[-1]["parent"]
        if before is not None and parent == {"number": before.number, "sha256": before.sha256}:
            start = before
            break
        changes.append(read_manifest(place := paths.manifest(parent["number"])))
        if changes[-1][checksum.KEY] != parent["sha256"]:
            child = paths.manifest(changes[-2]["number"]).name
            raise DamagedError(f"{place} is damaged: it is not the manifest that {child} is a change of. {REMEDY}")
    files: dict[str, Mapping[str, Any]] = dict(start.files) if start else {}
    for change in reversed(changes):
        for key in change["removed"]:
            files.pop(key, None)
        files.update(change["added"])
    n_changes = len(changes) + start.n_changes if start else len(changes) - 1
    snapshot = Snapshot(number, newest[checksum.KEY], files, n_changes, newest["replaced"], stamp)
    _newest[paths.root] = snapshot
    return snapshot


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest by itself."""
    document = atomic.read_document(path, "manifest", REMEDY)
    parent = document["parent"]
    if f"{document['number']:020d}" != path.stem or (parent and parent["number"] >= document["number"]):
        raise DamagedError(f"{path} is damaged: it is not the manifest of this number. {REMEDY}")
    if not document["complete"] and parent is None:
        raise DamagedError(f"{path} is damaged: it is a change of no other. {REMEDY}")
    replaced = document["replaced"]
    for key in (*document["added"], *document["removed"], *replaced, *chain.from_iterable(replaced.values())):
        if not names.is_file_key(key):
            raise DamagedError(f"{path} is damaged: {key[:300]!r} is no file of a store. {REMEDY}")
    return document
