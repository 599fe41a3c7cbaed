"""Describe what a figure of a table needs to know beyond its columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Chart:
    """Hints for the figure of a table; what is drawn follows from the table's columns.

    Attributes:
        values: Columns that can be drawn, the default first: of several, the first that has a value
            in some row.
        title: Name of what is measured, as a title has it.
        labels: Column → what it is called on an axis, of those with a name of its own.
        units: Column → unit of measurement.
        ranges: Column → smallest and largest possible value, None where there is none.
        intervals: Column → columns of its lower and its upper limit, or of a deviation.
        baselines: Column → columns of the levels drawn as thin lines beside it, such as chance.
        panels: Columns, such as ``dataset``, each combination of whose values gets a panel.
        settings: Columns of settings that the caption states.
        defaults: Setting → its default, which a caption does not state.
        distances: Columns whose small values mean that two layers are alike.
        best: Boolean column that marks the best layer.
        is_directed: Whether the first layer of a pair is the source and the second the target.
    """

    values: tuple[str, ...]
    title: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    intervals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    baselines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    panels: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    defaults: Mapping[str, object] = field(default_factory=dict)
    distances: tuple[str, ...] = ()
    best: str | None = None
    is_directed: bool = False

    def drawn(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Return the column that is drawn of some rows, and by which they are ranked: the first
        that has a value in one of them.
        """
        filled = (name for name in self.values if any(row[name] is not None for row in rows))
        return next(filled, self.values[0])

    def name_of(self, column: str) -> str:
        """Return what a figure calls a column."""
        return self.labels.get(column, column.replace("_", " "))


COSINE = Chart(
    ("cosine",),
    title="Cosine",
    ranges={"cosine": (-1, 1)},
    panels=("text", "text_2"),
    settings=("transform",),
)
"""Cosines: a panel for each pair of texts, a curve for each space."""

MAP = Chart(("x",), title="Map", settings=("method",))
"""Items in the plane, at x and y: a panel for each layer of a space."""
