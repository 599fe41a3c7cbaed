"""Read the rows of CSV and TSV files.

CSV is parsed strictly with the quoting of RFC 4180: an unclosed quote is an error. TSV has no quoting (IANA
text/tab-separated-values): a quote is part of the text.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from embstore.base.errors import SourceAccessError, SourceError, UsageError
from embstore.base.space import Unit
from embstore.sources.files import MAX_TEXT_CHARS, LineEnds, file_lines, strip_terminator
from embstore.sources.parquet import parquet_records
from embstore.sources.rows import (
    DEFAULT_COLUMN,
    EMPTY_LINE,
    NO_COLUMNS,
    NO_VALUES,
    OPTION,
    Blank,
    Columns,
    Keep,
    KeptColumns,
    Remark,
    Row,
    Rows,
    choose_columns,
    unknown_column,
)

# Names of a single column that are certainly not texts.
_PLAIN_NAMES = ("text", *Unit)
NO_HEADER = "If the first line is no header, add --no-header: the columns are then called 1, 2, 3 …"
# Line on which a record begins, from 1, and its values; no values for an empty line.
_Record = tuple[int, list[str]]
COMMA, TAB = ",", "\t"
_OTHERS = (";", TAB, "|")
_N_LINES = 100
_NAMES = {"comma": COMMA, "tab": TAB, "\\t": TAB, "semicolon": ";", "pipe": "|"}
_JSON_TYPES = {bool: "a boolean", int: "a number", float: "a number", list: "an array", dict: "an object"}
_Records = Iterator[tuple[int, Sequence[object]]]
COLUMNS_OPTION = "--columns"
DELIMITED = (".csv", ".tsv")


def open_csv(
    path: Path,
    name: str,
    columns: Sequence[str],
    *,
    keep: Keep = NO_COLUMNS,
    header: bool = True,
    delimiter: str | None = None,
) -> Rows:
    """Return a function that yields the rows of a CSV file."""
    used, is_unusual = (delimiter, False) if delimiter else find_delimiter(path, name, COMMA, header=header)
    remarks = [
        f"{name}: its columns are separated by {as_argument(used)}, which its first lines show. Say so with "
        f"--delimiter {as_argument(used)}"
    ]
    return _open_table(
        partial(csv_records, path, name, delimiter=used), name, columns, keep, has_header=header,
        remarks=remarks if is_unusual else (),
    )  # fmt: skip


def open_tsv(
    path: Path,
    name: str,
    columns: Sequence[str],
    *,
    keep: Keep = NO_COLUMNS,
    header: bool = True,
    delimiter: str | None = None,
) -> Rows:
    """Return a function that yields the rows of a TSV file; arguments and errors as :func:`open_csv`.

    With a delimiter other than tab, the file is read as CSV, with quoting.
    """
    if delimiter not in (None, TAB):
        return open_csv(path, name, columns, keep=keep, header=header, delimiter=delimiter)
    if delimiter is None:
        find_delimiter(path, name, TAB, header=header)
    return _open_table(partial(tsv_records, path, name), name, columns, keep, has_header=header)


def csv_records(path: Path, name: str, ends: LineEnds | None = None, *, delimiter: str = COMMA) -> Iterator[_Record]:
    """Yield the line on which each record of a CSV file begins, and its values (none for an empty line)."""
    # The limit applies to the whole process: it is only raised, so that no other reader breaks.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_TEXT_CHARS))
    last = ""

    def lines() -> Iterator[str]:
        nonlocal last
        for line in file_lines(path, name):
            last = line
            yield line

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    while True:
        first_line = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise SourceError(
                f"{name}:{first_line}: the record that begins here is not valid CSV: {error}. Write a quote "
                "inside a quoted value twice, close every quote, or use .tsv, which has no quoting."
            ) from error
        if ends is not None:
            ends.count(reader.line_num, last)
        yield first_line, values


def tsv_records(path: Path, name: str, ends: LineEnds | None = None) -> Iterator[_Record]:
    """Yield the number and values of each line of a TSV file, no values for an empty one; count its end in ``ends``."""
    for number, line in enumerate(file_lines(path, name), 1):
        if ends is not None:
            ends.count(number, line)
        content = strip_terminator(line)
        yield number, content.split("\t") if content else []


def _open_table(
    records: Callable[..., Iterator[_Record]],
    name: str,
    requested: Sequence[str],
    keep: Keep,
    *,
    has_header: bool,
    remarks: Sequence[str] = (),
) -> Rows:
    """Read the header of a table, and return a function that yields its rows in the chosen columns."""
    if not has_header:
        width = len(next((values for _, values in records() if values), []))
        names = [str(number) for number in range(1, width + 1)] or ["1"]
        columns = choose_columns(name, names, requested)
        return partial(_read, records, names, columns, keep.choose(name, names, columns.names), has_header=False)
    _, header = next(records(), (1, []))
    if not header:
        raise SourceError(f"{name}:1: the header is missing. The first line must name the columns. {NO_HEADER}")
    columns = choose_columns(name, header, requested, hint=NO_HEADER)
    header_is_doubtful = not requested and len(header) == 1 and header[0].strip().lower() not in _PLAIN_NAMES
    kept = keep.choose(name, header, columns.names)
    return partial(_read, records, header, columns, kept, header_is_doubtful=header_is_doubtful, remarks=remarks)


def _read(
    records: Callable[..., Iterator[_Record]],
    header: list[str],
    columns: Columns,
    kept: KeptColumns,
    *,
    has_header: bool = True,
    header_is_doubtful: bool = False,
    remarks: Sequence[str] = (),
) -> Iterator[Row | Blank | Remark]:
    """Yield the rows of a table, and remarks on its delimiter, header and line ends."""
    chosen = [header.index(name) for name in columns.names]
    places = {name: header.index(name) for name in kept.names}
    ends = LineEnds(columns.source)
    body = records(ends)
    if has_header:
        next(body, None)
    yield from map(Remark, remarks)
    yield from kept.remarks()
    if header_is_doubtful:
        yield Remark(
            f"{columns.source}:1: {header[0][:60]!r} was taken for the name of the column, not for a text. {NO_HEADER}"
        )
    for number, values in body:
        if not values:
            yield Blank(f"{columns.source}:{number}", EMPTY_LINE)
            continue
        # Further values come from a delimiter in an unquoted text, which would lose its end.
        if any(values[len(header) :]):
            raise SourceError(
                f"{columns.source}:{number}: {len(values)} values, but the "
                f"{'header names' if has_header else 'first line has'} {len(header)} columns. Quote the values that "
                "contain the separator, or name the columns."
            )
        texts = [values[i] if i < len(values) else None for i in chosen]
        yield from columns.texts(number, texts, kept.cells(values, places) if places else NO_VALUES)
    yield from ends.remarks()


def parse_delimiter(text: str | None) -> str | None:
    r"""Return the delimiter that the user named: the character, ``tab``, ``\t``, ``comma``, ``semicolon`` or ``pipe``."""
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
        f"{name}:1: columns may be separated by {' or '.join(map(_in_words, rivals))} here, not by {_in_words(usual)}: "
        f"{first.strip()[:60]!r}. Say which with --delimiter {as_argument(rivals[0])} or --delimiter "
        f"{as_argument(usual)}."
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


def _in_words(delimiter: str) -> str:
    return {COMMA: "commas", TAB: "tabs"}.get(delimiter, repr(delimiter))


def as_argument(delimiter: str) -> str:
    """Return a delimiter as an argument of ``--delimiter`` in a shell."""
    return "tab" if delimiter == TAB else f"'{delimiter}'"


def open_jsonl(path: Path, name: str, columns: Sequence[str], *, keep: Keep = NO_COLUMNS) -> Rows:
    """Return a function that yields the rows of a JSON Lines file.

    The columns are chosen by the first object. Since later objects may have further keys, a requested column that no
    object has is an error only after the last row.
    """
    first = next((content for _, content in json_objects(path, name) if content), {})
    if not (first or columns):
        return partial(_read_objects, path, Columns(name, (DEFAULT_COLUMN,)), keep)
    return partial(_read_objects, path, choose_columns(name, list(first), columns, open_ended=True), keep)


def _read_objects(path: Path, columns: Columns, keep: Keep) -> Iterator[Row | Blank | Remark]:
    """Yield the rows of a file."""
    kept = KeptColumns(columns.source, keep, frozenset(columns.names))
    if both := kept.texts.intersection(keep.names):
        raise UsageError(
            f"{OPTION} {min(both)!r} does not fit {columns.source}: the column holds the texts. Leave it out."
        )
    unseen = set(columns.names)
    keys: dict[str, None] = {}
    n_objects = 0
    for number, content in json_objects(path, columns.source):
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


def json_objects(path: Path, name: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
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
    """Yield the place of each row (``pairs.csv:12``) and its values in some columns; empty lines are left out."""
    options: dict[str, object] = {} if delimiter is None else {"delimiter": delimiter}
    options |= {} if header else {"header": False}
    for number, values in RECORDS[suffix](path, name, columns, option, **options):
        yield f"{name}:{number}", values


def _csv(
    path: Path, name: str, columns: Sequence[str], option: str, *, delimiter: str | None = None, header: bool = True
) -> _Records:
    if delimiter is None:
        delimiter, _ = find_delimiter(path, name, COMMA, header=header)
    yield from _delimited(csv_records(path, name, delimiter=delimiter), name, columns, option, has_header=header)


def _tsv(
    path: Path, name: str, columns: Sequence[str], option: str, *, delimiter: str = TAB, header: bool = True
) -> _Records:
    records = tsv_records(path, name) if delimiter == TAB else csv_records(path, name, delimiter=delimiter)
    yield from _delimited(records, name, columns, option, has_header=header)


def _delimited(
    records: Iterator[tuple[int, list[str]]], name: str, columns: Sequence[str], option: str, *, has_header: bool
) -> _Records:
    """Yield the line number and the values in some columns of each record; None for values beyond the end of a record."""
    first = next(records, (1, []))
    header = first[1] if has_header else [str(number) for number in range(1, len(first[1]) + 1)]
    if not header:
        raise SourceError(f"{name}:1: the header is missing. The first line must name the columns.")
    choose_columns(name, header, columns, option=option)
    records = records if has_header else chain([first], records)
    chosen = [header.index(column) for column in columns]
    for number, values in records:
        if not values:
            continue
        if any(values[len(header) :]):
            raise SourceError(
                f"{name}:{number}: {len(values)} values, but the header names {len(header)} columns. Quote the values "
                "that contain the separator, or name the columns."
            )
        yield number, [values[i] if i < len(values) else None for i in chosen]


def _jsonl(path: Path, name: str, columns: Sequence[str], option: str) -> _Records:
    """Yield the line and the values of some keys of each object."""
    choose_columns(name, (), columns, open_ended=True, option=option)
    for number, content in json_objects(path, name):
        if content is None:
            continue
        for column in columns:
            if column not in content:
                raise unknown_column(f"{name}:{number}", column, list(content), option)
        yield number, [content[column] for column in columns]


def _parquet(path: Path, name: str, columns: Sequence[str], option: str) -> _Records:
    yield from parquet_records(path, name, columns, option)


RECORDS: dict[str, Callable[..., _Records]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
