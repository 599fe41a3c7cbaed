"""Collect and deduplicate the items of a build in a DuckDB of their own, before they are stored.

Few items stay in memory; many are spilled by DuckDB to a temporary folder. Operations on all items at once, such as
deduplication, run in SQL.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embstore.base import atomic, disk
from embstore.base.errors import SourceError
from embstore.base.space import Unit
from embstore.base.text import Item, Span
from embstore.storage.parquet import arrow_arrays
from embstore.storage.sql import connections, interruptible

_MEMORY = "1GB"
_BATCH_ROWS, _BATCH_CHARS = 20_000, 16 << 20
_TYPES = {
    **dict.fromkeys(("ordinal", "item_id", "context_id", "start", "end", "row", "place"), pa.int64()),
    "valid": pa.bool_(),
}
"""Types of columns; all others are strings."""
SHOWN = 300
"""Number of characters of a text that an error message shows."""

Ids = NDArray[np.int64]

_TABLES = """
CREATE TABLE raw (ordinal BIGINT, item_id BIGINT, text VARCHAR, context_id BIGINT, start BIGINT, "end" BIGINT,
                  origin VARCHAR, valid BOOLEAN, content UBIGINT);
CREATE TABLE raw_sentence (ordinal BIGINT, item_id BIGINT, text VARCHAR, origin VARCHAR, content UBIGINT);
CREATE TABLE blank (reason VARCHAR, origin VARCHAR);
"""
# The first row of each id is kept. The key of an item is its id; of an occurrence, the id of its sentence.
_DEDUPLICATE = """
CREATE TABLE item AS
SELECT {key} AS key, * FROM raw {first} ORDER BY key, item_id;
CREATE TABLE sentence AS
SELECT * FROM raw_sentence
SEMI JOIN (SELECT min(ordinal) AS ordinal FROM raw_sentence GROUP BY item_id) USING (ordinal) ORDER BY item_id;
DROP TABLE raw;
DROP TABLE raw_sentence;
"""
_FIRST = "SEMI JOIN (SELECT min(ordinal) AS ordinal FROM raw GROUP BY item_id) USING (ordinal)"
_COLLIDING = """
SELECT text, origin FROM {table} WHERE item_id =
    (SELECT item_id FROM {table} GROUP BY item_id HAVING min(content) <> max(content) ORDER BY item_id LIMIT 1)
ORDER BY ordinal
"""
_COUNTS = """
SELECT (SELECT count(*) FROM item), (SELECT coalesce(sum(length(text)), 0) FROM {texts}),
       (SELECT count(*) FROM item WHERE NOT valid),
       (SELECT coalesce(bit_xor(item_id), 0) FROM item)
"""


@dataclass(slots=True)
class Batch:
    """Rows that are about to be staged, as columns.

    Attributes:
        ids: Item ids, with repeats; ``texts``, ``origins`` and ``valid`` have as many entries, and for occurrences
            ``context_ids`` and ``spans``.
        texts: Texts, in which lone surrogates are escaped.
        context_ids: Ids of the sentences of occurrences.
        spans: Spans of occurrences.
        origins: Files and lines of the items.
        valid: Whether the text, and an occurrence's sentence, is valid Unicode.
        sentence_ids: Ids of the sentences.
        sentences: Texts of the sentences.
        sentence_origins: Files and lines of the sentences.
        blanks: Reason and origin of rows without a text.
        n_chars: Number of characters of all these texts.
    """

    ids: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    context_ids: list[int] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    valid: list[bool] = field(default_factory=list)
    sentence_ids: list[int] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    sentence_origins: list[str] = field(default_factory=list)
    blanks: list[tuple[str, str]] = field(default_factory=list)
    n_chars: int = 0

    @property
    def is_full(self) -> bool:
        """Whether the batch is large enough to be staged."""
        return max(len(self.ids), len(self.blanks)) >= _BATCH_ROWS or self.n_chars >= _BATCH_CHARS


class Staging:
    """Items of the sources of one unit; a context manager that removes its temporary files.

    Args:
        folder: Folder in which a temporary folder is created if memory does not suffice.
        unit: Unit of the items.
        memory: Memory limit of DuckDB in bytes, which then has one thread; None for a gigabyte. What exceeds it is
            spilled.

    Attributes:
        connection: DuckDB connection. After :meth:`deduplicate` its tables are ``item`` (key, ordinal, item_id, text,
            context_id, start, end, origin, valid, content; by ascending key and id), ``sentence`` (item_id, text) for
            the contexts of occurrences, and ``blank`` (reason, origin).
        n_items: Number of distinct items.
        n_sentences: Number of contexts of occurrences, with repeats.
        n_chars: Number of characters to encode, each sentence counted once.
        n_invalid: Number of items that are not valid Unicode.
        digest: Hash of the set of ids.
    """

    def __init__(self, folder: Path, unit: Unit, memory: int | None = None) -> None:
        self._spill = atomic.temporary_path(folder)
        self._memory = _MEMORY if memory is None else f"{memory}B"
        self._threads = None if memory is None else 1
        self._n_rows = 0
        self.unit = unit
        self.n_items = self.n_sentences = self.n_chars = self.n_invalid = self.digest = 0

    def __enter__(self) -> Self:
        self.connection = connections.connect_to_spill(self._spill, self._memory, self._threads)
        interruptible.execute(self.connection, _TABLES)
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        atomic.discard(self._spill)

    def add(self, batch: Batch) -> None:
        """Stage a batch of rows; items may repeat."""
        if n := len(batch.ids):
            none: list[int | None] = [None] * n
            columns: dict[str, Sequence[Any]] = {
                "ordinal": range(self._n_rows, self._n_rows + n), "item_id": batch.ids, "text": batch.texts,
                "context_id": batch.context_ids or none,
                "start": [span.start for span in batch.spans] or none,
                "end": [span.end for span in batch.spans] or none,
                "origin": batch.origins, "valid": batch.valid,
            }  # fmt: skip
            self.insert("raw", columns, f", {content(self.unit)}")
            self._n_rows += n
        if n := len(batch.sentence_ids):
            columns = {
                "ordinal": range(self.n_sentences, self.n_sentences + n), "item_id": batch.sentence_ids,
                "text": batch.sentences, "origin": batch.sentence_origins,
            }  # fmt: skip
            self.insert("raw_sentence", columns, f", {content(Unit.SENTENCE, *['NULL::BIGINT'] * 3)}")
            self.n_sentences += n
        if batch.blanks:
            reasons, origins = zip(*batch.blanks, strict=True)
            self.insert("blank", {"reason": reasons, "origin": origins})

    def insert(self, table: str, columns: Mapping[str, Sequence[Any]], extra_columns: str = "") -> None:
        """Insert rows into a table.

        Args:
            table: Name of the table.
            columns: Columns of the table, in their order.
            extra_columns: SQL for further columns.
        """
        arrays = {
            name: arrow_arrays.from_values(values, _TYPES.get(name, pa.string())) for name, values in columns.items()
        }
        with connections.with_table(self.connection, "batch", pa.table(arrays)):
            self.rows(f"INSERT INTO {table} SELECT *{extra_columns} FROM batch")

    def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        """Execute a statement, and return its rows."""
        with _storage_errors(self._spill.parent):
            return interruptible.rows(self.connection, sql, values)

    def table(self, sql: str, **values: Any) -> pa.Table:
        """Execute a query, and return its result as a table; see :meth:`rows`."""
        with _storage_errors(self._spill.parent):
            return interruptible.run(self.connection, lambda it: it.sql(sql, params=values).to_arrow_table())

    def deduplicate(self, *, is_distinct: bool = False) -> None:
        """Deduplicate the items, keeping the first row of each; called once all rows are staged."""
        for table in ("raw_sentence",) if is_distinct else ("raw", "raw_sentence"):
            if len(rows := self.rows(_COLLIDING.format(table=table))) > 1:
                (text, origin), (other, other_origin) = rows[0], next(row for row in rows if row[0] != rows[0][0])
                raise collision(f"{text[:SHOWN]!r} ({origin})", f"{other[:SHOWN]!r} ({other_origin})")
        occurrences = self.unit is Unit.OCCURRENCE
        self.rows(
            _DEDUPLICATE.format(key="context_id" if occurrences else "item_id", first="" if is_distinct else _FIRST)
        )
        counts = self.rows(_COUNTS.format(texts="sentence" if occurrences else "item"))
        self.n_items, self.n_chars, self.n_invalid, self.digest = counts[0]

    def first_duplicate(self) -> tuple[str, str, str] | None:
        """Return the text of the first item that is staged twice, and the origins of both; called before it is dropped.

        None if no item is staged twice.
        """
        rows = self.rows(
            """SELECT text, origin FROM raw WHERE item_id =
                   (SELECT item_id FROM raw GROUP BY item_id HAVING count(*) > 1
                    ORDER BY list_sort(list(ordinal))[2] LIMIT 1)
               ORDER BY ordinal LIMIT 2"""
        )
        return (rows[0][0], rows[0][1], rows[1][1]) if rows else None

    def find(self, item_id: int) -> tuple[Item, str]:
        """Return a staged item, and the origin of its first row: file and line."""
        places = self.rows("SELECT origin FROM item WHERE item_id = $item", item=item_id)
        return self.items("item_id = $item", item=item_id)[0], places[0][0]

    def items(self, condition: str, **values: Any) -> list[Item]:
        """Return the items for which an SQL condition over ``item`` is true, by ascending key and id."""
        rows = f"(SELECT * FROM item WHERE {condition})"
        table = self.table(
            f'SELECT item_id, text, context_id, start, "end" FROM {rows} ORDER BY key, item_id', **values
        )
        return ItemRows(self.unit, table, self.contexts(rows, **values)).items()

    def batches(self) -> Iterator[list[Item]]:
        """Yield all items that are valid Unicode, some thousands at a time; those of one sentence are together."""
        listed = self.table("SELECT item_id, key FROM item WHERE valid ORDER BY key, item_id")
        ids, keys = arrow_arrays.to_numpy(listed["item_id"]), arrow_arrays.to_numpy(listed["key"])
        start = 0
        while start < len(ids):
            end = int(np.searchsorted(keys, keys[min(start + _BATCH_ROWS, len(ids)) - 1], side="right"))
            with connections.with_ids(self.connection, "chosen", ids[start:end]):
                yield self.items("item_id IN (SELECT item_id FROM chosen)")
            start = end

    def contexts(self, rows: str, **values: Any) -> dict[int | None, str]:
        """Return the distinct sentences of occurrences, by id.

        Args:
            rows: SQL for rows of ``item``.
            **values: Parameters of the SQL.
        """
        if not self.n_sentences:
            return {}
        chosen = f"(SELECT context_id AS item_id FROM {rows}) AS chosen"
        return dict(self.rows(f"SELECT item_id, text FROM sentence SEMI JOIN {chosen} USING (item_id)", **values))


@contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    """Raise DuckDB's errors about memory, disk space and file access as errors of embstore."""
    try:
        yield
    except duckdb.Error as error:
        raise connections.exhausted(error) or disk.quoted_error(str(error), folder, writing=True) or error from error


def content(unit: str, *span: str) -> str:
    """Return the SQL of a content hash, which distinguishes items that share an id.

    Args:
        unit: Unit of the items; ``unit`` for the column of that name.
        *span: SQL for context id, start and end; the columns by default.
    """
    context_id, start, end = span or ("context_id", "start", '"end"')
    return f"hash({unit if unit == 'unit' else connections.quote(unit)}, text, {context_id}, {start}, {end}) AS content"


def collision(text: str, other: str) -> SourceError:
    """Return the error for two texts with the same id, each given as its repr with its origin."""
    return SourceError(
        f"two different texts have the same item id: {text} and {other}. A store cannot tell them apart: leave one of "
        "them out, or build it into another store."
    )


COLUMNS = ("item_id", "text", "context_id", "start", "end")


@dataclass(frozen=True, slots=True, eq=False)
class ItemRows:
    """Items of one unit as rows; sent to another process, they cost hundredths of what the items would.

    They are pickled as a stream of Arrow, since Ray loads pandas to send a table.

    Attributes:
        unit: Unit of the items.
        table: Rows (n,) with the columns :data:`COLUMNS`.
        contexts: Sentences of occurrences, by id.
    """

    unit: Unit
    table: pa.Table
    contexts: Mapping[int | None, str]

    def __reduce__(self) -> tuple[Any, ...]:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.table.schema) as stream:
            stream.write_table(self.table)
        return _from_stream, (self.unit, sink.getvalue(), self.contexts)

    def items(self) -> list[Item]:
        """Return the items (n,), made anew."""
        columns = (self.table[name].to_pylist() for name in COLUMNS)
        return [
            Item(self.unit, text, self.contexts.get(context), None if start is None else Span(start, end), item)
            for item, text, context, start, end in zip(*columns, strict=True)
        ]

    def part(self, of: slice) -> "ItemRows":
        """Return some consecutive rows."""
        first, end, _ = of.indices(self.table.num_rows)
        return replace(self, table=self.table.slice(first, max(0, end - first)))


def _from_stream(unit: Unit, stream: pa.Buffer, contexts: Mapping[int | None, str]) -> ItemRows:
    """Return the rows that were pickled as a stream."""
    return ItemRows(unit, pa.ipc.open_stream(stream).read_all(), contexts)
