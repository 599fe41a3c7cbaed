"""Collect and deduplicate the items of a build in a DuckDB of their own, before they are stored.

Few items stay in memory; many are spilled by DuckDB to a temporary folder. Operations on all items
at once, such as deduplication, run in SQL.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
import pyarrow as pa

from embstore.base import atomic
from embstore.base.arrays import Ids, Mask
from embstore.base.errors import SourceError, StoreError
from embstore.base.space import Unit
from embstore.base.text import Item, Span, escaped, is_unicode, item_id
from embstore.storage.arrow import from_values, to_numpy
from embstore.storage.sql import connections, interruptible
from embstore.storage.sql.interruptible import Rows

_MEMORY = "1GB"
_BATCH_ROWS, _BATCH_CHARS, _ITEMS = 20_000, 16 << 20, 10_000
INT, TEXT = pa.int64(), pa.string()
SHOWN = 300
"""Number of characters of a text that an error message shows."""


_TABLES = """
CREATE TABLE raw (ordinal BIGINT, item_id BIGINT, text VARCHAR, context_id BIGINT, start BIGINT,
                  "end" BIGINT, origin VARCHAR, valid BOOLEAN, content UBIGINT);
CREATE TABLE raw_sentence (ordinal BIGINT, item_id BIGINT, text VARCHAR, origin VARCHAR,
                           content UBIGINT);
CREATE TABLE blank (reason VARCHAR, origin VARCHAR);
CREATE TABLE token (space VARCHAR, item_id BIGINT, position BIGINT, special BIGINT);
"""
# The first row of each id is kept. The key of an item is its id; of an occurrence, the id of its
# sentence.
_DEDUPLICATE = """
CREATE TABLE item AS
SELECT {key} AS key, * FROM raw {first} ORDER BY key, item_id;
CREATE TABLE sentence AS
SELECT * FROM raw_sentence
SEMI JOIN (SELECT min(ordinal) AS ordinal FROM raw_sentence GROUP BY item_id) USING (ordinal)
ORDER BY item_id;
DROP TABLE raw;
DROP TABLE raw_sentence;
"""
_FIRST = "SEMI JOIN (SELECT min(ordinal) AS ordinal FROM raw GROUP BY item_id) USING (ordinal)"
_COLLIDING = """
SELECT text, origin FROM {table} WHERE item_id =
    (SELECT item_id FROM {table} GROUP BY item_id HAVING min(content) <> max(content)
     ORDER BY item_id LIMIT 1)
ORDER BY ordinal
"""
_COUNTS = """
SELECT (SELECT count(*) FROM item), (SELECT coalesce(sum(length(text)), 0) FROM {texts}),
       (SELECT count(*) FROM item WHERE NOT valid),
       (SELECT coalesce(bit_xor(item_id), 0) FROM item)
"""


class Appender:
    """Rows on their way into a table of a staging, which are inserted some thousands at a time."""

    def __init__(
        self, staging: "Staging", table: str, types: Mapping[str, pa.DataType], columns: str = "*"
    ) -> None:
        self._staging, self._types = staging, types
        self._sql = f"INSERT INTO {table} SELECT {columns} FROM batch"
        self._rows: Rows = []
        staging.appenders.append(self)

    def add(self, *row: Any) -> None:
        """Add a row, with the values of the columns in their order."""
        self._rows.append(row)
        if len(self._rows) >= _BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Insert the rows that were added since the last time."""
        if self._rows:
            columns = zip(self._types.items(), zip(*self._rows, strict=True), strict=True)
            arrays = {name: from_values(values, kind) for (name, kind), values in columns}
            with connections.with_table(self._staging.connection, "batch", pa.table(arrays)):
                self._staging.rows(self._sql)
            self._rows = []


class Staging:
    """Items of the sources of one unit; a context manager that removes its temporary files.

    What exceeds the memory of DuckDB, a gigabyte, goes to a temporary folder in the given one.
    After :meth:`deduplicate` its tables are ``item`` (key, ordinal, item_id, text, context_id,
    start, end, origin, valid, content; by ascending key and id), ``sentence`` (item_id, text) for
    the contexts of occurrences, and ``blank`` (reason, origin). ``n_sentences`` counts contexts
    with repeats, ``n_chars`` the characters to encode, each sentence once, and ``digest`` is a hash
    of the set of ids. Of tokens, ``token`` (space, item_id, position, special) has the spaces that
    they belong to, and their places there.
    """

    def __init__(self, folder: Path, unit: Unit) -> None:
        self._spill = atomic.temporary_path(folder)
        self._n_rows = self._n_waiting_chars = 0
        self.unit = unit
        self.appenders: list[Appender] = []
        self.n_items = self.n_sentences = self.n_chars = self.n_invalid = self.digest = 0

    def __enter__(self) -> Self:
        self.connection = connections.connect_to_spill(self._spill, _MEMORY)
        interruptible.execute(self.connection, _TABLES)
        row = {"ordinal": INT, "item_id": INT, "text": TEXT}
        span = {"context_id": INT, "start": INT, "end": INT}
        self._items = Appender(
            self,
            "raw",
            {**row, **span, "origin": TEXT, "valid": pa.bool_()},
            f"*, {content(self.unit)}",
        )
        self._sentences = Appender(
            self,
            "raw_sentence",
            {**row, "origin": TEXT},
            f"*, {content(Unit.SENTENCE, *['NULL::BIGINT'] * 3)}",
        )
        self._blanks = Appender(self, "blank", {"reason": TEXT, "origin": TEXT})
        self._tokens = Appender(
            self, "token", {"space": TEXT, "item_id": INT, "position": INT, "special": INT}
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        atomic.discard(self._spill)

    def add(self, text: str, origin: str) -> int:
        """Stage a word or a sentence, of a place in a source, and return its id; texts may
        repeat.
        """
        valid, new_id = is_unicode(text), item_id(self.unit, text)
        self._items.add(
            self._n_rows, new_id, text if valid else escaped(text), None, None, None, origin, valid
        )
        self._n_rows += 1
        self._n_waiting_chars += len(text)
        if self._n_waiting_chars >= _BATCH_CHARS:
            self.flush()
        return new_id

    def add_occurrences(self, sentence: str, occurrences: Iterable[Item], origin: str) -> int:
        """Stage some occurrences in a sentence of a source, or tokens of a text, and return the id
        of the sentence.
        """
        valid, context_id = is_unicode(sentence), item_id(Unit.SENTENCE, sentence)
        self._sentences.add(
            self.n_sentences, context_id, sentence if valid else escaped(sentence), origin
        )
        self.n_sentences += 1
        for item in occurrences:
            text = item.text if valid else escaped(item.text)
            self._items.add(
                self._n_rows, item.id, text, context_id, *(item.span or (None, None)), origin, valid
            )
            self._n_rows += 1
        self._n_waiting_chars += len(sentence)
        if self._n_waiting_chars >= _BATCH_CHARS:
            self.flush()
        return context_id

    def add_token(self, space: str, item_id: int, position: int, *, is_special: bool) -> None:
        """Stage the place of a token in the input of the model of a space."""
        self._tokens.add(space, item_id, position, int(is_special))

    def add_blank(self, reason: str, origin: str) -> None:
        """Stage a row of a source that gives no item."""
        self._blanks.add(reason, origin)

    def flush(self) -> None:
        """Insert all rows that were added."""
        for appender in self.appenders:
            appender.flush()
        self._n_waiting_chars = 0

    def rows(self, sql: str, **values: Any) -> Rows:
        """Execute a statement, and return its rows."""
        with _storage_errors(self._spill.parent):
            return interruptible.rows(self.connection, sql, values)

    def table(self, sql: str, **values: Any) -> pa.Table:
        """Execute a query, and return its result as a table; see :meth:`rows`."""
        with _storage_errors(self._spill.parent):
            return interruptible.run(
                self.connection, lambda it: it.sql(sql, params=values).to_arrow_table()
            )

    def stream(self, sql: str, schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
        """Yield the result of a query in a schema, some rows at a time."""
        reader = interruptible.run(self.connection, lambda it: it.sql(sql).to_arrow_reader(rows))
        while (
            batch := interruptible.run(self.connection, lambda _: next(reader, None))
        ) is not None:
            yield pa.Table.from_batches([batch]).cast(schema)

    def deduplicate(self, *, is_distinct: bool = False) -> None:
        """Deduplicate the items, keeping the first row of each; called once all rows are staged."""
        self.flush()
        for table in ("raw_sentence",) if is_distinct else ("raw", "raw_sentence"):
            if len(rows := self.rows(_COLLIDING.format(table=table))) > 1:
                (text, origin), (other, other_origin) = (
                    rows[0],
                    next(row for row in rows if row[0] != rows[0][0]),
                )
                raise collision(
                    f"{text[:SHOWN]!r} ({origin})", f"{other[:SHOWN]!r} ({other_origin})"
                )
        occurrences = self.unit.has_context
        self.rows(
            _DEDUPLICATE.format(
                key="context_id" if occurrences else "item_id", first="" if is_distinct else _FIRST
            )
        )
        counts = self.rows(_COUNTS.format(texts="sentence" if occurrences else "item"))
        self.n_items, self.n_chars, self.n_invalid, self.digest = counts[0]

    def first_duplicate(self) -> tuple[str, str, str] | None:
        """Return the text of the first item that is staged twice, and the origins of both; called
        before it is dropped.

        None if no item is staged twice.
        """
        self.flush()
        rows = self.rows("""SELECT text, origin FROM raw WHERE item_id =
                   (SELECT item_id FROM raw GROUP BY item_id HAVING count(*) > 1
                    ORDER BY list_sort(list(ordinal))[2] LIMIT 1)
               ORDER BY ordinal LIMIT 2""")
        return (rows[0][0], rows[0][1], rows[1][1]) if rows else None

    def find(self, item_id: int) -> tuple[Item, str]:
        """Return a staged item, and the origin of its first row: file and line."""
        places = self.rows("SELECT origin FROM item WHERE item_id = $item", item=item_id)
        return self.items("item_id = $item", item=item_id)[0], places[0][0]

    def items(self, condition: str, **values: Any) -> list[Item]:
        """Return the items for which an SQL condition over ``item`` is true, by ascending key and
        id.
        """
        rows = f"(SELECT * FROM item WHERE {condition})"
        table = self.table(
            f'SELECT item_id, text, context_id, start, "end" FROM {rows} ORDER BY key, item_id',
            **values,
        )
        return Window(self.unit, table, self.contexts(rows, **values)).items()

    def batches(self, ids: Ids | None = None, keys: Ids | None = None) -> Iterator[list[Item]]:
        """Yield items some thousands at a time; those of one sentence are together.

        Args:
            ids: Item ids (n,), by ascending key and id; None for all items that are valid Unicode.
            keys: Their keys (n,).
        """
        if ids is None or keys is None:
            listed = self.table("SELECT item_id, key FROM item WHERE valid ORDER BY key, item_id")
            ids, keys = (to_numpy(listed[name]) for name in ("item_id", "key"))
        start = 0
        while start < len(ids):
            end = int(np.searchsorted(keys, keys[min(start + _ITEMS, len(ids)) - 1], side="right"))
            with connections.with_ids(self.connection, "chosen", ids[start:end]):
                yield self.items("item_id IN (SELECT item_id FROM chosen)")
            start = end

    def contexts(self, rows: str, **values: Any) -> dict[int | None, str]:
        """Return the distinct sentences of occurrences, by id."""
        if not self.n_sentences:
            return {}
        chosen = f"(SELECT context_id AS item_id FROM {rows}) AS chosen"
        return dict(
            self.rows(
                f"SELECT item_id, text FROM sentence SEMI JOIN {chosen} USING (item_id)", **values
            )
        )


@contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    """Raise DuckDB's errors about memory and its temporary files as errors of embstore."""
    try:
        yield
    except duckdb.IOException as error:
        raise StoreError(
            f"temporary files in {folder} cannot be written: {connections.first_line(error)} Free"
            " some space, or check that folder, and run the same command again: what was written"
            " before is whole."
        ) from error
    except duckdb.Error as error:
        raise connections.exhausted(error) or error from error


def content(unit: str, *span: str) -> str:
    """Return the SQL of a content hash, which distinguishes items that share an id.

    ``unit`` may be the column of that name; the span is SQL for context id, start and end, the
    columns by default.
    """
    context_id, start, end = span or ("context_id", "start", '"end"')
    return (
        f"hash({unit if unit == 'unit' else connections.quote(unit)}, text, {context_id}, {start},"
        f" {end}) AS content"
    )


def collision(text: str, other: str) -> SourceError:
    """Return the error for two texts with the same id, each given as its repr with its origin."""
    return SourceError(
        f"two different texts have the same item id: {text} and {other}. A store cannot tell them"
        " apart: leave one of them out, or build it into another store."
    )


COLUMNS = ("item_id", "text", "context_id", "start", "end")


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Items of one unit as rows; sent to another process, they cost hundredths of what the items
    would.

    They are pickled as a stream of Arrow, since Ray loads pandas to send a table.
    """

    unit: Unit  # unit of the items
    # rows (n,) with the columns :data:`COLUMNS`, then for each space one of 0 and 1: 1 where
    # missing
    table: pa.Table
    contexts: Mapping[int | None, str]  # sentences of occurrences, by id
    shard_number: int = 0  # number of the shard that the items will be in, from 0

    def __reduce__(self) -> tuple[Any, ...]:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.table.schema) as stream:
            stream.write_table(self.table)
        return _from_stream, (self.unit, sink.getvalue(), self.contexts, self.shard_number)

    @property
    def ids(self) -> Ids:
        """Item ids, int64 (n,)."""
        return to_numpy(self.table["item_id"])

    @property
    def is_missing(self) -> Mask:
        """Mask (spaces, n) of the items missing in each space."""
        columns = self.table.columns[len(COLUMNS) :]
        return np.array(list(map(to_numpy, columns)), np.bool_).reshape(
            len(columns), self.table.num_rows
        )

    def items(self) -> list[Item]:
        """Return the items (n,), made anew."""
        columns = (self.table[name].to_pylist() for name in COLUMNS)
        return [
            Item(
                self.unit,
                text,
                self.contexts.get(context),
                None if start is None else Span(start, end),
                item,
            )
            for item, text, context, start, end in zip(*columns, strict=True)
        ]

    def part(self, of: slice) -> "Window":
        """Return some consecutive rows."""
        first, end, _ = of.indices(self.table.num_rows)
        return replace(self, table=self.table.slice(first, max(0, end - first)))


def _from_stream(
    unit: Unit, stream: pa.Buffer, contexts: Mapping[int | None, str], shard_number: int
) -> Window:
    """Return the rows that were pickled as a stream."""
    return Window(unit, pa.ipc.open_stream(stream).read_all(), contexts, shard_number)
