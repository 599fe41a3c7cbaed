"""Heat maps of the layers of a space against layers of the same or another space."""

from collections.abc import Sequence
from typing import Any

from embstore.base.escape import printable
from embstore.base.table import Row
from embstore.plot.axes import band_encoding
from embstore.plot.panel import Panel, Request, column_width, n_columns
from embstore.plot.results import LayerAxis, distinct, panel_columns
from embstore.plot.typesetting import shorten, text_width

_NARROWEST = 190.0
_LARGEST_CELL = 44.0
_SMALLEST_SIDE = 130.0


def heat_map_panels(request: Request) -> tuple[list[Panel], list[str]]:
    """Return one panel for each pair of spaces (and group), with the same colours, and notes."""
    rows = request.table.rows
    keys = panel_columns(request.chart, "space", "space_2")
    pairs = distinct(rows, keys)
    columns = n_columns(len(pairs), request.room, _NARROWEST)
    width = column_width(columns, request.room)
    values = [row[request.value] for row in rows if row[request.value] is not None]
    return [
        _panel(request, [row for row in rows if tuple(row[key] for key in keys) == pair], pair, width, values,
               titled=len(pairs) > 1)
        for pair in pairs
    ], []  # fmt: skip


def _panel(
    request: Request, rows: Sequence[Row], pair: tuple[str, ...], width: float, values: Sequence[float], *, titled: bool
) -> Panel:
    style, value = request.style, request.value
    down = LayerAxis.of(row["layer_name"] for row in sorted(rows, key=lambda row: row["layer"])).names
    across = LayerAxis.of(row["layer_name_2"] for row in sorted(rows, key=lambda row: row["layer_2"])).names
    legend_width = 62.0
    left = max(text_width(name, style.size - 1) for name in down) + 14 + 1.3 * style.size
    cell = min((width - left - legend_width) / len(across), max(_LARGEST_CELL, _SMALLEST_SIDE / len(across)))
    height = request.options.height or max(cell * len(down), _SMALLEST_SIDE)
    inner = cell * len(across)
    data = [{name: row[name] for name in ("layer_name", "layer_name_2", value, "n")} for row in rows]
    same = pair[0] == pair[1]
    first, second = ("layer", "layer") if same else (f"layer of {printable(pair[0])}", f"layer of {printable(pair[1])}")
    x = band_encoding("layer_name_2", across, inner, style, shorten(second, inner, style.size))
    y = band_encoding("layer_name", down, height, style, shorten(first, height, style.size), upwards=True)
    low, high = min(0.0, *values), max(values)
    top = 1.0 if 0 < high <= 1 else high
    colour = {
        "field": value, "type": "quantitative", "scale": {"scheme": style.sequence, "domain": [low, top]},
        "legend": {"title": value.replace("_", " "), "gradientLength": min(height, 160), "format": ".3~g"},
    }  # fmt: skip
    tooltip = [{"field": name} for name in ("layer_name", "layer_name_2", value, "n")]
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "rect"}, "encoding": {"x": x, "y": y, "color": colour, "tooltip": tooltip}}
    ]
    if not same:
        outline = {"type": "rect", "filled": False, "stroke": "white", "strokeWidth": 1.5}
        layers.append({"mark": outline, "data": {"values": _diagonal(down, across)}, "encoding": {"x": x, "y": y}})
    size = style.size - 2
    widest = max(text_width(f"{number:.2f}".replace("-", "−"), size) for number in values)
    if cell >= widest + 3 and height / len(down) >= size + 3:
        light = {"condition": {"test": f"datum[{value!r}] > {low + 0.6 * (top - low)!r}", "value": "black"},
                 "value": "white"}  # fmt: skip
        text = {"field": value, "type": "quantitative", "format": ".2f"}
        layers.append({"mark": {"type": "text", "fontSize": size}, "encoding": {"x": x, "y": y, "text": text,
                                                                               "color": light}})  # fmt: skip
    spec: dict[str, Any] = {"width": inner, "height": height, "data": {"values": data}, "layer": layers}
    if titled:
        spec["title"] = request.panel_title(
            ", ".join((pair[0] if same else f"{pair[0]} × {pair[1]}", *pair[2:])), inner
        )
    return Panel(spec, width)


def _diagonal(down: Sequence[str], across: Sequence[str]) -> list[dict[str, str]]:
    """Return the cells of layers at the same relative depth, for each layer of the side that has more."""
    n = max(len(down), len(across))
    depths = [at / max(n - 1, 1) for at in range(n)]
    return [
        {"layer_name": down[round(depth * (len(down) - 1))], "layer_name_2": across[round(depth * (len(across) - 1))]}
        for depth in depths
    ]
