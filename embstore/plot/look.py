"""Styles of figures, and the colour, dashes and mark of each curve."""

import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb
from matplotlib.font_manager import FontProperties, fontManager

from embstore.base.errors import UsageError
from embstore.base.labels import model_of
from embstore.base.messages import first_of
from embstore.plot.options import STYLES, PlotOptions
from embstore.plot.plan import NO_VALUE, Plan, distinct

_MARKS = ("o", "s", "^", "X", "v", ">", "<")
_DASHES: tuple[Any, ...] = (
    "-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (7, 2)), (0, (3, 1)), (0, (1, 2)),
)  # fmt: skip
N_PLACES = len(_MARKS)
_NO_GLYPH = re.compile(r"Glyph (\d+) .*missing from font")
# for characters that the font of a style lacks; of these, those that are installed
_FALLBACK_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans", "Hiragino Sans", "PingFang SC",
    "Apple SD Gothic Neo", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic", "WenQuanYi Zen Hei",
    "Arial Unicode MS", "Noto Emoji",
)  # fmt: skip
# gives MiniLM, the same untrained, GPT-2, CLIP, BERT, RoBERTa and Pythia different places
_SALT = b"8599"


@dataclass(frozen=True)
class Look:
    """Colour, dashes and mark of a curve."""

    color: Any
    linestyle: Any
    marker: str


@contextmanager
def style_context(style: str | None) -> Iterator[None]:
    """Set a style within a ``with`` block: one of ``STYLES``, a file, or None for the rcParams as
    set. Texts are no TeX, and installed fonts are added for what the fonts of a style lack.
    """
    parameters: Any = matplotlib.rcParams
    styles: list[Any] = []
    if style is not None:
        styles = ["default", f"embstore.plot.{style}" if style in STYLES else style]
    with matplotlib.style.context(styles):
        parameters["text.parse_math"] = False
        if style is not None:
            installed = {font.name for font in fontManager.ttflist}
            fallbacks = [name for name in _FALLBACK_FONTS if name in installed]
            parameters["font.family"] = [*parameters["font.family"], *fallbacks]
        yield


@contextmanager
def notes_on_glyphs() -> Iterator[list[str]]:
    """Give a list that gets a note, in place of matplotlib's warnings, on characters without a
    glyph.
    """
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", message=_NO_GLYPH.pattern)
        yield notes
    missing = set()
    for warning in caught:
        match = _NO_GLYPH.match(str(warning.message))
        if match:
            missing.add(chr(int(match[1])))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    if missing:
        notes.append(
            "no font here has these characters, which are drawn as boxes:"
            f" {first_of(sorted(missing), 8)}. Install one that has them, such as Noto Sans CJK."
        )


def type_size(name: str) -> float:
    """Return the size of the type that an rcParam such as ``legend.fontsize`` names, in points."""
    parameters: Any = matplotlib.rcParams
    return FontProperties(size=parameters[name]).get_size_in_points()


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
            in_order = (n * turn + (place + step) % n for turn in count() for step in range(n))
            owners[next(free for free in in_order if free not in owners)] = space
    return {space: place for place, space in owners.items()}


def looks_of(plan: Plan, options: PlotOptions) -> dict[str, Look]:
    """Return curve → its look: the same for a space wherever it appears, in order for others."""
    names = [name for (name,) in distinct(plan.rows, (plan.series,))]
    labels = plan.labels or {}
    by_space = {
        labels[space]: place_in_order
        for space, place_in_order in palette_places([*labels], N_PLACES).items()
    }
    is_ordered = plan.is_ordered and len(names) > 2 and not options.colours
    is_fixed = all(name in by_space for name in names) and not options.colours
    colours = options.colours or matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    ordered = [name for name in names if name != NO_VALUE]
    looks = {}
    for place_in_order, name in enumerate(names):
        place = by_space[name] if is_fixed else place_in_order
        colour = colours[place % len(colours)]
        if is_ordered:
            colour = matplotlib.rcParams["axes.edgecolor"]
            if name != NO_VALUE:
                share = ordered.index(name) / (len(ordered) - 1) if ordered[1:] else 0.5
                colour = mark_colours(options)(share)
        turn = place + place // N_PLACES
        looks[name] = Look(colour, _DASHES[turn % N_PLACES], _MARKS[turn % N_PLACES])
    return looks


def is_light(colour: Any) -> bool:
    """Return whether black has more contrast than white on a colour, by WCAG 2."""
    parts = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
    red, green, blue = parts
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18


def sequence(options: PlotOptions) -> Colormap:
    """Return the colours of a scale."""
    if not options.colours:
        return matplotlib.colormaps[matplotlib.rcParams["image.cmap"]]
    if len(options.colours) < 2:
        raise UsageError("a scale needs two or more colours, as in colours='#FFFFFF,#0072B2'.")
    return LinearSegmentedColormap.from_list("colours", options.colours)


def mark_colours(options: PlotOptions) -> Colormap:
    """Return the colours of a scale of curves, points or bars: of the style's those that can be
    told from the background.
    """
    colours = sequence(options)
    if options.colours:
        return colours
    is_on_light = is_light(matplotlib.rcParams["figure.facecolor"])
    shares = np.linspace(0.0, 0.88, 256) if is_on_light else np.linspace(0.2, 1.0, 256)
    return LinearSegmentedColormap.from_list("marks", colours(shares))
