"""Read the rows of CSV and TSV files.

CSV is parsed strictly with the quoting of RFC 4180: an unclosed quote is an error. TSV has no quoting (IANA
text/tab-separated-values): a quote is part of the text.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from embstore.base.errors import SourceError
from embstore.base.space import Unit
from embstore.sources.columns import Columns, choose_columns
from embstore.sources.delimiters import COMMA, TAB, as_argument, find_delimiter, in_words
from embstore.sources.kept import NO_COLUMNS, Keep, KeptColumns
from embstore.sources.lines import MAX_TEXT_CHARS, LineEnds, file_lines, strip_terminator
from embstore.sources.rows import EMPTY_LINE, NO_VALUES, Blank, Remark, Row, Rows

# Names of a single column that are certainly not texts.
_PLAIN_NAMES = ("text", *Unit)

NO_HEADER = "If the first line is no header, add ⦃header=False⦄: the columns are then called 1, 2, 3 …"

# Line on which a record begins, from 1, and its values; no values for an empty line.
_Record = tuple[int, list[str]]


def open_csv(
    path: Path,
    name: str,
    columns: Sequence[str],
    *,
    keep: Keep = NO_COLUMNS,
    header: bool = True,
    delimiter: str | None = None,
) -> Rows:
    """Return a function that yields the rows of a CSV file.

    Args:
        path: CSV file.
        name: Name of the source in messages.
        columns: Columns of texts to read.
        keep: Columns whose values are kept with the texts.
        header: Whether the first line names the columns; else they are named 1, 2, 3 …
        delimiter: Character that separates the columns; None to detect it.

    Raises:
        SourceError: The header is missing, the file cannot be read, or the delimiter is ambiguous.
        UnknownNameError: A requested column does not exist.
        UsageError: No column was requested, and there is no default.
    """
    used, is_unusual = (delimiter, False) if delimiter else find_delimiter(path, name, COMMA, header=header)
    remarks = [
        f"{name}: its columns are separated by {in_words(used)}, which its first lines show. Say so with "
        f"⦃delimiter={as_argument(used)}⦄"
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
    """Yield the line on which each record of a CSV file begins, and its values (none for an empty line).

    Args:
        path: Path of the file.
        name: Name of the source in messages.
        ends: Counter of the line ends of records; None to count none.
        delimiter: Character that separates the values.

    Raises:
        SourceError: A record is not valid CSV.
    """
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
