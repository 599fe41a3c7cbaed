"""Read the Parquet files of a store by SQL, with errors that name the file that cannot be read."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from embstore.base.errors import StoreError
from embstore.storage.cache import StoredFile, fetch
from embstore.storage.sql import connections, interruptible
from embstore.storage.sql.interruptible import Columns, Rows

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")
NamedFiles = Mapping[str, Sequence[StoredFile]]

# Else DuckDB would add columns for folders above the store with names like "layer=7".
FILES = "read_parquet($files, hive_partitioning = false)"


class Reader:
    """DuckDB over the files of a store.

    Without a connection of its own, each thread has one to the process's DuckDB.
    """

    def __init__(self, root: Path, connection: "duckdb.DuckDBPyConnection | None" = None) -> None:
        self._root = root
        self._of_thread = local()
        self._own_connection = connection

    @property
    def connection(self) -> "duckdb.DuckDBPyConnection":
        """Connection for embstore's own SQL, one per thread: a connection runs one query at a
        time.
        """
        if self._own_connection is not None:
            return self._own_connection
        if not hasattr(self._of_thread, "connection"):
            self._of_thread.connection = self._shared.cursor()
        return cast("duckdb.DuckDBPyConnection", self._of_thread.connection)

    @cached_property
    def _shared(self) -> "duckdb.DuckDBPyConnection":
        return connections.open_shared()

    def columns(self, sql: str, files: Sequence[StoredFile], **values: Any) -> Columns:
        """Return the columns of a query over ``$files``, without nulls; empty ones of int64 if
        there are no files.
        """
        if not files:
            return defaultdict(lambda: np.empty(0, np.int64))
        return self.run(interruptible.columns, sql, files, **values)

    def rows(self, sql: str, files: Sequence[StoredFile], **values: Any) -> Rows:
        """Return the rows of a query over ``$files``; an empty list if there are no files."""
        return self.run(interruptible.rows, sql, files, **values) if files else []

    def run(
        self,
        function: Callable[..., T],
        sql: str,
        files: Sequence[StoredFile] | NamedFiles,
        **values: Any,
    ) -> T:
        """Return what a function of a connection, SQL and its parameters returns; errors name the
        file at fault.

        Files are the parameter ``$files``, or several parameters by name; one without any is no
        parameter.
        """
        import duckdb

        named = files if isinstance(files, Mapping) else {"files": files}
        values |= {
            name: connections.literal(fetch(stored)) for name, stored in named.items() if stored
        }
        files = [file for stored in named.values() for file in stored]
        check_readable(files)
        try:
            return function(self.connection, sql, values)
        except duckdb.Error as error:
            raise connections.exhausted(error) or self.query_error(error, files) from error

    def query_error(self, error: "duckdb.Error", files: Sequence[StoredFile]) -> StoreError:
        """Return the error for a failed query; raise DamagedError if a file that it reads, or the
        one that the error names, was altered.
        """
        named = named_file(files, str(error))
        if named is not None:
            files = [named]
        for file in files:
            file.compare()  # a system error shows itself
        place = files[0].place if len(files) == 1 else self._root
        return StoreError(
            f"{place} cannot be read: {connections.first_line(error).rstrip('.')}. Run the command"
            " again; embstore verify checks all files."
        )


def check_readable(files: Sequence[StoredFile]) -> None:
    """Raise DamagedError unless each file is there, a regular one, and of the size in the
    manifest.
    """
    for file in files:
        with file.opened():
            pass


def named_file(files: Sequence[StoredFile], message: str) -> StoredFile | None:
    """Return the file that a DuckDB error names."""
    return next((file for file in files if file.key in message), None)
