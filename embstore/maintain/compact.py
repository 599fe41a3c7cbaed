"""Merge small shards and tables into few large ones, without changing the results of queries."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from embstore.base import disk
from embstore.base.progress import Observer, Progress
from embstore.base.table import Table
from embstore.maintain.actions import Action, tabulate
from embstore.maintain.derived import renew_indexes, renew_merged
from embstore.storage.files.card import Card
from embstore.storage.files.names import PARTS
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.files.shards import SHARD_BYTES
from embstore.storage.maintenance.compaction import Compacted, compact_shards, compact_tables, plan_shards, plan_tables
from embstore.storage.transaction.manifest import read_cards
from embstore.storage.transaction.recovery import maintenance_lock


def compact(
    root: Path, observe: Observer = lambda _: None, *, dry_run: bool = False, shard_bytes: int = SHARD_BYTES
) -> Table:
    """Merge the small shards of every space, and the small tables of items, of their columns, and of skipped texts.

    Args:
        root: Folder of the store.
        observe: Callback for progress, in shards.
        dry_run: Write nothing, and report what would be done.
        shard_bytes: Maximum bytes of vectors in a merged shard.

    Returns:
        One row per new file.

    Raises:
        StoreError: There is no store, another process is writing to it, a file is damaged, or the disk is full. Files
            merged before the error are kept.
    """
    paths = StorePaths(disk.resolved(root))
    if dry_run:
        return tabulate(_planned(paths, shard_bytes), paths.root)
    with maintenance_lock(paths):
        actions: list[Action] = []
        notes: list[str] = []
        for folder in (paths.items, paths.columns, paths.skipped):
            actions += _merge_actions(compact_tables(paths, folder), "tables")
        for card in read_cards(paths).values():
            if groups := plan_shards(paths, card, shard_bytes):
                # An index covers whole shards: it must cover all before their items are mixed with others'.
                notes += renew_indexes(paths, card, observe)
                actions += _merge_actions(_compact_space(paths, card, groups, observe), "shards")
                renew_merged(paths, card)
    return tabulate(actions, paths.root, notes)


def _compact_space(
    paths: StorePaths, card: Card, groups: list[tuple[Shard, ...]], observe: Observer
) -> Iterator[Compacted]:
    """Merge groups of shards of a space, reporting progress; yield each new shard."""
    done, total = 0, sum(map(len, groups))
    observe(Progress("compact", card.space, 0, total, 0.0))
    for shard in compact_shards(paths, card, groups):
        done += len(shard.old)
        observe(Progress("compact", card.space, done, total, done / total))
        yield shard


def _merge_actions(merged: Iterable[Compacted], kind: str) -> list[Action]:
    """Return an action for each new file that replaced several.

    Args:
        merged: New files; if this is an iterator, consuming it merges them.
        kind: Plural noun for the replaced files, such as ``shards``.
    """
    return [
        Action("merged", shard.path, f"from {len(shard.old)} {kind}", shard.n_items, shard.n_bytes) for shard in merged
    ]


def _planned(paths: StorePaths, shard_bytes: int) -> Iterator[Action]:
    """Yield the merges that a run would do, as actions."""
    for folder in (paths.items, paths.columns, paths.skipped):
        for names in plan_tables(paths, folder):
            yield _plan(folder, [PARTS.path(folder, name) for name in names], "tables")
    for card in read_cards(paths).values():
        for group in plan_shards(paths, card, shard_bytes):
            yield _plan(paths.embeddings(card.space), [shard.path for shard in group], "shards")


def _plan(folder: Path, files: list[Path], kind: str) -> Action:
    n_bytes = sum(disk.size(file) for file in files)
    return Action("would merge", folder, f"{len(files)} {kind} into one", n_bytes=n_bytes)
