"""Draw how costs grow with the items: panels of lines, both axes logarithmic."""

from collections.abc import Mapping
from io import StringIO
from math import ceil, floor, log10

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from embstore.plot.look import style_context

Line = Mapping[int, float]
"""Items → seconds."""


def draw(panels: Mapping[str, Mapping[str, Line]], ours: str) -> Figure:
    """Return the figure of panels, two in a row.

    Args:
        panels: Title → name of each line → its points.
        ours: Name of the lines that are drawn thicker.
    """
    n_rows = -(-len(panels) // 2)
    compared = {name for lines in panels.values() if ours in lines for name in lines} - {ours}
    with style_context("screen"):
        figure = Figure(figsize=(9.2, 2.9 * n_rows), layout="constrained")
        axes = list(figure.subplots(n_rows, 2, squeeze=False).flat)
        for ax in axes[len(panels) :]:
            ax.remove()
        for ax, (title, lines) in zip(axes, panels.items(), strict=False):
            # A contender has the same colour in every comparison.
            names = sorted(compared if ours in lines else lines)
            looks = {name: (f"C{at % 6 + 1}", "o^sXv>"[at % 6]) for at, name in enumerate(names)}
            looks[ours] = ("C0", "o")
            slowest_first = sorted(lines, key=lambda name: -lines[name][max(lines[name])])
            for name in slowest_first:
                sizes = sorted(lines[name])
                colour, mark = looks[name]
                ax.plot(sizes, [lines[name][n] for n in sizes], color=colour, marker=mark,
                        label=name, linewidth=2.4 if name == ours else 1.2,
                        zorder=3 if name == ours else 2)  # fmt: skip
            seconds = [value for line in lines.values() for value in line.values()]
            limits = 10.0 ** floor(log10(min(seconds))), 10.0 ** ceil(log10(max(seconds)))
            ax.set(title=title, xlabel="items", xscale="log", yscale="log", ylim=limits)
            for axis, text_of in ((ax.xaxis, count), (ax.yaxis, duration)):
                axis.set_major_locator(LogLocator(numticks=9))
                axis.set_major_formatter(lambda value, _, text_of=text_of: text_of(value))
                axis.set_minor_locator(NullLocator())
            ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def svg_of(figure: Figure) -> str:
    """Return a figure as SVG."""
    written = StringIO()
    with style_context("screen"):
        figure.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()


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


def count(n: float) -> str:
    """Return a number of items, short."""
    return f"{n / 1e6:g}M" if n >= 1e6 else f"{n / 1e3:g}k" if n >= 1e3 else f"{n:g}"
