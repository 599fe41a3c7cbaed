"""Classify the values that a build keeps with its texts, as the staging of columns needs them."""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from embstore.base.errors import SourceError
from embstore.base.text import escaped, name_problem
from embstore.sources import Cell
from embstore.storage.staging.columns import KeptValue, StagedColumns

_WHOLE = r"(?:0|[1-9][0-9]*)"  # 007 is a text: as a number it would lose its zeros
_INTEGER = re.compile(rf"[ \t]*[+-]?{_WHOLE}[ \t]*")
_NUMBER = re.compile(rf"[ \t]*[+-]?(?:{_WHOLE}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t]*")
_BOOLEAN = re.compile(r"[ \t]*(?:true|false)[ \t]*", re.IGNORECASE)
_MISSING = frozenset(("NA", "N/A", "NaN", "nan", "NULL", "null", "None"))
_INT64 = range(-(1 << 63), 1 << 63)


class KeptRows:
    """The values of the rows of a build's sources, which are checked and staged.

    Args:
        staged: Staging of the columns.
    """

    def __init__(self, staged: StagedColumns) -> None:
        self._staged = staged
        self._names: dict[str, str] = {}  # lower case → as written

    def add(self, ids: Sequence[int], origin: str, values: Mapping[str, Any]) -> None:
        """Add the values of a row for the items that it gives.

        Raises:
            SourceError: A name or a value cannot be stored.
        """
        found = {}
        for name, value in values.items():
            if self._names.get(name.lower()) != name:
                self._check_name(name, origin)
            found[name] = classified(value, f"{origin}: the value of the column {name!r}")
        self._staged.add(ids, origin, found)

    def _check_name(self, name: str, origin: str) -> None:
        if problem := name_problem(name):
            raise SourceError(f"{origin}: the column {name!r} cannot be kept: {problem}. Rename the column.")
        other = self._names.setdefault(name.lower(), name)
        if other != name:
            raise SourceError(
                f"{origin}: the column {name!r} differs from the column {other!r} only in letter case. Rename one."
            )


def classified(value: object, what: str) -> KeptValue | None:
    """Return a value as it is staged; None for a missing one.

    Args:
        value: Cell, number, boolean, string, date, time, or None; NaN is a missing value.
        what: Description of the value, for messages.

    Raises:
        SourceError: It is of another type, infinite, or an integer of over 64 bits.
    """
    if value is None:
        return None
    if isinstance(value, Cell):
        return KeptValue(_kind_of_cell(value), escaped(value))
    if isinstance(value, str):
        return KeptValue("s", escaped(value))
    if isinstance(value, bool):
        return KeptValue("b", str(value).lower())
    if isinstance(value, int):
        if value not in _INT64:
            raise SourceError(f"{what} is {value}, which 64 bits do not hold. Write it as a string.")
        return KeptValue("i", str(value))
    if isinstance(value, float | Decimal):
        number = float(value)
        if math.isinf(number):
            raise SourceError(f"{what} is not finite. Write a number, or leave it out.")
        return None if math.isnan(number) else KeptValue("f", repr(number))
    if isinstance(value, date | datetime | time):
        return KeptValue("s", value.isoformat())
    raise SourceError(f"{what} is of type {type(value).__name__}. Write a number, boolean or string.")


def _kind_of_cell(cell: str) -> str:
    """Return the kind that a cell looks like; see :class:`.KeptValue`."""
    if _INTEGER.fullmatch(cell):
        return "I" if int(cell) in _INT64 else "S"
    if _NUMBER.fullmatch(cell):
        return "F" if math.isfinite(float(cell)) else "S"
    if _BOOLEAN.fullmatch(cell):
        return "B"
    return "-" if cell.strip() in _MISSING else "S"
