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

_TAIL_BYTES = 8  # length of the footer, and "PAR1"
_MAX_BYTES = 256 << 20  # the footer of a shard of 128 MiB takes a megabyte or less
_USUAL_BYTES = 64 << 10  # of a shard of 128 MiB about half of it

# Fields of the footer and of an element of its schema, and their values.
_SCHEMA = 2
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


class Chunk(NamedTuple):
    """A column chunk of a shard, with the names that pyarrow has for its metadata."""

    physical_type: str
    num_values: int
    total_compressed_size: int
    data_page_offset: int


class RowGroup(NamedTuple):
    """A row group of a shard: its layer, and its column chunks of item ids and of vectors."""

    layer: int
    item_ids: Chunk
    vectors: Chunk


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        name: Name of the column.
        kind: ``int64``, ``float64``, ``bool`` or ``string``.
        is_required: Whether it has no nulls.
    """

    name: str
    kind: str
    is_required: bool = False


def read_columns(path: Path) -> tuple[Column, ...]:
    """Read the columns of a Parquet file, without loading pyarrow."""
    with supply.fetched(path):
        data = _read(path)
    try:
        _, (_, (root, *columns)) = thrift.read(data)[0][_SCHEMA]
        if root[_N_CHILDREN][1] != len(columns):
            raise ValueError("its columns are nested")
        return tuple(map(_column, columns))
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("its footer cannot be read") from error


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


def read_row_groups(path: Path, layers: Collection[int], ids: NDArray[np.int64]) -> list[RowGroup] | None:
    """Return the row groups of a shard that may have some items in some layers, without loading pyarrow.

    Args:
        path: Shard file.
        layers: Ids of layers.
        ids: Item ids, ascending.

    Returns:
        None if the footer does not match the hash in it, or is not written as embstore writes those of shards.
    """
    data = _read(path)
    found = [match.groups() for match in _GROUP.finditer(data)]
    n_groups = data.count(b"\x18\x07item_id") - 1  # one is the name of the column in the schema
    if len(found) != n_groups or not checksum.has_valid_checksum(data):
        return None
    wanted = {layer.to_bytes(4, "little") for layer in layers}
    last, first = np.frombuffer(b"".join(part for group in found for part in group[10:12]), "<i8").reshape(-1, 2).T
    may_have = np.searchsorted(ids, first) < np.searchsorted(ids, last, "right")
    return [
        _row_group(group) for group, is_near in zip(found, may_have.tolist(), strict=True)
        if is_near and group[4] == group[5] and group[4] in wanted
    ]  # fmt: skip


def _row_group(found: tuple[bytes, ...]) -> RowGroup:
    """Return the row group of a match of ``_GROUP``."""
    item_ids, vectors = ([thrift.read_integer(part, 0)[0] for part in found[at : at + 4]] for at in (6, 13))
    return RowGroup(
        int.from_bytes(found[4], "little"), Chunk("INT64", item_ids[0], *item_ids[2:]),
        Chunk(_VECTOR_TYPES[found[12]], vectors[0], *vectors[2:]),
    )  # fmt: skip


def _read(path: Path) -> bytes:
    """Return the footer and the bytes after it; less if the file is truncated, none if the length is implausible."""
    with disk.reading(path, []) as file:
        size = file.seek(0, 2)
        with supply.fetched(path, _end(size)):
            file.seek(max(0, size - _TAIL_BYTES))
            length = int.from_bytes(file.read(4), "little") + _TAIL_BYTES
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
