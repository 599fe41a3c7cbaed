"""Look up the texts of items by their ids.

A few items are taken from memory, into which tables of moderate size are read once, else from the
files that may contain them. Before a table is read, it is checked against its SHA-256, once until
the file changes.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from embstore.base.arrays import Ids
from embstore.base.errors import DamagedError
from embstore.base.space import Unit
from embstore.base.text import Item, Span, escaped
from embstore.storage.cache import StoredFile, fetch
from embstore.storage.sql import connections
from embstore.storage.sql.reader import FILES, Reader

_MAX_LISTED = 1000  # number of items up to which their ids are listed in the SQL
_MAX_CHARS = 1000  # maximum length of a text in a search by spelling, whose memory grows with it
_MAX_LOADED_BYTES = 32 << 20  # size of the tables that are read into memory
_COLUMNS = ("item_id", "unit", "text", "context_id", "start", "end")

Row = tuple[Any, ...]

_unit = lru_cache(maxsize=8)(Unit)  # the enum's own lookup is slow for a unit per row


class ItemTables:
    """Tables of the items of a store."""

    def __init__(self, reader: Reader, files: Sequence[StoredFile], place: str) -> None:
        self.files = files
        self._reader, self._place = reader, place

    def check(self) -> None:
        """Raise DamagedError if a table was altered."""
        from embstore.storage import tables  # and pyarrow

        tables.check_all(self.files)

    def ids(self) -> Ids:
        """Return the ids of all items, ascending."""
        self.check()
        return np.sort(self._reader.columns(f"SELECT item_id FROM {FILES}", self.files)["item_id"])

    def items(self, ids: Iterable[int]) -> dict[int, Item]:
        """Return the stored items with these ids, by id; an occurrence includes its sentence."""
        requested = set(ids)  # not np.unique, which would import numpy.ma
        if len(requested) <= _MAX_LISTED:
            items = self._listed_items(requested)
        else:
            self.check()
            array = np.fromiter(requested, np.int64, len(requested))
            with connections.with_ids(self._reader.connection, "wanted", array):
                items = self._items_where("item_id IN (SELECT item_id FROM wanted)")
        if missing := sorted(requested - items.keys()):
            raise self.missing_text_error(missing[0])
        return items

    def texts(self, ids: Ids) -> list[str]:
        """Return the texts of the stored items with some ids (n,), in their order."""
        if len(ids) > _MAX_LISTED and self._loaded is not None:
            rows = self._loaded.rows(ids.tolist(), ("text",))
            if len(rows) == len(ids):
                return [text for (text,) in rows]
        items = self.items(ids.tolist())
        return [items[item].text for item in ids.tolist()]

    def occurrences(self, unit: Unit, text: str) -> dict[int, Item]:
        """Return the occurrences of a word, or of a token, by id."""
        self.check()  # an altered text would not be found
        return self._items_where(
            "unit = $unit AND text = $text", unit=unit.value, text=escaped(text)
        )

    def tokens_at(self, context_id: int, span: Span) -> dict[int, Item]:
        """Return the tokens that have some of the characters at a span of a context, by id."""
        self.check()
        return self._items_where(
            """unit = 'token' AND context_id = $context AND start < $end AND "end" > $start""",
            context=context_id,
            start=span.start,
            end=span.end,
        )

    def nearest_texts(self, text: str, ids: Ids, n: int) -> list[str]:
        """Return the n texts of these items with the most similar spelling (Damerau-Levenshtein,
        Jaro-Winkler).
        """
        self.check()
        sql = f"""SELECT text FROM (SELECT DISTINCT text FROM {FILES}
                                    WHERE item_id IN (SELECT item_id FROM wanted)
                                    AND length(text) <= {_MAX_CHARS})
                  ORDER BY {connections.by_spelling("text")},
                           jaro_winkler_similarity(lower(text), lower($text)) DESC, text
                  LIMIT $n"""
        with connections.with_ids(self._reader.connection, "wanted", ids):
            return [
                row[0]
                for row in self._reader.rows(sql, self.files, text=escaped(text)[:_MAX_CHARS], n=n)
            ]

    def nearest_occurrences(self, item: Item, ids: Ids, n: int) -> list[Item]:
        """Return the n of these occurrences with the most similar spelling of word, then of
        sentence.
        """
        self.check()
        sql = f"""WITH item AS (SELECT * FROM {FILES} WHERE item_id IN (SELECT item_id FROM wanted))
                  SELECT item.item_id, item.unit, item.text, context.text, item.start, item."end"
                  FROM item JOIN {FILES} AS context ON context.item_id = item.context_id
                  WHERE length(item.text) <= {_MAX_CHARS} AND length(context.text) <= {_MAX_CHARS}
                  ORDER BY {connections.by_spelling("item.text")},
                           jaro_winkler_similarity(lower(context.text), lower($context)) DESC,
                           context.text, item.start
                  LIMIT $n"""
        with connections.with_ids(self._reader.connection, "wanted", ids):
            texts = {
                "text": escaped(item.text)[:_MAX_CHARS],
                "context": escaped(item.context or "")[:_MAX_CHARS],
            }
            return [*_items(self._reader.rows(sql, self.files, **texts, n=n)).values()]

    def missing_text_error(self, item: int) -> DamagedError:
        """Return the error for an item without a stored text."""
        self.check()
        return DamagedError(
            f"item {item} has no text in {self._place}: a table is lost. Build the same sources"
            " again: their texts are written anew."
        )

    def _listed_items(self, ids: Collection[int]) -> dict[int, Item]:
        """Return a few items from the files that may contain them; sentences are read only for
        occurrences.
        """
        rows = self._rows_of(ids, _COLUMNS)
        contexts = {row[3] for row in rows if row[3] is not None}
        sentences: dict[int, str] = (
            dict(self._rows_of(contexts, ("item_id", "text"))) if contexts else {}
        )
        return _items((*row[:3], sentences.get(row[3]), *row[4:]) for row in rows)

    def _rows_of(self, ids: Collection[int], columns: Sequence[str]) -> list[Row]:
        """Return columns of the rows with these ids."""
        if self._loaded is not None:
            return self._loaded.rows(ids, columns)
        # A list in the SQL lets DuckDB skip row groups by their statistics.
        from embstore.storage import tables  # and pyarrow

        listed = ", ".join(str(int(item)) for item in ids) or "NULL"
        sql = (
            f"SELECT {', '.join(map(connections.quote_name, columns))} FROM {FILES} WHERE item_id"
            f" IN ({listed})"
        )
        ascending = sorted(ids)
        files = [file for file in self.files if _may_have(file, ascending)]
        tables.check_all(files)
        return self._reader.rows(sql, files)

    @cached_property
    def _loaded(self) -> "_LoadedRows | None":
        """The rows of all tables in memory; None if they are too large."""
        n_bytes = sum(file.entry["bytes"] for file in self.files)
        return _LoadedRows(self.files) if 0 < n_bytes <= _MAX_LOADED_BYTES else None

    def _items_where(self, condition: str, **values: Any) -> dict[int, Item]:
        """Return the items for which an SQL condition over the columns of items is true, with their
        sentences.
        """
        sql = f"""WITH item AS (SELECT * FROM {FILES} WHERE {condition})
                  SELECT item.item_id, item.unit, item.text, context.text, item.start, item."end"
                  FROM item LEFT JOIN {FILES} AS context ON context.item_id = item.context_id"""
        return _items(self._reader.rows(sql, self.files, **values))


class _LoadedRows:
    """Rows of tables of items in memory, of which some are found in far less time than a query
    takes.
    """

    def __init__(self, files: Sequence[StoredFile]) -> None:
        import pyarrow as pa

        from embstore.storage import tables
        from embstore.storage.arrow import to_numpy

        fetch(files)
        table = pa.concat_tables([tables.read(file) for file in files]).combine_chunks()
        self._columns = {name: table[name] for name in table.column_names}
        ids = to_numpy(table["item_id"])
        self._order = np.argsort(ids)
        self._ids = ids[self._order]

    def rows(self, ids: Collection[int], columns: Sequence[str]) -> list[Row]:
        """Return columns of the rows with these ids."""
        wanted = np.fromiter(ids, np.int64, len(ids))
        places = np.searchsorted(self._ids, wanted)
        places = places[np.take(self._ids, places, mode="clip") == wanted]
        # Row by row, since ``take`` would import pyarrow.compute, which takes a third of a short
        # query.
        chosen = [self._columns[name] for name in columns]
        return [
            tuple(column[row].as_py() for column in chosen) for row in self._order[places].tolist()
        ]


def _may_have(file: StoredFile, ascending: Sequence[int]) -> bool:
    """Return whether a table may have one of some items, by the range of its ids in the
    manifest.
    """
    place = bisect_left(ascending, file.entry["first"])
    return place < len(ascending) and ascending[place] <= file.entry["last"]


def _items(rows: Iterable[Row]) -> dict[int, Item]:
    """Return items by id, from rows of id, unit, text, text of the sentence, start and end."""
    return {
        item: Item(_unit(unit), text, context, None if start is None else Span(start, end), item)
        for item, unit, text, context, start, end in rows
    }
