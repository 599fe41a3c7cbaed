"""Strips of words: each word's value in each layer as a dot on a line of its own."""

from collections.abc import Sequence
from typing import Any

from embstore.base.escape import printable
from embstore.base.table import Row
from embstore.plot.axes import ValueScale, quoted
from embstore.plot.panel import Panel, Request, column_width, n_columns
from embstore.plot.results import LayerAxis, distinct, panel_columns
from embstore.plot.typesetting import shorten, text_width

_NARROWEST = 190.0
_MOST_ITEMS = 40
_LABEL_SHARE = 0.35


def strip_panels(request: Request) -> tuple[list[Panel], list[str]]:
    """Return one panel for each space, and a note where only the lowest and the highest items are drawn."""
    rows = request.table.rows
    keys = panel_columns(request.chart, "space")
    spaces = distinct(rows, keys)
    columns = n_columns(len(spaces), request.room, _NARROWEST)
    width = column_width(columns, request.room)
    values = [row[request.value] for row in rows if row[request.value] is not None]
    scale = ValueScale.covering(values, log=request.options.logy)
    panels, notes = [], []
    for space in spaces:
        chosen = [row for row in rows if tuple(row[key] for key in keys) == space]
        drawn, n_items = _items(request, chosen)
        if len(drawn) < n_items:
            notes.append(
                f"{', '.join(space)}: the {len(drawn) // 2} lowest and the {len(drawn) // 2} highest of {n_items:,} in "
                "the last layer are drawn."
            )
        panels.append(_panel(request, chosen, drawn, width, scale, ", ".join(space) if len(spaces) > 1 else ""))
    return panels, notes


def _items(request: Request, rows: Sequence[Row]) -> tuple[list[str], int]:
    """Return the items to draw, highest in the last layer first, and the number of all."""
    column = request.chart.items or ""
    last: dict[str, float] = {}
    for row in sorted(rows, key=lambda row: row["layer"]):
        if row[column] is not None and row[request.value] is not None:
            last[row[column]] = row[request.value]
    order = sorted(last, key=lambda item: (-last[item], item))
    if len(order) <= _MOST_ITEMS:
        return order, len(order)
    return [*order[: _MOST_ITEMS // 2], *order[-_MOST_ITEMS // 2 :]], len(order)


def _panel(
    request: Request, rows: Sequence[Row], items: Sequence[str], width: float, scale: ValueScale, title: str
) -> Panel:
    style, value, column = request.style, request.value, request.chart.items or ""
    most = _LABEL_SHARE * width
    labels = {item: shorten(printable(item), most, style.size - 1) for item in items}
    left = max(text_width(label, style.size - 1) for label in labels.values()) + 12
    layers = LayerAxis.of(row["layer_name"] for row in sorted(rows, key=lambda row: row["layer"])).names
    legend = 66 if len(layers) > 1 else 8
    inner = width - left - legend
    step = 1.35 * style.size
    height = request.options.height or step * len(items)
    at = {item: step_at for step_at, item in enumerate(items)}
    data = [
        {"item": printable(row[column]), "line": at[row[column]], "layer_name": row["layer_name"],
         value: row[value], "n": row["n"]}
        for row in rows if row[column] in at and row[value] is not None
    ]  # fmt: skip
    names = " : ".join(f"datum.value == {line} ? {quoted(labels[item])}" for item, line in at.items())
    lines: dict[str, Any] = {
        "field": "line", "type": "quantitative",
        "scale": {"domain": [len(items) - 0.5, -0.5], "nice": False, "zero": False},
        "axis": {"title": None, "values": [*at.values()], "labelExpr": f"{names} : ''", "grid": True, "domain": False,
                 "ticks": False, "labelLimit": 0, "labelPadding": 7, "minExtent": left - 4, "maxExtent": left - 4},
    }  # fmt: skip
    x = {"field": value, "type": "quantitative", "scale": scale.scale,
         "axis": scale.axis_across(request.value_title, inner, style)}  # fmt: skip
    shade = {
        "field": "layer_name", "type": "ordinal", "sort": layers,
        "scale": {"scheme": style.sequence, "domain": layers},
        "legend": {"title": "layer"} if len(layers) > 1 else None,
    }  # fmt: skip
    tooltip = [{"field": name} for name in ("item", "layer_name", value, "n")]
    dots = {"mark": {"type": "point", "filled": True, "size": 34, "opacity": 1},
            "encoding": {"x": x, "y": lines, "color": shade, "tooltip": tooltip}}  # fmt: skip
    spec: dict[str, Any] = {"width": inner, "height": height, "data": {"values": data}, "layer": [dots]}
    if title:
        spec["title"] = request.panel_title(title, inner)
    return Panel(spec, width)
