"""Draw tables of results as Vega-Lite charts, and render them as SVG, PNG, PDF and HTML.

drawing         a table → its chart, with title and caption
curves, heat_map, bars, strip       the types of charts, each a list of panels (panel)
results, axes   what of a table is drawn, and along which scales; typesetting: how wide texts are
theme, options  colours and type; size, title, scale
steps           results of several revisions as curves over training steps
figure          a specification, and its renderings; conversion: vl-convert, also in a process of its own
stored_result   a table from a JSON file
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from embstore.plot.conversion import start_before, starting_early

if TYPE_CHECKING:
    from embstore.plot.drawing import draw
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
    "start_before",
    "starting_early",
]
_MODULES = {
    "draw": "drawing", "SUFFIXES": "figure", "Figure": "figure", "file_type": "figure", "THEMES": "options",
    "PlotOptions": "options", "parse_length": "options", "read_result": "stored_result",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a module when it is first used: vl-convert starts before the others are loaded."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
