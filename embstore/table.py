"""Define Table, the result of every query."""

import html
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
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
    """The layout of a printed table.

    Attributes:
        down: The columns that name a row of the layout.
        across: The columns whose values stand side by side.
        values: The columns shown for each value of ``across``; of several in a tuple, the first that is not None.
        heads: Headings of the columns ``down``.
        joined: Whether the values share one cell; then its head names all of ``across``, else what differs.
        order: A numeric column by which the rows of the layout are sorted; None keeps the order of the rows.
        mark: A boolean column: where it is true, a star stands behind the first value.
    """

    down: tuple[str, ...]
    across: tuple[str, ...]
    values: tuple[str | tuple[str, ...], ...]
    heads: tuple[str, ...] = ()
    joined: bool = False
    order: str | None = None
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A column of a table without a pivot, as it is laid out for the eye.

    Attributes:
        column: Name of the column.
        head: Heading; the name by default.
        kind: ``bytes`` (43.4 MB), ``count`` (10,000) or nothing.
    """

    column: str
    head: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A small table of results, in long form: one row per result.

    Attributes:
        columns: The names of the columns, in order.
        rows: The rows, each with every column; a value that cannot be computed is None.
        notes: Notes for the reader of the numbers (an exact scan was used, a layer is missing …).
        pivot: Layout of the printed table; None to print it in long form.
        types: JSON types of columns that may have no value in any row, so that tables of one question always have the
            same types in Arrow, Parquet and Polars.
        shown: Columns for the eye where there is no pivot; none shows all.
        intervals: Column → columns of the lower and the upper limit of its interval.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    pivot: Pivot | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    shown: tuple[Shown, ...] = ()
    intervals: Mapping[str, tuple[str, str]] = field(default_factory=dict)

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
        """Return the table as a ``pandas.DataFrame`` (needs pandas).

        Names of layers become an ordered category, so that 2 comes before 10 where they are sorted or pivoted.
        """
        import pandas

        frame = pandas.DataFrame(self.to_pylist(), columns=list(self.columns))
        for name, number in (("layer_name", "layer"), ("layer_name_2", "layer_2")):
            if {name, number} <= {*self.columns}:
                order = sorted({(row[number], row[name]) for row in self.rows})
                last = {layer: at for at, (_, layer) in enumerate(order)}
                frame[name] = pandas.Categorical(frame[name], sorted(last, key=last.__getitem__), ordered=True)
        return frame

    def to_polars(self) -> "polars.DataFrame":
        """Return the table as a ``polars.DataFrame`` (needs polars)."""
        import polars

        made = polars.from_arrow(self.to_arrow())
        return made if isinstance(made, polars.DataFrame) else made.to_frame()

    def layout(self, cut: Callable[[str], str] = str) -> tuple[list[str], list[list[str]]]:
        """Return the header and the cells as they are shown: layers down and spaces across, numbers rounded.

        Args:
            cut: Shortens a text that stands beside numbers in one cell.
        """
        if self.pivot is None:
            shown = self.shown or tuple(map(Shown, self.columns))
            forms = [_KINDS.get(one.kind) or number_format(self[one.column]) for one in shown]
            lines = [[form(row[one.column]) for one, form in zip(shown, forms, strict=True)] for row in self.rows]
            return [one.head or one.column for one in shown], lines
        pivot = self.pivot
        heads = list(dict.fromkeys(_key(row, pivot.across) for row in self.rows))
        keys = self._keys_down(pivot)
        rows = {(_key(row, pivot.down), _key(row, pivot.across)): row for row in self.rows}
        header = [*(pivot.heads or pivot.down)]
        lines = [[show(part) for part in key] for key in keys]
        parts = range(len(pivot.across))
        told = [at for at in parts if pivot.joined or len({head[at] for head in heads}) > 1] or [*parts[:1]]
        cells = self._cells(pivot, cut)
        starred = self._starred(pivot)
        for head in heads:
            header += _column_heads(pivot, " ".join(str(head[at]) for at in told), alone=len(heads) == 1)
            for key, line in zip(keys, lines, strict=True):
                row = rows.get((key, head))
                texts = ["" if row is None else cell(row) for cell in cells]
                if row is not None and id(row) in starred:
                    texts[0] += "*"
                line += ["  ".join(texts).strip()] if pivot.joined else texts
        return header, lines

    def _cells(self, pivot: Pivot, cut: Callable[[str], str]) -> list[Callable[[Row], str]]:
        """Return for each value of the pivot what writes its cell; a column has one format of number."""
        cells: list[Callable[[Row], str]] = []
        for value in pivot.values:
            columns = (value,) if isinstance(value, str) else value
            form = number_format([row[column] for column in columns for row in self.rows])
            cells.append(partial(_cell, columns, form, cut if pivot.joined else str))
        return cells

    def _starred(self, pivot: Pivot) -> set[int]:
        """Return the ids of the rows with a star: the best among several layers."""
        if not pivot.mark:
            return set()
        rivals: dict[tuple[Any, ...], list[Row]] = {}
        for row in self.rows:
            if row[pivot.mark] is not None:
                rivals.setdefault((_key(row, pivot.across), _key(row, pivot.down[1:])), []).append(row)
        several = [rows for rows in rivals.values() if len({row[pivot.down[0]] for row in rows}) > 1]
        return {id(row) for rows in several for row in rows if row[pivot.mark]}

    def inline_intervals(self) -> "Table":
        """Return the table with intervals beside their values for the eye: ``0.71 [0.62, 0.79]``."""
        if not self.intervals or self.pivot is None:
            return self
        forms = {
            value: number_format([row[name] for name in (value, *limits) for row in self.rows])
            for value, limits in self.intervals.items()
        }
        rows = []
        for row in self.rows:
            texts = {}
            for value, (low, high) in self.intervals.items():
                form = forms[value]
                limits = "" if row[low] is None else f" [{form(row[low])}, {form(row[high])}]"
                texts[value] = None if row[value] is None else form(row[value]) + limits
            rows.append({**row, **texts})
        hidden = {limit for limits in self.intervals.values() for limit in limits}
        shown = tuple(value for value in self.pivot.values if value not in hidden)
        return replace(self, rows=tuple(rows), pivot=replace(self.pivot, values=shown), intervals={})

    def exact_sizes(self) -> "Table":
        """Return the table with sizes in bytes for the eye, all digits."""
        plain = tuple(replace(one, head="", kind="") if one.kind == "bytes" else one for one in self.shown)
        return replace(self, shown=plain)

    def _keys_down(self, pivot: Pivot) -> list[tuple[Any, ...]]:
        keys = list(dict.fromkeys(_key(row, pivot.down) for row in self.rows))
        if pivot.order is None:
            return keys
        last = {key: max(row[pivot.order] for row in self.rows if _key(row, pivot.down) == key) for key in keys}
        return sorted(keys, key=last.__getitem__)

    def __repr__(self) -> str:
        rows = self._printable_layout()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, *(printable(note) for note in self.notes)])

    def _printable_layout(self) -> list[list[str]]:
        """Return the header and the rows of the layout, with control characters escaped."""
        header, lines = self.layout()
        return [[printable(cell) for cell in row] for row in [header, *lines]]

    def _repr_html_(self) -> str:
        header, *lines = self._printable_layout()
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in line) + "</tr>" for line in lines)
        notes = "".join(f"<p>{html.escape(printable(note))}</p>" for note in self.notes)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"


def _cell(columns: tuple[str, ...], form: Callable[[object], str], cut: Callable[[str], str], row: Row) -> str:
    value = next((row[column] for column in columns if row[column] is not None), None)
    return cut(value) if isinstance(value, str) else form(value)


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


def number_format(values: Iterable[object]) -> Callable[[object], str]:
    """Return what writes the values of a column for the eye, its numbers all in one format.

    Floats have four decimals, up to six where some are small, or an exponent where that is not enough; whole numbers
    among floats are written like these.
    """
    sizes = [abs(value) for value in _numbers(values) if isinstance(value, float)]
    if not sizes:
        return show
    low, high = min((size for size in sizes if size), default=1.0), max(sizes)
    decimals = 4 if low >= 1e-3 else 6
    spec = f".{decimals}f" if low >= 1e-5 and high < 1e5 else ".3e"

    def form(value: object) -> str:
        if isinstance(value, list | tuple):
            return " ".join(map(form, value))
        return format(value, spec) if isinstance(value, int | float) and not isinstance(value, bool) else show(value)

    return form


def _numbers(values: Iterable[object]) -> Iterator[object]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _numbers(value)
        else:
            yield value


def show_size(n_bytes: object) -> str:
    """Return a size for the eye: ``512 B``, ``43.4 MB``; a dash for None."""
    if not isinstance(n_bytes, int | float):
        return show(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 999.95:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def show_count(value: object) -> str:
    """Return a whole number for the eye: ``10,000``; a dash for None."""
    return f"{value:,}" if isinstance(value, int) else show(value)


_KINDS: Mapping[str, Callable[[object], str]] = {"bytes": show_size, "count": show_count}


def table(
    rows: Sequence[Row],
    *,
    columns: Sequence[str],
    notes: Sequence[str] = (),
    pivot: Pivot | None = None,
    types: Mapping[str, str] | None = None,
    shown: Sequence[Shown] = (),
    intervals: Mapping[str, tuple[str, str]] | None = None,
) -> Table:
    """Return a Table; every row must have every column."""
    complete = tuple({column: row[column] for column in columns} for row in rows)
    return Table(tuple(columns), complete, tuple(notes), pivot, types or {}, tuple(shown), intervals or {})
