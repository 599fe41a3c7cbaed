"""Open DuckDB: for embstore's own SQL, for what may not fit in memory, and for users' SQL."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from weakref import ref

import duckdb
import numpy as np
from numpy.typing import NDArray

from embstore.errors import QueryError, StoreError, UnknownNameError
from embstore.storage.sql import interruptible

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

VERSION: str = duckdb.__version__

_STRING = re.compile(r"'[^']*'")  # a doubled quote reads as two strings side by side
_OF_DISK = re.compile(r"No space left|max_temp_directory_size", re.IGNORECASE)
_CHANGING = re.compile(
    r"\b(?:\w*random\w*|\w*uuid\w*|\w*sample|setseed|now|today|age|local(?:time|timestamp)|\w*current\w*|"
    r"transaction_timestamp|(?:next|curr|set)val|getvariable|stats|sleep_ms|write_log|error|vector_type)\b",
    re.IGNORECASE,
)

_QUIET = "SET enable_progress_bar = false"  # which DuckDB draws on stdout, where Python is interactive


# Kept footers: of a hundred shards they take ten times as long as a lookup. DuckDB looks whether a file is another.
_KEPT_FOOTERS = "SET GLOBAL parquet_metadata_cache = true"


class Shared:
    """The DuckDB of this process for embstore's own SQL, over files that it names; open while somebody holds it.

    To open a DuckDB takes 20 ms, and to connect to an open one some µs. With its last holder it gives its memory back.
    """

    def __init__(self) -> None:
        self._connection = _open(temp_directory="")
        interruptible.execute(self._connection, _KEPT_FOOTERS)

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return a connection, with temporary tables and registered names of its own."""
        return self._connection.cursor()


_lock = Lock()
_held: Callable[[], Shared | None] = lambda: None  # noqa: E731


def shared() -> Shared:
    """Return the DuckDB of this process, opened unless somebody holds it already."""
    global _held
    with _lock:
        found = _held()
        if found is None:
            found = Shared()
            _held = ref(found)
        return found


def held() -> Shared | None:
    """Return the DuckDB of this process if somebody holds it."""
    return _held()


def _leave_to_parent() -> None:
    """In a forked process: share no DuckDB that was opened before. It has no threads here."""
    global _lock, _held
    _lock, _held = Lock(), lambda: None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def connect(root: Path) -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB for embstore's own SQL that reads below ``root`` and nothing else."""
    connection = _open(temp_directory="")
    folders = ", ".join(quote(f"{folder}/") for folder in (root, *literal([root])))
    connection.execute(
        f"{_KEPT_FOOTERS}; SET allowed_directories = [{folders}]; "
        "SET enable_external_access = false; SET lock_configuration = true"
    )
    return connection


def connect_to_check() -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB for short looks into single files, of which it keeps nothing."""
    return _open(temp_directory="", enable_external_file_cache=False)


def connect_without_files(memory: str, files: "AbstractFileSystem") -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB for users' SQL, for which the operating system's files do not exist.

    Args:
        memory: How much it may use, as DuckDB reads it (``512MB``, ``50%``).
        files: The only file system that it has.
    """
    # What is read of a foreign file system DuckDB would also keep in memory, as if it came from the network.
    connection = _open(temp_directory="", memory_limit=memory, enable_external_file_cache=False)
    connection.register_filesystem(files)
    connection.execute(
        f"{_KEPT_FOOTERS}; SET allowed_directories = ['{files.protocol}://']; "
        "SET disabled_filesystems = 'LocalFileSystem'; SET enable_external_access = false; "
        "SET allow_extension_repositories = 'forbidden'; SET lock_configuration = true"
    )
    return connection


def connect_to_spill(folder: Path, memory: str) -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB for embstore's own SQL, which may read files anywhere.

    Args:
        folder: takes what does not fit; made when it is needed.
        memory: how much it may use, as DuckDB reads it (``512MB``).
    """
    return _open(
        temp_directory=str(folder),
        memory_limit=memory,
        preserve_insertion_order=False,
        allocator_flush_threshold="1MB",  # what is dropped goes back to the system, before the model comes
    )


def _open(**settings: str | bool) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,  # SQL must not see the caller's variables
            **settings,
        }
    )
    interruptible.execute(connection, _QUIET)
    return connection


@contextmanager
def with_ids(connection: duckdb.DuckDBPyConnection, name: str, ids: NDArray[np.int64]) -> Iterator[None]:
    """Let SQL in the context see ids as a table of that name with the column ``item_id``; users' own never sees it."""
    connection.register(name, {"item_id": ids})
    try:
        yield
    finally:
        connection.unregister(name)


def changing_part(sql: str) -> str | None:
    """Return a word of an expression for which it may not be the same tomorrow (``random``, ``now``); None if none is.

    Words in strings do not count, unless the strings may be written in a way that hides where they end.
    """
    found = _CHANGING.search(sql if "\\" in sql or "$" in sql else _STRING.sub("''", sql))
    return found and found[0]


def explained(error: duckdb.Error, columns: Sequence[str] = ()) -> QueryError | UnknownNameError:
    """Return the error for a user's SQL: an unknown one of known columns names the nearest, all else DuckDB's words."""
    if columns and (match := re.search(r'Referenced column "([^"]+)" not found', str(error))):
        name = match[1]
        hint = f"A text stands in single quotes: '{name}', as in text = '{name}'."
        return UnknownNameError("column", name, columns, hint)
    return QueryError(f"this SQL cannot be answered: {first_line(error)}")


def exhausted(error: duckdb.Error) -> StoreError | None:
    """Return the error for a lack of memory, or of disk for what does not fit in it; None if it is another one."""
    is_memory = isinstance(error, duckdb.OutOfMemoryException)
    if not is_memory and "No space left" not in str(error):
        return None
    if is_memory and not _OF_DISK.search(str(error)):
        return StoreError(
            f"too little memory for the texts on their way into the store: {first_line(error)} It is not the disk that "
            "is full: a few texts are too long to be held together. Cut or leave out the longest ones and build again; "
            "what was written before stays."
        )
    return StoreError(
        f"no space left for the texts on their way into the store: {first_line(error)} What does not fit in memory "
        "goes to the store's folder, for a dry run to the system's temporary one: free some space. What was written "
        "before is whole; run the same build again: it goes on where it stopped."
    )


def first_line(error: Exception) -> str:
    """Return what a DuckDB error says, without its picture of the statement."""
    return re.split(r"\n\s*\n|\nLINE ", str(error))[0].replace("\n", " ")


def literal(files: Iterable[Path]) -> list[str]:
    """Return what DuckDB reads as these very files: it takes a name for a pattern, if that matches others.

    A path with a backslash, beside which DuckDB reads no other escape, is left to it as it is.
    """
    paths = map(str, files)
    return [path if "\\" in path else re.sub(r"[*?\[]", r"[\g<0>]", path) for path in paths]


def quote(text: str) -> str:
    """Return ``text`` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def quote_name(name: str) -> str:
    """Return ``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
