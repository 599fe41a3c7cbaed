"""Find the files of a store that travel: all that its manifest names, or those of some spaces and layers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError
from embstore.base.space import Layers
from embstore.index import IndexCard
from embstore.index.updating import readable_card
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card, store_card
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.shards import ShardContent, publish_shard, stage_shard
from embstore.storage.files.tables import bounded
from embstore.storage.files.vectors import LayerVectors
from embstore.storage.maintenance.column_tables import new_columns
from embstore.storage.maintenance.import_store import merged_dataset, new_items, new_skipped, stage_table
from embstore.storage.transaction.manifest import Snapshot, read_snapshot

Ids = NDArray[np.int64]
Content = dict[str, Path]
"""Path of a file in a store, with slashes → the file that has its content."""


@dataclass(frozen=True, slots=True)
class Part:
    """The files of a store that travel.

    Attributes:
        files: Their content.
        cards: Cards of the spaces, with the layers that travel.
        is_whole: Whether they are the whole store, so that they replace what the other place has.
    """

    files: Content
    cards: Mapping[str, Card]
    is_whole: bool

    def superseded(self, stored: Iterable[str]) -> list[str]:
        """Return those files of a place whose content is in these files under other names, as after a compaction.

        Args:
            stored: Paths of the files that the place has; it was checked that all their content is in these files.
        """
        folders = [f"{kind}/space={space}/" for space in self.cards for kind in ("embeddings", "summaries")]
        others = (key for key in stored if key not in self.files)
        return [key for key in others if self.is_whole or key.startswith(tuple(folders))]


def whole(source: Catalog) -> Part:
    """Return all files of a store.

    Raises:
        DamagedError: A file is missing.
    """
    paths, snapshot = source.paths, read_snapshot(source.paths)
    if missing := next(snapshot.missing(paths), None):
        raise DamagedError(f"{missing} is missing, and the manifest names it. Run: embstore repair")
    files = {key: paths.file(key) for key in snapshot.files}
    for card in source.cards.values():
        files |= _derived(paths, snapshot, card, source)
    return Part(files, dict(source.cards), is_whole=True)


def of_spaces(source: Catalog, cards: Sequence[Card], layers: str, stored: Catalog | None, folder: Path) -> Part:
    """Return the files of some spaces, with their texts.

    Args:
        source: Catalog of the store.
        cards: Cards of the spaces.
        layers: Layers, as in a query; ``all`` for whole shards.
        stored: Catalog of the other place; None if there is no store. Its texts do not travel again.
        folder: Empty folder for tables and shards that are written anew.
    """
    paths, snapshot, own = source.paths, read_snapshot(source.paths), StorePaths(folder)
    files: Content = {}
    chosen: dict[str, Card] = {}
    for card in cards:
        members = card.layers.select(layers).members
        if members == card.layers.members:
            chosen[card.space] = card
            files |= _space_files(source, card) | _derived(paths, snapshot, card, source)
        else:
            chosen[card.space] = replace(card, layers=Layers(members, card.layers.n_blocks, card.layers.top_form))
            files |= _rewritten(source, chosen[card.space], own)
    return Part(files | _tables(source, cards, stored, own), chosen, is_whole=False)


def _space_files(source: Catalog, card: Card) -> Content:
    paths = source.paths
    files = [paths.card(card.space), *(shard.path for shard in source.shards[card.space])]
    return {paths.key(path): path for path in files}


def _derived(paths: StorePaths, snapshot: Snapshot, card: Card, source: Catalog) -> Content:
    """Return the summaries, current indexes and maps of a space."""
    shards = source.shards[card.space]
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
            content |= _index(source.paths, own, path, replace(stored, shards=tuple(sorted(new_names.values()))))
    return content


def _index(paths: StorePaths, own: StorePaths, path: Path, card: IndexCard) -> Content:
    """Return an index with a new card."""
    key = paths.key(path)
    new = own.root / key
    card.write(new)
    return {key: path, paths.key(paths.index_card(path)): own.index_card(new)}


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
