"""Write the caption of a figure: spaces, n, intervals, marks, and what is not default."""

from collections import Counter
from typing import Any

from embstore.base.messages import printable
from embstore.base.table import show, show_parameter
from embstore.plot.plan import SAME, Plan, distinct

BASELINE_STYLES = {"dotted": ":", "dashed": "--"}  # of the lines beside a curve

_SELECTION = ("transform", "where", "words", "sample", "by", "bins", "baseline_of")
_DRAWS = ("seed",)  # changes the value little: the metadata has them, no caption


def caption(plan: Plan, *, is_complete: bool = False) -> list[str]:
    """Return the parts of the caption.

    Of the settings it states those that are not the default, unless ``is_complete``.
    """
    chart, value, rows = plan.chart, plan.value, plan.rows
    shared = "" if is_complete else plan.shared
    parts = [printable(text) for text in (shared, _against(plan)) if text]
    inputs = (*plan.panels, *(("layer_name",) if plan.kind == "strip" else ()))
    for column in dict.fromkeys(inputs):
        values = {row[column] for row in rows}
        if len(values) == 1 and column not in ("space", "space_2") and None not in values:
            name = column.removesuffix("_name").replace("_", " ")
            parts.append(f"{name}: {printable(show(values.pop()))}")
    n = sorted({row["n"] for row in rows if row.get("n") is not None})
    if n:
        parts.append(f"n = {n[0]:,}" if len(n) == 1 else f"n = {n[0]:,}–{n[-1]:,}")
    parts += _intervals(plan)
    if plan.marks_best:
        parts.append("diamond: best layer")
    parts += _tests(plan)
    if plan.kind == "heat map" and any(row["space"] != row["space_2"] for row in rows):
        parts.append("outlined: equal depth")
    parts += _calibration(plan)
    defaults = chart.defaults
    for column in dict.fromkeys((*_SELECTION, *plan.settings, *_DRAWS)):
        if column in _DRAWS and not is_complete:
            continue
        settings = {
            _setting(row[column]): row[column] for row in rows if row.get(column) is not None
        }
        is_default = column in defaults and [*settings] == [_setting(defaults[column])]
        if len(settings) == 1 and (is_complete or not is_default):
            [setting] = settings.values()
            text = printable(_setting(setting, with_hash=is_complete))
            parts.append(f"{column.replace('_', ' ')}: {text}")
    return parts + _missing(plan, value)


def reasons(plan: Plan) -> list[str]:
    """Return the distinct reasons why rows have no value, most frequent first."""
    found = Counter(
        printable(row.get("reason") or "no value") for row in plan.rows if row[plan.value] is None
    )
    return [why for why, _ in found.most_common()]


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


def _against(plan: Plan) -> str:
    """Return which space others are compared with, as ``A against B``, where neither an axis nor a
    panel says it.
    """
    if plan.kind == "heat map" or plan.x == "steps" or "space_2" not in plan.columns:
        return ""
    pairs = [pair for pair in distinct(plan.rows, ("space", "space_2")) if pair[0] != pair[1]]
    first, others = ({pair[side]: None for pair in pairs} for side in (0, 1))
    if not pairs:
        return ""
    return " ".join([*(first if len(first) == 1 else ()), "against", ", ".join(others)])


def _tests(plan: Plan) -> list[str]:
    """Return what the marks of a test say."""
    if "p_holm" not in plan.columns:
        return []
    others: list[str] = []
    if "versus" in plan.columns:
        others = [name for (name,) in distinct(plan.rows, ("versus",)) if name]
    what = "change"
    if others:
        spaces = {row["space"] for row in plan.rows}
        layer = "the same layer of" if {*others} <= spaces else "layer"
        named = ", ".join(map(printable, others))
        what = (
            f"difference from {'the best layer' if [*others] == ['best'] else f'{layer} {named}'}"
        )
    if any(row.get(SAME) for row in plan.rows):
        mark = "hollow" if plan.kind == "strip" else "circle"
        return [f"{mark}: no {what} was found (adjusted p ≥ .05)"]
    return [f"a {what} was found everywhere (adjusted p < .05)"]


def _calibration(plan: Plan) -> list[str]:
    """Return what the column ``calibrated`` says, if it is drawn."""
    settings = {
        (row["permutations"], row["over"]) for row in plan.rows if row.get("over") is not None
    }
    if plan.value != "calibrated" or len(settings) != 1:
        return []
    [(n, over)] = settings
    shuffles = f"5 % of {n:,} shuffles of the items"
    highest = f"what the highest pair reaches in {shuffles}"
    level = highest if over == "max" else f"what {shuffles} reach"
    return [f"calibrated: 0 up to {level}, 1 for the highest possible value"]


def _missing(plan: Plan, value: str) -> list[str]:
    """Return which items have no value, and how many other rows."""
    lost = [row for row in plan.rows if row[value] is None]
    if len(lost) == len(plan.rows):
        return []
    item = plan.items
    drawn = {row.get(item) for row in plan.rows if row[value] is not None} | {None}
    items = list(dict.fromkeys(row[item] for row in lost if row.get(item) not in drawn))
    n_lost = sum(row.get(item) in drawn for row in lost)
    named = printable(show_parameter(items, with_hash=False))
    return [f"without a value: {named}"] * bool(items) + (
        [f"{n_lost} of {len(plan.rows)} without a value"] if n_lost else []
    )


def _setting(value: Any, *, with_hash: bool = True) -> str:
    """Return the value of a setting as the caption has it: 0.1 and 100,000."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return show_parameter(value, with_hash=with_hash)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
