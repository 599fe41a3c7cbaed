"""List and query the contents of a store as of the moment it was opened."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore.base.arrays import Float32Array, concatenated, distinct
from embstore.base.arrays import Ids as Ids
from embstore.base.errors import DamagedError
from embstore.base.space import Unit
from embstore.base.summary import Summary
from embstore.base.text import Item, source_name
from embstore.storage import keys, sums
from embstore.storage.cache import StoredFile, StoreFiles
from embstore.storage.card import Card, read_card
from embstore.storage.datasets import name_of, stored_kinds, stored_rows
from embstore.storage.item_columns import ColumnTables, built_in_table
from embstore.storage.items import ItemTables
from embstore.storage.keys import Kind
from embstore.storage.manifest import ItemSet
from embstore.storage.sql.connections import NO_LIMITS, Limits
from embstore.storage.sql.interruptible import Columns, Rows
from embstore.storage.sql.reader import FILES, Reader
from embstore.storage.vectors import Block, LayerVectors, Places, Shard, is_among

if TYPE_CHECKING:
    from embstore.storage.views.users_sql import SqlResult, UsersSql


class Catalog:
    """Consistent view of a store, or of one space of it: what its newest manifest named when it
    was opened.

    Attributes:
        files: Files of the store.
        root: Folder of the store, or of its copies in the cache.
        name: Folder or URL of the store, as messages name it.
        manifest: The manifest.
        cards: Cards of the spaces, by name; or that of the one space.

    Raises:
        StoreError: There is no store, or its format is another one.
    """

    def __init__(self, place: Path | StoreFiles, space: str | None = None) -> None:
        self.files, self._space = StoreFiles.of_folder(place), space
        self.root, self.name = self.files.root, self.files.name
        while not self._list():
            pass
        self.reader = Reader(self.root)
        self._shards: dict[tuple[str, int], tuple[Shard, ...]] = {}
        self._places: dict[tuple[str, ...], Places] = {}

    def _list(self) -> bool:
        """Read the manifest and the cards; return False if another process has replaced a card
        meanwhile.
        """
        self.manifest = self.files.manifest()
        try:
            named = {
                space: self._named(keys.CARDS, space)
                for space in self.manifest.names_of(keys.CARDS)
                if self._space in (None, space)
            }
            self.files.fetch(file for files in named.values() for file in files)
            cards = [read_card(files[0], space) for space, files in named.items()]
        except DamagedError:
            if self.files.is_outdated(self.manifest):
                return False
            raise
        self.cards: dict[str, Card] = {
            card.space: card for card in sorted(cards, key=lambda card: card.order)
        }
        return True

    def _named(self, kind: Kind, name: str = "", layer: int | None = None) -> list[StoredFile]:
        """Return the files of a kind: of a space or dataset, and of a layer of it."""
        return self.files.files_of(self.manifest, self.manifest.keys_of(kind, name, layer))

    @cached_property
    def item_files(self) -> list[StoredFile]:
        """Tables of items."""
        return self._named(keys.ITEMS)

    @cached_property
    def column_files(self) -> list[StoredFile]:
        """Tables of the items' columns, which :attr:`columns` reads."""
        return self._named(keys.COLUMNS)

    @cached_property
    def skipped_files(self) -> list[StoredFile]:
        """Tables of skipped texts."""
        return self._named(keys.SKIPPED)

    @cached_property
    def dataset_files(self) -> list[StoredFile]:
        """Files of the datasets."""
        return [
            file
            for name in self.manifest.names_of(keys.DATASETS)
            for file in self._named(keys.DATASETS, name)
        ]

    @cached_property
    def _tables(self) -> ItemTables:
        return ItemTables(self.reader, self.item_files, f"{self.name}/{keys.ITEMS.folder}")

    @cached_property
    def columns(self) -> ColumnTables:
        """Columns of the items."""
        return ColumnTables(self.reader, self.column_files)

    @property
    def is_newest(self) -> bool:
        """Whether nothing was committed since the store was listed: no space, shard, text, column
        or dataset.
        """
        return self.files.manifest() is self.manifest

    @property
    def is_outdated(self) -> bool:
        """Whether listed files may be gone, because they were replaced or their space was
        removed.
        """
        return self.files.is_outdated(self.manifest)

    def shards(self, space: str, layer: int) -> tuple[Shard, ...]:
        """Return the shards of a layer of a space."""
        shards = self._shards.get((space, layer))
        if shards is None:
            card = self.cards[space]
            named = self._named(keys.VECTORS, space, layer)
            shards = tuple(Shard(file, card.dim, card.dtype) for file in named)
            if self.items_of(space) != ItemSet.of_entries(file.entry for file in named):
                raise DamagedError(
                    f"{self.name} is damaged: layer {layer} of {space} has other items than its"
                    " first layer. Run: embstore repair"
                )
            self._shards[space, layer] = shards
        return shards

    def vectors(self, space: str, layer: int, only: Ids | None = None) -> LayerVectors:
        """Return the vectors of a layer of a space, optionally only of items with some ids,
        ascending.
        """
        return LayerVectors(self.shards(space, layer), self.cards[space].dim, only)

    def places(self, space: str, layer: int) -> Places:
        """Return where the vectors of a layer of a space are, by item id."""
        shards = self.shards(space, layer)
        key = tuple(shard.file.entry["ids"] for shard in shards)
        if key not in self._places:
            self._places[key] = Places(shards)
        return self._places[key]

    def read_items(self, space: str, layer: int, ids: Ids) -> Iterator[tuple[Ids, Block]]:
        """Yield the ids (m,) and the vectors (m, dim) of some items of a layer, given by ascending
        ids, part by part.
        """
        return self.places(space, layer).read(self.shards(space, layer), ids)

    def index(self, space: str, layer: int) -> StoredFile | None:
        """Return the file of the index of a layer; None if there is none."""
        indexes = self._named(keys.INDEXES, space, layer)
        return indexes[-1] if indexes else None

    def items_of(self, space: str) -> ItemSet:
        """Return the items of a space by their number and digest; nothing is read."""
        return self.manifest.items_of(space, self.cards[space].layers.ids[0])

    def is_empty(self, space: str) -> bool:
        """Return whether a space has no items, or is not stored."""
        return space not in self.cards or not self.items_of(space).n

    def summaries(self, space: str) -> Mapping[int, Summary]:
        """Return the sums of a space, by layer id: the stored ones, or those of its vectors if
        these are of others.
        """
        card = self.cards[space]
        current = self.manifest.keys_with(self.items_of(space), keys.SUMS, space)
        for file in self.files.files_of(self.manifest, current):
            return sums.read(file, card.layers.ids, card.dim)
        return {layer: self.vectors(space, layer).summary for layer in card.layers.ids}

    def count(self, space: str) -> int:
        """Return the number of items of a space; nothing is read."""
        return self.items_of(space).n

    def ids(self, space: str) -> Ids:
        """Return the item ids of a space, ascending."""
        return self.places(space, self.cards[space].layers.ids[0]).ids

    def check_texts(self, space: str) -> None:
        """Raise DamagedError if the text of an item of a space is missing."""
        missing = np.setdiff1d(self.ids(space), self.item_ids(), assume_unique=True)
        if len(missing):
            raise self._tables.missing_text_error(int(missing[0]))

    def state(self, space: str) -> str:
        """Return a hash of what the vectors of a space are, whatever files and layers have them;
        nothing is read.
        """
        return self.cards[space].state(self.items_of(space).facts)

    def stale(self) -> dict[str, str]:
        """Return a note for each space that was pooled from a stored one which has changed since,
        by its name.
        """
        notes = {}
        for card in self.cards.values():
            pooled = card.pooled or {"space": None}
            parent = pooled["space"]
            if parent in self.cards and self.state(parent) != pooled["sha256"]:
                notes[card.space] = (
                    f"{card.space} is stale: {parent}, from which it was pooled, has changed since."
                    f" Make it again: {card.pool_command}"
                )
        return notes

    def space_hash(self, space: str) -> str:
        """Return a hash of the card and the vectors of a space, on which answers depend."""
        named = [*self.manifest.keys_of(keys.CARDS, space)]
        for layer in self.cards[space].layers.ids:
            named += self.manifest.keys_of(keys.VECTORS, space, layer)
        return keys.hash_of(named)

    def n_batches(self, space: str) -> int:
        """Return the number of shards of each layer of a space."""
        return len(self.manifest.keys_of(keys.VECTORS, space, self.cards[space].layers.ids[0]))

    def n_bytes(self, space: str) -> int:
        """Return the bytes of the files of a space: card, vectors, sums and indexes."""
        return sum(self.manifest.files[key]["bytes"] for key in self.manifest.keys_of_space(space))

    def item_ids(self) -> Ids:
        """Return the ids of all items, ascending."""
        return self._tables.ids()

    def select(self, where: str, limits: Limits = NO_LIMITS, space: str | None = None) -> Ids:
        """Return the ids of the items for which an SQL expression over their columns is true,
        ascending.

        The columns are those of the view ``items``, stored ones, built-in ones, and of a space its
        ``n_tokens``.
        """
        return self.users_sql.select(where, limits, space)

    def items(self, ids: Iterable[int]) -> dict[int, Item]:
        """Return the stored items with these ids, by id; an occurrence includes its sentence."""
        return self._tables.items(ids)

    def texts(self, ids: Ids) -> list[str]:
        """Return the texts of stored items with some ids (n,), in their order."""
        return self._tables.texts(ids)

    def occurrences(self, unit: Unit, text: str) -> list[Item]:
        """Return the occurrences of a word, or of a token, by ascending id."""
        items = self._tables.occurrences(unit, text)
        return [items[item] for item in sorted(items)]

    def tokens_at(self, space: str, marked: Item) -> list[Item]:
        """Return the tokens of a space that have some of the characters of an occurrence, in
        order.
        """
        context_id, span = marked.context_id, marked.span
        if context_id is None or span is None:
            return []
        tokens = self._tables.tokens_at(context_id, span)
        stored = self.ids(space)
        return sorted(
            (item for item in tokens.values() if is_among(np.array([item.id]), stored)[0]),
            key=lambda item: (item.span, item.id),
        )

    def nearest_texts(self, text: str, spaces: Iterable[str], n: int = 5) -> list[str]:
        """Return the n texts of these spaces with the most similar spelling (Damerau-Levenshtein,
        Jaro-Winkler).
        """
        return self._tables.nearest_texts(text, self.ids_of(spaces), n)

    def nearest_occurrences(self, item: Item, spaces: Iterable[str], n: int = 3) -> list[Item]:
        """Return the n occurrences in these spaces with the most similar spelling of word, then of
        sentence.
        """
        return self._tables.nearest_occurrences(item, self.ids_of(spaces), n)

    def ids_of(self, spaces: Iterable[str]) -> Ids:
        """Return the item ids of some spaces, ascending."""
        return distinct(concatenated(map(self.ids, spaces)))

    def vectors_of(
        self, space: str, layers: Iterable[int], items: Iterable[int]
    ) -> dict[int, dict[int, Float32Array]]:
        """Return the stored vectors of items, by item and layer id: float32 (dim,)."""
        ids = distinct(np.array([*items], np.int64))
        vectors: dict[int, dict[int, Float32Array]] = {}
        for layer in layers:
            for part, rows in self.read_items(space, layer, ids):
                for item, row in zip(part.tolist(), rows, strict=True):
                    vectors.setdefault(item, {})[layer] = row
        return vectors

    def skipped(self) -> Rows:
        """Return the skipped texts: space, item_id, text, outcome, reason, origin; without those
        embedded since.
        """
        from embstore.storage import tables  # and pyarrow

        tables.check_all(self.skipped_files)
        sql = (
            f"SELECT DISTINCT space, item_id, text, outcome, reason, origin FROM {FILES} ORDER"
            " BY ALL"
        )
        rows = self.reader.rows(sql, self.skipped_files)
        embedded = {
            space: set(self.ids(space).tolist())
            for space in {row[0] for row in rows}
            if space in self.cards
        }
        return [
            row for row in rows if row[3] == "truncated" or row[1] not in embedded.get(row[0], ())
        ]

    def datasets(self, kinds: Collection[str] = ()) -> dict[str, str]:
        """Return the kind of each stored dataset, by name; only the given kinds, or all if none is
        given.
        """
        return stored_kinds(self.dataset_files, kinds)

    @property
    def dataset_names(self) -> tuple[str, ...]:
        """Names of the stored datasets, which are not read."""
        return tuple(source_name(name_of(file)) for file in self.dataset_files)

    def dataset(self, name: str, unit: Unit) -> Columns:
        """Return the rows of a dataset for a unit, as columns; see
        :func:`.datasets.stored_rows`.
        """
        return stored_rows(self.reader, self.dataset_files, name, unit)

    def dataset_hashes(self, names: Collection[str] = ()) -> dict[str, str]:
        """Return the SHA-256 of the given datasets, or of all, by name in keys; missing ones are
        left out.
        """
        stems = {name.replace(":", "_") for name in names}
        return {
            name_of(file): file.entry["sha256"]
            for file in self.dataset_files
            if not stems or name_of(file) in stems
        }

    @property
    def item_tables(self) -> list[str]:
        """Keys of the tables of items and of their columns, which have hashes of their contents."""
        return [file.key for file in (*self.item_files, *self.column_files)]

    def checked_item_tables(self) -> list[StoredFile]:
        """Return the tables of items, after a check against their hashes."""
        self._tables.check()
        return self.item_files

    def sql(
        self, sql: str, limits: Limits = NO_LIMITS, parameters: Mapping[str, Any] | None = None
    ) -> "SqlResult":
        """Return the rows of one SELECT over the views of the store.

        Views: ``items``, ``embeddings`` (space, layer, item_id, vector), ``summaries``,
        ``skipped``, ``spaces``, ``columns`` and ``built_in`` (a row per item), and
        ``datasets.<name>`` for each dataset. The statement can read nothing else, and cannot write.
        Parameters are values of its parameters ``$name``.
        """
        return self.users_sql.rows(sql, limits, parameters or {})

    @cached_property
    def users_sql(self) -> "UsersSql":
        """The views for users' SQL."""
        from embstore.storage.views.users_sql import UsersSql  # loads DuckDB

        return UsersSql(
            self.reader,
            self.files,
            tables={
                "items": self.item_files,
                "columns": self.column_files,
                "skipped": self.skipped_files,
                **{f"datasets.{name_of(file)}": [file] for file in self.dataset_files},
            },
            shards={
                space: {layer: self._named(keys.VECTORS, space, layer) for layer in card.layers.ids}
                for space, card in self.cards.items()
            },
            cards=tuple(self.cards.values()),
            columns=self.columns,
            computed={
                "built_in": lambda: built_in_table(self.items(self.item_ids().tolist())),
                "summaries": lambda: sums.table(
                    {space: self.summaries(space) for space in self.cards}
                ),
            },
            nearest_texts=self.nearest_texts,
        )
