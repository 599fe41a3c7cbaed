"""Colours and type of the three themes.

The colours of curves are those of Okabe and Ito (2008), "Color Universal Design", safe for colour-blind readers; curves
differ in dashes too, so that they can be told apart in grey print. Values of heat maps use viridis, whose lightness
rises with the value.
"""

from dataclasses import dataclass
from typing import Any

FONT = "Helvetica, Arial, Liberation Sans, sans-serif"
DASHES: tuple[tuple[int, ...], ...] = ((1, 0), (6, 2), (2, 2), (8, 2, 2, 2), (10, 3), (4, 1), (1, 2))
_LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#56B4E9", "#000000")
_DARK = ("#56B4E9", "#E69F00", "#2FC79B", "#E29AC4", "#F0E442", "#7FB8FF", "#FFFFFF")


@dataclass(frozen=True, slots=True)
class Style:
    """Colours and sizes of a theme.

    Attributes:
        background: Colour of the page.
        ink: Colour of text.
        faint: Colour of axes, and of text of less weight.
        grid: Colour of grid lines.
        colours: Colours of the curves, in order.
        size: Size of text, in pixels.
        spare: Additional margin on the right, in pixels, for labels in another font: DejaVu Sans, a browser's where
            none is like Helvetica, is a seventh wider.
        sequence: Colour scheme of ordered values.
    """

    background: str
    ink: str
    faint: str
    grid: str
    colours: tuple[str, ...]
    size: float
    spare: float
    sequence: str = "viridis"

    @property
    def config(self) -> dict[str, Any]:
        """The ``config`` of a Vega-Lite specification."""
        return {
            "background": self.background,
            "font": FONT,
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
