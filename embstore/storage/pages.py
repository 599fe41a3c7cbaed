"""The values of a column chunk, straight from its pages.

Shards are written plain, uncompressed and without nulls: a page is a short header, two runs of levels that say only
where each vector begins, and the values as numpy holds them. Parquet readers decode the levels value by value, which
takes more time than all the rest. Here they are skipped; the page's CRC, which is checked, vouches for them too.

Format: https://parquet.apache.org/docs/file-format/data-pages/, its headers in Thrift's compact protocol:
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Fields of a page header, and the values that they have in a shard.
_TYPE, _SIZE, _STORED_SIZE, _CRC, _DATA_PAGE = 1, 2, 3, 4, 5
_COUNT, _ENCODING = 1, 2
_V1, _PLAIN = 0, 0

_DTYPES: dict[str, np.dtype[Any]] = {"FLOAT": np.dtype("<f4"), "FIXED_LEN_BYTE_ARRAY": np.dtype("<f2")}

Header = dict[int, Any]


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
            header, at = _struct(chunk, at)
            page = _values(header, chunk[at : at + header[_STORED_SIZE]], values.dtype)
            values[filled : filled + len(page)] = page
            at += header[_STORED_SIZE]
            filled += len(page)
    except (LookupError, TypeError) as error:
        raise ValueError("a page header cannot be read") from error
    if filled != len(values):
        raise ValueError(f"{filled} values of {len(values)}")
    values.setflags(write=False)
    return values


def _values(header: Header, page: memoryview, dtype: np.dtype[Any]) -> NDArray[np.floating]:
    if zlib.crc32(page) != header[_CRC] & 0xFFFFFFFF:
        raise ValueError("a page does not agree with its CRC")
    of_data = header[_DATA_PAGE]
    if (header[_TYPE], header[_SIZE], of_data[_ENCODING]) != (_V1, header[_STORED_SIZE], _PLAIN):
        raise ValueError("a page is not plain")
    repetition = 4 + int.from_bytes(page[:4], "little")
    definition = 4 + int.from_bytes(page[repetition : repetition + 4], "little")
    values: NDArray[np.floating] = np.frombuffer(page, dtype, of_data[_COUNT], repetition + definition)
    return values


def _struct(data: memoryview, at: int) -> tuple[Header, int]:
    """Return the fields of a Thrift struct by their numbers, and where it ends."""
    fields: Header = {}
    number = 0
    while head := data[at]:
        at += 1
        number += head >> 4  # of every field of these structs; a longer step has its number apart
        kind = head & 0xF
        if kind in (5, 6):
            zigzag, at = _varint(data, at)
            fields[number] = (zigzag >> 1) ^ -(zigzag & 1)
        elif kind == 12:
            fields[number], at = _struct(data, at)
        else:
            raise ValueError("a page header cannot be read")
    return fields, at + 1


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
