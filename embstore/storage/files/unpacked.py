"""Limit the decompressed size of small tables, before any of it is in memory."""

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from embstore.base import disk
from embstore.base.errors import DamagedError, UsageError
from embstore.storage.parquet.footer import read_columns
from embstore.storage.parquet.unpacked_size import unpacked_size
from embstore.storage.sql import connections, interruptible

if TYPE_CHECKING:
    import duckdb

VARIABLE = "EMBSTORE_UNPACKED_MIB"
"""Environment variable: MiB that any table may unpack to; by default 64."""

_DEFAULT_MIB = 64
_RATIO = 200
"""A table may also unpack to so many times its size."""

_LENGTHS = {
    "VARCHAR": "strlen({})",
    "BLOB": "octet_length({})",
    "VARCHAR[]": "list_sum(list_transform({}, lambda text: strlen(text)))",
}
_OTHERS = ("DOUBLE[]", "FLOAT[]", "BIGINT[]", "INTEGER[]")


def check_unpacked(files: Iterable[Path], remedy: str, connection: "duckdb.DuckDBPyConnection | None" = None) -> None:
    """Check that small tables do not decompress to more than their sizes allow.

    Args:
        files: Parquet files other than shards.
        remedy: Remedy for a damaged file, as a sentence.
        connection: DuckDB for embstore's own SQL; by default that of the process, or a cached one.

    Raises:
        DamagedError: A table would decompress to more, or cannot be read.
        UsageError: The limit in the environment is not a number.
    """
    for file in files:
        if problem := unpacked_problem(file, connection):
            raise DamagedError(f"{file} is damaged: {problem}. {remedy}")


def unpacked_problem(file: Path, connection: "duckdb.DuckDBPyConnection | None" = None) -> str | None:
    """Return a description of the problem if a small table would decompress to too much or is unreadable, or None.

    Raises:
        UsageError: The limit in the environment is not a number.
    """
    limit = max(unpacked_limit(), _RATIO * disk.size(file))
    try:
        found = unpacked_size(file, limit)
        unpacked = found.n_bytes
        if unpacked <= limit < unpacked + found.texts:
            unpacked += _n_characters(connection or _connection(), file)
    except ValueError as error:
        return str(error)
    if unpacked <= limit:
        return None
    return (
        f"its {disk.size(file):,} bytes would unpack to {unpacked:,} or more, where {limit:,} are allowed (if it is "
        f"what you want, set {VARIABLE}={(unpacked >> 20) + 1} or more)"
    )


def unpacked_limit() -> int:
    """Return the size that any table may unpack to, in bytes; raise UsageError if the variable is not a number."""
    value = os.environ.get(VARIABLE) or str(_DEFAULT_MIB)
    if not value.isascii() or not value.isdigit():
        raise UsageError(f"{VARIABLE} is {value!r}: give a number of MiB, as {_DEFAULT_MIB}.")
    return int(value) << 20


def _connection() -> "duckdb.DuckDBPyConnection":
    shared = connections.current()
    return _cached_connection().cursor() if shared is None else shared.connect()


@cache
def _cached_connection() -> "duckdb.DuckDBPyConnection":
    """Return a DuckDB that stays open: many files are checked one by one."""
    return connections.connect_to_check()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_cached_connection.cache_clear)


def _n_characters(connection: "duckdb.DuckDBPyConnection", file: Path) -> int:
    """Return how many bytes the texts of a table have, which DuckDB counts without repeating those of a dictionary.

    Raises:
        ValueError: The table has columns that no table of a store has, or cannot be read.
        FileAccessError: The system refuses to read it.
        StoreError: Memory is exhausted.
    """
    import duckdb

    source = "read_parquet($file, hive_partitioning = false)"
    values = {"file": connections.literal([file])}
    lengths = []
    try:
        for name, kind in _columns(connection, file, f"DESCRIBE SELECT * FROM {source}", values):
            if kind in _LENGTHS:
                lengths.append(f"coalesce(sum({_LENGTHS[kind].format(connections.quote_name(name))}), 0)")
            elif kind.endswith(("]", ")")) and kind not in _OTHERS:
                raise ValueError("its columns are not those of the format")
        count = f"SELECT ({' + '.join(lengths) or '0'})::HUGEINT FROM {source}"
        [(found,)] = interruptible.rows(connection, count, values)
    except duckdb.Error as error:
        if refused := disk.quoted_error(str(error), file) or connections.exhausted(error):
            raise refused from error
        raise ValueError(connections.first_line(error).rstrip(".")) from error
    return int(found)


def _columns(
    connection: "duckdb.DuckDBPyConnection", file: Path, describe: str, values: dict[str, list[str]]
) -> list[tuple[str, str]]:
    """Return the name and DuckDB type of each column; of integers and strings the footer says them without a query."""
    try:
        return [(name, "VARCHAR" if kind == "string" else "BIGINT") for name, kind, _ in read_columns(file)]
    except ValueError:
        return [(name, kind) for name, kind, *_ in interruptible.rows(connection, describe, values)]
