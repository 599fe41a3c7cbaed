"""Draw a table: choose the type of chart, compose its panels, title and caption; heat maps of
layers against layers.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embstore.base.chart import Chart
from embstore.base.errors import UsageError, check_known
from embstore.base.messages import printable
from embstore.base.table import Row, Table
from embstore.plot import rendering, results
from embstore.plot.axes import (
    N_PLACES,
    STYLES,
    SURE,
    Style,
    band_encoding,
    break_lines,
    palette_places,
    text_width,
)
from embstore.plot.charts import (
    GAP,
    Panel,
    Request,
    bar_panels,
    curve_panels,
    fields_of,
    layer_names,
    strip_panels,
)
from embstore.plot.options import PlotOptions

if TYPE_CHECKING:
    import altair

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
        panels.append(
            _heat_map(request, rows, (first, second), width, ", ".join((*spaces, *group)))
        )
    return panels, []


def _heat_map(
    request: Request, rows: Sequence[Row], pair: tuple[str, str], width: float, title: str
) -> Panel:
    style, value = request.style, request.value
    down, across = layer_names(rows), layer_names(rows, "_2")
    left = max(text_width(name, style.size - 1) for name in down) + 14 + 1.3 * style.size
    inner = width - left - _LEGEND_WIDTH
    cell = inner / len(across)
    height = request.options.height or max(min(cell, _LARGEST_CELL) * len(down), _SMALLEST_SIDE)
    data = [
        {name: row[name] for name in ("layer_name", "layer_name_2", value, "n")} for row in rows
    ]
    same = pair[0] == pair[1]
    of = ["", ""] if same else [f", {printable(space)}" for space in pair]
    first, second = (f"{side}{space}" for side, space in zip(request.chart.sides, of, strict=True))
    first, second = request.options.y_label or first, request.x_title(second)
    x = band_encoding("layer_name_2", across, inner, style, second)
    y = band_encoding("layer_name", down, height, style, first, upwards=True)
    low, high = min(0.0, *request.values), max(request.values)
    limits = request.options.range or (low, 1.0 if 0 <= high <= 1 else high)
    encoding = {
        "x": x,
        "y": y,
        "color": _colours(request, limits, height),
        "tooltip": fields_of("layer_name", "layer_name_2", value, "n"),
    }
    layers: list[dict[str, Any]] = [{"mark": {"type": "rect"}, "encoding": encoding}]
    if not same:
        outline = {"type": "rect", "filled": False, "stroke": "white", "strokeWidth": 1.5}
        layers.append(
            {
                "mark": outline,
                "data": {"values": _diagonal(down, across)},
                "encoding": {"x": x, "y": y},
            }
        )
    widest = max(
        text_width(f"{number:.2f}".replace("-", "−"), style.size - 1) for number in request.values
    )
    if cell >= widest + 3 and height / len(down) >= style.size + 2:
        layers.append(_numbers(request, limits, {"x": x, "y": y}))
    return request.panel((inner, height), data, layers, title, width)


def _colours(request: Request, limits: tuple[float, float], height: float) -> dict[str, Any]:
    """Return the encoding of values as colours, which are the lighter the more two layers are
    alike.
    """
    unit = dict(request.chart.units).get(request.value)
    named = f"{request.value_label} ({unit})" if unit else request.value_label
    is_reversed = request.value in request.chart.distances and not request.options.colours
    room = max(_LEGEND_WIDTH - 6, *(text_width(word, request.style.size) for word in named.split()))
    return {
        "field": request.value,
        "type": "quantitative",
        "scale": {**request.shades(), "domain": [*limits], "clamp": True, "reverse": is_reversed},
        "legend": {
            "title": break_lines(named, room, request.style.size),
            "gradientLength": min(height, 160),
            "format": ".3~g",
        },
    }


def _numbers(
    request: Request, limits: tuple[float, float], place: Mapping[str, Any]
) -> dict[str, Any]:
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
    """Return the cells of layers at the same relative depth, for each layer of the side that has
    more.
    """
    n = max(len(down), len(across))
    depths = [at / max(n - 1, 1) for at in range(n)]
    return [
        {
            "layer_name": down[round(depth * (len(down) - 1))],
            "layer_name_2": across[round(depth * (len(across) - 1))],
        }
        for depth in depths
    ]


_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:">
<title>{title}</title>
<script>{libraries}</script>
</head>
<body>
<div id="figure"></div>
<script>
const spec = {spec};
vegaEmbed("#figure", spec, {{
  renderer: "svg", actions: {{export: true, source: false, compiled: false, editor: false}},
}});
</script>
</body>
</html>
"""  # noqa: E501
SUFFIXES = (".svg", ".png", ".pdf", ".html", ".vl.json")  # file types that ``Figure.save`` writes


@dataclass(frozen=True)
class Figure:
    """A picture of results.

    Attributes:
        spec: Vega-Lite specification, with the data in it.
        notes: Notes on what is drawn, for the reader.
        width: Width of the files in CSS pixels (96 an inch); None for the one that the
            specification gives.
        on_paper: Whether SVG and PDF have no background.
    """

    spec: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    width: float | None = None
    on_paper: bool = False

    def to_json(self) -> str:
        """Return the specification as JSON."""
        return json.dumps(self.spec, ensure_ascii=False, allow_nan=False, indent=1) + "\n"

    def to_altair(self) -> "altair.TopLevelMixin":
        """Return the picture as a chart of Altair, to go on with.

        Raises:
            UsageError: Altair is not installed.
        """
        try:
            import altair
        except ModuleNotFoundError as error:
            raise UsageError(
                "to_altair needs Altair, which is not installed: pip install 'altair>=6'"
            ) from error
        chart: altair.TopLevelMixin = altair.Chart.from_dict(dict(self.spec))
        return chart

    def to_svg(self) -> str:
        """Return the picture as SVG, with text as text.

        Raises:
            UsageError: The extra ``plot`` is not installed.
        """
        return rendering.svg(self.spec, self.width, self._about, on_paper=self.on_paper)

    def to_png(self) -> bytes:
        """Return the picture as PNG, at 300 pixels an inch of its printed size. Raises: as
        ``to_svg``.
        """
        drawn = rendering.svg(self.spec, self.width, "", unit="px")
        return rendering.png(drawn, {"Title": " ".join(self._title), "Description": self._about})

    def to_pdf(self) -> bytes:
        """Return the picture as PDF, with text as text. Raises: as ``to_svg``."""
        drawn = rendering.svg(self.spec, self.width, "", unit="pt", on_paper=self.on_paper)
        return rendering.pdf(
            drawn, {"Title": " ".join(self._title), "Subject": self._about, "Creator": "embstore"}
        )

    def to_html(self) -> str:
        """Return an interactive page that needs no network. Raises: as ``to_svg``."""
        title = rendering.escaped(" ".join(self._title))
        libraries, spec = (
            rendering.convert("javascript_bundle"),
            self.to_json().replace("<", "\\u003c"),
        )
        return _PAGE.format(title=title, libraries=libraries, spec=spec)

    @property
    def _about(self) -> str:
        """All that is known of the picture, for the metadata of its files."""
        return str(self.spec.get("description", ""))

    @property
    def _title(self) -> list[str]:
        found = (self.spec.get("title") or {}).get("text", [])
        return [found] if isinstance(found, str) else list(found)

    def save(self, path: "str | Path") -> None:
        """Write the picture to a file, whose suffix chooses the type: see ``SUFFIXES``.

        Raises:
            UsageError: The suffix is another one, the file cannot be written, or the extra ``plot``
                is not installed, which all types but ``.vl.json`` need.
        """
        encoders: dict[str, Callable[[], str | bytes]] = {
            ".svg": self.to_svg, ".png": self.to_png, ".pdf": self.to_pdf, ".html": self.to_html,
            ".vl.json": self.to_json,
        }  # fmt: skip
        data = encoders[file_type(path)]()
        try:
            Path(path).write_bytes(data.encode() if isinstance(data, str) else data)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}. Name another file."
            ) from error

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """Return the picture for a notebook: its specification, and as SVG where the extra ``plot``
        is installed.
        """
        bundle: dict[str, Any] = {
            "application/vnd.vegalite.v6+json": dict(self.spec),
            "text/plain": repr(self),
        }
        return bundle | ({"image/svg+xml": self.to_svg()} if find_spec("vl_convert") else {})

    def __repr__(self) -> str:
        return f"<Figure {' '.join(self._title)!r}: .save('figure.svg'), .spec>"


def file_type(path: "str | Path") -> str:
    """Return the type of picture of a file, one of ``SUFFIXES``.

    Raises:
        UsageError: The name ends otherwise.
    """
    name = Path(path).name.lower()
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return suffix
    raise UsageError(f"{path}: unknown type of picture. Known: {', '.join(SUFFIXES)}.")


def draw(table: Table, options: PlotOptions | None = None) -> Figure:
    """Draw a table of results."""
    options = options or PlotOptions()
    if table.chart is None:
        raise UsageError(
            "this table has no picture: only the results of metrics, drift and cosine have. Maps"
            " are shown by: embstore explore"
        )
    table = results.with_group_names(table)
    notes: list[str] = []
    if options.x == "step":
        table, notes = results.over_steps(table)
    else:
        table = results.with_single_item(results.over_keys(table))
    table, labels, shared = results.with_labels(table, options.labels)
    places = {labels[space]: place for space, place in palette_places([*labels], N_PLACES).items()}
    assert table.chart is not None
    value = _value(table, table.chart, options)
    style = STYLES[options.style]
    drawn, chart = results.with_band(table, results.with_pair_title(table, table.chart), value)
    request = Request(drawn, chart, value, options, style, places)
    title = chart.title if options.title is None else options.title
    parts = (
        results.caption(table, table.chart, value, shared)
        if options.caption is None
        else [options.caption]
    )
    known = ". ".join(
        filter(
            None, (title, request.value_title, *results.about_results(table, value, labels, shared))
        )
    )
    about = {
        "$schema": _SCHEMA,
        "config": style.config,
        "description": printable(known),
        "title": _title(title, [*filter(None, parts)], options.width, style),
    }
    panel_notes: list[str] = []
    if all(row[value] is None for row in table.rows):
        spec = _empty(table, value, options, style)
    else:
        panels, panel_notes = _panels(request)
        spec = _composed(panels, options)
    n_outside = (
        sum(not request.has_room(each) for each in request.values) if chart.kind == "curves" else 0
    )
    if n_outside:
        notes.append(
            f"{n_outside} of {len(request.values)} values are outside the range and not drawn."
        )
    return Figure(
        spec | about, (*notes, *panel_notes), options.width, on_paper=options.style == "paper"
    )


def _value(table: Table, chart: Chart, options: PlotOptions) -> str:
    """Return the column to draw: the requested one, or the first of the chart's that has a
    value.
    """
    if options.column is not None:
        check_known("column to draw", options.column, chart.values)
        return options.column
    filled = (
        column for column in chart.values if any(row[column] is not None for row in table.rows)
    )
    return next(filled, chart.values[0])


def _panels(request: Request) -> tuple[list[Panel], list[str]]:
    chart = request.chart
    if chart.kind == "heat map":
        return heat_map_panels(request)
    if chart.kind == "bars":
        return bar_panels(request)
    if chart.items is not None and any(row[chart.items] is not None for row in request.table.rows):
        return strip_panels(request)
    return curve_panels(request)


def _title(title: str, caption: list[str], width: float, style: Style) -> dict[str, Any] | None:
    """Return title and caption in lines; of a caption alone, in its own type."""
    lines = _caption_lines([*map(printable, caption)], width, style) if caption else []
    if title:
        text = break_lines(printable(title), SURE * width - 10, style.size + 2.5)
        return {"text": text, "subtitle": lines}
    alone = {
        "text": lines,
        "fontSize": style.size - 1,
        "fontWeight": "normal",
        "color": style.faint,
    }
    return alone if caption else None


def _caption_lines(parts: list[str], width: float, style: Style) -> list[str]:
    """Return the caption in lines, broken between its parts where possible."""
    room, size = SURE * width - 10, style.size - 1
    joined = " · ".join(
        part if text_width(part, size) > room else part.replace(" ", "\u00a0") for part in parts
    )
    return [line.strip("· ") for line in break_lines(joined, room, size)]


def _composed(panels: list[Panel], options: PlotOptions) -> dict[str, Any]:
    if len(panels) == 1:
        return {**panels[0].spec, **({"title": None} if "title" not in panels[0].spec else {})}
    n_columns = max(1, int((options.width - 10 + GAP) // (panels[0].width + GAP)))
    return {"concat": [panel.spec for panel in panels], "columns": n_columns, "spacing": GAP}


def _empty(table: Table, value: str, options: PlotOptions, style: Style) -> dict[str, Any]:
    """Return a picture that says why there are no values."""
    width = options.width - 30
    found = results.reasons(table, value) or ["no rows"]
    lines = ["No values to draw."]
    for why in found[:4]:
        lines += break_lines(why, SURE * (width - 30), style.size)
    if len(found) > 4:
        lines.append(f"… and {len(found) - 4} other reasons")
    height = options.height or 40 + 1.4 * style.size * len(lines)
    text = {
        "type": "text",
        "align": "left",
        "baseline": "top",
        "x": 8,
        "y": 8,
        "fontSize": style.size,
        "lineHeight": 1.4 * style.size,
        "text": lines,
    }
    return {
        "width": width,
        "height": height,
        "view": {"stroke": style.faint},
        "data": {"values": [{}]},
        "mark": text,
    }
