"""Draw tables of results as Vega-Lite charts, and render them as SVG, PNG, PDF and HTML."""

from embstore.plot.figure import SUFFIXES, Figure, draw, file_type
from embstore.plot.options import PlotOptions
from embstore.plot.results import read_result

__all__ = ["SUFFIXES", "Figure", "PlotOptions", "draw", "file_type", "read_result"]
