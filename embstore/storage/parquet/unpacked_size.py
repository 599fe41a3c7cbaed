"""Compute the decompressed size of a Parquet file from the headers of its pages.

A few kilobytes can decompress to gigabytes: a codec compresses zeros ten thousandfold, a run of one value takes the
same bytes at any length, and a dictionary repeats a text for one bit. The sizes in the footer are no bound, since
readers do not rely on them: they allocate the size in each page's header, and fail if a page decompresses to more. So
the sizes in the headers are summed here, without decompressing.

Format: https://parquet.apache.org/docs/file-format/
"""

import mmap
from pathlib import Path
from typing import Any, NamedTuple

from embstore.base import disk
from embstore.storage.parquet import thrift

_TAIL_BYTES = 8  # length of the footer, and "PAR1"
_MOST_FOOTER_BYTES = 4 << 20
_MOST_HEADER_BYTES = 1 << 16

# Fields of the footer, of a row group, and of the metadata of a column chunk.
_ROW_GROUPS = 4
_COLUMNS, _N_ROWS = 1, 3
_CHUNK = 3
_TYPE, _PATH, _N_VALUES, _PACKED, _DATA_OFFSET, _DICTIONARY_OFFSET = 1, 3, 5, 7, 9, 11
_BOOLEAN = 0
_OF_TEXTS = (6, 7)  # BYTE_ARRAY and FIXED_LEN_BYTE_ARRAY

# Fields of a page header: both sizes, and the headers of the three kinds of pages, with the number of values in each.
_UNPACKED_SIZE, _STORED_SIZE = 2, 3
_N_IN_PAGE = 1
_DATA, _DICTIONARY, _DATA_V2 = 5, 7, 8
_KINDS = {0: (_DATA, 2), 2: (_DICTIONARY, 2), 3: (_DATA_V2, 4)}  # by page type: fields of header and encoding
_ENCODINGS = (0, 2, 3, 8)  # plain, dictionary and run-length: no value is larger than its page or dictionary

_VALUE_BYTES, _ROW_BYTES, _PAGE_BYTES = 8, 32, 1 << 14
"""Memory of a value, of each row of a column of texts or lists, and of a reader's overhead per page, in bytes."""


class UnpackedSize(NamedTuple):
    """Decompressed size of a file.

    Attributes:
        n_bytes: Size in bytes of the pages, and of their values in memory without the texts in dictionaries.
        texts: Upper bound in bytes on these texts: each value counted with the size of its whole dictionary.
    """

    n_bytes: int
    texts: int


def unpacked_size(path: Path, limit: int) -> UnpackedSize:
    """Return the decompressed size of a file; if it exceeds a limit, the size of a part that exceeds it.

    Args:
        path: Parquet file.
        limit: Size in bytes at which to stop.

    Raises:
        ValueError: The pages are not where the footer says, differ from it in number, or cannot be read.
        FileAccessError: The system cannot read the file.
    """
    with disk.reading(path) as file:
        size = file.seek(0, 2)
        if size < _TAIL_BYTES:
            raise ValueError("it is cut short")
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
            try:
                return _sum(data, size, limit)
            except (LookupError, TypeError, RecursionError) as error:
                raise ValueError("its footer or the header of a page cannot be read") from error


def _sum(data: mmap.mmap, size: int, limit: int) -> UnpackedSize:
    """Return the decompressed size of a mapped file of ``size`` bytes; stop above the limit."""
    n_bytes = texts = packed = 0
    for group in _list(_footer(data, size), _ROW_GROUPS):
        n_rows = _integer(group, _N_ROWS)
        for column in _list(group, _COLUMNS):
            chunk = _struct(column, _CHUNK)
            if not n_rows and not _integer(chunk, _N_VALUES):
                continue  # readers skip its pages
            packed += _integer(chunk, _PACKED)
            if packed > size:  # else several chunks could share the same pages
                raise ValueError(f"its footer places {packed:,} bytes or more in a file of {size:,}")
            n_values = max(_integer(chunk, _N_VALUES), n_rows)
            in_pages, in_dictionary = _pages(data, chunk, limit - n_bytes)
            kind, is_list = _integer(chunk, _TYPE), len(chunk[_PATH][1][1]) > 1
            n_bytes += n_values * (1 if kind == _BOOLEAN else _VALUE_BYTES) + in_pages
            n_bytes += n_rows * _ROW_BYTES if kind in _OF_TEXTS or is_list else 0
            if n_bytes > limit:
                return UnpackedSize(n_bytes, 0)
            texts += n_values * in_dictionary if kind in _OF_TEXTS else 0
    return UnpackedSize(n_bytes, texts)


def _footer(data: mmap.mmap, size: int) -> thrift.Struct:
    """Return the decoded footer of a mapped file."""
    length = int.from_bytes(data[size - _TAIL_BYTES : size - 4], "little")
    if not 0 < length <= min(size - _TAIL_BYTES, _MOST_FOOTER_BYTES):
        raise ValueError(f"its footer claims {length:,} bytes")
    return thrift.read(data[size - _TAIL_BYTES - length : size - _TAIL_BYTES])[0]


def _pages(data: mmap.mmap, chunk: thrift.Struct, limit: int) -> tuple[int, int]:
    """Return the memory of a chunk's pages, and the size of its dictionary, both in bytes; stop above the limit."""
    n_remaining, first = _integer(chunk, _N_VALUES), _integer(chunk, _DATA_OFFSET)
    begin = _integer(chunk, _DICTIONARY_OFFSET) if _DICTIONARY_OFFSET in chunk else first
    at, end = begin, begin + _integer(chunk, _PACKED)
    n_bytes = in_dictionary = 0
    while at < end and n_bytes <= limit:
        header, n_header = thrift.read(data[at : min(end, at + _MOST_HEADER_BYTES)])
        field, encoding = _KINDS[_integer(header, 1)]
        of_kind, n_unpacked = _struct(header, field), _integer(header, _UNPACKED_SIZE)
        if _integer(of_kind, encoding) not in _ENCODINGS:
            raise ValueError("a page has an encoding that embstore does not use")
        n_bytes += n_unpacked + _PAGE_BYTES
        if at == begin < first:
            n_bytes += _integer(of_kind, _N_IN_PAGE) * _VALUE_BYTES
            in_dictionary = n_unpacked
        else:
            n_remaining -= _integer(of_kind, _N_IN_PAGE)
        if (field == _DICTIONARY) != (at < first):
            raise ValueError("a dictionary is not where its footer says")
        at += n_header + _integer(header, _STORED_SIZE)
    if n_bytes <= limit and (at != end or n_remaining):
        raise ValueError("the pages of a column are not those that its footer says")
    return n_bytes, in_dictionary


def _integer(struct: thrift.Struct, field: int) -> int:
    """Return a non-negative integer field; raise ValueError for any other value."""
    kind, value = struct[field]
    if kind not in (thrift.I32, thrift.I64) or value < 0:
        raise ValueError("a number in its footer, or in the header of a page, is none")
    return int(value)


def _struct(struct: thrift.Struct, field: int) -> thrift.Struct:
    """Return a struct field; raise TypeError for another type."""
    kind, value = struct[field]
    if kind != thrift.STRUCT:
        raise TypeError(kind)
    found: thrift.Struct = value
    return found


def _list(struct: thrift.Struct, field: int) -> list[Any]:
    """Return a field that is a list of structs; raise TypeError for another type."""
    kind, (element_kind, elements) = struct[field]
    if kind != thrift.LIST or (elements and element_kind != thrift.STRUCT):
        raise TypeError(kind)
    found: list[Any] = elements
    return found
