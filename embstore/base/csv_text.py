"""Write rows as CSV."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from embstore.base.messages import printable

# What a spreadsheet takes for the beginning of a formula:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def csv_lines(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    safe: bool = False,
    for_terminal: bool = False,
) -> Iterator[str]:
    """Yield the lines of a CSV file, the columns first; ``safe`` puts ' before what spreadsheets
    take for formulas.
    """
    for row in chain([columns], rows):
        line = io.StringIO()
        # Only what is in it is quoted, and a lone \r must be.
        writer = csv.writer(line, lineterminator="\r\n")
        writer.writerow(_csv_cell(value, safe=safe, for_terminal=for_terminal) for value in row)
        yield line.getvalue().removesuffix("\r\n") + "\n"


def _csv_cell(value: object, *, safe: bool, for_terminal: bool) -> object:
    """Return what is written for a value: texts as they are, unless for a spreadsheet or a
    terminal.
    """
    if isinstance(value, list | dict):
        value = json.dumps(value)
    if not isinstance(value, str):
        return value
    if safe and value.startswith(_FORMULA):
        value = f"'{value}"
    return printable(value) if for_terminal else value
