"""What a source gives: rows of text, and rows that hold none."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from embstore.errors import SourceError
from embstore.space import Unit

ValueType = type[int] | type[float] | type[str]

EMPTY_LINE = "empty line"
EMPTY_VALUE = "empty value"
MISSING_VALUE = "missing value"

_NO_VALUES: Mapping[str, float | int | str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Row:
    """One text of a source, exactly as it stands there.

    Attributes:
        text: the text; never empty, never whitespace alone.
        origin: where it stands, for messages: ``words.txt:12``, ``pairs.csv:12 (right)``.
        values: what else a dataset's row says, by the names in ``DatasetSpec.columns``; empty for files.
    """

    text: str
    origin: str
    values: Mapping[str, float | int | str] = field(default_factory=lambda: _NO_VALUES, hash=False)


@dataclass(frozen=True, slots=True)
class Blank:
    """A place of a source that holds no text: reported and counted, never embedded.

    Attributes:
        origin: where it stands, as in ``Row``.
        reason: ``empty line``, ``empty value`` (a cell that is empty or whitespace alone) or
            ``missing value`` (null, absent, or beyond the end of a short row).
    """

    origin: str
    reason: str


Rows = Callable[[], Iterator[Row | Blank]]


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """One named dataset: what is in it, how to read it, and whom to cite.

    Attributes:
        name: the name on the command line.
        kind: ``word list``.
        unit: what a text of it is.
        help: one line that says what it is.
        citation: the reference to give in a paper.
        licence: the terms of the data.
        columns: the names and types of ``Row.values``, in order.
        default_size: how many rows ``name`` without ``:size`` gives.
        count: says how many rows there are at most.
        read: yields the first ``size`` rows; may be called again.
    """

    name: str
    kind: str
    unit: Unit
    help: str
    citation: str
    licence: str
    columns: Mapping[str, ValueType] = field(hash=False)
    default_size: int
    count: Callable[[], int]
    read: Callable[[int], Iterator[Row]]


@dataclass(frozen=True, slots=True)
class Source:
    """An opened source, ready to be read.

    Attributes:
        name: how messages call it: the path as the user gave it, ``standard input``, ``words:5000``.
        reader: gives its rows from the first one on.
        dataset: the dataset that it is; None for files and standard input.
    """

    name: str
    reader: Rows
    dataset: DatasetSpec | None = None

    @property
    def unit(self) -> Unit | None:
        """The unit that a dataset brings, else None."""
        return None if self.dataset is None else self.dataset.unit

    @property
    def stored_name(self) -> str | None:
        """The name of a dataset's file in the store (``words``, ``words_5000``), else None."""
        return None if self.dataset is None else self.name.replace(":", "_")

    def rows(self) -> Iterator[Row | Blank]:
        """Yield the rows in order. May be called again, except on standard input.

        Raises:
            SourceError: a row cannot be read; or, after the last one, none of them held a text.
            UnknownNameError: after the last row, a column was in none of them (JSON Lines only).
        """
        n_rows = n_blanks = 0
        for row in self.reader():
            if isinstance(row, Row):
                n_rows += 1
            else:
                n_blanks += 1
            yield row
        if n_rows == 0:
            raise no_texts(self.name, n_blanks)


def no_texts(name: str, n_blanks: int = 0) -> SourceError:
    """Return the error for a source without a single text."""
    why = f"all {n_blanks} of its rows are empty or missing" if n_blanks else "it is empty"
    return SourceError(f"{name} has no texts: {why}. Give a source with at least one text.")


def row_or_blank(text: str | None, origin: str, empty: str = EMPTY_VALUE) -> Row | Blank:
    """Return the row of a text, or the blank of one that is missing (None), empty or whitespace alone.

    Args:
        text: what stands there.
        origin: where it stands.
        empty: the reason of a blank that is empty.
    """
    if text is None:
        return Blank(origin, MISSING_VALUE)
    if not text or text.isspace():
        return Blank(origin, empty)
    return Row(text, origin)
