"""Collect the values to keep with the items of a build, find the types of their columns, and store
them once.

A column has one value for an item. Its type is decided over all rows of the sources; cells of files
without types fit the narrowest one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embstore.base.arrays import Ids
from embstore.base.errors import SourceError
from embstore.storage import keys
from embstore.storage.arrow import from_numpy
from embstore.storage.cache import StoredFile, StoreFiles
from embstore.storage.item_columns import COLUMN_FILES, ColumnTables, space_column
from embstore.storage.manifest import EMPTY, Change, Files, Manifest
from embstore.storage.sql import connections, interruptible
from embstore.storage.sql.reader import Reader
from embstore.storage.staging.staging import INT, SHOWN, TEXT, Appender, Staging
from embstore.storage.tables import column_schema, write_all

# Kinds of values. Small letters: of files with types; capitals: cells, as they look; "-" is a cell
# that stands for no value unless the column is of strings.
_FITTING = {
    "int64": frozenset("iI-"),
    "float64": frozenset("iIfF-"),
    "bool": frozenset("bB-"),
    "string": frozenset("sIFBS-"),
}
_KIND_WORDS = {"i": "an integer", "f": "a number", "b": "a boolean", "s": "a string"}

_TABLES = """
CREATE TABLE kept_row (row BIGINT, origin VARCHAR);
CREATE TABLE kept_item (item_id BIGINT, row BIGINT);
CREATE TABLE kept_value (row BIGINT, place INTEGER, kind VARCHAR, value VARCHAR);
"""
_BATCH_ROWS = 1 << 15
_QUERY_COLUMNS = 100
_REMEDY = (
    "Correct the file; or give the stored values up with embstore remove --column {name!r}, and"
    " build all sources again."
)


class KeptValue(NamedTuple):
    """A value as it is staged."""

    # ``i``, ``f``, ``b`` or ``s`` for an integer, a float, a boolean or a string of a file with
    # types; ``I``, ``F``, ``B`` or ``S`` for a cell that looks like one; ``-`` for a cell that
    # stands for a missing value (``NA``) unless it is in a column of strings.
    kind: str
    text: str  # the value as text, exactly as in the source for a cell


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """A column that a build keeps."""

    name: str
    kind: str  # ``int64``, ``float64``, ``bool`` or ``string``
    n_values: int  # number of the build's items with a value
    n_new: int  # number of these whose value was not stored before
    # Why a column is of strings although most of its cells look like numbers or booleans; names the
    # first other cell. None for other columns.
    oddity: str | None = None
    # How many cells of a column of strings are ``NA`` or the like; names the first one. None if
    # there are none.
    missing: str | None = None


@dataclass(slots=True)
class _OfKind:
    """The values of a column of one kind: the first one, with its row and place, and how many there
    are.
    """

    row: int
    origin: str
    value: str
    n: int = 0

    def __str__(self) -> str:
        return f"{self.value[:SHOWN]!r} ({self.origin})"


class StagedColumns:
    """The values to keep with the items of a build."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._kinds: dict[str, dict[str, _OfKind]] = {}  # of the values of each column
        self._names: dict[str, int] = {}
        self._n_rows = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in the order in which they were seen."""
        return tuple(self._names)

    def add(self, ids: Sequence[int], origin: str, values: Mapping[str, KeptValue | None]) -> None:
        """Add a row of a source."""
        if not self._n_rows:
            interruptible.execute(self._staging.connection, _TABLES)
            self._rows = Appender(self._staging, "kept_row", {"row": INT, "origin": TEXT})
            self._items = Appender(self._staging, "kept_item", {"item_id": INT, "row": INT})
            self._values = Appender(
                self._staging, "kept_value", {"row": INT, "place": INT, "kind": TEXT, "value": TEXT}
            )
        row = self._n_rows
        self._n_rows += 1
        self._rows.add(row, origin)
        for item in ids:
            self._items.add(item, row)
        for name, value in values.items():
            place, kinds = (
                self._names.setdefault(name, len(self._names)),
                self._kinds.setdefault(name, {}),
            )
            if value is not None:
                self._values.add(row, place, *value)
                kinds.setdefault(value.kind, _OfKind(row, origin, value.text)).n += 1

    def write(self, files: StoreFiles, *, dry_run: bool = False) -> list[StoredColumn]:
        """Commit the values that are not stored yet, and return the columns; one without any value
        is not stored.
        """
        self._staging.flush()
        if not self._names:
            return []
        columns: list[StoredColumn] = []

        def new_values(base: Manifest) -> Change:
            nonlocal columns
            columns, tables = self._compared(files, base, dry_run=dry_run)
            return Change(tables)

        if dry_run:
            new_values(files.find_manifest() or EMPTY)
        else:
            files.commit(new_values)
        return columns

    def _compared(
        self, files: StoreFiles, base: Manifest, *, dry_run: bool
    ) -> tuple[list[StoredColumn], Files]:
        """Compare the values with those that a manifest names; return the columns, and tables of
        the new values.
        """
        tables = files.files_of(base, base.keys_of(keys.COLUMNS))
        reader = Reader(files.root, self._staging.connection)
        stored = ColumnTables(reader, tables).types
        kinds = self._types(stored)
        without = [
            StoredColumn(name, stored.get(name, "string"), 0, 0)
            for name in self._names
            if name not in kinds
        ]
        if not kinds:
            return without, {}
        self._collect(kinds)
        try:
            self._check_values(kinds, "d", "kept")
            self._load_stored(reader, tables, kinds, stored)
            self._check_values(kinds, "s", "kept JOIN kept_before USING (item_id)")
            new = {} if dry_run else write_all(files, keys.COLUMNS, self._new_rows(kinds))
            return [*self._counts(kinds), *without], new
        finally:
            for table in ("kept", "kept_before"):
                interruptible.execute(self._staging.connection, f"DROP TABLE IF EXISTS {table}")

    def _types(self, stored: Mapping[str, str]) -> dict[str, str]:
        """Return the type of each column that has a value."""
        by_case = {name.lower(): name for name in stored}
        types = {}
        for name, kinds in self._kinds.items():
            if not kinds or (kinds.keys() == {"-"} and name not in stored):
                continue
            if (other := by_case.get(name.lower(), name)) != name:
                raise SourceError(
                    f"the column {name!r} differs from the column {other!r} in this store only in"
                    " letter case. Rename it in the file."
                )
            if name in stored:
                fitting = [stored[name]]
                if others := [
                    values for kind, values in kinds.items() if kind not in _FITTING[stored[name]]
                ]:
                    first = min(others, key=lambda values: values.row)
                    raise SourceError(
                        f"{first.origin}: {first.value[:SHOWN]!r} does not fit the column {name!r},"
                        f" which is of type {stored[name]} in this store. "
                        + _REMEDY.format(name=name)
                    )
            elif not (fitting := [kind for kind, fit in _FITTING.items() if kinds.keys() <= fit]):
                in_order = sorted(kinds.items(), key=lambda entry: entry[1].row)
                shown = ", ".join(
                    f"{_KIND_WORDS.get(kind, 'the cell')} {values}" for kind, values in in_order
                )
                raise SourceError(
                    f"the column {name!r} has values of several types: {shown}. Write them with one"
                    " type, or leave the column out of `keep`."
                )
            types[name] = fitting[0]
        return types

    def _oddity(self, name: str) -> str | None:
        """Return why a column of strings is none of numbers or booleans, if most of its cells look
        like these.
        """
        cells = {kind: values for kind, values in self._kinds[name].items() if kind != "-"}
        n = sum(values.n for values in cells.values())
        for noun, kinds in (("number", "IF"), ("boolean", "B")):
            others = [values for kind, values in cells.items() if kind not in kinds]
            if others and (n_others := sum(values.n for values in others)) * 2 < n:
                first = min(others, key=lambda values: values.row)
                nouns = (
                    f"{n_others:,} of {n:,} values"
                    f" {f'is no {noun}' if n_others == 1 else f'are no {noun}s'}"
                )
                return f"{nouns}: {first}{'' if n_others == 1 else ' is the first'}"
        return None

    def _missing(self, name: str) -> str | None:
        """Return how many cells of a column of strings are texts that stand for a missing value, as
        ``NA`` does.
        """
        cells = self._kinds[name].get("-")
        if cells is None:
            return None
        if cells.n == 1:
            return f"1 cell is the text {cells}, which pandas takes for missing"
        return f"{cells.n:,} cells are the text {cells} or another that pandas takes for missing"

    def _collect(self, kinds: Mapping[str, str]) -> None:
        """Create the table ``kept``: least and greatest value of each column for each item (c0, d0,
        c1, d1 …).
        """
        parts = []
        for number, (name, kind) in enumerate(kinds.items()):
            condition = f"place = {self._names[name]}" + (
                "" if kind == "string" else " AND kind <> '-'"
            )
            text = "value" if kind == "string" else "trim(value, ' ' || chr(9))"
            value = f"CASE WHEN {condition} THEN {text}::{connections.SQL_TYPES[kind]} END"
            parts.append(f"min({value}) AS c{number}, max({value}) AS d{number}")
        self._staging.rows(
            f"CREATE TABLE kept AS SELECT item_id, {', '.join(parts)} FROM kept_value JOIN"
            " kept_item USING (row) SEMI JOIN item USING (item_id) GROUP BY item_id"
        )

    def _check_values(self, kinds: Mapping[str, str], other: str, source: str) -> None:
        """Raise SourceError if an item has several values of a column (``other`` is d), or another
        in the store (s).
        """
        has_conflict = self._of_columns(len(kinds), f"bool_or(c{{0}} <> {other}{{0}})", source)
        for number, name in (
            (number, name) for number, name in enumerate(kinds) if has_conflict[number]
        ):
            [(item, stored, n)] = self._staging.rows(
                f"""SELECT item_id, {other}{number}, count(*) OVER () FROM {source}
                    WHERE c{number} <> {other}{number} ORDER BY item_id LIMIT 1"""
            )
            rows = self._staging.rows(
                """SELECT value, origin
                   FROM kept_item JOIN kept_value USING (row) JOIN kept_row USING (row)
                   WHERE item_id = $item AND place = $place ORDER BY row""",
                item=item,
                place=self._names[name],
            )
            shown = [f"{value[:SHOWN]!r} ({origin})" for value, origin in rows]
            items = (
                "1 item of these sources has" if n == 1 else f"{n:,} items of these sources have"
            )
            text = self._staging.find(item)[0].text[:SHOWN]
            if other == "s":
                raise SourceError(
                    f"{items} another value of the column {name!r} in this store: {text!r} has"
                    f" {shown[0]} and {stored!r} (stored). " + _REMEDY.format(name=name)
                )
            second = next(
                text for text, row in zip(shown, rows, strict=True) if row[0] != rows[0][0]
            )
            raise SourceError(
                f"{items} several values of the column {name!r}: {text!r} has {shown[0]} and"
                f" {second}. An item is a text, and has one value of a column: make the rows agree,"
                " or leave the column out of `keep`."
            )

    def _of_columns(self, n: int, aggregate: str, source: str) -> list[Any]:
        """Return an aggregate of each column of a source; a query has few, since its planning takes
        their square.
        """
        aggregates: list[Any] = []
        for first in range(0, n, _QUERY_COLUMNS):
            selected = ", ".join(
                map(aggregate.format, range(first, min(n, first + _QUERY_COLUMNS)))
            )
            aggregates += self._staging.rows(f"SELECT {selected} FROM {source}")[0]
        return aggregates

    def _load_stored(
        self,
        reader: Reader,
        files: Sequence[StoredFile],
        kinds: Mapping[str, str],
        stored: Mapping[str, str],
    ) -> None:
        """Create the table ``kept_before``: the stored values of the columns for these items (s0,
        s1 …).
        """
        parts = [
            (
                f"any_value({connections.quote_name(name)}) AS s{number}"
                if name in stored
                else f"NULL::{connections.SQL_TYPES[kind]} AS s{number}"
            )
            for number, (name, kind) in enumerate(kinds.items())
        ]
        source = f"{COLUMN_FILES} SEMI JOIN kept USING (item_id)" if files else "kept WHERE false"
        sql = (
            f"CREATE TABLE kept_before AS SELECT item_id, {', '.join(parts)} FROM {source} GROUP BY"
            " item_id"
        )
        reader.run(lambda _, query, values: self._staging.rows(query, **values), sql, files)

    def _new_rows(self, kinds: Mapping[str, str]) -> Iterator[pa.Table]:
        """Return the values that are not stored, in the schema of tables of columns, by ascending
        id.
        """
        values = ", ".join(
            f"CASE WHEN s{number} IS NULL THEN c{number} END AS {connections.quote_name(name)}"
            for number, name in enumerate(kinds)
        )
        names = [*map(connections.quote_name, kinds)]
        sql = f"""SELECT item_id, {", ".join(names)}
                  FROM (SELECT item_id, {values} FROM kept LEFT JOIN kept_before USING (item_id))
                  WHERE coalesce({", ".join(f"{name}::VARCHAR" for name in names)}) IS NOT NULL
                  ORDER BY item_id"""
        return self._staging.stream(sql, column_schema(kinds), _BATCH_ROWS)

    def _counts(self, kinds: Mapping[str, str]) -> list[StoredColumn]:
        source = "kept LEFT JOIN kept_before USING (item_id)"
        n_values = self._of_columns(len(kinds), "count(c{0})", source)
        n_new = self._of_columns(len(kinds), "count(c{0}) FILTER (WHERE s{0} IS NULL)", source)
        columns = []
        for number, (name, kind) in enumerate(kinds.items()):
            of_strings = (self._oddity(name), self._missing(name)) if kind == "string" else ()
            columns.append(StoredColumn(name, kind, n_values[number], n_new[number], *of_strings))
        return columns


class SpaceColumn:
    """A stored column of items whose values depend on the space, as the numbers of tokens."""

    def __init__(self, files: StoreFiles, name: str, space: str, kind: str = "int64") -> None:
        self.name, self._kind = space_column(name, space), kind
        self._files = files

    def _tables(self, base: Manifest) -> ColumnTables:
        """Return the tables that a manifest names and that have the column."""
        tables = self._files.files_of(base, base.keys_of(keys.COLUMNS))
        with_column = [file for file in tables if self.name in file.entry["columns"]]
        return ColumnTables(Reader(self._files.root), with_column)

    def without_value(self, ids: Ids, base: Manifest | None = None) -> Ids:
        """Return those of some items (n,) without a value, in the same order."""
        tables = self._tables(self._files.manifest() if base is None else base)
        if not len(ids) or not tables.files:
            return ids
        return ids[tables.values([self.name], ids)[self.name].is_null]

    def write(self, ids: Ids, numbers: NDArray[Any]) -> None:
        """Commit the values (n,) of items, by ascending ids (n,), without one."""

        def new_values(base: Manifest) -> Change:
            is_new = np.isin(ids, self.without_value(ids, base))
            values = [from_numpy(ids[is_new]), from_numpy(numbers[is_new])]
            table = pa.table(values, schema=column_schema({self.name: self._kind}))
            return Change(write_all(self._files, keys.COLUMNS, [table]))

        self._files.commit(new_values)
