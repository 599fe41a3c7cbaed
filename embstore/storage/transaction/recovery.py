"""Finish or roll back interrupted writes, before a writer begins.

All functions require the store's lock.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from embstore import atomic, disk
from embstore.errors import DamagedError, StoreError
from embstore.storage.files.maps import read_map, write_map
from embstore.storage.files.marker import check_marker
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.tables import read_part, read_table, stage_part
from embstore.storage.transaction.lock import write_lock
from embstore.storage.transaction.manifest import (
    Hidden,
    clear_hidden,
    committed_shards,
    hidden_files,
    list_parts,
    read_hidden,
    replacing,
)


@contextmanager
def maintenance_lock(paths: StorePaths) -> Iterator[None]:
    """Lock an existing store within the context, after recovery from interrupted writes.

    Raises:
        StoreError: There is no store, or it cannot be written.
        LockedError: Another process is writing to it.
        DamagedError: A manifest was altered.
    """
    check_marker(paths)
    with write_lock(paths):
        recover(paths)
        yield


def recover(paths: StorePaths) -> list[Path]:
    """Finish or roll back interrupted writes, and return the removed paths.

    Raises:
        DamagedError: A manifest was altered.
    """
    removed = paths.temporaries()
    for path in removed:
        disk.remove_tree(path)
    for space in paths.removed_spaces():
        removed += finish_removal(paths, space)
    for folder in (paths.items, paths.skipped):
        removed += delete_hidden_tables(folder)
    for space in paths.spaces_on_disk():
        removed += delete_hidden_shards(paths, space) + _remove_orphans(paths, space)
    return removed


def list_leftovers(paths: StorePaths) -> list[Path]:
    """Return the paths that :func:`recover` would remove."""
    found = paths.temporaries()
    removed = paths.removed_spaces()
    for space in removed:
        found += [path for folder in paths.folders_of(space) for path in disk.files_below(folder)]
    for folder in (paths.items, paths.skipped):
        found += hidden_files(folder)
    for space in paths.spaces_on_disk():
        if space not in removed:
            found += hidden_files(paths.embeddings(space)) + _orphans(paths, space)
    return found


@contextmanager
def replacing_shards(
    paths: StorePaths, space: str, replaced: Mapping[str, Iterable[str]], removed: Iterable[str] = ()
) -> Iterator[None]:
    """Replace shards of a space atomically: commit new ones within the context, and delete the old ones at its end.

    Indexes that cover the old shards then cover the new ones, which contain the same vectors.
    """
    try:
        with replacing(paths.embeddings(space), replaced, removed):
            yield
    finally:
        delete_hidden_shards(paths, space)


@contextmanager
def replacing_tables(
    folder: Path, replaced: Mapping[str, Iterable[str]], removed: Iterable[str] = ()
) -> Iterator[None]:
    """Replace tables of a folder atomically: rename new ones into it within the context, delete the old at its end."""
    try:
        with replacing(folder, replaced, removed):
            yield
    finally:
        delete_hidden_tables(folder)


def delete_hidden_shards(paths: StorePaths, space: str) -> list[Path]:
    """Delete the uncommitted or replaced shards of a space with their summaries, and return the paths of the shards.

    This finishes or rolls back an interrupted replacement: the index cards are updated to the shards that are left, the
    card of a space without any shard is deleted, and the manifest is cleared.
    """
    folder = paths.embeddings(space)
    hidden = read_hidden(folder)
    if not hidden.names and not hidden.replaced:
        return []
    update_index_cards(paths, space, hidden)
    update_map_headers(paths, space, hidden)
    removed = hidden_files(folder)
    for path in removed:
        disk.remove(path)
    for name in hidden.names:
        disk.remove(paths.summary(space, name), missing_ok=True)
    if disk.is_folder(summaries := paths.summaries(space)):
        disk.sync_folder(summaries)  # before the manifest is cleared
    if not list_parts(folder).files:  # a new space that was never committed
        disk.remove(paths.card(space), missing_ok=True)
    clear_hidden(folder)
    return removed


def delete_hidden_tables(folder: Path) -> list[Path]:
    """Delete the uncommitted or replaced tables of a folder, and return their paths."""
    removed = hidden_files(folder)
    for path in removed:
        disk.remove(path)
    clear_hidden(folder)
    return removed


def update_index_cards(paths: StorePaths, space: str, hidden: Hidden) -> None:
    """Update the cards of a space's indexes after shards were replaced.

    An index that covers only a part of a new shard, or a removed shard, is deleted: its missing vectors are unknown.
    """
    for index, card in paths.index_pairs(space):
        try:
            document = atomic.read_document(card, "index-card")
        except (DamagedError, FileNotFoundError):  # not searched, and rebuilt by a build or a repair
            continue
        covered = hidden.successors(document["shards"])
        if covered & hidden.names:
            disk.remove(card)
            disk.remove(index, missing_ok=True)
        elif covered != set(document["shards"]):
            atomic.write_document(card, {**document, "shards": sorted(covered)})


def update_map_headers(paths: StorePaths, space: str, hidden: Hidden) -> None:
    """Update the headers of a space's maps after shards were replaced; delete the maps of removed shards."""
    for path in paths.map_files(space):
        try:
            found = read_map(paths, path)
        except DamagedError:  # not used, and removed by a repair
            continue
        shards = hidden.successors(found.shards)
        if shards & hidden.names:
            disk.remove(path, missing_ok=True)
        elif shards != set(found.shards):
            write_map(paths, found.of_shards(shards))


def remove_space(paths: StorePaths, space: str) -> list[Path]:
    """Remove a space, and return the removed paths; readers no longer see it once its card is renamed."""
    card, removal = paths.card(space), paths.removal(space)
    if disk.exists(card):
        disk.replace(card, removal)
    else:
        disk.make_folder(paths.spaces)
        disk.write(removal, b"")
    disk.sync_folder(paths.spaces)
    return finish_removal(paths, space)


def count_items(paths: StorePaths, space: str) -> int | None:
    """Return the number of items of a space from its summaries, or None if they cannot be read."""
    try:
        files = [shard.summary_path for shard in committed_shards(paths, space)]
        counts = [read_table(file, columns=["n"])["n"].to_pylist() for file in files]
    except (StoreError, OSError, pa.ArrowException):
        return None
    return int(sum(max(of_layers, default=0) for of_layers in counts))


def finish_removal(paths: StorePaths, space: str) -> list[Path]:
    """Delete the remaining files of a space that is being removed, and return their paths."""
    removed = []
    for folder in paths.folders_of(space):
        removed += disk.files_below(folder)
        disk.remove_tree(folder)
        disk.sync_folder(folder.parent)
    disk.remove(paths.merged(space), missing_ok=True)
    _delete_answers(paths, space)
    _delete_skipped_rows(paths, space)
    disk.remove(paths.removal(space), missing_ok=True)
    disk.sync_folder(paths.spaces)
    return removed


def _delete_answers(paths: StorePaths, space: str) -> None:
    """Delete the stored answers about a space."""
    named = json.dumps(space).encode()
    for path in paths.answer_files():
        with suppress(FileNotFoundError):  # a query removed it meanwhile
            if named in disk.read(path):
                disk.remove(path)


def _delete_skipped_rows(paths: StorePaths, space: str) -> None:
    """Remove the rows of a space from the tables of skipped texts."""
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
    """Delete the orphans of a space, and return their paths."""
    orphans = _orphans(paths, space)
    for path in orphans:
        disk.remove(path)
    return orphans


def _orphans(paths: StorePaths, space: str) -> list[Path]:
    """Return summaries without a shard, and indexes or index cards without their counterpart."""
    parts = list_parts(paths.embeddings(space))
    known = {path.stem for path in parts.files} | parts.hidden.names
    orphans = [path for path in paths.summary_files(space) if path.stem not in known]
    for pair in paths.index_pairs(space):
        existing = [path for path in pair if disk.exists(path)]
        orphans += existing if len(existing) < len(pair) else []
    return orphans
