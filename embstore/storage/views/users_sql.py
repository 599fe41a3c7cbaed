"""Answer users' statements and conditions over the views of one opened store: from the text to the
rows.

A statement is checked (:mod:`.fence`), and executed on a connection that opens the files of the
store only. The views and macros that it needs are created beforehand.
"""

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb
import numpy as np

from embstore.base import disk
from embstore.base.arrays import Ids, distinct
from embstore.base.errors import DamagedError, EmbstoreError, QueryError, UnknownNameError
from embstore.base.messages import printable
from embstore.base.text import OF_SPACE
from embstore.storage import tables as parquet_tables
from embstore.storage.cache import StoredFile, StoreFiles, fetch
from embstore.storage.card import Card
from embstore.storage.item_columns import (
    BUILT_IN,
    ColumnTables,
    is_space_column,
    joined_items,
    mentions,
)
from embstore.storage.sql import connections, interruptible
from embstore.storage.sql.connections import Limits
from embstore.storage.sql.interruptible import Columns, Rows
from embstore.storage.sql.reader import Reader, check_readable, named_file
from embstore.storage.tables import ITEM_COLUMNS, SKIPPED_COLUMNS
from embstore.storage.views.fence import check, check_expression
from embstore.storage.views.macros import MACROS, VIEWS, not_stored

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

T = TypeVar("T")

# Columns of each view while it has no file.
_EMPTY = {
    **{
        view: {c.name: connections.SQL_TYPES[c.kind] for c in columns}
        for view, columns in (("items", ITEM_COLUMNS), ("skipped", SKIPPED_COLUMNS))
    },
    "embeddings": {
        "space": "VARCHAR",
        "layer": "SMALLINT",
        "item_id": "BIGINT",
        "vector": "FLOAT[]",
    },
    "summaries": {
        "space": "VARCHAR",
        "layer": "SMALLINT",
        "n": "BIGINT",
        "n_zero": "BIGINT",
        **dict.fromkeys(("total", "unit_total", "unit_square_total"), "DOUBLE[]"),
        **dict.fromkeys(("norm_total", "norm_square_total", "norm_min", "norm_max"), "DOUBLE"),
    },
    "spaces": {
        "space": "VARCHAR",
        "model": "VARCHAR",
        "checkpoint": "VARCHAR",
        "unit": "VARCHAR",
        "pooling": "VARCHAR",
        "template": "VARCHAR",
        "dim": "INTEGER",
        "revision": "VARCHAR",
        "step": "BIGINT",
    },
    "columns": {"item_id": "BIGINT"},
    "built_in": {"item_id": "BIGINT", "position": "BIGINT", "zipf_frequency": "DOUBLE"},
}

_END = object()


@dataclass
class UsersSql:
    """The views of a store for users' SQL; they are created at first use."""

    reader: Reader  # reader that identifies damaged files of the store
    files: StoreFiles
    # Files of the views items, columns, skipped and ``datasets.<name>``.
    tables: Mapping[str, Sequence[StoredFile]]
    # Files of the view embeddings, by space and layer id.
    shards: Mapping[str, Mapping[int, Sequence[StoredFile]]]
    cards: Sequence[Card]  # cards that are the rows of the view ``spaces``
    columns: ColumnTables  # tables of the view ``columns``
    # Functions that return the rows of the views ``built_in`` and ``summaries`` as Arrow tables.
    computed: Mapping[str, Callable[[], object]]
    # See :meth:`.catalog.Catalog.nearest_texts`.
    nearest_texts: Callable[[str, Sequence[str]], list[str]]
    _lock: Any = field(default_factory=RLock)  # guards the creation of the views
    _views: "Views | None" = None

    def select(self, where: str, limits: Limits, space: str | None) -> Ids:
        """Return the ids of the items for which a condition is true; see
        :meth:`.catalog.Catalog.select`.
        """
        self._check(["items"])
        check_expression(where)
        names = self.columns.names
        source, readable = joined_items(where, names, space)
        if has_columns := mentions(where, [*names, *OF_SPACE]):
            self.columns.check()
        views = self.views(limits)
        columns = (*_EMPTY["items"], *sorted(names), *BUILT_IN)
        session = Session(views, limits, columns=columns)
        sql = f"SELECT item_id FROM {source} WHERE (\n{where}\n)"
        checked = session.run(lambda connection: check(connection, sql, readable))
        self._prepare(views, checked.views, has_columns=has_columns)
        try:
            ids = session.run(
                lambda connection: connection.execute(checked.sql).fetchnumpy()["item_id"]
            )
        except UnknownNameError:
            self.columns.check()  # an altered table may have lost the column
            raise
        return distinct(np.asarray(ids, dtype=np.int64))

    def rows(self, sql: str, limits: Limits, parameters: Mapping[str, Any]) -> "SqlResult":
        """Return the rows of one SELECT over the views; see :meth:`.catalog.Catalog.sql`."""
        if not self.files.is_local:
            raise QueryError(
                f"SQL reads whole stores, and {self.files.name} is elsewhere. Pull it first:"
                f" embstore pull {self.files.name} --store FOLDER; then ask with path='FOLDER'."
            )
        views = self.views(limits)
        session = Session(views, limits)
        match = re.match(r"\s*EXPLAIN\s+(ANALYZE\s+)?", sql, re.IGNORECASE)
        explaining, select = (
            (f"EXPLAIN {match[1] or ''}", sql[match.end() :]) if match else ("", sql)
        )
        checked = session.run(lambda connection: check(connection, select, views.names, parameters))
        has_columns = "items" in checked.views
        self._check(checked.views | ({"columns"} if has_columns else set()))
        self._prepare(views, checked.views, has_columns=has_columns, all_views=checked.lists_views)
        relation = session.run(
            lambda connection: connection.sql(
                explaining + checked.sql, params=dict(parameters) or None
            )
        )
        return SqlResult(session, relation)

    def views(self, limits: Limits) -> "Views":
        """Return the views, created again if the memory limit differs from the last one."""
        with self._lock:
            if self._views is None or self._views.memory != limits.memory:
                self._views = Views(self, limits.memory)
            return self._views

    def _prepare(
        self, views: "Views", read: frozenset[str], *, has_columns: bool, all_views: bool = False
    ) -> None:
        """Create the views that a statement reads, with the macros over them."""
        with self._lock:
            views.create(read, has_columns=has_columns)
            if all_views:
                views.create(views.names - self.computed.keys(), has_columns=True)
                views.create_placeholders()
            if read >= VIEWS:
                views.create_macros(reads_views=True)

    def _check(self, views: Collection[str]) -> None:
        """Raise DamagedError if a file of one of these views was altered; shards are not
        checked.
        """
        for view in self.tables.keys() & {*views}:
            parquet_tables.check_all(self.tables[view])


_WITH_COLUMNS = "items with columns"


class Views:
    """DuckDB with views over the files of a store, which reads no others."""

    def __init__(self, store: UsersSql, memory: int | None) -> None:
        self.memory, self.store = memory, store
        shards = [
            file for layers in store.shards.values() for files in layers.values() for file in files
        ]
        self._files: dict[str, Sequence[StoredFile]] = {
            **store.tables,
            **dict.fromkeys(("spaces", *store.computed), ()),
            "embeddings": shards,
        }
        self.names = frozenset(self._files)
        self.all_files = [file for files in self._files.values() for file in files]
        paths = [store.files.root / file.key for file in self.all_files]
        self.connection = connections.connect_for_users(
            "50%" if memory is None else f"{memory}B", paths
        )
        [(self.limit,)] = self.connection.execute(
            "SELECT current_setting('memory_limit')"
        ).fetchall()
        self.connection.execute("CREATE SCHEMA datasets")
        self._created: set[str] = set()
        self.create_macros(reads_views=False)

    def create(self, names: Collection[str], *, has_columns: bool = False) -> None:
        """Create views, unless they exist; ``items`` has the columns of items once it needs them,
        so that nothing else depends on their tables.
        """
        views = {*names}
        if has_columns and "items" in views:
            views = views - {"items"} | {_WITH_COLUMNS}
        for view in views - self._created:
            if view in self.store.computed:
                self._compute(view)
            elif view == "spaces":
                self._create_empty_table(view)
                for card in self.store.cards:
                    row = _row(card)
                    marks = ", ".join("?" for _ in row)
                    self.connection.execute(f"INSERT INTO spaces VALUES ({marks})", row)
            else:
                self._create(view)
        self._created |= views | {*names}

    def create_placeholders(self) -> None:
        """Create the views that are computed without rows, unless they exist: to compute them may
        take long.
        """
        for view in self.store.computed.keys() - self._created:
            self._create_empty_table(view)

    def _create_empty_table(self, view: str) -> None:
        self.connection.execute(f"CREATE OR REPLACE TABLE {view} AS {_without_rows(view)}")

    def create_macros(self, *, reads_views: bool) -> None:
        """Create the macros that read views, which exist, or the others, unless they exist."""
        for name, macro in MACROS.items():
            if macro.reads_views == reads_views and name not in self._created:
                self.connection.execute(f"CREATE OR REPLACE MACRO {macro.definition}")
                self._created.add(name)

    def _compute(self, view: str) -> None:
        self.connection.register("computed", self.store.computed[view]())
        self.connection.execute(f"CREATE OR REPLACE TABLE {view} AS FROM computed")
        self.connection.unregister("computed")

    def _create(self, view: str) -> None:
        """Create a view over its files."""
        has_columns = view == _WITH_COLUMNS
        view = "items" if has_columns else view
        files = self._files[view]
        if view == "embeddings":
            body = self._embeddings()
        elif view == "columns":
            body = self._columns()
        else:
            body = f"SELECT * FROM {_parquet(files)}" if files else ""
            if has_columns and body and (columns := self._columns()):
                body += f" LEFT JOIN ({columns}) USING (item_id)"
        name = ".".join(map(connections.quote_name, view.split(".", 1)))
        check_readable(files)
        try:
            interruptible.execute(
                self.connection, f"CREATE OR REPLACE VIEW {name} AS {body or _without_rows(view)}"
            )
        except duckdb.Error as error:
            raise self.user_error(error, view=view) from error

    def _embeddings(self) -> str:
        """Return the SELECT of the view ``embeddings``: space, layer and the columns of the
        shards.
        """
        parts = [
            f"SELECT {connections.quote(space)} AS space, {layer}::SMALLINT AS layer, item_id,"
            f" vector FROM {_parquet(files)}"
            for space, layers in self.store.shards.items()
            for layer, files in layers.items()
            if files
        ]
        return " UNION ALL ".join(parts)

    def _columns(self) -> str:
        """Return the SELECT of the columns of items, a row an item; empty if none is stored."""
        files = self._files["columns"]
        names = [connections.quote_name(name) for name in self.store.columns.types]
        values = ", ".join(f"any_value({name}) AS {name}" for name in names)
        source = _parquet(files, ", union_by_name = true") if files else ""
        return f"SELECT item_id, {values} FROM {source} GROUP BY item_id" if files else ""

    def user_error(
        self, error: duckdb.Error, columns: Sequence[str] = (), *, view: str = ""
    ) -> EmbstoreError:
        """Return the error for a DuckDB error in a user's SQL, or in a view that it reads."""
        store = self.store
        if (missing_text := not_stored(str(error), store.cards, store.nearest_texts)) is not None:
            return missing_text
        if isinstance(error, duckdb.OutOfMemoryException):
            return QueryError(
                f"this SQL needs more memory than its limit of {self.limit}:"
                f" {connections.first_line(error)} Select less, or give a larger limit (`memory`)."
            )
        file = named_file(self.all_files, str(error))
        if file is not None and not disk.exists(file.path):
            return DamagedError(
                f"{file.place} has gone since the store was opened: its rows are in other files"
                " now, or its space was removed. Run the query again; if it is still missing, run"
                " embstore verify."
            )
        # Errors about the files that DuckDB reads, most of which name none of them.
        of_reading = type(error) in (duckdb.Error, duckdb.IOException) or "in parquet read" in str(
            error
        )
        if (
            view
            or of_reading
            or (file is not None and isinstance(error, duckdb.InvalidInputException))
        ):
            files = self._files[view] if view else self.all_files
            return store.reader.query_error(error, files if file is None else [file])
        if not columns and re.search("[Cc]olumn.* not found|have a column named", str(error)):
            kept = dict.fromkeys(  # of each space one
                f'"{name.partition(".")[0]}.SPACE"' if is_space_column(name) else name
                for name in store.columns.types
            )
            return QueryError(
                f"this SQL cannot be answered: {connections.first_line(error)}. The view items has"
                f" {', '.join([*_EMPTY['items'], *kept])}; built_in has item_id,"
                f" {', '.join(BUILT_IN)}. All views: embstore sql --tables."
            )
        return connections.user_error(error, columns)


def _without_rows(view: str) -> str:
    """Return a SELECT of the columns of a view, without rows."""
    columns = (
        f"NULL::{kind} AS {connections.quote_name(name)}" for name, kind in _EMPTY[view].items()
    )
    return f"SELECT {', '.join(columns)} WHERE false"


def _parquet(files: Sequence[StoredFile], options: str = "") -> str:
    """Return the SQL of the rows of some Parquet files."""
    listed = ", ".join(map(connections.quote, connections.literal(fetch(files))))
    return f"read_parquet([{listed}], hive_partitioning = false{options})"


class Session:
    """Connection for one user's SQL, whose runs end at their limits and at Ctrl-C."""

    def __init__(self, views: Views, limits: Limits, *, columns: Sequence[str] = ()) -> None:
        self._views, self._limits, self._columns = views, limits, columns
        self._connection = views.connection.cursor()

    def run(self, query: Callable[[duckdb.DuckDBPyConnection], T], since: float | None = None) -> T:
        """Call a function with the connection, within the limits, and return its result.

        The time limit begins now, or at an earlier time of the monotonic clock.
        """
        timeout = self._limits.timeout
        if timeout is not None and since is not None:
            timeout = max(0.0, since + timeout - time.monotonic())
        try:
            return interruptible.run(self._connection, query, timeout=timeout)
        except TimeoutError as error:
            raise QueryError(
                f"this SQL took longer than its limit of {self._limits.timeout:g} s. Select less,"
                " or give a larger limit (`timeout`)."
            ) from error
        except RuntimeError as error:
            if "nanobind" not in str(error):
                raise
            # DuckDB's message is not Unicode text.
            raise self._views.user_error(duckdb.Error("invalid data"), self._columns) from error
        except duckdb.Error as error:
            raise self._views.user_error(error, self._columns) from error

    def steps(self, iterator: Iterator[T], since: float) -> Iterator[T]:
        """Yield what an iterator over the connection yields; the time limit is for all of it, with
        what is between.
        """
        while (value := self.run(lambda _: next(iterator, _END), since)) is not _END:
            yield value  # type: ignore[misc]


def _row(card: Card) -> list[Any]:
    """Return the row of a space in the view ``spaces``."""
    return [
        card.space,
        card.model,
        card.checkpoint,
        card.unit.value,
        card.pooling.value,
        card.template.pattern,
        card.dim,
        card.revision_name,
        card.step,
    ]


class SqlResult:
    """Rows of one SELECT over a store, in the forms that DuckDB gives them; each method runs the
    SELECT again.
    """

    def __init__(self, session: Session, relation: duckdb.DuckDBPyRelation) -> None:
        self._session, self._relation = session, relation

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self._relation.columns

    @property
    def types(self) -> list[str]:
        """DuckDB's types of the columns."""
        return [str(kind) for kind in self._relation.types]

    def fetchall(self) -> Rows:
        """Return all rows."""
        return self._session.run(lambda _: self._relation.fetchall())

    def fetchmany(self, n: int) -> Rows:
        """Return the first n rows."""
        return self._session.run(lambda _: self._relation.limit(n).fetchall())

    def fetchnumpy(self) -> Columns:
        """Return the columns as arrays by name, masked where they have nulls."""
        return self._session.run(lambda _: self._relation.fetchnumpy())

    def df(self) -> "pd.DataFrame":
        """Return a data frame of pandas."""
        return self._session.run(lambda _: self._relation.df())

    def pl(self) -> "pl.DataFrame":
        """Return a data frame of Polars."""
        return self._session.run(lambda _: self._relation.pl())  # type: ignore[no-any-return]

    def to_arrow_table(self) -> "pa.Table":
        """Return a table of Arrow."""
        return self._session.run(lambda _: self._relation.to_arrow_table())

    def to_arrow_reader(self, n: int = 1_000_000) -> "pa.RecordBatchReader":
        """Return a reader of record batches of up to n rows; the time limit is for all of them."""
        import pyarrow as pa

        since = time.monotonic()
        reader = self._session.run(lambda _: self._relation.to_arrow_reader(n))
        return pa.RecordBatchReader.from_batches(
            reader.schema, self._session.steps(iter(reader), since)
        )

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.to_arrow_table().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return printable(self._session.run(lambda _: repr(self._relation)), lines=True)
