"""Options of a picture: its title, size, theme and scale; and the colours and type of the three themes.

The colours of curves are those of Okabe and Ito (2008), "Color Universal Design", safe for colour-blind readers; curves
differ in dashes too, so that they can be told apart in grey print. Values of heat maps use viridis, whose lightness
rises with the value.
"""

import re
from dataclasses import dataclass
from typing import Any, overload

from embstore.base.errors import UnknownNameError, UsageError

X_AXES = ("layer", "step")

_PIXELS = {"": 1.0, "px": 1.0, "pt": 96 / 72, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
_NARROWEST, _WIDEST = 200.0, 4000.0
_FONT = "Helvetica, Arial, Liberation Sans, sans-serif"
DASHES: tuple[tuple[int, ...], ...] = ((1, 0), (6, 2), (2, 2), (8, 2, 2, 2), (10, 3), (4, 1), (1, 2))
_LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#56B4E9", "#000000")
_DARK = ("#56B4E9", "#E69F00", "#2FC79B", "#E29AC4", "#F0E442", "#7FB8FF", "#FFFFFF")


@dataclass(frozen=True, slots=True)
class Style:
    """Colours and sizes of a theme."""

    background: str
    ink: str
    faint: str  # axes, and text of less weight
    grid: str
    colours: tuple[str, ...]
    size: float  # of text, in pixels
    spare: float  # margin on the right in pixels, for labels in a wider font: DejaVu Sans is a seventh wider
    sequence: str = "viridis"

    @property
    def config(self) -> dict[str, Any]:
        """The ``config`` of a Vega-Lite specification."""
        return {
            "background": self.background,
            "font": _FONT,
            "padding": 5 if not self.spare else {"left": 5, "top": 5, "bottom": 5, "right": 5 + self.spare},
            "view": {"stroke": None},
            "axis": {
                "labelFontSize": self.size - 1, "titleFontSize": self.size, "labelColor": self.ink,
                "titleColor": self.ink, "domainColor": self.faint, "tickColor": self.faint, "gridColor": self.grid,
                "titleFontWeight": "normal", "titlePadding": 6, "tickSize": 4, "labelPadding": 3,
            },
            "legend": {
                "labelFontSize": self.size - 1, "titleFontSize": self.size, "labelColor": self.ink,
                "titleColor": self.ink, "titleFontWeight": "normal", "labelLimit": 0,
            },
            "title": {
                "fontSize": self.size + 2, "subtitleFontSize": self.size - 1, "color": self.ink,
                "subtitleColor": self.faint, "anchor": "start", "frame": "bounds", "fontWeight": "bold",
                "subtitlePadding": 4, "offset": 8,
            },
            "text": {"color": self.ink, "fontSize": self.size - 1},
        }  # fmt: skip


STYLES = {
    "paper": Style("white", "#000000", "#555555", "#E6E6E6", _LIGHT, 10.5, 0),
    "screen": Style("white", "#1B1F24", "#59636E", "#E4E7EB", _LIGHT, 13, 14),
    "dark": Style("#15191E", "#E8EAED", "#A8B0BA", "#333A43", _DARK, 13, 14),
}
THEMES = tuple(STYLES)


@dataclass(frozen=True, slots=True)
class PlotOptions:
    """Options of a picture.

    Attributes:
        column: Column to draw; None for the chart's own.
        title: Title; None for the name of what is measured.
        width: Width of the whole picture, in CSS pixels (96 an inch).
        height: Height of each panel, in CSS pixels; None for a height that suits the width.
        theme: ``paper`` (white, small type), ``screen`` (white, larger type) or ``dark``.
        logy: Whether the scale of the values is logarithmic.
        x: What the x axis shows: ``layer``, or ``step`` for the training steps of revisions.
        logx: Whether the scale of the training steps is logarithmic; it has room for step 0.
    """

    column: str | None = None
    title: str | None = None
    width: float = 640.0
    height: float | None = None
    theme: str = "paper"
    logy: bool = False
    x: str = "layer"
    logx: bool = False

    def __post_init__(self) -> None:
        if self.theme not in THEMES:
            raise UnknownNameError("theme", self.theme, THEMES)
        if self.x not in X_AXES:
            raise UnknownNameError("x axis", self.x, X_AXES)
        if self.logx and self.x != "step":
            raise UsageError("⦃logx⦄ is about training steps: add ⦃x=step⦄.")
        for name, length, least in (("width", self.width, _NARROWEST), ("height", self.height, 60.0)):
            if length is not None and not least <= length <= _WIDEST:
                raise UsageError(f"{name} must be from {least:g} to {_WIDEST:g} pixels (96 an inch), not {length:g}.")


@overload
def parse_length(text: str | float) -> float: ...
@overload
def parse_length(text: str | float | None) -> float | None: ...
def parse_length(text: str | float | None) -> float | None:
    """Return a length such as ``80mm``, ``3.3in``, ``12cm``, ``240pt`` or ``640`` in CSS pixels; None for None."""
    if text is None or isinstance(text, int | float):
        return text
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)\s*", text.lower())
    if match is None or match[2] not in _PIXELS:
        raise UsageError(f"{text!r} is no length: write it as in 80mm, 12cm, 3.3in, 240pt or 640 (pixels).")
    return float(match[1]) * _PIXELS[match[2]]
