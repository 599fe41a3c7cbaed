"""Table: what every question to a store returns."""

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from embstore.escape import printable

if TYPE_CHECKING:
    import os

    import pandas
    import polars
    import pyarrow

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Pivot:
    """How a long table is laid out for the eye.

    Attributes:
        down: the columns that name a row of the layout.
        across: the columns whose values stand side by side.
        values: the columns shown for each value of ``across``; of several in a tuple, the first that is not None.
        heads: how a row of the layout is headed: the names of ``down`` for the eye.
        joined: whether the values share one cell; then its head names all of ``across``, else what differs.
        order: a numeric column by which the rows of the layout are sorted; None keeps the order of the rows.
        mark: a boolean column: where it is true, a star stands behind the first value.
    """

    down: tuple[str, ...]
    across: tuple[str, ...]
    values: tuple[str | tuple[str, ...], ...]
    heads: tuple[str, ...] = ()
    joined: bool = False
    order: str | None = None
    mark: str | None = None


@dataclass(frozen=True)
class Table:
    """A small table of results, in long form: one row per result.

    Attributes:
        columns: the names of the columns, in order.
        rows: the rows, each with every column; a value that cannot be computed is None.
        notes: what a reader must know beside the numbers (an exact scan was used, a space lacks a layer …).
        pivot: how to lay the table out for the eye; None shows it as it is.
        types: JSON types of columns that may have no value in any row, so that tables of one question always have the
            same types in Arrow, Parquet and Polars.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    pivot: Pivot | None = None
    types: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, column: str) -> list[Any]:
        """Return one column as a list."""
        return [row[column] for row in self.rows]

    def to_pylist(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries."""
        return [dict(row) for row in self.rows]

    def to_arrow(self) -> "pyarrow.Table":
        """Return the table as a ``pyarrow.Table``."""
        import pyarrow

        return pyarrow.table({column: self._to_array(column) for column in self.columns})

    def _to_array(self, column: str) -> "pyarrow.Array":
        import pyarrow

        array = pyarrow.array(self[column])
        unknown = array.type.value_type if pyarrow.types.is_list(array.type) else array.type
        if not pyarrow.types.is_null(unknown) or column not in self.types:
            return array
        kind, _, of = self.types[column].partition(" of ")
        names = {"number": "float64", "integer": "int64", "string": "string", "boolean": "bool"}
        value = pyarrow.type_for_alias(names[of.removesuffix("s") or kind])
        return array.cast(pyarrow.list_(value) if of else value)

    def write_parquet(self, target: "str | os.PathLike[str] | BinaryIO") -> None:
        """Write the table, in long form, to a Parquet file or an open binary file."""
        import pyarrow.parquet

        pyarrow.parquet.write_table(self.to_arrow(), target)

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the table as a ``pandas.DataFrame`` (needs pandas)."""
        import pandas

        return pandas.DataFrame(self.to_pylist(), columns=list(self.columns))

    def to_polars(self) -> "polars.DataFrame":
        """Return the table as a ``polars.DataFrame`` (needs polars)."""
        import polars

        made = polars.from_arrow(self.to_arrow())
        return made if isinstance(made, polars.DataFrame) else made.to_frame()

    def layout(self) -> tuple[list[str], list[list[str]]]:
        """Return the header and the cells as they are shown: layers down and spaces across, numbers rounded."""
        if self.pivot is None:
            return list(self.columns), [[show(row[c]) for c in self.columns] for row in self.rows]
        pivot = self.pivot
        heads = list(dict.fromkeys(_key(row, pivot.across) for row in self.rows))
        keys = self._keys_down(pivot)
        rows = {(_key(row, pivot.down), _key(row, pivot.across)): row for row in self.rows}
        header = [*(pivot.heads or pivot.down)]
        lines = [[show(part) for part in key] for key in keys]
        parts = range(len(pivot.across))
        told = [at for at in parts if pivot.joined or len({head[at] for head in heads}) > 1] or [*parts[:1]]
        for head in heads:
            header += _column_heads(pivot, " ".join(str(head[at]) for at in told), alone=len(heads) == 1)
            for key, line in zip(keys, lines, strict=True):
                row = rows.get((key, head))
                cells = ["" if row is None else _cell(row, value) for value in pivot.values]
                if row is not None and pivot.mark and row[pivot.mark]:
                    cells[0] += "*"
                line += ["  ".join(cells).strip()] if pivot.joined else cells
        return header, lines

    def _keys_down(self, pivot: Pivot) -> list[tuple[Any, ...]]:
        keys = list(dict.fromkeys(_key(row, pivot.down) for row in self.rows))
        if pivot.order is None:
            return keys
        last = {key: max(row[pivot.order] for row in self.rows if _key(row, pivot.down) == key) for key in keys}
        return sorted(keys, key=last.__getitem__)

    def __repr__(self) -> str:
        rows = self._printable_layout()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )

    def _printable_layout(self) -> list[list[str]]:
        """Return the header and the rows of the layout, with control characters escaped."""
        header, lines = self.layout()
        return [[printable(cell) for cell in row] for row in [header, *lines]]

    def _repr_html_(self) -> str:
        header, *lines = self._printable_layout()
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in line) + "</tr>" for line in lines)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(row: Row, value: str | tuple[str, ...]) -> str:
    columns = (value,) if isinstance(value, str) else value
    return show(next((row[column] for column in columns if row[column] is not None), None))


def _column_heads(pivot: Pivot, head: str, *, alone: bool) -> list[str]:
    if pivot.joined or len(pivot.values) == 1:
        return [head]
    names = [value if isinstance(value, str) else value[-1] for value in pivot.values]
    return names if alone else [f"{head} {name}" for name in names]


def _key(row: Row, columns: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(row[column] for column in columns)


def show(value: object) -> str:
    """Return a value as text for the eye: floats to four decimals, yes or no, a dash for what is missing."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.3e}"
    if isinstance(value, list | tuple):
        return " ".join(show(part) for part in value)
    return str(value)


def table(
    rows: Sequence[Row],
    *,
    columns: Sequence[str],
    notes: Sequence[str] = (),
    pivot: Pivot | None = None,
    types: Mapping[str, str] | None = None,
) -> Table:
    """Return a Table; every row must have every column."""
    complete = tuple({column: row[column] for column in columns} for row in rows)
    return Table(tuple(columns), complete, tuple(notes), pivot, types or {})
