"""Draw the panels of three types of charts: curves over the layers, stacked bars, and strips of
words.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from embstore.base.chart import Chart, name_of
from embstore.base.errors import UsageError
from embstore.base.messages import printable
from embstore.base.table import Row, Table, show
from embstore.plot import axes
from embstore.plot.options import PlotOptions
from embstore.plot.results import (
    BASELINES,
    CURVE,
    NO_VALUE,
    SAME,
    LayerAxis,
    distinct,
    drawn_baselines,
    has_best,
)

GAP = 18.0
_MARGIN = 5.0
_NARROWEST = 190.0
_CURVE_LABEL_SHARE, _ITEM_LABEL_SHARE = 0.4, 0.35
_MOST_ITEMS = 40


@dataclass(frozen=True)
class Panel:
    """One panel of a picture: its Vega-Lite specification, and its width with axes and labels in
    pixels.
    """

    spec: dict[str, Any]
    width: float


@dataclass(frozen=True)
class Request:
    """A picture that is requested: the results and their chart, the column drawn, options and
    style.
    """

    table: Table
    chart: Chart
    value: str
    options: PlotOptions
    style: axes.Style
    places: Mapping[str, int]  # label of a space → its place in the palette

    @property
    def values(self) -> list[float]:
        """The values drawn."""
        return [row[self.value] for row in self.table.rows if row[self.value] is not None]

    def has_room(self, value: float) -> bool:
        """Return whether a value is in the requested range, if there is one."""
        limits = self.options.range
        return limits is None or limits[0] <= value <= limits[1]

    @property
    def value_title(self) -> str:
        """Title of the axis of values: what is measured, and by which number, with its unit and
        range.
        """
        title = self.chart.title
        about = [] if self.value_label.casefold() == title.casefold() else [self.value_label]
        about += [
            text
            for columns in (self.chart.units, self.chart.ranges)
            if (text := dict(columns).get(self.value))
        ]
        return f"{title} ({', '.join(about)})" if about else title

    @property
    def value_label(self) -> str:
        """Name of the column drawn."""
        return name_of(self.chart, self.value)

    def shades(self, n: int = 0) -> dict[str, Any]:
        """Return the range of a scale whose colours show an order: of n colours, or continuous."""
        given = self.options.colours
        if not given:
            return {"scheme": self.style.sequence}
        if len(given) == 1 and n != 1:
            raise UsageError("a scale needs two or more colours, as in colours='#FFFFFF,#0072B2'.")
        return {"range": axes.ramp(given, n)} if n else {"range": [*given], "interpolate": "rgb"}

    def tint(self, value: str, is_light: str) -> dict[str, Any]:
        """Return the colour of a text on that of a value: black where a style's is light, or a
        requested one.
        """
        test = (
            f"luminance(scale('color', {value})) > 0.18" if self.options.colours else is_light
        )  # equal contrast
        return {"condition": {"test": test, "value": "black"}, "value": "white"}

    def scale_of(self, values: Sequence[float], *, with_zero: bool = False) -> axes.ValueScale:
        """Return the scale for values of a column, or for the requested range."""
        return axes.ValueScale.covering(
            values, log=self.options.logy, with_zero=with_zero, limits=self.options.range
        )

    def panels_of(self, *columns: str) -> list[tuple[tuple[str, ...], list[Row]]]:
        """Return the distinct values of columns (and the group, if there are any) with their rows:
        one panel each.
        """
        keys = (*columns, "group") if self.chart.series == "group" else columns
        return _split(self.table.rows, keys)

    def panel_width(self, n_panels: int, narrowest: float = _NARROWEST) -> float:
        """Return the width of a panel, as many side by side as have room, in rows of equal length
        where possible.
        """
        room: float = self.options.width - 2 * _MARGIN - self.style.spare
        most = max(1, min(n_panels, int((room + GAP) // (narrowest + GAP))))
        columns = math.ceil(n_panels / math.ceil(n_panels / most))
        return (room - GAP * (columns - 1)) / columns

    def height(self, width: float, least: float) -> float:
        """Return the height of a panel of this width, unless one is requested."""
        return self.options.height or max(least, min(0.6 * width, 320.0))

    @property
    def label_gap(self) -> float:
        """Distance of a curve's label from its last point, round which there may be a circle, in
        pixels.
        """
        return 10 if any(row.get(SAME) for row in self.table.rows) else 6

    @property
    def y_title(self) -> str:
        """Title of a y axis of values."""
        return self.value_title if self.options.y_label is None else self.options.y_label

    def x_title(self, default: str) -> str:
        """Return the title of the x axis."""
        return default if self.options.x_label is None else self.options.x_label

    def y(self, scale: axes.ValueScale, field: str, height: float) -> dict[str, Any]:
        """Return the Vega-Lite encoding of values along the y axis."""
        return {
            "field": field,
            "type": "quantitative",
            "scale": scale.scale,
            "axis": scale.axis(self.y_title, height, self.style),
        }

    def panel(
        self,
        size: tuple[float, float],
        data: Sequence[Row],
        layers: Sequence[Any],
        title: str,
        width: float,
    ) -> Panel:
        """Return a panel of layers in an area of this size, and its title, if it has one, cut to
        the area's width.
        """
        inner, height = size
        if self.options.range is not None:
            for layer in layers:
                layer["mark"] |= {"clip": True} if layer["mark"]["type"] != "text" else {}
        spec: dict[str, Any] = {
            "width": inner,
            "height": height,
            "data": {"values": data},
            "layer": layers,
        }
        if title:
            size_of_text = self.style.size
            spec["title"] = {
                "text": axes.shorten(printable(title), inner, size_of_text),
                "fontSize": size_of_text,
                "fontWeight": "normal",
                "anchor": "start",
                "frame": "group",
                "offset": 4,
            }
        return Panel(spec, width)


def _split(rows: Sequence[Row], columns: Sequence[str]) -> list[tuple[tuple[Any, ...], list[Row]]]:
    """Return each distinct combination of values of columns with its rows, in order of
    appearance.
    """
    return [
        (values, [row for row in rows if tuple(row[column] for column in columns) == values])
        for values in distinct(rows, columns)
    ]


def layer_names(rows: Sequence[Row], suffix: str = "") -> list[str]:
    """Return the names of the layers of rows, in order."""
    ordered = sorted(rows, key=lambda row: row[f"layer{suffix}"])
    return LayerAxis.of(row[f"layer_name{suffix}"] for row in ordered).names


def fields_of(*names: str) -> list[dict[str, str]]:
    """Return the fields of a tooltip."""
    return [{"field": name} for name in names]


def curve_panels(request: Request) -> tuple[list[Panel], list[str]]:
    """Return one panel for each combination of the facets, with the same scales, and notes."""
    chart, rows = request.chart, request.table.rows
    spaces = [space for (space,) in distinct(rows, (chart.series,))]
    labels = _labels(request, spaces)
    names = [row[chart.layer_name] for row in sorted(rows, key=lambda row: row[chart.layer])]
    in_order = {name: at for at, name in enumerate(dict.fromkeys(names))}
    axis = LayerAxis(in_order) if chart.x == "groups" else LayerAxis.of(names)
    facets = _split(rows, chart.facets)
    limits = dict(chart.intervals).get(request.value, ())
    drawn = (request.value, *limits, *drawn_baselines(request.table, chart, request.value))
    scale = request.scale_of([row[name] for name in drawn for row in rows if row[name] is not None])
    longest = max((axes.text_width(label, request.style.size) for label in labels), default=0.0)
    width = request.panel_width(len(facets), _NARROWEST + longest)
    return [
        _curves(
            request,
            chosen,
            spaces,
            axis,
            scale,
            width,
            ", ".join(map(show, facet)) if len(facets) > 1 else "",
        )
        for facet, chosen in facets
    ], []


def _labels(request: Request, series: Sequence[str]) -> Sequence[str]:
    """Return the labels of the curves; none for a single curve of a space."""
    return () if len(series) == 1 and request.chart.series in ("space", CURVE) else series


def _curves(
    request: Request,
    rows: Sequence[Row],
    spaces: Sequence[str],
    axis: LayerAxis,
    scale: axes.ValueScale,
    width: float,
    title: str,
) -> Panel:
    style, value, chart = request.style, request.value, request.chart
    labels = _labels(request, spaces)
    room = min(
        max((axes.text_width(label, style.size - 1) for label in labels), default=0.0),
        _CURVE_LABEL_SHARE * width,
    )
    height = request.height(width, 130.0)
    inner = (
        width
        - scale.axis_width(request.y_title, height, style)
        - (room + 6 + request.label_gap if labels else 4)
    )
    named = [printable(space) for space in spaces]
    colours = _colours(request, named)
    dashes, shapes = _looks(request, named, axes.DASHES), _looks(request, named, axes.SHAPES)
    if chart.x in ("steps", "scales"):
        kind = "log" if chart.x == "scales" else "symlog" if request.options.logx else "linear"
        x = axes.step_encoding(
            [*axis.places.values()], inner, style, request.x_title(chart.x_title), kind
        )
    else:
        x = axes.layer_encoding(axis, inner, style, request.x_title(chart.x_title))
    y = request.y(scale, value, height)
    data = [_datum(request, row, axis) for row in rows]
    numbered = {"filter": "datum.is_numbered"}
    alone = {"filter": "!datum.is_numbered" if sum(map(str.isdecimal, axis.places)) > 1 else "true"}
    layers: list[dict[str, Any]] = []
    if limits := dict(chart.intervals).get(value):
        band = {
            "x": x,
            "y": {**y, "field": limits[0]},
            "y2": {"field": limits[1]},
            "color": colours,
        }
        layers.append(
            {"mark": {"type": "area", "opacity": 0.16}, "transform": [numbered], "encoding": band}
        )
        layers.append(
            {"mark": {"type": "rule", "opacity": 0.4}, "transform": [alone], "encoding": band}
        )
    for column, pattern in zip(
        drawn_baselines(request.table, chart, value), BASELINES.values(), strict=False
    ):
        line = {"x": x, "y": {**y, "field": column}, "color": colours}
        mark = {"type": "line", "strokeWidth": 1, "strokeDash": pattern}
        layers.append({"mark": mark, "transform": [numbered], "encoding": line})
    curve = {"x": x, "y": y, "color": colours}
    tooltip = fields_of(chart.series, chart.layer_name, value, *(["n"] if "n" in rows[0] else []))
    layers += [
        {
            "mark": {"type": "line", "strokeWidth": 1.6},
            "transform": [numbered],
            "encoding": curve | {"strokeDash": dashes},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 22, "opacity": 1},
            "transform": [{"filter": f"isValid(datum[{value!r}])"}],
            "encoding": curve | {"tooltip": tooltip, "shape": shapes},
        },
    ]
    if has_best(rows, chart, value):
        star = {
            "type": "point",
            "shape": "diamond",
            "size": 110,
            "strokeWidth": 1.6,
            "filled": False,
            "opacity": 1,
        }
        layers.append(
            {"mark": star, "transform": [{"filter": f"datum[{chart.best!r}]"}], "encoding": curve}
        )
    if any(row.get(SAME) for row in rows):
        circle = {"type": "point", "size": 150, "strokeWidth": 1, "filled": False, "opacity": 1}
        layers.append(
            {"mark": circle, "transform": [{"filter": f"datum[{SAME!r}]"}], "encoding": curve}
        )
    if labels:
        layers.append(_end_labels(request, rows, axis, scale, (inner, height, room), colours))
    return request.panel((inner, height), data, layers, title, width)


def _colours(request: Request, series: Sequence[str]) -> dict[str, Any]:
    """Return the encoding of the colours of curves, which show the order of ordered ones."""
    given, own = request.options.colours, request.style.colours
    if request.chart.is_ordered and len(series) > 2 and not given:
        extent = [0, 0.88] if request.options.style != "dark" else [0.2, 1]
        ordered = [name for name in series if name != NO_VALUE]
        scale = {"domain": ordered, "scheme": {"name": request.style.sequence, "extent": extent}}
        found = {
            "field": request.chart.series,
            "type": "ordinal",
            "legend": None,
            "sort": None,
            "scale": scale,
        }
        if len(ordered) < len(series):  # outside the order, and so without a colour of it
            is_outside = f"datum[{request.chart.series!r}] === {NO_VALUE!r}"
            found["condition"] = {"test": is_outside, "value": request.style.faint}
        return found
    places = range(len(series)) if given else _places(request, series)
    colours = given or own
    scale = {"domain": list(series), "range": [colours[at % len(colours)] for at in places]}
    return {"field": request.chart.series, "type": "nominal", "legend": None, "scale": scale}


def _places(request: Request, series: Sequence[str]) -> Sequence[int]:
    """Return the place of each curve in the palette: of a space always the same, else in order."""
    if all(name in request.places for name in series):
        return [request.places[name] for name in series]
    return range(len(series))


def _looks(
    request: Request, series: Sequence[str], looks: Sequence[str | list[int]]
) -> dict[str, Any]:
    """Return the encoding of the dashes or marks of curves, different ones for curves with the same
    colour.
    """
    n_colours = len(request.style.colours)
    scale = {
        "domain": list(series),
        "range": [looks[(at + at // n_colours) % len(looks)] for at in _places(request, series)],
    }
    return {"field": request.chart.series, "type": "nominal", "legend": None, "scale": scale}


def _datum(request: Request, row: Row, axis: LayerAxis) -> dict[str, Any]:
    chart, name = request.chart, row[request.chart.layer_name]
    limits = dict(chart.intervals).get(request.value, ())
    beside = drawn_baselines(request.table, chart, request.value)
    given = (name for name in ("n", SAME) if name in row)
    optional = (*given, request.value, *limits, *beside, *((chart.best,) if chart.best else ()))
    columns = (chart.series, chart.layer, chart.layer_name, *chart.facets, *optional)
    found = {
        column: printable(row[column]) if isinstance(row[column], str) else row[column]
        for column in columns
    }
    return found | {
        "place": axis.places[name],
        "is_numbered": chart.x != "layers" or name.isdecimal(),
    }


def _end_labels(
    request: Request,
    rows: Sequence[Row],
    axis: LayerAxis,
    scale: axes.ValueScale,
    size: tuple[float, float, float],
    colours: dict[str, Any],
) -> dict[str, Any]:
    """Return the layer with the label of each curve at the right, moved apart where they would
    overlap.
    """
    _, height, room = size
    style, value, series = request.style, request.value, request.chart.series
    drawn = [row for row in rows if row[value] is not None]
    ordered = sorted(drawn, key=lambda row: axis.places[row[request.chart.layer_name]])
    ends = {row[series]: row[value] for row in ordered}
    ends = {name: end for name, end in ends.items() if request.has_room(end)}
    places = axes.spread(
        [scale.at(end, height) for end in ends.values()], 1.15 * (style.size - 1), 2, height
    )
    data = [
        {
            series: printable(name),
            "label": axes.shorten(printable(name), room + 2, style.size - 1),
            "pixels": place,
        }
        for name, place in zip(ends, places, strict=True)
    ]
    mark = {
        "type": "text",
        "align": "left",
        "baseline": "middle",
        "dx": request.label_gap,
        "x": "width",
    }
    return {
        "data": {"values": data},
        "mark": mark,
        "encoding": {
            "y": {"field": "pixels", "type": "quantitative", "scale": None},
            "text": {"field": "label"},
            "color": colours,
        },
    }


def bar_panels(request: Request) -> tuple[list[Panel], list[str]]:
    """Return one panel for each space, with the same scale, and notes."""
    spaces = request.panels_of("space")
    width = request.panel_width(len(spaces))
    data = [datum for row in request.table.rows for datum in _stack(request, row)]
    scale = request.scale_of(
        [datum[end] for datum in data for end in ("from", "to")], with_zero=True
    )
    n_bars = max(datum["rank"] for datum in data)
    return [
        _bars(request, rows, ", ".join(space) if len(spaces) > 1 else "", width, scale, n_bars)
        for space, rows in spaces
    ], []


def _stack(request: Request, row: Row) -> Iterator[dict[str, Any]]:
    """Yield the bars of a layer with their ends, positive values above zero and negative ones
    below.
    """
    values = row[request.value] or ()
    names = row[request.chart.bar_names] if request.chart.bar_names else range(1, len(values) + 1)
    tops = {True: 0.0, False: 0.0}
    for rank, (name, value) in enumerate(zip(names, values, strict=True), start=1):
        start = tops[value >= 0]
        tops[value >= 0] = start + value
        yield {
            "layer_name": row["layer_name"],
            "rank": rank,
            "name": str(name),
            request.value: value,
            "from": start,
            "to": start + value,
        }


def _bars(
    request: Request,
    rows: Sequence[Row],
    title: str,
    width: float,
    scale: axes.ValueScale,
    n_bars: int,
) -> Panel:
    style, value, names = request.style, request.value, layer_names(rows)
    height = request.height(width, 150.0)
    inner = width - scale.axis_width(request.y_title, height, style) - 66
    data = [datum for row in rows for datum in _stack(request, row)]
    x = axes.band_encoding("layer_name", names, inner, style, request.x_title("layer")) | {
        "scale": {"paddingInner": 0.2, "paddingOuter": 0.1}
    }
    y = request.y(scale, "from", height)
    rank = {
        "field": "rank",
        "type": "ordinal",
        "scale": {**request.shades(n_bars), "domain": [*range(1, n_bars + 1)]},
        "legend": {
            "title": "rank",
            "values": sorted({round(1 + at * (n_bars - 1) / 9) for at in range(10)}),
        },
    }
    tooltip = fields_of("layer_name", "rank", "name", value)
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "bar", "stroke": style.background, "strokeWidth": 0.5},
         "encoding": {"x": x, "y": y, "y2": {"field": "to"}, "color": rank, "tooltip": tooltip}}
    ]  # fmt: skip
    if request.chart.bar_names:
        size, bar = style.size - 1, 0.8 * inner / len(names)
        labelled = [
            {**datum, "middle": (datum["from"] + datum["to"]) / 2}
            for datum in data
            if abs(scale.at(datum["to"], height) - scale.at(datum["from"], height)) >= size + 1
            and axes.text_width(datum["name"], size) <= bar
        ]
        tint = request.tint("datum.rank", f"datum.rank > {0.6 * n_bars!r}")
        layers.append(
            {
                "data": {"values": labelled},
                "mark": {"type": "text", "fontSize": size, "baseline": "middle"},
                "encoding": {
                    "x": x,
                    "y": {**y, "field": "middle"},
                    "text": {"field": "name"},
                    "color": tint,
                },
            }
        )
    return request.panel((inner, height), data, layers, title, width)


def strip_panels(request: Request) -> tuple[list[Panel], list[str]]:
    """Return one panel for each space and facet, and a note where only the lowest and the highest
    items are drawn.

    The value of an item in each layer is a dot on a line of its own.
    """
    rows = tuple(row for row in request.table.rows if row[request.value] is not None)
    columns = tuple(dict.fromkeys(("space", *request.chart.facets)))
    if request.chart.facets and len(distinct(rows, ("space",))) == 1:
        columns = columns[1:]
    parts = replace(request, table=replace(request.table, rows=rows)).panels_of(*columns)
    width = request.panel_width(len(parts))
    scale = request.scale_of(request.values)
    items = [_items(request, chosen) for _, chosen in parts]
    most, size = _ITEM_LABEL_SHARE * width, request.style.size - 1
    labels = {
        item: axes.shorten(printable(item), most, size) for drawn, _ in items for item in drawn
    }
    panels, notes = [], []
    for (names, chosen), (drawn, n_items) in zip(parts, items, strict=True):
        named = zip((*columns, "group"), names, strict=False)
        title = ", ".join(
            f"layer {name}" if column == "layer_name" else show(name) for column, name in named
        )
        if len(drawn) < n_items:
            notes.append(
                f"{title}: the {len(drawn) // 2} lowest and the {len(drawn) // 2} highest of"
                f" {n_items:,} in the last layer are drawn."
            )
        panels.append(
            _strip(request, chosen, drawn, labels, width, scale, title if len(parts) > 1 else "")
        )
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


def _strip(
    request: Request,
    rows: Sequence[Row],
    items: Sequence[str],
    labels: Mapping[str, str],
    width: float,
    scale: axes.ValueScale,
    title: str,
) -> Panel:
    style, value, column = request.style, request.value, request.chart.items or ""
    left = (
        max(axes.text_width(label, style.size - 1) for label in labels.values()) + 12
    )  # in all panels
    layers = layer_names(rows)
    legend = 66 if len(layers) > 1 else 8
    inner = width - left - legend
    step = 1.35 * style.size
    height = request.options.height or step * len(items)
    at = {item: step_at for step_at, item in enumerate(items)}
    data = [
        {
            "item": printable(row[column]),
            "line": at[row[column]],
            "layer_name": row["layer_name"],
            value: row[value],
            "n": row["n"],
            **({SAME: row[SAME]} if SAME in row else {}),
        }
        for row in rows
        if row[column] in at and row[value] is not None
    ]
    names = " : ".join(
        f"datum.value == {line} ? {axes.quoted(labels[item])}" for item, line in at.items()
    )
    lines: dict[str, Any] = {
        "field": "line",
        "type": "quantitative",
        "scale": {"domain": [len(items) - 0.5, -0.5], "nice": False, "zero": False},
        "axis": {
            "title": axes.shorten(request.options.y_label or "", height, style.size),
            "values": [*at.values()],
            "labelExpr": f"{names} : ''",
            "grid": True,
            "domain": False,
            "ticks": False,
            "labelLimit": 0,
            "labelPadding": 7,
            "minExtent": left - 4,
            "maxExtent": left - 4,
        },
    }
    x = {
        "field": value,
        "type": "quantitative",
        "scale": scale.scale,
        "axis": scale.axis_across(request.x_title(request.value_title), inner, style),
    }
    shade = {
        "field": "layer_name",
        "type": "ordinal",
        "sort": layers,
        "scale": {**request.shades(len(layers)), "domain": layers},
        "legend": {"title": "layer"} if len(layers) > 1 else None,
    }
    tooltip = fields_of("item", "layer_name", value, "n")
    dots: dict[str, Any] = {
        "mark": {"type": "point", "filled": True, "size": 34, "opacity": 1},
        "encoding": {"x": x, "y": lines, "color": shade, "tooltip": tooltip},
    }
    if any(row.get(SAME) for row in data):
        hollow = {"condition": {"test": f"datum[{SAME!r}]", "value": 0}, "value": 1}
        dots["encoding"] |= {"stroke": shade, "fillOpacity": hollow}
    return request.panel((inner, height), data, [dots], title, width)
