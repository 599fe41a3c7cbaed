"""Draw tables of results as Vega-Lite charts, and render them as SVG, PNG, PDF and HTML.

figure.py     a table → its chart, with title and caption; heat maps
options.py    the options of a picture, as users write them
charts.py     curves, bars and strips, each a list of panels
results.py    a table from a JSON file; what of it is drawn; results of several revisions as curves over training steps
axes.py       styles, with the colour of each model; scales, axes, and how wide texts are
rendering.py  a chart as SVG, PNG and PDF of an exact width, by vl-convert
"""

from embstore.plot.figure import SUFFIXES, Figure, draw, file_type
from embstore.plot.options import PlotOptions
from embstore.plot.results import read_result

__all__ = ["SUFFIXES", "Figure", "PlotOptions", "draw", "file_type", "read_result"]
