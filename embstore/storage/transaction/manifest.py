"""List the part files of a folder, and replace several of them atomically.

Part files are immutable Parquet files, ``part-<hash>.parquet``: shards, or tables of texts. The manifest beside them,
``hidden.json``, names the *hidden* ones, which readers leave out: those not committed yet, and those replaced by
others. A replacement has three steps:

1. the manifest names the new part files, which are then renamed into the folder;
2. the manifest names the old part files instead: this is the commit;
3. the old part files are deleted, and the manifest names none.

A process that dies in between leaves hidden part files. The next writer deletes them, which rolls back before the
commit, and finishes after it. The manifest's generation grows with each change: a reader that finds different
generations before and after listing the folder lists it again.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from embstore import atomic, disk
from embstore.storage.files import names
from embstore.storage.files.paths import Shard, StorePaths

HIDDEN_FORMAT = 1
HIDDEN = "hidden.json"
_REMEDY = "Run: embstore repair"


class Hidden(NamedTuple):
    """The hidden part files of a folder: those not committed yet, or replaced by others.

    Attributes:
        generation: Counter that grows with each change.
        names: Names of these files, without the suffix.
        replaced: After a commit, the names of the old files that each new file replaces, by its name.
    """

    generation: int = 0
    names: frozenset[str] = frozenset()
    replaced: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def successors(self, parts: Iterable[str]) -> set[str]:
        """Return the names of parts after the commit: a new part instead of all the old ones that it replaces."""
        found = set(parts)
        for new, old in self.replaced.items():
            if old and found.issuperset(old):
                found = found.difference(old) | {new}
        return found


class PartFiles(NamedTuple):
    """Part files of a folder at one moment.

    Attributes:
        files: Committed part files, sorted by name.
        hidden: Part files that are not committed, or replaced.
    """

    files: tuple[Path, ...]
    hidden: Hidden


def manifest_path(folder: Path) -> Path:
    """Return the path of a folder's manifest ``hidden.json``."""
    return folder / HIDDEN


def read_hidden(folder: Path) -> Hidden:
    """Read which part files of a folder are hidden (not committed yet, or replaced); none if there is no manifest.

    Raises:
        DamagedError: The manifest was altered.
    """
    path = manifest_path(folder)
    try:
        document = atomic.read_document(path, "hidden", _REMEDY)
    except (FileNotFoundError, NotADirectoryError):
        return Hidden()
    replaced = {new: tuple(old) for new, old in document["replaced"].items()}
    return Hidden(document["generation"], frozenset(document["hidden"]), replaced)


def write_hidden(folder: Path, hidden: Hidden) -> None:
    """Write the manifest of a folder."""
    document = {
        "format": HIDDEN_FORMAT,
        "generation": hidden.generation,
        "hidden": sorted(hidden.names),
        "replaced": {new: sorted(old) for new, old in sorted(hidden.replaced.items())},
    }
    atomic.write_document(manifest_path(folder), document)


def list_parts(folder: Path) -> PartFiles:
    """List the part files of a folder, with committed and hidden ones as they were at one moment.

    Raises:
        DamagedError: The manifest was altered.
    """
    hidden = read_hidden(folder)
    while True:
        files = names.PARTS.listed(folder)
        again = read_hidden(folder)
        if again.generation == hidden.generation:
            return PartFiles(tuple(path for name, path in files.items() if name not in hidden.names), hidden)
        hidden = again


def committed_shards(paths: StorePaths, space: str) -> tuple[Shard, ...]:
    """Return the committed shards of a space, by name.

    Raises:
        DamagedError: The manifest was altered.
    """
    return paths.as_shards(space, list_parts(paths.embeddings(space)).files)


def epoch(paths: StorePaths) -> tuple[object, ...]:
    """Return a value that changes when part files are replaced, or when a space is created or removed.

    It does not change when a space grows. If a listed file is gone and the value has changed, nothing is wrong.
    """
    folders = [paths.items, paths.skipped, *paths.folders_of_shards().values()]
    generations = ((folder.name, read_hidden(folder).generation) for folder in folders)
    cards = [(space, *_identity(path)) for space, path in paths.cards().items()]
    return (tuple(pair for pair in generations if pair[1]), tuple(cards))


@contextmanager
def replacing(folder: Path, replaced: Mapping[str, Iterable[str]], removed: Iterable[str] = ()) -> Iterator[None]:
    """Replace part files of a folder atomically: rename new ones into it within the context, which commits at its end.

    The caller then deletes the old files (:func:`hidden_files`) and calls :func:`clear_hidden`; after an error it does
    the same with the new ones. The caller must own the store's lock.

    Args:
        folder: Folder of the part files.
        replaced: Name of each new file → names of the old files that it replaces; none for new rows.
        removed: Names of files to remove without replacement.
    """
    generation = read_hidden(folder).generation
    # The name of a part file is its hash: an existing file of this name is identical, and must survive a rollback.
    new = frozenset(name for name in replaced if not disk.exists(names.PARTS.path(folder, name)))
    if new:
        write_hidden(folder, Hidden(generation + 1, new))
    yield
    old = frozenset(name for names in replaced.values() for name in names).union(removed).difference(replaced)
    write_hidden(folder, Hidden(generation + 2, old, {name: tuple(names) for name, names in replaced.items()}))


def hidden_files(folder: Path) -> list[Path]:
    """Return the paths of the hidden part files that exist in a folder: not committed yet, or replaced."""
    paths = (names.PARTS.path(folder, name) for name in sorted(read_hidden(folder).names))
    return [path for path in paths if disk.exists(path)]


def clear_hidden(folder: Path) -> None:
    """Clear the manifest after the hidden part files have been deleted."""
    hidden = read_hidden(folder)
    if hidden.names or hidden.replaced:
        write_hidden(folder, Hidden(hidden.generation + 1))


def _identity(path: Path) -> tuple[int, int]:
    """Return inode and modification time, which distinguish a file from a later one of the same name."""
    try:
        found = disk.status(path)
    except FileNotFoundError:
        return (0, 0)
    return (found.st_ino, found.st_mtime_ns)  # inodes are reused
