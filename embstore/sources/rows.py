"""Define the rows that a source yields, and choose the columns of a table to read and to keep (``--keep``)."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from embstore.base.errors import SourceError, UnknownNameError, UsageError
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
    """One text of a source, or a pair of texts, exactly as in the source.

    Attributes:
        text: Text; neither empty nor whitespace only.
        origin: Place in the source, for messages: ``words.txt:12``, ``pairs.csv:12 (right)``.
        values: Column → value: of a dataset, those of ``DatasetSpec.columns``; of a file, those to keep with the text:
            numbers, booleans, strings, None, or cells without a type (:class:`Cell`).
        spans: Span of the target in each text; empty for whole texts.
        more: Further texts after the second one, as of a question of four words.
    """

    text: str
    origin: str
    values: Mapping[str, Any] = field(default_factory=lambda: NO_VALUES, hash=False)
    text_2: str | None = None
    spans: tuple[Span, ...] = ()
    more: tuple[str, ...] = ()

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


@dataclass(frozen=True, slots=True)
class Columns:
    """The chosen columns of a table; each row yields their texts in this order."""

    source: str
    names: tuple[str, ...]

    def texts(
        self, number: int, values: Sequence[str | None], kept: Mapping[str, Any] = NO_VALUES
    ) -> Iterator[Row | Blank]:
        """Yield the texts of one row."""
        for name, value in zip(self.names, values, strict=True):
            yield row_or_blank(value, self.place(number, name), EMPTY_VALUE, kept)

    def place(self, number: int, name: str) -> str:
        """Return the place of a value: ``pairs.csv:12``, or ``pairs.csv:12 (left)`` if several columns are read."""
        place = f"{self.source}:{number}"
        return place if len(self.names) == 1 else f"{place} ({name})"


def choose_columns(
    source: str, known: Sequence[str], requested: Sequence[str], *, open_ended: bool = False,
    option: str = "⦃column⦄", hint: str = "",
) -> Columns:  # fmt: skip
    """Choose the columns to read: the requested ones, else the only one, else the one named ``text``.

    The names of an ``open_ended`` table cannot be checked yet: it may have further columns.
    """
    names = tuple(requested or (known if len(known) == 1 else [DEFAULT_COLUMN] if DEFAULT_COLUMN in known else ()))
    if not names:
        raise UsageError(
            f"{source} has {len(known)} columns: {', '.join(known)}. Say which hold the texts, with ⦃column⦄. "
            f"{hint}".rstrip()
        )
    for i, name in enumerate(names):
        if name in names[:i]:
            raise UsageError(f"{with_value(option, name)} was given twice for {source}. Give each column once.")
        if name not in known and not open_ended:
            raise unknown_column(source, name, known, option, hint)
        if known.count(name) > 1:
            raise SourceError(f"{source} has {known.count(name)} columns named {name!r}. Rename all but one of them.")
    return Columns(source, names)


def unknown_column(
    source: str, name: str, known: Sequence[str], option: str = "⦃column⦄", hint: str = ""
) -> UnknownNameError:
    """Return the error for a column that does not exist."""
    return UnknownNameError("column", name, known, f"Name a column of {source} with {option}. {hint}".rstrip())


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

    def choose(self, source: str, known: Sequence[str], texts: Iterable[str]) -> "KeptColumns":
        """Choose the columns of a table whose columns are known."""
        found = KeptColumns(source, self, frozenset(texts))
        for name in known if self.is_all else self.names:
            if name not in known:
                raise unknown_column(source, name, known, OPTION)
            if known.count(name) > 1:
                raise SourceError(
                    f"{source} has {known.count(name)} columns named {name!r}. Rename all but one of them."
                )
            if name in found.texts and not self.is_all:
                raise UsageError(
                    f"{with_value(OPTION, name)} does not fit {source}: the column holds the texts. Leave it out."
                )
            found.admits(name)
        return found


NO_COLUMNS = Keep()


@dataclass(frozen=True, slots=True)
class KeptColumns:
    """The columns of a table that are kept.

    Attributes:
        names: Names of the kept columns, in the order of the table; more may follow in a table of JSON objects.
        left_out: Names of columns that are not kept, with the reason; only if all were requested.
    """

    source: str
    keep: Keep
    texts: frozenset[str] = frozenset()
    names: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def admits(self, name: str) -> bool:
        """Return whether a column is kept; it is added to the names when it is first seen."""
        if name in self.names:
            return True
        if name in self.texts or name in self.left_out or not (self.keep.is_all or name in self.keep.names):
            return False
        if problem := name_problem(name):
            return self.leave_out(name, problem)
        if name.lower() in map(str.lower, self.names):
            return self.leave_out(name, "another column differs from it only in letter case")
        self.names.append(name)
        return True

    def leave_out(self, name: str, problem: str) -> bool:
        """Leave a column out if all were requested, and return False."""
        if not self.keep.is_all:
            raise SourceError(
                f"{self.source}: the column {name!r} cannot be kept: {problem}. Leave it out of {OPTION}."
            )
        self.left_out[name] = problem
        if name in self.names:
            self.names.remove(name)
        return False

    def remarks(self) -> Iterator[Remark]:
        """Yield a remark on each column that was left out."""
        for name, problem in self.left_out.items():
            yield Remark(
                f"{self.source}: the column {name!r} is not kept: {problem}. Rename it, or name those to keep."
            )
