"""Draw tables of results as Vega-Lite charts, and render them as SVG, PNG, PDF and HTML.

draw            a table → its chart, with title and caption
curves, heat_map, bars, strip       the types of charts, each a list of panels (panel)
results, axes   what of a table is drawn, and along which scales; typesetting: how wide texts are
theme, options  colours and type; size, title, scale
figure          a specification, and its renderings; conversion: vl-convert, also in a process of its own
stored_result   a table from a JSON file
"""

from embstore.plot.conversion import starting_early
from embstore.plot.draw import draw
from embstore.plot.figure import SUFFIXES, Figure, file_type
from embstore.plot.options import THEMES, PlotOptions, parse_length
from embstore.plot.stored_result import read_result

__all__ = [
    "SUFFIXES",
    "THEMES",
    "Figure",
    "PlotOptions",
    "draw",
    "file_type",
    "parse_length",
    "read_result",
    "starting_early",
]
