"""Options of a picture: its title, size, theme and scale."""

import re
from dataclasses import dataclass
from typing import Literal, get_args, overload

from embstore.base.errors import UnknownNameError, UsageError

Theme = Literal["paper", "screen", "dark"]
THEMES: tuple[str, ...] = get_args(Theme)
X_AXES = ("layer", "step")

_PIXELS = {"": 1.0, "px": 1.0, "pt": 96 / 72, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
_NARROWEST, _WIDEST = 200.0, 4000.0


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
    """Return a length such as ``80mm``, ``3.3in``, ``12cm``, ``240pt`` or ``640`` in CSS pixels; None for None.

    Raises:
        UsageError: The text is no such length.
    """
    if text is None or isinstance(text, int | float):
        return text
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)\s*", text.lower())
    if match is None or match[2] not in _PIXELS:
        raise UsageError(f"{text!r} is no length: write it as in 80mm, 12cm, 3.3in, 240pt or 640 (pixels).")
    return float(match[1]) * _PIXELS[match[2]]
