"""Copy the spaces of another store into this one."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError, SpaceMismatchError, UsageError
from embstore.base.progress import Observer, Progress, observing
from embstore.base.table import Table
from embstore.index.updating import readable_card, recall_notes, update_indexes
from embstore.maintain.actions import Action, kind_of_indexes, tabulate
from embstore.storage.catalog import Catalog
from embstore.storage.files import names
from embstore.storage.files.card import Card
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.files.vectors import Ids, LayerVectors
from embstore.storage.maintenance.copying import (
    Incoming,
    check_same_items,
    explaining_changes,
    open_source,
    write_new,
    write_subset,
)
from embstore.storage.maintenance.file_checks import IdSet
from embstore.storage.maintenance.space_summary import write_merged
from embstore.storage.selection import SpaceFilter
from embstore.storage.transaction.recovery import maintenance_lock


def merge(
    root: Path, other: Path, spaces: Sequence[str] = (), observe: Observer = lambda _: None, *, dry_run: bool = False
) -> Table:
    """Copy the items that are missing here from another store, with their vectors, texts and datasets.

    A space that both stores have must be the same in both. All files are copied first, each checked against its hash,
    and then committed at once; then the indexes and merged summaries are updated. The other store is only read.
    """
    paths, source_root = StorePaths(disk.resolved(root)), disk.resolved(other)
    if paths.root == source_root or disk.is_same(paths.root, source_root):
        raise UsageError(f"{source_root} is the store itself: name another one to take in.")
    with maintenance_lock(paths), atomic.temporary(paths.root) as folder:
        source = open_source(source_root)
        with explaining_changes(source):
            cards = [card for card in SpaceFilter(spaces=spaces).select(source.cards) if source.shards[card.space]]
            requested = source.ids_of(card.space for card in cards) if spaces else None
            work = _Merge(paths, source, Catalog(paths.root), cards, requested, observe, dry_run, folder)
            work.copy()
        if not dry_run:
            work.renew()
        return tabulate(work.actions, paths.root, work.notes, dry_run=dry_run)


@dataclass
class _Merge:
    """The merge of one store into another, whose write lock is held.

    Attributes:
        paths: Paths of the store to copy into.
        source: Catalog of the store to copy from.
        stored: Catalog of the store to copy into, as it was before.
        cards: Cards of the spaces to copy.
        requested: Ids of the items to copy, ascending; None for all.
        folder: Folder for the files on their way.
        keys: Paths, below the store's folder, of the files to commit.
        shards: Shards with missing items, by space, and the ids of these items; None for a whole shard.
        n_indexed: Number of copied indexes, by space.
    """

    paths: StorePaths
    source: Catalog
    stored: Catalog
    cards: Sequence[Card]
    requested: Ids | None
    observe: Observer
    dry_run: bool
    folder: Path
    keys: list[str] = field(default_factory=list)
    shards: dict[str, dict[Shard, Ids | None]] = field(default_factory=dict)
    n_indexed: Counter[str] = field(default_factory=Counter)
    actions: list[Action] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def copy(self) -> None:
        """Plan, copy and commit, in this order."""
        for card in self.cards:
            self._check_same_space(card)
        self.shards = {card.space: self._new_shards(card) for card in self.cards}
        check_same_items(self.source, self.stored, self.requested)
        incoming = Incoming(self.paths, self.folder)
        for card in self.cards if not self.dry_run else ():
            self._copy_shards(incoming, card)
            self._copy_indexes(incoming, card)
        self._copy_tables(incoming)
        if not self.dry_run:
            incoming.publish(self.keys)

    def renew(self) -> None:
        """Update the merged summaries and the indexes of the spaces with new items, after the commit."""
        for card in self.cards:
            if self.shards[card.space]:
                write_merged(self.paths, card)
                self._renew_indexes(card)

    def _check_same_space(self, card: Card) -> None:
        """Raise SpaceMismatchError unless a space is the same in both stores, or new here."""
        stored = self.stored.cards.get(card.space)
        if stored is None or self._is_new(card) or not (different := stored.describe_differences(card)):
            return
        raise SpaceMismatchError(
            f"the space {card.space!r} is another one in {self.source.paths.root}: here its {different} there. Nothing "
            "was taken. To take other spaces, name them with ⦃space⦄."
        )

    def _is_new(self, card: Card) -> bool:
        """Return whether this store has no shards of a space."""
        return not self.stored.shards.get(card.space)

    def _new_shards(self, card: Card) -> dict[Shard, Ids | None]:
        """Return the shards with items that are missing here, and report them."""
        self.source.check_texts(card.space)
        stored = self.source.shards[card.space]
        found: dict[Shard, Ids | None] = {}
        n_items, seen = 0, IdSet(None if self._is_new(card) else self.stored.ids(card.space))
        for shard in stored:
            ids = LayerVectors([shard], card.layers.ids[0], card.dim).ids()
            if len(new := seen.missing(ids)):
                found[shard] = None if len(new) == len(ids) else new
                seen.add(new)
                n_items += len(new)
        n_partial = sum(ids is not None for ids in found.values())
        detail = f"{len(found)} of {len(stored)} shards" + (f", {n_partial} of them in part" if n_partial else "")
        detail += ", a new space" if self._is_new(card) else ""
        self._report(self.paths.embeddings(card.space), detail, n_items)
        return found

    def _copy_shards(self, incoming: Incoming, card: Card) -> None:
        """Copy the card of a new space, and shards; of those with items that are here, write the others."""
        shards = self.shards[card.space]
        for done, (shard, ids) in enumerate(shards.items()):
            self.observe(Progress("merge", card.space, done, len(shards), done / len(shards)))
            if ids is None:
                self._receive(incoming, shard.summary_path, shard.path)
            else:
                names.check_content(shard.path)
                self.keys += map(incoming.paths.key, write_subset(incoming.paths, shard, card, ids))
        if shards:
            self.observe(Progress("merge", card.space, len(shards), len(shards), 1.0))
            if self._is_new(card):
                self._receive(incoming, self.source.paths.card(card.space))

    def _receive(self, incoming: Incoming, *files: Path) -> None:
        """Copy files of the other store."""
        keys = [self.source.paths.key(file) for file in files]
        for key, file in zip(keys, files, strict=True):
            incoming.receive(key, file)
        self.keys += keys

    def _copy_indexes(self, incoming: Incoming, card: Card) -> None:
        """Copy the indexes of a space that is copied whole; damaged ones are rebuilt."""
        shards = self.shards[card.space]
        is_whole = self._is_new(card) and all(ids is None for ids in shards.values())
        for layer in card.layers if is_whole else ():
            index = self.source.paths.index(card.space, layer)
            with suppress(DamagedError):
                if (stored := readable_card(index)) is not None and stored.covers(shard.name for shard in shards):
                    self._receive(incoming, self.source.paths.index_card(index), index)
                    self.n_indexed[card.space] += 1

    def _copy_tables(self, incoming: Incoming) -> None:
        """Write the rows of texts, columns, skipped texts and datasets that are missing here."""
        rows = write_new(self.source, self.stored, self.cards, self.requested, incoming.paths, dry_run=self.dry_run)
        for new in rows:
            place = self.paths.root / new.place
            self._report(place, new.label, new.n_rows)
            self.keys += new.files
            for unit in new.differing:
                self.actions.append(Action("kept", place, f"the rows of {unit} items are others there", None))

    def _report(self, place: Path, detail: str, n_rows: int) -> None:
        if n_rows:
            self.actions.append(Action("taken in", place, detail, n_rows))

    def _renew_indexes(self, card: Card) -> None:
        """Build the indexes of a space that were not copied, if it has any here or there."""
        kind = kind_of_indexes(self.paths, card) or kind_of_indexes(self.source.paths, card)
        if kind is None:
            return
        folder, n_copied = self.paths.indexes(card.space), self.n_indexed[card.space]
        if n_copied:
            self.actions.append(Action("taken in", folder, f"the indexes of {n_copied} layers"))
        if n_copied < len(card.layers):
            with observing(self.observe):
                self.notes += recall_notes(card, update_indexes(self.paths, card, kind))
            self.actions.append(Action("rebuilt", folder, f"the indexes of {len(card.layers) - n_copied} layers"))
