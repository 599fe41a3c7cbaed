"""Write the Parquet file of a shard, byte for byte as pyarrow does, about as fast as its values can be hashed.

pyarrow encodes the levels of every component again, although in a shard they only mark where each vector begins and
ends: that takes longer than everything else. Here pyarrow writes one row group of zeros, which serves as the template
of all row groups with as many rows, and the columns beside the vectors; the values, their CRCs and the offsets are
filled in.

Format: https://parquet.apache.org/docs/file-format/, structs: https://github.com/apache/parquet-format, file
``parquet.thrift``.

Between Python, NumPy and Arrow, the functions at the end convert without pandas, which ``pa.array`` and ``to_numpy``
import where it is installed, to see whether it is in use: 50 MB and 0.3 s.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from zlib_ng.zlib_ng import crc32

from embstore.base import checksum
from embstore.storage.parquet import thrift
from embstore.storage.parquet.thrift import I32, Buffer, Struct

ROW_GROUP_ROWS = 1024

WRITER_OPTIONS = {
    "compression": "NONE",
    "use_dictionary": False,
    "write_statistics": ["layer", "item_id"],
    "write_page_checksum": True,
    "write_page_index": False,
    "data_page_version": "1.0",
}
_MAGIC = b"PAR1"

# Field numbers of the structs in parquet.thrift.
_GROUP_BYTES, _GROUP_OFFSET, _GROUP_STORED_BYTES = 2, 5, 6  # RowGroup
_PAGE_BYTES, _CRC, _DATA_PAGE = 3, 4, 5  # PageHeader
_PAGE_VALUES = 1  # DataPageHeader


class ShardFile:
    """Writer of a shard file, layer by layer.

    Args:
        file: Empty file, open for writing.
        schema: Schema of the shard: the columns layer, item_id and vector.
        layers: Layer ids, in the order in which they are written.
        item_ids: Item ids, int64 (n,), ascending; the same for every layer.
    """

    def __init__(self, file: BinaryIO, schema: pa.Schema, layers: Sequence[int], item_ids: NDArray[np.int64]) -> None:
        self._file, self._schema = file, schema
        self._digest = hashlib.sha256()
        self._at = 0
        self._beside = _narrow_columns(schema, layers, item_ids)
        self._groups = iter(_row_groups(self._beside))
        self._written: list[Struct] = []
        self._put(_MAGIC)

    def write(self, rows: NDArray[np.floating]) -> None:
        """Write the vectors (n, dim) of the next layer, in the order of the item ids and in the dtype of the schema."""
        values = np.ascontiguousarray(rows).view(np.uint8).reshape(-1).data
        row_bytes = rows.shape[1] * rows.itemsize
        for start in range(0, len(rows), ROW_GROUP_ROWS):
            n = min(ROW_GROUP_ROWS, len(rows) - start)
            self._write_group(_stamp(self._schema, n), values[start * row_bytes : (start + n) * row_bytes])

    def close(self) -> str:
        """Write the footer with its hash, and return the SHA-256 of the file."""
        footer = thrift.footer(_written(self._schema, []))
        kind, _ = footer[thrift.ROW_GROUPS][1]
        footer[thrift.ROW_GROUPS] = thrift.LIST, (kind, self._written)
        footer[thrift.N_ROWS] = thrift.I64, thrift.footer(self._beside)[thrift.N_ROWS][1]
        data = thrift.write(footer)
        self._put(checksum.with_checksum(data + len(data).to_bytes(4, "little") + _MAGIC))
        return self._digest.hexdigest()

    def _write_group(self, stamp: "_Stamp", values: memoryview) -> None:
        """Write a row group: the columns layer and item_id, then the vectors, given as bytes."""
        group = next(self._groups)
        narrow = group[thrift.COLUMNS][1][1]
        began = self._at
        for column in narrow:
            meta = column[thrift.META][1]
            chunk = self._beside[meta[thrift.DATA_OFFSET][1] :][: meta[thrift.UNPACKED][1]]
            _move(meta, self._at, len(chunk))
            self._put(chunk)
        first = self._at
        done = 0
        for page in stamp.pages:
            part = values[done : done + page.n_bytes]
            done += page.n_bytes
            self._put(page.header(crc32(part, page.crc)))
            self._put(page.levels)
            self._put(part)
        vector = thrift.read(stamp.column)[0]
        _move(vector[thrift.META][1], first, self._at - first)
        kind, _ = group[thrift.COLUMNS][1]
        group[thrift.COLUMNS] = thrift.LIST, (kind, [*narrow, vector])
        group[_GROUP_OFFSET] = thrift.I64, began
        group[_GROUP_BYTES] = group[_GROUP_STORED_BYTES] = thrift.I64, self._at - began
        self._written.append(group)

    def _put(self, data: Buffer) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._at += len(data)


@dataclass(frozen=True, slots=True)
class _Page:
    """Page of vectors without its values."""

    head: Struct  # page header, with a placeholder as CRC
    levels: bytes  # bytes between the header and the values
    crc: int  # CRC-32 of the levels
    n_bytes: int  # size of the values in bytes

    def header(self, crc: int) -> bytes:
        """Return the encoded page header with the given CRC of levels and values."""
        signed = crc - (1 << 32) if crc >> 31 else crc
        return thrift.write({**self.head, _CRC: (I32, signed)})


@dataclass(frozen=True, slots=True)
class _Stamp:
    """Template of a column chunk of vectors: the chunk without its values."""

    column: bytes
    pages: tuple[_Page, ...]


@lru_cache(16)
def _stamp(schema: pa.Schema, n: int) -> _Stamp:
    """Return the template of the vectors' column chunk for all row groups of n rows."""
    vector = schema.field("vector").type
    dtype = numpy_type(vector.value_type)
    zeros = pa.FixedSizeListArray.from_arrays(from_numpy(np.zeros(n * vector.list_size, dtype)), type=vector)
    narrow = [from_numpy(np.zeros(n, numpy_type(field.type))) for field in list(schema)[:-1]]
    data = _written(schema, [pa.record_batch([*narrow, zeros], schema=schema)])
    [group] = _row_groups(data)
    column = group[thrift.COLUMNS][1][1][-1]
    meta = column[thrift.META][1]
    at = meta[thrift.DATA_OFFSET][1]
    end = at + meta[thrift.PACKED][1]
    width = np.dtype(dtype).itemsize
    pages = []
    while at < end:
        head, at = thrift.read(data, at)
        n_bytes = width * head[_DATA_PAGE][1][_PAGE_VALUES][1]
        levels = data[at : at + head[_PAGE_BYTES][1] - n_bytes]
        pages.append(_Page(head, levels, crc32(levels), n_bytes))
        at += head[_PAGE_BYTES][1]
    return _Stamp(thrift.write(column), tuple(pages))


def _narrow_columns(schema: pa.Schema, layers: Sequence[int], item_ids: NDArray[np.int64]) -> bytes:
    """Return a Parquet file of the columns beside the vectors, with the same row groups as the shard."""
    narrow = pa.schema(list(schema)[:-1])
    parts = [item_ids[start : start + ROW_GROUP_ROWS] for start in range(0, len(item_ids), ROW_GROUP_ROWS)]
    return _written(narrow, [_narrow_batch(narrow, layer, part) for layer in layers for part in parts])


def _narrow_batch(narrow: pa.Schema, layer: int, item_ids: NDArray[np.int64]) -> pa.RecordBatch:
    layers = np.full(len(item_ids), layer, np.int16)
    return pa.record_batch([from_numpy(layers), from_numpy(item_ids)], schema=narrow)


def _written(schema: pa.Schema, batches: Sequence[pa.RecordBatch]) -> bytes:
    """Return the Parquet file that pyarrow writes, with one row group per batch."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, **WRITER_OPTIONS) as writer:
        for batch in batches:
            writer.write_batch(batch)
        writer.add_key_value_metadata({checksum.KEY: checksum.BLANK})
    return bytes(sink.getvalue())


def _row_groups(data: bytes) -> list[Struct]:
    groups: list[Struct] = thrift.footer(data)[thrift.ROW_GROUPS][1][1]
    return groups


def _move(meta: Struct, at: int, n_bytes: int) -> None:
    """Set the offset and the size of a column chunk in its metadata."""
    meta[thrift.DATA_OFFSET] = thrift.I64, at
    meta[thrift.UNPACKED] = meta[thrift.PACKED] = thrift.I64, n_bytes


def from_numpy(values: NDArray[Any], type: pa.DataType | None = None) -> pa.Array:
    """Return an array of numbers or booleans (n,) as an Arrow array; numbers are not copied.

    Its type is as wide as that of the values; None for the type of the same name.
    """
    data = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else np.ascontiguousarray(values)
    found = pa.from_numpy_dtype(values.dtype) if type is None else type
    return pa.Array.from_buffers(found, len(values), [None, pa.py_buffer(data)])


def numpy_type(type: pa.DataType) -> np.dtype[Any]:
    """Return the type of NumPy for numbers or booleans of an Arrow type; pyarrow's own method may load pandas."""
    if pa.types.is_boolean(type):
        return np.dtype(np.bool_)
    kind = "f" if pa.types.is_floating(type) else "u" if pa.types.is_unsigned_integer(type) else "i"
    return np.dtype(f"{kind}{type.bit_width // 8}")


def from_values(values: Sequence[Any], type: pa.DataType) -> pa.Array:
    """Return numbers, booleans or strings, of which some may be None, as an Arrow array."""
    if pa.types.is_string(type):
        builder = pa.lib.StringBuilder()
        builder.append_values(values)
        return builder.finish()
    if (n_missing := values.count(None)) == len(values):
        return pa.nulls(len(values), type)
    dtype = numpy_type(type)
    if not n_missing:
        return from_numpy(np.fromiter(values, dtype, len(values)), type)
    is_valid = np.fromiter((value is not None for value in values), np.bool_, len(values))
    filled = from_numpy(np.fromiter((value or 0 for value in values), dtype, len(values)), type)
    mask = pa.py_buffer(np.packbits(is_valid, bitorder="little"))
    return pa.Array.from_buffers(type, len(values), [mask, *filled.buffers()[1:]])


def to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return rows as a table of integers, numbers, strings, and lists of them, none of which is None."""
    columns = []
    for field in schema:
        values = [row[field.name] for row in rows]
        if pa.types.is_list(field.type):
            offsets = np.cumsum([0, *map(len, values)], dtype=np.int32)
            items = from_values([item for value in values for item in value], field.type.value_type)
            columns.append(pa.ListArray.from_arrays(from_numpy(offsets), items, type=field.type))
        else:
            columns.append(from_values(values, field.type))
    return pa.table(columns, schema=schema)


def to_numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column of numbers without nulls as an array (n,)."""
    chunks = [np.from_dlpack(chunk) for chunk in column.chunks if len(chunk)]
    return np.concatenate(chunks) if chunks else np.empty(0, numpy_type(column.type))
