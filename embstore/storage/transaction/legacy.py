"""List the files of a store of format 1, which has no manifests: a file counts unless a document beside it hides it.

A folder's ``hidden.json`` names the part files that were not committed yet, or replaced by others. Its generation grew
with each change: a reader that finds different generations before and after listing a folder lists it again. A card
was renamed to ``<space>.removing`` to remove its space. The first writer of this version upgrades such a store
(:mod:`.recovery`); until then it is read as it is.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from embstore import atomic, disk
from embstore.storage.files import names
from embstore.storage.files.paths import StorePaths

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


def read_hidden(paths: StorePaths, folder: Path) -> Hidden:
    """Read which part files of a folder are hidden; none if there is no document.

    Raises:
        DamagedError: The document was altered.
    """
    try:
        document = atomic.read_document(paths.hidden(folder), "hidden", _REMEDY)
    except (FileNotFoundError, NotADirectoryError):
        return Hidden()
    replaced = {new: tuple(old) for new, old in document["replaced"].items()}
    return Hidden(document["generation"], frozenset(document["hidden"]), replaced)


def folders(paths: StorePaths) -> list[Path]:
    """Return the folders that may have hidden part files."""
    return [paths.items, paths.skipped, *paths.folders_of_shards().values()]


def list_files(paths: StorePaths, *, with_lost: bool = True) -> dict[str, Mapping[str, int]]:
    """Return the files that make up a store at one moment, as keys without properties.

    Args:
        paths: Paths of the store.
        with_lost: Whether to include shards that are missing, which their summaries name.

    Raises:
        DamagedError: A document of hidden part files was altered.
    """
    while True:
        before = _epoch(paths)
        found: dict[str, Mapping[str, int]] = {paths.key(path): {} for path in _files(paths, with_lost=with_lost)}
        if _epoch(paths) == before:
            return found


def list_all(paths: StorePaths) -> dict[str, Mapping[str, int]]:
    """Return all files that could make up a store, whether or not they count, as keys without properties."""
    tables = (path for folder in (*folders(paths), paths.columns) for path in names.PARTS.listed(folder).values())
    return {paths.key(path): {} for path in (*paths.cards().values(), *paths.dataset_files(), *tables)}


def _files(paths: StorePaths, *, with_lost: bool) -> Iterable[Path]:
    """Yield the files that count."""
    cards, removed = paths.cards(), {*paths.removed_spaces()}
    for space in sorted({*paths.folders_of_shards(), *cards, *paths.spaces_on_disk()} - removed):
        folder = paths.embeddings(space)
        shown, hidden = _parts(paths, folder)
        lost = {path.stem for path in paths.summary_files(space)} - hidden.names if with_lost else set()
        if space in cards and (shown or not hidden.names):  # else it is a new space that is not committed yet
            yield cards[space]
        yield from (names.PARTS.path(folder, name) for name in sorted(shown | lost))
    for folder in (paths.items, paths.skipped):  # after shards: items are written first
        yield from (names.PARTS.path(folder, name) for name in sorted(_parts(paths, folder)[0]))
    yield from paths.dataset_files()


def _parts(paths: StorePaths, folder: Path) -> tuple[set[str], Hidden]:
    """Return the names of the part files of a folder that count at one moment, and the hidden ones."""
    hidden = read_hidden(paths, folder)
    while True:
        found = names.PARTS.listed(folder)
        again = read_hidden(paths, folder)
        if again.generation == hidden.generation:
            return found.keys() - hidden.names, hidden
        hidden = again


def _epoch(paths: StorePaths) -> object:
    """Return a value that changes when part files are replaced, or when a space is created or removed."""
    generations = [(folder, read_hidden(paths, folder).generation) for folder in folders(paths)]
    cards = [(space, *_identity(path)) for space, path in paths.cards().items()]
    return [pair for pair in generations if pair[1]], cards


def _identity(path: Path) -> tuple[int, int]:
    """Return inode and modification time, which distinguish a file from a later one of the same name."""
    try:
        found = disk.status(path)
    except FileNotFoundError:
        return (0, 0)
    return (found.st_ino, found.st_mtime_ns)  # inodes are reused
