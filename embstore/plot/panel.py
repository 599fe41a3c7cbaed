"""What each type of chart is given, and what it returns."""

import math
from dataclasses import dataclass
from typing import Any

from embstore.base.chart import Chart
from embstore.base.escape import printable
from embstore.base.table import Table
from embstore.plot.options import PlotOptions
from embstore.plot.theme import Style
from embstore.plot.typesetting import shorten

MARGIN = 5.0
GAP = 18.0


@dataclass(frozen=True)
class Request:
    """A picture that is requested.

    Attributes:
        table: The results.
        chart: Their chart.
        value: The column drawn.
        options: Options of the picture.
        style: The theme.
    """

    table: Table
    chart: Chart
    value: str
    options: PlotOptions
    style: Style

    @property
    def room(self) -> float:
        """Width for the panels, in pixels."""
        return self.options.width - 2 * MARGIN - self.style.spare

    @property
    def value_title(self) -> str:
        """Title of the axis of values: name, unit and range."""
        name = self.value.replace("_", " ")
        about = [text for columns in (self.chart.units, self.chart.ranges) if (text := dict(columns).get(self.value))]
        return f"{name} ({', '.join(about)})" if about else name

    def panel_title(self, text: str, width: float) -> dict[str, Any]:
        """Return the title of a panel, cut to its width in pixels."""
        size = self.style.size
        return {"text": shorten(printable(text), width, size), "fontSize": size, "fontWeight": "normal",
                "anchor": "start", "frame": "group", "offset": 4}  # fmt: skip


@dataclass(frozen=True)
class Panel:
    """One panel of a picture.

    Attributes:
        spec: Its Vega-Lite specification.
        width: Its width with axes and labels, in pixels.
    """

    spec: dict[str, Any]
    width: float


def n_columns(n_panels: int, room: float, narrowest: float) -> int:
    """Return how many panels stand side by side: as many as have room, in rows of equal length where possible.

    Args:
        n_panels: Number of panels.
        room: Width for all of them, in pixels.
        narrowest: Smallest width of a panel, in pixels.
    """
    most = max(1, min(n_panels, int((room + GAP) // (narrowest + GAP))))
    return math.ceil(n_panels / math.ceil(n_panels / most))


def column_width(columns: int, room: float) -> float:
    """Return the width of each of the panels that stand side by side in ``room`` pixels."""
    return (room - GAP * (columns - 1)) / columns
