"""Draw a table: choose the type of chart, and compose its panels, title and caption."""

from typing import Any

from embstore.base.chart import Chart
from embstore.base.errors import UnknownNameError, UsageError
from embstore.base.escape import printable
from embstore.base.table import Table
from embstore.plot.bars import bar_panels
from embstore.plot.curves import curve_panels
from embstore.plot.figure import Figure
from embstore.plot.heat_map import heat_map_panels
from embstore.plot.options import PlotOptions
from embstore.plot.panel import GAP, Panel, Request
from embstore.plot.results import caption, reasons, with_group_names, with_pair_title
from embstore.plot.steps import over_steps
from embstore.plot.strip import strip_panels
from embstore.plot.theme import STYLES, Style
from embstore.plot.typesetting import SURE, break_lines, shorten, text_width

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"


def draw(table: Table, options: PlotOptions | None = None) -> Figure:
    """Draw a table of results.

    Args:
        table: The results of a query.
        options: Options of the picture.

    Raises:
        UsageError: The table has no chart or no rows, or its values do not suit a logarithmic scale.
        UnknownNameError: The column to draw is not one of the chart's.
    """
    options = options or PlotOptions()
    if table.chart is None:
        raise UsageError(
            "this table has no picture: only the results of metrics, drift and cosine have. Maps are shown by: "
            "embstore explore"
        )
    table = with_group_names(table)
    notes: list[str] = []
    if options.x == "step":
        table, notes = over_steps(table)
    assert table.chart is not None
    value = _value(table, table.chart, options)
    style = STYLES[options.theme]
    title = options.title if options.title is not None else _title(table.chart, value)
    lines = _caption_lines(caption(table, table.chart, value), options.width, style)
    if all(row[value] is None for row in table.rows):
        return Figure(_empty(table, value, options, style, title), tuple(notes))
    request = Request(table, with_pair_title(table, table.chart), value, options, style)
    panels, panel_notes = _panels(request)
    title_lines = break_lines(printable(title), SURE * options.width - 10, style.size + 2.5)
    spec = _composed(panels, options, style) | {
        "$schema": _SCHEMA, "title": {"text": title_lines,
                                      "subtitle": lines},
        "config": style.config,
    }  # fmt: skip
    return Figure(spec, (*notes, *panel_notes))


def _value(table: Table, chart: Chart, options: PlotOptions) -> str:
    """Return the column to draw: the requested one, or the first of the chart's that has a value."""
    if options.column is not None:
        if options.column not in chart.values:
            raise UnknownNameError("column to draw", options.column, chart.values)
        return options.column
    filled = (column for column in chart.values if any(row[column] is not None for row in table.rows))
    return next(filled, chart.values[0])


def _title(chart: Chart, value: str) -> str:
    name = value.replace("_", " ")
    return chart.title if name.replace("-", " ") in (chart.title.replace("-", " "), "") else f"{chart.title}: {name}"


def _panels(request: Request) -> tuple[list[Panel], list[str]]:
    chart = request.chart
    if chart.kind == "heat map":
        return heat_map_panels(request)
    if chart.kind == "bars":
        return bar_panels(request)
    if chart.items is not None and any(row[chart.items] is not None for row in request.table.rows):
        return strip_panels(request)
    return curve_panels(request)


def _caption_lines(parts: list[str], width: float, style: Style) -> list[str]:
    """Return the caption in lines, broken between its parts where possible."""
    room, size = SURE * width - 10, style.size - 1
    joined = " · ".join(part if text_width(part, size) > room else part.replace(" ", "\u00a0") for part in parts)
    lines = [line.strip("· ").replace("\u00a0", " ") for line in break_lines(joined, room, size)]
    return [shorten(line, room, size) for line in lines]


def _composed(panels: list[Panel], options: PlotOptions, style: Style) -> dict[str, Any]:
    if len(panels) == 1:
        return {**panels[0].spec, **({"title": None} if "title" not in panels[0].spec else {})}
    n_columns = max(1, int((options.width - 10 + GAP) // (panels[0].width + GAP)))
    return {"concat": [panel.spec for panel in panels], "columns": n_columns, "spacing": GAP}


def _empty(table: Table, value: str, options: PlotOptions, style: Style, title: str) -> dict[str, Any]:
    """Return a picture that says why there are no values."""
    width = options.width - 30
    found = reasons(table, value) or ["no rows"]
    lines = ["No values to draw."]
    for why in found[:4]:
        lines += break_lines(why, SURE * (width - 30), style.size)
    if len(found) > 4:
        lines.append(f"… and {len(found) - 4} other reasons")
    height = options.height or 40 + 1.4 * style.size * len(lines)
    text = {"type": "text", "align": "left", "baseline": "top", "x": 8, "y": 8, "fontSize": style.size,
            "lineHeight": 1.4 * style.size, "text": lines}  # fmt: skip
    return {
        "$schema": _SCHEMA, "title": {"text": printable(title)}, "width": width, "height": height,
        "view": {"stroke": style.faint}, "data": {"values": [{}]}, "mark": text, "config": style.config,
    }  # fmt: skip
