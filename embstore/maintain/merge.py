"""Copy the spaces of another store into this one."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError, SpaceMismatchError, StoreError, UsageError
from embstore.base.progress import Observer, Progress, observing
from embstore.base.table import Table
from embstore.index.updating import recall_notes, update_indexes
from embstore.maintain.actions import Action, kind_of_indexes, renew_merged, tabulate
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card, store_card
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.shards import StagedShard, publish_shard
from embstore.storage.files.tables import bounded
from embstore.storage.maintenance.column_tables import new_columns
from embstore.storage.maintenance.import_store import (
    MergedDataset,
    Rows,
    ShardImport,
    check_same_items,
    copy_index,
    merged_dataset,
    new_items,
    new_skipped,
    plan_imports,
    stage_import,
    stage_table,
)
from embstore.storage.selection import SpaceFilter
from embstore.storage.transaction.commit import Change, committing
from embstore.storage.transaction.manifest import committed_shards
from embstore.storage.transaction.recovery import maintenance_lock

Ids = NDArray[np.int64]


def merge(
    root: Path, other: Path, spaces: Sequence[str] = (), observe: Observer = lambda _: None, *, dry_run: bool = False
) -> Table:
    """Copy the items that are missing here from another store, with their vectors, texts and datasets.

    A space that both stores have must be the same in both. All files are copied first, each checked against its hash,
    and then committed at once; then the indexes and merged summaries are updated. The other store is only read.

    Args:
        root: Folder of the store to copy into.
        other: Folder of the store to copy from.
        spaces: Names of the spaces to copy; empty for all.
        observe: Callback for progress, in shards.
        dry_run: Write nothing, and report what would be done.
    """
    paths, source_paths = StorePaths(disk.resolved(root)), StorePaths(disk.resolved(other))
    if paths.root == source_paths.root or disk.is_same(paths.root, source_paths.root):
        raise UsageError(f"{source_paths.root} is the store itself: name another one to take in.")
    with maintenance_lock(paths):
        source = Catalog(source_paths.root)
        source_paths.check_contents()
        work = _Merge(paths, source, Catalog(paths.root), observe)
        try:
            if not source.cards:
                raise StoreError(f"{source_paths.root} holds no space: there is nothing to take in.")
            cards = [card for card in SpaceFilter(spaces=spaces).select(source.cards) if source.shards[card.space]]
            work.check_same_spaces(cards)
            work.plan(cards, only=bool(spaces))
            work.check_same_items()
            work.copy(dry_run=dry_run)
        except DamagedError as error:
            if source.is_outdated:
                raise StoreError(
                    f"{source_paths.root} was changed while it was read: another process writes to it. Nothing was "
                    "taken; run the same command again."
                ) from error
            raise
        if not dry_run:
            work.index()
        return tabulate(work.actions, paths.root, work.notes, dry_run=dry_run)


@dataclass
class _Merge:
    """The merge of one store into another; the caller holds the write lock of ``paths``.

    Attributes:
        paths: Paths of the store to copy into.
        source: Catalog of the store to copy from.
        stored: Catalog of the store to copy into, as it was before.
        observe: Callback for progress.
        actions: Actions done or planned.
        notes: Notes for the user.
        cards: Cards of the spaces to copy.
        imports: Items to copy, by space and shard.
        only: Whether the user named the spaces to copy.
    """

    paths: StorePaths
    source: Catalog
    stored: Catalog
    observe: Observer
    actions: list[Action] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cards: list[Card] = field(default_factory=list)
    imports: dict[str, list[ShardImport]] = field(default_factory=dict)
    only: bool = False

    def check_same_spaces(self, cards: Sequence[Card]) -> None:
        """Raise SpaceMismatchError unless each space is the same in both stores, or new here."""
        for card in cards:
            stored_card = self.stored.cards.get(card.space)
            if stored_card is None or self.is_new(card.space):
                continue
            if different := stored_card.describe_differences(card):
                raise SpaceMismatchError(
                    f"the space {card.space!r} is another one in {self.source.paths.root}: here its {different} "
                    "there. Nothing was taken. To take other spaces, name them with ⦃space⦄."
                )

    def is_new(self, space: str) -> bool:
        """Return whether this store has no shards of a space."""
        return not self.stored.shards.get(space)

    def plan(self, cards: Sequence[Card], *, only: bool) -> None:
        """Find the items of each space that are missing here."""
        self.cards, self.only = list(cards), only
        for card in cards:
            self.source.check_texts(card.space)
            stored = np.empty(0, np.int64) if self.is_new(card.space) else self.stored.ids(card.space)
            imports = plan_imports(card, self.source.shards[card.space], stored)
            self.imports[card.space] = imports
            if imports:
                n_items = sum(len(shard.ids) for shard in imports)
                self._report(self.paths.embeddings(card.space), self._described(card), n_items)

    def _described(self, card: Card) -> str:
        """Return how many shards of a space are copied, in words."""
        imports = self.imports[card.space]
        n_partial = sum(not shard.is_whole for shard in imports)
        detail = f"{len(imports)} of {len(self.source.shards[card.space])} shards"
        detail += f", {n_partial} of them in part" if n_partial else ""
        return detail + (", a new space" if self.is_new(card.space) else "")

    def copy(self, *, dry_run: bool) -> None:
        """Copy all new tables, datasets and shards to temporary files, then commit them."""
        tables = [
            (self.paths.items, "texts", self._new_items()),
            (self.paths.columns, "values of columns", self._new_columns()),
            (self.paths.skipped, "skipped texts", self._new_skipped()),
        ]
        if dry_run:
            for folder, kind, parts in tables:
                self._report(folder, kind, sum(map(len, parts)))
            self._datasets()
            return
        with ExitStack() as stack:
            shards = {card.space: self._stage_shards(stack, card) for card in self.cards}
            staged = []
            for folder, kind, parts in tables:
                new = [stage_table(stack.enter_context(atomic.temporary(folder)), rows) for rows in bounded(parts)]
                self._report(folder, kind, sum(table.n_rows for table in new))
                staged += new
            datasets = self._datasets()
            new_shards = [part for parts in shards.values() for part in parts]
            new_cards = [card for card in self.cards if shards[card.space] and self.is_new(card.space)]
            added = [table.path for table in staged] + [dataset.path for dataset in datasets if dataset.n_new]
            added += [self.paths.card(card.space) for card in new_cards] + [part.shard.path for part in new_shards]
            with committing(self.paths, Change(tuple(added))):
                for table in staged:
                    table.publish()
                for dataset in datasets:
                    dataset.publish()
                for card in new_cards:
                    store_card(self.paths, card)
                for part in new_shards:
                    publish_shard(part)

    def _stage_shards(self, stack: ExitStack, card: Card) -> list[StagedShard]:
        """Write the new items of a space to temporary shards."""
        staged, total = [], len(self.imports[card.space])
        if total:
            self.observe(Progress("merge", card.space, 0, total, 0.0))
        for done, shard in enumerate(self.imports[card.space], 1):
            temp = stack.enter_context(atomic.temporary(self.paths.embeddings(card.space)))
            staged.append(stage_import(temp, self.paths, card, shard))
            self.observe(Progress("merge", card.space, done, total, done / total))
        return staged

    def check_same_items(self) -> None:
        """Raise SourceError if an item id stands for different texts in the two stores."""
        stored, tables = self.stored.checked_item_tables(), self.source.checked_item_tables()
        check_same_items(self.paths, stored, self.source.paths, tables, self._requested_ids())

    def _requested_ids(self) -> Ids | None:
        """Return the ids of the items to copy; None for all items of the other store."""
        if not self.only:
            return None
        return np.unique(np.concatenate([self.source.ids(card.space) for card in self.cards]))

    def _new_items(self) -> Iterable[Rows]:
        return new_items(self.source.item_files, self.stored.item_ids(), self._requested_ids())

    def _new_columns(self) -> list[Rows]:
        """Return the values of columns to copy, as a list of at most one table."""
        stored, source = self.stored, self.source
        spaces = [card.space for card in self.cards]
        return new_columns(
            stored.paths.root, stored.column_files, source.paths.root, source.column_files, spaces,
            self._requested_ids(),
        )  # fmt: skip

    def _new_skipped(self) -> list[Rows]:
        """Return the rows of skipped texts to copy, as a list of at most one table."""
        spaces = {card.space for card in self.cards} | (set() if self.only else {None})
        rows = new_skipped(self.source.skipped_files, self.stored.skipped_files, spaces)
        return [] if rows is None else [rows]

    def _report(self, folder: Path, kind: str, n_rows: int) -> None:
        if n_rows:
            self.actions.append(Action("taken in", folder, kind, n_rows))

    def _datasets(self) -> list[MergedDataset]:
        """Return the datasets merged from both stores, and report the new rows."""
        units = {card.unit.value for card in self.cards} if self.only else None
        merged = []
        for path in self.source.paths.dataset_files():
            dataset = merged_dataset(path, self.paths.dataset(path.stem), units)
            merged.append(dataset)
            if dataset.n_new:
                self.actions.append(Action("taken in", dataset.path, "rows of the dataset", dataset.n_new))
            for unit in dataset.differing:
                self.actions.append(Action("kept", dataset.path, f"the rows of {unit} items are others there", None))
        return merged

    def index(self) -> None:
        """Update the indexes and merged summaries; indexes of spaces copied whole are copied rather than rebuilt."""
        source_paths = self.source.paths
        for card in self.cards:
            if not self.imports[card.space]:
                continue
            renew_merged(self.paths, card)
            kind = kind_of_indexes(self.paths, card) or kind_of_indexes(source_paths, card)
            if kind is None:
                continue
            names = [shard.name for shard in committed_shards(self.paths, card.space)]
            n_copied = sum(
                self.is_new(card.space) and copy_index(source_paths, self.paths, card.space, layer, names)
                for layer in card.layers
            )
            if n_copied:
                detail = f"the indexes of {n_copied} layers"
                self.actions.append(Action("taken in", self.paths.indexes(card.space), detail))
            if n_copied < len(card.layers):
                with observing(self.observe):
                    self.notes += recall_notes(card, update_indexes(self.paths, card, kind))
                detail = f"the indexes of {len(card.layers) - n_copied} layers"
                self.actions.append(Action("rebuilt", self.paths.indexes(card.space), detail))
