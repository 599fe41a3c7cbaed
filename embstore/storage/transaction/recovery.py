"""What a writer does first: it finishes or undoes what a process left that was killed.

All of this is for the holder of the store's lock, who is the only one that writes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from embstore import atomic, disk
from embstore.errors import DamagedError, StoreError
from embstore.storage.files.marker import check_marker
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.tables import read_part, read_table, stage_part
from embstore.storage.transaction.lock import write_lock
from embstore.storage.transaction.manifest import (
    Hidden,
    committed_shards,
    hidden_files,
    list_parts,
    read_hidden,
    replacing,
    settled,
)


@contextmanager
def maintained(paths: StorePaths) -> Iterator[None]:
    """Hold the lock of a store that is there, with nothing left in it of a process that was killed.

    Raises:
        StoreError: there is no store, or it cannot be written.
        LockedError: another process writes to it.
        DamagedError: a document that says what counts was altered.
    """
    check_marker(paths)
    with write_lock(paths):
        recover(paths)
        yield


def recover(paths: StorePaths) -> list[Path]:
    """Bring a store to rest, and return what was removed.

    Raises:
        DamagedError: a document that says what counts was altered.
    """
    removed = paths.temporaries()
    for left in removed:
        disk.remove_tree(left)
    for space in paths.removed_spaces():
        removed += finish_removal(paths, space)
    for folder in (paths.items, paths.skipped):
        removed += settle_tables(folder)
    for space in paths.spaces_on_disk():
        removed += settle_shards(paths, space) + _remove_orphans(paths, space)
    return removed


def leftovers(paths: StorePaths) -> list[Path]:
    """Return what :func:`recover` would remove."""
    left = paths.temporaries()
    removed = paths.removed_spaces()
    for space in removed:
        left += [path for folder in paths.folders_of(space) for path in disk.files_below(folder)]
    for folder in (paths.items, paths.skipped):
        left += hidden_files(folder)
    for space in paths.spaces_on_disk():
        if space not in removed:
            left += hidden_files(paths.embeddings(space)) + _orphans(paths, space)
    return left


@contextmanager
def replacing_shards(
    paths: StorePaths, space: str, replaced: Mapping[str, Iterable[str]], removed: Iterable[str] = ()
) -> Iterator[None]:
    """Commit new shards in the context; at its end they count and the old ones are removed (see :func:`replacing`).

    Indexes that cover the old ones cover the new ones then: they hold the same vectors.
    """
    try:
        with replacing(paths.embeddings(space), replaced, removed):
            yield
    finally:
        settle_shards(paths, space)


@contextmanager
def replacing_tables(
    folder: Path, replaced: Mapping[str, Iterable[str]], removed: Iterable[str] = ()
) -> Iterator[None]:
    """Rename new tables into a folder in the context; at its end they count and the old ones are removed."""
    try:
        with replacing(folder, replaced, removed):
            yield
    finally:
        settle_tables(folder)


def settle_shards(paths: StorePaths, space: str) -> list[Path]:
    """Remove the shards of a space that do not count, with their summaries; return the paths."""
    folder = paths.embeddings(space)
    hidden = read_hidden(folder)
    if not hidden.names and not hidden.replaced:
        return []
    recard_indexes(paths, space, hidden)
    removed = hidden_files(folder)
    for path in removed:
        disk.remove(path)
    for name in hidden.names:
        disk.remove(paths.summary(space, name), missing_ok=True)
    if disk.is_folder(summaries := paths.summaries(space)):
        disk.sync_folder(summaries)  # before the document does not name them any more
    if not list_parts(folder).files:  # it was to be a new space, and came to nothing
        disk.remove(paths.card(space), missing_ok=True)
    settled(folder)
    return removed


def settle_tables(folder: Path) -> list[Path]:
    """Remove the tables of a folder that do not count; return the paths."""
    removed = hidden_files(folder)
    for path in removed:
        disk.remove(path)
    settled(folder)
    return removed


def recard_indexes(paths: StorePaths, space: str, hidden: Hidden) -> None:
    """Make the cards of a space's indexes name new shards for the old ones whose vectors they have.

    An index that covers but a part of a new shard, or one that is gone, is removed: it could not be told what it lacks.
    """
    for index, card in paths.index_pairs(space):
        try:
            document = atomic.read_document(card, "index-card")
        except (DamagedError, FileNotFoundError):  # it is not searched, and made anew by a build or a repair
            continue
        covered = set(document["shards"])
        for new, old in hidden.replaced.items():
            if old and covered.issuperset(old):
                covered = covered.difference(old) | {new}
        if covered & hidden.names:
            disk.remove(card)
            disk.remove(index, missing_ok=True)
        elif covered != set(document["shards"]):
            atomic.write_document(card, {**document, "shards": sorted(covered)})


def remove_space(paths: StorePaths, space: str) -> list[Path]:
    """Remove a space; return the paths. With the first step, the renaming of its card, it is gone for every reader."""
    card, removal = paths.card(space), paths.removal(space)
    if disk.exists(card):
        disk.replace(card, removal)
    else:
        disk.make_folder(paths.spaces)
        disk.write(removal, b"")
    disk.sync_folder(paths.spaces)
    return finish_removal(paths, space)


def count_items(paths: StorePaths, space: str) -> int | None:
    """Return how many items a space has, whatever its card says; None where that cannot be read."""
    try:
        files = [shard.summary_path for shard in committed_shards(paths, space)]
        counts = [read_table(file, columns=["n"])["n"].to_pylist() for file in files]
    except (StoreError, OSError, pa.ArrowException):
        return None
    return int(sum(max(of_layers, default=0) for of_layers in counts))


def finish_removal(paths: StorePaths, space: str) -> list[Path]:
    """Remove all that is left of a space whose card has become :meth:`StorePaths.removal`; return the paths."""
    removed = []
    for folder in paths.folders_of(space):
        removed += disk.files_below(folder)
        disk.remove_tree(folder)
        disk.sync_folder(folder.parent)
    disk.remove(paths.merged(space), missing_ok=True)
    _forget_answers(paths, space)
    _forget_skipped(paths, space)
    disk.remove(paths.removal(space), missing_ok=True)
    disk.sync_folder(paths.spaces)
    return removed


def _forget_answers(paths: StorePaths, space: str) -> None:
    """Remove the answers that queries kept about a space."""
    named = json.dumps(space).encode()
    for path in paths.answer_files():
        with suppress(FileNotFoundError):  # a query has just removed it
            if named in disk.read(path):
                disk.remove(path)


def _forget_skipped(paths: StorePaths, space: str) -> None:
    """Take the rows of a space out of the tables of skipped texts."""
    for path in list_parts(paths.skipped).files:
        table = read_part(path)
        others = table.filter(pc.fill_null(pc.not_equal(table["space"], space), True))
        if len(others) == len(table):
            continue
        with atomic.temporary(paths.skipped) as temp:
            target = stage_part(temp, others)
            with replacing_tables(paths.skipped, {target.stem: [path.stem]} if len(others) else {}, [path.stem]):
                if len(others) and not disk.exists(target):
                    atomic.publish(temp, target)


def _remove_orphans(paths: StorePaths, space: str) -> list[Path]:
    orphans = _orphans(paths, space)
    for path in orphans:
        disk.remove(path)
    return orphans


def _orphans(paths: StorePaths, space: str) -> list[Path]:
    """Return what is left of pairs of files: summaries without a shard, indexes or their cards by themselves."""
    parts = list_parts(paths.embeddings(space))
    known = {path.stem for path in parts.files} | parts.hidden.names
    orphans = [path for path in paths.summary_files(space) if path.stem not in known]
    for pair in paths.index_pairs(space):
        there = [path for path in pair if disk.exists(path)]
        orphans += there if len(there) < len(pair) else []
    return orphans
