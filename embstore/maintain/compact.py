"""Make few large shards and tables of many small ones; answers stay what they were."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from embstore import disk
from embstore.maintain.actions import Action, tabulate
from embstore.maintain.derived import renew_indexes, renew_merged
from embstore.progress import Observer, Progress
from embstore.storage.files.card import Card, read_cards
from embstore.storage.files.names import PARTS
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.files.shards import SHARD_BYTES
from embstore.storage.maintenance.compaction import Compacted, compact_shards, compact_tables, plan_shards, plan_tables
from embstore.storage.transaction.recovery import maintained
from embstore.table import Table


def compact(
    root: Path, observe: Observer = lambda _: None, *, dry_run: bool = False, shard_bytes: int = SHARD_BYTES
) -> Table:
    """Merge the small shards of every space, and the small tables of items and skipped texts.

    Args:
        root: the store's folder.
        observe: told how many shards are done.
        dry_run: write nothing, and report what would be done.
        shard_bytes: the most bytes of vectors in a merged shard.

    Returns:
        One row for each new file.

    Raises:
        StoreError: there is no store, another process writes to it, a file was altered, or the disk is full. What was
            merged before stays.
    """
    paths = StorePaths(disk.resolved(root))
    if dry_run:
        return tabulate(_planned(paths, shard_bytes), paths.root)
    with maintained(paths):
        actions: list[Action] = []
        notes: list[str] = []
        for folder in (paths.items, paths.skipped):
            actions += _merged(compact_tables(folder), "tables")
        for card in read_cards(paths).values():
            if groups := plan_shards(paths, card, shard_bytes):
                # An index that lacks a part of a new shard could not be told what it lacks.
                notes += renew_indexes(paths, card, observe)
                actions += _merged(_compact_space(paths, card, groups, observe), "shards")
                renew_merged(paths, card)
    return tabulate(actions, paths.root, notes)


def _compact_space(
    paths: StorePaths, card: Card, groups: list[tuple[Shard, ...]], observe: Observer
) -> Iterator[Compacted]:
    done, total = 0, sum(map(len, groups))
    observe(Progress("compact", card.space, 0, total, 0.0))
    for one in compact_shards(paths, card, groups):
        done += len(one.old)
        observe(Progress("compact", card.space, done, total, done / total))
        yield one


def _merged(parts: Iterable[Compacted], kind: str) -> list[Action]:
    return [Action("merged", one.path, f"from {len(one.old)} {kind}", one.n_items, one.n_bytes) for one in parts]


def _planned(paths: StorePaths, shard_bytes: int) -> Iterator[Action]:
    for folder in (paths.items, paths.skipped):
        for names in plan_tables(folder):
            yield _plan(folder, [PARTS.path(folder, name) for name in names], "tables")
    for card in read_cards(paths).values():
        for group in plan_shards(paths, card, shard_bytes):
            yield _plan(paths.embeddings(card.space), [shard.path for shard in group], "shards")


def _plan(folder: Path, files: list[Path], kind: str) -> Action:
    n_bytes = sum(disk.size(file) for file in files)
    return Action("would merge", folder, f"{len(files)} {kind} into one", n_bytes=n_bytes)
