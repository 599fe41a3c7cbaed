"""Find the staged items that are missing in each space, and divide them into windows for encoding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embstore.sharding import KEYS, SPECIAL_TOKENS_CHARS, Parts, Range
from embstore.storage.catalog import Catalog
from embstore.storage.sql import connections, interruptible
from embstore.storage.sql.reader import FILES, Reader
from embstore.storage.staging.staging import Ids, Staging
from embstore.text import Item

_CHUNK = 10_000

# ``settled``: items that a space has (present), or that the build cannot embed there.
_PRESENT = f"""
INSERT INTO settled SELECT DISTINCT $space, item_id, true FROM
(SELECT item_id FROM {FILES} WHERE layer = $layer) AS stored SEMI JOIN item USING (item_id)
"""
_LISTED = f"""
SELECT item_id, key FROM item
SEMI JOIN (SELECT item_id FROM {FILES} WHERE space = $space AND outcome = 'skipped') AS listed USING (item_id)
ANTI JOIN (SELECT item_id FROM settled WHERE space = $space) USING (item_id) WHERE valid ORDER BY key, item_id
"""
_WINDOW = 'SELECT item.item_id, text, context_id, start, "end", {lacks} FROM {rows} ORDER BY key, start, item.item_id'


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Items that are tokenised and planned together.

    Attributes:
        items: Items by ascending key.
        ids: Item ids, int64 (n,).
        lacks: Mask (spaces, n) of the items missing in each space.
        part: Number of the shard that the items will be in, from 0.
    """

    items: list[Item]
    ids: Ids
    lacks: NDArray[np.bool_]
    part: int


class Lacking:
    """Staged items that are missing in a store.

    Args:
        staging: Deduplicated items.
        catalog: Catalog of the store; None if there is no store yet.
    """

    def __init__(self, staging: Staging, catalog: Catalog | None) -> None:
        self.staging, self._catalog = staging, catalog
        self._n_work = 0
        interruptible.execute(
            staging.connection, "CREATE TABLE settled (space VARCHAR, item_id BIGINT, present BOOLEAN)"
        )

    def meet(self, space: str) -> int:
        """Record the staged items that are present in a stored space, and return their number.

        Raises:
            DamagedError: A shard cannot be read.
        """
        catalog = self._catalog
        if catalog is None or not (shards := catalog.shards.get(space)):
            return 0
        files = [shard.path for shard in shards]
        values = {"files": connections.literal(files), "space": space, "layer": catalog.cards[space].layers.ids[0]}
        connection = self.staging.connection
        reader = Reader(catalog.paths.root, (), connection)
        reader.guard(files, lambda sql: interruptible.execute(connection, sql, values), _PRESENT)
        return self._count("settled WHERE space = $space", space=space)

    def skipped_before(self, space: str) -> Iterator[list[Item]]:
        """Yield the items without a vector that an earlier build skipped, some thousands at a time.

        Items of one sentence are in the same batch.
        """
        catalog = self._catalog
        if catalog is None or not catalog.skipped_files:
            return
        reader = Reader(catalog.paths.root, catalog.skipped_files, self.staging.connection)
        listed = reader.columns(_LISTED, catalog.skipped_files, space=space)
        ids, keys = listed["item_id"], listed["key"]
        start = 0
        while start < len(ids):
            end = int(np.searchsorted(keys, keys[min(start + _CHUNK, len(ids)) - 1], side="right"))
            with connections.with_ids(self.staging.connection, "chosen", ids[start:end]):
                yield self.staging.items("item_id IN (SELECT item_id FROM chosen)")
            start = end

    def leave_out(self, space: str, ids: Ids) -> None:
        """Record items that cannot be embedded in a space."""
        connection = self.staging.connection
        connection.register("left_out", {"item_id": ids})
        self.staging.rows("INSERT INTO settled SELECT $space, item_id, false FROM left_out", space=space)
        connection.unregister("left_out")

    def n_missing(self, space: str, parts: Parts) -> tuple[int, int]:
        """Return the number of items missing in a space: in the parts of this build, and in the others."""
        lacking = "item ANTI JOIN (SELECT item_id FROM settled WHERE space = $space) USING (item_id) WHERE valid"
        missing = self._count(lacking, space=space)
        here = missing if parts.worker.total == 1 else self._count(f"{lacking} AND {mine(parts)}", space=space)
        return here, missing - here

    def work(self, spaces: Sequence[str], parts: Parts) -> "Work":
        """Return the work of the parts that this build takes, for spaces that are encoded together."""
        self._n_work += 1
        return Work(self.staging, spaces, parts, f"todo_{self._n_work}")

    def present(self, spaces: Sequence[str], parts: Parts) -> str:
        """Return an SQL query for the ids of items present in any of the spaces, within the parts of this build."""
        named = ", ".join(map(connections.quote, spaces))
        return (
            f"SELECT item_id FROM item SEMI JOIN (SELECT item_id FROM settled WHERE present AND space IN ({named})) "
            f"USING (item_id) WHERE {mine(parts)}"
        )

    def _count(self, rows: str, **values: str) -> int:
        found = self.staging.rows(f"SELECT count(*) FROM {rows}", **values)
        return int(found[0][0])


class Work:
    """Items that are missing in some spaces, in the order of encoding.

    Args:
        staging: Staged items.
        spaces: Names of the spaces.
        parts: Division of the keys into parts.
        table: Name for the table of the items missing in each space.

    Attributes:
        n_items: Number of items missing in any of the spaces.
        size: Number of characters to encode for them, each sentence counted once.
    """

    def __init__(self, staging: Staging, spaces: Sequence[str], parts: Parts, table: str) -> None:
        self._staging, self._parts = staging, parts
        self._lacks = [f"lacks_{number}" for number in range(len(spaces))]
        named = ", ".join(map(connections.quote, spaces))
        # Where the spaces have nothing, all items are missing, and the table would say nothing.
        has = staging.rows(f"SELECT 1 FROM settled WHERE space IN ({named}) LIMIT 1")
        self._todo = table if has else None
        if has:
            staging.rows(_todo_sql(table, spaces, parts))
        self.n_items, self.size = self._measure()

    def _measure(self) -> tuple[int, int]:
        rows = f"item {self._joined()} WHERE valid AND {mine(self._parts)}"
        size = f"SELECT sum(length(text) + {SPECIAL_TOKENS_CHARS}) FROM {rows}"
        if self._staging.n_sentences:
            size = f"""SELECT sum(length(text) + {SPECIAL_TOKENS_CHARS}) FROM sentence
                       SEMI JOIN (SELECT context_id AS item_id FROM {rows}) USING (item_id)"""
        found = self._staging.rows(f"SELECT (SELECT count(*) FROM {rows}), ({size})")
        return int(found[0][0]), int(found[0][1] or 0)

    def windows(self) -> Iterator[Window]:
        """Yield the missing items window by window; the windows of a shard are consecutive."""
        for number, ranges in enumerate(self._shards()):
            for keys in ranges:
                if len((window := self._window(keys, number)).ids):
                    yield window

    def _shards(self) -> Iterator[list[Range]]:
        if self._todo is None:
            yield from self._parts.all()
            return
        n = self._parts.n * self._parts.n_windows
        rows = self._staging.rows(
            f"""SELECT (key::HUGEINT * {n}) // {KEYS} AS number, count(*), count({self._todo}.item_id)
                FROM item LEFT JOIN {self._todo} USING (item_id) WHERE valid GROUP BY number"""
        )
        yield from self._parts.pack({int(number): (wanted, missing) for number, wanted, missing in rows})

    def _window(self, keys: Range, number: int) -> Window:
        lacks = ", ".join(self._lacks if self._todo else [f"true AS {name}" for name in self._lacks])
        chosen = f"key >= {keys.first} AND key < {keys.end} AND valid AND {mine(self._parts)}"
        rows = f"(SELECT * FROM item WHERE {chosen}) AS item {self._joined()}"
        table = self._staging.table(_WINDOW.format(lacks=lacks, rows=rows))
        ids = table["item_id"].to_numpy()
        items = self._staging.made(table, self._staging.contexts(rows))
        found = np.array([table[name].to_numpy() for name in self._lacks], dtype=np.bool_)
        return Window(items, ids, found.reshape(len(self._lacks), len(ids)), number)

    def _joined(self) -> str:
        return f"JOIN {self._todo} USING (item_id)" if self._todo else ""


def mine(parts: Parts) -> str:
    """Return the SQL condition for the keys of the parts that a build takes."""
    if parts.worker.total == 1:
        return "true"
    return f"((key::HUGEINT * {parts.n}) // {KEYS}) % {parts.worker.total} = {parts.worker.index - 1}"


def _todo_sql(table: str, spaces: Sequence[str], parts: Parts) -> str:
    """Return the SQL that makes the table of missing items: item_id, and of each space whether it lacks it."""
    joins, lacks = [], []
    for number, space in enumerate(spaces):
        has = f"SELECT DISTINCT item_id FROM settled WHERE space = {connections.quote(space)}"
        joins.append(f"LEFT JOIN ({has}) AS has_{number} ON has_{number}.item_id = item.item_id")
        lacks.append(f"has_{number}.item_id IS NULL")
    columns = ", ".join(f"{lack} AS lacks_{number}" for number, lack in enumerate(lacks))
    return (
        f"CREATE TABLE {table} AS SELECT item.item_id, {columns} FROM item {' '.join(joins)} "
        f"WHERE valid AND {mine(parts)} AND ({' OR '.join(lacks)}) ORDER BY item.key, item.item_id"
    )
