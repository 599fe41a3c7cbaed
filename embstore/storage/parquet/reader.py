"""Read the values of a column chunk, or a small table, directly from its pages.

Shards are written with plain encoding, uncompressed and without nulls: a page is a short header, for vectors two runs
of levels that only mark where each begins, and the values as numpy stores them. Parquet readers decode the levels value
by value, which takes longer than everything else. Here they are skipped; the page's CRC, which is checked, covers them.
The sums of a space are in small tables of such columns: to load a library takes longer than what is computed from them.

Format: https://parquet.apache.org/docs/file-format/data-pages/
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zlib_ng.zlib_ng import crc32

from embstore.base import disk
from embstore.storage.parquet import thrift
from embstore.storage.parquet.footer import Chunk, chunk_of

# Fields of a page header, and their values in a shard.
_TYPE, _SIZE, _STORED_SIZE, _CRC, _DATA_PAGE = 1, 2, 3, 4, 5
_COUNT, _ENCODING = 1, 2
_V1, _PLAIN = 0, 0
_MAX_HEADER_BYTES = 4096  # about 40 in shards

_IDS = "INT64"
_DTYPES: dict[str, np.dtype[Any]] = {
    "FLOAT": np.dtype("<f4"),
    "FIXED_LEN_BYTE_ARRAY": np.dtype("<f2"),
    "INT32": np.dtype("<i4"),
    "DOUBLE": np.dtype("<f8"),
    _IDS: np.dtype("<i8"),
}


def read_values(path: Path, column: Any) -> NDArray[Any]:
    """Return the values of one column chunk as a read-only array.

    The column ``vector`` gives float32 or float16 of shape (n · dim,), ``item_id`` int64 of shape (n,).
    """
    with _mapped(path, column) as chunk:
        return copied_values(chunk, column, has_levels=column.physical_type != _IDS)


def read_rows(path: Path, column: Any, rows: NDArray[np.int64], dim: int) -> NDArray[np.float32]:
    """Return some vectors (m, dim) of a column chunk; only their pages are read.

    Args:
        path: Shard file.
        column: Metadata of the chunk, from a footer that was checked.
        rows: Positions of the vectors in the chunk (m,), ascending.
        dim: Number of components.

    Raises:
        ValueError: A page that is read does not match its CRC, or the chunk is not in the format of shards.
        FileAccessError: The file cannot be read.
    """
    found, n_found, start = np.empty((len(rows), dim), np.float32), 0, 0
    with _mapped(path, column) as chunk:
        for page, count, crc in _unchecked_pages(chunk):
            stop = start + count // dim
            own = rows[n_found : np.searchsorted(rows, stop)] - start
            if len(own):
                _check_crc(page, crc)
                values = np.frombuffer(page, _DTYPES[column.physical_type], count, levels_size(page))
                found[n_found : n_found + len(own)] = values.reshape(-1, dim)[own]
            n_found, start = n_found + len(own), stop
    if start * dim != column.num_values or n_found < len(rows):
        raise ValueError(f"{start} vectors of {dim} components are not {column.num_values} values")
    return found


@contextmanager
def _mapped(path: Path, column: Any) -> Iterator[memoryview]:
    """Map the bytes of a column chunk within the context."""
    offset, size = column.data_page_offset, column.total_compressed_size
    with disk.reading(path, [(offset, offset + size)]) as file:
        if not 0 <= offset <= offset + size <= file.seek(0, os.SEEK_END):
            raise ValueError("a column is not inside the file")
        yield np.memmap(file, np.uint8, "r", offset=offset, shape=(size,)).data if size else memoryview(b"")


def copied_values(chunk: memoryview, column: Any, *, has_levels: bool) -> NDArray[Any]:
    """Return the values of a column chunk, of which the bytes may change afterwards; lists have levels."""
    dtype = _DTYPES.get(column.physical_type)
    if dtype is None or not 0 <= column.num_values * dtype.itemsize <= len(chunk):
        raise ValueError(f"a column cannot hold {column.num_values} values of the type {column.physical_type}")
    values: NDArray[Any] = np.empty(column.num_values, dtype)
    filled = 0
    for page, count in plain_pages(chunk):
        part = np.frombuffer(page, dtype, count, levels_size(page) if has_levels else 0)
        if filled + len(part) > len(values):
            raise ValueError(f"more than {len(values)} values")
        values[filled : filled + len(part)] = part
        filled += len(part)
    if filled != len(values):
        raise ValueError(f"{filled} values of {len(values)}")
    values.setflags(write=False)
    return values


def plain_pages(chunk: memoryview) -> Iterator[tuple[memoryview, int]]:
    """Yield each page of a column chunk, after its CRC is checked, and the number of its values."""
    for page, count, crc in _unchecked_pages(chunk):
        _check_crc(page, crc)
        yield page, count


def _check_crc(page: memoryview, crc: int) -> None:
    if crc32(page) != crc & 0xFFFFFFFF:
        raise ValueError("a page does not agree with its CRC")


def _unchecked_pages(chunk: memoryview) -> Iterator[tuple[memoryview, int, int]]:
    """Yield each page of a column chunk, the number of its values, and its CRC, which is not checked yet."""
    at = 0
    while at < len(chunk):
        (kind, size, stored_size, crc, count, encoding), n_bytes = _page_header(chunk[at : at + _MAX_HEADER_BYTES])
        at += n_bytes
        page = chunk[at : at + max(0, stored_size)]
        if (kind, size, stored_size, encoding) != (_V1, len(page), len(page), _PLAIN):
            raise ValueError("a page is not plain")
        if not 0 <= count <= len(page):
            raise ValueError(f"a page of {len(page)} bytes cannot hold {count} values")
        yield page, count, crc
        at += len(page)


def _page_header(data: memoryview) -> tuple[list[int], int]:
    """Parse the page header at the start of some bytes, and return its fields and its length in bytes."""
    with thrift.readable("a page header"):
        header, n_bytes = thrift.read(data)
        of_data = header[_DATA_PAGE][1]
        fields = [*(header[field] for field in (_TYPE, _SIZE, _STORED_SIZE, _CRC)), of_data[_COUNT], of_data[_ENCODING]]
        values = [value for kind, value in fields if kind == thrift.I32]
    if len(values) < len(fields):
        raise ValueError("a page header has fields of another type")
    return values, n_bytes


def levels_size(page: memoryview) -> int:
    """Return the size in bytes of both runs of levels, including the length before each."""
    repetition = 4 + int.from_bytes(page[:4], "little")
    return repetition + 4 + int.from_bytes(page[repetition : repetition + 4], "little")


# Fields of an element of a schema.
_REPETITION, _N_CHILDREN = 3, 5
_TEXTS = "BYTE_ARRAY"
_REQUIRED, _REPEATED = 0, 2
_LIST = (_REQUIRED, _REPEATED, _REQUIRED)

Values = NDArray[Any] | list[Any]


def read_plain_table(data: bytes) -> dict[str, Values]:
    """Return the columns of a table by name: arrays (n,) of numbers, and lists of n strings.

    A column of lists of the same length gives an array (n, length), or a list of n lists of strings. Whether the file
    was altered is checked by the caller.

    Raise ValueError unless the file has one row group and no nulls.
    """
    with thrift.readable("its footer"):
        footer = thrift.footer(data)
        groups = footer[thrift.ROW_GROUPS][1][1]
        if len(groups) != 1:
            raise ValueError("its footer does not name one row group")
        n = groups[0][thrift.N_ROWS][1]
        metas = [column[thrift.META][1] for column in groups[0][thrift.COLUMNS][1][1]]
        names, chunks = [meta[thrift.PATH][1][1][0].decode() for meta in metas], [*map(chunk_of, metas)]
        depths = _depths(footer[thrift.SCHEMA][1][1])
        if sum(chunk.total_compressed_size for chunk in chunks) > len(data):  # else several could share the same pages
            raise ValueError("its columns are larger than the file")
        return {
            name: _column(memoryview(data), chunk, n, is_list=depth == len(_LIST))
            for name, chunk, depth in zip(names, chunks, depths, strict=True)
        }


def _depths(elements: list[Any]) -> Iterator[int]:
    """Yield the number of schema elements of each column: 1, or 3 for lists; raise ValueError for nullable columns."""
    members = iter(elements)
    next(members)  # the root
    for element in members:
        depth = len(_LIST) if _N_CHILDREN in element else 1
        path = [element, *islice(members, depth - 1)]
        if tuple(member[_REPETITION][1] for member in path) != _LIST[:depth]:
            raise ValueError("a column is nullable or nested")
        yield depth


def _column(data: memoryview, chunk: Chunk, n: int, *, is_list: bool) -> Values:
    """Return the values of a column in ``n`` rows."""
    begin, end = chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
    if not 0 < n <= chunk.num_values <= len(data) or chunk.num_values % n or end > len(data):
        raise ValueError("a column is not inside the file, or its lists differ in length")
    pages, width = data[begin:end], chunk.num_values // n
    if chunk.physical_type != _TEXTS:
        numbers = copied_values(pages, chunk, has_levels=is_list)
        return numbers.reshape(n, width) if is_list else numbers.reshape(n)
    texts: list[str] = []
    for page, count in plain_pages(pages):
        texts += _texts(page[levels_size(page) if is_list else 0 :], count)
    if len(texts) != chunk.num_values:
        raise ValueError(f"{len(texts)} texts of {chunk.num_values}")
    return [texts[at : at + width] for at in range(0, len(texts), width)] if is_list else texts


def _texts(page: memoryview, count: int) -> list[str]:
    """Return the strings of a page, each of which is after its length in bytes."""
    found, at = [], 0
    for _ in range(count):
        begin = at + 4
        at = begin + int.from_bytes(page[at:begin], "little")
        found.append(str(page[begin:at], "utf-8"))
    if at != len(page):
        raise ValueError("the texts of a page do not fill it")
    return found
