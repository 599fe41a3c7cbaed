"""List and query the contents of a store as of the moment it was opened."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore.base import atomic, disk, supply
from embstore.base.arrays import distinct
from embstore.base.errors import DamagedError
from embstore.base.space import Unit
from embstore.base.summary import Summary
from embstore.base.text import Item, source_name
from embstore.storage.files import names
from embstore.storage.files.datasets import rebuild_remedy, stored_kinds, stored_rows
from embstore.storage.files.derived import add_summaries, read_merged
from embstore.storage.files.item_columns import ColumnTables, built_in_table
from embstore.storage.files.items import ItemTables, PartChecks, file_hash
from embstore.storage.files.paths import Shard, StorePaths, check_marker
from embstore.storage.files.vectors import LayerVectors, read_items
from embstore.storage.sql.connections import NO_LIMITS, Limits
from embstore.storage.sql.reader import FILES, REMEDY, Reader
from embstore.storage.transaction.manifest import is_outdated, read_named_card, read_snapshot

if TYPE_CHECKING:
    from embstore.storage.files.card import Card
    from embstore.storage.views.users_sql import SqlResult, UsersSql

Ids = NDArray[np.int64]


class Catalog:
    """Consistent view of a store: the cards and shards that were complete when it was opened.

    Raises:
        StoreError: There is no store, or its format is newer.
    """

    def __init__(self, root: Path) -> None:
        self.paths = StorePaths(disk.resolved(root))
        self._is_mirror = supply.supplier_of(self.paths.root) is not None
        check_marker(self.paths)
        self.cards: dict[str, Card] = {}
        while not self._list():
            pass
        self._dataset_files = self.paths.files_of(names.DATASETS)
        self._part_checks = PartChecks()
        self.reader = Reader(self.paths.root)

    def _list(self) -> bool:
        """List the files of the store; return False if one is missing since another process has removed it."""
        paths = self.paths
        self._snapshot = snapshot = read_snapshot(paths)
        try:
            cards = [read_named_card(paths, space) for space in snapshot.spaces]
        except DamagedError:
            if is_outdated(paths, snapshot):
                return False
            raise
        self.cards = {card.space: card for card in sorted(cards, key=lambda card: card.order)}
        self._parts = parts = Deferred(
            [paths.items, paths.columns, paths.skipped, *map(paths.embeddings, self.cards)],
            lambda folder: snapshot.parts(paths, folder),
        )
        self.shards = Deferred(self.cards, lambda space: tuple(map(Shard, parts[paths.embeddings(space)].files)))
        if self._is_mirror:  # to list all parts would take requests
            return True
        return not (any(listed.missing for listed in parts.values()) and is_outdated(paths, snapshot))

    @property
    def item_files(self) -> list[Path]:
        """Tables of items."""
        return self._tables_in(self.paths.items)

    @property
    def column_files(self) -> list[Path]:
        """Tables of the items' columns, which :attr:`columns` reads."""
        return self._tables_in(self.paths.columns)

    @property
    def skipped_files(self) -> list[Path]:
        """Tables of skipped texts."""
        return self._tables_in(self.paths.skipped)

    def _tables_in(self, folder: Path) -> list[Path]:
        parts = self._parts[folder]
        return sorted([*parts.files, *parts.missing])  # what reads a missing one names it

    @cached_property
    def _tables(self) -> ItemTables:
        return ItemTables(self.reader, self.item_files, self.paths.items, self._part_checks)

    @cached_property
    def columns(self) -> ColumnTables:
        """Columns of the items."""
        return ColumnTables(self.reader, self.column_files, self._part_checks)

    @property
    def is_newest(self) -> bool:
        """Whether nothing was committed since the store was listed: no space, shard, text, column or dataset."""
        newest = read_snapshot(self.paths)
        return (newest.number, newest.sha256) == (self._snapshot.number, self._snapshot.sha256)

    @property
    def is_outdated(self) -> bool:
        """Whether listed files may be gone, because they were replaced or their space was removed."""
        return is_outdated(self.paths, self._snapshot)

    def summaries(self, space: str) -> dict[int, Summary]:
        """Return the merged summaries of a space, by layer id."""
        card, merged = self.cards[space], read_merged(self.paths, self.cards[space])
        if merged is not None and merged.shards_sha256 == self.shards_hash(space):
            return merged.sums
        return add_summaries(card, self.shards[space])

    def count(self, space: str) -> int:
        """Return the number of items of a space, from its summaries."""
        first = self.cards[space].layers.members[0].id
        if self._is_mirror:  # the merged summary is here
            return self.summaries(space)[first].n
        files = [shard.summary_path for shard in self.shards[space]]
        rows = self.reader.rows(f"SELECT sum(n) FROM {FILES} WHERE layer = $layer", files, layer=first)
        return int(rows[0][0] or 0) if rows else 0

    def ids(self, space: str) -> Ids:
        """Return the item ids of a space, ascending."""
        first = self.cards[space].layers.members[0].id
        if self._is_mirror:  # DuckDB does not say which parts of a file it will read
            return LayerVectors(self.shards[space], first, self.cards[space].dim).ids()
        sql = f"SELECT item_id FROM {FILES} WHERE layer = $layer"
        files = [shard.path for shard in self.shards[space]]
        return np.sort(self.reader.columns(sql, files, layer=first)["item_id"])

    def check_texts(self, space: str) -> None:
        """Raise DamagedError if the text of an item of a space is missing."""
        missing = np.setdiff1d(self.ids(space), self.item_ids(), assume_unique=True)
        if len(missing):
            raise self._tables.missing_text_error(int(missing[0]))

    def shard_names(self, space: str) -> tuple[str, ...]:
        """Return the names of the shards of a space, ascending."""
        return tuple(shard.name for shard in self.shards[space])

    def shards_hash(self, space: str) -> str:
        """Return the hash of the names of the shards of a space, which are hashes of their content."""
        if self._is_mirror:  # known without the names
            return self._snapshot.names_hash(self.paths, self.paths.embeddings(space))
        return names.hash_of(self.shard_names(space))

    def missing_shards(self, space: str) -> list[str]:
        """Return the names of the shards of a space that were missing when the store was opened."""
        if self._is_mirror:  # what is missing in a bucket is found when it is fetched
            return []
        return [path.stem for path in self._parts[self.paths.embeddings(space)].missing]

    def item_ids(self) -> Ids:
        """Return the ids of all items, ascending."""
        return self._tables.ids()

    def select(self, where: str, limits: Limits = NO_LIMITS, space: str | None = None) -> Ids:
        """Return the ids of the items for which an SQL expression over their columns is true, ascending.

        The columns are those of the view ``items``, stored ones, built-in ones, and of a space its ``n_tokens``.
        """
        return self.users_sql.select(where, limits, space)

    def ids_of_unit(self, unit: Unit) -> Ids:
        """Return the ids of all items of a unit, ascending."""
        self._tables.check()
        sql = f"SELECT item_id FROM {FILES} WHERE unit = $unit"
        return distinct(self.reader.columns(sql, self.item_files, unit=unit.value)["item_id"])

    def items(self, ids: Iterable[int]) -> dict[int, Item]:
        """Return the stored items with these ids, by id; an occurrence includes its sentence."""
        return self._tables.items(ids)

    def occurrences(self, text: str) -> list[Item]:
        """Return the occurrences of a word, by ascending id."""
        found = self._tables.occurrences(text)
        return [found[item] for item in sorted(found)]

    def nearest_texts(self, text: str, spaces: Iterable[str], n: int = 5) -> list[str]:
        """Return the n texts of these spaces with the most similar spelling (Damerau-Levenshtein, Jaro-Winkler)."""
        return self._tables.nearest_texts(text, self.ids_of(spaces), n)

    def nearest_occurrences(self, item: Item, spaces: Iterable[str], n: int = 3) -> list[Item]:
        """Return the n occurrences in these spaces with the most similar spelling of word, then of sentence."""
        return self._tables.nearest_occurrences(item, self.ids_of(spaces), n)

    def ids_of(self, spaces: Iterable[str]) -> Ids:
        """Return the item ids of some spaces, ascending."""
        return distinct(np.concatenate([np.empty(0, np.int64), *map(self.ids, spaces)]))

    def vectors_of(
        self, space: str, layers: Iterable[int], items: Iterable[int]
    ) -> dict[int, dict[int, NDArray[np.float32]]]:
        """Return the stored vectors of items, by item and layer id: float32 (dim,), checked by their checksums."""
        found: dict[int, dict[int, NDArray[np.float32]]] = {}
        ids, requested = distinct(np.array([*items], np.int64)), {*layers}
        for layer, part, rows in read_items(self.shards[space], requested, ids, self.cards[space].dim):
            for item, row in zip(part.tolist(), rows, strict=True):
                found.setdefault(item, {})[layer] = row
        if any(found_layers.keys() != requested for found_layers in found.values()):
            raise DamagedError(
                f"{self.paths.embeddings(space)} is damaged: an item has not a vector in each layer. Run: "
                "⦃embstore verify⦄. To repair it, run ⦃embstore repair⦄, and build the same sources again."
            )
        return found

    def skipped(self) -> list[tuple[Any, ...]]:
        """Return the skipped texts: space, item_id, text, outcome, reason, origin; without those embedded since."""
        self._check_skipped()
        sql = f"SELECT DISTINCT space, item_id, text, outcome, reason, origin FROM {FILES} ORDER BY ALL"
        rows = self.reader.rows(sql, self.skipped_files)
        embedded = {space: set(self.ids(space).tolist()) for space in {row[0] for row in rows} if space in self.cards}
        return [row for row in rows if row[3] == "truncated" or row[1] not in embedded.get(row[0], ())]

    def datasets(self, kinds: Collection[str] = ()) -> dict[str, str]:
        """Return the kind of each stored dataset, by name; only the given kinds, or all if none is given."""
        return stored_kinds(self.reader, self._dataset_files, kinds)

    @property
    def dataset_names(self) -> tuple[str, ...]:
        """Names of the stored datasets, which are not read."""
        return tuple(source_name(file.stem) for file in self._dataset_files)

    def dataset(self, name: str, unit: Unit) -> dict[str, NDArray[Any]]:
        """Return the rows of a dataset for a unit, as columns; see :func:`.datasets.stored_rows`."""
        return stored_rows(self.reader, self._dataset_files, name, unit)

    def dataset_hashes(self, names: Collection[str] = ()) -> dict[str, str]:
        """Return the SHA-256 of the files of the given datasets, or of all, by file stem; missing ones are left out."""
        stems = {name.replace(":", "_") for name in names}
        files = [file for file in self._dataset_files if not stems or file.stem in stems]
        return {file.stem: file_hash(file, rebuild_remedy(file)) for file in files}

    @property
    def item_tables(self) -> list[str]:
        """Names of the tables of items and of their columns, which are hashes of their contents."""
        return [file.stem for file in (*self.item_files, *self.column_files)]

    def checked_item_tables(self) -> list[Path]:
        """Return the tables of items, after a check against their hashes."""
        self._tables.check()
        return self.item_files

    def sql(self, sql: str, limits: Limits = NO_LIMITS, parameters: Mapping[str, Any] | None = None) -> "SqlResult":
        """Return the rows of one SELECT over the views of the store.

        Views: ``items``, ``embeddings`` (space, layer, item_id, vector), ``summaries``, ``skipped``, ``spaces``,
        ``columns`` and ``built_in`` (a row per item), and ``datasets.<name>`` for each dataset. The statement can read
        nothing else, and cannot write. Parameters are values of its parameters ``$name``.
        """
        return self.users_sql.rows(sql, limits, parameters or {})

    @cached_property
    def users_sql(self) -> "UsersSql":
        """The views for users' SQL."""
        from embstore.storage.views.users_sql import UsersSql  # loads DuckDB

        return UsersSql(
            self.reader,
            self.paths.root,
            files={
                "items": {"": self.item_files},
                "columns": {"": self.column_files},
                "built_in": {},
                "skipped": {"": self.skipped_files},
                "embeddings": {space: [shard.path for shard in shards] for space, shards in self.shards.items()},
                "summaries": {space: [shard.summary_path for shard in shards] for space, shards in self.shards.items()},
            },
            datasets=self._dataset_files,
            cards=tuple(self.cards.values()),
            columns=self.columns,
            checks={
                "items": self._tables.check, "columns": self.columns.check, "skipped": self._check_skipped,
                "summaries": self._check_summaries,
            },
            built_in=lambda: built_in_table(self.items(self.item_ids().tolist())),
            nearest_texts=self.nearest_texts,
        )  # fmt: skip

    def _check_skipped(self) -> None:
        for file in self.skipped_files:
            self._part_checks.check(file)

    def _check_summaries(self) -> None:
        for shards in self.shards.values():
            for shard in shards:
                atomic.read_checked(shard.summary_path, REMEDY)


K = TypeVar("K")
V = TypeVar("V")


class Deferred(Mapping[K, V]):
    """Mapping of known keys, in order, whose values are computed at their first use."""

    def __init__(self, keys: Iterable[K], compute: Callable[[K], V]) -> None:
        self._keys, self._computed = dict.fromkeys(keys), cache(compute)

    def __getitem__(self, key: K) -> V:
        if key not in self._keys:
            raise KeyError(key)
        return self._computed(key)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[K]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)
