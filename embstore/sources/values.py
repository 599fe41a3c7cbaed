"""Checked values of a dataset: texts and numbers, each with its place when it is wrong."""

import math

from embstore.errors import SourceError


def text_value(value: object, place: str) -> str:
    """Return a text exactly as it stands.

    Raises:
        SourceError: If it is missing, empty, no string, or cannot be written as UTF-8.
    """
    if not isinstance(value, str):
        what = "missing" if value is None else f"{value!r}, which is no string"
        raise SourceError(f"{place}: the text is {what}. Every row of a dataset needs its texts.")
    if not value or value.isspace():
        raise SourceError(f"{place}: the text is empty. Every row of a dataset needs its texts.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SourceError(f"{place}: {value!r} has half of a surrogate pair. Write the file in UTF-8.") from None
    return value


def number_value(value: object, place: str) -> float:
    """Return a number; blanks around it are ignored.

    Raises:
        SourceError: If it is none, or is not finite.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value)
    else:
        try:
            found = _parsed(value)
        except ValueError:
            raise SourceError(
                f"{place}: {value!r} is not a number. Write a number there, or name another column."
            ) from None
    if not math.isfinite(found):
        raise SourceError(f"{place}: {value!r} is not a finite number. Write a number there, or leave the row out.")
    return found


def _parsed(value: object) -> float:
    if not isinstance(value, str) or "_" in value:  # Python takes 1_000 for a number
        raise ValueError
    return float(value)
