"""Limits on what a small table of a store unpacks to, checked before anything of it is held in memory.

A few kilobytes of Parquet may stand for gigabytes: a codec packs zeros a thousandfold, and a run of one value takes as
many bytes whatever its length. embstore packs by Snappy, which unpacks to 22 times its bytes at most, so that a footer
that claims another codec is not its own. What runs and dictionaries stand for is counted: the values by the footer, the
characters by DuckDB, which repeats no value for it.

Format: https://parquet.apache.org/docs/file-format/
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb

from embstore import disk
from embstore.errors import DamagedError, UsageError
from embstore.storage.sql import connections, interruptible

VARIABLE = "EMBSTORE_UNPACKED_MIB"
"""Environment variable: MiB that any table may unpack to; by default 64."""

_DEFAULT_MIB = 64
_RATIO = 200
"""A table may also unpack to so many times its size."""

_VALUE_BYTES, _ROW_BYTES = 8, 32  # of a value of any type, and what each column of a row takes besides

_FOOTERS = """
SELECT file_name, coalesce(sum(total_compressed_size), 0)::DOUBLE,
       coalesce(sum(greatest(num_values, row_group_num_rows, 0) * $value + greatest(row_group_num_rows, 0) * $row), 0)
           ::DOUBLE,
       coalesce(sum(greatest(num_values, 0)::DOUBLE * greatest(total_uncompressed_size, 0)::DOUBLE)
           FILTER (type NOT IN ('BOOLEAN', 'INT32', 'INT64', 'INT96', 'FLOAT', 'DOUBLE')), 0)::DOUBLE,
       list(DISTINCT compression) FILTER (compression NOT IN ('SNAPPY', 'UNCOMPRESSED'))
FROM parquet_metadata($files) GROUP BY file_name
"""
_LENGTHS = {
    "VARCHAR": "strlen({})",
    "BLOB": "octet_length({})",
    "VARCHAR[]": "list_sum(list_transform({}, text -> strlen(text)))",
}


@dataclass(frozen=True, slots=True)
class _Footer:
    """What a footer says that a table unpacks to.

    Attributes:
        packed: bytes of all columns in the file.
        values: bytes of their values in memory, without the characters of texts.
        characters: bytes that the texts may take at most, each as long as the longest.
        codecs: those that embstore does not use.
    """

    packed: float
    values: float
    characters: float
    codecs: tuple[str, ...]


def check_unpacked(files: Sequence[Path], remedy: str, connection: duckdb.DuckDBPyConnection | None = None) -> None:
    """Check that small tables unpack to no more than their sizes allow.

    Args:
        files: Parquet files other than shards.
        remedy: What to do if one does, as a sentence.
        connection: DuckDB for embstore's own SQL; by default that of the process, or one that is kept for it.

    Raises:
        DamagedError: A table would unpack to more, or cannot be read.
        UsageError: The limit in the environment is not a number.
    """
    least = _limit()
    connection = connection or (_kept().cursor() if (shared := connections.held()) is None else shared.connect())
    for file, footer in _footers(connection, files, remedy).items():
        problem = _problem(connection, file, footer, max(least, _RATIO * disk.size(file)))
        if problem:
            raise DamagedError(f"{file} is damaged: {problem}. {remedy}")


@cache
def _kept() -> duckdb.DuckDBPyConnection:
    """Return a DuckDB that stays open: many files are checked one by one."""
    return connections.connect_to_check()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.cache_clear)


def _limit() -> int:
    given = os.environ.get(VARIABLE) or str(_DEFAULT_MIB)
    if not given.isascii() or not given.isdigit():
        raise UsageError(f"{VARIABLE} is {given!r}: give a number of MiB, as {_DEFAULT_MIB}.")
    return int(given) << 20


def _footers(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], remedy: str) -> dict[Path, _Footer]:
    if not files:
        return {}
    values = {"files": connections.literal(files), "value": _VALUE_BYTES, "row": _ROW_BYTES}
    for file in files:
        with disk.opening(file):
            pass
    try:
        rows = interruptible.rows(connection, _FOOTERS, values)
    except duckdb.Error as error:
        if len(files) > 1:
            return {file: footer for one in files for file, footer in _footers(connection, [one], remedy).items()}
        raise _unread(files[0], error, remedy) from error
    by_name = {str(file): file for file in files} | dict(zip(connections.literal(files), files, strict=True))
    return {
        by_name[name]: _Footer(packed, held, characters, tuple(codecs or ()))
        for name, packed, held, characters, codecs in rows
    }


def _problem(connection: duckdb.DuckDBPyConnection, file: Path, footer: _Footer, limit: int) -> str | None:
    if footer.codecs:
        return f"it is packed by {' and '.join(sorted(footer.codecs))}, and embstore packs by Snappy alone"
    if footer.packed > (size := disk.size(file)):
        return f"its footer places {footer.packed:,.0f} bytes in a file of {size:,}"
    unpacked = footer.values if footer.values > limit else footer.values + footer.characters
    if unpacked > limit >= footer.values:
        unpacked = footer.values + _n_characters(connection, file)
    if unpacked <= limit:
        return None
    return (
        f"its {size:,} bytes would unpack to {unpacked:,.0f}, where {limit:,} are allowed (if it is what you want, set "
        f"{VARIABLE}={int(unpacked) // (1 << 20) + 1})"
    )


def _n_characters(connection: duckdb.DuckDBPyConnection, file: Path) -> float:
    """Return how many bytes the texts of a table have; infinity if it has columns that no table of a store has."""
    source = "read_parquet($file, hive_partitioning = false)"
    values = {"file": connections.literal([file])}
    columns = interruptible.rows(connection, f"DESCRIBE SELECT * FROM {source}", values)
    lengths = []
    for name, kind, *_ in columns:
        if kind in _LENGTHS:
            lengths.append(f"coalesce(sum({_LENGTHS[kind].format(connections.quote_name(name))}), 0)")
        elif kind.endswith(("]", ")")) and kind not in ("DOUBLE[]", "FLOAT[]", "BIGINT[]", "INTEGER[]"):
            return float("inf")
    found = interruptible.rows(connection, f"SELECT ({' + '.join(lengths) or '0'})::DOUBLE FROM {source}", values)
    return float(found[0][0])


def _unread(file: Path, error: duckdb.Error, remedy: str) -> Exception:
    said = str(error)
    return (
        disk.quoted(said, file)
        or connections.exhausted(error)
        or DamagedError(f"{file} is damaged: {connections.first_line(error).rstrip('.')}. {remedy}")
    )
