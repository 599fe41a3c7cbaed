"""Open DuckDB connections: for embstore's own SQL, for data that may not fit in memory, and for
users' SQL.

DuckDB is imported where it is used: loading it takes as long as the rest of a short query, which
may run no SQL.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from embstore.base.arrays import Ids
from embstore.base.errors import QueryError, StoreError, UnknownNameError, UsageError
from embstore.storage.sql import interruptible

if TYPE_CHECKING:
    import duckdb

_HINTS = {  # by a pattern in DuckDB's message
    "Cannot compare values of type VARCHAR": (
        "To read strings as numbers: TRY_CAST(name AS DOUBLE)."
    ),
    "(raw|normed|output|projection|top)' to INT16": (
        "In SQL a layer is its number: raw or normed, the other form of "
        "layer L, is L + 1, and output or projection L + 2."
    ),
    "lambda arrow": "Write lambda x: x + 1 instead of x -> x + 1.",
}

# Reading the footers of a hundred shards takes ten times as long as a lookup. DuckDB checks whether
# a file has changed.
_KEPT_FOOTERS = "SET GLOBAL parquet_metadata_cache = true"

_LOCKED = (  # the first three settings would come from the environment
    "SET http_proxy = ''; SET home_directory = '/dev/null'; SET secret_directory = '/dev/null'; SET"
    " enable_external_access = false; SET allow_extension_repositories = 'forbidden'; SET"
    " lock_configuration = true"
)


# A weak reference: the memory is released with the last connection of which a reference is held.
_instances: "WeakValueDictionary[int, duckdb.DuckDBPyConnection]" = WeakValueDictionary()
"""Open instance of each process: a forked one does not have the threads of that of the process
before.
"""


def version() -> str:
    """Return the version of DuckDB."""
    import duckdb

    return duckdb.__version__


def open_shared() -> "duckdb.DuckDBPyConnection":
    """Return the DuckDB instance of the process for embstore's own SQL, and open it if there is
    none.

    Opening an instance takes 20 ms, and a ``cursor()`` of it a few µs: a connection with its own
    temporary tables and registered names.
    """
    instance = _instances.get(os.getpid())
    if instance is None:
        instance = _open(temp_directory="")
        interruptible.execute(instance, _KEPT_FOOTERS)
        instance = _instances.setdefault(os.getpid(), instance)
    return instance


def connect(root: Path) -> "duckdb.DuckDBPyConnection":
    """Return an in-memory DuckDB connection for embstore's own SQL that can read only files below
    ``root``.
    """
    connection = _open(temp_directory="")
    folders = ", ".join(quote(f"{folder}/") for folder in (root, *literal([root])))
    connection.execute(
        f"{_KEPT_FOOTERS}; SET allowed_directories = [{folders}]; "
        "SET enable_external_access = false; SET lock_configuration = true"
    )
    return connection


def connect_for_users(memory: str, files: Iterable[Path]) -> "duckdb.DuckDBPyConnection":
    """Return an in-memory DuckDB connection for users' SQL, which opens the given files and no
    others.

    DuckDB may also write these files: what keeps SQL from that is :mod:`.views.fence`. Memory is in
    DuckDB's notation, as in ``512MB`` or ``50%``.
    """
    connection = _open(temp_directory="", memory_limit=memory)
    files = [*files]
    allowed = ", ".join(map(quote, {*map(str, files), *literal(files)}))
    connection.execute(f"{_KEPT_FOOTERS}; SET allowed_paths = [{allowed}]; {_LOCKED}")
    return connection


def connect_to_spill(folder: Path, memory: str) -> "duckdb.DuckDBPyConnection":
    """Return an in-memory DuckDB connection for embstore's own SQL, which can read any file and
    spills to disk.

    The folder is created when needed.
    """
    return _open(
        temp_directory=str(folder),
        memory_limit=memory,
        preserve_insertion_order=False,
        allocator_flush_threshold=(  # return freed memory to the system before the model is loaded
            "1MB"
        ),
    )


def _open(**settings: str | bool) -> "duckdb.DuckDBPyConnection":
    """Return a DuckDB connection with these settings, without extensions or access to Python's
    variables.
    """
    import duckdb

    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,  # SQL must not see the caller's variables
            **settings,
        }
    )
    interruptible.run(connection, _switch_progress_bar_off)
    return connection


def _switch_progress_bar_off(connection: "duckdb.DuckDBPyConnection") -> None:
    """Switch off the progress bar, which DuckDB draws on standard output where Python is
    interactive.

    In a notebook without ipywidgets DuckDB has none, and refuses to have it switched off.
    """
    # All rows are fetched: an unfinished result would keep the connection from registering tables.
    if connection.execute("SELECT current_setting('enable_progress_bar')").fetchall() == [(True,)]:
        connection.execute("SET enable_progress_bar = false")


@contextmanager
def with_table(connection: "duckdb.DuckDBPyConnection", name: str, table: object) -> Iterator[None]:
    """Register arrays as a table within the context; users' SQL does not see it."""
    interruptible.run(connection, lambda it: it.register(name, table))
    try:
        yield
    finally:
        interruptible.run(connection, lambda it: it.unregister(name))


def with_ids(
    connection: "duckdb.DuckDBPyConnection", name: str, ids: Ids
) -> AbstractContextManager[None]:
    """Register item ids (n,) as a table with the column ``item_id`` within the context; see
    :func:`with_table`.
    """
    return with_table(connection, name, {"item_id": ids})


def user_error(error: "duckdb.Error", columns: Sequence[str] = ()) -> QueryError | UnknownNameError:
    """Return the error for a user's SQL: an unknown column with the nearest names, or DuckDB's
    message.
    """
    if columns and (match := re.search(r'Referenced column "(.+?)" not found', str(error))):
        name = match[1]
        hint = f"A text stands in single quotes: '{name}', as in text = '{name}'."
        return UnknownNameError("column", name, columns, hint)
    hints = [hint for part, hint in _HINTS.items() if re.search(part, str(error))]
    return QueryError(
        f"this SQL cannot be answered: {'. '.join([first_line(error).rstrip('.'), *hints])}"
    )


def by_spelling(column: str) -> str:
    """Return SQL that orders texts by likeness to ``$text``: of equally near ones, exchanged
    letters first.
    """
    return (
        f"damerau_levenshtein(lower({column}), lower($text)), "
        f"list_sort(string_split(lower({column}), '')) <> list_sort(string_split(lower($text), ''))"
    )


def exhausted(error: "duckdb.Error") -> StoreError | None:
    """Return the error if memory, or the room for what does not fit in it, is exhausted; None for
    any other error.
    """
    import duckdb

    if not isinstance(error, duckdb.OutOfMemoryException):
        return None
    return StoreError(
        f"too little memory, or disk space for what does not fit in it: {first_line(error)} Free"
        " some, or cut the longest texts, and run the same command again: what was written before"
        " is whole."
    )


def first_line(error: Exception) -> str:
    """Return the message of a DuckDB error without its excerpt of the statement."""
    return re.split(r"\n\s*\n|\nLINE ", str(error))[0].replace("\n", " ")


def literal(files: Iterable[Path]) -> list[str]:
    """Return paths in which DuckDB's glob characters are escaped, so that each matches only its own
    file.

    A path with a backslash is unchanged, since DuckDB recognises no other escape in it.
    """
    paths = map(str, files)
    return [path if "\\" in path else re.sub(r"[*?\[]", r"[\g<0>]", path) for path in paths]


SQL_TYPES = {"int64": "BIGINT", "float64": "DOUBLE", "bool": "BOOLEAN", "string": "VARCHAR"}
"""DuckDB's name of each type of columns."""


def quote(text: str) -> str:
    """Return ``text`` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def quote_name(name: str) -> str:
    """Return ``name`` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


_LEAST, _MOST = 1_000_000, 2**63 - 1
"""Least and largest memory limit in bytes: with less DuckDB does not even start, and it reads no
larger number.
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a user's SQL."""

    timeout: float | None = None  # time limit of each run in seconds; None for no limit
    memory: int | None = None  # memory limit in bytes; None for half of DuckDB's default

    def __post_init__(self) -> None:
        if self.timeout is not None and not 0 < self.timeout < 1e9:
            raise UsageError(f"timeout must be a number of seconds above 0, not {self.timeout}.")
        if self.memory is not None and self.memory < _LEAST:
            raise UsageError(
                f"the memory for SQL must be at least {_LEAST // 1_000_000} MB, not {self.memory:,}"
                " bytes. Give a larger limit (`memory`)."
            )
        if self.memory is not None and self.memory > _MOST:
            raise UsageError(
                f"the memory for SQL must be at most {_MOST // 10**12:,} TB, not {self.memory:,}"
                " bytes. Give a smaller limit (`memory`)."
            )


NO_LIMITS = Limits()
