"""Curves of a value over the layers: one a space, labelled at its end, with interval bands and the best layer."""

from collections.abc import Sequence
from typing import Any

from embstore.base.escape import printable
from embstore.base.table import Row, show
from embstore.plot.axes import ValueScale, layer_encoding, step_encoding
from embstore.plot.panel import Panel, Request, column_width, n_columns
from embstore.plot.results import NO_VALUE, LayerAxis, distinct, series_labels
from embstore.plot.steps import CURVE
from embstore.plot.theme import DASHES
from embstore.plot.typesetting import shorten, spread, text_width

_NARROWEST = 190.0
_LABEL_SHARE = 0.4


def curve_panels(request: Request) -> tuple[list[Panel], list[str]]:
    """Return one panel for each combination of the facets, with the same scales, and notes."""
    chart, rows = request.chart, request.table.rows
    spaces = [space for (space,) in distinct(rows, (chart.series,))]
    axis = LayerAxis.of(row[chart.layer_name] for row in sorted(rows, key=lambda row: row[chart.layer]))
    facets = distinct(rows, chart.facets) if chart.facets else [()]
    scale = ValueScale.covering(_drawn_values(request), log=request.options.logy)
    labels = _labels(request, spaces).values()
    longest = max((text_width(label, request.style.size) for label in labels), default=0.0)
    columns = n_columns(len(facets), request.room, _NARROWEST + longest)
    width = column_width(columns, request.room)
    panels = []
    for facet in facets:
        chosen = [row for row in rows if tuple(row[column] for column in chart.facets) == facet]
        title = ", ".join(map(show, facet)) if len(facets) > 1 else ""
        panels.append(_panel(request, chosen, spaces, axis, scale, width, title))
    return panels, []


def _labels(request: Request, series: Sequence[str]) -> dict[str, str]:
    """Return the label of each curve, short where the curves are spaces; none for a single curve of a space."""
    if len(series) == 1 and request.chart.series in ("space", CURVE):
        return {}
    return series_labels(series) if request.chart.series == "space" else {name: name for name in series}


def _drawn_values(request: Request) -> list[float]:
    limits = dict(request.chart.intervals).get(request.value, ())
    return [row[name] for name in (request.value, *limits) for row in request.table.rows if row[name] is not None]


def _panel(
    request: Request,
    rows: Sequence[Row],
    spaces: Sequence[str],
    axis: LayerAxis,
    scale: ValueScale,
    width: float,
    title: str,
) -> Panel:
    style, value, chart = request.style, request.value, request.chart
    labels = _labels(request, spaces)
    room = min(max((text_width(label, style.size - 1) for label in labels.values()), default=0.0), _LABEL_SHARE * width)
    height = request.options.height or max(130.0, min(0.6 * width, 320.0))
    inner = width - scale.axis_width(request.value_title, height, style) - (room + 12 if labels else 4)
    named = [printable(space) for space in spaces]
    colours, dashes = _colours(request, named), _dash_patterns(request, named)
    if request.options.x == "step":
        x = step_encoding([*axis.places.values()], inner, style, chart.x_title, log=request.options.logx)
    else:
        x = layer_encoding(axis, inner, style, chart.x_title)
    y = {"field": value, "type": "quantitative", "scale": scale.scale,
         "axis": scale.axis(request.value_title, height, style)}  # fmt: skip
    data = [_datum(request, row, axis) for row in rows]
    numbered = {"filter": "datum.is_numbered"}
    alone = {"filter": "!datum.is_numbered" if sum(map(str.isdecimal, axis.places)) > 1 else "true"}
    layers: list[dict[str, Any]] = []
    if limits := dict(request.chart.intervals).get(value):
        band = {"x": x, "y": {**y, "field": limits[0]}, "y2": {"field": limits[1]}, "color": colours}
        layers.append({"mark": {"type": "area", "opacity": 0.16}, "transform": [numbered], "encoding": band})
        layers.append({
            "mark": {"type": "rule", "opacity": 0.4}, "transform": [alone], "encoding": band,
        })  # fmt: skip
    curve = {"x": x, "y": y, "color": colours}
    tooltip = [{"field": name} for name in (chart.series, chart.layer_name, value, *(["n"] if "n" in rows[0] else []))]
    layers += [
        {"mark": {"type": "line", "strokeWidth": 1.6}, "transform": [numbered],
         "encoding": curve | {"strokeDash": dashes}},
        {"mark": {"type": "point", "filled": True, "size": 22, "opacity": 1},
         "transform": [{"filter": f"isValid(datum[{value!r}])"}], "encoding": curve | {"tooltip": tooltip}},
    ]  # fmt: skip
    if (
        request.chart.best
        and any(row[request.chart.best] for row in rows)
        and len({row[chart.layer] for row in rows}) > 1
    ):
        star = {"type": "point", "shape": "diamond", "size": 110, "strokeWidth": 1.6, "filled": False, "opacity": 1}
        layers.append({"mark": star, "transform": [{"filter": f"datum[{request.chart.best!r}]"}], "encoding": curve})
    if labels:
        layers.append(_end_labels(request, rows, labels, axis, scale, (inner, height, room), x, y, colours))
    spec = {"width": inner, "height": height, "data": {"values": data}, "layer": layers}
    if title:
        spec["title"] = request.panel_title(title, inner)
    return Panel(spec, width)


def _colours(request: Request, series: Sequence[str]) -> dict[str, Any]:
    """Return the encoding of the colours of curves, which show the order of ordered ones."""
    colours = request.style.colours
    if request.chart.is_ordered and len(series) > 2:
        extent = [0, 0.88] if request.options.theme != "dark" else [0.2, 1]
        ordered = [name for name in series if name != NO_VALUE]
        scale = {"domain": ordered, "scheme": {"name": request.style.sequence, "extent": extent}}
        found = {"field": request.chart.series, "type": "ordinal", "legend": None, "sort": None, "scale": scale}
        if len(ordered) < len(series):  # outside the order, and so without a colour of it
            is_outside = f"datum[{request.chart.series!r}] === {NO_VALUE!r}"
            found["condition"] = {"test": is_outside, "value": request.style.faint}
        return found
    scale = {"domain": list(series), "range": [colours[at % len(colours)] for at in range(len(series))]}
    return {"field": request.chart.series, "type": "nominal", "legend": None, "scale": scale}


def _dash_patterns(request: Request, series: Sequence[str]) -> dict[str, Any]:
    """Return the encoding of the dashes of curves."""
    patterns = [list(_dashes(at, len(request.style.colours))) for at in range(len(series))]
    scale = {"domain": list(series), "range": patterns}
    return {"field": request.chart.series, "type": "nominal", "legend": None, "scale": scale}


def _dashes(at: int, n_colours: int) -> tuple[int, ...]:
    """Return the dash pattern of a curve, which differs from those of earlier curves with the same colour."""
    return DASHES[(at + at // n_colours) % len(DASHES)]


def _datum(request: Request, row: Row, axis: LayerAxis) -> dict[str, Any]:
    limits = dict(request.chart.intervals).get(request.value, ())
    best = (request.chart.best,) if request.chart.best else ()
    chart = request.chart
    counts = ("n",) if "n" in row else ()
    names = (chart.series, chart.layer, chart.layer_name, *chart.facets, *counts, request.value, *limits, *best)
    name = row[chart.layer_name]
    return {column: _safe(row[column]) for column in names} | {
        "place": axis.places[name],
        "is_numbered": name.isdecimal(),
    }


def _safe(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


def _end_labels(
    request: Request,
    rows: Sequence[Row],
    labels: dict[str, str],
    axis: LayerAxis,
    scale: ValueScale,
    size: tuple[float, float, float],
    x: dict[str, Any],
    y: dict[str, Any],
    colours: dict[str, Any],
) -> dict[str, Any]:
    """Return the layer with the label of each curve at the right, moved apart where they would overlap."""
    inner, height, room = size
    style, value = request.style, request.value
    ends = {}
    for row in sorted(
        (row for row in rows if row[value] is not None), key=lambda row: axis.places[row[request.chart.layer_name]]
    ):
        ends[row[request.chart.series]] = row[value]
    places = spread([scale.at(end, height) for end in ends.values()], 1.15 * (style.size - 1), 2, height)
    data = [
        {
            request.chart.series: printable(space),
            "label": shorten(printable(labels[space]), room + 2, style.size - 1),
            "pixels": place,
        }
        for space, place in zip(ends, places, strict=True)
    ]
    mark = {"type": "text", "align": "left", "baseline": "middle", "dx": 6, "x": inner}
    return {
        "data": {"values": data}, "mark": mark,
        "encoding": {"y": {"field": "pixels", "type": "quantitative", "scale": None}, "text": {"field": "label"},
                     "color": colours},
    }  # fmt: skip
