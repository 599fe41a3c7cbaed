"""Draw the panels of a heat map of layers against layers."""

from collections.abc import Mapping, Sequence
from typing import Any

from embstore.base.messages import printable
from embstore.base.table import Row
from embstore.plot.axes import band_encoding, break_lines, text_width
from embstore.plot.charts import Panel, Request, fields_of, layer_names

_LARGEST_CELL, _SMALLEST_SIDE = 44.0, 130.0  # height of a cell, and of all cells
_LEGEND_WIDTH = 62.0


def heat_map_panels(request: Request) -> tuple[list[Panel], list[str]]:
    """Return one panel for each pair of spaces (and group), with the same colours, and notes."""
    pairs = request.panels_of("space", "space_2")
    width = request.panel_width(len(pairs))
    several = len({names[:2] for names, _ in pairs}) > 1
    panels = []
    for (first, second, *group), rows in pairs:
        spaces = [first if first == second else f"{first} × {second}"] if several else []
        panels.append(_heat_map(request, rows, (first, second), width, ", ".join((*spaces, *group))))
    return panels, []


def _heat_map(request: Request, rows: Sequence[Row], pair: tuple[str, str], width: float, title: str) -> Panel:
    style, value = request.style, request.value
    down, across = layer_names(rows), layer_names(rows, "_2")
    left = max(text_width(name, style.size - 1) for name in down) + 14 + 1.3 * style.size
    inner = width - left - _LEGEND_WIDTH
    cell = inner / len(across)
    height = request.options.height or max(min(cell, _LARGEST_CELL) * len(down), _SMALLEST_SIDE)
    data = [{name: row[name] for name in ("layer_name", "layer_name_2", value, "n")} for row in rows]
    same = pair[0] == pair[1]
    of = ["", ""] if same else [f", {printable(space)}" for space in pair]
    first, second = (f"{side}{space}" for side, space in zip(request.chart.sides, of, strict=True))
    first, second = request.options.y_label or first, request.x_title(second)
    x = band_encoding("layer_name_2", across, inner, style, second)
    y = band_encoding("layer_name", down, height, style, first, upwards=True)
    low, high = min(0.0, *request.values), max(request.values)
    limits = request.options.range or (low, 1.0 if 0 <= high <= 1 else high)
    encoding = {"x": x, "y": y, "color": _colours(request, limits, height),
                "tooltip": fields_of("layer_name", "layer_name_2", value, "n")}  # fmt: skip
    layers: list[dict[str, Any]] = [{"mark": {"type": "rect"}, "encoding": encoding}]
    if not same:
        outline = {"type": "rect", "filled": False, "stroke": "white", "strokeWidth": 1.5}
        layers.append({"mark": outline, "data": {"values": _diagonal(down, across)}, "encoding": {"x": x, "y": y}})
    widest = max(text_width(f"{number:.2f}".replace("-", "−"), style.size - 1) for number in request.values)
    if cell >= widest + 3 and height / len(down) >= style.size + 2:
        layers.append(_numbers(request, limits, {"x": x, "y": y}))
    return request.panel((inner, height), data, layers, title, width)


def _colours(request: Request, limits: tuple[float, float], height: float) -> dict[str, Any]:
    """Return the encoding of values as colours, which are the lighter the more two layers are alike."""
    unit = dict(request.chart.units).get(request.value)
    named = f"{request.value_label} ({unit})" if unit else request.value_label
    is_reversed = request.value in request.chart.distances and not request.options.colours
    room = max(_LEGEND_WIDTH - 6, *(text_width(word, request.style.size) for word in named.split()))
    return {
        "field": request.value, "type": "quantitative",
        "scale": {**request.shades(), "domain": [*limits], "clamp": True, "reverse": is_reversed},
        "legend": {"title": break_lines(named, room, request.style.size), "gradientLength": min(height, 160),
                   "format": ".3~g"},
    }  # fmt: skip


def _numbers(request: Request, limits: tuple[float, float], place: Mapping[str, Any]) -> dict[str, Any]:
    """Return the layer with the number of each cell, black on light colours."""
    low, high = limits[::-1] if request.value in request.chart.distances else limits
    is_light = f"(datum[{request.value!r}] - {low!r}) / {high - low!r} > 0.6"
    colour = request.tint(f"datum[{request.value!r}]", is_light)
    text = {"field": request.value, "type": "quantitative", "format": ".2f"}
    return {
        "mark": {"type": "text", "fontSize": request.style.size - 1},
        "encoding": {**place, "text": text, "color": colour},
    }


def _diagonal(down: Sequence[str], across: Sequence[str]) -> list[dict[str, str]]:
    """Return the cells of layers at the same relative depth, for each layer of the side that has more."""
    n = max(len(down), len(across))
    depths = [at / max(n - 1, 1) for at in range(n)]
    return [
        {"layer_name": down[round(depth * (len(down) - 1))], "layer_name_2": across[round(depth * (len(across) - 1))]}
        for depth in depths
    ]
