"""Take in the items of another store that are missing here, with their vectors, texts, columns and
datasets.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embstore.base.errors import DamagedError, SpaceMismatchError, StoreError, UsageError
from embstore.base.messages import count
from embstore.base.progress import Progress, report_progress
from embstore.base.sharding import SHARD_ITEMS
from embstore.base.table import Table
from embstore.index.updating import recall_notes, update_indexes
from embstore.maintain.upkeep import Action, keys_of_layers, kind_of_indexes, locked, tabulate
from embstore.storage import keys, sums
from embstore.storage.cache import StoredFile, StoreFiles
from embstore.storage.card import Card, SpaceFilter
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.compact import in_place
from embstore.storage.copy import copy_files, explaining_changes, open_source, write_new
from embstore.storage.manifest import Change, Entry, Files, ItemSet, Manifest
from embstore.storage.vectors import SHARD_BYTES, Shard, is_among
from embstore.storage.writer import commit_sums, write_batch, write_sums


@dataclass(frozen=True, slots=True, eq=False)
class _NewItems:
    """Items of a space that are missing here.

    Attributes:
        card: Card of the space.
        whole: Shards of all layers that have only such items.
        others: Ids of those that are in shards with other items.
        n_items: Number of all.
        is_new: Whether this store has no items of the space.
    """

    card: Card
    whole: Sequence[StoredFile]
    others: Ids
    n_items: int
    is_new: bool

    @property
    def detail(self) -> str:
        """What is taken in, as a phrase."""
        parts = [count(len(self.whole), "shard")]
        parts += [f"{count(len(self.others), 'item')} of other shards"] if len(self.others) else []
        parts += ["a new space"] if self.is_new else []
        return ", ".join(parts)


def merge(
    place: Path | StoreFiles,
    other: Path | StoreFiles,
    spaces: Sequence[str] = (),
    *,
    dry_run: bool = False,
) -> Table:
    """Copy the items that are missing here from another store, with their vectors, texts and
    datasets.

    A space that both stores have must be the same in both. All files are copied first, each checked
    against its hash, and then committed at once; then the indexes are updated. The other store is
    only read.
    """
    files, source = StoreFiles.of_folder(place), open_source(other)
    if files.name == source.name or (files.is_local and files.root == source.root):
        raise UsageError(f"{source.name} is the store itself: name another one to take in.")
    with locked(files, dry_run=dry_run):
        with explaining_changes(source):
            stored = Catalog(files)
            cards = [
                card
                for card in SpaceFilter(spaces=spaces).select(source.cards)
                if not source.is_empty(card.space)
            ]
            planned = [_plan(source, stored, card) for card in cards]
            requested = source.ids_of(card.space for card in cards) if spaces else None
            actions = [
                Action("taken in", _folder(files, new.card.space), new.detail, new.n_items)
                for new in planned
                if new.n_items
            ]
            added: dict[str, Entry] = {}
            removed: list[str] = []
            for new in planned if not dry_run else ():
                change = _copied(source, stored, new)
                added |= change.added
                removed += change.removed
            for table in write_new(source, stored, cards, requested, files, dry_run=dry_run):
                path = files.root / table.place
                actions += (
                    [Action("taken in", path, table.label, table.n_rows)] if table.n_rows else []
                )
                actions += [
                    Action("kept", path, f"the rows of {unit} items are others there")
                    for unit in table.differing
                ]
                added |= table.added
                removed += table.removed
        if dry_run:
            return tabulate(actions, files.root, dry_run=True)
        files.commit(lambda base: _change(stored, cards, base, Change(added, removed)))
        notes = []
        for new in (new for new in planned if new.n_items):
            commit_sums(files, new.card.space)
            done, below_target = _updated_indexes(files, source.manifest, new.card, added)
            actions += done
            notes += below_target
    return tabulate(actions, files.root, notes)


def _folder(files: StoreFiles, space: str) -> Path:
    return files.root / keys.folder_of(keys.VECTORS, space)


def _plan(source: Catalog, stored: Catalog, card: Card) -> _NewItems:
    """Return the items of a space that are missing here; raise SpaceMismatchError if both have
    another space.
    """
    space, layers = card.space, card.layers.ids
    is_new = stored.is_empty(space)
    if not is_new and (different := stored.cards[space].describe_differences(card)):
        raise SpaceMismatchError(
            f"the space {space!r} is another one in {source.name}: here its {different} there."
            " Nothing was taken. To take other spaces, name them."
        )
    source.check_texts(space)
    known = np.empty(0, np.int64) if is_new else stored.ids(space)
    files_of = [
        {_items(shard): shard.file for shard in source.shards(space, layer)} for layer in layers
    ]
    whole: list[StoredFile] = []
    others = [np.empty(0, np.int64)]
    shards = source.shards(space, layers[0])
    n_items = 0
    for shard in shards:
        ids = shard.ids[~is_among(shard.ids, known)]
        n_items += len(ids)
        if len(ids) == shard.n and all(_items(shard) in of_layer for of_layer in files_of):
            whole += [of_layer[_items(shard)] for of_layer in files_of]
        else:
            others.append(ids)
    return _NewItems(card, whole, np.concatenate(others), n_items, is_new)


def _items(shard: Shard) -> ItemSet:
    return ItemSet.of_entry(shard.file.entry)


def _copied(source: Catalog, stored: Catalog, new: _NewItems) -> Change:
    """Copy shards, rewrite the new items of others, and of a new space copy also its card, sums and
    indexes.

    The sums are those of both stores together if no item is in both; else they are computed later.
    """
    card, space, files = new.card, new.card.space, stored.files
    if not new.n_items:
        return Change()

    def report(n_files: int) -> None:
        share = n_files / max(1, len(new.whole))
        report_progress(Progress("merge", space, n_files, len(new.whole), share))

    added = {**copy_files(source.files, new.whole, files, report), **_rewritten(source, files, new)}
    named, items = source.manifest, source.items_of(space)
    if new.is_new:
        added |= copy_files(
            source.files, source.files.files_of(named, named.keys_of(keys.CARDS, space)), files
        )
        indexes = keys_of_layers(named, keys.INDEXES, space, card.layers.ids)
        for file in source.files.files_of(named, indexes):
            if ItemSet.of_entry(file.entry) == items:
                with suppress(DamagedError):  # it is built anew
                    added |= copy_files(source.files, [file], files)
        added |= write_sums(files, space, source.summaries(space), items)
        return Change(added, stored.manifest.keys_of_space(space))
    if new.n_items == items.n:
        total = sums.add(stored.summaries(space), source.summaries(space))
        added |= write_sums(files, space, total, stored.items_of(space) + items)
        return Change(added, stored.manifest.keys_of(keys.SUMS, space))
    return Change(added)


def _rewritten(source: Catalog, files: StoreFiles, new: _NewItems) -> dict[str, Entry]:
    """Write the vectors of new items that are in shards with others."""
    card = new.card
    added: dict[str, Entry] = {}
    whole = {file.key for file in new.whole}
    if len(new.others):
        for shard in (
            shard for layer in card.layers.ids for shard in source.shards(card.space, layer)
        ):
            if shard.file.key not in whole:
                shard.file.check()
    n_rows = max(1, min(SHARD_ITEMS, SHARD_BYTES // (card.dim * np.dtype(card.dtype).itemsize)))
    for start in range(0, len(new.others), n_rows):
        ids = np.sort(new.others[start : start + n_rows])
        vectors = (source.vectors(card.space, layer, ids).gather()[1] for layer in card.layers.ids)
        added |= write_batch(files, card, ids, vectors).files
    return added


def _change(stored: Catalog, cards: Sequence[Card], base: Manifest, change: Change) -> Change:
    """Return the change, unless another process has stored items of the same spaces since the store
    was listed.
    """
    for space in (card.space for card in cards):
        layers = base.layers_of(keys.VECTORS, space)
        shards = keys_of_layers(base, keys.VECTORS, space, layers)
        if any(key not in stored.manifest.files for key in shards):
            raise StoreError(
                f"another process has stored items of {space} in {stored.name} meanwhile. Nothing"
                " was taken; run the same command again."
            )
    return in_place(stored.files, base, change.added, [*change.removed])


def _updated_indexes(
    files: StoreFiles, source: Manifest, card: Card, added: Files
) -> tuple[list[Action], list[str]]:
    """Build the indexes of a space that were not copied, if it has any here or there; return
    actions and notes.
    """
    named = files.manifest()
    kind = kind_of_indexes(named, card.space) or kind_of_indexes(source, card.space)
    if kind is None:
        return [], []
    folder, n_layers = files.root / keys.folder_of(keys.INDEXES, card.space), len(card.layers)
    indexes = keys_of_layers(named, keys.INDEXES, card.space, card.layers.ids)
    n_copied = sum(key in added for key in indexes)
    built = update_indexes(files, card, kind)
    actions = []
    for verb, n in (("taken in", n_copied), ("rebuilt", len(built))):
        if n:
            actions.append(
                Action(verb, folder, f"the indexes of {n} of {count(n_layers, 'layer')}")
            )
    return actions, recall_notes(card, built)
