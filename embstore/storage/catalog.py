"""The catalog: what a store held at the moment it was opened, and SQL over it."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import numpy as np
from numpy.typing import NDArray

from embstore.errors import DamagedError, EmbstoreError, StoreError
from embstore.space import Layer, Unit
from embstore.storage import duck
from embstore.storage.card import Card, read_cards
from embstore.storage.paths import Shard, StorePaths
from embstore.summary import Summary
from embstore.text import Item, Span

STORE_FORMAT = 1
ITEM_COLUMNS = ("item_id", "unit", "text", "context_id", "start", "end")

Ids = NDArray[np.int64]
T = TypeVar("T")

# Column types of each view when no file of it exists yet.
_EMPTY = {
    "items": 'item_id BIGINT, unit VARCHAR, text VARCHAR, context_id BIGINT, start BIGINT, "end" BIGINT',
    "skipped": "space VARCHAR, item_id BIGINT, text VARCHAR, outcome VARCHAR, reason VARCHAR, origin VARCHAR",
    "embeddings": "space VARCHAR, layer SMALLINT, item_id BIGINT, vector FLOAT[]",
    "summaries": "space VARCHAR, shard VARCHAR, layer SMALLINT, n BIGINT",
}


class Catalog:
    """A consistent view of a store: the cards and shards that were complete when it was opened.

    Args:
        root: the store's folder.

    Raises:
        StoreError: there is no store, or one of a newer format.
    """

    def __init__(self, root: Path) -> None:
        self.paths = StorePaths(root.resolve())
        check_marker(self.paths)
        self.cards: dict[str, Card] = read_cards(self.paths)
        self.shards: dict[str, tuple[Shard, ...]] = {space: self.paths.shards(space) for space in self.cards}
        self._item_files = _parts(self.paths.items)
        self._skipped_files = _parts(self.paths.skipped)

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The DuckDB connection, opened at the first use."""
        return duck.connect(self.paths.root)

    def summaries(self, space: str) -> dict[int, Summary]:
        """Return the merged summaries of a space: layer id → Summary."""
        files = [shard.summary_path for shard in self.shards[space]]
        dim = self.cards[space].dim
        merged: dict[int, Summary] = {layer.id: Summary.empty(dim) for layer in self.cards[space].layers}
        for row in self._read(
            """SELECT layer, n, n_zero, total, unit_total, unit_square_total,
                      norm_total, norm_square_total, norm_min, norm_max
               FROM read_parquet($files) ORDER BY shard, layer""",
            files,
        ):
            layer, n, n_zero, *rest = row
            sums = [np.asarray(part) for part in rest[:3]]
            merged[layer] = merged[layer] + Summary(n, n_zero, sums[0], sums[1], sums[2], *rest[3:])
        return merged

    def count(self, space: str) -> int:
        """Return the number of items of a space, from the summaries."""
        files = [shard.summary_path for shard in self.shards[space]]
        first = self.cards[space].layers.members[0].id
        rows = self._read("SELECT sum(n) FROM read_parquet($files) WHERE layer = $layer", files, layer=first)
        return int(rows[0][0] or 0) if rows else 0

    def ids(self, space: str) -> Ids:
        """Return the ids of the items of a space, ascending."""
        first = self.cards[space].layers.members[0].id
        return self._ids(
            "SELECT item_id FROM read_parquet($files) WHERE layer = $layer",
            self._shard_files(space),
            layer=first,
        )

    def item_ids(self) -> Ids:
        """Return the ids of all items, ascending."""
        return self._ids("SELECT item_id FROM read_parquet($files)", self._item_files)

    def select(self, where: str) -> Ids:
        """Return the ids of the items for which an SQL expression over their columns is true, ascending.

        Raises:
            UnknownNameError: the expression names a column that items do not have.
            QueryError: it is not one expression, or cannot be evaluated.
        """
        sql = f"SELECT item_id FROM items WHERE (\n{where}\n)"
        self._create_views()
        duck.check_select(self.connection, sql)
        try:
            return np.unique(np.asarray(self.connection.execute(sql).fetchnumpy()["item_id"], dtype=np.int64))
        except duckdb.IOException as error:
            raise self._damage(error, self._item_files) from error
        except duckdb.Error as error:
            raise duck.explained(error, ITEM_COLUMNS) from error

    def items(self, ids: Iterable[int]) -> dict[int, Item]:
        """Return the stored items with these ids, an occurrence with its sentence."""
        self.connection.register("wanted", {"item_id": np.fromiter(ids, dtype=np.int64)})
        return self._items("item_id IN (SELECT item_id FROM wanted)")

    def occurrences(self, text: str) -> list[Item]:
        """Return the occurrences of a word, by ascending id."""
        found = self._items("unit = 'occurrence' AND text = $text", text=text)
        return [found[item] for item in sorted(found)]

    def _items(self, condition: str, **values: Any) -> dict[int, Item]:
        rows = self._read(
            f"""WITH item AS (SELECT * FROM read_parquet($files) WHERE {condition})
                SELECT item.item_id, item.unit, item.text, context.text, item.start, item."end"
                FROM item LEFT JOIN read_parquet($files) AS context ON context.item_id = item.context_id""",
            self._item_files,
            **values,
        )
        return {
            item: Item(Unit(unit), text, context, None if start is None else Span(start, end), item)
            for item, unit, text, context, start, end in rows
        }

    def nearest_texts(self, text: str, units: Iterable[Unit], n: int = 5) -> list[str]:
        """Return the stored texts of these units that are spelt most like ``text`` (Jaro-Winkler)."""
        rows = self._read(
            """SELECT text FROM (SELECT DISTINCT text FROM read_parquet($files) WHERE list_contains($units, unit))
               ORDER BY jaro_winkler_similarity(lower(text), lower($text)) DESC, text LIMIT $n""",
            self._item_files,
            text=text,
            units=[unit.value for unit in units],
            n=n,
        )
        return [row[0] for row in rows]

    def vectors_of(self, space: str, layers: Iterable[Layer], item: int) -> dict[int, NDArray[np.float32]]:
        """Return the stored vectors of one item: layer id → float32 of shape (dim,). An item without any gives none."""
        rows = self._read(
            "SELECT layer, vector FROM read_parquet($files) WHERE item_id = $item AND list_contains($layers, layer)",
            self._shard_files(space),
            layers=[layer.id for layer in layers],
            item=item,
        )
        return {layer: np.asarray(vector, dtype=np.float32) for layer, vector in rows}

    def skipped(self) -> list[tuple[Any, ...]]:
        """Return the skipped texts: space, item_id, text, outcome, reason, origin. Since embedded ones are left out."""
        rows = self._read(
            """SELECT DISTINCT space, item_id, text, outcome, reason, origin FROM read_parquet($files)
               ORDER BY ALL""",
            self._skipped_files,
        )
        embedded = {space: set(self.ids(space).tolist()) for space in {row[0] for row in rows} if space in self.cards}
        return [row for row in rows if row[3] == "truncated" or row[1] not in embedded.get(row[0], ())]

    def relation(self, sql: str) -> duckdb.DuckDBPyRelation:
        """Return the DuckDB relation of one SELECT over the views of the store.

        Views: ``items``, ``embeddings`` (space, layer, item_id, vector), ``summaries``, ``skipped``, ``spaces``, and
        ``datasets.<name>`` for each dataset. The connection can read nothing outside the store.
        """
        self._create_views()
        duck.check_select(self.connection, sql)
        try:
            return self.connection.sql(sql)
        except duckdb.Error as error:
            raise duck.explained(error, ITEM_COLUMNS) from error

    @cached_property
    def _views(self) -> Mapping[str, list[Path]]:
        return {
            "items": self._item_files,
            "skipped": self._skipped_files,
            "embeddings": [shard.path for shards in self.shards.values() for shard in shards],
            "summaries": [shard.summary_path for shards in self.shards.values() for shard in shards],
        }

    def _shard_files(self, space: str) -> list[Path]:
        return [shard.path for shard in self.shards[space]]

    def _create_views(self) -> None:
        for view, files in self._views.items():
            if files:
                listed = ", ".join(duck.quote(str(file)) for file in files)
                source = f"SELECT * FROM read_parquet([{listed}], hive_partitioning = {'space=' in listed})"
                self._guard(
                    files,
                    lambda sql: self.connection.execute(sql),
                    f"CREATE OR REPLACE VIEW {view} AS {source}",
                )
            else:
                self.connection.execute(f"CREATE TABLE IF NOT EXISTS {view} ({_EMPTY[view]})")
        self.connection.execute("CREATE SCHEMA IF NOT EXISTS datasets")
        for file in sorted(self.paths.datasets.glob("*.parquet")):
            name = f"datasets.{duck.quote_name(file.stem)}"
            self.connection.execute(
                f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM read_parquet({duck.quote(str(file))})"
            )
        cards = [
            [
                card.space,
                card.model,
                card.checkpoint,
                card.unit.value,
                card.pooling.value,
                card.template.pattern,
                card.dim,
            ]
            for card in self.cards.values()
        ]
        self.connection.execute(
            """CREATE OR REPLACE TABLE spaces (space VARCHAR, model VARCHAR, checkpoint VARCHAR, unit VARCHAR,
               pooling VARCHAR, template VARCHAR, dim INTEGER)"""
        )
        if cards:
            self.connection.executemany("INSERT INTO spaces VALUES (?, ?, ?, ?, ?, ?, ?)", cards)

    def _ids(self, sql: str, files: Sequence[Path], **values: Any) -> Ids:
        if not files:
            return np.empty(0, np.int64)
        values = {"files": [str(file) for file in files], **values}
        found = self._guard(files, lambda q: self.connection.execute(q, values).fetchnumpy()["item_id"], sql)
        return np.sort(np.asarray(found, dtype=np.int64))

    def _read(self, sql: str, files: Sequence[Path], **values: Any) -> list[tuple[Any, ...]]:
        if not files:
            return []
        values = {"files": [str(file) for file in files], **values}
        return self._guard(files, lambda q: self.connection.execute(q, values).fetchall(), sql)

    def _guard(self, files: Sequence[Path], run: Callable[[str], T], sql: str) -> T:
        try:
            return run(sql)
        except duckdb.Error as error:
            raise self._damage(error, files) from error

    def _damage(self, error: duckdb.Error, files: Sequence[Path]) -> EmbstoreError:
        """Return a DamagedError that names the file at fault."""
        said = duck.first_line(error)
        named = next((file for file in files if str(file) in said), None) or self._unreadable(files)
        return DamagedError(
            f"{named or self.paths.root} is damaged: {said} Run: embstore verify. To mend a shard, delete that file "
            "and build the same sources again: exactly its items are embedded anew."
        )

    def _unreadable(self, files: Sequence[Path]) -> Path | None:
        for file in files:
            try:
                self.connection.execute("SELECT * FROM read_parquet(?)", [str(file)]).fetchmany(1)
            except duckdb.Error:
                return file
        return None


def check_marker(paths: StorePaths) -> None:
    """Raise StoreError unless the folder is a store of a format that this version reads."""
    if not paths.root.exists():
        raise StoreError(
            f"there is no store at {paths.root}. Make one with: embstore build --store {paths.root}, or name another "
            "with --store or EMBSTORE_STORE."
        )
    if not paths.marker.is_file():
        raise StoreError(
            f"{paths.root} is not a store: it has no store.json. Name the store's folder with --store or "
            "EMBSTORE_STORE; to build a new store, name a folder that is empty or does not exist."
        )
    try:
        found = int(json.loads(paths.marker.read_text("utf-8"))["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{paths.marker} is not a store's marker: {error!r}.") from error
    if found > STORE_FORMAT:
        raise StoreError(
            f"{paths.root} has format {found}, and this embstore reads up to {STORE_FORMAT}. Upgrade: "
            "pip install --upgrade embstore."
        )


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))
