"""The character that separates the columns of a CSV file: found by its first lines, or named by the user."""

import csv
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from embstore.errors import SourceAccessError, SourceError, UsageError
from embstore.sources.lines import file_lines

COMMA, TAB = ",", "\t"
_OTHERS = (";", TAB, "|")
_N_LINES = 100
_NAMES = {"comma": COMMA, "tab": TAB, "\\t": TAB, "semicolon": ";", "pipe": "|"}


def parse_delimiter(given: str | None) -> str | None:
    r"""Return the character that a user named: itself, ``tab`` or ``\t``.

    Raises:
        UsageError: It is not one character, or one that cannot separate values.
    """
    if given is None:
        return None
    found = _NAMES.get(given, given) if len(given) > 1 else given
    if len(found) != 1 or found in '"\r\n' or found.isalnum():
        raise UsageError(f"the delimiter {given!r} cannot separate columns. Give one character, such as ';', or tab.")
    return found


def find_delimiter(path: Path, name: str, usual: str, *, header: bool = True) -> tuple[str, bool]:
    """Return the delimiter of a table, and whether it is another one than usual.

    A character separates the columns if each of the first lines has the same number of values by it, and more than
    one. A table is refused where several do, and where none does and the first line has one of the others alone: cells
    that are joined are never taken for texts.

    Args:
        path: CSV or TSV file.
        name: Name of the source in messages.
        usual: Delimiter of its file type.
        header: Whether the first line names the columns.

    Raises:
        SourceError: It is not certain which character separates the columns.
    """
    lines = _first_lines(path, name)
    first = lines[0] if lines else ""
    others = [one for one in (COMMA, *_OTHERS) if one != usual and one in first]
    if not others or (usual == TAB and not (header and TAB not in first)):
        return usual, False
    fitting = [one for one in others if _separates(lines, one)]
    if _separates(lines, usual) or usual == TAB or not header:
        doubtful = fitting
    elif len(fitting) == 1:
        return fitting[0], True
    else:
        doubtful = fitting or ([] if usual in first else others)
    if not doubtful:
        return usual, False
    raise SourceError(
        f"{name}:1: columns may be separated by {' or '.join(map(_shown, doubtful))} here, not by {_shown(usual)}: "
        f"{first.strip()[:60]!r}. Say which with --delimiter {_as_argument(doubtful[0])} or --delimiter "
        f"{_as_argument(usual)}."
    )


def _first_lines(path: Path, name: str) -> list[str]:
    """Return the first lines, up to one that cannot be read: that is an error of the reader that comes to it."""
    lines: list[str] = []
    try:
        lines.extend(islice(file_lines(path, name), _N_LINES + 1))
    except SourceAccessError:
        raise
    except SourceError:
        return lines
    return lines


def _separates(lines: Sequence[str], delimiter: str) -> bool:
    """Return whether all records but empty ones have the same number of values, and more than one."""
    try:
        records = [values for values in csv.reader(lines, delimiter=delimiter) if values]
    except csv.Error:
        return False
    if len(lines) > _N_LINES:
        records.pop()  # which may go on in the lines that follow
    widths = {len(values) for values in records}
    return len(widths) == 1 and widths.pop() > 1


def shown_delimiter(delimiter: str) -> str:
    """Return the delimiter as an argument of ``--delimiter``."""
    return _as_argument(delimiter)


def _shown(delimiter: str) -> str:
    return {COMMA: "commas", TAB: "tabs"}.get(delimiter, repr(delimiter))


def _as_argument(delimiter: str) -> str:
    return "tab" if delimiter == TAB else f"'{delimiter}'"
