"""Merge, push and pull: copy a store, or some of its spaces and layers, into another one by one
plan, files first and then one commit.

Files never change, so that a copy only adds. Of a space that both have, ``merge`` adds the items
that are missing; ``push`` and ``pull`` make it a copy, and refuse if items would be lost. A copy
that was interrupted finds what it had copied.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from embstore.base import disk
from embstore.base.errors import SpaceMismatchError, StoreError, UsageError
from embstore.base.messages import count
from embstore.base.progress import Progress, report_progress
from embstore.base.table import Table
from embstore.maintain.upkeep import Action, rebuild, tabulate
from embstore.storage import keys, manifest
from embstore.storage.cache import StoredFile, StoreFiles
from embstore.storage.card import Card, SpaceFilter
from embstore.storage.catalog import Catalog
from embstore.storage.copy import copy_files, explaining_changes, open_source, write_new_rows
from embstore.storage.lock import write_lock
from embstore.storage.manifest import Change, Files, Manifest
from embstore.storage.vectors import LayerVectors, is_among
from embstore.storage.writer import write_card, write_layer, write_sums

_DONE = {"merge": "merged", "push": "pushed", "pull": "pulled"}
_OF_SPACES = (keys.CARDS, keys.VECTORS, keys.SUMS, keys.INDEXES)


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a store is copied: some spaces, or all, and their layers, as in a query."""

    spaces: Sequence[str] = ()
    layers: str = "all"

    def cards(self, source: Catalog) -> list[Card]:
        """Return the cards of the spaces, with the layers to copy."""
        cards = SpaceFilter(spaces=self.spaces).select_with_layers(source.cards)
        return [replace(card, layers=card.layers.select(self.layers)) for card in cards]


def copy_store(
    source: StoreFiles,
    target: StoreFiles,
    selection: Selection,
    verb: str,
    *,
    dry_run: bool = False,
) -> Table:
    """Copy into a place what it lacks of a store; after a merge, compute sums and indexes again.

    The same call goes on after an interruption, and copies only what is missing.
    """
    _check_apart(source, target)
    here = open_source(source)
    selection.cards(here)  # or a new place would be begun in vain
    if dry_run:
        with TemporaryDirectory(prefix="embstore-") as folder, explaining_changes(here):
            written = StoreFiles.of_folder(Path(folder))
            plan = Plan(here, stored_catalog(target), selection, written, verb, dry_run=True)
        return tabulate(plan.report(), dry_run=True)
    plans = []

    def change(_: Manifest) -> Change:
        plan = Plan(here, stored_catalog(target), selection, target, verb)
        plans.append(plan)
        files = [file for file in plan.files if file.files is source]

        def report(n_files: int) -> None:
            report_progress(Progress(verb, target.name, n_files, len(files)))

        copied = copy_files(source, files, target, report)
        written = {file.key: file.entry for file in plan.files if file.files is target}
        return Change({**copied, **written}, plan.removed)

    if target.find_manifest() is None:
        target.objects.check_writable()
        if target.is_local:
            disk.make_folder(target.root)
    with write_lock(target):
        with explaining_changes(here):
            committed = target.commit(change)
        if verb == "push":
            target.objects.replace(keys.PUBLISHED, manifest.to_bytes(committed))
        actions = plans[-1].report()
        for card in plans[-1].grown:
            items = committed.items_of(card.space, card.layers.ids[0])
            actions += rebuild(target, committed, card, items)
    return tabulate(actions)


def _check_apart(source: StoreFiles, target: StoreFiles) -> None:
    """Raise UsageError if one of two stores is the other, or is inside it."""
    if source.name == target.name:
        raise UsageError(f"{source.name} is the store itself: name another place.")
    if source.is_local and target.is_local:
        for inner, outer in ((source.root, target.root), (target.root, source.root)):
            if outer in inner.parents:
                raise UsageError(
                    f"{inner} is inside {outer}, and a store is no part of another one: name"
                    " another place."
                )


def stored_catalog(target: StoreFiles) -> Catalog | None:
    """Return the catalog of a place; None if there is no store."""
    return None if target.find_manifest() is None else Catalog(target)


class Plan:
    """What a place lacks of a store.

    Attributes:
        files: Files to copy: those of the store, and those that were written for the copy.
        removed: Keys of files of the place that they replace.
        cards: Cards of the spaces, with the layers that are copied.
        grown: Cards of spaces with new items, whose sums and indexes are those of fewer.

    Args:
        source: The store.
        stored: What the place has; None if there is no store.
        selection: What of the store is copied.
        written: Store, the place or another one, that gets what is written for the copy.
        verb: ``merge``, ``push`` or ``pull``.
        dry_run: Whether to write no vectors.

    Raises:
        SpaceMismatchError: A space of the same name was made differently there.
        StoreError: The place has other items of a space, or other values of a column; or rows of a
            dataset, unless it is a merge.
    """

    def __init__(
        self,
        source: Catalog,
        stored: Catalog | None,
        selection: Selection,
        written: StoreFiles,
        verb: str,
        *,
        dry_run: bool = False,
    ) -> None:
        self._source, self._stored, self._written = source, stored, written
        self._verb, self._dry_run = verb, dry_run
        self._named = manifest.EMPTY if stored is None else stored.manifest
        self._place = "" if stored is None else stored.name
        self._wanted: list[StoredFile] = []
        self._replaced: list[str] = []
        self._kept: Sequence[tuple[str, str]] = ()
        self.grown: list[Card] = []
        self.cards = selection.cards(source)
        for card in self.cards:
            self._check_same(card)
        for card in self.cards:
            self._add_space(card)
        self._add_tables(is_whole=not selection.spaces)
        wanted = {file.key: file for file in self._wanted}
        self.files = [file for key, file in wanted.items() if key not in self._named.files]
        self.removed = [key for key in self._replaced if key not in wanted]

    def report(self) -> list[Action]:
        """Return an action for each space, folder of tables, and dataset with new files."""
        members: dict[str, list[StoredFile]] = {}
        for file in self.files:
            members.setdefault(_place_of(file), []).append(file)
        actions = [
            _action(_DONE[self._verb], place, files) for place, files in sorted(members.items())
        ]
        return actions + [
            Action(
                "kept",
                f"{keys.DATASETS.folder}/{name}",
                f"the rows of {unit} items are others there",
            )
            for name, unit in self._kept
        ]

    def _check_same(self, card: Card) -> None:
        """Raise SpaceMismatchError if the place has another space of the name, or other layers."""
        if self._stored is None or self._stored.is_empty(card.space):
            return
        different = self._stored.cards[card.space].describe_differences(card)
        if different:
            raise SpaceMismatchError(
                f"{self._place} has another space of the name {card.space!r}: there its"
                f" {different} here. Nothing was copied. Name other spaces with `spaces`, the same"
                " layers with `layers`, or another place; or remove the space there first."
            )

    def _add_space(self, card: Card) -> None:
        """Add what the place lacks of a space, of which some layers are copied."""
        source, named, space, layers = self._source, self._named, card.space, card.layers.ids
        items, items_there = source.items_of(space), named.items_of(space, layers[0])
        is_whole = card == source.cards[space]
        if not items_there.n:
            self._replaced += named.keys_of_space(space)
            if is_whole:
                self._add(source.manifest.keys_of(keys.CARDS, space))
            else:
                self._add_written(write_card(self._written, card))
        if items != items_there:
            if items_there.n and self._verb == "merge":
                self._add_new_items(card)
                return
            if items_there.n and not self._has_more(card):
                return
            for layer in layers:
                self._add(source.manifest.keys_of(keys.VECTORS, space, layer))
                self._replaced += named.keys_of(keys.VECTORS, space, layer)
        sums = source.manifest.keys_with(items, keys.SUMS, space)
        if sums and not named.keys_with(items, keys.SUMS, space):
            if is_whole:
                self._add(sums)
            else:
                of_all = source.summaries(space)
                chosen = {layer: of_all[layer] for layer in layers}
                self._add_written(write_sums(self._written, space, chosen, items))
            self._replaced += named.keys_of(keys.SUMS, space)
        for layer in layers:
            indexes = source.manifest.keys_with(items, keys.INDEXES, space, layer)
            if indexes and not named.keys_with(items, keys.INDEXES, space, layer):
                self._add(indexes)
                self._replaced += named.keys_of(keys.INDEXES, space, layer)

    def _add_new_items(self, card: Card) -> None:
        """Add the items of a space that the place does not have: whole shards, and parts of
        others.
        """
        assert self._stored is not None
        present, n_before = self._stored.ids(card.space), len(self._wanted)
        for layer in card.layers:
            for shard in self._source.shards(card.space, layer.id):
                file, new = shard.file, shard.ids[~is_among(shard.ids, present)]
                if len(new) == shard.n:
                    self._wanted.append(file)
                elif len(new) and self._dry_run:
                    self._wanted.append(replace(file, entry={**file.entry, "n": len(new)}))
                elif len(new):
                    file.check()
                    vectors = LayerVectors([shard], card.dim, new).gather()[1]
                    self._add_written(write_layer(self._written, card, layer, new, vectors)[0])
        if len(self._wanted) > n_before:
            self.grown.append(card)

    def _has_more(self, card: Card) -> bool:
        """Return whether the store has all items of a space that the place has, and more; raise
        StoreError if each of them has some that the other does not have.
        """
        assert self._stored is not None
        # Shards that both have are not read.
        here, there = (
            {shard.file.key: shard for shard in store.shards(card.space, card.layers.ids[0])}
            for store in (self._source, self._stored)
        )
        ids, ids_there = (
            LayerVectors([shards[key] for key in shards.keys() - others.keys()], card.dim).ids()
            for shards, others in ((here, there), (there, here))
        )
        n_new, n_lost = len(np.setdiff1d(ids, ids_there)), len(np.setdiff1d(ids_there, ids))
        if n_new and n_lost:
            mine, other = self._source.name, self._place
            if self._verb == "pull":
                mine, other = other, mine
            raise StoreError(
                f"{self._place} has other content: {n_lost:,} items of {card.space} that"
                f" {self._source.name} does not have, which has {n_new:,} others. Nothing was"
                f" copied. Take the others in first: embstore merge {other} --store {mine}"
            )
        return n_new > 0

    def _add_tables(self, *, is_whole: bool) -> None:
        """Add what the place lacks of the texts, columns, skipped texts and datasets of the store,
        or of its spaces.

        Tables are copied as they are if all that the place has are of the store; else the rows that
        it lacks are written.
        """
        theirs, ours = _tables(self._source.manifest), _tables(self._named)
        if is_whole and {*ours} <= {*theirs}:
            self._add(theirs)
            return
        requested = None if is_whole else self._source.ids_of(card.space for card in self.cards)
        new = write_new_rows(self._source, self._stored, self.cards, requested, self._written)
        if new.differing and self._verb != "merge":
            name, unit = new.differing[0]
            raise StoreError(
                f"{self._place} has other content: other rows in datasets/{name} of {unit} items."
                " Nothing was copied. Name another place, or remove these there."
            )
        self._add_written(new.added)
        self._replaced += new.removed
        self._kept = new.differing

    def _add(self, stored_keys: Iterable[str]) -> None:
        """Add files of the store, by key."""
        self._wanted += self._source.files.files_of(self._source.manifest, stored_keys)

    def _add_written(self, files: Files) -> None:
        """Add files that were written for the copy."""
        self._wanted += [self._written.file(key, entry) for key, entry in files.items()]


def _tables(named: Manifest) -> list[str]:
    """Return the keys of the tables and datasets of a store."""
    datasets = named.names_of(keys.DATASETS)
    return [key for kind in keys.TABLES for key in named.keys_of(kind)] + [
        key for name in datasets for key in named.keys_of(keys.DATASETS, name)
    ]


def _place_of(file: StoredFile) -> str:
    """Return the folder of a space or of tables that a file is of, or the dataset."""
    key = keys.parse(file.key)
    assert key is not None
    if key.kind in _OF_SPACES:
        return keys.folder_of(keys.VECTORS, key.name)
    return f"{key.kind.folder}/{key.name}".rstrip("/")


def _action(verb: str, place: str, files: Sequence[StoredFile]) -> Action:
    """Return the action of copying some files of one space, of one kind of tables, or of a
    dataset.
    """
    n_files: Counter[str] = Counter()
    n_items: Counter[int | None] = Counter()
    for file in files:
        key = keys.parse(file.key)
        assert key is not None
        if key.kind not in (keys.CARDS, keys.SUMS):
            n_files[key.kind.noun] += 1
            n_items[key.layer] += file.entry["n"] if key.kind is not keys.INDEXES else 0
    detail = ", ".join(_counted(noun, n) for noun, n in sorted(n_files.items()))
    n_bytes = sum(file.entry["bytes"] for file in files)
    return Action(verb, place, detail, max(n_items.values(), default=0) or None, n_bytes)


def _counted(noun: str, n: int) -> str:
    """Return a number with its noun, such as ``2 indexes`` or ``3 tables of texts``."""
    head, _, rest = noun.partition(" ")
    return f"{count(n, head, 'es' if head == 'index' else 's')} {rest}".rstrip()
