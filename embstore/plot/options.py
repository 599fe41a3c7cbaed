"""The options of a picture, checked before anything is computed."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from embstore.base.errors import UsageError, check_known
from embstore.base.labels import as_list, read_labels
from embstore.plot.axes import STYLE_NAMES

X_AXES = ("layer", "step")

_MM = 96 / 25.4  # CSS pixels, of which an inch has 96, in a millimetre
_UNITS = {"mm": _MM, "cm": 10 * _MM, "in": 96.0, "pt": 96 / 72}
_LIMITS = {"width": (50.0, 297.0), "height": (15.0, 297.0)}  # in millimetres; A4 is 297 mm long
_COLOUR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True)
class PlotOptions:
    """Options of a picture, as ``Result.plot`` documents them; texts of the command line are
    read as values.

    Raises:
        UsageError: An option is not of its form, or cannot work.
        UnknownNameError: There is no such style or x axis.
    """

    column: str | None = None
    title: str | None = None
    width: Any = "170mm"  # once read, in CSS pixels
    height: Any = None  # likewise
    style: str = "paper"
    logy: bool = False
    x: str = "layer"
    logx: bool = False
    labels: Any = ()  # once read, space → label
    x_label: str | None = None
    y_label: str | None = None
    range: Any = None  # once read, two numbers
    caption: str | None = None  # None for one that is made; "" for none
    colours: Any = ()  # once read, a tuple of #rrggbb; none for the palette of the style

    def __post_init__(self) -> None:
        check_known("style", self.style, STYLE_NAMES)
        check_known("x axis", self.x, X_AXES)
        if self.logx and self.x != "step":
            raise UsageError("`logx` is about training steps: add x='step'.")
        colours = [colour for text in as_list(self.colours) for colour in str(text).split(",")]
        read = {
            "width": read_length("width", self.width),
            "height": self.height and read_length("height", self.height),
            "range": None if self.range is None else _read_range(self.range, is_log=self.logy),
            "labels": read_labels(self.labels),
            "colours": tuple(map(_read_colour, colours)),
            "caption": "" if self.caption == "none" else self.caption,
        }
        for name, value in read.items():
            object.__setattr__(self, name, value)


def read_length(name: str, text: str) -> float:
    """Return a width or height on paper, such as ``80mm``, ``12cm``, ``3.3in`` or ``240pt``, in CSS
    pixels.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*", str(text).lower())
    if found is None or found[2] not in (*_UNITS, "", "px"):
        raise UsageError(
            f"{text!r} is no length: write it as in {name}='80mm'; cm, in and pt are known too."
        )
    number, (low, high) = float(found[1]), _LIMITS[name]
    if found[2] in ("", "px"):
        why = "has no unit" if not found[2] else "is in pixels, which have no size on paper"
        meant = [number / _MM] if found[2] else [number, number / _MM]
        size = next((each for each in meant if low <= each <= high), 80)
        raise UsageError(
            f"{text!r} {why}: write a length as in {name}='{size:.4g}mm'; cm, in and pt are known"
            " too."
        )
    length = number * _UNITS[found[2]]
    if not low - 0.01 <= length / _MM <= high + 0.01:  # of rounding, as 50mm is in pixels
        raise UsageError(
            f"{name} must be from {low:g}mm to {high:g}mm, the length of a page of A4, not"
            f" {str(text).strip()}."
        )
    return length


def _read_range(given: str | Sequence[float], *, is_log: bool) -> tuple[float, float]:
    try:
        low, high = map(float, given.split(",") if isinstance(given, str) else given)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(
            f"{given!r} is no range: write two numbers, the smaller first, as in range='0,1'."
        )
    if is_log and low <= 0:
        raise UsageError("`logy` needs a range of positive values, such as range='0.01,1'.")
    return low, high


def _read_colour(text: str) -> str:
    found = str(text).strip().lower()
    if not _COLOUR.fullmatch(found):
        raise UsageError(
            f"{text!r} is no colour: write each as #rrggbb, as in colours='#0072B2,#D55E00'."
        )
    return found
