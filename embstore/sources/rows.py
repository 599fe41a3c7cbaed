"""Define the rows that a source yields, their values, the columns to keep (``--keep``), and what a table is."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from embstore.base.errors import SourceError, UsageError
from embstore.base.messages import with_value
from embstore.base.text import Span, name_problem

Value = float | int | str
NO_VALUES: Mapping[str, Any] = MappingProxyType({})
EMPTY_LINE = "empty line"
EMPTY_VALUE = "empty value"
MISSING_VALUE = "missing value"
DEFAULT_COLUMN = "text"
OPTION = "⦃keep⦄"
ALL = "all"


@dataclass(frozen=True, slots=True)
class Row:
    """One text of a source, or a pair of texts, exactly as in the source."""

    text: str  # neither empty nor whitespace only
    origin: str  # place in the source, for messages: ``words.txt:12``, ``pairs.csv:12 (right)``
    # Column → value: of a dataset, those of ``DatasetSpec.columns``; of a file, those to keep with the text: numbers,
    # booleans, strings, None, or cells without a type (:class:`Cell`).
    values: Mapping[str, Any] = field(default_factory=lambda: NO_VALUES, hash=False)
    text_2: str | None = None
    spans: tuple[Span, ...] = ()  # span of the target in each text; empty for whole texts
    more: tuple[str, ...] = ()  # further texts after the second one, as of a question of four words

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, both texts of a pair, or all texts of a question."""
        return (self.text,) if self.text_2 is None else (self.text, self.text_2, *self.more)


@dataclass(frozen=True, slots=True)
class Blank:
    """A line or cell of a source without a text, which is counted and not embedded.

    The reason is ``empty line``, ``empty value`` (an empty or whitespace-only cell) or ``missing value`` (null, absent,
    or beyond the end of a short row).
    """

    origin: str
    reason: str


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence for the user about how a source was read."""

    text: str


Rows = Callable[[], Iterator[Row | Blank | Remark]]


def no_texts(name: str, n_blanks: int = 0, *, has_columns: bool = False) -> SourceError:
    """Return the error for a source without any text."""
    why = f"all {n_blanks:,} of its rows are empty or missing" if n_blanks > 1 else "its only row is empty or missing"
    if not n_blanks:
        why = "it has columns, and no rows" if has_columns else "it is empty"
    return SourceError(f"{name} has no texts: {why}. Give a source with at least one text.")


def row_or_blank(
    text: str | None, origin: str, empty: str = EMPTY_VALUE, values: Mapping[str, Any] = NO_VALUES
) -> Row | Blank:
    """Return a row for a text, or a blank if it is missing, empty or whitespace only."""
    if text is None:
        return Blank(origin, MISSING_VALUE)
    if not text or text.isspace():
        return Blank(origin, empty)
    return Row(text, origin, values)


def text_value(value: object, place: str) -> str:
    """Return a value if it is a non-empty string, unchanged."""
    if not isinstance(value, str):
        what = "missing" if value is None else f"{value!r}, which is not a string"
        raise SourceError(f"{place}: the text is {what}. Every row of a dataset needs its texts.")
    if not value or value.isspace():
        raise SourceError(f"{place}: the text is empty. Every row of a dataset needs its texts.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SourceError(f"{place}: {value!r} has half of a surrogate pair. Write the file in UTF-8.") from None
    return value


def number_value(value: object, place: str) -> float:
    """Return a value as a float; strings of a number are parsed, with spaces around it ignored."""
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str) or "_" in str(value):
            raise ValueError  # Python accepts 1_000 as a number
        number = float(value)
    except ValueError:
        raise SourceError(
            f"{place}: {value!r} is not a number. Write a number there, or name another column."
        ) from None
    if not math.isfinite(number):
        raise SourceError(f"{place}: {value!r} is not a finite number. Write a number there, or leave the row out.")
    return number


def label_value(value: object, place: str) -> float:
    """Return a value as :func:`number_value` does; a boolean, ``T``, ``F``, ``true`` or ``false`` is 1 or 0."""
    label = str(value).strip().lower()
    return float(label[0] == "t") if label in ("true", "false", "t", "f") else number_value(value, place)


class Cell(str):
    """A value of a file without types (CSV, TSV): its column decides whether it is a number, a boolean or a text."""

    __slots__ = ()


def as_cell(value: object) -> Cell | None:
    """Return a value of a file without types as a cell; None if it is missing, empty or whitespace only."""
    return Cell(value) if isinstance(value, str) and value and not value.isspace() else None


@dataclass(frozen=True, slots=True)
class Keep:
    """The columns of tables to keep; ``("all",)`` for all that hold no texts."""

    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if ALL in self.names and len(self.names) > 1:
            raise UsageError(f"{with_value(OPTION, ALL)} keeps every column: leave the other names out.")
        lower = [name.lower() for name in self.names]
        for i, name in enumerate(self.names):
            if lower[i] in lower[:i]:
                raise UsageError(
                    f"{with_value(OPTION, name)} was given twice. Give each column once; case does not count."
                )
            if name != ALL and (problem := name_problem(name)):
                raise UsageError(
                    f"{with_value(OPTION, name)} cannot be kept: {problem}. Rename the column in the file."
                )

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def is_all(self) -> bool:
        """Whether all columns are kept."""
        return self.names == (ALL,)


NO_COLUMNS = Keep()

Record = tuple[int, Mapping[str, Any] | None]
"""Number of a row, from 1, or of its first line; its values by column, None for an empty line."""


class Table:
    """A file of rows with named columns, which can be read several times.

    Attributes:
        names: Names of the columns; of an open-ended table those of the first row: others may have more.
        hint: Sentence for messages about columns.
        first_remarks: Sentences about how it is read, known before its first record.
        remarks: Sentences about how it was read, known after its last record.
    """

    is_open_ended = False
    is_typed = True

    def __init__(self, path: Path, name: str, names: Sequence[str] = (), hint: str = "") -> None:
        self.path, self.name, self.names, self.hint = path, name, names, hint
        self.first_remarks: list[str] = []
        self.remarks: list[str] = []

    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        """Yield the rows from the beginning, with their values in some columns or in all."""
        raise NotImplementedError

    def check_texts(self, column: str) -> None:
        """Raise SourceError if the type of a column says that its values are no texts."""

    def keeping_problem(self, column: str) -> str | None:
        """Return why the values of a column cannot be kept; None if they can, as far as its type says."""
        return None
