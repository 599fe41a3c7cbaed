"""Read a small table of plain, uncompressed columns from its bytes, without a Parquet library.

The sums of a space are stored in such tables: loading a library takes longer than what is computed from them.

Format: https://parquet.apache.org/docs/file-format/
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from numpy.typing import NDArray

from embstore.storage.parquet import thrift
from embstore.storage.parquet.footer import Chunk, chunk_of
from embstore.storage.parquet.reader import copied_values, levels_size, plain_pages

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

    Args:
        data: Bytes of a Parquet file with one row group and without nulls.

    Raises:
        ValueError: It is not such a file.
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
