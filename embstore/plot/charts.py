"""Draw one panel on an Axes: curves, a strip of items, stacked bars, a heat map, or a map."""

import math
from collections.abc import Mapping, Sequence
from itertools import compress, product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
    StrMethodFormatter,
)
from matplotlib.transforms import Bbox

from embstore.base.errors import UsageError
from embstore.base.messages import first_of, printable
from embstore.plot.caption import BASELINE_STYLES
from embstore.plot.look import Look, is_light, looks_of, mark_colours, sequence, type_size
from embstore.plot.options import PlotOptions
from embstore.plot.plan import CURVE, SAME, Plan, Rows, layer_places, varies

_MOST_ITEMS = 40
_LONGEST_NAME = 60  # of a curve
_MOST_NAMED = 60  # items of a map with their texts
_NEAR_ZERO = -0.05  # lowest similarity that a scale from 0 shows as 0


def draw_panel(ax: Axes, plan: Plan, rows: Rows, options: PlotOptions) -> list[str]:
    """Draw the rows of a panel; return notes on what is not drawn."""
    draw = {"curves": _curves, "strip": _strip, "bars": _bars, "heat map": _heat_map, "map": _map}
    return draw[plan.kind](ax, plan, rows, options)


def layer_names(rows: Rows, suffix: str = "") -> list[str]:
    """Return the names of the layers of rows, in order."""
    ordered = sorted(rows, key=lambda row: row[f"layer{suffix}"])
    places = layer_places(row[f"layer_name{suffix}"] for row in ordered)
    return sorted(places, key=places.__getitem__)


def places_of(plan: Plan) -> dict[str, int]:
    """Return name → place along the x axis of curves."""
    rows = sorted(plan.rows, key=lambda row: row[plan.layer])
    names = [row[plan.layer_name] for row in rows]
    if plan.x == "groups":
        return {name: place for place, name in enumerate(dict.fromkeys(names))}
    return layer_places(names)


def _curves(ax: Axes, plan: Plan, rows: Rows, options: PlotOptions) -> list[str]:
    places, looks = places_of(plan), looks_of(plan, options)
    # The names of layers, such as raw, stand apart from the numbers.
    joins = plan.x != "layers" or sum(map(str.isdecimal, places)) > 1
    for name, look in looks.items():
        of_curve = sorted(
            (row for row in rows if row[plan.series] == name),
            key=lambda row: places[row[plan.layer_name]],
        )
        joined = [
            row
            for row in of_curve
            if joins and (plan.x != "layers" or row[plan.layer_name].isdecimal())
        ]
        alone = [row for row in of_curve if row not in joined]
        label = cut(str(name), _LONGEST_NAME)
        _curve(ax, plan, places, joined, look, label)
        _curve(ax, plan, places, alone, look, "" if joins else label, line=False)
    _value_axis(ax.yaxis, options, plan.values)
    _place_axis(ax, plan, places, options)
    if options.range is None:
        return []
    low, high = options.range
    values = [row[plan.value] for row in plan.with_value(rows)]
    n_outside = sum(not low <= value <= high for value in values)
    note = f"{n_outside} of {len(values)} values are outside the range and not drawn."
    return [note] if n_outside else []


def _curve(
    ax: Axes,
    plan: Plan,
    places: Mapping[str, int],
    rows: Rows,
    look: Look,
    label: str,
    *,
    line: bool = True,
) -> None:
    """Draw the points of a curve with its intervals, baselines and marks."""
    if not rows:
        return

    def column(name: str) -> list[float]:
        return [math.nan if row.get(name) is None else row[name] for row in rows]

    x = [places[row[plan.layer_name]] for row in rows]
    y, colour = column(plan.value), look.color
    limits = [plan.limits(row) or (math.nan, math.nan) for row in rows]
    low, high = zip(*limits, strict=True)
    if not np.isnan(low).all():
        if line:
            ax.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
        else:
            ax.vlines(x, low, high, color=colour, alpha=0.4)
    for name, pattern in zip(plan.baselines, BASELINE_STYLES.values(), strict=False):
        style, mark = (pattern, "") if line else ("", "_")
        ax.plot(x, column(name), color=colour, linestyle=style, marker=mark, linewidth=0.8)
    style = look.linestyle if line else ""
    ax.plot(x, y, color=colour, linestyle=style, marker=look.marker, label=label or "_")
    marks = {"D": (plan.chart.best if plan.marks_best else None, 5), "o": (SAME, 8)}
    for mark, (flag, size) in marks.items():
        points = [(a, b) for a, b, row in zip(x, y, rows, strict=True) if flag and row.get(flag)]
        if points:
            ax.plot(
                *zip(*points, strict=True),
                mark,
                color=colour,
                markerfacecolor="none",
                markersize=size,
                markeredgewidth=0.8,
            )


def _value_axis(axis: Any, options: PlotOptions, values: Sequence[float]) -> None:
    """Set the scale and the limits of an axis of values."""
    if options.logy:
        if min(values) <= 0:
            raise UsageError(
                f"`logy` needs positive values, and the smallest is {min(values):g}. Leave it out."
            )
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        subs = (1, 2, 5) if max(values) < 1e4 * min(values) else (1,)
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    if options.range is not None:
        axis.axes.set(**{f"{axis.axis_name}lim": options.range})


def _place_axis(ax: Axes, plan: Plan, places: Mapping[str, int], options: PlotOptions) -> None:
    """Set the ticks of an x axis of layers, training steps, scales or groups."""
    ordered = sorted(places.values())
    low, high = ordered[0], ordered[-1]
    axis = ax.xaxis
    if plan.x in ("steps", "scales"):
        if plan.x == "scales":
            ax.set_xscale("log", base=2)
        elif options.logx:
            ax.set_xscale("symlog", linthresh=1)
        else:
            axis.set_major_locator(MaxNLocator(5, integer=True))
        axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        if plan.x == "scales":
            ax.set_xticks(ordered)
        axis.set_minor_locator(NullLocator())
        return
    room = 0.5 if low == high else 0.03 * (high - low)
    ax.set_xlim(low - room, high + room)
    numbers = [place for name, place in places.items() if name == str(place)]
    ticks = list(MaxNLocator(8, integer=True).tick_values(0, max(numbers, default=1)))
    shown = [place for place in numbers if place in ticks]
    named = {place: cut(name, 16) for name, place in places.items() if place not in numbers}
    shown = [place for place in shown if place + 0.04 * (high - low) < min(named, default=math.inf)]
    ax.set_xticks([*shown, *named], [*map(str, shown), *named.values()])
    if plan.x == "groups" and sum(map(len, named.values())) > 40:
        ax.tick_params(axis="x", rotation=30)


def _strip(ax: Axes, plan: Plan, rows: Rows, options: PlotOptions) -> list[str]:
    items, n_items = strip_items(plan, rows)
    layers, colours = layer_names(plan.rows), mark_colours(options)
    lines = {item: line for line, item in enumerate(items)}
    for number, layer in enumerate(layers):
        drawn = [
            row
            for row in plan.with_value(rows)
            if row["layer_name"] == layer and row[plan.items] in lines
        ]
        colour = colours(share_of(number, len(layers)))
        for is_same in (False, True):
            points = [
                (row[plan.value], lines[row[plan.items]])
                for row in drawn
                if bool(row.get(SAME)) == is_same
            ]
            if points:
                face = "none" if is_same else colour
                ax.plot(
                    *zip(*points, strict=True),
                    "o",
                    color=colour,
                    markerfacecolor=face,
                    markersize=4.2,
                    markeredgewidth=0.9,
                )
    size = type_size("ytick.labelsize") / 72 * ax.figure.dpi
    most = max(8, int(0.4 * ax.get_window_extent().width / (0.55 * size)))
    ax.set_yticks([*lines.values()], [cut(item, most) for item in lines])
    ax.set_ylim(len(items) - 0.5, -0.5)
    _value_axis(ax.xaxis, options, plan.values)
    ax.spines["bottom"].set_visible(True)
    if len(items) == n_items:
        return []
    half = len(items) // 2
    return [f"the {half} lowest and the {half} highest of {n_items:,} in the last layer are drawn."]


def strip_items(plan: Plan, rows: Rows) -> tuple[list[str], int]:
    """Return the items to draw, highest in the last layer first, and the number of all."""
    last: dict[str, float] = {}
    for row in sorted(plan.with_value(rows), key=lambda row: row["layer"]):
        if row[plan.items] is not None:
            last[row[plan.items]] = row[plan.value]
    order = sorted(last, key=lambda item: (-last[item], item))
    if len(order) <= _MOST_ITEMS:
        return order, len(order)
    return [*order[: _MOST_ITEMS // 2], *order[-_MOST_ITEMS // 2 :]], len(order)


def _bars(ax: Axes, plan: Plan, rows: Rows, options: PlotOptions) -> list[str]:
    layers, colours, n_bars = layer_names(rows), mark_colours(options), count_bars(plan)
    stacked = 0.0
    for row in rows:
        values = row[plan.value] or ()
        named = row[plan.bar_names] if plan.bar_names else [""] * len(values)
        tops = {True: 0.0, False: 0.0}
        for rank, (name, value) in enumerate(zip(named, values, strict=True)):
            start = tops[value >= 0]
            tops[value >= 0] += value
            colour = colours(share_of(rank, n_bars))
            [bar] = ax.bar(
                layers.index(row["layer_name"]),
                value,
                bottom=start,
                color=colour,
                edgecolor=ax.get_facecolor(),
                linewidth=0.4,
            )
            if name != "":
                bar.set_label(str(name))
        stacked = max(stacked, tops[True], -tops[False])
    ticks = ticks_of(len(layers))
    ax.set_xticks(ticks, [cut(layers[place], 16) for place in ticks])
    ax.tick_params(axis="x", length=0)
    _value_axis(ax.yaxis, options, plan.values and [stacked])
    return []


def name_bars(ax: Axes) -> None:
    """Write the names of bars into those that have room, once the layout is known."""
    size = float(ax.xaxis.get_ticklabels()[0].get_fontsize()) if ax.get_xticks().size else 6.0
    for bar in ax.patches:
        name = str(bar.get_label())
        assert isinstance(bar, Rectangle)
        box = bar.get_window_extent()
        points = 72 / ax.figure.dpi
        if name.startswith("_") or box.height * points < size + 1:
            continue
        if box.width * points < 0.65 * size * len(name):
            continue
        middle = (bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height() / 2)
        colour = "black" if is_light(bar.get_facecolor()) else "white"
        ax.annotate(name, middle, ha="center", va="center", color=colour, fontsize=size)


def count_bars(plan: Plan) -> int:
    """Return the number of bars of a layer."""
    return max((len(row[plan.value] or ()) for row in plan.rows), default=0)


def ticks_of(n: int) -> list[int]:
    """Return the places of n things that have a tick, at most 13."""
    return list(range(0, n, math.ceil(n / 13)))


def share_of(place: int, n: int) -> float:
    """Return where in a scale of colours the place-th of n discrete colours is."""
    return place / (n - 1) if n > 1 else 0.3


def _heat_map(ax: Axes, plan: Plan, rows: Rows, options: PlotOptions) -> list[str]:
    down, across = layer_names(rows), layer_names(rows, "_2")
    values = np.full((len(down), len(across)), np.nan)
    for row in plan.with_value(rows):
        cell = down.index(row["layer_name"]), across.index(row["layer_name_2"])
        values[cell] = row[plan.value]
    colours = sequence(options)
    if plan.value in plan.chart.distances and not options.colours:
        colours = colours.reversed()  # the lighter, the more two layers are alike
    low, high = min(plan.values), max(plan.values)
    # The ends of a similarity are 0 and 1, unless values go beyond.
    limits = options.range or (low if low < _NEAR_ZERO else 0.0, max(high, 1.0))
    ax.pcolormesh(
        values,
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        edgecolors="face",
        linewidth=0.2,
        zorder=0,
    )
    for set_ticks, names in ((ax.set_xticks, across), (ax.set_yticks, down)):
        shown = ticks_of(len(names))
        set_ticks([place + 0.5 for place in shown], [cut(names[place], 16) for place in shown])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    first, second = rows[0]["space"], rows[0]["space_2"]
    if first != second:
        n = max(len(down), len(across))
        for depth in (place / max(n - 1, 1) for place in range(n)):
            corner = (round(depth * (len(across) - 1)), round(depth * (len(down) - 1)))
            ax.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="white", linewidth=1.2))
    sides = ("from layer", "to layer") if plan.chart.is_directed else ("layer", "layer")
    if first != second:
        sides = (f"{sides[0]}, {cut(first, 40)}", f"{sides[1]}, {cut(second, 40)}")
    ax.set_ylabel(printable(sides[0] if options.y_label is None else options.y_label))
    ax.set_xlabel(printable(sides[1] if options.x_label is None else options.x_label))
    return []


def write_cells(ax: Axes) -> None:
    """Write the numbers into the cells of a heat map if they have room in the layout, and names of
    layers that have none across.
    """
    mesh: Any = ax.collections[0]
    values = np.ma.filled(mesh.get_array().astype(float), np.nan)
    n_down, n_across = values.shape
    box, size = ax.get_window_extent(), ax.yaxis.get_ticklabels()[0].get_fontsize()
    points = 72 / ax.figure.dpi
    names = [label.get_text() for label in ax.xaxis.get_ticklabels()]
    if max(map(len, names)) * 0.6 * float(size) > 1.6 * box.width * points / len(names):
        ax.tick_params(axis="x", labelrotation=90)
    low, high = mesh.get_clim()
    decimals = min(4, max(0, 2 - round(math.log10(high - low))))
    texts = [f"{value:z.{decimals}f}".replace("-", "−") for value in values.flat]
    widest = max(map(len, texts)) * 0.64 * float(size)
    if box.width * points / n_across < widest + 1 or box.height * points / n_down < float(size) + 2:
        return
    for text, ((row, column), value) in zip(texts, np.ndenumerate(values), strict=True):
        if not math.isnan(value):
            ax.text(
                column + 0.5,
                row + 0.5,
                text,
                ha="center",
                va="center",
                fontsize=size,
                color="black" if is_light(mesh.to_rgba(value)) else "white",
            )


def _map(ax: Axes, plan: Plan, rows: Rows, options: PlotOptions) -> list[str]:
    x, y = ([row[name] for row in rows] for name in ("x", "y"))
    colour = next(iter(looks_of(plan, options).values())).color
    size = max(1.0, min(12.0, 2000 / len(rows)))
    words, notes = options.label_words, []
    has_label = [not words or row["text"] in words for row in rows]
    alpha: Any = np.where(has_label, 1.0, 0.3)
    ax.scatter(x, y, s=size, color=colour, alpha=alpha, linewidths=0, rasterized=len(rows) > 20_000)
    named = [*compress(rows, has_label)]
    if missing := {*words} - {row["text"] for row in named}:
        notes = [f"not on the map: {first_of(map(repr, sorted(missing)))}."]
    if not words and len(rows) > _MOST_NAMED:
        named = []
        notes = [
            f"more than {_MOST_NAMED} items: no text is drawn. `label_words` of plot map chooses"
            " some."
        ]
    for row in named:
        ax.annotate(
            cut(row["text"], 40),
            (row["x"], row["y"]),
            xytext=(2, 2),
            textcoords="offset points",
            fontsize="small",
        )
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
    return notes


_AWAY = (2, 9, 18, 27)  # points from an item to its text: by a line, but for the first
_SIDES = tuple(product(((1, "left"), (-1, "right"), (0, "center")), ((1, "bottom"), (-1, "top"))))


def separate_labels(ax: Axes) -> list[str]:
    """Write the texts of a map where they cover no other text, nor the point of one, at their
    points or by a line from there; remove those for which there is no such place, and return them.
    """
    ax.apply_aspect()
    labels: list[Any] = [*ax.texts]
    places = [ax.transData.transform(label.xy) for label in labels]
    points = [Bbox([place, place]).padded(3) for place in places]
    boxes: list[Any] = []
    removed = []
    for number, label in enumerate(labels):
        others = [*points[:number], *points[number + 1 :]]
        for away, ((right, ha), (up, va)) in product(_AWAY, _SIDES):
            label.set(ha=ha, va=va)
            label.set_position((away * right, away * up))
            box = label.get_window_extent()
            # A text without a line is nearer to its own point than to another.
            room = box if away > _AWAY[0] else box.padded(5)
            if box.x0 >= 0 and not box.count_overlaps(boxes) + room.count_overlaps(others):
                boxes.append(box)
                if away > _AWAY[0]:
                    end = ax.transData.inverted().transform(places[number].clip(box.min, box.max))
                    ax.plot(
                        *zip(label.xy, end, strict=True),
                        color="gray",
                        linewidth=0.5,
                        scalex=False,
                        scaley=False,
                    )
                break
        else:
            removed.append(label.get_text())
            label.remove()
    return removed


def cut(text: str, most: int) -> str:
    """Return a text without control characters, and with an ellipsis where it is longer."""
    text = printable(text)
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def is_labelled(plan: Plan) -> bool:
    """Return whether curves have names: all but a single curve of a space."""
    return varies(plan.rows, plan.series) or plan.series not in ("space", CURVE)
