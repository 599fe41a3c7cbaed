"""Answer users' statements and conditions over the views of one opened store: from the text to the rows.

A statement is checked (:mod:`.fence`), and executed in a DuckDB that cannot write: the file system of the operating
system is disabled there. Instead it has :mod:`embstore.storage.sql.readonly`, which serves the listed files only, or no
files at all and copies of the tables. The views exist beforehand, and the statement runs in a read-only transaction.
"""

import io
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar, cast

import duckdb
import numpy as np
from numpy.typing import NDArray

from embstore.base import disk
from embstore.base.arrays import distinct
from embstore.base.errors import DamagedError, EmbstoreError, QueryError, UnknownNameError
from embstore.base.messages import printable
from embstore.storage.files.card import Card
from embstore.storage.files.datasets import check_dataset
from embstore.storage.files.item_columns import BUILT_IN, ColumnTables, joined_items
from embstore.storage.files.items import ITEM_COLUMNS, SKIPPED_COLUMNS
from embstore.storage.sql import connections, interruptible
from embstore.storage.sql.connections import Limits
from embstore.storage.sql.reader import Reader
from embstore.storage.views.fence import MACROS, Select, check, check_expression, in_order, not_stored

if TYPE_CHECKING:
    from embstore.storage.sql.readonly import ReadOnlyFiles as _Files

T = TypeVar("T")
PREFIX = "embstore://"
BySpace = Mapping[str, Sequence[Path]]

# Columns of each view while it has no file.
_EMPTY = {
    **{view: {c.name: connections.SQL_TYPES[c.kind] for c in columns}
       for view, columns in (("items", ITEM_COLUMNS), ("skipped", SKIPPED_COLUMNS))},
    "embeddings": {"space": "VARCHAR", "layer": "SMALLINT", "item_id": "BIGINT", "vector": "FLOAT[]"},
    "summaries": {"space": "VARCHAR", "shard": "VARCHAR", "layer": "SMALLINT", "n": "BIGINT"},
    "spaces": {"space": "VARCHAR", "model": "VARCHAR", "checkpoint": "VARCHAR", "unit": "VARCHAR", "pooling": "VARCHAR",
               "template": "VARCHAR", "dim": "INTEGER", "revision": "VARCHAR", "step": "BIGINT"},
    "columns": {"item_id": "BIGINT"},
    "built_in": {"item_id": "BIGINT", "position": "BIGINT", "zipf_frequency": "DOUBLE"},
}  # fmt: skip

_COPIED_BYTES = 1 << 20  # of tables that a condition gets as a copy; they may unpack to 200 times as much
_END = object()


@dataclass
class UsersSql:
    """The views of a store for users' SQL; they are created at first use."""

    reader: Reader  # reader that identifies damaged files of the store
    root: Path
    files: Mapping[str, BySpace]  # files of each view, by view and by space ("" for files without a space)
    datasets: Sequence[Path]  # files of the datasets, each the view ``datasets.<name>``
    cards: Sequence[Card]  # cards that are the rows of the view ``spaces``
    columns: ColumnTables  # tables of the view ``columns``
    # Functions that raise DamagedError if a file of a view was altered, by view; shards are not checked.
    checks: Mapping[str, Callable[[], None]]
    built_in: Callable[[], object]  # function that returns the rows of the view ``built_in`` as an Arrow table
    nearest_texts: Callable[[str, Sequence[str]], list[str]]  # see :meth:`.catalog.Catalog.nearest_texts`
    _lock: Any = field(default_factory=RLock)  # guards the sandboxes and the creation of their views
    _sandbox: "Sandbox | None" = None
    _copied: "Sandbox | None" = None

    def select(self, where: str, limits: Limits, space: str | None) -> NDArray[np.int64]:
        """Return the ids of the items for which a condition is true; see :meth:`.catalog.Catalog.select`."""
        self.checks["items"]()
        check_expression(where)
        names = self.columns.names
        source, views = joined_items(where, names, space)
        if "columns" in views:
            self.columns.check()
        with self._lock:
            sandbox = self._items_sandbox(limits)
            checked = sandbox.check(f"SELECT item_id FROM {source} WHERE (\n{where}\n)", limits, views)
            session = sandbox.session(limits, views, (*_EMPTY["items"], *sorted(names), *BUILT_IN))
        try:
            found = session.run(lambda connection: connection.execute(checked.sql).fetchnumpy()["item_id"])
        except UnknownNameError:
            self.columns.check()  # an altered table may have lost the column
            raise
        return distinct(np.asarray(found, dtype=np.int64))

    def relation(self, sql: str, limits: Limits, parameters: Mapping[str, Any] | None) -> duckdb.DuckDBPyRelation:
        """Return the DuckDB relation of one SELECT over the views; see :meth:`.catalog.Catalog.relation`."""
        with self._lock:
            sandbox = self.sandbox(limits)
            match = re.match(r"\s*EXPLAIN\s+(ANALYZE\s+)?", sql, re.IGNORECASE)
            explaining, select = (f"EXPLAIN {match[1] or ''}", sql[match.end() :]) if match else ("", sql)
            checked = sandbox.check(select, limits, has_parameters=bool(parameters))
            self._check(checked.tables)
            listed = sandbox.views if checked.shows else ()
            views = {*checked.tables, *listed} - ({"built_in"} - checked.tables)
            session = sandbox.session(limits, views, macros=checked.macros, listed=listed)
        sql = explaining + checked.sql

        def prepare(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
            return connection.sql(sql, params=dict(parameters)) if parameters else connection.sql(sql)

        return cast("duckdb.DuckDBPyRelation", LimitedRelation(session, session.run(prepare)))

    def sandbox(self, limits: Limits) -> "Sandbox":
        """Return the DuckDB over all views, created again if the memory limit differs from the last one."""
        if self._sandbox is None or self._sandbox.memory != limits.memory:
            datasets: dict[str, BySpace] = {f"datasets.{file.stem}": {"": [file]} for file in self.datasets}
            self._sandbox = Sandbox(self, {**self.files, "spaces": {}, **datasets}, limits.memory)
        return self._sandbox

    def _items_sandbox(self, limits: Limits) -> "Sandbox":
        """Return the DuckDB for SQL over the items alone: a copy of them if they are few."""
        views = {view: self.files[view] for view in ("items", "columns", "built_in")}
        files = [file for by_space in views.values() for members in by_space.values() for file in members]
        if sum(map(disk.size, files)) > _COPIED_BYTES:
            return self.sandbox(limits)
        if self._copied is None or self._copied.memory != limits.memory:
            self._copied = Sandbox(self, views, limits.memory, copied=True)
        return self._copied

    def _check(self, views: Collection[str]) -> None:
        """Raise DamagedError if a file of one of these views was altered; shards are not checked."""
        for view in self.checks.keys() & {*views}:
            self.checks[view]()
        for file in self.datasets:
            if f"datasets.{file.stem}" in views:
                check_dataset(file)


class Sandbox:
    """DuckDB for users' SQL over the listed files of a store.

    With ``copied`` the tables are copied into memory, and no file is opened afterwards: for small ones that is quicker
    than to load fsspec.
    """

    def __init__(
        self, store: UsersSql, views: Mapping[str, BySpace], memory: int | None = None, *, copied: bool = False
    ) -> None:
        self.memory = memory
        self._store, self._views = store, views
        self._created: set[str] = set()
        all_files = [file for by_space in views.values() for members in by_space.values() for file in members]
        self._files: _Files | None = None
        if copied:
            self._names = dict(zip(all_files, connections.literal(all_files), strict=True))
        else:
            from embstore.storage.sql.readonly import ReadOnlyFiles

            self._names = {file: f"{PREFIX}{file.relative_to(store.root)}" for file in all_files}
            self._files = ReadOnlyFiles(store.root, {name: file for file, name in self._names.items()})
        self._connection = connections.connect_for_users("50%" if memory is None else f"{memory}B", self._files)
        [(self._limit,)] = self._connection.execute("SELECT current_setting('memory_limit')").fetchall()
        self._connection.execute("CREATE SCHEMA datasets")
        if copied:  # each view is over a copy of its rows, without the pseudo-columns of a table
            self._connection.execute("CREATE SCHEMA copied")
            for number, view in enumerate(self._views):
                if view != "built_in":
                    self._create(view, f"copied.t{number}")
                    self._created.add(view)
            connections.close_files(self._connection)

    @property
    def views(self) -> Collection[str]:
        """Names of all views."""
        return self._views.keys()

    def check(self, sql: str, limits: Limits, views: Collection[str] = (), *, has_parameters: bool = False) -> Select:
        """Check a user's statement against the given views, or all with the macros, and return it as a subquery."""
        macros = {} if views else MACROS
        # Within the limits, since some statements take DuckDB's parser minutes.
        return self.session(limits, ()).run(
            lambda connection: check(connection, sql, views or self.views, macros, has_parameters=has_parameters)
        )

    def session(
        self, limits: Limits, views: Collection[str], columns: Sequence[str] = (),
        macros: frozenset[str] = frozenset(), *, listed: Collection[str] = (),
    ) -> "Session":  # fmt: skip
        """Return a session with its own connection, in which these views and macros exist."""
        if "built_in" in listed and not {"built_in"} & {*views, *self._created}:
            self._connection.execute(f"CREATE OR REPLACE VIEW built_in AS {self._without_files('built_in')}")
        for view in views:
            if view not in self._created:
                self._create(view)
                self._created.add(view)
        for macro in in_order(macros):
            if macro not in self._created:
                self._connection.execute(MACROS[macro].statement)
                self._created.add(macro)
        return Session(self, self._connection.cursor(), limits, columns)

    def _create(self, view: str, copy: str | None = None) -> None:
        """Create a view over its files, with the space as first column where files belong to a space."""
        if view == "built_in":
            self._connection.register("computed", self._store.built_in())
            self._connection.execute("CREATE SCHEMA computed_columns; CREATE TABLE computed_columns.t AS FROM computed")
            self._connection.unregister("computed")
            self._connection.execute("CREATE OR REPLACE VIEW built_in AS FROM computed_columns.t")
            return
        by_space = self._views[view]
        parts = []
        for space, members in by_space.items():
            if members:
                listed = ", ".join(connections.quote(self._names[file]) for file in members)
                column = f"{connections.quote(space)} AS space, " if space else ""
                parts.append(f"SELECT {column}* FROM read_parquet([{listed}], hive_partitioning = false)")
        if view == "columns" and parts:
            names = [connections.quote_name(name) for name in self._store.columns.types]
            values = ", ".join(f"any_value({name}) AS {name}" for name in names)
            files = parts[0].removeprefix("SELECT * FROM ").removesuffix(")")
            parts = [f"SELECT item_id, {values} FROM {files}, union_by_name = true) GROUP BY item_id"]
        body = " UNION ALL ".join(parts) or self._without_files(view)
        name = ".".join(map(connections.quote_name, view.split(".", 1)))
        try:
            if copy is not None:
                for file in (file for members in by_space.values() for file in members):
                    with disk.opening(file):
                        pass
                interruptible.execute(self._connection, f"CREATE TABLE {copy} AS {body}")
                body = f"SELECT * FROM {copy}"
            self._connection.execute(f"CREATE OR REPLACE VIEW {name} AS {body}")
        except duckdb.Error as error:
            raise self.user_error(error, view=view) from error

    def _without_files(self, view: str) -> str:
        """Return a SELECT for a view that reads no files: one row per card for ``spaces``, no rows for other views."""
        columns = {connections.quote_name(name): kind for name, kind in _EMPTY[view].items()}
        typed = ", ".join(f"{name}::{kind} AS {name}" for name, kind in columns.items())
        values = ", ".join(map(_row, self._store.cards) if view == "spaces" else ())
        nothing = f"({', '.join('NULL' for _ in columns)})"
        column_list = ", ".join(columns)
        condition = "" if values else " WHERE false"
        return f"SELECT {typed} FROM (VALUES {values or nothing}) AS given({column_list}){condition}"

    def user_error(self, error: duckdb.Error, columns: Sequence[str] = (), *, view: str = "") -> EmbstoreError:
        """Return the error for a DuckDB error in a user's SQL, or in a view that it reads."""
        store = self._store
        if (missing_text := not_stored(str(error), store.cards, store.nearest_texts)) is not None:
            return missing_text
        if self._files is not None and self._files.last_error is not None:
            access_error, self._files.last_error = self._files.last_error, None
            return access_error
        if isinstance(error, duckdb.OutOfMemoryException):
            return QueryError(
                f"this SQL needs more memory than its limit of {self._limit}: {connections.first_line(error)} Select "
                "less, or give a larger limit by ⦃memory⦄."
            )
        error = type(error)(str(error).replace(PREFIX, f"{self._store.root}/"))
        files = [file for file in self._names if str(file) in str(error)]
        if gone := next((file for file in files if not disk.exists(file)), None):
            return DamagedError(
                f"{gone} has gone since the store was opened: its rows are in other files now, or its space was "
                "removed. Run the query again; if it is still missing, run ⦃embstore verify⦄."
            )
        # Errors about the files that DuckDB reads, most of which name none of them.
        of_reading = type(error) in (duckdb.Error, duckdb.IOException) or "in parquet read" in str(error)
        if of_reading or (files and (view or isinstance(error, duckdb.InvalidInputException))):
            return self._store.reader.query_error(error, files or [*self._names])
        missing = None if columns else re.search(r'Referenced column "(.+?)" not found', str(error))
        if missing and (missing[1] in self._store.columns.types or missing[1] in BUILT_IN):
            holder = "columns" if missing[1] in self._store.columns.types else "built_in"
            return QueryError(
                f"{missing[1]!r} is a column of the view {holder}, which this SQL does not read. Write FROM items JOIN "
                f"{holder} USING (item_id)."
            )
        return connections.user_error(error, columns)


class Session:
    """Connection for one user's SQL, whose runs end at their limits and at Ctrl-C."""

    def __init__(
        self, sandbox: Sandbox, connection: duckdb.DuckDBPyConnection, limits: Limits, columns: Sequence[str] = ()
    ) -> None:
        self._sandbox, self._connection, self._limits, self._columns = sandbox, connection, limits, columns
        self._has_transaction = False

    def run(self, query: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Call a function with the connection, within the limits, and return its result."""
        try:
            return interruptible.run(
                self._connection, lambda it: query(self._in_transaction(it)), timeout=self._limits.timeout
            )
        except BaseException as error:
            self._has_transaction = False
            if isinstance(error, TimeoutError):
                raise QueryError(
                    f"this SQL took longer than its limit of {self._limits.timeout:g} s. Select less, or give a larger "
                    "limit by ⦃timeout⦄."
                ) from error
            if isinstance(error, RuntimeError) and "nanobind" in str(error):  # its message is not Unicode text
                raise self._sandbox.user_error(duckdb.Error("invalid data"), self._columns) from error
            if isinstance(error, duckdb.Error):
                raise self._sandbox.user_error(error, self._columns) from error
            raise

    def _in_transaction(self, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
        """Return the connection in a read-only transaction; one that failed is rolled back first."""
        if not self._has_transaction:
            with suppress(duckdb.TransactionException):  # no transaction is active
                connection.rollback()
            connection.execute("BEGIN TRANSACTION READ ONLY")
            self._has_transaction = True
        return connection


def _row(card: Card) -> str:
    """Return the row of a space in the view ``spaces``, as SQL."""
    values = (
        card.space, card.model, card.checkpoint, card.unit.value, card.pooling.value, card.template.pattern, card.dim,
        card.revision_name, card.step,
    )  # fmt: skip
    shown = ("NULL" if v is None else str(v) if isinstance(v, int) else connections.quote(v) for v in values)
    return f"({', '.join(shown)})"


class LimitedRelation:
    """DuckDB relation with all of its attributes, whose runs are executed by a session with limits."""

    def __init__(self, session: Session, relation: duckdb.DuckDBPyRelation) -> None:
        self._session, self._relation = session, relation

    def __getattr__(self, name: str) -> Any:
        return self._limited(self._session.run(lambda _: getattr(self._relation, name)))

    def _limited(self, found: Any) -> Any:
        """Wrap a relation, method or iterator so that its runs are the session's; return other values unchanged."""
        if isinstance(found, duckdb.DuckDBPyRelation):
            return LimitedRelation(self._session, found)
        if hasattr(found, "read_next_batch"):
            return self._reader(found)
        if hasattr(found, "__next__"):
            return self._steps(found)
        return self._method(found) if callable(found) else found

    def _method(self, method: Any) -> Any:
        @wraps(method)
        def limited(*args: Any, **options: Any) -> Any:
            arguments = [arg._relation if isinstance(arg, LimitedRelation) else arg for arg in args]
            return self._limited(self._session.run(lambda _: method(*arguments, **options)))

        return limited

    def _steps(self, iterator: Iterator[Any]) -> Iterator[Any]:
        while (value := self._session.run(lambda _: next(iterator, _END))) is not _END:
            yield value

    def _reader(self, reader: Any) -> Any:
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(reader.schema, self._steps(reader))

    def __repr__(self) -> str:
        return printable(self._session.run(lambda _: repr(self._relation)), lines=True)

    def show(self, *args: Any, **options: Any) -> None:
        """Print the first rows as DuckDB does, with control characters escaped."""
        shown = io.StringIO()
        with redirect_stdout(shown):
            self._session.run(lambda _: self._relation.show(*args, **options))
        print(printable(shown.getvalue(), lines=True), end="")

    def __len__(self) -> int:
        return self._session.run(lambda _: len(self._relation))

    def __contains__(self, name: str) -> bool:
        return self._session.run(lambda _: name in self._relation)

    def __getitem__(self, name: Any) -> Any:
        return self._limited(self._session.run(lambda _: self._relation[name]))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        table = self._session.run(lambda _: self._relation.to_arrow_table())
        return table.__arrow_c_stream__(requested_schema)
