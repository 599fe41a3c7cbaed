"""Draw a table: choose the type of chart, compose its panels, title and caption; and render the figure."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from embstore.base.chart import Chart
from embstore.base.errors import UnknownNameError, UsageError
from embstore.base.messages import printable
from embstore.base.table import Table
from embstore.plot.axes import STYLES, SURE, PlotOptions, Style, break_lines, parse_length, shorten, text_width
from embstore.plot.charts import GAP, Panel, Request, bar_panels, curve_panels, heat_map_panels, strip_panels
from embstore.plot.results import caption, over_keys, over_steps, reasons, with_band, with_group_names, with_pair_title

_VEGA_LITE = "6.1"
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_PRINT_PPI = 300
_ID = re.compile(r"\b(gradient_|clip)(\d+)\b")
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
"""
SUFFIXES = (".svg", ".png", ".pdf", ".html", ".vl.json")  # file types that ``Figure.save`` writes


@dataclass(frozen=True)
class Figure:
    """A picture of results.

    Attributes:
        spec: Vega-Lite specification, with the data in it.
        notes: Notes on what is drawn, for the reader.
    """

    spec: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the specification as JSON."""
        return json.dumps(self.spec, ensure_ascii=False, allow_nan=False, indent=1) + "\n"

    def to_svg(self) -> str:
        """Return the picture as SVG, with text as text.

        Raises:
            UsageError: The extra ``plot`` is not installed.
        """
        drawn = str(_convert("vegalite_to_svg", vl_spec=dict(self.spec)))
        numbers: dict[str, str] = {}  # the ids of gradients and clips count on from picture to picture of a process
        return _ID.sub(lambda found: f"{found[1]}{numbers.setdefault(found[0], str(len(numbers)))}", drawn)

    def to_png(self) -> bytes:
        """Return the picture as PNG, at 300 pixels an inch of its printed size. Raises: as ``to_svg``."""
        return bytes(_convert("vegalite_to_png", vl_spec=dict(self.spec), scale=_PRINT_PPI / 96))

    def to_pdf(self) -> bytes:
        """Return the picture as PDF, with text as text. Raises: as ``to_svg``."""
        return bytes(_convert("vegalite_to_pdf", vl_spec=dict(self.spec)))

    def to_html(self) -> str:
        """Return an interactive page that needs no network. Raises: as ``to_svg``."""
        import html  # loads a table of all entities, which the other types do not need

        libraries = _convert("javascript_bundle")
        title = html.escape(" ".join(self._title))
        return _PAGE.format(title=title, libraries=libraries, spec=self.to_json().replace("<", "\\u003c"))

    @property
    def _title(self) -> list[str]:
        found = self.spec.get("title", {}).get("text", [])
        return [found] if isinstance(found, str) else list(found)

    def save(self, path: "str | Path") -> None:
        """Write the picture to a file, whose suffix chooses the type: see ``SUFFIXES``.

        Raises:
            UsageError: The suffix is another one, the file cannot be written, or the extra ``plot`` is not installed,
                which all types but ``.vl.json`` need.
        """
        encoders: dict[str, Callable[[], str | bytes]] = {
            ".svg": self.to_svg, ".png": self.to_png, ".pdf": self.to_pdf, ".html": self.to_html,
            ".vl.json": self.to_json,
        }  # fmt: skip
        data = encoders[file_type(path)]()
        try:
            Path(path).write_bytes(data.encode() if isinstance(data, str) else data)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}. Name another file.") from error

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """Return the picture for a notebook: its specification, and as SVG where the extra ``plot`` is installed."""
        bundle: dict[str, Any] = {"application/vnd.vegalite.v6+json": dict(self.spec), "text/plain": repr(self)}
        return bundle | ({"image/svg+xml": self.to_svg()} if find_spec("vl_convert") else {})

    def __repr__(self) -> str:
        return f"<Figure {' '.join(self._title)!r}: .save('figure.svg'), .spec>"


def _convert(name: str, **arguments: Any) -> Any:
    """Return what a function of vl-convert returns."""
    try:
        import vl_convert
    except ModuleNotFoundError as error:
        from embstore.base.installation import install_command  # loads importlib.metadata, which takes long

        raise UsageError(
            f"pictures are drawn by vl-convert-python, which is not installed: {install_command('plot')}. "
            "Vega-Lite specifications need nothing more: embstore plot METRIC -o FIGURE.vl.json"
        ) from error
    return getattr(vl_convert, name)(vl_version=_VEGA_LITE, **arguments)


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
            "this table has no picture: only the results of metrics, drift and cosine have. Maps are shown by: "
            "embstore explore"
        )
    table = with_group_names(table)
    notes: list[str] = []
    if options.x == "step":
        table, notes = over_steps(table)
    else:
        table = over_keys(table)
    assert table.chart is not None
    value = _value(table, table.chart, options)
    style = STYLES[options.theme]
    title = options.title if options.title is not None else _title(table.chart, value)
    lines = _caption_lines(caption(table, table.chart, value), options.width, style)
    if all(row[value] is None for row in table.rows):
        return Figure(_empty(table, value, options, style, title), tuple(notes))
    request = Request(*with_band(table, with_pair_title(table, table.chart), value), value, options, style)
    panels, panel_notes = _panels(request)
    title_lines = break_lines(printable(title), SURE * options.width - 10, style.size + 2.5)
    about = {"$schema": _SCHEMA, "title": {"text": title_lines, "subtitle": lines}, "config": style.config}
    spec = _composed(panels, options) | about
    return Figure(spec, (*notes, *panel_notes))


def draw_table(table: Table, *, width: str | float, height: str | float | None, **options: Any) -> Figure:
    """Draw a table as :meth:`Table.plot` does, with lengths as texts such as ``80mm``."""
    return draw(table, PlotOptions(width=parse_length(width), height=parse_length(height), **options))


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


def _composed(panels: list[Panel], options: PlotOptions) -> dict[str, Any]:
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
