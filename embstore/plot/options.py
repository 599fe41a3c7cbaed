"""The options of a figure, checked before anything is computed."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embstore.base.errors import UsageError, check_known
from embstore.base.labels import as_list, read_labels

STYLES = ("paper", "screen", "dark")
X_AXES = ("layer", "step")
SUFFIXES = (".pdf", ".png", ".svg")

_INCHES = {"mm": 1 / 25.4, "cm": 1 / 2.54, "in": 1.0, "pt": 1 / 72}
_SMALLEST, _LARGEST = 20 / 25.4, 1200 / 25.4  # A0 is 1189 mm long
_COLOUR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True)
class PlotOptions:
    """Options of a figure, as :meth:`Table.plot` documents them; texts are read as values.

    Raises:
        UsageError: An option is not of its form, or cannot work.
        UnknownNameError: There is no such style or x axis.
    """

    column: str | None = None
    title: str | None = None
    width: Any = "170mm"  # once read, in inches
    height: Any = None  # likewise
    style: str | None = "paper"
    logy: bool = False
    x: str = "layer"
    logx: bool = False
    labels: Any = ()  # once read, space → label
    x_label: str | None = None
    y_label: str | None = None
    range: Any = None  # once read, two numbers
    caption: str | None = None  # None for one that is made; "" for none
    colours: Any = ()  # once read, a tuple of #rrggbb; none for those of the style
    label_words: Any = ()  # once read, a tuple of texts

    def __post_init__(self) -> None:
        if self.style is not None and self.style.endswith(".mplstyle"):
            if not os.path.isfile(self.style):
                raise UsageError(f"{self.style} cannot be read: there is no such file.")
        elif self.style is not None:
            check_known("style", self.style, STYLES)
        check_known("x axis", self.x, X_AXES)
        if self.logx and self.x != "step":
            raise UsageError("`logx` is about training steps: add x='step'.")
        colours = [colour for text in as_list(self.colours) for colour in str(text).split(",")]
        read: Mapping[str, Any] = {
            "width": read_length("width", self.width),
            "height": None if self.height is None else read_length("height", self.height),
            "range": None if self.range is None else _read_range(self.range, is_log=self.logy),
            "labels": read_labels(self.labels),
            "label_words": tuple(map(str, as_list(self.label_words))),
            "colours": tuple(map(_read_colour, colours)),
            "caption": "" if self.caption == "none" else self.caption,
        }
        for name, value in read.items():
            object.__setattr__(self, name, value)


def read_length(name: str, text: object) -> float:
    """Return a width or height on paper, such as ``80mm``, ``12cm`` or ``3.3in``, in inches."""
    pattern = r"\s*(-?(?:\d+\.?\d*|\.\d+))\s*(mm|cm|in|pt)\s*"
    match = re.fullmatch(pattern, str(text).lower())
    if match is None:
        raise UsageError(
            f"{text!r} is no length with a unit: write it as in {name}='80mm'; cm, in and pt are"
            " known too."
        )
    length = float(match[1]) * _INCHES[match[2]]
    if not _SMALLEST <= length <= _LARGEST:
        raise UsageError(f"{name} must be from 20mm to 1200mm, not {str(text).strip()}.")
    return length


def check_file(path: str | Path) -> None:
    """Raise UsageError if the suffix of a file is not that of a figure."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: unknown type of figure. Known: {', '.join(SUFFIXES)}.")


def _read_range(text: str | Sequence[float], *, is_log: bool) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(",") if isinstance(text, str) else text)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(
            f"{text!r} is no range: write two numbers, the smaller first, as in range='0,1'."
        )
    if is_log and low <= 0:
        raise UsageError("`logy` needs a range of positive values, such as range='0.01,1'.")
    return low, high


def _read_colour(text: str) -> str:
    colour = str(text).strip().lower()
    if not _COLOUR.fullmatch(colour):
        raise UsageError(
            f"{text!r} is no colour: write each as #rrggbb, as in colours='#0072B2,#D55E00'."
        )
    return colour
