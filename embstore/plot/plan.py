"""Decide from the columns of a table what its figure shows: its kind, axes, panels and curves."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from embstore.base.chart import COSINE, MAP, Chart
from embstore.base.errors import UsageError, check_known
from embstore.base.labels import labelled
from embstore.base.messages import printable
from embstore.base.space import without_revision
from embstore.base.table import Row, Table
from embstore.plot.options import PlotOptions

NO_VALUE = "no value"  # name of the group of the items without a value

RUN, CURVE, STEP_NAME = "run", "curve", "step_name"
SAME = "no_difference"  # column of results of a test: whether no difference was found
_LEVEL = 0.05  # adjusted p-value from which on none was
_GROUPS = ("group_1", "group_2")
_ITEMS = ("word", "sentence", "text")
_MOST_CURVES = 8  # words that have a curve each

Rows = Sequence[Row]
Kind = Literal["curves", "strip", "bars", "heat map", "map"]


@dataclass(frozen=True)
class Plan:
    """What a figure shows.

    Attributes:
        kind: ``curves`` of the value over the layers; a ``strip`` with a line for each item and the
            value across; ``bars`` stacked from the arrays of each layer; a ``heat map`` of layers
            against layers; a ``map`` of items in the plane.
        value: Column drawn.
        panels: Columns, each combination of whose values has a panel.
        series: Column whose values have a curve each.
        items: Column of the items of a strip; empty if there are none.
        layer: Column of the places along the x axis of curves.
        layer_name: Column of their names.
        x: What is along the x axis of curves.
        is_ordered: Whether the curves have an order, which their colours show.
        labels: Space → what the figure calls it.
        shared: What the names of all spaces have in common.
        notes: Notes on what is not drawn.
    """

    kind: Kind
    chart: Chart
    rows: tuple[Row, ...]
    value: str = ""
    panels: tuple[str, ...] = ()
    series: str = "space"
    items: str = ""
    layer: str = "layer"
    layer_name: str = "layer_name"
    x: Literal["layers", "steps", "scales", "groups"] = "layers"
    x_title: str = "layer"
    is_ordered: bool = False
    settings: tuple[str, ...] = ()
    bar_names: str | None = None
    labels: Mapping[str, str] | None = None
    shared: str = ""
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.rows[0]) if self.rows else ()

    @property
    def values(self) -> list[float]:
        """The values drawn."""
        return [row[self.value] for row in self.with_value(self.rows)]

    def with_value(self, rows: Iterable[Row]) -> list[Row]:
        """Return the rows that have a value to draw."""
        return [row for row in rows if row[self.value] is not None]

    @property
    def unit(self) -> str:
        """Unit and range of the values, in brackets after a space; empty if there are none."""
        low, high = self.chart.ranges.get(self.value, (None, None))
        about = [self.chart.units[self.value]] if self.value in self.chart.units else []
        if low is not None and high is not None:
            about.append(f"{low:.3g} to {high:.3g}".replace("-", "−"))
        bound = ", ".join(about).replace(" ", "\u00a0")  # stays on a line
        return f" ({bound})" if about else ""

    @property
    def value_title(self) -> str:
        """What is measured, and by which number, with its unit and range."""
        name, title = self.chart.name_of(self.value), self.chart.title
        return (
            title + self.unit
            if name.casefold() == title.casefold()
            else f"{title}: {name}{self.unit}"
        )

    @property
    def baselines(self) -> list[str]:
        """Columns drawn as thin lines beside the value: those that some row has."""
        beside = self.chart.baselines.get(self.value, ()) if self.kind == "curves" else ()
        return [name for name in beside if any(row.get(name) is not None for row in self.rows)]

    @property
    def marks_best(self) -> bool:
        """Whether curves mark the best of several layers."""
        best = self.chart.best
        if self.kind != "curves" or not best or not varies(self.rows, self.layer):
            return False
        return any(row[best] and row[self.value] is not None for row in self.rows)

    def limits(self, row: Row) -> tuple[float, float] | None:
        """Return the interval of the value of a row, if it has one."""
        columns = self.chart.intervals.get(self.value, ())
        value = row[self.value]
        ends = [row[column] for column in columns if row.get(column) is not None]
        if value is None or not ends or len(ends) < len(columns):
            return None
        return (value - ends[0], value + ends[0]) if len(ends) == 1 else (ends[0], ends[1])


def distinct(rows: Iterable[Row], columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the distinct values of columns, each as a tuple, in order of appearance."""
    return list(dict.fromkeys(tuple(row[column] for column in columns) for row in rows))


def varies(rows: Iterable[Row], column: str) -> bool:
    """Return whether rows have several values in a column."""
    return len({row[column] for row in rows}) > 1


def layer_places(names: Iterable[str]) -> dict[str, int]:
    """Return layer → place on an axis: numbers at their place, those with a name after them."""
    known = list(dict.fromkeys(names))
    numbers = sorted({int(name) for name in known if name.isdecimal()})
    end = numbers[-1] + 1 if numbers else 0
    named = [name for name in known if not name.isdecimal()]
    return {str(n): n for n in numbers} | {name: end + place for place, name in enumerate(named)}


def make_plan(table: Table, options: PlotOptions) -> Plan:
    """Decide what the figure of a table shows.

    Raises:
        UsageError: The table has no figure, or an option does not suit it.
        UnknownNameError: There is no such column or space.
    """
    if table.chart is None:
        raise UsageError(
            "this table has no figure: only the results of metrics, drift, cosine and maps have."
        )
    plan = _plan(table, table.chart)
    if options.label_words and plan.kind != "map":
        raise UsageError("`label_words` is about maps. Leave it out.")
    if options.x == "step":
        plan = _over_steps(plan)
    elif plan.kind in ("curves", "strip"):
        plan = _with_single_item(_over_groups(_over_scales(plan)))
    second = "against" if plan.x == "steps" else "space_2"
    columns = [name for name in ("space", second) if name in plan.columns]
    rows, labels, shared = labelled(plan.rows, columns, ("versus", RUN, CURVE), options.labels)
    plan = replace(plan, rows=rows, labels=labels, shared=shared)
    if options.column is not None:
        check_known("column to draw", options.column, plan.chart.values)
    return replace(plan, value=options.column or plan.chart.drawn(plan.rows))


def _plan(table: Table, chart: Chart) -> Plan:
    """Return the plan of a table before curves over other things than layers are considered."""
    columns = table.columns
    rows = tuple(_with_marks(table))
    plan = Plan("curves", chart, rows, panels=chart.panels, settings=chart.settings)
    if chart == COSINE:
        return plan
    if {"layer_2", "text"} <= {*columns}:  # drift of items
        is_within = all(row.get("space_2") == row["space"] for row in rows)
        title = "layer, compared with the one before"
        if any(row["layer_2"] > row["layer"] + 1 for row in rows):
            layers = dict.fromkeys([rows[0]["layer_name"], *table["layer_name_2"]])
            title += f" of {', '.join(layers)}"
        return replace(
            plan,
            series="text",
            panels=("space",),
            layer="layer_2",
            layer_name="layer_name_2",
            x_title=title if is_within else "layer",
        )
    if chart == MAP:
        return replace(plan, kind="map", panels=("space", "layer_name"), items="text")
    if "group" in columns:
        rows = tuple({**row, "group": row["group"] or NO_VALUE} for row in rows)
        plan = replace(plan, rows=rows, series="group", is_ordered="bins" in columns)
    group = ("group",) if "group" in columns else ()
    if "layer_2" in columns:
        return replace(plan, kind="heat map", panels=("space", "space_2", *group))
    if any(isinstance(row[name], list | tuple) for name in chart.values for row in rows):
        named = (name for name in columns if table.types.get(name) == "array of integers")
        return replace(plan, kind="bars", panels=("space", *group), bar_names=next(named, None))
    item = next((name for name in _ITEMS if name in columns), None)
    if item is not None and any(row[item] is not None for row in rows):
        panels = dict.fromkeys(("space", *chart.panels, *group))
        return replace(plan, kind="strip", items=item, panels=tuple(panels))
    return replace(plan, panels=("space", *chart.panels) if group else chart.panels)


def _with_marks(table: Table) -> list[Row]:
    """Return rows with the column ``SAME`` if they are of a test; it is also true of a layer
    compared with others.
    """
    if "p_holm" not in table.columns:
        return list(table.rows)
    tested = {row["space"] for row in table.rows if row["p_holm"] is not None}
    rows: list[Row] = []
    for row in table.rows:
        is_same = (
            row.get("n_common") is not None if row["p_holm"] is None else row["p_holm"] >= _LEVEL
        )
        rows.append({**row, SAME: is_same and row["space"] in tested})
    return rows


def _over_scales(plan: Plan) -> Plan:
    """Return results at several scales as curves over these, one for each layer."""
    rows = plan.rows
    if "scale" not in plan.panels or not varies(rows, "scale"):
        return plan
    prefix = "layer " if varies(rows, "layer_name") else ""
    rows = tuple(
        {**row, "layer": f"{prefix}{row['layer_name']}", STEP_NAME: str(row["scale"])}
        for row in rows
        if row["scale"] is not None
    )
    others = [name for name in plan.panels if name not in ("space", "scale")]
    return replace(
        plan,
        rows=rows,
        x="scales",
        x_title="scale: number of the neighbour",
        series="layer",
        layer="scale",
        layer_name=STEP_NAME,
        panels=("space", *others, *(("group",) if plan.series == "group" else ())),
        is_ordered=True,
        settings=("layer", *plan.settings),
    )


def _over_groups(plan: Plan) -> Plan:
    """Return comparisons of each group with the one before, of a few words, as curves."""
    if not {*_GROUPS} <= {*plan.panels}:
        return plan
    rows = [row for row in plan.rows if row["group_1"] is not None]
    pairs = distinct(rows, _GROUPS)
    in_order = all(pair[1] == following[0] for pair, following in pairwise(pairs))
    if len(pairs) < 2 or not in_order or len({row["word"] for row in rows}) > _MOST_CURVES:
        return plan
    others = [name for name in plan.panels if name not in ("space", *_GROUPS)]
    space = ("space",) if varies(rows, "space") else ()
    prefix = "layer " if varies(rows, "layer_name") else ""
    return replace(
        plan,
        kind="curves",
        rows=tuple(
            {
                **row,
                CURVE: pairs.index((row["group_1"], row["group_2"])),
                "layer": f"{prefix}{row['layer_name']}",
            }
            for row in rows
        ),
        x="groups",
        x_title=f"{rows[0].get('by', 'group')}, compared with the one before",
        series="word",
        items="",
        panels=(*space, *others, "layer"),
        layer=CURVE,
        layer_name="group_2",
    )


def _with_single_item(plan: Plan) -> Plan:
    """Return results of one word or sentence over several layers as curves, a curve a space."""
    if plan.kind != "strip" or not plan.items or "layer_name" in plan.panels:
        return plan
    rows = tuple(row for row in plan.rows if row[plan.items] is not None)
    if len(distinct(rows, (plan.items,))) != 1 or len(distinct(rows, ("layer_name",))) < 2:
        return plan
    space = ("space",) if plan.series == "group" else ()
    panels = tuple(dict.fromkeys((*space, *plan.chart.panels, plan.items)))
    return replace(plan, kind="curves", rows=rows, items="", panels=panels)


def _over_steps(plan: Plan) -> Plan:
    """Return results as curves over training steps.

    There is a curve for each layer, and for each item of a result about items; several runs have a
    panel each. Of layers against layers those of the same name are drawn.
    """
    if plan.kind in ("bars", "map"):
        raise UsageError("x='step' draws a value over training steps: leave it out.")
    rows: list[Row] = [row for row in plan.rows if row.get("step") is not None]
    if not rows:
        raise UsageError(
            "x='step' needs spaces of revisions that are named by their step (step1000,"
            " checkpoint-1000), and these results have none. Build them with: embstore build"
            " SOURCE --model NAME --revision step0,step1000"
        )
    without = dict.fromkeys(row["space"] for row in plan.rows if row.get("step") is None)
    notes = [
        f"{printable(space)} is not drawn: it is of no revision named by its step."
        for space in without
    ]
    if plan.kind == "heat map":
        rows = [
            row
            for row in rows
            if row["space"] != row["space_2"] and row["layer_name"] == row["layer_name_2"]
        ]
        if not rows:
            raise UsageError(
                "x='step' draws how near each layer is to the same one of another space: name that"
                " with `against`."
            )
    items = [name for name in (plan.items, plan.series) if name not in ("", "space")]
    drawn = [_with_run(row) for row in rows]
    varying = [name for name in (*items, "layer") if varies(drawn, name)]
    for row in drawn:
        row["layer"] = f"layer {row['layer']}" if "layer" in varying else row["layer"]
        row[CURVE] = " · ".join(str(row[name]) for name in varying) or row[RUN]
    ignored = ("space", "space_2", "layer_name", "group")
    others = [name for name in plan.panels if name not in ignored]
    return replace(
        plan,
        kind="curves",
        rows=tuple(drawn),
        panels=(*((RUN,) if varying and varies(drawn, RUN) else ()), *others),
        items="",
        chart=replace(plan.chart, best=None),
        series=CURVE,
        layer="step",
        layer_name=STEP_NAME,
        x="steps",
        x_title="training step",
        is_ordered=varying == ["layer"],
        settings=("layer", "against", *plan.settings),
        notes=tuple(notes),
    )


def _with_run(row: Row) -> dict[str, Any]:
    """Return a row with the run that it is of, its step, and the space it is compared with."""
    run, other = without_revision(row["space"], row["revision"]), row.get("space_2", row["space"])
    second = row.get("layer_name_2", row["layer_name"])
    layer = str(row["layer_name"]) + ("" if second == row["layer_name"] else f"–{second}")
    against = None if other == row["space"] else other
    return {
        **row,
        RUN: run,
        "space": run,
        "layer": layer,
        STEP_NAME: str(row["step"]),
        "against": against,
    }
