"""Read the Parquet files of a store by SQL, with errors that name the file that cannot be read."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import compress
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from embstore.base import disk, supply
from embstore.base.errors import DamagedError, StoreError
from embstore.storage.sql import connections, interruptible

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")
NamedFiles = Mapping[str, Sequence[Path]]

# Else DuckDB would add columns for folders above the store with names like "layer=7".
FILES = "read_parquet($files, hive_partitioning = false)"

REMEDY = "To repair it, run ⦃embstore repair⦄, and build the same sources again: exactly its items are embedded anew."
_TABLES = ("items", "columns", "skipped")
TABLE_REMEDY = "To repair it, run ⦃embstore repair⦄, and build the same sources again: its texts are written anew."


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
        """Connection for embstore's own SQL, one per thread: a connection runs one query at a time."""
        if self._own_connection is not None:
            return self._own_connection
        if not hasattr(self._of_thread, "connection"):
            self._of_thread.connection = self._shared.cursor()
        return cast("duckdb.DuckDBPyConnection", self._of_thread.connection)

    @cached_property
    def _shared(self) -> "duckdb.DuckDBPyConnection":
        return connections.open_shared()

    def columns(self, sql: str, files: Sequence[Path], **values: Any) -> dict[str, NDArray[Any]]:
        """Return the columns of a query over ``$files``, without nulls; empty ones of int64 if there are no files."""
        if not files:
            return defaultdict(lambda: np.empty(0, np.int64))
        return self.run(interruptible.columns, sql, files, **values)

    def rows(self, sql: str, files: Sequence[Path], **values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query over ``$files``; an empty list if there are no files."""
        return self.run(interruptible.rows, sql, files, **values) if files else []

    def run(self, fetch: Callable[..., T], sql: str, files: Sequence[Path] | NamedFiles, **values: Any) -> T:
        """Return what a function of a connection, SQL and its parameters returns; errors name the file at fault.

        Files are the parameter ``$files``, or several parameters by name; one without any is no parameter.
        """
        import duckdb

        named = files if isinstance(files, Mapping) else {"files": files}
        values |= {name: connections.literal(found) for name, found in named.items() if found}
        files = [file for found in named.values() for file in found]
        supply.fetch(dict.fromkeys(files))
        for file in files:
            with disk.opening(file):
                pass
        try:
            return fetch(self.connection, sql, values)
        except duckdb.Error as error:
            raise connections.exhausted(error) or self.query_error(error, files) from error

    def query_error(self, error: "duckdb.Error", files: Sequence[Path]) -> StoreError:
        """Return the error for a failed query: DamagedError with the file's name if a file is damaged."""
        import duckdb

        if "KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from None
        if isinstance(error, duckdb.IOException) and files:  # the system may not let DuckDB read a file
            place = named_file(files, str(error)) or files[0].parent
            if (refused := disk.quoted_error(str(error), place)) is not None:
                return refused
        message = connections.first_line(error).rstrip(".")
        damaged = named_file(files, message) or self._unreadable(files)
        if damaged is None:  # each file can be read and is unchanged
            folder = files[0].parent if files else self._root
            if isinstance(error, duckdb.BinderException | duckdb.ConversionException):  # embstore's own SQL is correct
                where = files[0] if len(files) == 1 else folder
                return DamagedError(
                    f"{where} is damaged: its columns are not those of the format ({message}). {REMEDY}"
                )
            return StoreError(
                f"{folder} cannot be read: {message}. Run the command again; ⦃embstore verify⦄ checks all files."
            )
        if disk.exists(damaged):
            disk.sha256(damaged)  # read to the end, because a system error is not damage
        remedy = TABLE_REMEDY if damaged.parent.name in _TABLES else REMEDY
        return DamagedError(f"{damaged} is damaged: {message}. Run: ⦃embstore verify⦄. {remedy}")

    def _unreadable(self, files: Sequence[Path]) -> Path | None:
        """Return the first file that DuckDB cannot read, else one that does not match the hash in its name, or None."""
        import duckdb

        for file in files:
            try:
                interruptible.rows(
                    self.connection, "SELECT * FROM read_parquet(?) LIMIT 1", connections.literal([file])
                )
            except duckdb.Error:
                return file
        parts = (file for file in files if file.stem.startswith("part-"))
        return next((file for file in parts if file.stem != f"part-{disk.sha256(file)[:16]}"), None)


def named_file(files: Sequence[Path], message: str) -> Path | None:
    """Return the file that a DuckDB error names, either by its path or by its escaped path."""
    pairs = zip(files, connections.literal(files), strict=True)
    return next((file for file, pattern in pairs if str(file) in message or pattern in message), None)


_FEW = 16
"""Number of files up to which reading the statistics takes as long as reading the files."""


class Ranges:
    """Minimum and maximum item id of each file, read at first use."""

    def __init__(self, reader: Reader, files: Sequence[Path]) -> None:
        self._reader, self._files = reader, files

    def files_of(self, ids: Sequence[int]) -> list[Path]:
        """Return the files that may contain at least one of these items."""
        if len(self._files) <= _FEW:
            return list(self._files)
        ascending = np.sort(np.asarray(ids, np.int64))
        lows, highs = self._bounds
        is_candidate = np.searchsorted(ascending, lows, "left") < np.searchsorted(ascending, highs, "right")
        return list(compress(self._files, is_candidate.tolist()))

    @cached_property
    def _bounds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Minimum and maximum id of each file, both (n_files,); the full int64 range for a file without statistics."""
        limits = np.iinfo(np.int64)
        sql = """SELECT file_name, min(stats_min_value::BIGINT), max(stats_max_value::BIGINT),
                     bool_or(stats_min_value IS NULL OR stats_max_value IS NULL)
                 FROM parquet_metadata($files) WHERE path_in_schema = 'item_id' GROUP BY file_name"""
        found = {
            file: (int(limits.min), int(limits.max)) if unknown else (low, high)
            for file, low, high, unknown in self._reader.rows(sql, self._files)
        }
        # A file without a row group has no ids: its minimum is above its maximum.
        bounds = [found.get(str(file), (int(limits.max), int(limits.min))) for file in self._files]
        return np.array([low for low, _ in bounds], np.int64), np.array([high for _, high in bounds], np.int64)
