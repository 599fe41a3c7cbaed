"""List the entries of a store's folders, and classify them by name and type."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from embstore import atomic, disk
from embstore.errors import DamagedError
from embstore.storage.files import names

BY_SPACE = ("embeddings", "summaries", "indexes")
"""The folders with a folder for each space."""

DAMAGED = "damaged"
"""The folder of what a repair took out."""

_ANSWERS = "answers"
_ROOT_FILES = {"store.json", ".lock", ".lock-holder.json", ".lock-texts"}

# What may be in each folder; in those of BY_SPACE, in the folder of each space.
_ENTRIES = {
    "items": (names.PARTS, names.HIDDEN),
    "skipped": (names.PARTS, names.HIDDEN),
    "datasets": (names.DATASETS,),
    "spaces": (names.CARDS, names.REMOVALS),
    "merged": (names.MERGED,),
    _ANSWERS: (names.ANSWERS,),
    "embeddings": (names.PARTS, names.HIDDEN),
    "summaries": (names.PARTS,),
    "indexes": (names.INDEXES, names.INDEX_CARDS),
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


def _inside(entry: disk.Entry, found: Contents) -> list[disk.Entry]:
    """Return the entries of a folder of the store; none if it is not a regular folder."""
    if problem := disk.irregular(entry, folder=True):
        found.irregular.append((Path(entry.path), problem))
        return []
    return disk.entries(Path(entry.path))


def _sort_all(entries: Iterable[disk.Entry], allowed: tuple[names.Names, ...], found: Contents) -> None:
    for entry in entries:
        _sort_entry(entry, allowed, found)


def _sort_entry(entry: disk.Entry, allowed: tuple[names.Names, ...], found: Contents) -> None:
    if atomic.is_temporary(entry.name):
        found.temporaries.append(Path(entry.path))
    elif any(kind.name(entry.name) is not None for kind in allowed):
        _sort_file(entry, found)
    elif not entry.name.startswith("."):  # what file managers and network file systems leave
        found.foreign.append(Path(entry.path))


def _sort_file(entry: disk.Entry, found: Contents) -> None:
    if problem := disk.irregular(entry, folder=False):
        found.irregular.append((Path(entry.path), problem))
    else:
        found.files.append(Path(entry.path))


def _sort_damaged(entry: disk.Entry, found: Contents) -> None:
    """Look for links among what a repair took out: the next one puts files beside it."""
    for top in _inside(entry, found):
        below = disk.entries_below(Path(top.path)) if top.is_dir(follow_symlinks=False) else ()
        for inside in (top, *below):
            if not inside.is_dir(follow_symlinks=False) and (problem := disk.irregular(inside, folder=False)):
                found.irregular.append((Path(inside.path), problem))


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
    found = Contents()
    for entry in disk.entries(root):
        if entry.name == DAMAGED:
            _sort_damaged(entry, found)
        elif entry.name in BY_SPACE:
            for inside in _inside(entry, found):
                if names.SPACES.name(inside.name) is None:
                    _sort_entry(inside, (), found)
                else:
                    _sort_all(_inside(inside, found), _ENTRIES[entry.name], found)
        elif entry.name in _ENTRIES:
            _sort_all(_inside(entry, found), _ENTRIES[entry.name], found)
        elif entry.name in _ROOT_FILES or names.SHARD_LOCKS.name(entry.name.removesuffix("-holder.json")):
            _sort_file(entry, found)
        elif atomic.is_temporary(entry.name):
            found.temporaries.append(Path(entry.path))
        else:
            found.beside.append(Path(entry.path))
    return found
