"""Stacked bars: the values of an array for each layer."""

from collections.abc import Iterator, Sequence
from typing import Any

from embstore.base.table import Row
from embstore.plot.axes import ValueScale, band_encoding
from embstore.plot.panel import Panel, Request, column_width, n_columns
from embstore.plot.results import LayerAxis, distinct, panel_columns
from embstore.plot.typesetting import text_width

_NARROWEST = 190.0


def bar_panels(request: Request) -> tuple[list[Panel], list[str]]:
    """Return one panel for each space, with the same scale, and notes."""
    rows = request.table.rows
    keys = panel_columns(request.chart, "space")
    spaces = distinct(rows, keys)
    columns = n_columns(len(spaces), request.room, _NARROWEST)
    width = column_width(columns, request.room)
    data = [datum for row in rows for datum in _stack(request, row)]
    scale = ValueScale.covering([datum[end] for datum in data for end in ("from", "to")], with_zero=True)
    n_bars = max(datum["rank"] for datum in data)
    return [
        _panel(request, [row for row in rows if tuple(row[key] for key in keys) == space], ", ".join(space), width,
               scale, n_bars, titled=len(spaces) > 1)
        for space in spaces
    ], []  # fmt: skip


def _stack(request: Request, row: Row) -> Iterator[dict[str, Any]]:
    """Yield the bars of a layer with their ends, positive values above zero and negative ones below."""
    values = row[request.value] or ()
    names = row[request.chart.bar_names] if request.chart.bar_names else range(1, len(values) + 1)
    tops = {True: 0.0, False: 0.0}
    for rank, (name, value) in enumerate(zip(names, values, strict=True), start=1):
        start = tops[value >= 0]
        tops[value >= 0] = start + value
        yield {"layer_name": row["layer_name"], "rank": rank, "name": str(name), request.value: value, "from": start,
               "to": start + value}  # fmt: skip


def _panel(
    request: Request, rows: Sequence[Row], title: str, width: float, scale: ValueScale, n_bars: int, *, titled: bool
) -> Panel:
    style, value = request.style, request.value
    names = LayerAxis.of(row["layer_name"] for row in sorted(rows, key=lambda row: row["layer"])).names
    height = request.options.height or max(150.0, min(0.6 * width, 320.0))
    inner = width - scale.axis_width(request.value_title, height, style) - 66
    data = [datum for row in rows for datum in _stack(request, row)]
    x = band_encoding("layer_name", names, inner, style, "layer") | {
        "scale": {"paddingInner": 0.2, "paddingOuter": 0.1}
    }
    y = {"field": "from", "type": "quantitative", "scale": scale.scale,
         "axis": scale.axis(request.value_title, height, style)}  # fmt: skip
    rank = {
        "field": "rank", "type": "ordinal", "scale": {"scheme": style.sequence, "domain": [*range(1, n_bars + 1)]},
        "legend": {"title": "rank", "values": _some(n_bars)},
    }  # fmt: skip
    tooltip = [{"field": name} for name in ("layer_name", "rank", "name", value)]
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "bar", "stroke": style.background, "strokeWidth": 0.5},
         "encoding": {"x": x, "y": y, "y2": {"field": "to"}, "color": rank, "tooltip": tooltip}}
    ]  # fmt: skip
    size = style.size - 2
    if request.chart.bar_names:
        bar = 0.8 * inner / len(names)
        labelled = [
            {**datum, "middle": (datum["from"] + datum["to"]) / 2} for datum in data
            if abs(scale.at(datum["to"], height) - scale.at(datum["from"], height)) >= size + 1
            and text_width(datum["name"], size) <= bar
        ]  # fmt: skip
        tint = {"condition": {"test": f"datum.rank > {0.6 * n_bars!r}", "value": "black"}, "value": "white"}
        layers.append({
            "data": {"values": labelled}, "mark": {"type": "text", "fontSize": size, "baseline": "middle"},
            "encoding": {"x": x, "y": {**y, "field": "middle"}, "text": {"field": "name"}, "color": tint},
        })  # fmt: skip
    spec: dict[str, Any] = {"width": inner, "height": height, "data": {"values": data}, "layer": layers}
    if titled:
        spec["title"] = request.panel_title(title, inner)
    return Panel(spec, width)


def _some(n: int) -> list[int]:
    """Return at most ten whole numbers from 1 to n, the first and the last among them."""
    if n <= 10:
        return [*range(1, n + 1)]
    return sorted({round(1 + at * (n - 1) / 9) for at in range(10)})
