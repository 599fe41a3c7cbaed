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
from embstore.sources.lines import file_lines, strip_terminator
from embstore.sources.rows import EMPTY_LINE, Blank, Row, Rows

# csv's own limit of 131,072 characters is too short for documents. Not unlimited, so that a quote left open
# in a huge file ends in an error and not in all the memory there is.
_MAX_FIELD_CHARS = 1 << 28

# The line on which a record begins, from 1, and its values: none for an empty line.
_Record = tuple[int, list[str]]


def open_csv(path: Path, name: str, columns: Sequence[str]) -> Rows:
    """Return the reader of a CSV file with a header.

    Raises:
        SourceError: there is no header, or it cannot be read.
        UnknownNameError: a column is not in the header.
        UsageError: no column was named, and none is the obvious one.
    """
    return _open_table(partial(csv_records, path, name), name, columns)


def open_tsv(path: Path, name: str, columns: Sequence[str]) -> Rows:
    """Return the reader of a TSV file with a header.

    Raises:
        SourceError: there is no header, or it cannot be read.
        UnknownNameError: a column is not in the header.
        UsageError: no column was named, and none is the obvious one.
    """
    return _open_table(partial(tsv_records, path, name), name, columns)


def csv_records(path: Path, name: str) -> Iterator[_Record]:
    """Yield the line on which each record of a CSV file begins, and its values (none for an empty line).

    Raises:
        SourceError: a record is not valid CSV.
    """
    # The limit is one for the whole process: it is only ever raised, so that nobody else's reader breaks.
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_FIELD_CHARS))
    reader = csv.reader(file_lines(path, name), strict=True)
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
        yield begins, values


def tsv_records(path: Path, name: str) -> Iterator[_Record]:
    """Yield the number and the values of each line of a TSV file (none for an empty line)."""
    for number, line in enumerate(file_lines(path, name), 1):
        content = strip_terminator(line)
        yield number, content.split("\t") if content else []


def _open_table(records: Callable[[], Iterator[_Record]], name: str, asked: Sequence[str]) -> Rows:
    _, header = next(records(), (1, []))
    if not header:
        raise SourceError(f"{name}:1: the header is missing. The first line must name the columns.")
    columns = choose_columns(name, header, asked)
    return partial(_read, records, header, columns)


def _read(records: Callable[[], Iterator[_Record]], header: list[str], columns: Columns) -> Iterator[Row | Blank]:
    chosen = [header.index(name) for name in columns.names]
    body = records()
    next(body, None)
    for number, values in body:
        if not values:
            yield Blank(f"{columns.source}:{number}", EMPTY_LINE)
            continue
        # A comma in an unquoted text would otherwise cut the text in two and lose its end.
        if any(values[len(header) :]):
            raise SourceError(
                f"{columns.source}:{number}: {len(values)} values, but the header names {len(header)} "
                "columns. Quote the values that contain the separator, or name the columns."
            )
        yield from columns.texts(number, [values[i] if i < len(values) else None for i in chosen])
