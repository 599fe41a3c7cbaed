"""Check the footer of a shard against the hash stored in it, and read the columns of a table from its footer.

A reader checks every page against its CRC, and the footer locates and describes the pages. It is a few kilobytes at the
end of the file, so that it can be checked whenever a shard is opened.

Format: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base import checksum, disk, supply
from embstore.storage.parquet import thrift

_MAX_BYTES = 256 << 20  # the footer of a shard of 128 MiB takes a megabyte or less
_USUAL_BYTES = 64 << 10  # of a shard of 128 MiB about half of it

# Fields of an element of a schema, and their values.
_TYPE, _REPETITION, _NAME, _N_CHILDREN, _CONVERTED_TYPE, _LOGICAL_TYPE = 1, 3, 4, 5, 6, 10
_BOOLEAN, _INT64, _DOUBLE, _BYTE_ARRAY = 0, 2, 5, 6
_PLAIN_KINDS = {_BOOLEAN: "bool", _INT64: "int64", _DOUBLE: "float64"}
_REQUIRED, _OPTIONAL = 0, 1
_UTF8, _STRING = 0, 1

# A column chunk in the footer of a shard: values without a codec, number of values, sizes and offset; and its limits.
_INTEGER = rb"([\x80-\xff]{0,9}[\x00-\x7f])"
_CHUNK = rb"\x15\x00\x16%b\x16%b\x16%b\x26%b" % ((_INTEGER,) * 4)
_GROUP = re.compile(
    rb"\x18\x05layer" + _CHUNK + rb"<\x18\x04(.{4})\x18\x04(.{4}).{0,99}?"
    rb"\x18\x07item_id" + _CHUNK + rb"<\x18\x08(.{8})\x18\x08(.{8}).{0,99}?"
    rb"\x1c\x15([\x08\x0e])\x19.{1,9}?\x19\x38\x06vector\x04list\x07element" + _CHUNK,
    re.DOTALL,
)
_VECTOR_TYPES = {b"\x08": "FLOAT", b"\x0e": "FIXED_LEN_BYTE_ARRAY"}

_GREATEST, _LEAST = 5, 6  # fields of statistics
_PHYSICAL_TYPES = {
    1: "INT32", 2: "INT64", 4: "FLOAT", 5: "DOUBLE", 6: "BYTE_ARRAY", 7: "FIXED_LEN_BYTE_ARRAY",
}  # fmt: skip


class Chunk(NamedTuple):
    """A column chunk: its type and numbers, by the names that pyarrow has for them."""

    physical_type: str
    num_values: int
    total_compressed_size: int
    data_page_offset: int


class RowGroup(NamedTuple):
    """A row group of a shard: its layer, least and greatest item id, and column chunks of item ids and of vectors."""

    layer: int
    first: int
    last: int
    item_ids: Chunk
    vectors: Chunk


class Column(NamedTuple):
    """A column of a table."""

    name: str
    kind: str  # ``int64``, ``float64``, ``bool`` or ``string``
    is_required: bool = False


def read_columns(path: Path) -> tuple[Column, ...]:
    """Read the columns of a Parquet file, without loading pyarrow."""
    with supply.fetched(path):
        data = _read(path)
    with thrift.readable("its footer"):
        _, (_, (root, *columns)) = thrift.footer(data)[thrift.SCHEMA]
        if root[_N_CHILDREN][1] != len(columns):
            raise ValueError("its columns are nested")
        return tuple(map(_column, columns))


def _column(element: thrift.Struct) -> Column:
    """Return the column that an element of the footer's schema describes."""
    values: dict[int, Any] = {field: value for field, (_, value) in element.items()}
    name, repetition = values[_NAME].decode(), values[_REPETITION]
    annotations = values.get(_CONVERTED_TYPE), [*values.get(_LOGICAL_TYPE, ())]
    if repetition in (_REQUIRED, _OPTIONAL) and not values.get(_N_CHILDREN):
        if values[_TYPE] in _PLAIN_KINDS and annotations == (None, []):
            return Column(name, _PLAIN_KINDS[values[_TYPE]], repetition == _REQUIRED)
        if values[_TYPE] == _BYTE_ARRAY and annotations in ((_UTF8, [_STRING]), (_UTF8, []), (None, [_STRING])):
            return Column(name, "string", repetition == _REQUIRED)
    raise ValueError(f"its column {name!r} has a type that is not in the format")


def is_footer_sound(path: Path) -> bool:
    """Return whether the footer matches the hash in it."""
    return checksum.has_valid_checksum(_read(path))


def read_row_groups(
    path: Path, layers: Collection[int] | None = None, ids: NDArray[np.int64] | None = None
) -> list[RowGroup]:
    """Read the row groups of a shard, in their order.

    Args:
        path: Shard file.
        layers: Ids of layers; None for all.
        ids: Item ids, ascending, at least one of which a row group may have; None for any.

    Raises:
        ValueError: The footer does not match the hash in it, or is not that of a shard.
    """
    data = _read(path)
    if not checksum.has_valid_checksum(data):
        raise ValueError("its footer does not agree with the SHA-256 in it")
    found = [match.groups() for match in _GROUP.finditer(data)]
    n_groups = data.count(b"\x18\x07item_id") - 1  # one is the name of the column in the schema
    if len(found) != n_groups or any(group[4] != group[5] for group in found):
        every = _parsed_row_groups(
            data
        )  # not as embstore writes footers with the pyarrow that the pattern was made for
        return [group for group in every if _is_wanted(group, layers, ids)]
    last, first = np.frombuffer(b"".join(part for group in found for part in group[10:12]), "<i8").reshape(-1, 2).T
    chosen = np.ones(len(found), np.bool_)
    if ids is not None:
        chosen = np.searchsorted(ids, first) < np.searchsorted(ids, last, "right")
    wanted = None if layers is None else {layer.to_bytes(4, "little", signed=True) for layer in layers}
    return [
        _row_group(group) for group, is_near in zip(found, chosen.tolist(), strict=True)
        if is_near and (wanted is None or group[4] in wanted)
    ]  # fmt: skip


def _row_group(found: tuple[bytes, ...]) -> RowGroup:
    """Return the row group of a match of ``_GROUP``."""
    item_ids, vectors = ([thrift.read_integer(part, 0)[0] for part in found[at : at + 4]] for at in (6, 13))
    layer, last, first = (int.from_bytes(found[at], "little", signed=True) for at in (4, 10, 11))
    return RowGroup(
        layer, first, last, Chunk("INT64", item_ids[0], *item_ids[2:]),
        Chunk(_VECTOR_TYPES[found[12]], vectors[0], *vectors[2:]),
    )  # fmt: skip


def _parsed_row_groups(data: bytes) -> list[RowGroup]:
    """Read the row groups in a footer of a shard whatever else is in it, a hundred times slower."""
    groups = []
    with thrift.readable("its footer"):
        for group in thrift.footer(data)[thrift.ROW_GROUPS][1][1]:
            layers, item_ids, vectors = (column[thrift.META][1] for column in group[thrift.COLUMNS][1][1])
            layer, other = _limits(layers, 4)
            if layer != other:
                raise ValueError("a row group mixes layers")
            chunks = chunk_of(item_ids), chunk_of(vectors)
            if chunks[0].physical_type != "INT64" or chunks[1].physical_type not in _VECTOR_TYPES.values():
                raise ValueError("the columns of a row group are not those of a shard")
            groups.append(RowGroup(layer, *_limits(item_ids, 8), *chunks))
    return groups


def _limits(meta: thrift.Struct, n_bytes: int) -> tuple[int, int]:
    """Return the least and the greatest value of a column chunk of integers."""
    found = [meta[thrift.STATISTICS][1][field][1] for field in (_LEAST, _GREATEST)]
    if any(not isinstance(value, bytes) or len(value) != n_bytes for value in found):
        raise ValueError("the statistics of a row group are not those of a shard")
    least, greatest = (int.from_bytes(value, "little", signed=True) for value in found)
    return least, greatest


def chunk_of(meta: thrift.Struct) -> Chunk:
    """Return the column chunk that its metadata describes."""
    numbers = [meta[field][1] for field in (thrift.N_VALUES, thrift.PACKED, thrift.DATA_OFFSET)]
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError("a number of a column is none")
    return Chunk(_PHYSICAL_TYPES[meta[thrift.TYPE][1]], *numbers)


def _is_wanted(group: RowGroup, layers: Collection[int] | None, ids: NDArray[np.int64] | None) -> bool:
    if layers is not None and group.layer not in layers:
        return False
    return ids is None or bool(np.searchsorted(ids, group.first) < np.searchsorted(ids, group.last, "right"))


def _read(path: Path) -> bytes:
    """Return the footer and the bytes after it; less if the file is truncated, none if the length is implausible."""
    with disk.reading(path, []) as file:
        size = file.seek(0, 2)
        with supply.fetched(path, _end(size)):
            file.seek(max(0, size - thrift.TAIL_BYTES))
            length = int.from_bytes(file.read(4), "little") + thrift.TAIL_BYTES
        if length > _MAX_BYTES:
            return b""
        with supply.fetched(path, _end(size, length)):
            file.seek(max(0, size - length))
            return file.read()


def _end(size: int, length: int | None = None) -> list[supply.Range]:
    """Return the end of a file, by default as much as footers mostly take."""
    return [(max(0, size - (length or _USUAL_BYTES)), size)]


def fetch_footers(files: Sequence[Path]) -> None:
    """Fetch the ends of files that are only partly on this machine, of all of them at the same time."""
    if files and supply.supplier_of(files[0]) is not None:
        supply.fetch({path: _end(disk.size(path)) for path in files})
