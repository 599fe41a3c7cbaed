"""Read the rows of tables: CSV, TSV and JSON Lines (Parquet: :mod:`embstore.sources.parquet`).

CSV is parsed strictly with the quoting of RFC 4180: an unclosed quote is an error. TSV has no quoting (IANA
text/tab-separated-values): a quote is part of the text. Of JSON Lines, each line is an object.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from embstore.base.errors import SourceAccessError, SourceError, UsageError
from embstore.base.messages import with_value
from embstore.base.space import Unit
from embstore.sources.files import MAX_TEXT_CHARS, LineEnds, file_lines, strip_terminator
from embstore.sources.parquet import open_parquet, parquet_records
from embstore.sources.rows import (
    DEFAULT_COLUMN,
    EMPTY_LINE,
    NO_VALUES,
    OPTION,
    Blank,
    Columns,
    Keep,
    KeptColumns,
    Remark,
    Row,
    Rows,
    as_cell,
    choose_columns,
    unknown_column,
)  # fmt: skip

COLUMNS_OPTION = "⦃columns⦄"
NO_HEADER = "If the first line is no header, add ⦃header=False⦄: the columns are then called 1, 2, 3 …"

COMMA, TAB = ",", "\t"
DELIMITED: Mapping[str, str] = {".csv": COMMA, ".tsv": TAB}
"""Type of a file → usual delimiter of its columns."""

TABLES = (*DELIMITED, ".jsonl", ".parquet")
"""Types of tables."""

_PLAIN_NAMES = ("text", *Unit)  # of a single column that is certainly no text
_OTHERS = (";", TAB, "|")
_N_LINES = 100
_NAMES = {"comma": COMMA, "tab": TAB, "\\t": TAB, "semicolon": ";", "pipe": "|"}
_JSON_TYPES = {bool: "a boolean", int: "a number", float: "a number", list: "an array", dict: "an object"}

# Line on which a record begins, from 1, and its values; no values for an empty line.
_Record = tuple[int, list[str]]


def open_table(
    path: Path, name: str, suffix: str, columns: Sequence[str], *, keep: Keep, header: bool, delimiter: str | None
) -> Rows:
    """Return a function that yields the texts in some columns of a table, with the values to keep.

    A header names the columns of CSV and TSV files; without one they are called 1, 2, 3 … The delimiter of their
    columns is detected if it is None.
    """
    if suffix == ".jsonl":
        return _open_jsonl(path, name, columns, keep)
    if suffix == ".parquet":
        return open_parquet(path, name, columns, keep=keep)
    table = _Delimited(path, name, DELIMITED[suffix], header=header, delimiter=delimiter)
    chosen = choose_columns(name, table.header, columns, hint=NO_HEADER if header else "")
    remarks = list(table.remarks)
    [first, *more] = table.header
    if header and not columns and not more and first.strip().lower() not in _PLAIN_NAMES:
        remarks.append(f"{name}:1: {first[:60]!r} was taken for the name of the column, not for a text. {NO_HEADER}")
    return partial(_read_delimited, table, chosen, keep.choose(name, table.header, chosen.names), remarks)


def read_records(
    path: Path,
    name: str,
    suffix: str,
    columns: Sequence[str],
    delimiter: str | None = None,
    *,
    option: str = COLUMNS_OPTION,
    header: bool = True,
) -> Iterator[tuple[str, Sequence[object]]]:
    """Yield the place of each row of a table (``pairs.csv:12``) and its values in some columns, of any type.

    Empty lines are left out. ``option`` is the command-line option that names the columns, for messages.
    """
    records: Iterator[tuple[int, Sequence[object]]]
    if suffix == ".jsonl":
        records = _json_records(path, name, columns, option)
    elif suffix == ".parquet":
        records = parquet_records(path, name, columns, option)
    else:
        table = _Delimited(path, name, DELIMITED[suffix], header=header, delimiter=delimiter)
        choose_columns(name, table.header, columns, option=option)
        chosen = [table.header.index(column) for column in columns]
        records = ((number, _cells(values, chosen)) for number, values in table.records() if values)
    for number, values in records:
        yield f"{name}:{number}", values


class _Delimited:
    """A CSV or TSV file: the names of its columns, and its records behind them.

    A file whose usual delimiter is a tab and that has another one is read as CSV, with quoting.
    """

    def __init__(self, path: Path, name: str, usual: str, *, header: bool, delimiter: str | None) -> None:
        self.path, self.name, self.has_header = path, name, header
        used, is_unusual = (delimiter, False) if delimiter else find_delimiter(path, name, usual, header=header)
        self._is_quoted, self._delimiter = (usual, used) != (TAB, TAB), used
        self.remarks = [
            f"{name}: its columns are separated by {_in_words(used)}, which its first lines show. Say so with "
            f"⦃delimiter={_as_argument(used)}⦄"
        ] * is_unusual
        first = next((values for _, values in self._records(None) if values or header), [])
        self.header = first if header else [str(number) for number in range(1, len(first) + 1)] or ["1"]
        if not self.header:
            raise SourceError(f"{name}:1: the header is missing. The first line must name the columns. {NO_HEADER}")

    def records(self, ends: LineEnds | None = None) -> Iterator[_Record]:
        """Yield the records behind the header, and count their line ends, if these are to be counted."""
        width = len(self.header)
        for number, values in islice(self._records(ends), int(self.has_header), None):
            # Further values come from a delimiter in an unquoted text, which would lose its end.
            if len(values) > width and any(values[width:]):
                raise SourceError(
                    f"{self.name}:{number}: {len(values)} values, but the "
                    f"{'header names' if self.has_header else 'first line has'} {len(self.header)} columns. Quote the "
                    "values that contain the separator, or name the columns."
                )
            yield number, values

    def _records(self, ends: LineEnds | None) -> Iterator[_Record]:
        return self._quoted(ends) if self._is_quoted else self._unquoted(ends)

    def _unquoted(self, ends: LineEnds | None) -> Iterator[_Record]:
        for number, line in enumerate(file_lines(self.path, self.name), 1):
            if ends is not None:
                ends.count(number, line)
            content = strip_terminator(line)
            yield number, content.split("\t") if content else []

    def _quoted(self, ends: LineEnds | None) -> Iterator[_Record]:
        # The limit applies to the whole process: it is only raised, so that no other reader breaks.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_TEXT_CHARS))
        last = ""

        def lines() -> Iterator[str]:
            nonlocal last
            for line in file_lines(self.path, self.name):
                last = line
                yield line

        reader = csv.reader(lines(), delimiter=self._delimiter, strict=True)
        while True:
            first_line = reader.line_num + 1
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise SourceError(
                    f"{self.name}:{first_line}: the record that begins here is not valid CSV: {error}. Write a quote "
                    "inside a quoted value twice, close every quote, or use .tsv, which has no quoting."
                ) from error
            if ends is not None:
                ends.count(reader.line_num, last)
            yield first_line, values


def _cells(values: Sequence[str], places: Sequence[int]) -> list[str | None]:
    """Return the values at some places of a record; None beyond its end."""
    return [values[place] if place < len(values) else None for place in places]


def _read_delimited(
    table: _Delimited, columns: Columns, kept: KeptColumns, remarks: Sequence[str]
) -> Iterator[Row | Blank | Remark]:
    """Yield the rows of a CSV or TSV file, and remarks on its delimiter, header and line ends."""
    chosen, others = ([table.header.index(name) for name in names] for names in (columns.names, kept.names))
    ends = LineEnds(columns.source)
    yield from map(Remark, remarks)
    yield from kept.remarks()
    for number, values in table.records(ends):
        if not values:
            yield Blank(f"{columns.source}:{number}", EMPTY_LINE)
            continue
        texts = [values[place] if place < len(values) else None for place in chosen]
        found = dict(zip(kept.names, map(as_cell, _cells(values, others)), strict=True)) if others else NO_VALUES
        yield from columns.texts(number, texts, found)
    yield from ends.remarks()


def parse_delimiter(text: str | None) -> str | None:
    r"""Return the delimiter that the user named: a character, ``tab``, ``\t``, ``comma``, ``semicolon`` or ``pipe``."""
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
    """
    lines: list[str] = []
    try:
        lines.extend(islice(file_lines(path, name), _N_LINES + 1))
    except SourceAccessError:
        raise
    except SourceError:
        pass  # the reader will report the invalid content
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
        f"{name}:1: columns may be separated by {' or '.join(map(_in_words, rivals))} here, "
        f"not by {_in_words(usual)}: {first.strip()[:60]!r}. Say which with ⦃delimiter={_as_argument(rivals[0])}⦄ or "
        f"⦃delimiter={_as_argument(usual)}⦄."
    )


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


def _in_words(delimiter: str) -> str:
    return {COMMA: "commas", TAB: "tabs"}.get(delimiter, repr(delimiter))


def _as_argument(delimiter: str) -> str:
    return "tab" if delimiter == TAB else delimiter


def _open_jsonl(path: Path, name: str, columns: Sequence[str], keep: Keep) -> Rows:
    """Return a function that yields the rows of a JSON Lines file.

    The columns are chosen by the first object. Since later objects may have further keys, a requested column that no
    object has is an error only after the last row.
    """
    first = next((content for _, content in _json_objects(path, name) if content), {})
    if not (first or columns):
        return partial(_read_objects, path, Columns(name, (DEFAULT_COLUMN,)), keep)
    return partial(_read_objects, path, choose_columns(name, list(first), columns, open_ended=True), keep)


def _read_objects(path: Path, columns: Columns, keep: Keep) -> Iterator[Row | Blank | Remark]:
    """Yield the rows of a file."""
    kept = KeptColumns(columns.source, keep, frozenset(columns.names))
    if both := kept.texts.intersection(keep.names):
        raise UsageError(
            f"{with_value(OPTION, min(both))} does not fit {columns.source}: the column holds the texts. Leave it out."
        )
    unseen = set(columns.names)
    keys: dict[str, None] = {}
    n_objects = 0
    for number, content in _json_objects(path, columns.source):
        if content is None:
            yield Blank(f"{columns.source}:{number}", EMPTY_LINE)
            continue
        n_objects += 1
        if unseen or keep:
            unseen.difference_update(content)
            keys.update(dict.fromkeys(content))
        texts = [_text(content.get(key), key, columns.place(number, key)) for key in columns.names]
        yield from columns.texts(
            number, texts, _kept(content, kept, f"{columns.source}:{number}") if keep else NO_VALUES
        )
    yield from kept.remarks()
    if unseen and n_objects:
        raise unknown_column(columns.source, min(unseen, key=columns.names.index), list(keys))
    if n_objects and not keep.is_all and (never := [name for name in keep.names if name not in keys]):
        raise unknown_column(columns.source, never[0], list(keys), OPTION)


def _kept(content: dict[str, Any], kept: KeptColumns, place: str) -> dict[str, Any]:
    """Return the values of the kept keys of an object."""
    found = {}
    for key, value in content.items():
        if isinstance(value, list | dict) and key not in kept.left_out:
            if key in kept.names or key in kept.keep.names:
                raise SourceError(
                    f"{place}: the value of {key!r} is {_type_name(value)}, which cannot be kept. Leave the column out "
                    f"of {OPTION}, or write a number, boolean or string."
                )
            if kept.keep.is_all and key not in kept.texts:
                kept.leave_out(key, f"it has {_type_name(value)}")
        elif kept.admits(key):
            found[key] = value
    return found


def _json_objects(path: Path, name: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield the number and the object of each line; None for an empty line."""
    # A lone \r is whitespace in JSON, so only \n ends a line.
    for number, line in enumerate(file_lines(path, name, newline="\n"), 1):
        content = strip_terminator(line)
        yield number, _parse(content, f"{name}:{number}") if content.strip() else None


def _parse(content: str, place: str) -> dict[str, Any]:
    """Parse one line; raise SourceError unless it is a JSON object."""
    try:
        value = json.loads(content)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.colno}"
    except (ValueError, RecursionError) as error:  # a number of over 4,300 digits, or thousands of nested brackets
        reason = str(error)
    else:
        if isinstance(value, dict):
            return value
        reason = f"the line is {_type_name(value)}, not an object"
    if "\r" in content:
        reason += " (a carriage return without a line feed does not end a line)"
    raise SourceError(f'{place}: not a JSON object: {reason}. Each line must be one object, such as {{"text": …}}.')


def _text(value: object, key: str, place: str) -> str | None:
    """Return a value that is a string or null; raise SourceError for other types."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise SourceError(f"{place}: the value of {key!r} is {_type_name(value)}, not a string. Put it in quotes.")
    return value


def _type_name(value: object) -> str:
    """Return the JSON type of a value, with its article, for messages."""
    if value is None:
        return "null"
    return _JSON_TYPES.get(type(value), "a string")


def _json_records(path: Path, name: str, columns: Sequence[str], option: str) -> Iterator[tuple[int, Sequence[object]]]:
    """Yield the line and the values of some keys of each object."""
    choose_columns(name, (), columns, open_ended=True, option=option)
    for number, content in _json_objects(path, name):
        if content is None:
            continue
        for column in columns:
            if column not in content:
                raise unknown_column(f"{name}:{number}", column, list(content), option)
        yield number, [content[column] for column in columns]
