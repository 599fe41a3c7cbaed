"""Find what a picture draws, the boxes of all of its texts, and which of them overlap or are
cut.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import vl_convert

from embstore.plot import Figure
from embstore.plot.axes import text_width


@dataclass(frozen=True)
class Box:
    """The box of a text, in pixels of the picture.

    Attributes:
        text: The text.
        left: Left end.
        top: Upper end.
        right: Right end.
        bottom: Lower end.
    """

    text: str
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Box", least: float = 1.0) -> bool:
        """Return whether the boxes have more than ``least`` pixels in common, each way."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return across > least and down > least


def faults(figure: Figure) -> list[str]:
    """Return what is wrong with the texts of a picture: overlapping ones, and those beyond its
    edges.
    """
    drawn = vl_convert.vegalite_to_scenegraph(dict(figure.spec), vl_version="6.1")
    left, top = drawn["origin"]
    boxes = list(_boxes(drawn["scenegraph"], left, top))
    assert boxes
    found = [f"{a.text!r} overlaps {b.text!r}" for a, b in combinations(boxes, 2) if a.overlaps(b)]
    for box in boxes:
        if (
            box.left < -1
            or box.top < -1
            or box.right > drawn["width"] + 1
            or box.bottom > drawn["height"] + 1
        ):
            found.append(f"{box.text!r} is cut")
    return found


def texts(figure: Figure) -> list[str]:
    """Return all texts of a picture."""
    drawn = vl_convert.vegalite_to_scenegraph(dict(figure.spec), vl_version="6.1")
    return [box.text for box in _boxes(drawn["scenegraph"], 0, 0)]


def parts(spec: Any) -> Iterator[dict[str, Any]]:
    """Yield all parts of a specification that are objects."""
    if isinstance(spec, dict):
        yield spec
        for value in spec.values():
            yield from parts(value)
    elif isinstance(spec, list):
        for value in spec:
            yield from parts(value)


def drawn_rows(figure: Figure, column: str) -> list[dict[str, Any]]:
    """Return the rows in the data of a picture that have a column."""
    rows = [row for part in parts(figure.spec) for row in part.get("data", {}).get("values", ())]
    return [row for row in rows if column in row]


def caption(figure: Figure) -> str:
    """Return the lines under the title as one."""
    return " ".join(figure.spec["title"]["subtitle"])


def _boxes(node: Mapping[str, Any], x: float, y: float) -> Iterator[Box]:
    is_text = node.get("marktype") == "text"
    for item in node.get("items", ()):
        if is_text:
            yield from _lines(item, x, y)
        else:
            yield from (
                _boxes(item, x + item.get("x", 0), y + item.get("y", 0)) if "items" in item else ()
            )


def _lines(item: Mapping[str, Any], x: float, y: float) -> Iterator[Box]:
    text = item.get("text", "")
    if item.get("opacity", 1) == 0 or text in ("", None, []):
        return
    size = item.get("fontSize", 11)
    lines = text if isinstance(text, list) else [str(text)]
    step = item.get("lineHeight", size + 2)
    bold = 1.06 if item.get("fontWeight") == "bold" else 1.0
    above = {"top": 0.0, "middle": size / 2, "bottom": size}.get(
        item.get("baseline", ""), 0.8 * size
    )  # of line 1
    for number, line in enumerate(lines):
        width = text_width(line, size) * bold
        start = {"center": -width / 2, "right": -width}.get(
            item.get("align", "left"), 0.0
        ) + item.get("dx", 0)
        start_y = -above + number * step + item.get("dy", 0)
        corners = [
            _turned(a, b, item.get("angle", 0))
            for a in (start, start + width)
            for b in (start_y, start_y + size)
        ]
        across, down = zip(*corners, strict=True)
        left, top = x + item.get("x", 0), y + item.get("y", 0)
        yield Box(line, left + min(across), top + min(down), left + max(across), top + max(down))


def _turned(x: float, y: float, degrees: float) -> tuple[float, float]:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return x * cos - y * sin, x * sin + y * cos
