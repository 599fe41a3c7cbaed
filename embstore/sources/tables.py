"""Read the texts of a table, of whatever format, from the chosen columns, with their targets and
the values to keep.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

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


def _table(
    path: Path,
    name: str,
    suffix: str,
    *,
    header: bool = True,
    delimiter: str | None = None,
    comment: str | None = None,
) -> rows.Table:
    """Open a table of the type that its suffix says."""
    if suffix == ".jsonl":
        return JsonLinesTable(path, name)
    if suffix == ".parquet":
        return ParquetTable(path, name)
    return DelimitedTable(
        path, name, DELIMITED[suffix], header=header, delimiter=delimiter, comment=comment
    )


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
    table = _table(path, name, suffix, header=header, delimiter=delimiter)
    if isinstance(table, DelimitedTable) and header and not columns and _begins_with_a_row(table):
        table = _table(path, name, suffix, header=False, delimiter=table.delimiter)
        table.first_remarks.append(f"{name}:1: a number is no name of a column: it has no header.")
    texts = columns or _default_columns(table, rows.DEFAULT_COLUMNS[: 1 if targets else None])
    _check_columns(table, texts, COLUMN_OPTION)
    _check_columns(table, [*texts, *of_targets] if of_targets else (), TARGETS_OPTION)
    for column in texts:
        table.check_texts(column)
    KeptColumns.choose(table, keep, texts)
    if isinstance(table, DelimitedTable) and not columns:
        table.remark_on_header()
    return partial(_rows, table, texts, keep, targets if of_targets else None)


def column_names(path: Path, name: str, suffix: str) -> tuple[list[str], dict[str, Any]]:
    """Return the names of the columns of a table, or the values in its first line, and how a CSV or
    TSV file is read: its delimiter, and the sign of comments before its first line.
    """
    table = _table(path, name, suffix)
    if not isinstance(table, DelimitedTable):
        return list(table.names), {}
    comment = "#" if table.may_have_comments else None
    if comment is not None:
        table = DelimitedTable(
            path, name, DELIMITED[suffix], header=True, delimiter=None, comment=comment
        )
    return list(table.names), {"delimiter": table.delimiter, "comment": comment}


def read_records(
    path: Path,
    name: str,
    suffix: str,
    columns: Sequence[str],
    *,
    header: bool = True,
    delimiter: str | None = None,
    comment: str | None = None,
) -> Iterator[tuple[str, Sequence[object]]]:
    """Yield the place of each row of a table (``pairs.csv:12``) and its values in some columns, of
    any type.

    Empty lines, and those of a CSV or TSV file that begin with ``comment``, are left out.
    """
    table = _table(path, name, suffix, header=header, delimiter=delimiter, comment=comment)
    _check_columns(table, columns, COLUMNS_OPTION)
    for number, record in table.records(columns):
        if record is not None:
            yield f"{name}:{number}", _required(record, columns, f"{name}:{number}", COLUMNS_OPTION)


def _required(
    record: Mapping[str, Any], columns: Sequence[str], line: str, option: str
) -> tuple[Any, ...]:
    """Return the values of a row in some columns, which it must have."""
    for column in columns:
        if column not in record:
            raise _unknown_column(line, column, list(record), option)
    return tuple(record[column] for column in columns)


def _default_columns(table: rows.Table, defaults: Sequence[str]) -> Sequence[str]:
    """Return the column to read if none is requested: the only one, else the first of
    some names.
    """
    if len(table.names) == 1:
        return table.names
    if found := [name for name in defaults if name in table.names or not table.names]:
        return found[:1]
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
    records = [record for _, record in islice(table.records(table.names), _N_GUESSED) if record]
    numeric = [name for name in table.names if all(is_number(row.get(name)) for row in records)]
    texts = [name for name in table.names if name not in numeric]
    is_clear = numeric and table.names[: len(texts)] == texts and len(texts) in (1, 2)
    return texts if records and is_clear else ()


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
        if name not in table.names and not table.is_open_ended:
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
    table: rows.Table, texts: Sequence[str], keep: rows.Keep, targets: rows.Targets | None
) -> Iterator[rows.Row | rows.Blank | str]:
    """Yield remarks on how a table is read, its rows, and what is known after the last of them.

    Since later rows of an open-ended table may have further columns, a column that none has is an
    error in the end.
    """
    kept, parted = KeptColumns.choose(table, keep, texts), rows.PartedWords(table.name)
    of_targets = () if targets is None else targets.columns
    unseen, seen, has_rows = {*texts}, dict[str, None](), False
    yield from (*table.first_remarks, *(() if table.is_open_ended else kept.remarks()))
    for number, record in table.records([*dict.fromkeys((*texts, *of_targets, *kept.names))]):
        line = f"{table.name}:{number}"
        if record is None:
            yield rows.Blank(line, rows.EMPTY_LINE)
            continue
        has_rows = True
        if table.is_open_ended and (unseen or keep):
            unseen.difference_update(record)
            seen.update(dict.fromkeys(record))
        values = kept.values(record, line) if keep else rows.NO_VALUES
        for column in texts:
            place = line if len(texts) == 1 else f"{line} ({column})"
            text = record.get(column)
            if not isinstance(text, str | None):
                raise SourceError(
                    f"{place}: the value of {column!r} is {type_name(text)}, not a string. Put it"
                    " in quotes."
                )
            row = rows.row_or_blank(text, place, values=values)
            if targets is not None and isinstance(row, rows.Row):
                span = targets.find(
                    row.text, _required(record, of_targets, line, TARGETS_OPTION), place
                )
                parted.count(row.text, span, place)
                row = rows.Row(row.text, place, values, spans=(span,))
            yield row
    if table.is_open_ended and has_rows:
        if missing := [column for column in texts if column in unseen]:
            raise _unknown_column(table.name, missing[0], list(seen), COLUMN_OPTION)
        if missing := [column for column in keep.names if column not in seen and not keep.is_all]:
            raise _unknown_column(table.name, missing[0], list(seen), f"`{rows.OPTION}`")
    yield from (*(kept.remarks() if table.is_open_ended else ()), *parted.remarks())


@dataclass(frozen=True, slots=True)
class KeptColumns:
    """The columns of a table that are kept."""

    table: rows.Table
    keep: rows.Keep
    texts: frozenset[str] = frozenset()
    # Names of the kept columns, in the order of the table; more may follow in an open-ended table.
    names: dict[str, None] = field(default_factory=dict)
    # Names of columns that are not kept, with the reason; only if all were requested.
    left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def choose(cls, table: rows.Table, keep: rows.Keep, texts: Sequence[str]) -> "KeptColumns":
        """Choose the columns to keep: of an open-ended table as they come."""
        found = cls(table, keep, frozenset(texts))
        if not keep.is_all and (both := found.texts.intersection(keep.names)):
            raise UsageError(
                f"{rows.OPTION}={min(both)!r} does not fit {table.name}: the column holds"
                " the texts. Leave it out."
            )
        if not table.is_open_ended:
            names = (
                [name for name in table.names if name not in found.texts]
                if keep.is_all
                else keep.names
            )
            _check_columns(table, [*dict.fromkeys(names)], f"`{rows.OPTION}`")
            for name in names:
                if found.admits(name) and (problem := table.keeping_problem(name)):
                    found.leave_out(name, problem)
        return found

    def values(self, record: Mapping[str, Any], place: str) -> dict[str, Any]:
        """Return the values of a row in the kept columns."""
        if not self.table.is_open_ended:
            read = {name: record[name] for name in self.names}
            return (
                read
                if self.table.is_typed
                else {name: rows.as_cell(value) for name, value in read.items()}
            )
        found = {}
        for name, value in record.items():
            if (
                isinstance(value, list | dict)
                and name not in self.left_out
                and name not in self.texts
            ):
                if name in self.names or name in self.keep.names:
                    raise SourceError(
                        f"{place}: the value of {name!r} is {type_name(value)}, which cannot be"
                        f" kept. Leave the column out of `{rows.OPTION}`, or write a number,"
                        " boolean or string."
                    )
                if self.keep.is_all:
                    self.leave_out(name, f"it has {type_name(value)}")
            elif self.admits(name):
                found[name] = value
        return found

    def admits(self, name: str) -> bool:
        """Return whether a column is kept; it is added to the names when it is first seen."""
        if name in self.names:
            return True
        if (
            name in self.texts
            or name in self.left_out
            or not (self.keep.is_all or name in self.keep.names)
        ):
            return False
        if problem := name_problem(name):
            return self.leave_out(name, problem)
        if name.lower() in map(str.lower, self.names):
            return self.leave_out(name, "another column differs from it only in letter case")
        self.names[name] = None
        return True

    def leave_out(self, name: str, problem: str) -> bool:
        """Leave a column out if all were requested, and return False."""
        if not self.keep.is_all:
            raise SourceError(
                f"{self.table.name}: the column {name!r} cannot be kept: {problem}. Leave it out of"
                f" `{rows.OPTION}`."
            )
        self.left_out[name] = problem
        self.names.pop(name, None)
        return False

    def remarks(self) -> Iterator[str]:
        """Yield a remark on each column that was left out."""
        for name, problem in self.left_out.items():
            yield (
                f"{self.table.name}: the column {name!r} is not kept: {problem}. Rename it, or name"
                " those to keep."
            )
