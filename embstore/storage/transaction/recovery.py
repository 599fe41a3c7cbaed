"""Finish or roll back interrupted writes, before a writer begins: delete the files that no manifest names.

All functions require the store's lock.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError, StoreError
from embstore.storage.files import names
from embstore.storage.files.maps import read_map, write_map
from embstore.storage.files.paths import StorePaths, check_marker
from embstore.storage.files.tables import read_part, read_table, stage_part
from embstore.storage.transaction.commit import Change, commit, committing
from embstore.storage.transaction.lock import write_lock
from embstore.storage.transaction.manifest import Snapshot, committed_shards, read_snapshot

Replaced = Mapping[str, Iterable[str]]
"""Name of each new part file → names of the old ones whose rows it has."""


@contextmanager
def maintenance_lock(paths: StorePaths) -> Iterator[None]:
    """Lock an existing store within the context, after recovery from interrupted writes."""
    check_marker(paths)
    with write_lock(paths):
        recover(paths)
        yield


def recover(paths: StorePaths) -> list[Path]:
    """Finish or roll back interrupted writes, and return the removed paths.

    Of a new store without a marker yet, only temporary files are removed.
    """
    if not disk.exists(paths.marker):
        return _remove(paths.contents().temporaries)
    finish_replacements(paths)
    return _remove(list_leftovers(paths, read_snapshot(paths)))


def list_leftovers(paths: StorePaths, snapshot: Snapshot) -> list[Path]:
    """Return the files that :func:`recover` would remove, given those that make up the store."""
    spaces = leftover_spaces(paths, snapshot)
    folders = [folder for space in spaces for folder in paths.folders_of(space)]  # removed if nothing else is in them
    return [*paths.contents().temporaries, *_unnamed(paths, snapshot, spaces), *folders]


def forget_missing(paths: StorePaths, folders: Iterable[Path]) -> list[Path]:
    """Commit that the missing files of some folders are not of the store any more, and return their paths."""
    snapshot = read_snapshot(paths)
    missing = [path for folder in folders for path in snapshot.parts(paths, folder).missing]
    commit(paths, Change(removed=tuple(missing)))
    return missing


@contextmanager
def replacing(
    paths: StorePaths, folder: Path, replaced: Replaced, removed: Iterable[str] = (), added: Iterable[Path] = ()
) -> Iterator[None]:
    """Replace part files of a folder atomically: write new ones within the context, delete the old ones at its end.

    Indexes and maps that cover old shards then cover the new ones, which contain the same vectors.
    """

    def path(name: str) -> Path:
        return names.PARTS.path(folder, name)

    change = Change(
        tuple(added), tuple(map(path, removed)), {path(new): tuple(map(path, old)) for new, old in replaced.items()}
    )
    with committing(paths, change):
        yield
    finish_replacements(paths)
    shards = (path for path in change.all_removed if names.kind_of(paths.key(path)) is names.SHARDS)
    _remove(filter(disk.exists, [*change.all_removed, *map(paths.summary_of, shards)]))


def finish_replacements(paths: StorePaths) -> None:
    """Update what covers the shards that the newest manifest replaced: index cards and maps."""
    of_spaces: dict[str, dict[str, list[str]]] = {}
    for new, old in read_snapshot(paths).replaced.items():
        folder = paths.file(new).parent
        if (space := names.SPACES.name(folder.name)) is not None and old:
            of_spaces.setdefault(space, {})[Path(new).stem] = [Path(name).stem for name in old]
    for space, replaced in of_spaces.items():
        _cover(paths, space, replaced)


def remove_space(paths: StorePaths, space: str) -> list[Path]:
    """Remove a space with its skipped texts at once, then delete its files, and return their paths."""
    named = json.dumps(space).encode()
    for path in paths.answer_files():
        with suppress(FileNotFoundError):  # a query removed it meanwhile
            if named in disk.read(path):
                disk.remove(path)
    snapshot = read_snapshot(paths)
    folder = paths.embeddings(space)
    key = f"{paths.key(folder)}/"
    removed = [paths.file(name) for name in snapshot.files if name.startswith(key)]
    removed += [paths.card(space)]
    with ExitStack() as stack:
        staged: dict[Path, Path] = {}
        for path in snapshot.parts(paths, paths.skipped).files:
            table = read_part(path)
            others = table.filter(pc.fill_null(pc.not_equal(table["space"], space), True))
            if len(others) == len(table):
                continue
            removed.append(path)
            if len(others):
                temp = stack.enter_context(atomic.temporary(paths.skipped))
                staged[stage_part(temp, others)] = temp
        change = Change(added=tuple(staged), removed=tuple(removed))
        with committing(paths, change):
            for target, temp in staged.items():
                if not disk.exists(target):
                    atomic.publish(temp, target)
    folders = paths.folders_of(space)
    files = [path for folder in folders for path in disk.files_below(folder)]
    removed = _remove([*(path for path in change.all_removed if path.parent == paths.skipped), *files])
    for folder in folders:
        disk.remove_tree(folder)
    return removed + _remove(_single_files(paths, space))


def count_items(paths: StorePaths, space: str) -> int | None:
    """Return the number of items of a space from its summaries, or None if they cannot be read."""
    try:
        files = [shard.summary_path for shard in committed_shards(paths, space)]
        counts = [read_table(file, columns=["n"])["n"].to_pylist() for file in files]
    except (StoreError, OSError, pa.ArrowException):
        return None
    return int(sum(max(of_layers, default=0) for of_layers in counts))


def leftover_spaces(paths: StorePaths, snapshot: Snapshot) -> list[str]:
    """Return the names of the spaces that are not of the store and have files."""
    stored = {*snapshot.spaces, *snapshot.spaces_with_shards}
    merged = (path.stem for path in paths.files_of(names.MERGED))
    return sorted({*paths.spaces_on_disk(), *paths.cards(), *merged} - stored)


def _cover(paths: StorePaths, space: str, replaced: Replaced) -> None:
    """Let the indexes and maps of a space cover the new shards instead of the old ones.

    One that covers only some of the old shards of a new one, or a shard that was removed, is not used any more.
    """
    for _, card in paths.index_pairs(space):
        try:
            document = atomic.read_document(card, "index-card")
        except (DamagedError, FileNotFoundError):  # not searched, and rebuilt by a build or a repair
            continue
        covered = _successors(document["shards"], replaced)
        if covered != set(document["shards"]):
            atomic.write_document(card, {**document, "shards": sorted(covered)}, "index-card")
    for path in paths.map_files(space):
        try:
            found = read_map(paths, path)
        except DamagedError:  # not used, and removed by a repair
            continue
        shards = _successors(found.shards, replaced)
        if shards != set(found.shards):
            write_map(paths, found.of_shards(shards))


def _successors(shards: Iterable[str], replaced: Replaced) -> set[str]:
    """Return the names of shards with a new one instead of all the old ones that it replaces."""
    found = set(shards)
    for new, old in replaced.items():
        if (names_of_old := set(old)) and found >= names_of_old:
            found = found - names_of_old | {new}
    return found


def _unnamed(paths: StorePaths, snapshot: Snapshot, gone: Collection[str]) -> list[Path]:
    """Return the files of embstore that the snapshot does not name, and those without their counterpart."""
    found = []
    for folder in (paths.items, paths.columns, paths.skipped):
        found += [path for path in names.PARTS.listed(folder).values() if not snapshot.is_named(paths, path)]
    for space in sorted({*paths.spaces_on_disk(), *gone}):
        shards = names.PARTS.listed(paths.embeddings(space)).values()
        found += [
            path for path in (*shards, *paths.files_of(names.SUMMARIES, space)) if not snapshot.is_named(paths, path)
        ]
        for pair in paths.index_pairs(space):
            existing = [path for path in pair if disk.exists(path)]
            found += existing if space in gone or len(existing) < len(pair) else []
        if space in gone:
            found += [*paths.map_files(space), *_single_files(paths, space)]
    return found


def _single_files(paths: StorePaths, space: str) -> list[Path]:
    """Return the existing files of a space that are not in folders of its own."""
    return [path for path in (paths.card(space), paths.merged(space)) if disk.exists(path)]


def _remove(found: Iterable[Path]) -> list[Path]:
    """Remove files, temporary folders and empty folders; return the paths of the files."""
    removed = []
    for path in found:
        if not disk.is_folder(path):
            removed.append(path)
            disk.remove(path, missing_ok=True)
        elif atomic.is_temporary(path.name):
            disk.remove_tree(path)
        elif not disk.entries(path):
            disk.remove_folder(path)
    return removed
