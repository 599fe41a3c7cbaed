"""Write the caption of a figure: spaces, n, intervals, marks, and what is not default."""

from collections import Counter
from typing import Any

from embstore.base.messages import printable
from embstore.base.table import show, show_parameter
from embstore.plot.plan import SAME, Plan, distinct

BASELINE_STYLES = {"dotted": ":", "dashed": "--"}  # of the lines beside a curve

_SELECTION = (
    "transform",
    "where",
    "words",
    "sample",
    "by",
    "bins",
    "baseline_of",
    "versus",
    "permutations",
    "over",
)


def caption(plan: Plan, *, is_complete: bool = False) -> list[str]:
    """Return the parts of the caption.

    Of the settings it states those that are not the default, unless ``is_complete``.
    """
    rows = plan.rows
    parts = [*_compared(plan)]
    if plan.shared and not is_complete:
        parts.insert(0, plan.shared)
    inputs = (*plan.panels, *(("layer_name",) if plan.kind == "strip" else ()))
    for column in dict.fromkeys(inputs):
        values = {row[column] for row in rows}
        if len(values) == 1 and column not in ("space", "space_2") and None not in values:
            name = column.removesuffix("_name").replace("_", " ")
            parts.append(f"{name}: {show(values.pop())}")
    n = sorted({row["n"] for row in rows if row.get("n") is not None})
    if n:
        parts.append(f"n = {n[0]:,}" if len(n) == 1 else f"n = {n[0]:,}–{n[-1]:,}")
    parts += _intervals(plan)
    if plan.marks_best:
        parts.append("diamond: best layer")
    if any(row.get(SAME) for row in rows):
        mark = "hollow" if plan.kind == "strip" else "circle"
        parts.append(f"{mark}: no difference was found (adjusted p ≥ .05)")
    if plan.kind == "heat map" and any(row["space"] != row["space_2"] for row in rows):
        parts.append("outlined: equal depth")
    defaults = {"seed": 0, "over": "pair", **plan.chart.defaults}
    for column in dict.fromkeys((*_SELECTION, *plan.settings, "seed")):
        stated = (row[column] for row in rows if row.get(column) is not None)
        settings = {_setting(value, with_hash=is_complete) for value in stated}
        default = _setting(defaults.get(column), with_hash=is_complete)
        if len(settings) == 1 and (is_complete or settings != {default}):
            parts.append(f"{column.replace('_', ' ')}: {settings.pop()}")
    n_missing = len(rows) - len(plan.values)
    if plan.values and n_missing:
        parts.append(f"{n_missing} of {len(rows)} without a value")
    return [*map(printable, parts)]


def reasons(plan: Plan) -> list[str]:
    """Return the distinct reasons why rows have no value, most frequent first."""
    counts = Counter(
        printable(row.get("reason") or "no value") for row in plan.rows if row[plan.value] is None
    )
    return [why for why, _ in counts.most_common()]


def description(plan: Plan) -> str:
    """Return all that is known of a figure, for the metadata of its file."""
    labels = plan.labels or {}
    spaces = [
        space if label in (space, plan.shared) else f"{label}: {space}"
        for space, label in labels.items()
    ]
    parts = [plan.value_title, ", ".join(spaces), "; ".join(caption(plan, is_complete=True))]
    return printable(". ".join(filter(None, parts)))


def _intervals(plan: Plan) -> list[str]:
    """Return what the bands and the thin lines are."""
    parts = []
    columns = plan.chart.intervals.get(plan.value, ())
    if any(plan.limits(row) for row in plan.rows):
        if len(columns) == 2 and columns[0].endswith("low"):
            parts.append("95 % intervals")
        else:
            named = " to ".join(map(plan.chart.name_of, columns))
            parts.append(f"band: {'± ' * (len(columns) == 1)}{named}")
    beside = zip(BASELINE_STYLES, plan.baselines, strict=False)
    return parts + [f"{pattern}: {plan.chart.name_of(column)}" for pattern, column in beside]


def _compared(plan: Plan) -> list[str]:
    """Return which spaces are compared, where neither an axis nor a panel says it."""
    if plan.kind == "heat map" or plan.x == "steps" or "space_2" not in plan.columns:
        return []
    pairs = distinct(plan.rows, ("space", "space_2"))
    return [f"{first} against {second}" for first, second in pairs if first != second]


def _setting(value: Any, *, with_hash: bool) -> str:
    """Return the value of a setting as the caption has it: 0.1 and 100,000."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return show_parameter(value, with_hash=with_hash)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
