"""Choose the columns of a table to read, and yield their texts with their places."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embstore.base.errors import SourceError, UnknownNameError, UsageError
from embstore.sources.rows import EMPTY_VALUE, NO_VALUES, Blank, Row, row_or_blank

DEFAULT_COLUMN = "text"


@dataclass(frozen=True, slots=True)
class Columns:
    """The chosen columns of a table; each row yields their texts in this order.

    Attributes:
        source: Name of the table in messages.
        names: Names of the columns.
    """

    source: str
    names: tuple[str, ...]

    def texts(
        self, number: int, values: Sequence[str | None], kept: Mapping[str, Any] = NO_VALUES
    ) -> Iterator[Row | Blank]:
        """Yield the texts of one row.

        Args:
            number: Number of the line or row, from 1.
            values: Value of each column; None if it is missing.
            kept: Values of other columns to keep with each text.
        """
        for name, value in zip(self.names, values, strict=True):
            yield row_or_blank(value, self.place(number, name), EMPTY_VALUE, kept)

    def place(self, number: int, name: str) -> str:
        """Return the place of a value: ``pairs.csv:12``, or ``pairs.csv:12 (left)`` if several columns are read."""
        place = f"{self.source}:{number}"
        return place if len(self.names) == 1 else f"{place} ({name})"


def choose_columns(
    source: str,
    known: Sequence[str],
    requested: Sequence[str],
    *,
    open_ended: bool = False,
    option: str = "⦃column⦄",
    hint: str = "",
) -> Columns:
    """Choose the columns to read: the requested ones, else the only one, else the one named ``text``.

    Args:
        source: Name of the table in messages.
        known: Columns of the table.
        requested: Columns requested by the user.
        open_ended: Whether the table may have further columns, so that names cannot be checked yet.
        option: Command-line option that names the columns.
        hint: Further remedy in messages on a missing or ambiguous column.

    Raises:
        UsageError: No column was requested and there is no default, or one was requested twice.
        UnknownNameError: A requested column does not exist.
        SourceError: Two columns of the table have the name of a chosen one.
    """
    names = tuple(requested) or _default(source, known, hint)
    for i, name in enumerate(names):
        if name in names[:i]:
            raise UsageError(f"{option} {name!r} was given twice for {source}. Give each column once.")
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


def _default(source: str, known: Sequence[str], hint: str) -> tuple[str, ...]:
    """Return the only column, else the one named ``text``; raise UsageError if there is neither."""
    if len(known) == 1:
        return tuple(known)
    if DEFAULT_COLUMN in known:
        return (DEFAULT_COLUMN,)
    listed = ", ".join(known)
    raise UsageError(
        f"{source} has {len(known)} columns: {listed}. Say which hold the texts, with ⦃column⦄. {hint}".rstrip()
    )
