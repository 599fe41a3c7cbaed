"""How costs grow with the items, as an SVG: panels of lines, both axes logarithmic."""

import math
from collections.abc import Mapping, Sequence
from html import escape

Line = Mapping[int, float]
"""Items → seconds."""

_WIDTH, _HEIGHT = 440, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 112, 34, 34
_LABEL = 13  # the least distance of two labels
_INK, _GRID, _OURS = "#222222", "#e3e3e3", "#0b5fae"
_COLOURS = ("#d55e00", "#009e73", "#cc79a7", "#7a6a00", "#56a0d3", "#8a4f9e", "#555555")


def plot(panels: Mapping[str, Mapping[str, Line]], ours: str) -> str:
    """Return the SVG of panels, two in a row.

    Args:
        panels: title → the name of each line → its points.
        ours: the name of the lines that are drawn thicker.
    """
    compared = {name for lines in panels.values() if ours in lines for name in lines}
    width, height = 2 * _WIDTH, -(-len(panels) // 2) * _HEIGHT
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            f' width="{width}" height="{height}" font-family="Helvetica, Arial, sans-serif"'
            f' font-size="11" fill="{_INK}">'
        ),
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for place, (title, lines) in enumerate(panels.items()):
        parts.append(f'<g transform="translate({place % 2 * _WIDTH},{place // 2 * _HEIGHT})">')
        # The same colour in every comparison.
        names = sorted((compared if ours in lines else set(lines)) - {ours})
        colours = {name: _COLOURS[at % len(_COLOURS)] for at, name in enumerate(names)} | {
            ours: _OURS
        }
        parts += _panel(title, lines, colours, ours)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    title: str, lines: Mapping[str, Line], colours: Mapping[str, str], ours: str
) -> list[str]:
    x = _axis([n for line in lines.values() for n in line], _LEFT, _WIDTH - _RIGHT)
    y = _axis(
        [seconds for line in lines.values() for seconds in line.values()], _HEIGHT - _BOTTOM, _TOP
    )
    parts = [f'<text x="{_LEFT}" y="20" font-size="13" font-weight="bold">{escape(title)}</text>']
    parts.append(f'<text x="{_WIDTH - _RIGHT + 14}" y="{_HEIGHT - _BOTTOM + 16}">items</text>')
    for n in x.ticks:
        parts += [
            (
                f'<line x1="{x(n):.1f}" x2="{x(n):.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"'
                f' stroke="{_GRID}"/>'
            ),
            (
                f'<text x="{x(n):.1f}" y="{_HEIGHT - _BOTTOM + 16}"'
                f' text-anchor="middle">{_items(n)}</text>'
            ),
        ]
    for seconds in y.ticks:
        at = y(seconds)
        parts += [
            (
                f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"'
                f' stroke="{_GRID}"/>'
            ),
            f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{duration(seconds)}</text>',
        ]
    ends = {name: y(line[max(line)]) for name, line in lines.items()}
    labels = _apart(ends, _TOP, _HEIGHT - _BOTTOM)
    for name in sorted(lines, key=lambda name: name == ours):  # ours on top
        colour, points = colours[name], [(x(n), y(lines[name][n])) for n in sorted(lines[name])]
        shown = " ".join(f"{left:.1f},{top:.1f}" for left, top in points)
        weight = 2.6 if name == ours else 1.5
        parts.append(
            f'<polyline points="{shown}" fill="none" stroke="{colour}" stroke-width="{weight}"/>'
        )
        parts += [
            f'<circle cx="{left:.1f}" cy="{top:.1f}" r="2.6" fill="{colour}"/>'
            for left, top in points
        ]
        parts.append(
            f'<text x="{_WIDTH - _RIGHT + 8}" y="{labels[name] + 4:.1f}" fill="{colour}"'
            f"{' font-weight=' + chr(34) + 'bold' + chr(34) if name == ours else ''}>{escape(name)}</text>"
        )
        # The label stands at the panel's edge: say where its line ends.
        if max(lines[name]) < x.most:
            left, top = points[-1]
            parts.append(
                f'<line x1="{left:.1f}" y1="{top:.1f}" x2="{_WIDTH - _RIGHT + 5}"'
                f' y2="{labels[name]:.1f}" stroke="{colour}" stroke-dasharray="2 3"'
                ' stroke-width="0.8"/>'
            )
    return parts


class _axis:  # noqa: N801  # used as a function
    """Maps numbers to places, by their logarithm; from the power of ten below the least to that
    above the most.
    """

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.most = max(values)
        low, high = (
            math.floor(math.log10(min(values)) + 1e-9),
            math.ceil(math.log10(self.most) - 1e-9),
        )
        self._low, self._high = low, max(high, low + 1)
        self._start, self._end = start, end
        self.ticks = [10.0**power for power in range(self._low, self._high + 1)]

    def __call__(self, value: float) -> float:
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)


def _apart(wanted: Mapping[str, float], top: float, bottom: float) -> dict[str, float]:
    """Return heights near the wanted ones, in their order, none too near another or below the
    bottom.
    """
    placed: dict[str, float] = {}
    last = top - _LABEL
    for name in sorted(wanted, key=lambda name: wanted[name]):
        last = placed[name] = max(wanted[name], last + _LABEL)
    excess = max(0.0, last - bottom)
    limit = last - excess
    for name in reversed(placed):
        placed[name] = limit = min(placed[name], limit)
        limit -= _LABEL
    return placed


def duration(seconds: float) -> str:
    """Return seconds with a unit, short."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size * 0.9995 or unit == "µs":
            value = seconds / size
            return (
                f"{value:,.0f} {unit}"
                if value >= 10 or abs(value - round(value)) < 1e-6
                else f"{value:.1f} {unit}"
            )
    raise AssertionError("one of them is returned")


def _items(n: float) -> str:
    return f"{n / 1e6:g}M" if n >= 1e6 else f"{n / 1e3:g}k" if n >= 1e3 else f"{n:g}"
