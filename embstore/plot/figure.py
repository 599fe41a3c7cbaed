"""Compose a figure of one or several tables: panels, title, caption, labels or a legend."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.text import Annotation, Text

from embstore.base import __version__
from embstore.base.errors import UsageError
from embstore.base.messages import first_of, printable
from embstore.base.table import Row, Table, show
from embstore.plot import charts
from embstore.plot.caption import caption, description, reasons
from embstore.plot.look import looks_of, mark_colours, notes_on_glyphs, style_context, type_size
from embstore.plot.options import PlotOptions, check_file
from embstore.plot.plan import Plan, distinct, make_plan, varies

_NARROWEST = {"curves": 1.9, "strip": 1.9, "bars": 1.9, "heat map": 2.3, "map": 2.0}  # inches
_NARROWEST_OF_MANY = 0.21  # for each point of the type, of heat maps and maps
_MANY = 4  # panels
_NARROWEST_TABLE = 2.4  # of tables side by side
_MARGIN = 0.05
_LABEL_SHARE = 0.35  # of a panel that the labels of curves may take
_MOST_LABELS = 8
_LONGEST_PART = 50  # characters of a part of the caption that stays on a line
_BETWEEN = "\u00a0· "
_SAVED = ("pdf.fonttype", "svg.fonttype", "svg.hashsalt", "savefig.dpi")

Part = Figure | SubFigure
"""A figure, or the part of it that one table has."""
Panels = list[tuple[str, list[Row]]]
"""The title and the rows of each panel."""


class Picture(Figure):
    """A matplotlib figure that is saved in its style, with its provenance in the metadata.

    Attributes:
        panels: Axes of the panels.
        notes: Notes on what is not drawn.
    """

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.panels: list[Axes] = []
        self.notes: tuple[str, ...] = ()
        self.about: dict[str, str] = {}
        parameters: Any = matplotlib.rcParams
        self.saved_with: Any = {name: parameters[name] for name in _SAVED}

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write the figure as PDF, PNG or SVG, without a date.

        Raises:
            UsageError: The suffix is another one, or the file cannot be written.
        """
        if isinstance(fname, str | Path):
            check_file(fname)
            options.setdefault("format", Path(fname).suffix.lower().removeprefix("."))
        metadata = _metadata(options.get("format", "png"), self.about)
        options["metadata"] = metadata | options.get("metadata", {})
        with matplotlib.rc_context(self.saved_with), notes_on_glyphs():
            try:
                super().savefig(fname, **options)
            except OSError as error:
                raise UsageError(
                    f"{fname} cannot be written: {error.strerror}. Name another file."
                ) from error

    def _repr_png_(self) -> bytes:
        """Return the figure for a notebook."""
        written = BytesIO()
        self.savefig(written, format="png")
        return written.getvalue()


def _metadata(kind: str, about: Mapping[str, str]) -> dict[str, Any]:
    """Return the metadata of a file, under the names that its format has."""
    title, text = about.get("title"), about.get("description")
    creator = f"embstore {__version__}"
    if kind == "pdf":
        return {"Title": title, "Subject": text, "Creator": creator, "CreationDate": None}
    if kind == "svg":
        return {"Title": title, "Description": text, "Creator": creator, "Date": None}
    return {"Title": title, "Description": text, "Software": creator}


def draw_figure(tables: Sequence[Table], options: PlotOptions) -> Picture:
    """Draw tables side by side, or one below the other where the width is too small for that."""
    plans = [make_plan(table, options) for table in tables]
    n_columns = max(1, min(len(plans), int(options.width / _NARROWEST_TABLE)))
    width = options.width / n_columns
    titles = [printable(plan.chart.title) for plan in plans]
    title = (titles[0] if len(plans) == 1 else "") if options.title is None else options.title
    with style_context(options.style), notes_on_glyphs() as glyph_notes:
        figure = Picture(figsize=(options.width, 8))
        figure.set_layout_engine("constrained", h_pad=_MARGIN, w_pad=_MARGIN)
        texts_height = 0.0
        for write, text, style in (
            (figure.suptitle, printable(title), {"fontweight": "bold"}),
            (figure.supxlabel, _caption(plans, options), {"fontsize": "medium"}),
        ):
            if text:
                written = write(
                    _escaped(text),
                    x=_MARGIN / options.width,
                    ha="left",
                    wrap=True,
                    parse_math=True,
                    **style,
                )
                texts_height += written.get_window_extent().height / figure.dpi + _MARGIN
        heights = [_natural_height(plan, options, width) for plan in plans]
        rows = [
            max(heights[start : start + n_columns]) for start in range(0, len(heights), n_columns)
        ]
        figure.set_figheight(options.height or sum(rows) + texts_height)
        parts: list[Part] = [figure]
        if len(plans) > 1:
            grid = figure.subfigures(len(rows), n_columns, squeeze=False, height_ratios=rows)
            parts = list(grid.flat)
            for part, name in zip(parts, titles, strict=False):
                part.suptitle(name, x=0.01, ha="left")
        notes = [note for plan in plans for note in plan.notes]
        for part, plan in zip(parts, plans, strict=False):
            axes, more = _fill(part, plan, options, width, rows[0])
            figure.panels += axes
            notes += more
        figure.draw_without_rendering()
        unnamed: dict[str, Any] = {}
        for part, plan in zip(parts, plans, strict=False):
            unnamed |= _finish(part, plan, options)
        if unnamed:
            _add_legend(figure, unnamed, options)
        if any(plan.kind == "map" for plan in plans):
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # which would move apart what is placed now
            covering = [text for ax in figure.panels for text in charts.separate_labels(ax)]
            if covering:
                notes.append(f"not written, as they would cover others: {first_of(covering)}.")
    figure.notes = tuple(dict.fromkeys(notes + glyph_notes))
    about = " ".join(description(plan) for plan in plans)
    figure.about = {"title": printable(title or ", ".join(titles)), "description": about}
    return figure


def draw_on(table: Table, options: PlotOptions, axes: Sequence[Axes]) -> None:
    """Draw a table on Axes of a caller's own, one for each panel."""
    plan = make_plan(table, options)
    panels = split(plan)
    if len(panels) != len(axes):
        raise UsageError(f"this figure has {len(panels)} panels: give as many Axes, or none.")
    with style_context(options.style):
        for ax, (title, rows) in zip(axes, panels, strict=True):
            charts.draw_panel(ax, plan, rows, options)
            default = title or plan.chart.title
            ax.set_title(printable(default if options.title is None else options.title))
            if plan.kind in ("curves", "bars", "strip"):
                ax.set_xlabel(_x_title(plan, options))
                ax.set_ylabel(_y_title(plan, options))
            if plan.kind == "curves" and charts.is_labelled(plan):
                ax.legend()
            elif plan.kind == "map":
                charts.separate_labels(ax)
        figure = axes[0].get_figure()
        assert figure is not None
        _add_key(
            figure, list(axes), plan, options, figure.bbox.height / figure.get_figure(root=True).dpi
        )
        for ax in axes:
            for text in ax.findobj(Text):
                text.set_parse_math(False)


def _escaped(text: str) -> str:
    """Return a text that matplotlib wraps, which would measure it as TeX between two dollars."""
    return text.replace("$", r"\$")


def _caption(plans: Sequence[Plan], options: PlotOptions) -> str:
    """Return the caption: what holds for all tables once, the rest with the name of its table."""
    if options.caption is not None:
        return printable(options.caption)
    parts = [[_unbroken(part) for part in caption(plan)] for plan in plans]
    if len(parts) == 1:
        return _BETWEEN.join(parts[0])
    shared = [part for part in parts[0] if all(part in own_parts for own_parts in parts)]
    lines = [_BETWEEN.join(shared)]
    for plan, own_parts in zip(plans, parts, strict=True):
        if different := [part for part in own_parts if part not in shared]:
            lines.append(f"{plan.chart.title}: {_BETWEEN.join(different)}")
    return "\n".join(filter(None, lines))


def _unbroken(part: str) -> str:
    """Return a part of a caption that is broken between lines only if it is long."""
    return part.replace(" ", "\u00a0") if len(part) <= _LONGEST_PART else part


def split(plan: Plan) -> Panels:
    """Return the panels of a plan, each with the values in which it differs from the others."""
    keys = distinct(plan.rows, plan.panels)
    varying = [
        place for place, _ in enumerate(plan.panels) if len({key[place] for key in keys}) > 1
    ]
    panels: Panels = []
    for key in keys:
        rows = [row for row in plan.rows if tuple(row[name] for name in plan.panels) == key]
        named = {plan.panels[place]: show(key[place]) for place in varying}
        if "layer_name" in named:
            named["layer_name"] = f"layer {named['layer_name']}"
        if {"space", "space_2"} <= {*plan.panels} and varying:
            first, second = named.pop("space", key[0]), named.pop("space_2", key[1])
            spaces = first if first == second else f"{first} × {second}"
            named = {"space": spaces, **named} if {0, 1} & {*varying} else named
        panels.append((printable(", ".join(named.values())), rows))
    return panels


def _grid(plan: Plan, width: float, n_panels: int) -> tuple[int, int]:
    """Return the rows and columns of panels, in rows of equal length where possible."""
    narrowest = _NARROWEST[plan.kind]
    if n_panels > _MANY and plan.kind in ("heat map", "map"):
        narrowest = _NARROWEST_OF_MANY * type_size("font.size")
    most = max(1, min(n_panels, int(width / narrowest)))
    n_rows = math.ceil(n_panels / most)
    return n_rows, math.ceil(n_panels / n_rows)


def _natural_height(plan: Plan, options: PlotOptions, width: float) -> float:
    """Return the height in inches that suits the panels of a plan."""
    panels = split(plan)
    n_rows, n_columns = _grid(plan, width, len(panels))
    panel, line = width / n_columns, type_size("font.size") / 72
    height = min(max(0.62 * panel, 1.75), 2.9)
    if not plan.values:
        height = 0.5 + 1.5 * line * (1 + len(reasons(plan)))
    elif plan.kind == "heat map":
        n_down, n_across = (
            max(len({row[f"layer{side}"] for row in rows}) for _, rows in panels)
            for side in ("", "_2")
        )
        cell = min((panel - 1.0) / n_across, 0.46)
        height = max(cell * n_down, 1.3) + 0.5
    elif plan.kind == "strip":
        n_items = max(len(charts.strip_items(plan, rows)[0]) for _, rows in panels)
        height = 1.45 * line * max(n_items, 3) + 0.8
    elif plan.kind == "map":
        height = panel
    return n_rows * height


def _fill(
    part: Part, plan: Plan, options: PlotOptions, width: float, height: float
) -> tuple[list[Axes], list[str]]:
    """Draw the panels of a plan; return their Axes, and notes."""
    if not plan.values:
        return [_draw_empty_panel(part, plan)], []
    panels = split(plan)
    n_rows, n_columns = _grid(plan, width, len(panels))
    is_one_map = plan.kind == "map" and not varies(plan.rows, "space")
    grid = part.subplots(
        n_rows,
        n_columns,
        squeeze=False,
        sharey="all" if plan.kind in ("curves", "bars") or is_one_map else "none",
        sharex="all" if plan.kind == "strip" or is_one_map else "none",
    )
    axes, notes = list(grid.flat)[: len(panels)], []
    for ax in list(grid.flat)[len(panels) :]:
        ax.remove()
    room = width / n_columns - {"map": 0.1, "heat map": 0.65}.get(plan.kind, 0.5)
    most = int(130 * room / type_size("axes.titlesize"))
    for place, (ax, (title, rows)) in enumerate(zip(axes, panels, strict=True)):
        panel_notes = charts.draw_panel(ax, plan, rows, options)
        prefix = f"{title}: " if title and plan.kind != "map" else ""  # its notes are of all layers
        notes += [prefix + note for note in panel_notes]
        if title:
            ax.set_title(textwrap.fill(title, most))
        ax.xaxis.set_tick_params(labelbottom=True)
        if plan.kind in ("curves", "bars", "strip"):
            if place + n_columns >= len(axes):
                ax.set_xlabel(_broken(_x_title(plan, options), room))
            if place % n_columns == 0:
                ax.set_ylabel(_broken(_y_title(plan, options), height / n_rows - 0.4))
    _add_key(part, axes, plan, options, height)
    return axes, notes


def _broken(text: str, inches: float) -> str:
    """Return a title of an axis in lines of about this length."""
    most = int(72 * inches / (0.55 * type_size("axes.labelsize")))
    return textwrap.fill(text, max(most, 12))


def _x_title(plan: Plan, options: PlotOptions) -> str:
    default = _value_title(plan, options) if plan.kind == "strip" else plan.x_title
    return printable(default if options.x_label is None else options.x_label)


def _y_title(plan: Plan, options: PlotOptions) -> str:
    default = "" if plan.kind == "strip" else _value_title(plan, options)
    return printable(default if options.y_label is None else options.y_label)


def _value_title(plan: Plan, options: PlotOptions) -> str:
    """Return the title of the axis of values, with what is measured if no title says it."""
    name = plan.chart.name_of(plan.value)
    return plan.value_title if options.title == "" else name + plan.unit


def _draw_empty_panel(part: Part, plan: Plan) -> Axes:
    """Write into an empty panel why there are no values."""
    ax = part.subplots()
    why = reasons(plan) or ["no rows"]
    more = [f"… and {len(why) - 4} other reasons"] if len(why) > 4 else []
    lines = ["No values to draw.", *why[:4], *more]
    ax.text(0.02, 0.95, _escaped("\n".join(lines)), wrap=True, parse_math=True, va="top")
    ax.set(xticks=[], yticks=[])
    return ax


def _add_key(
    figure: Part, axes: list[Axes], plan: Plan, options: PlotOptions, height: float
) -> None:
    """Add the scale of colours of a heat map, of the layers of a strip, or of ranks of bars."""
    if not plan.values:
        return
    if plan.kind == "heat map":
        unit = plan.chart.units.get(plan.value)
        name = plan.chart.name_of(plan.value)
        bar = figure.colorbar(
            axes[0].collections[0],
            ax=axes,
            label=f"{name} ({unit})" if unit else name,
            shrink=min(1.0, 3 / height) if len(axes) > 1 else 1.0,
            anchor=(0, 1),
        )
    elif plan.kind in ("strip", "bars"):
        ranks = (
            [str(rank) for rank in range(1, charts.count_bars(plan) + 1)]
            if plan.kind == "bars"
            else []
        )
        names = ranks or charts.layer_names(plan.rows)
        if len(names) < 2 or "layer_name" in plan.panels:
            return
        n, colours = len(names), mark_colours(options)
        scale = ScalarMappable(BoundaryNorm(np.arange(n + 1) - 0.5, n), colours.resampled(n))
        ticks = charts.ticks_of(n)
        bar = figure.colorbar(
            scale,
            ax=axes,
            label="rank" if ranks else "layer",
            ticks=ticks,
            shrink=min(1.0, 2.2 / height),
            anchor=(0, 1),
        )
        bar.ax.set_yticklabels([charts.cut(names[tick], 16) for tick in ticks])
    else:
        return
    bar.outline.set_visible(False)
    bar.ax.minorticks_off()
    bar.ax.tick_params(length=0)


def _finish(part: Part, plan: Plan, options: PlotOptions) -> dict[str, Any]:
    """Add what depends on the room that the layout gives: labels of curves, numbers in cells.

    Returns:
        Name → line of the curves whose labels have no room.
    """
    if not plan.values:
        return {}
    axes = [ax for ax in part.axes if ax.get_label() != "<colorbar>"]
    for ax in axes:
        if plan.kind == "heat map":
            charts.write_cells(ax)
        elif plan.kind == "bars":
            charts.name_bars(ax)
    has_names = plan.kind == "curves" and charts.is_labelled(plan)
    if not has_names or _label_curves(axes, plan, options):
        return {}
    named = [zip(*ax.get_legend_handles_labels(), strict=True) for ax in axes]
    return {name: line for lines in named for line, name in lines}


def _label_curves(axes: Sequence[Axes], plan: Plan, options: PlotOptions) -> bool:
    """Write the name of each curve at its end, unless two of them would overlap; return whether."""
    looks, places = looks_of(plan, options), charts.places_of(plan)
    labels: list[Annotation] = []
    for ax, (_, rows) in zip(axes, split(plan), strict=True):
        drawn = plan.with_value(rows)
        drawn.sort(key=lambda row: places[row[plan.layer_name]])
        low, high = sorted(ax.get_ylim())
        for name, value in {row[plan.series]: row[plan.value] for row in drawn}.items():
            if low <= value <= high:
                labels.append(
                    ax.annotate(
                        charts.cut(str(name), 60),
                        (1, value),
                        xycoords=("axes fraction", "data"),
                        xytext=(5, 0),
                        textcoords="offset points",
                        va="center",
                        fontsize=type_size("legend.fontsize"),
                        color=looks[name].color,
                        annotation_clip=False,
                    )
                )
    boxes = [label.get_window_extent() for label in labels]
    widest = _LABEL_SHARE * min(ax.get_window_extent().width for ax in axes)
    has_room = len(looks) <= _MOST_LABELS and all(box.width <= widest for box in boxes)
    if has_room and not any(box.count_overlaps(boxes) > 1 for box in boxes):
        return True
    for label in labels:
        label.remove()
    return False


def _add_legend(figure: Figure, curves: dict[str, Any], options: PlotOptions) -> None:
    """Add a legend of curves between the panels and the caption."""
    widest = 0.6 * type_size("legend.fontsize") * max(map(len, curves)) + 32
    n_columns = max(1, min(len(curves), int(72 * figure.get_figwidth() / widest)))
    caption_height = 0.0
    if figure.get_supxlabel():
        caption_height = figure.texts[-1].get_window_extent().height / figure.dpi + _MARGIN
    legend = figure.legend(
        [*curves.values()], [*curves], loc="lower left", ncols=n_columns, handlelength=3
    )
    legend_height = legend.get_window_extent().height / figure.dpi
    if options.height is None:
        figure.set_figheight(figure.get_figheight() + legend_height)
    height = figure.get_figheight()
    legend.set_bbox_to_anchor((0, caption_height / height), figure.transFigure)
    bottom = legend_height / height
    rect = (0, bottom, 1, 1 - bottom)
    figure.set_layout_engine("constrained", h_pad=_MARGIN, w_pad=_MARGIN, rect=rect)
