"""Find the files of a store that travel: all that its manifest names, or those of some spaces and layers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError, SpaceMismatchError, StoreError
from embstore.base.space import Layers
from embstore.index.updating import readable_card
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card, store_card
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.shards import ShardContent, publish_shard, stage_shard
from embstore.storage.files.tables import bounded, read_part
from embstore.storage.files.vectors import LayerVectors
from embstore.storage.maintenance.column_tables import new_columns
from embstore.storage.maintenance.import_store import merged_dataset, new_items, new_skipped, stage_table
from embstore.storage.selection import SpaceFilter
from embstore.storage.transaction.manifest import read_snapshot

Content = dict[str, Path]
"""Path of a file in a store, with slashes → the file that has its content."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a store is copied: some spaces, or all, and their layers, as in a query."""

    spaces: Sequence[str] = ()
    layers: str = "all"


@dataclass(frozen=True, slots=True)
class Part:
    """The files of a store that travel, with the cards of their spaces, which say which layers travel."""

    files: Content
    cards: Mapping[str, Card]
    is_whole: bool  # then they replace what the other place has

    def superseded(self, stored: Iterable[str]) -> list[str]:
        """Return those files of a place whose content is in these files under other names, as after a compaction."""
        folders = [f"{kind}/space={space}/" for space in self.cards for kind in ("embeddings", "summaries")]
        others = (key for key in stored if key not in self.files)
        return [key for key in others if self.is_whole or key.startswith(tuple(folders))]


def make_part(source: Catalog, stored: Catalog | None, selection: Selection, folder: Path, place: str) -> Part:
    """Return the files that travel, after the check that a place has nothing that would be lost.

    ``stored`` is the store of that place; its texts do not travel again. The folder gets tables and shards that are
    rewritten.
    """
    if not selection.spaces and selection.layers == "all":
        part = _whole(source)
    else:
        cards = SpaceFilter(spaces=selection.spaces).select(source.cards)
        part = _of_spaces(source, cards, selection.layers, stored, folder)
    if stored is not None:
        _check_content(part, source, stored, place)
    return part


def _whole(source: Catalog) -> Part:
    paths, snapshot = source.paths, read_snapshot(source.paths)
    if missing := next(snapshot.missing(paths), None):
        raise DamagedError(f"{missing} is missing, and the manifest names it. Run: embstore repair")
    files = {key: paths.file(key) for key in snapshot.files}
    for card in source.cards.values():
        files |= _derived(source, card)
    return Part(files, dict(source.cards), is_whole=True)


def _of_spaces(source: Catalog, cards: Sequence[Card], layers: str, stored: Catalog | None, folder: Path) -> Part:
    paths, own = source.paths, StorePaths(folder)
    files: Content = {}
    chosen: dict[str, Card] = {}
    for card in cards:
        members = card.layers.select(layers).members
        if members == card.layers.members:
            chosen[card.space] = card
            own_files = [paths.card(card.space), *(shard.path for shard in source.shards[card.space])]
            files |= {paths.key(path): path for path in own_files} | _derived(source, card)
        else:
            chosen[card.space] = replace(card, layers=Layers(members, card.layers.n_blocks, card.layers.top_form))
            files |= _rewritten(source, chosen[card.space], own)
    return Part(files | _tables(source, cards, stored, own), chosen, is_whole=False)


def _derived(source: Catalog, card: Card) -> Content:
    """Return the summaries, current indexes and maps of a space."""
    paths, shards = source.paths, source.shards[card.space]
    files = [shard.summary_path for shard in shards]
    for layer in card.layers:
        path = paths.index(card.space, layer)
        stored = readable_card(path)
        if stored is not None and stored.covers(shard.name for shard in shards):
            files += [path, paths.index_card(path)]
    files += [path for path in (paths.merged(card.space), *paths.map_files(card.space)) if disk.exists(path)]
    return {paths.key(path): path for path in files}


def _rewritten(source: Catalog, card: Card, own: StorePaths) -> Content:
    """Write the shards of a space anew with some of its layers, and return them with its card and indexes."""
    store_card(own, card)
    files = [own.card(card.space)]
    new_names = {}
    for shard in source.shards[card.space]:
        ids = LayerVectors([shard], card.layers.ids[0], card.dim).ids()
        vectors = (LayerVectors([shard], layer.id, card.dim, ids).gather()[1] for layer in card.layers)
        with atomic.temporary(own.embeddings(card.space)) as temp:
            staged = stage_shard(temp, own, ShardContent(card, ids, vectors))
            publish_shard(staged)
        new_names[shard.name] = staged.shard.name
        files += staged.shard
    content = {own.key(path): path for path in files}
    for layer in card.layers:
        path = source.paths.index(card.space, layer)
        stored = readable_card(path)
        if stored is not None and stored.covers(new_names):
            key = source.paths.key(path)
            replace(stored, shards=tuple(sorted(new_names.values()))).write(own.root / key)
            index_card = own.index_card(own.root / key)
            content |= {key: path, own.key(index_card): index_card}
    return content


def _tables(source: Catalog, cards: Sequence[Card], stored: Catalog | None, own: StorePaths) -> Content:
    """Write tables of the texts, skipped texts and datasets of some spaces that the other place does not have."""
    requested = np.unique(np.concatenate([np.empty(0, np.int64), *(source.ids(card.space) for card in cards)]))
    known = stored.item_ids() if stored is not None else np.empty(0, np.int64)
    skipped = new_skipped(
        source.skipped_files, stored.skipped_files if stored is not None else (), {card.space for card in cards}
    )
    files = list(_staged(own.items, new_items(source.item_files, known, requested)))
    files += _staged(own.skipped, [] if skipped is None else [skipped])
    known_columns = stored.column_files if stored is not None else ()
    place = stored.paths.root if stored is not None else own.root
    spaces = [card.space for card in cards]
    columns = new_columns(place, known_columns, source.paths.root, source.column_files, spaces, requested)
    files += _staged(own.columns, columns)
    units = {card.unit.value for card in cards}
    for path in source.paths.dataset_files():
        target = own.dataset(path.stem)
        if stored is not None and disk.exists(other := stored.paths.dataset(path.stem)):
            disk.make_folder(own.datasets)
            disk.copy(other, target)
        if (merged := merged_dataset(path, target, units)).n_new:
            merged.publish()
            files.append(target)
    return {own.key(path): path for path in files}


def _staged(folder: Path, parts: Iterable[object]) -> Iterator[Path]:
    for rows in bounded(parts):
        with atomic.temporary(folder) as temp:
            table = stage_table(temp, rows)
            table.publish()
        yield table.path


def _check_content(part: Part, source: Catalog, stored: Catalog, place: str) -> None:
    """Check that all that a place has is part of what is copied there."""
    for space, card in part.cards.items():
        if space not in stored.cards:
            continue
        if different := stored.cards[space].differences(card):
            raise _mismatch(stored.cards[space], card, source.cards[space], [*different], place)
        _check_items(part, source, stored, space, place)
    if part.is_whole:
        if others := sorted({*stored.cards} - {*part.cards}):
            raise _other(place, f"the space {others[0]}" if len(others) == 1 else f"the spaces {', '.join(others)}")
        _check_tables(source, stored, place)


def _mismatch(stored: Card, copied: Card, source: Card, different: Sequence[str], place: str) -> SpaceMismatchError:
    """Return the error for a space of which a place has another one, or other layers."""
    if [*different] != ["layers"]:
        return SpaceMismatchError(
            f"{place} has another space of the name {stored.space!r}: its {stored.describe_differences(copied)}. "
            "Nothing was copied. Copy other spaces with ⦃space⦄, or name another place."
        )
    there, here = (",".join(card.layers.names) for card in (stored, copied))
    remedies = []
    if {*stored.layers.members} <= {*source.layers.members}:
        remedies.append(f"To bring those up to date: ⦃space={stored.space}⦄ ⦃layer={there}⦄.")
    other = f"For the layers {here} name another place"
    if not place.startswith("hf://"):
        other += f", or remove the space there first: embstore remove --space {stored.space} --store {place}"
    return SpaceMismatchError(
        f"{place} has the layers {there} of {stored.space}, not {here}. Nothing was copied. "
        + " ".join([*remedies, other])
    )


def _check_items(part: Part, source: Catalog, stored: Catalog, space: str, place: str) -> None:
    card = stored.cards[space]
    known = {key.rpartition("/")[2] for key in part.files if key.startswith(f"embeddings/space={space}/")}
    others = [shard for shard in stored.shards[space] if shard.path.name not in known]
    if others:
        ids = LayerVectors(others, card.layers.ids[0], card.dim).ids()
        if n := len(np.setdiff1d(ids, source.ids(space))):
            raise _other(place, f"{n:,} items of {space}")


def _check_tables(source: Catalog, stored: Catalog, place: str) -> None:
    files = _others(stored.item_files, source.item_files)
    ids = [read_part(path, ["item_id"])["item_id"].to_numpy() for path in files]
    if ids and (n := len(np.setdiff1d(np.concatenate(ids), source.item_ids()))):
        raise _other(place, f"{n:,} texts")
    spaces = {*source.cards, *stored.cards, None}
    files = _others(stored.skipped_files, source.skipped_files)
    if files and (rows := new_skipped(files, source.skipped_files, spaces)) is not None:
        raise _other(place, f"{len(rows):,} skipped texts")
    files = _others(stored.column_files, source.column_files)
    for rows in new_columns(source.paths.root, source.column_files, stored.paths.root, files, stored.cards):
        names = [name for name in rows.column_names[1:] if rows[name].null_count < len(rows)]
        raise _other(place, f"values of columns ({', '.join(names)}) of {len(rows):,} items")
    for path in stored.paths.dataset_files():
        own = source.paths.dataset(path.stem)
        if not disk.exists(own):
            raise _other(place, f"the dataset {path.stem}")
        if (merged := merged_dataset(path, own, None)).n_new or merged.differing:
            raise _other(place, f"other rows of the dataset {path.stem}")


def _others(files: Sequence[Path], known: Sequence[Path]) -> list[Path]:
    names = {path.name for path in known}
    return [path for path in files if path.name not in names]


def _other(place: str, what: str) -> StoreError:
    return StoreError(
        f"{place} has other content, which a copy would remove: {what}. Nothing was copied. To keep both, copy single "
        "spaces with ⦃space⦄, or unite the stores with embstore merge; else name another place."
    )
