"""Choose the columns of a table whose values are stored with its texts: ``--keep``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from embstore.base.errors import SourceError, UsageError
from embstore.base.text import name_problem
from embstore.sources.columns import unknown_column
from embstore.sources.rows import Remark

OPTION = "⦃keep⦄"
ALL = "all"


class Cell(str):
    """A value of a file without types (CSV, TSV): its column decides whether it is a number, a boolean or a text."""

    __slots__ = ()


def as_cell(value: object) -> Cell | None:
    """Return a value of a file without types as a cell; None if it is missing, empty or whitespace only."""
    return Cell(value) if isinstance(value, str) and value and not value.isspace() else None


@dataclass(frozen=True, slots=True)
class Keep:
    """The columns of tables to keep.

    Attributes:
        names: Names of columns; ``("all",)`` for all that hold no texts.

    Raises:
        UsageError: A name is given twice, cannot be a column of items, or is beside ``all``.
    """

    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if ALL in self.names and len(self.names) > 1:
            raise UsageError(f"{OPTION} {ALL} keeps every column: leave the other names out.")
        lower = [name.lower() for name in self.names]
        for i, name in enumerate(self.names):
            if lower[i] in lower[:i]:
                raise UsageError(f"{OPTION} {name!r} was given twice. Give each column once; case does not count.")
            if name != ALL and (problem := name_problem(name)):
                raise UsageError(f"{OPTION} {name!r} cannot be kept: {problem}. Rename the column in the file.")

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def is_all(self) -> bool:
        """Whether all columns are kept."""
        return self.names == (ALL,)

    def choose(self, source: str, known: Sequence[str], texts: Iterable[str]) -> "KeptColumns":
        """Choose the columns of a table whose columns are known.

        Args:
            source: Name of the table in messages.
            known: Columns of the table.
            texts: Columns of the table that hold texts.

        Raises:
            UnknownNameError: A column does not exist.
            SourceError: Two columns of the table have the same name.
            UsageError: A column holds the texts.
        """
        found = KeptColumns(source, self, frozenset(texts))
        for name in known if self.is_all else self.names:
            if name not in known:
                raise unknown_column(source, name, known, OPTION)
            if known.count(name) > 1:
                raise SourceError(
                    f"{source} has {known.count(name)} columns named {name!r}. Rename all but one of them."
                )
            if name in found.texts and not self.is_all:
                raise UsageError(f"{OPTION} {name!r} does not fit {source}: the column holds the texts. Leave it out.")
            found.admits(name)
        return found


NO_COLUMNS = Keep()


@dataclass(frozen=True, slots=True)
class KeptColumns:
    """The columns of a table that are kept.

    Attributes:
        source: Name of the table in messages.
        keep: The request.
        texts: Columns that hold texts.
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
        """Leave a column out if all were requested, and return False.

        Raises:
            SourceError: The column was requested by its name.
        """
        if not self.keep.is_all:
            raise SourceError(
                f"{self.source}: the column {name!r} cannot be kept: {problem}. Leave it out of {OPTION}."
            )
        self.left_out[name] = problem
        if name in self.names:
            self.names.remove(name)
        return False

    def cells(self, values: Sequence[str | None], places: Mapping[str, int]) -> dict[str, Cell | None]:
        """Return the values of the kept columns of one record; None for an empty or missing cell.

        Args:
            values: Cells of the record.
            places: Place of each kept column among them.
        """
        found = {}
        for name, place in places.items():
            found[name] = as_cell(values[place] if place < len(values) else None)
        return found

    def remarks(self) -> Iterator[Remark]:
        """Yield a remark on each column that was left out."""
        for name, problem in self.left_out.items():
            yield Remark(
                f"{self.source}: the column {name!r} is not kept: {problem}. Rename it, or name those to keep."
            )
