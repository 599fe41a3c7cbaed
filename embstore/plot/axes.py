"""Styles of pictures; scales and axes of its panels, with ticks computed so that labels can be
placed.

How wide texts are is estimated, and they are broken and shortened, before anything is rendered. The
colours of curves are those of Okabe and Ito (2008), "Color Universal Design", safe for colour-blind
readers; curves differ in dashes and marks too, to be told apart in grey print. Heat maps use
viridis, whose lightness rises with the value.
"""

import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, pairwise, starmap
from typing import Any

import numpy as np

from embstore.base.errors import UsageError
from embstore.base.labels import model_of
from embstore.base.messages import printable
from embstore.plot.results import LayerAxis

_FONT = "Helvetica, Arial, Liberation Sans, sans-serif"
SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
)
DASHES = ([1, 0], [6, 2], [2, 2], [8, 2, 2, 2], [10, 3], [4, 1], [1, 2])
_LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#56B4E9", "#000000")
N_PLACES = len(_LIGHT)
# gives MiniLM, the same untrained, GPT-2, CLIP, BERT, RoBERTa and Pythia different places
_SALT = b"8599"
_DARK = ("#56B4E9", "#E69F00", "#2FC79B", "#E29AC4", "#F0E442", "#7FB8FF", "#FFFFFF")


@dataclass(frozen=True, slots=True)
class Style:
    """Colours and sizes of a style."""

    background: str
    ink: str
    faint: str  # axes, and text of less weight
    grid: str
    colours: tuple[str, ...]
    size: float  # of text, in pixels
    # margin on the right in pixels, for labels in a wider font: DejaVu Sans is a seventh wider
    spare: float
    sequence: str = "viridis"

    @property
    def config(self) -> dict[str, Any]:
        """The ``config`` of a Vega-Lite specification."""
        return {
            "background": self.background,
            "font": _FONT,
            "padding": (
                5 if not self.spare else {"left": 5, "top": 5, "bottom": 5, "right": 5 + self.spare}
            ),
            "view": {"stroke": None},
            "axis": {
                "labelFontSize": self.size - 1,
                "titleFontSize": self.size,
                "labelColor": self.ink,
                "titleColor": self.ink,
                "domainColor": self.faint,
                "tickColor": self.faint,
                "gridColor": self.grid,
                "titleFontWeight": "normal",
                "titlePadding": 6,
                "tickSize": 4,
                "labelPadding": 3,
            },
            "legend": {
                "labelFontSize": self.size - 1,
                "titleFontSize": self.size,
                "labelColor": self.ink,
                "titleColor": self.ink,
                "titleFontWeight": "normal",
                "labelLimit": 0,
            },
            "title": {
                "fontSize": self.size + 2,
                "subtitleFontSize": self.size - 1,
                "color": self.ink,
                "subtitleColor": self.faint,
                "anchor": "start",
                "frame": "bounds",
                "fontWeight": "bold",
                "subtitlePadding": 4,
                "offset": 8,
            },
            "text": {"color": self.ink, "fontSize": self.size - 1},
        }


STYLES = {
    "paper": Style("white", "#000000", "#555555", "#E6E6E6", _LIGHT, 10.5, 0),
    "screen": Style("white", "#1B1F24", "#59636E", "#E4E7EB", _LIGHT, 13, 14),
    "dark": Style("#15191E", "#E8EAED", "#A8B0BA", "#333A43", _DARK, 13, 14),
}
STYLE_NAMES = tuple(STYLES)


# Widths of the characters from space to tilde in Helvetica, and so in Arial and Liberation Sans, in
# thousandths of an em: Adobe's font metrics (Technical Note 5004).
_WIDTHS = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556,
    556,
    556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611,
    778,
    722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611,
    278,
    278, 278, 469, 556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556,
    556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
)  # fmt: skip
SURE = 0.93
"""Part of a length that a text may take by estimate: its font may be wider, and a picture narrower
than requested.
"""
_OTHER, _FULL_WIDTH = 700, 1000
_FIRST_EAST_ASIAN = 0x1100
# values no further apart are drawn as equal: steps between them would be lost to underflow
_SMALLEST = 1e-100


@dataclass(frozen=True)
class ValueScale:
    """A vertical scale of values."""

    low: float
    high: float
    ticks: tuple[float, ...]
    is_log: bool = False

    @classmethod
    def covering(
        cls,
        values: Sequence[float],
        *,
        log: bool = False,
        with_zero: bool = False,
        limits: tuple[float, float] | None = None,
    ) -> "ValueScale":
        """Return a scale that covers values, or from one limit to the other."""
        if limits is not None:
            found = cls.covering(limits, log=log)
            low, high = limits
            return cls(
                low, high, tuple(tick for tick in found.ticks if low <= tick <= high), is_log=log
            )
        low, high = min(values), max(values)
        if log:
            if low <= 0:
                raise UsageError(
                    f"`logy` needs positive values, and the smallest is {low:g}. Leave it out."
                )
            low, high = (low / 2, high * 2) if low == high else (low / 1.1, high * 1.1)
            powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            for steps in ((1,), (1, 2, 5), range(1, 10)):
                ticks = [step * 10.0**power for power in powers for step in steps]
                inside = tuple(tick for tick in ticks if low <= tick <= high)
                if len(inside) >= 3:
                    break
            else:  # less than a digit apart
                step = _step((high - low) / 5)
                inside = tuple(
                    float(f"{at * step:.12g}")
                    for at in range(math.ceil(low / step), int(high / step) + 1)
                )
            return cls(low, high, inside or (low, high), is_log=True)
        if with_zero:
            low, high = min(low, 0.0), max(high, 0.0)
        if high - low <= max(1e-12 * max(abs(low), abs(high)), _SMALLEST):
            room = abs(high) * 0.1 if abs(high) > _SMALLEST else 1.0
            low, high = low - room, high + room
        step = _step((high - low) / 5)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        ticks = [float(f"{at * step:.12g}") for at in range(first, last + 1)]
        return cls(ticks[0], ticks[-1], tuple(ticks))

    def at(self, value: float, height: float) -> float:
        """Return the place of a value, in pixels from the top of a panel of this height."""
        low, high = (
            (math.log(self.low), math.log(self.high)) if self.is_log else (self.low, self.high)
        )
        value = math.log(value) if self.is_log else value
        return height * (high - value) / (high - low)

    @property
    def labels(self) -> list[str]:
        """The labels of the ticks."""
        return [_number(tick) for tick in self.ticks]

    def label_width(self, style: Style) -> float:
        """Return the width of the widest label, in pixels."""
        return max((text_width(label, style.size - 1) for label in self.labels), default=0.0)

    @property
    def scale(self) -> dict[str, Any]:
        """The Vega-Lite scale."""
        return {
            "type": "log" if self.is_log else "linear",
            "domain": [self.low, self.high],
            "nice": False,
            "zero": False,
        }

    def axis(self, title: str, height: float, style: Style) -> dict[str, Any]:
        """Return the Vega-Lite axis, whose width is known: :func:`axis_width`."""
        width = math.ceil(self.label_width(style)) + 1
        return {
            "title": _title_lines(title, height, style),
            "values": list(self.ticks),
            "grid": True,
            "minExtent": width + 7,
            "maxExtent": width + 7,
            "labelExpr": self._label_expression(),
            "domain": False,
        }

    def axis_across(self, title: str, width: float, style: Style) -> dict[str, Any]:
        """Return the Vega-Lite axis for values along a panel of this width, with the ticks that
        have room.
        """
        shown = thin_out(self.labels, width, style.size)
        return {
            "title": _title_lines(title, width / SURE, style),
            "values": [self.ticks[at] for at in shown],
            "labelExpr": self._label_expression(),
            "grid": False,
            "labelOverlap": False,
        }

    def _label_expression(self) -> str:
        """Return the expression of a tick's label, in Vega's language."""
        pairs = zip(self.ticks, self.labels, strict=True)
        return " : ".join(
            [*(f"datum.value == {tick!r} ? '{label}'" for tick, label in pairs), "''"]
        )

    def axis_width(self, title: str, height: float, style: Style) -> float:
        """Return the width of the axis with its title, in pixels."""
        return (
            self.label_width(style)
            + 8
            + 6
            + 1.25 * style.size * len(_title_lines(title, height, style))
        )


def _title_lines(title: str, length: float, style: Style) -> list[str]:
    """Return the title of an axis in lines, broken before its unit if it is too long, and within it
    if that is too.
    """
    bound = re.sub(r" (?=[^(]*\))", "\u00a0", title)
    lines = break_lines(bound, SURE * length, style.size)
    if any(line.endswith("…") for line in lines):
        lines = break_lines(
            re.sub(r" to (?=\S+\)$)", "\u00a0to\u00a0", title), SURE * length, style.size
        )
    return lines


def _step(raw: float) -> float:
    """Return the next of 1, 2, 2.5 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next(
        (step * power for step in (1, 2, 2.5, 5) if raw <= step * power * (1 + 1e-9)), 10 * power
    )


def _number(value: float) -> str:
    text = f"{value:.6g}" if value == 0 or 1e-4 <= abs(value) < 1e6 else f"{value:.3g}"
    return text.replace("-", "−")


def layer_encoding(
    axis: LayerAxis, width: float, style: Style, title: str = "layer"
) -> dict[str, Any]:
    """Return the Vega-Lite encoding of layers along the x axis, for marks at points."""
    names, places = axis.names, sorted(axis.places.values())
    shown = [places[at] for at in thin_out(names, width, style.size - 1, places)]
    named = " : ".join(
        f"datum.value == {at} ? {quoted(printable(name))}"
        for name, at in axis.places.items()
        if name != str(at)
    )
    low, high = places[0], places[-1]
    room = 0.5 if low == high else 0.02 * (high - low)
    made: dict[str, Any] = {
        "title": _title_lines(title, width, style),
        "grid": False,
        "labelOverlap": False,
        "values": shown,
    }
    made["labelExpr"] = (
        f"{named} : format(datum.value, 'd')" if named else "format(datum.value, 'd')"
    )
    scale = {"domain": [low - room, high + room], "nice": False, "zero": False}
    return {"field": "place", "type": "quantitative", "scale": scale, "axis": made}


def step_encoding(
    steps: Sequence[int], width: float, style: Style, title: str, kind: str
) -> dict[str, Any]:
    """Return the Vega-Lite encoding of numbers along the x axis: ``linear``, ``log`` or, with 0 on
    it, ``symlog``.
    """
    low, high = min(steps), max(steps)
    powers = [0.0, *(10.0**power for power in range(math.floor(math.log10(max(high, 1))) + 1))]
    ticks = {"log": steps, "symlog": powers}.get(kind) or ValueScale.covering([low, high]).ticks
    ticks = [int(tick) for tick in ticks if low <= tick <= high and tick == int(tick)] or [low]
    ticks = [ticks[at] for at in thin_out([f"{tick:,}" for tick in ticks], width, style.size)]
    room = 0.5 if low == high else 0.02 * (high - low)
    domain = [low, high] if kind != "linear" and low < high else [low - room, high + room]
    scale = {"type": kind, "domain": domain, "nice": False, "zero": False}
    axis = {
        "title": _title_lines(title, width, style),
        "values": ticks,
        "grid": False,
        "labelOverlap": False,
        "format": ",d",
    }
    return {"field": "place", "type": "quantitative", "scale": scale, "axis": axis}


def band_encoding(
    field: str,
    names: Sequence[str],
    room: float,
    style: Style,
    title: str,
    *,
    upwards: bool = False,
) -> dict[str, Any]:
    """Return the Vega-Lite encoding of layers as bands of equal width."""
    labels, size = (["0"] * len(names), 1.2 * style.size) if upwards else (names, style.size)
    shown = [names[at] for at in thin_out(labels, room, size, range(len(names)))]
    axis: dict[str, Any] = {
        "title": shorten(title, room, style.size),
        "values": shown,
        "labelOverlap": False,
        "labelAngle": 0,
        "ticks": False,
        "domain": False,
    }
    if upwards:
        width = math.ceil(max(text_width(name, style.size - 1) for name in names)) + 1
        axis |= {"minExtent": width + 3, "maxExtent": width + 3}
    return {
        "field": field,
        "type": "ordinal",
        "sort": [*reversed(names)] if upwards else [*names],
        "scale": {"padding": 0},
        "axis": axis,
    }


def ramp(colours: Sequence[str], n: int) -> list[str]:
    """Return n colours, evenly spaced from the first of these to the last, each as ``#rrggbb``."""
    places, parts = (
        np.linspace(0, len(colours) - 1, n),
        [bytes.fromhex(colour[1:]) for colour in colours],
    )
    channels = [
        np.interp(places, range(len(colours)), channel) for channel in zip(*parts, strict=True)
    ]
    return [f"#{bytes(map(round, mixed)).hex()}" for mixed in zip(*channels, strict=True)]


def palette_places(spaces: Sequence[str], n: int) -> dict[str, int]:
    """Return space → its place in a palette of n colours; places from n on have the colour of place
    − n.

    The place is a hash of the model's name, so that it does not depend on what else is drawn or
    stored. Where several spaces have the same place, the first in alphabetical order keeps it, and
    the others take the next free ones.
    """
    wanted = {space: zlib.crc32(_SALT + model_of(space).encode()) % n for space in sorted(spaces)}
    owners: dict[int, str] = {}
    for space, place in wanted.items():
        owners.setdefault(place, space)
    for space, place in wanted.items():
        if owners[place] != space:
            free = next(
                at
                for turn in count()
                for step in range(n)
                if (at := n * turn + (place + step) % n) not in owners
            )
            owners[free] = space
    return {space: place for place, space in owners.items()}


def quoted(text: str) -> str:
    """Return a text as a string of Vega's expression language."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def text_width(text: str, size: float) -> float:
    """Return the width of a text in pixels; characters beyond ASCII are estimated."""
    return sum(map(_em, text)) * size


def _em(character: str) -> float:
    code = ord(character)
    if 32 <= code < 32 + len(_WIDTHS):
        return _WIDTHS[code - 32] / 1000
    return (_FULL_WIDTH if code >= _FIRST_EAST_ASIAN else _OTHER) / 1000


def break_lines(text: str, width: float, size: float) -> list[str]:
    """Return a text in lines that are no wider than ``width`` pixels, broken at spaces that may;
    long words are cut.
    """
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [shorten(line.replace("\u00a0", " "), width, size) for line in lines]


def shorten(text: str, width: float, size: float) -> str:
    """Return a text cut with an ellipsis to at most ``width`` pixels."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(f"{text}…", size) > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def thin_out(
    labels: Sequence[str], room: float, size: float, places: Sequence[int] = ()
) -> list[int]:
    """Return the positions of labels that fit side by side in ``room`` pixels, evenly spaced from
    the first.

    Of layers, which have places on their axis, the last has a label too, and others give way to it.
    """
    last, at = len(labels) - 1, places or range(len(labels))
    widths = [text_width(label, size) + size * 0.6 for label in labels]

    def fit(before: int, after: int) -> bool:
        return (widths[before] + widths[after]) / 2 <= room * (at[after] - at[before]) / (
            at[-1] - at[0] + 1
        )

    for step in range(1, len(labels) + 1):
        shown = list(range(0, len(labels), step))
        if places:
            shown = [each for each in shown if each in (0, last) or fit(each, last)]
            shown += [last] if shown[-1] != last else []
        if all(starmap(fit, pairwise(shown))):
            return shown
    return [0] if labels else []


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return places moved apart to at least ``gap``, as little as a single pass each way allows, in
    [low, high].
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = [*places]
    for before, at in zip([None, *order], order, strict=False):
        moved[at] = max(moved[at], low if before is None else moved[before] + gap)
    for after, at in zip([None, *reversed(order)], reversed(order), strict=False):
        moved[at] = min(moved[at], high if after is None else moved[after] - gap)
    return moved
