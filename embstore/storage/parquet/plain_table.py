"""Read a small table of plain, uncompressed columns from its bytes, without a Parquet library.

The sums of a space are stored in such tables: loading a library takes longer than what is computed from them.

Format: https://parquet.apache.org/docs/file-format/
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.storage.parquet import thrift
from embstore.storage.parquet.reader import levels_size, plain_pages

_TAIL_BYTES = 8  # length of the footer, and "PAR1"

# Fields of the footer, of an element of its schema, of a row group, and of the metadata of a column chunk.
_SCHEMA, _ROW_GROUPS = 2, 4
_REPETITION, _N_CHILDREN = 3, 5
_COLUMNS, _N_ROWS = 1, 3
_CHUNK = 3
_TYPE, _PATH, _N_VALUES, _SIZE, _OFFSET = 1, 3, 5, 7, 9

_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<i4"), 2: np.dtype("<i8"), 5: np.dtype("<f8")}
_TEXTS = 6
_REQUIRED, _REPEATED = 0, 2
_LIST = (_REQUIRED, _REPEATED, _REQUIRED)

Values = NDArray[Any] | list[Any]


def read_plain_table(data: bytes) -> dict[str, Values]:
    """Return the columns of a table by name: arrays (n,) of numbers, and lists of n strings.

    A column of lists of the same length gives an array (n, length), or a list of n lists of strings. Whether the file
    was altered is checked by the caller.

    Args:
        data: Bytes of a Parquet file with one row group and without nulls.

    Raises:
        ValueError: It is not such a file.
    """
    length = int.from_bytes(data[-_TAIL_BYTES:-4], "little")
    if not 0 < length <= len(data) - _TAIL_BYTES:
        raise ValueError("it is cut short")
    try:
        footer: Any = thrift.read(data[-_TAIL_BYTES - length : -_TAIL_BYTES])[0]
        groups = footer[_ROW_GROUPS][1][1]
        if len(groups) != 1:
            raise ValueError("its footer does not name one row group")
        group = groups[0]
        n = group[_N_ROWS][1]
        chunks = [column[_CHUNK][1] for column in group[_COLUMNS][1][1]]
        names = [chunk[_PATH][1][1][0].decode() for chunk in chunks]
        depths = _depths(footer[_SCHEMA][1][1])
        if sum(chunk[_SIZE][1] for chunk in chunks) > len(data):  # else several could share the same pages
            raise ValueError("its columns are larger than the file")
        return {
            name: _column(memoryview(data), chunk, n, is_list=depth == len(_LIST))
            for name, chunk, depth in zip(names, chunks, depths, strict=True)
        }
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("its footer cannot be read") from error


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


def _column(data: memoryview, chunk: Any, n: int, *, is_list: bool) -> Values:
    """Return the values of a column in ``n`` rows."""
    kind, n_values, size, begin = (chunk[field][1] for field in (_TYPE, _N_VALUES, _SIZE, _OFFSET))
    if not 0 < n <= n_values <= len(data) or n_values % n or not 0 <= begin <= begin + size <= len(data):
        raise ValueError("a column is not inside the file, or its lists differ in length")
    texts: list[str] = []
    numbers: list[NDArray[Any]] = []
    for page, count in plain_pages(data[begin : begin + size]):
        values = page[levels_size(page) if is_list else 0 :]
        if kind == _TEXTS:
            texts += _texts(values, count)
        elif len(values) != count * _DTYPES[kind].itemsize:
            raise ValueError(f"a page of {len(values)} bytes does not have {count} values")
        else:
            of_page: NDArray[Any] = np.frombuffer(values, _DTYPES[kind])
            numbers.append(of_page)
    width = n_values // n
    if kind != _TEXTS:
        found = np.concatenate(numbers)
        return found.reshape(n, width) if is_list else found.reshape(n)
    if len(texts) != n_values:
        raise ValueError(f"{len(texts)} texts of {n_values}")
    return [texts[at : at + width] for at in range(0, n_values, width)] if is_list else texts


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
