"""Average a metric over the groups of a layer's items, such as texts: ``average``."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from embstore.base.errors import UsageError
from embstore.base.messages import MOST_NAMED, first_of
from embstore.base.space import Unit
from embstore.base.text import item_id
from embstore.metrics import Column, with_scores
from embstore.metrics.decorator import best_columns
from embstore.metrics.numerics.estimates import MIN_GROUPS
from embstore.metrics.numerics.units import mean_of
from embstore.metrics.significance import AVERAGE_COLUMNS, LIMITS, VERSUS_COLUMNS
from embstore.query.provenance import Row
from embstore.query.request import MetricRequest

_ADDED = {column.name for column in (*AVERAGE_COLUMNS, *VERSUS_COLUMNS)}


def averaged(request: MetricRequest) -> MetricRequest:
    """Return the request with the columns of averages: the metric's numbers, of which the first has
    an interval, counts, and those of :data:`AVERAGE_COLUMNS`.

    Raises:
        UsageError: The request has no groups.
    """
    metric, by = request.metric, request.selection.by
    if by is None:
        raise UsageError(
            "average is the mean over groups of items: name their column, as in by='context'."
        )
    limits = {name for column in metric.columns for name in column.interval}
    if request.parameters.get("ci"):
        raise UsageError("The mean of `average` has an interval of its own: leave out `ci`.")
    numbers = [
        column
        for column in metric.columns
        if column.type == "number" and column.name not in limits | _ADDED
    ]
    if not numbers:
        raise UsageError(f"{metric.name} has no number to average.")
    # Columns that a parameter adds are what was asked for, unless printed tables leave them out.
    value = max(numbers, key=lambda column: column.shown and column in metric.optional)
    kept = [
        column if column.name in _ADDED else replace(column, interval=LIMITS * (column is value))
        for column in metric.columns
        if column in numbers or _is_count(column) or column.is_key or column.name in _ADDED
    ]
    best = value.name if request.parameters.get("versus") == "best" else None
    kept += best_columns(best)
    names = {column.name for column in kept}
    metric = replace(
        metric,
        columns=tuple(kept),
        best=best,
        drawn_values=tuple(name for name in (value.name, *metric.chart.values) if name in names),
    )
    return replace(
        request,
        metric=metric,
        selection=replace(request.selection, by=replace(by, max_groups=None)),
    )


def _is_count(column: Column) -> bool:
    return column.type == "integer" and column.name.startswith("n_")


def average(request: MetricRequest, rows: Sequence[Row]) -> list[Row]:
    """Return a row for all groups, with the values of each as its ``scores``; several if the metric
    has several rows, such as scales.

    Args:
        request: Request, as :func:`averaged` returns it.
        rows: Rows of the groups, with their names in ``group``.
    """
    keys = request.metric.key_names
    [value] = (column.name for column in request.metric.columns if column.interval == LIMITS)
    families: dict[tuple[Any, ...], dict[str | None, Row]] = {}
    groups: dict[str | None, Row] = {}
    for row in rows:
        key = tuple(row.get(column) for column in keys)
        if None not in key:
            families.setdefault(key, {})[row["group"]] = row
        groups[row["group"]] = row
    if not families:
        families[(None,) * len(keys)] = {}
    means = []
    for key, members in families.items():
        named = dict(zip(keys, key, strict=True))
        missing = "no " + ", ".join(f"{column} {value}" for column, value in named.items())
        others = {
            name: {**row, value: None, "reason": row["reason"] or missing}
            for name, row in groups.items()
            if name not in members
        }
        means.append(_average(request, named, others | members, value))
    return means


def _average(request: MetricRequest, keys: Row, members: dict[str | None, Row], value: str) -> Row:
    """Return the row of the mean of a column over groups, each counted once; counts are of all
    groups.
    """
    metric = request.metric
    with_value = {name: row for name, row in members.items() if row.get(value) is not None}
    used = [*with_value.values()]
    reasons = Counter(row["reason"] for row in members.values() if row.get(value) is None)
    row: Row = dict.fromkeys(column.name for column in metric.columns) | keys
    for column in (column for column in metric.columns if column.name not in _ADDED):
        values = [member[column.name] for member in used if member.get(column.name) is not None]
        if column.type == "number" and values:
            row[column.name] = float(np.mean(values))
        elif _is_count(column):
            row[column.name] = sum(member[column.name] or 0 for member in members.values())
    numbers = np.array([member[value] for member in used], np.float64)
    notes = [f"{reason} ({count:,})" for reason, count in reasons.most_common()]
    notes = [f"groups without a value: {first_of(notes, MOST_NAMED)}"] if notes else []
    row |= {"n_groups": len(used), "n_undefined": len(members) - len(used)}
    row["n"] = sum(member["n"] for member in used or members.values())
    if len(used) > 1:
        row["group_std"] = float(numbers.std(ddof=1))
    if used and numbers.min() > 0:
        row["geometric_mean"] = float(np.exp(np.log(numbers).mean()))
    # By the ids of their names, groups are the same units in all spaces.
    units = np.array([item_id(Unit.SENTENCE, str(name)) for name in with_value], np.int64)
    order = np.argsort(units)
    mean = mean_of(units[order], numbers[order])
    if len(used) >= MIN_GROUPS:
        row["low"], row["high"] = mean.interval()
    else:
        notes.append(f"interval: fewer than {MIN_GROUPS} groups")
    return with_scores(row | {"reason": "; ".join(notes) or None}, mean)
