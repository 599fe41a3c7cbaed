"""Check names against their grammar before they become paths in a store.

Files with other names are not embstore's: they are never read, written or removed, and verify lists them.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError, StoreError
from embstore.base.space import SPACE_NAME
from embstore.storage.files import names


class Names(NamedTuple):
    """Grammar of one type of names in a folder.

    Attributes:
        grammar: Regular expression of the name.
        prefix: Text before the name on disk.
        suffix: Text after the name on disk.
        of_folders: Whether the names are of folders rather than files.
    """

    grammar: str
    prefix: str = ""
    suffix: str = ""
    of_folders: bool = False

    def path(self, folder: Path, name: str) -> Path:
        """Return the path of a name in a folder."""
        if not re.fullmatch(self.grammar, name):
            raise StoreError(
                f"{name!r} cannot be a name in {folder}, where names look like {self.grammar} (a regular expression). "
                "Give another name."
            )
        return folder / f"{self.prefix}{name}{self.suffix}"

    def name(self, entry: str) -> str | None:
        """Return the name in a folder's entry, or None if the entry is not of this type."""
        if not (entry.startswith(self.prefix) and entry.endswith(self.suffix)):
            return None
        name = entry[len(self.prefix) : len(entry) - len(self.suffix)]
        return name if re.fullmatch(self.grammar, name) else None

    def listed(self, folder: Path) -> dict[str, Path]:
        """Return the paths in a folder by name, for the names of this type; empty if the folder is missing."""
        found = {}
        for entry in disk.entries(folder):
            if (name := self.name(entry.name)) is not None:
                if problem := disk.irregular(entry, folder=self.of_folders):
                    raise DamagedError(f"{entry.path} is damaged: {problem}.")
                found[name] = folder / entry.name
        return found


MANIFESTS = Names(r"[0-9]{20}", suffix=".json")
PARTS = Names(r"part-[0-9a-f]{16}", suffix=".parquet")
LISTS = Names(r"[0-9a-f]{64}", suffix=".json")
CARDS = Names(SPACE_NAME, suffix=".json")
MERGED = Names(SPACE_NAME, suffix=".parquet")
SPACES = Names(SPACE_NAME, prefix="space=", of_folders=True)
DATASETS = Names(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", suffix=".parquet")
INDEXES = Names(r"layer=[0-9]{2,5}", suffix=".faiss")
INDEX_CARDS = Names(r"layer=[0-9]{2,5}", suffix=".json")
ANSWERS = Names(r"[0-9a-f]{32}", suffix=".json")
MAPS = Names(r"layer=[0-9]{2,5}-(pca|tsne)-[0-9a-f]{16}", suffix=".parquet")
SHARD_LOCKS = Names(r"[0-9]{1,9}-of-[0-9]{1,9}", prefix=".lock-shard-")

_IN_FOLDERS = {"items": PARTS, "columns": PARTS, "skipped": PARTS, "spaces": CARDS, "datasets": DATASETS}


def hash_of(names: Iterable[str]) -> str:
    """Return the SHA-256 of some names in the given order, in hexadecimal: that of the names joined by commas."""
    return hashlib.sha256(",".join(names).encode()).hexdigest()


def is_file_key(key: str) -> bool:
    """Return whether a text is the path, below a store's folder, of a file that a manifest may name."""
    folder, _, entry = key.rpartition("/")
    kind = _IN_FOLDERS.get(folder)
    if kind is None:
        if not folder.startswith("embeddings/") or SPACES.name(folder.removeprefix("embeddings/")) is None:
            return False
        kind = PARTS
    return kind.name(entry) is not None


_DERIVED = {"summaries": (PARTS,), "indexes": (INDEXES, INDEX_CARDS), "maps": (MAPS,)}


def is_derived_key(key: str) -> bool:
    """Return whether a text is the path, below a store's folder, of a summary, an index, its card or a map."""
    folder, _, entry = key.rpartition("/")
    if folder == "merged":
        return MERGED.name(entry) is not None
    kind, _, space = folder.partition("/")
    return SPACES.name(space) is not None and any(names.name(entry) for names in _DERIVED.get(kind, ()))


BY_SPACE = ("embeddings", "summaries", "indexes", "maps")
"""Folders that contain a folder per space."""

DAMAGED = "damaged"
"""Folder into which a repair moves damaged files."""

_ANSWERS = "answers"
_ROOT_FILES = {"store.json", ".lock", ".lock-holder.json", ".lock-texts", ".lock-commit"}

# Kinds of names in each folder; for BY_SPACE, in the folder of each space.
_ENTRIES = {
    "manifests": (names.MANIFESTS,),
    "items": (names.PARTS,),
    "columns": (names.PARTS,),
    "skipped": (names.PARTS,),
    "datasets": (names.DATASETS,),
    "spaces": (names.CARDS,),
    "merged": (names.MERGED,),
    _ANSWERS: (names.ANSWERS,),
    "embeddings": (names.PARTS,),
    "summaries": (names.PARTS,),
    "indexes": (names.INDEXES, names.INDEX_CARDS),
    "maps": (names.MAPS,),
}
_FOLDERS = {*_ENTRIES, DAMAGED}


@dataclass(frozen=True, slots=True)
class Contents:
    """Entries of a store's folders."""

    files: list[Path] = field(default_factory=list)
    temporaries: list[Path] = field(default_factory=list)
    irregular: list[tuple[Path, str]] = field(default_factory=list)
    foreign: list[Path] = field(default_factory=list)
    beside: list[Path] = field(default_factory=list)


def _entries(entry: disk.Entry, contents: Contents) -> list[disk.Entry]:
    """Return the entries of a folder of the store; empty, with the problem recorded, if it is not a regular folder."""
    if problem := disk.irregular(entry, folder=True):
        contents.irregular.append((Path(entry.path), problem))
        return []
    return disk.entries(Path(entry.path))


def _add(entry: disk.Entry, kinds: Iterable[names.Names], contents: Contents) -> None:
    """Classify an entry of a folder whose files have names of the given kinds."""
    if atomic.is_temporary(entry.name):
        contents.temporaries.append(Path(entry.path))
    elif any(kind.name(entry.name) is not None for kind in kinds):
        _add_file(entry, contents)
    elif not entry.name.startswith("."):  # file managers and network file systems leave hidden files
        contents.foreign.append(Path(entry.path))


def _add_file(entry: disk.Entry, contents: Contents) -> None:
    if problem := disk.irregular(entry, folder=False):
        contents.irregular.append((Path(entry.path), problem))
    else:
        contents.files.append(Path(entry.path))


def _add_damaged(entry: disk.Entry, contents: Contents) -> None:
    """Record temporary files and symbolic links in the folder ``damaged``, into which a repair moves files."""
    for top in _entries(entry, contents):
        below = disk.entries_below(Path(top.path)) if top.is_dir(follow_symlinks=False) else ()
        for inside in (top, *below):
            if inside.is_dir(follow_symlinks=False):
                continue
            if problem := disk.irregular(inside, folder=False):
                contents.irregular.append((Path(inside.path), problem))
            elif atomic.is_temporary(inside.name):  # of a repair that was killed
                contents.temporaries.append(Path(inside.path))


def check_folders(root: Path) -> None:
    """Check that no folder of a store is a symbolic link or a file."""
    for entry in disk.entries(root):
        is_harmless = entry.name == _ANSWERS and not entry.is_symlink()
        if entry.name in _FOLDERS and not is_harmless and (problem := disk.irregular(entry, folder=True)):
            raise DamagedError(f"{entry.path} is damaged: {problem}.")
    for kind in BY_SPACE:
        names.SPACES.listed(root / kind)


def list_contents(root: Path) -> Contents:
    """List and classify all entries of a store's folders, without following links or opening files."""
    contents = Contents()
    for entry in disk.entries(root):
        kinds = _ENTRIES.get(entry.name, ())
        if entry.name == DAMAGED:
            _add_damaged(entry, contents)
        elif entry.name in BY_SPACE:
            for inside in _entries(entry, contents):
                if names.SPACES.name(inside.name) is None:
                    _add(inside, (), contents)
                    continue
                for file in _entries(inside, contents):
                    _add(file, kinds, contents)
        elif kinds:
            for file in _entries(entry, contents):
                _add(file, kinds, contents)
        elif entry.name in _ROOT_FILES or names.SHARD_LOCKS.name(entry.name.removesuffix("-holder.json")):
            _add_file(entry, contents)
        elif atomic.is_temporary(entry.name):
            contents.temporaries.append(Path(entry.path))
        else:
            contents.beside.append(Path(entry.path))
    return contents
