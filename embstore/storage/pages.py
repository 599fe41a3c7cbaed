"""The values of a column chunk, straight from its pages.

Shards are written plain, uncompressed and without nulls: a page is a short header, of vectors two runs of levels that
say only where each begins, and the values as numpy holds them. Parquet readers decode the levels value by value, which
takes more time than all the rest. Here they are skipped; the page's CRC, which is checked, vouches for them too.

Format: https://parquet.apache.org/docs/file-format/data-pages/
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zlib_ng.zlib_ng import crc32

from embstore import disk
from embstore.storage import thrift
from embstore.storage.thrift import Struct

# Fields of a page header, and the values that they have in a shard.
_TYPE, _SIZE, _STORED_SIZE, _CRC, _DATA_PAGE = 1, 2, 3, 4, 5
_COUNT, _ENCODING = 1, 2
_V1, _PLAIN = 0, 0

_IDS = "INT64"
_DTYPES: dict[str, np.dtype[Any]] = {
    "FLOAT": np.dtype("<f4"),
    "FIXED_LEN_BYTE_ARRAY": np.dtype("<f2"),
    _IDS: np.dtype("<i8"),
}


def read_values(path: Path, column: Any) -> NDArray[Any]:
    """Return the values of one column chunk, read-only, as they are stored.

    Of the column ``vector`` float32 or float16 of shape (n · dim,), of ``item_id`` int64 of shape (n,).

    Args:
        path: the shard.
        column: the chunk's metadata, from a footer that is sound.

    Raises:
        ValueError: a page does not agree with its CRC, or is not as shards are written.
        FileAccessError: the file cannot be read.
    """
    size = column.total_compressed_size
    with disk.reading(path) as file:
        chunk = np.memmap(file, np.uint8, "r", offset=column.data_page_offset, shape=(size,)).data
    values: NDArray[Any] = np.empty(column.num_values, _DTYPES[column.physical_type])
    at = filled = 0
    try:
        while at < size:
            header, at = thrift.read(chunk, at)
            size_of_page = header[_STORED_SIZE][1]
            page = chunk[at : at + size_of_page]
            _check(header, page)
            levels = 0 if column.physical_type == _IDS else _levels(page)
            part = np.frombuffer(page, values.dtype, header[_DATA_PAGE][1][_COUNT][1], levels)
            values[filled : filled + len(part)] = part
            at += size_of_page
            filled += len(part)
    except (LookupError, TypeError, RecursionError) as error:
        raise ValueError("a page header cannot be read") from error
    if filled != len(values):
        raise ValueError(f"{filled} values of {len(values)}")
    values.setflags(write=False)
    return values


def _check(header: Struct, page: memoryview) -> None:
    if crc32(page) != header[_CRC][1] & 0xFFFFFFFF:
        raise ValueError("a page does not agree with its CRC")
    of_data = header[_DATA_PAGE][1]
    if (header[_TYPE][1], header[_SIZE][1], of_data[_ENCODING][1]) != (_V1, len(page), _PLAIN):
        raise ValueError("a page is not plain")


def _levels(page: memoryview) -> int:
    """Return how many bytes the levels take, each run with its length before it."""
    repetition = 4 + int.from_bytes(page[:4], "little")
    return repetition + 4 + int.from_bytes(page[repetition : repetition + 4], "little")
