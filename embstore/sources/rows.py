"""Define the rows that a source yields: texts, blanks and remarks."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from embstore.errors import SourceError

Value = float | int | str

EMPTY_LINE = "empty line"
EMPTY_VALUE = "empty value"
MISSING_VALUE = "missing value"

_NO_VALUES: Mapping[str, Value] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Row:
    """One text of a source, or a pair of them, exactly as it stands there.

    Attributes:
        text: The text; never empty, never whitespace alone.
        origin: Place in the source, for messages: ``words.txt:12``, ``pairs.csv:12 (right)``.
        values: Other values of a dataset's row, by the names in ``DatasetSpec.columns``; empty for files.
        text_2: The second text of a pair.
    """

    text: str
    origin: str
    values: Mapping[str, Value] = field(default_factory=lambda: _NO_VALUES, hash=False)
    text_2: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, or the two of a pair."""
        return (self.text,) if self.text_2 is None else (self.text, self.text_2)


@dataclass(frozen=True, slots=True)
class Blank:
    """A place of a source that holds no text: reported and counted, never embedded.

    Attributes:
        origin: Place in the source, as in ``Row``.
        reason: ``empty line``, ``empty value`` (a cell that is empty or whitespace alone) or
            ``missing value`` (null, absent, or beyond the end of a short row).
    """

    origin: str
    reason: str


@dataclass(frozen=True, slots=True)
class Remark:
    """A note for the user on how a source was read, as a sentence."""

    text: str


Rows = Callable[[], Iterator[Row | Blank | Remark]]


def no_texts(name: str, n_blanks: int = 0) -> SourceError:
    """Return the error for a source without a single text."""
    why = f"all {n_blanks} of its rows are empty or missing" if n_blanks else "it is empty"
    return SourceError(f"{name} has no texts: {why}. Give a source with at least one text.")


def row_or_blank(text: str | None, origin: str, empty: str = EMPTY_VALUE) -> Row | Blank:
    """Return the row of a text, or the blank of one that is missing (None), empty or whitespace alone.

    Args:
        text: Text; None if it is missing.
        origin: Place in the source.
        empty: The reason of a blank that is empty.
    """
    if text is None:
        return Blank(origin, MISSING_VALUE)
    if not text or text.isspace():
        return Blank(origin, empty)
    return Row(text, origin)
