"""Define the rows that a source yields: texts, blanks and remarks."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from embstore.base.errors import SourceError
from embstore.base.text import Span

Value = float | int | str

NO_VALUES: Mapping[str, Any] = MappingProxyType({})

EMPTY_LINE = "empty line"
EMPTY_VALUE = "empty value"
MISSING_VALUE = "missing value"


@dataclass(frozen=True, slots=True)
class Row:
    """One text of a source, or a pair of texts, exactly as in the source.

    Attributes:
        text: Text; neither empty nor whitespace only.
        origin: Place in the source, for messages: ``words.txt:12``, ``pairs.csv:12 (right)``.
        values: Column → value: of a dataset, those of ``DatasetSpec.columns``; of a file, those to keep with the text:
            numbers, booleans, strings, None, or cells without a type (:class:`.kept.Cell`).
        text_2: Second text of a pair; None for a single text.
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

    Attributes:
        origin: Place in the source, as in ``Row``.
        reason: ``empty line``, ``empty value`` (an empty or whitespace-only cell) or ``missing value`` (null, absent,
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
    """Return the error for a source without any text.

    Args:
        name: Name of the source.
        n_blanks: Number of its blank rows.
        has_columns: Whether it is a table, which has columns also without rows.
    """
    why = f"all {n_blanks:,} of its rows are empty or missing" if n_blanks > 1 else "its only row is empty or missing"
    if not n_blanks:
        why = "it has columns, and no rows" if has_columns else "it is empty"
    return SourceError(f"{name} has no texts: {why}. Give a source with at least one text.")


def row_or_blank(
    text: str | None, origin: str, empty: str = EMPTY_VALUE, values: Mapping[str, Any] = NO_VALUES
) -> Row | Blank:
    """Return a row for a text, or a blank if it is missing, empty or whitespace only.

    Args:
        text: Text; None if it is missing.
        origin: Place in the source.
        empty: Reason of the blank if the text is empty or whitespace only.
        values: Values to keep with the text.
    """
    if text is None:
        return Blank(origin, MISSING_VALUE)
    if not text or text.isspace():
        return Blank(origin, empty)
    return Row(text, origin, values)
