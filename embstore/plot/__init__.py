"""Draw tables of results as Vega-Lite charts, and render them as SVG, PNG, PDF and HTML.

figure.py   a table → its chart, with title and caption: a specification, and its renderings by vl-convert
charts.py   the types of charts, each a list of panels
results.py  a table from a JSON file; what of it is drawn; results of several revisions as curves over training steps
axes.py     size, scale and theme; scales, axes, and how wide texts are
"""

from embstore.plot.axes import THEMES, PlotOptions, parse_length
from embstore.plot.figure import SUFFIXES, Figure, draw, draw_table, file_type
from embstore.plot.results import read_result

__all__ = [
    "SUFFIXES", "THEMES", "Figure", "PlotOptions", "draw", "draw_table", "file_type", "parse_length", "read_result",
]  # fmt: skip
