"""Read the texts of a table, of whatever format, from the chosen columns, with their targets and
the values to keep.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from embstore.base.errors import SourceError, UnknownNameError, UsageError
from embstore.base.space import Unit
from embstore.base.text import name_problem
from embstore.sources import rows
from embstore.sources.table_files import (
    DELIMITED,
    DelimitedTable,
    JsonLinesTable,
    ParquetTable,
    type_name,
)

TABLES = (*DELIMITED, ".jsonl", ".parquet")
"""Types of tables."""

COLUMN_OPTION, TARGETS_OPTION = "`columns`", "`span` or `targets`"
COLUMNS_OPTION = (
    "its path, as in pairs.csv:left,right,score, or pairs.csv:1,2,3 if the first line is no header"
)
_N_GUESSED = 100  # rows that columns are guessed from


def table_at(
    path: Path, name: str, suffix: str, *, header: bool = True, delimiter: str | None = None
) -> rows.Table:
    """Open a table of the type that its suffix says."""
    if suffix == ".jsonl":
        return JsonLinesTable(path, name)
    if suffix == ".parquet":
        return ParquetTable(path, name)
    return DelimitedTable(path, name, DELIMITED[suffix], header=header, delimiter=delimiter)


def open_table(
    path: Path,
    name: str,
    suffix: str,
    columns: Sequence[str],
    *,
    keep: rows.Keep,
    header: bool,
    delimiter: str | None,
    targets: rows.Targets | None = None,
) -> rows.Rows:
    """Return a function that yields the texts in some columns of a table, with the values to keep.

    A header names the columns of CSV and TSV files; without one they are called 1, 2, 3 … The
    delimiter of their columns is detected if it is None. With targets that columns give, each text
    has the span of its target.
    """
    of_targets = () if targets is None else targets.columns
    if of_targets and len(columns) > 1:
        raise UsageError(
            f"columns={columns[1]!r}: the targets of {name} are in one column of sentences. Give"
            " that one; in pairs, put them in brackets."
        )
    if of_targets and keep.is_all:
        raise UsageError(
            f"keep='all' does not fit {name}, whose targets are in columns. Name the columns to"
            " keep."
        )
    table = table_at(path, name, suffix, header=header, delimiter=delimiter)
    if isinstance(table, DelimitedTable) and header and not columns and _begins_with_a_row(table):
        table = table.without_header()
        table.remarks.append(f"{name}:1: a number is no name of a column: it has no header.")
    texts = columns or _default_columns(table, rows.DEFAULT_COLUMNS[: 1 if targets else None])
    _check_columns(table, texts, COLUMN_OPTION)
    _check_columns(table, [*texts, *of_targets] if of_targets else (), TARGETS_OPTION)
    for column in texts:
        table.check_texts(column)
    if isinstance(table, DelimitedTable) and not columns:
        table.remark_on_header()
    names = [name for name in keep.names if name in (rows.FILE, rows.LINE)]
    places = [name for name in names if name not in table.names]
    named = rows.Keep(tuple(name for name in keep.names if name not in places))
    kept = _kept_columns(table, named, texts)
    return partial(_rows, table, texts, kept, places, targets if of_targets else None)


def read_records(
    table: rows.Table, columns: Sequence[str]
) -> Iterator[tuple[str, Sequence[object]]]:
    """Yield the place of each row of a table (``pairs.csv:12``) and its values in some columns, of
    any type; empty lines are left out.
    """
    _check_columns(table, columns, COLUMNS_OPTION)
    for number, record in table.records(columns):
        if record is not None:
            yield f"{table.name}:{number}", [record[column] for column in columns]


def _default_columns(table: rows.Table, defaults: Sequence[str]) -> Sequence[str]:
    """Return the column to read if none is requested: the only one, else the first of
    some names.
    """
    if len(table.names) == 1:
        return table.names
    for name in defaults:
        if name in table.names or not table.names:
            return [name]
    if texts := _guessed_texts(table):
        return texts
    raise UsageError(
        f"{table.name} has {len(table.names)} columns: {', '.join(table.names)}. Say which hold the"
        f" texts, with {COLUMN_OPTION}. {table.hint}".rstrip()
    )


def _guessed_texts(table: rows.Table) -> Sequence[str]:
    """Return the first one or two columns of a table of texts and numbers, as of pairs with their
    scores; empty if it has another form.
    """
    numeric = number_columns(table)
    texts = [name for name in table.names if name not in numeric]
    is_clear = numeric and table.names[: len(texts)] == texts and len(texts) in (1, 2)
    return texts if is_clear else ()


def number_columns(table: rows.Table, unit: Unit = Unit.WORD) -> list[str]:
    """Return the columns that have numbers alone in the first rows, of occurrences labels; none
    without rows.
    """
    records = [record for _, record in islice(table.records(table.names), _N_GUESSED) if record]
    return [
        name
        for name in table.names
        if records and all(is_number(record[name], unit) for record in records)
    ]


def _begins_with_a_row(table: rows.Table) -> bool:
    """Return whether the first line of a table of several columns has a number, unlike a header."""
    is_plain = len(table.names) == 1 or rows.DEFAULT_COLUMNS[0] in table.names
    return not is_plain and any(map(is_number, table.names))


def is_number(value: object, unit: Unit = Unit.WORD) -> bool:
    """Return whether a value is a number; of occurrences, a label."""
    try:
        (rows.label_value if unit is Unit.OCCURRENCE else rows.number_value)(value, "")
    except SourceError:
        return False
    return True


def _check_columns(table: rows.Table, columns: Sequence[str], option: str) -> None:
    """Raise an error if a column is requested twice, does not exist, or exists twice."""
    for i, name in enumerate(columns):
        if name in columns[:i]:
            raise UsageError(
                f"{name!r} was given twice for {table.name}, in {option}. Give each column once."
            )
        if name not in table.names:
            hint = table.hint if option is COLUMN_OPTION else ""
            raise _unknown_column(table.name, name, table.names, option, hint)
        if (n := table.names.count(name)) > 1:
            raise SourceError(
                f"{table.name} has {n} columns named {name!r}. Rename all but one of them."
            )


def _unknown_column(
    source: str, name: str, known: Sequence[str], option: str, hint: str = ""
) -> UnknownNameError:
    return UnknownNameError(
        "column", name, known, f"Name a column of {source} with {option}. {hint}".rstrip()
    )


def _rows(
    table: rows.Table,
    texts: Sequence[str],
    kept: Sequence[str],
    places: Sequence[str],
    targets: rows.Targets | None,
) -> Iterator[rows.Row | rows.Blank | str]:
    """Yield remarks on how a table is read, its rows, and a remark on spans that part words."""
    parted = rows.PartedWords(table.name)
    of_targets = () if targets is None else targets.columns
    has_cells = isinstance(table, DelimitedTable)
    yield from table.remarks
    for number, record in table.records([*dict.fromkeys((*texts, *of_targets, *kept))]):
        line = f"{table.name}:{number}"
        if record is None:
            yield rows.Blank(line, rows.EMPTY_LINE)
            continue
        values = {name: rows.as_cell(record[name]) if has_cells else record[name] for name in kept}
        values |= rows.place_values(places, table.name, number)
        for column in texts:
            place = line if len(texts) == 1 else f"{line} ({column})"
            text = record[column]
            if not isinstance(text, str | None):
                raise SourceError(
                    f"{place}: the value of {column!r} is {type_name(text)}, not a string. Put it"
                    " in quotes."
                )
            row = rows.row_or_blank(text, place, values=values)
            if targets is not None and isinstance(row, rows.Row):
                span = targets.find(row.text, [record[name] for name in of_targets], place)
                parted.count(row.text, span, place)
                row = rows.Row(row.text, place, values, spans=(span,))
            yield row
    yield from parted.remarks()


def _kept_columns(table: rows.Table, keep: rows.Keep, texts: Sequence[str]) -> list[str]:
    """Return the columns of a table to keep; the table gets a remark on each that cannot be kept if
    all were requested.
    """
    for name in texts:
        if name in keep.names and not keep.is_all:
            raise UsageError(
                f"{rows.OPTION}={name!r} does not fit {table.name}: the column holds the texts."
                " Leave it out."
            )
    names: Sequence[str] = keep.names
    if keep.is_all:
        names = [name for name in dict.fromkeys(table.names) if name not in texts]
    _check_columns(table, names, f"`{rows.OPTION}`")
    kept: list[str] = []
    for name in names:
        problem = name_problem(name) or table.keeping_problem(name)
        if name.lower() in map(str.lower, kept):
            problem = "another column differs from it only in letter case"
        if problem is None:
            kept.append(name)
        elif keep.is_all:
            table.remarks.append(
                f"{table.name}: the column {name!r} is not kept: {problem}. Rename it, or name"
                " those to keep."
            )
        else:
            raise SourceError(
                f"{table.name}: the column {name!r} cannot be kept: {problem}. Leave it out of"
                f" `{rows.OPTION}`."
            )
    return kept
