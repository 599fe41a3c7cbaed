"""List the entries of a store's folders, and classify them by name and type."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError
from embstore.storage.files import names

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
    """Entries of a store's folders.

    Attributes:
        files: Regular files with valid names.
        temporaries: Temporary files and folders.
        irregular: Entries with valid names that are symbolic links or of the wrong type, with the reason.
        foreign: Entries with other names, in folders of the store.
        beside: Entries with other names, in the root folder.
    """

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
    """Check that no folder of a store is a symbolic link or a file.

    Raises:
        DamagedError: One is. A file in place of the folder of answers is ignored.
    """
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
