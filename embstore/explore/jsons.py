"""Convert values to JSON that JavaScript reads without loss."""

import json
import math
from collections.abc import Mapping
from typing import Any

_SAFE = 2**53 - 1  # JavaScript rounds larger integers
_LONGEST = 2_000


def to_json(value: Any) -> bytes:
    """Return a value as strict JSON: integers beyond 2^53 as strings, numbers that are not finite as null."""
    return json.dumps(_plain(value), ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _SAFE else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if hasattr(value, "tolist"):  # numpy
        return _plain(value.tolist())
    if isinstance(value, bytes | bytearray):
        return value.hex()
    return str(value)


def shortened(value: Any) -> Any:
    """Return a cell of a user's SQL with a text or list cut to what a page can show, and ``…`` at its end."""
    if isinstance(value, str | bytes | bytearray) and len(value) > _LONGEST:
        return str(_plain(value[:_LONGEST])) + "…"
    if isinstance(value, list | tuple) and len(value) > _LONGEST:
        return [*value[:_LONGEST], "…"]
    return value
