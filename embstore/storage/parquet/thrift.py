"""Read and write structs in Thrift's compact protocol, in which Parquet encodes footers and page headers.

Structs are read without a schema, as number, type and value of each field, so that a struct that was read and partly
changed is written with all other fields unchanged.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TRUE, FALSE, I8, I16, I32, I64, BINARY, LIST, STRUCT = 1, 2, 3, 4, 5, 6, 8, 9, 12
_NO_STEP, _MANY = 0, 15
_VARINT_BITS = 70  # ten bytes of seven bits each

Struct = dict[int, tuple[int, Any]]
"""Type and value by field number; the value of a list is the type of its elements, and the elements."""

Buffer = bytes | memoryview

TAIL_BYTES = 8
"""Size of what follows a footer: its length, and ``PAR1``."""

# Fields of the structs in https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
SCHEMA, N_ROWS, ROW_GROUPS = 2, 3, 4  # FileMetaData; N_ROWS of RowGroup too
COLUMNS, META = 1, 3  # RowGroup; ColumnChunk
TYPE, PATH, N_VALUES, UNPACKED, PACKED, DATA_OFFSET, STATISTICS = 1, 3, 5, 6, 7, 9, 12
"""Fields of ColumnMetaData."""


def read(data: Buffer, offset: int = 0) -> tuple[Struct, int]:
    """Read the struct at an offset, and return it with the offset after its end."""
    struct: Struct = {}
    number = 0
    while head := data[offset]:
        offset += 1
        step, kind = head >> 4, head & 0xF
        if step == _NO_STEP:
            number, offset = read_integer(data, offset)
        else:
            number += step
        if I16 <= kind <= I64 and (byte := data[offset]) < 0x80:  # most fields, here without three calls
            struct[number] = kind, byte >> 1 ^ -(byte & 1)
            offset += 1
            continue
        value, offset = _read_value(data, offset, kind)
        struct[number] = kind, value
    return struct, offset + 1


def write(struct: Struct) -> bytes:
    """Return a struct as bytes."""
    output = bytearray()
    _write_struct(output, struct)
    return bytes(output)


def _read_value(data: Buffer, offset: int, kind: int) -> tuple[Any, int]:
    """Return the value of a type at an offset, and the offset after it."""
    if I16 <= kind <= I64:  # the most frequent types first
        return read_integer(data, offset)
    if kind == BINARY:
        size, offset = _read_varint(data, offset)
        return bytes(data[offset : offset + size]), offset + size
    if kind == STRUCT:
        return read(data, offset)
    if kind == LIST:
        return _read_list(data, offset)
    if kind in (TRUE, FALSE):
        return kind == TRUE, offset
    if kind == I8:
        return data[offset], offset + 1
    raise ValueError(f"no type of Parquet's structs: {kind}")


def _read_list(data: Buffer, offset: int) -> tuple[tuple[int, list[Any]], int]:
    """Return the element type and the elements of a list at an offset, and the offset after it."""
    size, kind = data[offset] >> 4, data[offset] & 0xF
    offset += 1
    if size == _MANY:
        size, offset = _read_varint(data, offset)
    if kind in (TRUE, FALSE):  # one byte each, unlike the value of a boolean field
        raise ValueError("no type of Parquet's lists: booleans")
    elements = []
    for _ in range(size):
        element, offset = _read_value(data, offset, kind)
        elements.append(element)
    return (kind, elements), offset


def read_integer(data: Buffer, offset: int) -> tuple[int, int]:
    """Return the signed integer at an offset, and the offset after it."""
    zigzag, offset = _read_varint(data, offset)
    return (zigzag >> 1) ^ -(zigzag & 1), offset


def _read_varint(data: Buffer, offset: int) -> tuple[int, int]:
    """Return the variable-length unsigned integer at an offset, and the offset after it."""
    value = data[offset]
    offset += 1
    if value < 0x80:
        return value, offset
    value &= 0x7F
    for shift in range(7, _VARINT_BITS, 7):
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
    raise ValueError("a number of more than 64 bits")


def _write_struct(output: bytearray, struct: Struct) -> None:
    """Append a struct to the output."""
    last = 0
    for number, (kind, value) in sorted(struct.items()):
        if kind in (TRUE, FALSE):
            kind = TRUE if value else FALSE
        if 0 < number - last < _MANY + 1:
            output.append((number - last) << 4 | kind)
        else:
            output.append(kind)
            _write_integer(output, number)
        _write_value(output, kind, value)
        last = number
    output.append(0)


def _write_value(output: bytearray, kind: int, value: Any) -> None:
    """Append a value of a type to the output."""
    if kind == I8:
        output.append(value)
    elif kind in (I16, I32, I64):
        _write_integer(output, value)
    elif kind == BINARY:
        _write_varint(output, len(value))
        output += value
    elif kind == LIST:
        element_kind, elements = value
        short = len(elements) < _MANY
        output.append((len(elements) if short else _MANY) << 4 | element_kind)
        if not short:
            _write_varint(output, len(elements))
        for element in elements:
            _write_value(output, element_kind, element)
    elif kind == STRUCT:
        _write_struct(output, value)


def _write_integer(output: bytearray, value: int) -> None:
    _write_varint(output, value << 1 if value >= 0 else (-value << 1) - 1)


def _write_varint(output: bytearray, value: int) -> None:
    while value > 0x7F:
        output.append(value & 0x7F | 0x80)
        value >>= 7
    output.append(value)


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Raise ValueError for what a struct with other fields than expected leads to within the context."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{what} cannot be read") from error


def footer(data: Buffer) -> Struct:
    """Return the footer of a file, given the file or its end; raise ValueError if it has none."""
    length = int.from_bytes(data[-TAIL_BYTES:-4], "little")
    if not 0 < length <= len(data) - TAIL_BYTES:
        raise ValueError(f"its footer claims {length:,} bytes, or it is cut short")
    with readable("its footer"):
        return read(data[-TAIL_BYTES - length : -TAIL_BYTES])[0]
