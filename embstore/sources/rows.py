"""Define rows of a source, their values, the columns to keep, the targets of sentences, and what a
table is.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from embstore.base.errors import SourceError, UsageError
from embstore.base.text import Span, name_problem, split_marked

Value = float | int | str
NO_VALUES: Mapping[str, Any] = MappingProxyType({})
EMPTY_LINE = "empty line"
EMPTY_VALUE = "empty value"
MISSING_VALUE = "missing value"
DEFAULT_COLUMNS = ("text", "word")
OPTION = "keep"
ALL = "all"


@dataclass(frozen=True, slots=True)
class Row:
    """One text of a source, or a pair of texts, exactly as in the source."""

    text: str  # neither empty nor whitespace only
    origin: str  # place in the source, for messages: ``words.txt:12``, ``pairs.csv:12 (right)``
    # Column → value: of a dataset, those of ``DatasetSpec.columns``; of a file, those to keep with
    # the text: numbers, booleans, strings, None, or cells without a type (:class:`Cell`).
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

    The reason is ``empty line``, ``empty value`` (an empty or whitespace-only cell) or
    ``missing value`` (null, absent, or beyond the end of a short row).
    """

    origin: str
    reason: str


Rows = Callable[[], Iterator[Row | Blank | str]]
"""A function that yields the rows of a source, and remarks: sentences for the user about how it was
read.
"""


_ADD_ONE = "Give a source with at least one text."


def no_texts(
    name: str, n_blanks: int = 0, why: str = "it is empty", remedy: str = _ADD_ONE
) -> SourceError:
    """Return the error for a source without any text."""
    if n_blanks:
        why = (
            f"{f'all {n_blanks:,} of its rows are' if n_blanks > 1 else 'its only row is'} empty or"
            " missing"
        )
    return SourceError(f"{name} has no texts: {why}. {remedy}")


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
        raise SourceError(
            f"{place}: {value!r} has half of a surrogate pair. Write the file in UTF-8."
        ) from None
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
        raise SourceError(
            f"{place}: {value!r} is not a finite number. Write a number there, or leave the row"
            " out."
        )
    return number


def label_value(value: object, place: str) -> float:
    """Return a value as :func:`number_value` does; a boolean, ``T``, ``F``, ``true`` or ``false``
    is 1 or 0.
    """
    label = str(value).strip().lower()
    return (
        float(label[0] == "t")
        if label in ("true", "false", "t", "f")
        else number_value(value, place)
    )


class Cell(str):
    """A value of a file without types (CSV, TSV): its column decides whether it is a number, a
    boolean or a text.
    """

    __slots__ = ()


def as_cell(value: object) -> Cell | None:
    """Return a value of a file without types as a cell; None if it is missing, empty or whitespace
    only.
    """
    return Cell(value) if isinstance(value, str) and value and not value.isspace() else None


@dataclass(frozen=True, slots=True)
class Keep:
    """The columns of tables to keep; ``("all",)`` for all that hold no texts."""

    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if ALL in self.names and len(self.names) > 1:
            raise UsageError(f"{OPTION}={ALL!r} keeps every column: leave the other names out.")
        lower = [name.lower() for name in self.names]
        for i, name in enumerate(self.names):
            if lower[i] in lower[:i]:
                raise UsageError(
                    f"{OPTION}={name!r} was given twice. Give each column once; case does"
                    " not count."
                )
            if name != ALL and (problem := name_problem(name)):
                raise UsageError(
                    f"{OPTION}={name!r} cannot be kept: {problem}. Rename the column in the file."
                )

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def is_all(self) -> bool:
        """Whether all columns are kept."""
        return self.names == (ALL,)


NO_COLUMNS = Keep()

FILE, LINE = "file", "line"
"""Columns of every file: the stem of its name, and the line of the text in it, from 1."""


def place_values(names: Sequence[str], file: str, line: int) -> dict[str, Value]:
    """Return the columns :data:`FILE` and :data:`LINE` of a text, those that are named.

    Args:
        names: Names of columns to keep.
        file: Path of the file, or another name of the source.
        line: Number of its line or row, from 1.
    """
    values: dict[str, Value] = {FILE: Path(file.removesuffix(".gz")).stem, LINE: line}
    return {name: values[name] for name in names if name in values}


Record = tuple[int, Mapping[str, Any] | None]
"""Number of a row, from 1, or of its first line; its values by column, None for an empty line."""


class Table:
    """A file of rows with named columns, which can be read several times.

    Attributes:
        names: Names of the columns.
        hint: Sentence for messages about columns.
        remarks: Sentences about how it is read.
    """

    def __init__(self, path: Path, name: str, names: Sequence[str] = (), hint: str = "") -> None:
        self.path, self.name, self.names, self.hint = path, name, names, hint
        self.remarks: list[str] = []

    def records(self, columns: Sequence[str]) -> Iterator[Record]:
        """Yield the rows from the beginning, with their values in some columns."""
        raise NotImplementedError

    def check_texts(self, column: str) -> None:
        """Raise SourceError if the type of a column says that its values are no texts."""

    def keeping_problem(self, column: str) -> str | None:
        """Return why the values of a column cannot be kept; None if they can, as far as its type
        says.
        """
        return None


BRACKETS = "brackets"
_UNITS = "Offsets are counted in characters (code points), from 0, as in a slice of Python"
_CLUSTER_CHARS = (
    256  # within which the characters before an offset are searched for the begin of a cluster
)


@dataclass(frozen=True, slots=True)
class Targets:
    """Where the target of each sentence is given."""

    in_brackets: bool = (
        False  # whether it is in brackets within the text: ``the [bank] of the river``
    )
    column: str | None = None  # column of the target's text, which occurs once in the sentence
    # Columns of its start and end; or one column with both, as in ``4:8``.
    span: tuple[str, ...] = ()

    @classmethod
    def parse(cls, targets: str | None, span: str | Sequence[str]) -> "Targets | None":
        """Return the targets that ``--targets`` and ``--span`` describe; None without either."""
        if isinstance(span, str):
            span = [name.strip() for name in span.split(",")] if span else ()
        if targets is not None and span:
            raise UsageError(
                "`targets` and `span` both say where the targets are: give one of them."
            )
        if span and (len(span) > 2 or not all(span) or len(set(span)) < len(span)):
            raise UsageError(
                "`span` takes the columns of start and end, as in span='start,end'; or a single"
                f" column with both, as in 4:8. Not {','.join(span)!r}."
            )
        if span:
            return cls(span=tuple(span))
        if targets is None:
            return None
        return cls(in_brackets=True) if targets == BRACKETS else cls(column=targets)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that give the target; none for brackets."""
        return self.span or (() if self.column is None else (self.column,))

    def find(self, text: str, values: Sequence[object], place: str) -> Span:
        """Return the span of the target of a sentence."""
        if self.column is not None:
            return only_occurrence(text, text_value(values[0], f"{place} ({self.column})"), place)
        if len(values) == 1:
            values = _parts(values[0], f"{place} ({self.span[0]})")
        names = self.span if len(self.span) == 2 else self.span * 2
        start, end = (
            _offset(value, f"{place} ({name})") for name, value in zip(names, values, strict=True)
        )
        return checked_span(text, start, end, place)


def in_brackets(rows: Rows, targets: Targets | None) -> Rows:
    """Return a function that yields the rows of a source, with brackets removed and their content
    as target, if so.
    """
    if targets is None or not targets.in_brackets:
        return rows
    return lambda: (remove_brackets(row) if isinstance(row, Row) else row for row in rows())


def remove_brackets(row: Row) -> Row:
    """Return a row whose text has its target in brackets, without them and with the span."""
    marked = split_marked(row.text)
    if marked is None:
        n_brackets = row.text.count("[") + row.text.count("]")
        other = "other brackets than one pair" if n_brackets else "no brackets"
        problem = "empty brackets" if "[]" in row.text else other
        raise SourceError(
            f"{row.origin}: {problem} in {row.text[:100]!r}. Put the target in brackets, one in"
            " each text, as in the [bank] of the river; for texts with brackets of their own, give"
            " columns of a table: span='start,end'"
        )
    text, span = marked
    return Row(text, row.origin, row.values, spans=(span,))


@dataclass(slots=True)
class PartedWords:
    """Counts the spans that begin or end inside a word, which offsets of another kind often do;
    notes the first one.
    """

    name: str
    n: int = 0
    first: str = ""

    def count(self, text: str, span: Span, place: str) -> None:
        """Count a span if it parts a word of a script with upper and lower case."""
        if _is_inside_word(text, span.start) or _is_inside_word(text, span.end):
            self.n += 1
            self.first = self.first or f"{text[span.start : span.end]!r} in {place}"

    def remarks(self) -> Iterator[str]:
        """Yield a remark if there are any."""
        if self.n:
            yield (
                f"{self.name}: targets begin or end inside a word in {self.n:,}"
                f" row{'s' * (self.n > 1)}; the first is {self.first}. {_UNITS}; the end is the"
                " first character after the target."
            )


def checked_span(text: str, start: int, end: int, place: str) -> Span:
    """Return a span of a text."""
    where = f"{place}: the span {start}:{end}"
    if start < 0 or end > len(text):
        raise SourceError(
            f"{where} is outside the text, which has {len(text):,} characters. {_UNITS}."
        )
    if start >= end:
        raise SourceError(
            f"{where} is empty: its end must be the first character after the target."
        )
    if not text.isascii():
        for offset in (start, end):
            if _is_inside_cluster(text, offset):
                raise SourceError(
                    f"{where} begins or ends inside the character at {offset}, which consists of"
                    f" several code points. {_UNITS}."
                )
    return Span(start, end)


def only_occurrence(text: str, word: str, place: str) -> Span:
    """Return the span of a word's only occurrence in a text, between the boundaries of words."""
    starts = [match.start() for match in re.finditer(f"(?={re.escape(word)})", text)]
    spans = [Span(start, start + len(word)) for start in starts]
    whole = [
        span
        for span in spans
        if not (_is_letter_pair(text, span.start) or _is_letter_pair(text, span.end))
    ]
    if len(whole) == 1:
        return whole[0]
    remedy = "Give its place in columns, span='start,end', or in brackets, targets='brackets'."
    if whole:
        raise SourceError(
            f"{place}: {word!r} occurs {len(whole)} times in {text[:100]!r}. {remedy}"
        )
    part = "is only a part of a word" if spans else "does not occur"
    raise SourceError(f"{place}: {word!r} {part} in {text[:100]!r}. {remedy}")


def _parts(value: object, place: str) -> Sequence[object]:
    """Return start and end of a column with both: ``4:8``, or a list of two numbers."""
    if isinstance(value, str) and value.count(":") == 1:
        return value.split(":")
    if isinstance(value, list | tuple) and len(value) == 2:
        return value
    raise SourceError(f"{place}: {value!r} is not a span. Write its start and end, as in 4:8.")


def _offset(value: object, place: str) -> int:
    """Return an offset, a whole number or the string of one; raise SourceError for other values."""
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,18}(\.0*)?\s*", value, re.ASCII):
        return int(float(value)) if "." in value else int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    # How pandas writes the whole numbers of some columns.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    what = "missing" if value is None or value == "" else f"{value!r}, not a whole number"
    raise SourceError(f"{place}: the offset is {what}. {_UNITS}.")


def _is_inside_cluster(text: str, offset: int) -> bool:
    """Return whether an offset is between the code points of one character as a reader sees it (UAX
    #29).
    """
    if offset in (0, len(text)) or text[offset].isascii():
        return False
    import regex  # takes 20 ms to load, which only texts beyond ASCII need

    clusters = regex.finditer(r"\X", text, pos=max(0, offset - _CLUSTER_CHARS), endpos=offset + 1)
    return all(match.end() != offset for match in clusters)


def _is_inside_word(text: str, offset: int) -> bool:
    """Return whether an offset is between two letters of a script with upper and lower case."""
    return 0 < offset < len(text) and all(
        c.lower() != c.upper() for c in text[offset - 1 : offset + 1]
    )


def _is_letter_pair(text: str, offset: int) -> bool:
    """Return whether an offset is between two letters or digits."""
    return 0 < offset < len(text) and text[offset - 1 : offset + 1].isalnum()
