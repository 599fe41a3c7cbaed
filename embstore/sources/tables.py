"""CSV and TSV files to rows.

CSV is read with RFC 4180's quoting, strictly: a quote that is never closed is an error, not one enormous
text. TSV has no quoting at all (IANA text/tab-separated-values): a quote is part of the text.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from embstore.errors import SourceError
from embstore.sources.columns import Columns, choose_columns
from embstore.sources.delimiters import COMMA, TAB, find_delimiter, shown_delimiter
from embstore.sources.lines import MAX_TEXT_CHARS, LineEnds, file_lines, strip_terminator
from embstore.sources.rows import EMPTY_LINE, Blank, Remark, Row, Rows
from embstore.space import Unit

# Names of an only column that nobody takes for a text.
_PLAIN_NAMES = ("text", *Unit)

NO_HEADER = "If the first line is no header, add --no-header: the columns are then called 1, 2, 3 …"

# The line on which a record begins, from 1, and its values: none for an empty line.
_Record = tuple[int, list[str]]


def open_csv(
    path: Path, name: str, columns: Sequence[str], *, header: bool = True, delimiter: str | None = None
) -> Rows:
    """Return the reader of a CSV file; without a header its columns are called 1, 2 and so on.

    Args:
        path: CSV file.
        name: Name of the source in messages.
        columns: Columns to read.
        header: Whether the first line names the columns.
        delimiter: Character that separates the columns; None to find it.

    Raises:
        SourceError: If there is no header, it cannot be read, or it is not certain what separates the columns.
        UnknownNameError: If a column is not in the header.
        UsageError: If no column was named, and none is the obvious one.
    """
    found, is_other = (delimiter, False) if delimiter else find_delimiter(path, name, COMMA, header=header)
    remarks = [
        f"{name}: its columns are separated by {shown_delimiter(found)}, which its first lines show. Say so with "
        f"--delimiter {shown_delimiter(found)}"
    ]
    return _open_table(
        partial(csv_records, path, name, delimiter=found), name, columns, has_header=header,
        remarks=remarks if is_other else (),
    )  # fmt: skip


def open_tsv(
    path: Path, name: str, columns: Sequence[str], *, header: bool = True, delimiter: str | None = None
) -> Rows:
    """Return the reader of a TSV file; without a header its columns are called 1, 2 and so on.

    With another delimiter than tabs it is read as CSV is, quotes included. Arguments: see :func:`open_csv`.

    Raises:
        SourceError: If there is no header, it cannot be read, or tabs do not seem to separate its columns.
        UnknownNameError: If a column is not in the header.
        UsageError: If no column was named, and none is the obvious one.
    """
    if delimiter not in (None, TAB):
        return open_csv(path, name, columns, header=header, delimiter=delimiter)
    if delimiter is None:
        find_delimiter(path, name, TAB, header=header)
    return _open_table(partial(tsv_records, path, name), name, columns, has_header=header)


def csv_records(path: Path, name: str, ends: LineEnds | None = None, *, delimiter: str = COMMA) -> Iterator[_Record]:
    """Yield the line on which each record of a CSV file begins, and its values (none for an empty line).

    Args:
        path: Path of the file.
        name: Name of the source in messages.
        ends: Counts the ends of the records.
        delimiter: Character that separates the values.

    Raises:
        SourceError: If a record is not valid CSV.
    """
    # The limit is one for the whole process: it is only ever raised, so that nobody else's reader breaks.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_TEXT_CHARS))
    last = ""

    def lines() -> Iterator[str]:
        nonlocal last
        for line in file_lines(path, name):
            last = line
            yield line

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    while True:
        begins = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise SourceError(
                f"{name}:{begins}: the record that begins here is not valid CSV: {error}. Write a quote "
                "inside a quoted value twice, close every quote, or use .tsv, which has no quoting."
            ) from error
        if ends is not None:
            ends.count(reader.line_num, last)
        yield begins, values


def tsv_records(path: Path, name: str, ends: LineEnds | None = None) -> Iterator[_Record]:
    """Yield the number and the values of each line of a TSV file (none for an empty line); ``ends`` counts its ends."""
    for number, line in enumerate(file_lines(path, name), 1):
        if ends is not None:
            ends.count(number, line)
        content = strip_terminator(line)
        yield number, content.split("\t") if content else []


def _open_table(
    records: Callable[..., Iterator[_Record]],
    name: str,
    asked: Sequence[str],
    *,
    has_header: bool,
    remarks: Sequence[str] = (),
) -> Rows:
    if not has_header:
        width = len(next((values for _, values in records() if values), []))
        names = [str(number) for number in range(1, width + 1)] or ["1"]
        return partial(_read, records, names, choose_columns(name, names, asked), has_header=False)
    _, header = next(records(), (1, []))
    if not header:
        raise SourceError(f"{name}:1: the header is missing. The first line must name the columns. {NO_HEADER}")
    columns = choose_columns(name, header, asked, hint=NO_HEADER)
    in_doubt = not asked and len(header) == 1 and header[0].strip().lower() not in _PLAIN_NAMES
    return partial(_read, records, header, columns, in_doubt=in_doubt, remarks=remarks)


def _read(
    records: Callable[..., Iterator[_Record]],
    header: list[str],
    columns: Columns,
    *,
    has_header: bool = True,
    in_doubt: bool = False,
    remarks: Sequence[str] = (),
) -> Iterator[Row | Blank | Remark]:
    chosen = [header.index(name) for name in columns.names]
    ends = LineEnds(columns.source)
    body = records(ends)
    if has_header:
        next(body, None)
    yield from map(Remark, remarks)
    if in_doubt:
        yield Remark(
            f"{columns.source}:1: {header[0][:60]!r} was taken for the name of the column, not for a text. {NO_HEADER}"
        )
    for number, values in body:
        if not values:
            yield Blank(f"{columns.source}:{number}", EMPTY_LINE)
            continue
        # A comma in an unquoted text would otherwise cut the text in two and lose its end.
        if any(values[len(header) :]):
            raise SourceError(
                f"{columns.source}:{number}: {len(values)} values, but the "
                f"{'header names' if has_header else 'first line has'} {len(header)} columns. Quote the values that "
                "contain the separator, or name the columns."
            )
        yield from columns.texts(number, [values[i] if i < len(values) else None for i in chosen])
    yield from ends.remarks()
