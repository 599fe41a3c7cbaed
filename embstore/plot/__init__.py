"""Draw tables of results as Vega-Lite charts, and render them as SVG, PNG, PDF and HTML.

figure.py         a table → its chart, with title and caption: a specification, and its renderings
conversion.py     vl-convert, also in a process of its own
charts.py         the types of charts, each a list of panels
results.py        what of a table is drawn; results of several revisions as curves over training steps
axes.py           scales, axes, and how wide texts are
options.py        size, title, scale; themes: colours and type
stored_result.py  a table from a JSON file
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from embstore.plot.conversion import start_before, starting_early

if TYPE_CHECKING:
    from embstore.plot.figure import SUFFIXES, Figure, draw, draw_table, file_type
    from embstore.plot.options import THEMES, PlotOptions, parse_length
    from embstore.plot.stored_result import read_result

__all__ = [
    "SUFFIXES", "THEMES", "Figure", "PlotOptions", "draw", "draw_table", "file_type", "parse_length", "read_result",
    "start_before", "starting_early",
]  # fmt: skip
_MODULES = {
    "draw": "figure", "draw_table": "figure", "SUFFIXES": "figure", "Figure": "figure", "file_type": "figure",
    "THEMES": "options", "PlotOptions": "options", "parse_length": "options", "read_result": "stored_result",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a module when it is first used: vl-convert starts before the others are loaded."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
