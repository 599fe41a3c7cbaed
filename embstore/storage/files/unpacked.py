"""Limit the decompressed size of small tables, before any of it is in memory.

A few kilobytes can decompress to gigabytes: a codec compresses zeros ten thousandfold, a run of one value takes the
same bytes at any length, and a dictionary repeats a text for one bit. Readers allocate the size in each page's header,
whatever the footer says; so these sizes are added up, without decompressing, and texts in dictionaries are counted.

Format: https://parquet.apache.org/docs/file-format/
"""

import mmap
import os
from collections.abc import Iterable
from pathlib import Path

from embstore.base import disk
from embstore.base.errors import DamagedError, UsageError
from embstore.storage.parquet import thrift
from embstore.storage.sql import connections, interruptible

VARIABLE = "EMBSTORE_UNPACKED_MIB"
"""Environment variable: MiB that any table may unpack to; by default 64."""

_DEFAULT_MIB = 64
_RATIO = 200
"""A table may also unpack to so many times its size."""
VALUE_BYTES = 8
"""Memory of a value beside its text: an offset, or a null that takes no room in the file."""

_MAX_FOOTER_BYTES, _MAX_HEADER_BYTES = 4 << 20, 1 << 16

_TEXT_TYPES = (6, 7)  # BYTE_ARRAY and FIXED_LEN_BYTE_ARRAY
_LISTS = ("DOUBLE[]", "FLOAT[]", "BIGINT[]", "INTEGER[]")

# Fields of a page header: its type, both sizes, and the header of its type, by type with the field of the encoding.
_PAGE_TYPE, _UNPACKED_SIZE, _STORED_SIZE, _N_IN_PAGE = 1, 2, 3, 1
_DICTIONARY_PAGE = 2
_HEADERS = {0: (5, 2), _DICTIONARY_PAGE: (7, 2), 3: (8, 4)}
_ENCODINGS = (0, 2, 3, 8)  # plain, dictionary and run-length: no value is larger than its page or dictionary


def check_unpacked(files: Iterable[Path], remedy: str) -> None:
    """Check that small tables do not decompress to more than their sizes allow."""
    for file in files:
        if problem := unpacked_problem(file):
            raise DamagedError(f"{file} is damaged: {problem}. {remedy}")


def unpacked_problem(file: Path) -> str | None:
    """Return a description of the problem if a small table would decompress to too much or is unreadable, or None."""
    size = disk.size(file)
    limit = max(unpacked_limit(), _RATIO * size)
    try:
        unpacked, repeated = _unpacked_size(file)
        if unpacked <= limit < unpacked + repeated:
            unpacked += _text_bytes(file)
    except ValueError as error:
        return str(error)
    if unpacked <= limit:
        return None
    return (
        f"its {size:,} bytes would unpack to {unpacked:,} or more, where {limit:,} are allowed (if it is what you "
        f"want, set {VARIABLE}={(unpacked >> 20) + 1} or more)"
    )


def unpacked_limit() -> int:
    """Return the size that any table may unpack to, in bytes; raise UsageError if the variable is not a number."""
    value = os.environ.get(VARIABLE) or str(_DEFAULT_MIB)
    if not value.isascii() or not value.isdigit():
        raise UsageError(f"{VARIABLE} is {value!r}: give a number of MiB, as {_DEFAULT_MIB}.")
    return int(value) << 20


def _unpacked_size(path: Path) -> tuple[int, int]:
    """Return the bytes of a file's pages and values, and the most that texts repeated from dictionaries can add."""
    n_bytes = repeated = packed = 0
    with disk.reading(path) as file:
        size = file.seek(0, os.SEEK_END)
        if size < thrift.TAIL_BYTES:
            raise ValueError("it is cut short")
        with (
            mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data,
            thrift.readable("its footer or the header of a page"),
        ):
            for group in thrift.footer(data, _MAX_FOOTER_BYTES)[thrift.ROW_GROUPS][1][1]:
                for chunk in (column[thrift.META][1] for column in group[thrift.COLUMNS][1][1]):
                    n_values = max(_number(group, thrift.N_ROWS), _number(chunk, thrift.N_VALUES))
                    if not n_values:
                        continue  # readers skip its pages
                    packed += _number(chunk, thrift.PACKED)
                    if packed > size:  # else several chunks could share the same pages
                        raise ValueError(f"its footer places {packed:,} bytes or more in a file of {size:,}")
                    in_pages, in_dictionary = _pages(data, chunk)
                    n_bytes += in_pages + n_values * VALUE_BYTES
                    repeated += n_values * in_dictionary if chunk[thrift.TYPE][1] in _TEXT_TYPES else 0
    return n_bytes, repeated


def _pages(data: mmap.mmap, chunk: thrift.Struct) -> tuple[int, int]:
    """Return the bytes of a chunk's pages, and those of its dictionary."""
    n_values, first = _number(chunk, thrift.N_VALUES), _number(chunk, thrift.DATA_OFFSET)
    begin = _number(chunk, thrift.DICTIONARY_OFFSET) if thrift.DICTIONARY_OFFSET in chunk else first
    at, end = begin, begin + _number(chunk, thrift.PACKED)
    n_bytes = in_dictionary = 0
    while at < end:
        header, n_header = thrift.read(data[at : min(end, at + _MAX_HEADER_BYTES)])
        kind, n_unpacked = _number(header, _PAGE_TYPE), _number(header, _UNPACKED_SIZE)
        field, encoding = _HEADERS[kind]
        of_kind = header[field][1]
        if _number(of_kind, encoding) not in _ENCODINGS:
            raise ValueError("a page has an encoding that embstore does not use")
        if (kind == _DICTIONARY_PAGE) != (at < first):
            raise ValueError("a dictionary is not where its footer says")
        n_bytes += n_unpacked
        if kind == _DICTIONARY_PAGE:
            n_bytes += _number(of_kind, _N_IN_PAGE) * VALUE_BYTES
            in_dictionary += n_unpacked
        else:
            n_values -= _number(of_kind, _N_IN_PAGE)
        at += n_header + _number(header, _STORED_SIZE)
    if at != end or n_values:
        raise ValueError("the pages of a column are not those that its footer says")
    return n_bytes, in_dictionary


def _number(struct: thrift.Struct, field: int) -> int:
    """Return a non-negative integer field; raise ValueError for any other value."""
    value = struct[field][1]
    if not isinstance(value, int) or value < 0:
        raise ValueError("a number in its footer, or in the header of a page, is none")
    return value


def _text_bytes(file: Path) -> int:
    """Return how many bytes the texts of a table have, which DuckDB counts without repeating those of a dictionary."""
    import duckdb

    connection = connections.open_shared().cursor()
    source, values = "read_parquet($file, hive_partitioning = false)", {"file": connections.literal([file])}
    try:
        lengths = ["0"]
        for name, kind, *_ in interruptible.rows(connection, f"DESCRIBE SELECT * FROM {source}", values):
            if kind == "VARCHAR":
                lengths.append(f"coalesce(sum(strlen({connections.quote_name(name)})), 0)")
            elif kind == "BLOB" or (kind.endswith(("]", ")")) and kind not in _LISTS):
                raise ValueError("its columns are not those of the format")
        count = f"SELECT ({' + '.join(lengths)})::HUGEINT FROM {source}"
        [(found,)] = interruptible.rows(connection, count, values)
    except duckdb.Error as error:
        if refused := disk.quoted_error(str(error), file) or connections.exhausted(error):
            raise refused from error
        raise ValueError(connections.first_line(error).rstrip(".")) from error
    return int(found)
