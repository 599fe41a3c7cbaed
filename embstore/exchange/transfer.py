"""Copy a store, or some of its spaces, to another place: plan, check, copy the files, commit them at once."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from embstore.base import disk
from embstore.base.errors import DamagedError, StoreError, UsageError
from embstore.base.progress import Observer, Progress
from embstore.base.table import Table
from embstore.exchange.content import check_content
from embstore.exchange.folder import Incoming, in_order, missing_files, write_published
from embstore.exchange.part import Part, of_spaces, whole
from embstore.maintain.actions import Action, tabulate
from embstore.storage.catalog import Catalog
from embstore.storage.files.paths import StorePaths, check_marker
from embstore.storage.selection import SpaceFilter
from embstore.storage.transaction.commit import Change
from embstore.storage.transaction.manifest import Snapshot, read_snapshot
from embstore.storage.writer import StoreWriter


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a store is copied.

    Attributes:
        spaces: Names of spaces; empty for the whole store.
        layers: Layers, as in a query.
    """

    spaces: Sequence[str] = ()
    layers: str = "all"

    @property
    def is_whole(self) -> bool:
        """Whether the whole store is copied."""
        return not self.spaces and self.layers == "all"


def copy_store(
    root: Path,
    target: Path,
    selection: Selection,
    observe: Observer,
    verb: str = "push",
    name: str = "",
    *,
    dry_run: bool = False,
) -> Table:
    """Copy a store into a folder: an empty one, an earlier copy, or with single spaces also another store.

    The same call goes on after an interruption, and copies only what is missing.

    Args:
        root: Folder of the store.
        target: Folder to copy into; created if it is missing.
        selection: What is copied.
        observe: Callback for progress, in files.
        verb: Stage of the progress: ``push`` or ``pull``.
        name: Folder or URL of the target for messages; of a mirror, the URL.
        dry_run: Write nothing, and report what would be copied.

    Returns:
        One row per space and table with something new.

    Raises:
        UsageError: Both folders are the same, or one is inside the other.
        UnknownNameError: There is no such space or layer.
        SpaceMismatchError: The target has another space of the same name.
        StoreError: The target has other content, or one of the folders cannot be used.
        DamagedError: A file of the store is damaged; nothing was committed.
    """
    paths, target_paths = StorePaths(disk.resolved(root)), StorePaths(disk.resolved(target))
    if paths.root == target_paths.root or (disk.exists(target) and disk.is_same(paths.root, target_paths.root)):
        raise UsageError(f"{paths.root} is the store itself: name another place.")
    if paths.root in target_paths.root.parents or target_paths.root in paths.root.parents:
        inner, outer = sorted((paths.root, target_paths.root), key=lambda folder: len(folder.parts), reverse=True)
        raise UsageError(f"{inner} is inside {outer}, and a store is no part of another one: name another place.")
    source = open_source(root)
    with TemporaryDirectory(prefix="embstore-") as temporary:
        try:
            if dry_run:
                stored = _stored(target_paths)
                return _Copy(source, stored, target_paths, name, selection, Path(temporary)).planned(verb)
            with StoreWriter(target) as writer:
                copy = _Copy(source, _stored(writer.paths), writer.paths, name, selection, Path(temporary))
                return copy.run(observe, verb)
        except DamagedError as error:
            if source.is_outdated:
                raise StoreError(
                    f"{paths.root} was changed while it was read: another process writes to it. Nothing was "
                    "committed; run the same command again."
                ) from error
            raise


def open_source(root: Path) -> Catalog:
    """Return the catalog of a store that is copied.

    Raises:
        StoreError: There is no store, or it has no space.
        DamagedError: An entry of it is a symbolic link or of the wrong type.
    """
    source = Catalog(disk.resolved(root))
    source.paths.check_contents()
    if not source.cards:
        raise StoreError(f"{root} holds no space: there is nothing to copy.")
    return source


def _stored(paths: StorePaths) -> Catalog | None:
    """Return the catalog of a folder; None if it is missing or empty."""
    if not disk.exists(paths.marker):
        if any(not path.name.startswith(".") for path in disk.listed(paths.root)):
            check_marker(paths)  # raises for a folder that contains other files
        return None
    return Catalog(paths.root)


class _Copy:
    """A copy of files into a folder.

    Args:
        source: Catalog of the store.
        stored: Catalog of the target; None if it has no store.
        paths: Paths of the target.
        name: Folder or URL of the target for messages.
        selection: What is copied.
        temporary: Empty folder.
    """

    def __init__(
        self,
        source: Catalog,
        stored: Catalog | None,
        paths: StorePaths,
        name: str,
        selection: Selection,
        temporary: Path,
    ) -> None:
        self._source, self._paths, self._name = source, paths, name or str(paths.root)
        self._part = make_part(source, stored, selection, temporary)
        if stored is not None:
            check_content(self._part, source, stored, self._name)
        snapshot = Snapshot(0, "", {}) if stored is None else read_snapshot(paths)
        self._named = snapshot.files
        self._missing = missing_files(self._part.files, self._named, paths)

    def planned(self, verb: str) -> Table:
        """Return what would be copied."""
        return tabulate(actions(f"would {verb}", self._part, self._missing, self._paths), self._paths.root)

    def run(self, observe: Observer, verb: str) -> Table:
        """Copy the missing files, commit, and return what was copied."""
        incoming = Incoming(self._paths)
        total = len(self._missing)
        for done, key in enumerate(in_order(self._missing)):
            observe(Progress(verb, self._name, done, total, done / total))
            incoming.receive(key, self._part.files[key])
        named = [key for key in self._part.files if key.startswith(_NAMED) and key in self._missing]
        removed = self._part.superseded(self._named)
        file = self._paths.file
        incoming.publish(self._missing, Change(tuple(map(file, named)), tuple(map(file, removed))))
        if verb == "push" and "://" not in self._name:
            write_published(self._paths)
        observe(Progress(verb, self._name, total, total, 1.0))
        return tabulate(actions(f"{verb}ed", self._part, self._missing, self._paths), self._paths.root)


_NAMED = ("items/", "columns/", "skipped/", "embeddings/", "datasets/", "spaces/")


def make_part(source: Catalog, stored: Catalog | None, selection: Selection, temporary: Path) -> Part:
    """Return the files that travel; see :func:`.of_spaces` for the arguments."""
    if selection.is_whole:
        return whole(source)
    cards = SpaceFilter(spaces=selection.spaces).select(source.cards)
    return of_spaces(source, cards, selection.layers, stored, temporary)


def actions(verb: str, part: Part, files: Iterable[str], paths: StorePaths) -> list[Action]:
    """Return an action for each space, and for each folder of tables, with new files."""
    n_bytes: Counter[Path] = Counter()
    n_files: dict[Path, Counter[str]] = {}
    for key in files:
        place, kind = _place(key, paths)
        n_bytes[place] += disk.size(part.files[key])
        n_files.setdefault(place, Counter())[kind] += 1
    found = []
    for place in sorted(n_files):
        shown = {kind: n for kind, n in sorted(n_files[place].items()) if kind}
        detail = ", ".join(f"{n} {kind if n != 1 else _SINGLE[kind]}" for kind, n in shown.items())
        found.append(Action(verb, place, detail, None, n_bytes[place]))
    return found


def rest_of_copy(n_files: int, n_bytes: int) -> Table:
    """Return the report on a copy into a bucket that was interrupted after its mirror had all files."""
    return tabulate(
        [Action("pushed", Path(), f"{n_files} files, the rest of an interrupted copy", None, n_bytes)], Path()
    )


_KINDS = {"embeddings": "shards", "items": "tables", "columns": "tables", "skipped": "tables", "maps": "maps"}

_SINGLE = {"shards": "shard", "tables": "table", "maps": "map", "indexes": "index"}


def _place(key: str, paths: StorePaths) -> tuple[Path, str]:
    """Return the folder or file that a file is reported with, and what is counted there."""
    folder, _, entry = key.partition("/")
    kind = "indexes" if key.endswith(".faiss") else _KINDS.get(folder, "")
    if folder in ("spaces", "merged"):
        return paths.embeddings(Path(entry).stem), kind
    if folder in ("embeddings", "summaries", "indexes", "maps"):
        return paths.embeddings(entry.partition("/")[0].removeprefix("space=")), kind
    return (paths.dataset(Path(entry).stem) if folder == "datasets" else paths.root / folder), kind
