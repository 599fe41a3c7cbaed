"""Check the texts and numbers of a dataset."""

import math

from embstore.base.errors import SourceError


def text_value(value: object, place: str) -> str:
    """Return a value if it is a non-empty string, unchanged.

    Args:
        value: Value of a cell.
        place: Place of the cell, for messages.

    Raises:
        SourceError: It is missing, empty, not a string, or not valid Unicode.
    """
    if not isinstance(value, str):
        what = "missing" if value is None else f"{value!r}, which is not a string"
        raise SourceError(f"{place}: the text is {what}. Every row of a dataset needs its texts.")
    if not value or value.isspace():
        raise SourceError(f"{place}: the text is empty. Every row of a dataset needs its texts.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SourceError(f"{place}: {value!r} has half of a surrogate pair. Write the file in UTF-8.") from None
    return value


def number_value(value: object, place: str) -> float:
    """Return a value as a float; strings of a number are parsed, with spaces around it ignored.

    Args:
        value: Value of a cell.
        place: Place of the cell, for messages.

    Raises:
        SourceError: It is not a finite number.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    else:
        try:
            number = _parse(value)
        except ValueError:
            raise SourceError(
                f"{place}: {value!r} is not a number. Write a number there, or name another column."
            ) from None
    if not math.isfinite(number):
        raise SourceError(f"{place}: {value!r} is not a finite number. Write a number there, or leave the row out.")
    return number


def label_value(value: object, place: str) -> float:
    """Return a value as :func:`number_value` does; a boolean, ``T``, ``F``, ``true`` or ``false`` is 1 or 0."""
    label = str(value).strip().lower()
    return float(label[0] == "t") if label in ("true", "false", "t", "f") else number_value(value, place)


def _parse(value: object) -> float:
    if not isinstance(value, str) or "_" in value:  # Python accepts 1_000 as a number
        raise ValueError
    return float(value)
