"""Read a table as the parts of a picture: panels, the series in each, and the places of layers on an axis."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from embstore.base.chart import Chart
from embstore.base.escape import printable
from embstore.base.table import Row, Table, show

NO_VALUE = "no value"
"""Name of the group of the items without a value."""

_SELECTION = ("transform", "where", "words", "sample", "by", "bins")
"""Columns of the selection of items, and of the transforms of their vectors, which results have if there are any."""


@dataclass(frozen=True)
class LayerAxis:
    """Places of layers on an axis: numbered layers at their numbers, those with a name after them.

    Attributes:
        places: Name of a layer → its place.
    """

    places: Mapping[str, int]

    @classmethod
    def of(cls, names: Iterable[str]) -> "LayerAxis":
        """Return the axis for the layers of these names, in any order and repeated."""
        distinct = list(dict.fromkeys(names))
        numbers = sorted({int(name) for name in distinct if name.isdecimal()})
        end = numbers[-1] + 1 if numbers else 0
        named = [name for name in distinct if not name.isdecimal()]
        return cls({str(n): n for n in numbers} | {name: end + at for at, name in enumerate(named)})

    @property
    def names(self) -> list[str]:
        """The names in order of their places."""
        return sorted(self.places, key=self.places.__getitem__)


def series_labels(spaces: Sequence[str]) -> dict[str, str]:
    """Return space → label: the parts of its name in which the spaces differ, ``mean`` of ``minilm.word.mean``.

    Of names with different numbers of parts, all but those that all names begin or end with.

    Args:
        spaces: Distinct names of spaces.
    """
    parts = [space.split(".") for space in spaces]
    if len(spaces) == 1:
        return {space: space for space in spaces}
    if len({len(names) for names in parts}) > 1:
        first = _n_common(parts)
        last = _n_common([names[first:][::-1] for names in parts])
        return {space: ".".join(names[first : len(names) - last]) for space, names in zip(spaces, parts, strict=True)}
    differing = [at for at in range(len(parts[0])) if len({names[at] for names in parts}) > 1]
    return {space: ".".join(names[at] for at in differing) for space, names in zip(spaces, parts, strict=True)}


def _n_common(lists: Sequence[Sequence[str]]) -> int:
    """Return how many elements all lists begin with, less than the length of the shortest."""
    shortest = min(map(len, lists)) - 1
    return next((at for at in range(shortest) if len({each[at] for each in lists}) > 1), shortest)


def distinct(rows: Iterable[Row], columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the distinct values of columns, each as a tuple, in order of appearance."""
    return list(dict.fromkeys(tuple(row[column] for column in columns) for row in rows))


def with_pair_title(table: Table, chart: Chart) -> Chart:
    """Return a chart whose x axis says that each layer is compared with the one before it, where it is."""
    is_within = chart.layer == "layer_2" and all(row.get("space_2") == row["space"] for row in table.rows)
    return chart._replace(x_title="layer, compared with the one before") if is_within else chart


def with_group_names(table: Table) -> Table:
    """Return results with a name for the group of the items without a value, which has none."""
    if "group" not in table.columns:
        return table
    return replace(table, rows=tuple({**row, "group": row["group"] or NO_VALUE} for row in table.rows))


def panel_columns(chart: Chart, *columns: str) -> tuple[str, ...]:
    """Return columns, and that of the groups if there are any: each combination of their values has a panel."""
    return (*columns, "group") if chart.series == "group" else columns


def caption(table: Table, chart: Chart, value: str) -> list[str]:
    """Return the parts of the caption: spaces, inputs such as the dataset, selected items, settings, missing values.

    Args:
        table: The results.
        chart: Their chart.
        value: The column drawn.
    """
    spaces = list(dict.fromkeys(row["space"] for row in table.rows))
    second = list(dict.fromkeys(row["space_2"] for row in table.rows if "space_2" in table.columns))
    parts = [printable(name) for name in spaces] if len({*spaces, *second}) == 1 else []
    for column in chart.facets:
        inputs = {row[column] for row in table.rows}
        if len(inputs) == 1 and column != "space" and None not in inputs:
            parts.append(f"{column.replace('_', ' ')}: {printable(show(inputs.pop()))}")
    n = sorted({row["n"] for row in table.rows if row.get("n") is not None})
    if n:
        parts.append(f"n = {n[0]:,}" if len(n) == 1 else f"n = {n[0]:,}–{n[-1]:,}")
    low_high = dict(chart.intervals).get(value)
    if low_high and any(row[low_high[0]] is not None for row in table.rows):
        parts.append("95 % intervals")
    if chart.best and any(row[chart.best] for row in table.rows) and len({row[chart.layer] for row in table.rows}) > 1:
        parts.append("diamond: best layer")
    for column in (*_SELECTION, *chart.settings, "seed"):
        values = {_setting(row[column]) for row in table.rows if row.get(column) is not None}
        if len(values) == 1:
            parts.append(f"{column.replace('_', ' ')}: {printable(values.pop())}")
    lost = [row for row in table.rows if row[value] is None]
    if lost and len(lost) < len(table.rows):
        parts.append(f"{len(lost)} of {len(table.rows)} without a value")
    return parts


def _setting(value: Any) -> str:
    """Return the value of a setting as the caption has it: 0.1 and 100,000."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return show(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def reasons(table: Table, value: str) -> list[str]:
    """Return the distinct reasons why rows have no value, most frequent first."""
    counts: dict[str, int] = {}
    for row in table.rows:
        if row[value] is None:
            why = printable(row.get("reason") or "no value")
            counts[why] = counts.get(why, 0) + 1
    return sorted(counts, key=lambda why: -counts[why])
