"""Read chosen columns of a user's table row by row, values of any type: CSV, TSV, JSON Lines or Parquet."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from embstore.base.errors import SourceError
from embstore.sources.columns import choose_columns, unknown_column
from embstore.sources.delimiters import COMMA, TAB, find_delimiter
from embstore.sources.jsonl import json_objects
from embstore.sources.parquet import parquet_records
from embstore.sources.tables import csv_records, tsv_records

_Records = Iterator[tuple[int, Sequence[object]]]

OPTION = "⦃columns⦄"


def read_records(
    path: Path,
    name: str,
    suffix: str,
    columns: Sequence[str],
    delimiter: str | None = None,
    *,
    option: str = OPTION,
    header: bool = True,
) -> Iterator[tuple[str, Sequence[object]]]:
    """Yield the place of each row (``pairs.csv:12``) and its values in some columns; empty lines are left out.

    Args:
        path: Path of the table.
        name: Name of the source in messages.
        suffix: File type: ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet``.
        columns: Columns to read.
        delimiter: Character that separates the columns of CSV and TSV files; None to detect it.
        option: Command-line option that names the columns, for messages.
        header: Whether the first line of a CSV or TSV file names the columns; else they are named 1, 2, 3 …

    Raises:
        SourceError: The table is damaged, or a row has too many values.
        UnknownNameError: A column does not exist.
    """
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
    """Yield the line number and the values in some columns of each record; None for values beyond the end of a record.

    Args:
        records: Line number and values of each record, the header first; blank lines have no values.
        name: Name of the source in messages.
        columns: Columns to yield.
        option: Command-line option that names the columns, for messages.
        has_header: Whether the first record names the columns.

    Raises:
        SourceError: The header is missing, or a record has more values than the header.
        UnknownNameError: A column does not exist.
    """
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


DELIMITED = (".csv", ".tsv")

RECORDS: dict[str, Callable[..., _Records]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
