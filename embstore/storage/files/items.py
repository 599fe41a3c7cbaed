"""The tables of items: which text an id stands for.

A few items are looked up in the files that may hold them, and vouched for by their ids, which are hashes of the rest.
What reads a table in bulk checks it against the SHA-256 in its name first, once as long as the file is the same.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore import disk
from embstore.errors import DamagedError
from embstore.space import Unit
from embstore.storage.files.columns import ITEM_COLUMNS, SKIPPED_COLUMNS
from embstore.storage.files.unpacked import check_unpacked
from embstore.storage.parquet.footer import read_columns
from embstore.storage.sql import connections
from embstore.storage.sql.file_stats import Ranges
from embstore.storage.sql.reader import FILES, MEND_TABLE, Reader
from embstore.text import Item, Span, escaped, item_id

_FEW = 1000  # items, each of which is named in the SQL
_COMPARED = 1000  # characters of a text that may be meant by another spelling: the distance takes memory for each
_COLUMNS = 'item_id, unit, text, context_id, start, "end"'

Ids = NDArray[np.int64]
Row = tuple[Any, ...]
Stamp = tuple[int, int, int]

_ROW_TYPES = (int, str, str, str | None, int | None, int | None)


class ItemTables:
    """Tables of the items of a store.

    Args:
        reader: DuckDB over the store.
        files: Parquet files of the items.
        folder: Folder of these files.
        checks: Checks of files against the hashes in their names.
    """

    def __init__(self, reader: Reader, files: Sequence[Path], folder: Path, checks: "PartChecks") -> None:
        self.files = files
        self._reader, self._folder = reader, folder
        self._ranges = Ranges(reader, files)
        self._checks = checks

    def check(self) -> None:
        """Raise DamagedError if a table was altered."""
        for file in self.files:
            self._checks.check(file)

    def ids(self) -> Ids:
        """Return the ids of all items, ascending."""
        self.check()
        return np.sort(self._reader.columns(f"SELECT item_id FROM {FILES}", self.files)["item_id"])

    def items(self, ids: Iterable[int]) -> dict[int, Item]:
        """Return the stored items with these ids, by id; an occurrence includes its sentence.

        Raises:
            DamagedError: A table was altered, or the text of an item is missing.
        """
        wanted = set(ids)  # np.unique would import numpy.ma, in every one-shot question for neighbours
        if len(wanted) <= _FEW:
            try:
                found = self._few(wanted)
            except (DamagedError, UnicodeDecodeError):
                self.check()  # which names the table that is at fault
                raise
        else:
            self.check()
            with connections.with_ids(self._reader.connection, "wanted", np.fromiter(wanted, np.int64, len(wanted))):
                found = self._where("item_id IN (SELECT item_id FROM wanted)")
        if lacking := sorted(wanted - found.keys()):
            raise self.lost(lacking[0])
        return found

    def occurrences(self, text: str) -> dict[int, Item]:
        """Return the occurrences of a word, by id."""
        self.check()  # an altered text would be missed
        return self._where("unit = 'occurrence' AND text = $text", text=escaped(text))

    def nearest_texts(self, text: str, ids: Ids, n: int) -> list[str]:
        """Return the n texts of these items with the most similar spelling (Damerau-Levenshtein, Jaro-Winkler)."""
        self.check()
        sql = f"""SELECT text FROM (SELECT DISTINCT text FROM {FILES}
                                    WHERE item_id IN (SELECT item_id FROM wanted) AND length(text) <= {_COMPARED})
                  ORDER BY damerau_levenshtein(lower(text), lower($text)),
                           jaro_winkler_similarity(lower(text), lower($text)) DESC, text LIMIT $n"""
        with connections.with_ids(self._reader.connection, "wanted", ids):
            return [row[0] for row in self._reader.rows(sql, self.files, text=escaped(text)[:_COMPARED], n=n)]

    def nearest_occurrences(self, item: Item, ids: Ids, n: int) -> list[Item]:
        """Return the n of these occurrences with the most similar spelling of word, then of sentence."""
        self.check()
        sql = f"""WITH item AS (SELECT * FROM {FILES} WHERE item_id IN (SELECT item_id FROM wanted))
                  SELECT item.item_id, item.unit, item.text, context.text, item.start, item."end"
                  FROM item JOIN {FILES} AS context ON context.item_id = item.context_id
                  WHERE length(item.text) <= {_COMPARED} AND length(context.text) <= {_COMPARED}
                  ORDER BY damerau_levenshtein(lower(item.text), lower($text)),
                           jaro_winkler_similarity(lower(context.text), lower($context)) DESC, context.text, item.start
                  LIMIT $n"""
        with connections.with_ids(self._reader.connection, "wanted", ids):
            texts = {"text": escaped(item.text)[:_COMPARED], "context": escaped(item.context or "")[:_COMPARED]}
            return [*_items(self._reader.rows(sql, self.files, **texts, n=n)).values()]

    def lost(self, item: int) -> DamagedError:
        """Return the error for an item whose text is missing.

        Raises:
            DamagedError: A table was altered, which may be the cause.
        """
        self.check()
        return DamagedError(
            f"item {item} has no text in {self._folder}: a table is lost. Build the same sources again: their "
            "texts are written anew."
        )

    def _few(self, ids: Collection[int]) -> dict[int, Item]:
        """Return a few items from the files that may contain them; sentences are read only for occurrences."""
        rows = self._rows_of(ids, _COLUMNS)
        contexts = {row[3] for row in rows if row[3] is not None}
        sentences: dict[int, str] = dict(self._rows_of(contexts, "item_id, text")) if contexts else {}
        whole = [(*row[:3], sentences.get(row[3]), *row[4:]) for row in rows]
        if not all(map(has_its_id, whole)):
            self.check()  # what was written like this is what the store holds
        return _items(whole)

    def _rows_of(self, ids: Collection[int], columns: str) -> list[Row]:
        listed = ", ".join(str(int(one)) for one in ids) or "NULL"  # as a list in the SQL, statistics spare row groups
        sql = f"SELECT {columns} FROM {FILES} WHERE item_id IN ({listed})"
        files = self._ranges.files_of([*ids])
        for file in files:
            self._checks.check_size(file)
        return self._reader.rows(sql, files)

    def _where(self, condition: str, **values: Any) -> dict[int, Item]:
        rows = self._reader.rows(
            f"""WITH item AS (SELECT * FROM {FILES} WHERE {condition})
                SELECT item.item_id, item.unit, item.text, context.text, item.start, item."end"
                FROM item LEFT JOIN {FILES} AS context ON context.item_id = item.context_id""",
            self.files,
            **values,
        )
        return _items(rows)


class PartChecks:
    """Cached checks of files against the SHA-256 in their names."""

    def __init__(self) -> None:
        self._sound: dict[Path, Stamp] = {}
        self._bounded: dict[Path, Stamp] = {}

    def check_size(self, file: Path) -> None:
        """Raise DamagedError if the file would decompress to more than its size allows."""
        stamp = _stamp(file)
        if self._bounded.get(file) != stamp:
            check_unpacked([file], MEND_TABLE)
            self._bounded[file] = stamp

    def check(self, file: Path) -> None:
        """Raise DamagedError if the file was altered."""
        stamp = _stamp(file)
        if self._sound.get(file) == stamp:
            return
        if file.stem != f"part-{file_hash(file)[:16]}":
            raise DamagedError(f"{file} is damaged: its SHA-256 is not the one in its name. {MEND_TABLE}")
        self.check_size(file)
        try:
            found = read_columns(file)
        except ValueError as error:
            raise DamagedError(f"{file} is damaged: {error}. {MEND_TABLE}") from error
        if found not in (ITEM_COLUMNS, SKIPPED_COLUMNS):
            raise DamagedError(f"{file} is damaged: its columns are not those of the format. {MEND_TABLE}")
        self._sound[file] = stamp


def _stamp(file: Path) -> Stamp:
    try:
        status = disk.status(file)
    except FileNotFoundError as error:
        raise _missing(file, error, MEND_TABLE) from error
    return status.st_ino, status.st_size, status.st_mtime_ns


def file_hash(file: Path, remedy: str = MEND_TABLE) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        DamagedError: The file is missing; the message includes the remedy.
    """
    try:
        return disk.sha256(file)
    except FileNotFoundError as error:
        raise _missing(file, error, remedy) from error


def _missing(file: Path, error: FileNotFoundError, remedy: str) -> DamagedError:
    return DamagedError(f"{file} cannot be read: {error.strerror}. {remedy}")


def has_its_id(row: Row) -> bool:
    """Return whether the id of an item is the hash of its other columns.

    Args:
        row: ``item_id``, ``unit``, ``text``, text of the sentence, ``start`` and ``end``; the last three are None for
            items other than occurrences.
    """
    item, unit, text, context, start, end = row
    if not all(map(isinstance, row, _ROW_TYPES)) or unit not in set(Unit):
        return False
    span = None if start is None or end is None else Span(start, end)
    return (context is None) == (span is None) and item_id(Unit(unit), text, context, span) == item


def _items(rows: Iterable[Row]) -> dict[int, Item]:
    return {
        item: Item(Unit(unit), text, context, None if start is None else Span(start, end), item)
        for item, unit, text, context, start, end in rows
    }
