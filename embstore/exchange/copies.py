"""Copy a store, or some of its spaces and layers, to another place: files that it lacks, and one
commit.

Files never change, so that a copy only adds: of a space that both have, the larger of two sets of
items counts, and it is refused if neither has all items of the other. A copy that was interrupted
finds what it had copied.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from embstore.base import disk
from embstore.base.errors import SpaceMismatchError, StoreError, UsageError
from embstore.base.messages import count
from embstore.base.progress import Progress, report_progress
from embstore.base.table import Table
from embstore.maintain.upkeep import Action, tabulate
from embstore.storage import keys, manifest
from embstore.storage.cache import StoredFile, StoreFiles
from embstore.storage.card import Card, SpaceFilter
from embstore.storage.catalog import Catalog
from embstore.storage.copy import copy_files, explaining_changes, open_source, write_new
from embstore.storage.lock import write_lock
from embstore.storage.manifest import Change, Files, ItemSet, Manifest
from embstore.storage.vectors import LayerVectors
from embstore.storage.writer import write_card, write_sums


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a store is copied: some spaces, or all, and their layers, as in a query."""

    spaces: Sequence[str] = ()
    layers: str = "all"


@dataclass(slots=True)
class Plan:
    """What a place lacks of a store.

    Attributes:
        base: Files that the place has.
        files: Files to copy, of the store or written for the copy.
        removed: Keys of files there that they replace.
        cards: Cards of the spaces, with the layers that are copied.
    """

    base: Files
    files: list[StoredFile] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    cards: dict[str, Card] = field(default_factory=dict)


def copy_store(
    source: StoreFiles,
    target: StoreFiles,
    selection: Selection,
    verb: str = "push",
    *,
    dry_run: bool = False,
) -> Table:
    """Copy a store into a place that is empty or has a store, which gets what it lacks.

    The same call goes on after an interruption, and copies only what is missing.
    """
    _check_apart(source, target)
    here = open_source(source)
    with TemporaryDirectory(prefix="embstore-") as folder, explaining_changes(here):
        own = StoreFiles.of_folder(Path(folder))
        plan = make_plan(here, stored_catalog(target), selection, own, target.name)
        if dry_run:
            return report(f"would {verb}", plan.files)

        def change(base: Manifest) -> Change:
            nonlocal plan
            if base.files != plan.base:
                plan = make_plan(here, stored_catalog(target), selection, own, target.name)
            added: Files = {}
            for files in (source, own):
                found = [file for file in plan.files if file.files is files]
                added = {
                    **added,
                    **copy_files(files, found, target, _progress(verb, target.name, len(found))),
                }
            return Change(added, plan.removed)

        if target.find_manifest() is None:
            target.objects.check_writable()
            if target.is_local:
                disk.make_folder(target.root)
        with write_lock(target):
            committed = target.commit(change)
            if verb == "push":
                target.objects.replace(keys.PUBLISHED, manifest.to_bytes(committed))
    return report(f"{verb}ed", plan.files)


def _progress(verb: str, name: str, total: int) -> Callable[[int], None]:
    """Return a function that reports the number of files that were copied."""
    return lambda done: report_progress(
        Progress(verb, name, done, total, done / total if total else 1.0)
    )


def _check_apart(source: StoreFiles, target: StoreFiles) -> None:
    """Raise UsageError if one of two folders is the other, or is inside it."""
    if not (source.is_local and target.is_local):
        if source.name == target.name:
            raise UsageError(f"{source.name} is the store itself: name another place.")
        return
    own, other = source.root, target.root
    if own == other:
        raise UsageError(f"{own} is the store itself: name another place.")
    if own in other.parents or other in own.parents:
        inner, outer = sorted((own, other), key=lambda folder: len(folder.parts), reverse=True)
        raise UsageError(
            f"{inner} is inside {outer}, and a store is no part of another one: name another place."
        )


def stored_catalog(target: StoreFiles) -> Catalog | None:
    """Return the catalog of a place; None if there is no store."""
    return None if target.find_manifest() is None else Catalog(target)


def make_plan(
    source: Catalog, stored: Catalog | None, selection: Selection, own: StoreFiles, place: str
) -> Plan:
    """Return what a place lacks of a store, and write what has to be written for it into a folder
    of its own.

    Raises:
        SpaceMismatchError: A space of the same name was made differently there.
        StoreError: The place has other items of a space, or other values of a column or rows of a
            dataset.
    """
    plan = Plan(stored.manifest.files if stored is not None else {})
    for card in SpaceFilter(spaces=selection.spaces).select_with_layers(source.cards):
        part = replace(card, layers=card.layers.select(selection.layers))
        _add_space(plan, source, stored, part, own, place)
    _add_tables(plan, source, stored, own, is_whole=not selection.spaces)
    return plan


def _add_space(
    plan: Plan, source: Catalog, stored: Catalog | None, part: Card, own: StoreFiles, place: str
) -> None:
    """Add to a plan what a place lacks of a space, of which some layers are copied."""
    space, layers, card = part.space, part.layers.ids, source.cards[part.space]
    plan.cards[space] = part
    named = stored.manifest if stored is not None else manifest.EMPTY
    known = stored.cards.get(space) if stored is not None and not stored.is_empty(space) else None
    items, items_there = source.items_of(space), named.items_of(space, layers[0])
    if known is None:
        plan.removed += named.keys_of(keys.CARDS, space)
        plan.files += (
            _files(source, keys.CARDS, space)
            if part is card
            else _written(own, write_card(own, part))
        )
    elif different := known.differences(part):
        raise _mismatch(known, part, card, [*different], place)
    if known is None or items != items_there:
        if stored is not None and known is not None and not _has_more(source, stored, space):
            return
        vectors = [file for layer in layers for file in _files(source, keys.VECTORS, space, layer)]
        plan.files += [file for file in vectors if file.key not in named.files]
        there = {key for layer in layers for key in named.keys_of(keys.VECTORS, space, layer)}
        plan.removed += sorted(there - {file.key for file in vectors})
    sums = source.files.files_of(
        source.manifest, source.manifest.keys_with(items, keys.SUMS, space)
    )
    if sums and not named.keys_with(items, keys.SUMS, space):
        if part is not card:
            summaries = source.summaries(space)
            sums = _written(
                own, write_sums(own, space, {layer: summaries[layer] for layer in layers}, items)
            )
        plan.files += sums
        plan.removed += named.keys_of(keys.SUMS, space)
    for layer in layers:
        index, old = source.index(space, layer), named.keys_of(keys.INDEXES, space, layer)
        is_current = bool(named.keys_with(items, keys.INDEXES, space, layer))
        if index is not None and ItemSet.of_entry(index.entry) == items and not is_current:
            plan.files.append(index)
            plan.removed += old


def _files(
    catalog: Catalog, kind: keys.Kind, name: str = "", layer: int | None = None
) -> list[StoredFile]:
    """Return the files of a kind that a store has."""
    return catalog.files.files_of(catalog.manifest, catalog.manifest.keys_of(kind, name, layer))


def _written(own: StoreFiles, files: Files) -> list[StoredFile]:
    """Return files that were written for a copy."""
    return [own.file(key, entry) for key, entry in files.items()]


def _has_more(source: Catalog, stored: Catalog, space: str) -> bool:
    """Return whether a store has items of a space beside those of a place; raise StoreError if both
    have own ones.
    """
    n_here, n_there = _n_only(source, stored, space), _n_only(stored, source, space)
    if n_here and n_there:
        here, there = source.name, stored.name
        remedy = f"unite them: embstore merge {here} --store {there}"
        if there.startswith("hf://"):
            remedy = f"take them in, and copy again: embstore merge {there} --store {here}"
        raise StoreError(
            f"{there} has other content: {n_there:,} items of {space} that {here} does not have,"
            f" which has {n_here:,} others. Nothing was copied. To have all, {remedy}"
        )
    return n_here > 0


def _n_only(catalog: Catalog, other: Catalog, space: str) -> int:
    """Return the number of items of a space that another store does not have; shards of both are
    not read.
    """
    card = catalog.cards[space]
    layer = next(layer for layer in card.layers.ids if layer in other.cards[space].layers.ids)
    shards = [
        shard
        for shard in catalog.shards(space, layer)
        if shard.file.key not in other.manifest.files
    ]
    if not shards:
        return 0
    ids = LayerVectors(shards, card.dim).ids()
    return len(np.setdiff1d(ids, other.ids(space), assume_unique=True))


def _add_tables(
    plan: Plan, source: Catalog, stored: Catalog | None, own: StoreFiles, *, is_whole: bool
) -> None:
    """Add to a plan what a place lacks of the texts, columns, skipped texts and datasets of a
    store, or of its spaces.

    Tables are copied as they are if all that the place has are of the store; else the rows that it
    lacks are written.
    """
    theirs, ours = (_tables(catalog) if catalog is not None else {} for catalog in (source, stored))
    if is_whole and ours.keys() <= theirs.keys():
        plan.files += [file for key, file in theirs.items() if key not in ours]
        return
    requested = None if is_whole else source.ids_of(plan.cards)
    for new in write_new(source, stored, [*plan.cards.values()], requested, own):
        if new.differing:
            raise StoreError(
                f"{stored.name if stored else ''} has other content: other rows in {new.place} of"
                f" {new.differing[0]} items. Nothing was copied. Name another place, or remove"
                " these there."
            )
        plan.files += _written(own, new.added)
        plan.removed += new.removed


def _tables(catalog: Catalog) -> dict[str, StoredFile]:
    """Return the tables and datasets of a store, by key."""
    files = (catalog.item_files, catalog.column_files, catalog.skipped_files, catalog.dataset_files)
    return {file.key: file for of_kind in files for file in of_kind}


def _mismatch(
    stored: Card, copied: Card, source: Card, different: Sequence[str], place: str
) -> SpaceMismatchError:
    """Return the error for a space of which a place has another one, or other layers."""
    if [*different] != ["layers"]:
        return SpaceMismatchError(
            f"{place} has another space of the name {stored.space!r}: its"
            f" {stored.describe_differences(copied)}. Nothing was copied. Copy other spaces with"
            " `spaces`, or name another place."
        )
    there, here = (",".join(card.layers.names) for card in (stored, copied))
    remedies = []
    if {*stored.layers.members} <= {*source.layers.members}:
        remedies.append(f"To bring those up to date: spaces={stored.space!r} layers={there!r}.")
    other = f"For the layers {here} name another place"
    if not place.startswith("hf://"):
        other += (
            f", or remove the space there first: embstore remove --space {stored.space} --store"
            f" {place}"
        )
    return SpaceMismatchError(
        f"{place} has the layers {there} of {stored.space}, not {here}. Nothing was copied. "
        + " ".join([*remedies, other])
    )


def report(verb: str, files: Iterable[StoredFile]) -> Table:
    """Return a row for each space, for each folder of tables, and for each dataset, with new
    files.
    """
    n_bytes: Counter[str] = Counter()
    counts: dict[str, Counter[str]] = {}
    for file in files:
        key = keys.parse(file.key)
        assert key is not None
        of_space = key.kind in (keys.CARDS, keys.VECTORS, keys.SUMS, keys.INDEXES)
        place = keys.folder_of(keys.VECTORS, key.name) if of_space else key.kind.folder
        place = file.key if key.kind is keys.DATASETS else place
        n_bytes[place] += file.entry["bytes"]
        counts.setdefault(place, Counter())[key.kind.noun] += key.kind not in (
            keys.CARDS,
            keys.SUMS,
            keys.DATASETS,
        )
    actions = []
    for place in sorted(counts):
        found = (_counted(noun, n) for noun, n in sorted(counts[place].items()) if n)
        actions.append(Action(verb, Path(place), ", ".join(found), None, n_bytes[place]))
    return tabulate(actions, Path())


def _counted(noun: str, n: int) -> str:
    """Return a number with its noun, such as ``2 indexes`` or ``3 tables of texts``."""
    head, _, rest = noun.partition(" ")
    return f"{count(n, head, 'es' if head == 'index' else 's')} {rest}".rstrip()
