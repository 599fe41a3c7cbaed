"""The values of a column chunk, straight from its pages.

Shards are written plain, uncompressed and without nulls: a page is a short header, two runs of levels that say only
where each vector begins, and the values as numpy holds them. Parquet readers decode the levels value by value, which
takes more time than all the rest. Here they are skipped; the page's CRC, which is checked, vouches for them too.

Format: https://parquet.apache.org/docs/file-format/data-pages/
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zlib_ng.zlib_ng import crc32

from embstore.storage import thrift
from embstore.storage.thrift import Struct

# Fields of a page header, and the values that they have in a shard.
_TYPE, _SIZE, _STORED_SIZE, _CRC, _DATA_PAGE = 1, 2, 3, 4, 5
_COUNT, _ENCODING = 1, 2
_V1, _PLAIN = 0, 0

_DTYPES: dict[str, np.dtype[Any]] = {"FLOAT": np.dtype("<f4"), "FIXED_LEN_BYTE_ARRAY": np.dtype("<f2")}


def read_values(path: Path, column: Any) -> NDArray[np.floating]:
    """Return the values of one column chunk of vectors, read-only, shape (n · dim,), float32 or float16 as stored.

    Args:
        path: the shard.
        column: the chunk's metadata, from a footer that is sound.

    Raises:
        ValueError: a page does not agree with its CRC, or is not as shards are written.
        OSError: the file cannot be read.
    """
    size = column.total_compressed_size
    chunk = np.memmap(path, np.uint8, "r", offset=column.data_page_offset, shape=(size,)).data
    values: NDArray[np.floating] = np.empty(column.num_values, _DTYPES[column.physical_type])
    at = filled = 0
    try:
        while at < size:
            header, at = thrift.read(chunk, at)
            size_of_page = header[_STORED_SIZE][1]
            page = _values(header, chunk[at : at + size_of_page], values.dtype)
            values[filled : filled + len(page)] = page
            at += size_of_page
            filled += len(page)
    except (LookupError, TypeError) as error:
        raise ValueError("a page header cannot be read") from error
    if filled != len(values):
        raise ValueError(f"{filled} values of {len(values)}")
    values.setflags(write=False)
    return values


def _values(header: Struct, page: memoryview, dtype: np.dtype[Any]) -> NDArray[np.floating]:
    if crc32(page) != header[_CRC][1] & 0xFFFFFFFF:
        raise ValueError("a page does not agree with its CRC")
    of_data = header[_DATA_PAGE][1]
    if (header[_TYPE][1], header[_SIZE][1], of_data[_ENCODING][1]) != (_V1, len(page), _PLAIN):
        raise ValueError("a page is not plain")
    repetition = 4 + int.from_bytes(page[:4], "little")
    definition = 4 + int.from_bytes(page[repetition : repetition + 4], "little")
    values: NDArray[np.floating] = np.frombuffer(page, dtype, of_data[_COUNT][1], repetition + definition)
    return values
