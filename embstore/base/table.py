"""Define ``Table``, the result of every query, and how it is printed."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from embstore.base.chart import Chart
from embstore.base.errors import UnknownNameError, UsageError
from embstore.base.labels import labelled
from embstore.base.latex import latex, mark
from embstore.base.messages import brief, printable

if TYPE_CHECKING:
    import os

    import pandas
    import polars
    import pyarrow


Row = Mapping[str, Any]


class Pivot(NamedTuple):
    """The printed layout of a table as a pivot: some columns down, some across, values in the
    cells.

    Attributes:
        values: Columns printed in each group; for a tuple of columns, the first value that is not
            None.
        joined: Whether the values of a group share one cell, whose heading then names all columns
            of ``across``; else the heading names only those that differ between groups.
    """

    down: tuple[str, ...]  # columns whose values identify a printed row
    across: tuple[str, ...]  # columns whose values identify a group of printed columns
    values: tuple[str | tuple[str, ...], ...]
    heads: tuple[str, ...] = ()  # headings of the columns ``down``; their names by default
    joined: bool = False
    order: str | None = None  # numeric column to sort the printed rows by; None keeps their order
    mark: str | None = None  # boolean column; where it is true, a star follows the value


class ShownColumn(NamedTuple):
    """A printed column of a table without a pivot."""

    column: str
    head: str = ""  # heading; the name by default
    # format: ``bytes`` (43.4 MB), ``count`` (10,000), ``layers`` (0-12,raw), ``part`` of a store,
    # or empty for the default
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A small table of results, in long form: one row per result.

    Attributes:
        columns: Names of the columns, in order.
        rows: Rows, each with every column; a value that cannot be computed is None.
        notes: Notes on the numbers (an exact scan was used, a layer is missing …).
        pivot: Layout of the printed table; None to print it in long form.
        types: JSON types of columns that may be None in all rows, so that the types in Arrow,
            Parquet and Polars do not depend on the values.
        shown: Printed columns of a table without a pivot; empty for all.
        intervals: Column → the columns of the lower and upper limit of its confidence interval.
        chart: Chart that shows the table; None if it has none.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    pivot: Pivot | None = None
    types: Mapping[str, str] = field(default_factory=dict)
    shown: tuple[ShownColumn, ...] = ()
    intervals: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    chart: Chart | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", tuple(self.notes))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, column: str) -> list[Any]:
        """Return one column as a list."""
        if column not in self.columns:
            hint = "A table is indexed by its columns; list(table) has its rows."
            raise KeyError(str(UnknownNameError("column", str(column), self.columns, hint)))
        return [row[column] for row in self.rows]

    def to_pylist(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries."""
        return [dict(row) for row in self.rows]

    def to_arrow(self) -> "pyarrow.Table":
        """Return the table as a ``pyarrow.Table``."""
        import pyarrow

        return pyarrow.table({column: self._to_array(column) for column in self.columns})

    def _to_array(self, column: str) -> "pyarrow.Array":
        """Return a column as an Arrow array, of the declared type if all its values are None."""
        import pyarrow

        array = pyarrow.array(self[column])
        value_type = array.type.value_type if pyarrow.types.is_list(array.type) else array.type
        if not pyarrow.types.is_null(value_type) or column not in self.types:
            return array
        kind, _, members = self.types[column].partition(" of ")
        names = {"number": "float64", "integer": "int64", "string": "string", "boolean": "bool"}
        arrow_type = pyarrow.type_for_alias(names[members.removesuffix("s") or kind])
        return array.cast(pyarrow.list_(arrow_type) if members else arrow_type)

    def write_parquet(self, target: "str | os.PathLike[str] | BinaryIO") -> None:
        """Write the table in long form as Parquet, to a path or an open binary file."""
        import pyarrow.parquet

        pyarrow.parquet.write_table(self.to_arrow(), target)

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the table as a ``pandas.DataFrame`` (needs pandas).

        Layer names become an ordered category, so that 2 is sorted before 10.
        """
        with _optional("pandas"):
            import pandas

        frame = pandas.DataFrame(self.to_pylist(), columns=list(self.columns))
        for name, number in (("layer_name", "layer"), ("layer_name_2", "layer_2")):
            if {name, number} <= {*self.columns}:
                order = sorted({(row[number], row[name]) for row in self.rows})
                rank = {layer: i for i, (_, layer) in enumerate(order)}
                frame[name] = pandas.Categorical(
                    frame[name], sorted(rank, key=rank.__getitem__), ordered=True
                )
        return frame

    def to_polars(self) -> "polars.DataFrame":
        """Return the table as a ``polars.DataFrame`` (needs polars)."""
        with _optional("polars"):
            import polars

        frame = polars.from_arrow(self.to_arrow())
        return frame if isinstance(frame, polars.DataFrame) else frame.to_frame()

    def with_labels(self, labels: Mapping[str, str]) -> "Table":
        """Return a result with the given labels for its spaces, else those of figures; notes have
        their names.
        """
        if self.pivot is None:
            return self
        rows, label_of, _ = labelled(self.rows, ("space", "space_2"), ("versus",), labels)
        notes = [f"{label}: {space}" for space, label in label_of.items() if label != space]
        return replace(self, rows=rows, notes=(*self.notes, *notes))

    def to_latex(self, labels: Mapping[str, str] | None = None) -> str:
        """Return the printed table as a LaTeX ``tabular``, for the package booktabs; the best value
        is bold.

        Args:
            labels: Space → what the table calls it; by default what figures call it.
        """
        printed = self.with_labels(labels or {}).inline_intervals()
        return latex(*printed.layout(mark), printed.notes)

    def layout(
        self, mark: Callable[[str], str] = "{}*".format
    ) -> tuple[list[str], list[list[str]]]:
        """Return the header and the cells of the printed table, with rounded numbers; the cell of
        the best layer has a mark.
        """
        if self.pivot is None:
            shown = self.shown or tuple(map(ShownColumn, self.columns))
            formats = [
                (printed.column, _KINDS.get(printed.kind) or number_format(self[printed.column]))
                for printed in shown
            ]
            lines = [[write(row[column]) for column, write in formats] for row in self.rows]
            return [printed.head or printed.column for printed in shown], lines
        pivot = self.pivot
        heads = list(dict.fromkeys(_key(row, pivot.across) for row in self.rows))
        keys = self._keys_down(pivot)
        rows = {(_key(row, pivot.down), _key(row, pivot.across)): row for row in self.rows}
        header = [*(pivot.heads or pivot.down)]
        lines = [[show(part) for part in key] for key in keys]
        parts = range(len(pivot.across))
        named = [i for i in parts if pivot.joined or len({head[i] for head in heads}) > 1] or [
            *parts[:1]
        ]
        every = self._cells(pivot)
        starred, place = self._starred(pivot), next(iter(every), "") == "n"
        for head in heads:
            of_head = [row for (_, across), row in rows.items() if across == head]
            cells = {  # but for the first value, those that have a value there
                name: cell
                for position, (name, cell) in enumerate(every.items())
                if position <= place or any(cell(row) != "-" for row in of_head)
            }
            title = " ".join(str(head[i]) for i in named)
            header += _column_heads(pivot, cells, title, alone=len(heads) == 1)
            for key, line in zip(keys, lines, strict=True):
                row = rows.get((key, head))
                texts = ["" if row is None else cell(row) for cell in cells.values()]
                if row is not None and id(row) in starred:
                    texts[place] = mark(texts[place])
                line += ["  ".join(texts).strip()] if pivot.joined else texts
        return header, lines

    def _cells(self, pivot: Pivot) -> dict[str, Callable[[Row], str]]:
        """Return, for each value of the pivot, a function that writes its cell; all numbers of a
        column have one format.
        """
        cells: dict[str, Callable[[Row], str]] = {}
        for value in pivot.values:
            columns = (value,) if isinstance(value, str) else value
            write = number_format([row[column] for column in columns for row in self.rows])
            cells[columns[-1]] = partial(_cell, columns, write)
        return cells

    def _starred(self, pivot: Pivot) -> set[int]:
        """Return the ``id()`` of each row that gets a star: the best one, where several layers
        compete.
        """
        if not pivot.mark:
            return set()
        rivals: dict[tuple[Any, ...], list[Row]] = {}
        for row in self.rows:
            if row[pivot.mark] is not None:
                rivals.setdefault((_key(row, pivot.across), _key(row, pivot.down[1:])), []).append(
                    row
                )
        several = [
            rows for rows in rivals.values() if len({row[pivot.down[0]] for row in rows}) > 1
        ]
        return {id(row) for rows in several for row in rows if row[pivot.mark]}

    def lowest(self, n: int) -> "Table":
        """Return the ``n`` rows with the lowest values of all spaces and layers, with their place.

        The value is the column that figures draw, which the printed table has first; a list counts
        by its first number, then by the next. Rows without a value are left out.
        """
        return self._ranked(n, "lowest")

    def highest(self, n: int) -> "Table":
        """Return the ``n`` rows with the highest values, as :meth:`lowest` does with the lowest."""
        return self._ranked(n, "highest")

    def _ranked(self, n: int, first: str) -> "Table":
        pivot = self.pivot
        if pivot is None or self.chart is None:
            raise UsageError("this table has no values of spaces and layers to put in order.")
        names = [name for name in pivot.values if isinstance(name, str)]
        value = self.chart.drawn(self.rows)
        texts = [name for name in names if any(isinstance(row[name], str) for row in self)]
        rows = sorted(
            (row for row in self.rows if None not in _numbers([row[value]])),
            key=lambda row: row[value],
            reverse=first == "highest",
        )
        several = [name for name in pivot.across if len({row[name] for row in rows}) > 1]
        return replace(
            self,
            columns=("place", *self.columns),
            rows=tuple({"place": place, **row} for place, row in enumerate(rows[:n], 1)),
            notes=(*self.notes, f"The {first} {value} of {len(rows):,} rows, in order."),
            pivot=Pivot(
                ("place", *several, *pivot.down),
                (),
                (*texts, value, *self.intervals.get(value, ())),
                ("place", *several, *(pivot.heads or pivot.down)),
            ),
        )

    def inline_intervals(self) -> "Table":
        """Return the table with each interval printed in the cell of its value:
        ``0.71 [0.62, 0.79]``.
        """
        if not self.intervals or self.pivot is None:
            return self
        formats = {
            value: number_format([row[name] for name in (value, *limits) for row in self.rows])
            for value, limits in self.intervals.items()
        }
        rows = []
        for row in self.rows:
            texts = {}
            for value, (low, high) in self.intervals.items():
                write = formats[value]
                limits = "" if row[low] is None else f" [{write(row[low])}, {write(row[high])}]"
                texts[value] = None if row[value] is None else write(row[value]) + limits
            rows.append({**row, **texts})
        hidden = {limit for limits in self.intervals.values() for limit in limits}
        shown = tuple(value for value in self.pivot.values if value not in hidden)
        return replace(
            self, rows=tuple(rows), pivot=self.pivot._replace(values=shown), intervals={}
        )

    def exact_sizes(self) -> "Table":
        """Return the table with sizes printed in bytes, with all digits."""
        shown = tuple(
            column._replace(head="", kind="") if column.kind == "bytes" else column
            for column in self.shown
        )
        return replace(self, shown=shown)

    def _keys_down(self, pivot: Pivot) -> list[tuple[Any, ...]]:
        """Return the distinct values of the columns ``down``, in the order of the printed rows."""
        keys = list(dict.fromkeys(_key(row, pivot.down) for row in self.rows))
        # The rows of one query stay together, also those that only a later space has.
        if pivot.order is None:
            place = {
                first: position
                for position, first in enumerate(dict.fromkeys(key[:1] for key in keys))
            }
            return sorted(keys, key=lambda key: place[key[:1]])
        rank = {
            key: max(row[pivot.order] for row in self.rows if _key(row, pivot.down) == key)
            for key in keys
        }
        # In a layer, a group without a name is the last.
        return sorted(keys, key=lambda key: (rank[key], None in key))

    def __repr__(self) -> str:
        rows = self._printable_layout()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, *(printable(brief(note)) for note in self.notes)])

    def _printable_layout(self) -> list[list[str]]:
        """Return the header and rows of the printed table, with control characters escaped."""
        header, lines = self.layout()
        return [[printable(cell) for cell in row] for row in [header, *lines]]

    def _repr_html_(self) -> str:
        import html  # whose table of names takes longer to load than a short table to print

        header, *lines = self._printable_layout()
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in line) + "</tr>" for line in lines
        )
        notes = "".join(f"<p>{html.escape(printable(brief(note)))}</p>" for note in self.notes)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"


@contextmanager
def _optional(package: str) -> Iterator[None]:
    """If an optional package cannot be imported within the context, raise UsageError with the
    command to install it.
    """
    try:
        yield
    except ImportError as error:
        raise UsageError(f"{package} is not installed. Run: pip install {package}") from error


def _cell(columns: tuple[str, ...], write: Callable[[object], str], row: Row) -> str:
    """Format the first value of some columns that is not None."""
    value = next((row[column] for column in columns if row[column] is not None), None)
    return write(value)


def _column_heads(pivot: Pivot, names: Iterable[str], head: str, *, alone: bool) -> list[str]:
    """Return the headings of one group of printed columns."""
    if pivot.across and (pivot.joined or len(pivot.values) == 1):
        return [head]
    names = [name.removeprefix("difference_") for name in names]  # its limits are beside it
    return names if alone else [f"{head} {name}" for name in names]


def _key(row: Row, columns: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(row[column] for column in columns)


def show(value: object) -> str:
    """Format a value for printing: floats with four decimals, ``yes`` or ``no``, a dash for
    None.
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.3e}"
    if isinstance(value, list | tuple):
        return " ".join(show(part) for part in value)
    return str(value)


_MOST_WORDS = 4  # of a list that is shown whole


def show_parameter(value: object, *, with_hash: bool = True) -> str:
    """Format the value of a parameter: of a long list of words the first ones, with their number
    and SHA-256.
    """
    if not isinstance(value, list | tuple):
        return show(value)
    if len(value) <= _MOST_WORDS:
        return ",".join(map(str, value)) or "none"
    first = f"{','.join(map(str, value[:3]))} … ({len(value):,} words"
    if not with_hash:
        return f"{first})"
    from embstore.base.text import sha256_of_words

    return f"{first}, SHA-256 {sha256_of_words(value)[:12]})"


def number_format(values: Iterable[object]) -> Callable[[object], str]:
    """Return a function that formats the values of a column for printing, its numbers alike as far
    as they can be.

    Floats have four decimals, six if all are below 0.001. Those that these would round to 0, and
    those from 100,000 on, have an exponent: with two digits and with four. Integers have the
    decimals of floats if the column has any.

    Args:
        values: All values of the column.
    """
    if not (sizes := [abs(value) for value in _numbers(values) if isinstance(value, float)]):
        return show
    decimals = 6 if 0 < max((size for size in sizes if size < 1e5), default=0.0) < 1e-3 else 4
    smallest = 10.0**-decimals

    def write(value: object) -> str:
        if isinstance(value, list | tuple):
            return " ".join(map(write, value))
        if isinstance(value, bool) or not isinstance(value, int | float):
            return show(value)
        is_fixed = isinstance(value, int) or value == 0 or smallest <= abs(value) < 1e5
        exponent = ".3e" if abs(value) >= 1 else ".1e"
        return format(value, f".{decimals}f" if is_fixed else exponent)

    return write


def _numbers(values: Iterable[object]) -> Iterator[object]:
    """Yield the values of a column, and the members of those that are lists."""
    for value in values:
        yield from _numbers(value) if isinstance(value, list | tuple) else (value,)


def with_text_ids(result: Table) -> Table:
    """Return a table with item ids as text: they have up to 63 bits, which JavaScript rounds."""
    ids = [column for column in result.columns if column.startswith("item_id")]
    rows = (
        {**row, **{name: None if row[name] is None else str(row[name]) for name in ids}}
        for row in result
    )
    return replace(result, rows=tuple(rows))


def plain(value: Any, largest: float = math.inf) -> Any:
    """Return a value as JSON has it: numbers, texts, lists and objects; all else as text, and
    integers beyond the largest one; None if it is not finite.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= largest else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(member, largest) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [plain(member, largest) for member in value]
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if hasattr(value, "tolist"):  # of NumPy
        return plain(value.tolist(), largest)
    return float(value) if type(value).__name__ == "Decimal" else str(value)


def show_size(n_bytes: object) -> str:
    """Format a number of bytes: ``512 B``, ``43.4 MB``; a dash for None."""
    if not isinstance(n_bytes, int | float):
        return show(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 999.95:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def show_count(value: object) -> str:
    """Format an integer: ``10,000``; a dash for None."""
    return f"{value:,}" if isinstance(value, int) else show(value)


def show_part(key: object) -> str:
    """Format the key of a file as the part of the store that it is of: ``gpt2.word.last/layer=06``,
    ``sums/gpt2.word.last``.
    """
    return re.sub(r"^vectors/space=|[-/][0-9a-f]{32}\.\w+$", "", str(key))


def show_layers(names: Any) -> str:
    """Format the names of layers, ascending, with ranges: ``0-12,raw``."""
    names = [*names]
    numbers = [int(name) for name in names if name.isdigit()]
    ends = [number for number in numbers if number + 1 not in numbers]
    starts = [number for number in numbers if number - 1 not in numbers]
    ranges = [str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True)]
    return ",".join(ranges + [name for name in names if not name.isdigit()])


_KINDS: Mapping[str, Callable[[object], str]] = {
    "bytes": show_size,
    "count": show_count,
    "layers": show_layers,
    "part": show_part,
}


def table(
    rows: Sequence[Row],
    *,
    columns: Sequence[str],
    notes: Sequence[str] = (),
    pivot: Pivot | None = None,
    types: Mapping[str, str] | None = None,
    shown: Sequence[ShownColumn] = (),
    intervals: Mapping[str, tuple[str, str]] | None = None,
    chart: Chart | None = None,
) -> Table:
    """Return a :class:`Table` of rows with the given columns, which every row must have, and with
    each note once.
    """
    complete, once = (
        tuple({column: row[column] for column in columns} for row in rows),
        tuple(dict.fromkeys(notes)),
    )
    return Table(
        tuple(columns), complete, once, pivot, types or {}, tuple(shown), intervals or {}, chart
    )


def write_batches(
    schema: "pyarrow.Schema", batches: "Iterable[pyarrow.RecordBatch]", target: BinaryIO
) -> None:
    """Write record batches to an open Parquet file, one after the other."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetWriter(target, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
