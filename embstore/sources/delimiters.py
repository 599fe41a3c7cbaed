"""Detect the delimiter of a CSV or TSV file from its first lines, or parse the one that the user named."""

import csv
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from embstore.base.errors import SourceAccessError, SourceError, UsageError
from embstore.sources.lines import file_lines

COMMA, TAB = ",", "\t"
_OTHERS = (";", TAB, "|")
_N_LINES = 100
_NAMES = {"comma": COMMA, "tab": TAB, "\\t": TAB, "semicolon": ";", "pipe": "|"}


def parse_delimiter(text: str | None) -> str | None:
    r"""Return the delimiter that the user named: the character, ``tab``, ``\t``, ``comma``, ``semicolon`` or ``pipe``.

    Raises:
        UsageError: It is not a single character, or a letter, digit, quote or line end.
    """
    if text is None:
        return None
    delimiter = _NAMES.get(text, text) if len(text) > 1 else text
    if len(delimiter) != 1 or delimiter in '"\r\n' or delimiter.isalnum():
        raise UsageError(f"the delimiter {text!r} cannot separate columns. Give one character, such as ';', or tab.")
    return delimiter


def find_delimiter(path: Path, name: str, usual: str, *, header: bool = True) -> tuple[str, bool]:
    """Detect the delimiter of a table; return it, and whether it differs from the usual one.

    A character is a possible delimiter if splitting at it gives each of the first 100 records the same number of
    values, two or more. Ambiguous tables are refused, so that joined cells are never taken for texts.

    Args:
        path: CSV or TSV file.
        name: Name of the source in messages.
        usual: Delimiter of its file type.
        header: Whether the first line names the columns.

    Raises:
        SourceError: The delimiter is ambiguous.
    """
    lines = _first_lines(path, name)
    first = lines[0] if lines else ""
    others = [char for char in (COMMA, *_OTHERS) if char != usual and char in first]
    if not others or (usual == TAB and not (header and TAB not in first)):
        return usual, False
    possible = [char for char in others if _separates(lines, char)]
    if _separates(lines, usual) or usual == TAB or not header:
        rivals = possible
    elif len(possible) == 1:
        return possible[0], True
    else:
        rivals = possible or ([] if usual in first else others)
    if not rivals:
        return usual, False
    raise SourceError(
        f"{name}:1: columns may be separated by {' or '.join(map(in_words, rivals))} here, not by {in_words(usual)}: "
        f"{first.strip()[:60]!r}. Say which with ⦃delimiter={as_argument(rivals[0])}⦄ or "
        f"⦃delimiter={as_argument(usual)}⦄."
    )


def _first_lines(path: Path, name: str) -> list[str]:
    """Return the first lines; stop without an error at invalid content, which the actual reader will report."""
    lines: list[str] = []
    try:
        lines.extend(islice(file_lines(path, name), _N_LINES + 1))
    except SourceAccessError:
        raise
    except SourceError:
        return lines
    return lines


def _separates(lines: Sequence[str], delimiter: str) -> bool:
    """Return whether all non-empty records have the same number of values, two or more."""
    try:
        records = [values for values in csv.reader(lines, delimiter=delimiter) if values]
    except csv.Error:
        return False
    if len(lines) > _N_LINES:
        records.pop()  # it may continue in the following lines
    widths = {len(values) for values in records}
    return len(widths) == 1 and widths.pop() > 1


def in_words(delimiter: str) -> str:
    """Return the name of a delimiter in a message."""
    return {COMMA: "commas", TAB: "tabs"}.get(delimiter, repr(delimiter))


def as_argument(delimiter: str) -> str:
    """Return a delimiter as the parameter of this name has it."""
    return "tab" if delimiter == TAB else delimiter
