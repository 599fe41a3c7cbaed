"""Read and write structs in Thrift's compact protocol, in which Parquet encodes footers and page headers.

Structs are read without a schema, as number, type and value of each field, so that a struct that was read and partly
changed is written with all other fields unchanged.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from typing import Any

TRUE, FALSE, I8, I16, I32, I64, BINARY, LIST, STRUCT = 1, 2, 3, 4, 5, 6, 8, 9, 12
_NO_STEP, _MANY = 0, 15
_VARINT_BITS = 70  # ten bytes of seven bits each

Struct = dict[int, tuple[int, Any]]
"""Type and value by field number; the value of a list is the type of its elements, and the elements."""

Buffer = bytes | memoryview


def read(data: Buffer, at: int = 0) -> tuple[Struct, int]:
    """Read the struct at an offset, and return it with the offset after its end.

    Raises:
        ValueError: A type is not used by Parquet, or a number has more than 64 bits.
        IndexError: The data is truncated.
        RecursionError: The struct is nested too deeply.
    """
    struct: Struct = {}
    number = 0
    while head := data[at]:
        at += 1
        step, kind = head >> 4, head & 0xF
        if step == _NO_STEP:
            number, at = _read_integer(data, at)
        else:
            number += step
        value, at = _read_value(data, at, kind)
        struct[number] = kind, value
    return struct, at + 1


def write(struct: Struct) -> bytes:
    """Return a struct as bytes."""
    out = bytearray()
    _write_struct(out, struct)
    return bytes(out)


def _read_value(data: Buffer, at: int, kind: int) -> tuple[Any, int]:
    if kind in (TRUE, FALSE):
        return kind == TRUE, at
    if kind == I8:
        return data[at], at + 1
    if kind in (I16, I32, I64):
        return _read_integer(data, at)
    if kind == BINARY:
        size, at = _read_varint(data, at)
        return bytes(data[at : at + size]), at + size
    if kind == LIST:
        return _read_list(data, at)
    if kind == STRUCT:
        return read(data, at)
    raise ValueError(f"no type of Parquet's structs: {kind}")


def _read_list(data: Buffer, at: int) -> tuple[tuple[int, list[Any]], int]:
    size, kind = data[at] >> 4, data[at] & 0xF
    at += 1
    if size == _MANY:
        size, at = _read_varint(data, at)
    if kind in (TRUE, FALSE):  # one byte each, unlike the value of a boolean field
        raise ValueError("no type of Parquet's lists: booleans")
    elements = []
    for _ in range(size):
        element, at = _read_value(data, at, kind)
        elements.append(element)
    return (kind, elements), at


def _read_integer(data: Buffer, at: int) -> tuple[int, int]:
    zigzag, at = _read_varint(data, at)
    return (zigzag >> 1) ^ -(zigzag & 1), at


def _read_varint(data: Buffer, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, _VARINT_BITS, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 64 bits")


def _write_struct(out: bytearray, struct: Struct) -> None:
    last = 0
    for number, (kind, value) in sorted(struct.items()):
        if kind in (TRUE, FALSE):
            kind = TRUE if value else FALSE
        if 0 < number - last < _MANY + 1:
            out.append((number - last) << 4 | kind)
        else:
            out.append(kind)
            _write_integer(out, number)
        _write_value(out, kind, value)
        last = number
    out.append(0)


def _write_value(out: bytearray, kind: int, value: Any) -> None:
    if kind == I8:
        out.append(value)
    elif kind in (I16, I32, I64):
        _write_integer(out, value)
    elif kind == BINARY:
        _write_varint(out, len(value))
        out += value
    elif kind == LIST:
        element, elements = value
        short = len(elements) < _MANY
        out.append((len(elements) if short else _MANY) << 4 | element)
        if not short:
            _write_varint(out, len(elements))
        for one in elements:
            _write_value(out, element, one)
    elif kind == STRUCT:
        _write_struct(out, value)


def _write_integer(out: bytearray, value: int) -> None:
    _write_varint(out, value << 1 if value >= 0 else (-value << 1) - 1)


def _write_varint(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
