"""Compare measured with published numbers: the rows of a reproduction's result."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from embstore.base.messages import rendered
from embstore.recipes.recipe import ALL, BEST, Plan, PlannedMeasure, PlannedQuery, Published, Relation, Verdict

COLUMNS = (
    "model", "figure", "variant", "layers", "layer", "published", "relation", "low", "high", "measured", "verdict",
    "reason", "n", "source", "space", "metric",
)  # fmt: skip
TYPES = {
    **dict.fromkeys(("published", "low", "high", "measured"), "number"),
    **dict.fromkeys(("relation", "reason", "source", "space"), "string"),
}
"""JSON types of the columns that may be null in every row."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LayerValue:
    """The result of a query at one layer, of n vectors, or the reason why there is no value."""

    layer: int
    value: float | None
    n: int | None
    reason: str | None = None
    group: str | None = None  # group of the items, empty for those without a value of the column; None without groups


Answers = Mapping[PlannedQuery, Mapping[str, Sequence[LayerValue]] | str]
"""The answer to each query: column → values by ascending layer, or the reason why there is none."""


def judge(plan: Plan, answers: Answers) -> list[Row]:
    """Build the rows of the result: one per measured or published number, with its verdict."""
    rows: list[Row] = []
    compared: set[Published] = set()
    for planned in plan.measures:
        numbers = tuple(
            number
            for number in plan.recipe.published
            if (number.model, number.figure) == (planned.model, planned.measure.figure)
            and (not number.spaces or planned.space.name in number.spaces)
            and (number.group is None) == (planned.measure.by is None)
        )
        compared.update(numbers)
        answer = answers[planned.query] if isinstance(planned.query, PlannedQuery) else planned.query
        if isinstance(answer, str):
            rows += [_row(planned, number, reason=answer) for number in (numbers or (None,))]
        else:
            values = answer[planned.measure.column]
            groups = list(dict.fromkeys(value.group for value in values))
            for group in groups:
                of_group = [number for number in numbers if number.group == group]
                rows += _measured_rows(planned, of_group, [value for value in values if value.group == group])
            known = f"there are {', '.join(filter(None, groups))}" + " and one without a name" * ("" in groups)
            reason = f"there is no such group: {known}"
            rows += [_row(planned, number, reason=reason) for number in numbers if number.group not in groups]
    rows += _variant_rows(plan)
    return rows + [
        _unmeasured_row(plan, number)
        for number in plan.recipe.published
        if number not in compared and (plan.all_published or number.model in plan.models)
    ]


def _measured_rows(planned: PlannedMeasure, numbers: Sequence[Published], values: Sequence[LayerValue]) -> list[Row]:
    """Return a row for each layer, and for each published number on several layers or on a missing layer."""
    rows = []
    for value in values:
        numbers_of_layer = [number for number in numbers if number.layers == value.layer]
        rows += [_row(planned, number, value) for number in (numbers_of_layer or (None,))]
    layers = [value.layer for value in values]
    for number in numbers:
        if number.layers in (BEST, ALL):
            rows.append(_row(planned, number, _over_layers(number, values)))
        elif number.layers not in layers:
            reason = f"{planned.model} has no other layers than {min(layers)} to {max(layers)}"
            rows.append(_row(planned, number, reason=reason))
    return rows


def _over_layers(number: Published, values: Sequence[LayerValue]) -> LayerValue:
    """Aggregate values over layers for comparison with a published number on several layers.

    ``best``: the maximum. ``all``: the least favourable value. Trend: the number of steps in the wrong direction.
    """
    if undefined := next((value for value in values if value.value is None), None):
        return replace(undefined, reason=f"layer {undefined.layer}: {undefined.reason}")
    if number.relation.is_trend:
        sign = 1 if number.relation is Relation.FALLING else -1
        falling = [sign * (value.value or 0.0) for value in values]
        n_wrong = sum(after > before for before, after in pairwise(falling))
        return replace(values[-1], value=float(n_wrong))
    takes_lowest = number.layers == ALL and not number.relation.is_upper
    return (min if takes_lowest else max)(values, key=lambda value: value.value or 0.0)


def _row(
    planned: PlannedMeasure, number: Published | None, value: LayerValue | None = None, *, reason: str | None = None
) -> Row:
    """Return the row of a measure: a published number, if any, and the measured one or the reason why there is none."""
    measured = None if value is None else value.value
    verdict = Verdict.NOT_MEASURED
    if measured is not None:
        verdict = Verdict.NOT_PUBLISHED if number is None else number.verdict(measured, planned.measure)
    low, high = (None, None) if number is None else number.band(planned.measure)
    source = value or number
    group = None if source is None else source.group
    if group is not None:
        group = f"{planned.measure.by} {group}" if group else f"no {planned.measure.by}"
    row = _without_value(
        planned.model, planned.measure.figure, number, reason=reason if value is None else value.reason,
        variant=", ".join(filter(None, (planned.space.label, planned.measure.variant, group))), low=low, high=high,
        measured=measured, verdict=verdict.value, metric=planned.measure.metric,
        space=planned.query.space if isinstance(planned.query, PlannedQuery) else None,
    )  # fmt: skip
    if value is not None:
        row |= {"layer": value.layer, "layers": row["layers"] or str(value.layer), "n": value.n}
    return row


def _unmeasured_row(plan: Plan, number: Published) -> Row:
    """Return the row of a published number that nothing was compared with, with the reason."""
    reason = "the recipe has no measure of it"
    if number.model not in plan.models:
        reason = rendered(f"{number.model} is not among the models of this run: ⦃model={number.model}⦄")
    for entry in plan.recipe.unmeasured:
        covers_figure = not entry.figures or number.figure in entry.figures
        if not entry.variant and covers_figure and (not entry.models or number.model in entry.models):
            reason = entry.reason
            break
    return _without_value(number.model, number.figure, number, reason=reason)


def _variant_rows(plan: Plan) -> list[Row]:
    """Return a row without a number for each variant that the recipe omits, for each of its figures and models."""
    return [
        _without_value(model, figure, None, variant=entry.variant, reason=entry.reason)
        for entry in plan.recipe.unmeasured
        if entry.variant
        for figure in entry.figures
        for model in plan.models
        if not entry.models or model in entry.models
    ]


def _without_value(model: str, figure: str, number: Published | None, **columns: Any) -> Row:
    """Return a row that is not measured but for the given columns, with those of a published number, if any."""
    row = dict.fromkeys(COLUMNS) | {"model": model, "figure": figure, "verdict": Verdict.NOT_MEASURED.value}
    if number is not None:
        layers = None if number.layers is None else str(number.layers)
        row |= {
            "layers": layers, "published": number.value, "relation": number.relation.value, "source": number.source,
        }  # fmt: skip
    return row | columns


def summary_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """Count the verdicts, as one sentence."""
    rows = list(rows)
    counts = Counter(row["verdict"] for row in rows if row["relation"] is not None)
    n_unpublished = sum(row["verdict"] == Verdict.NOT_PUBLISHED for row in rows)
    n_hit, n_missed, n_unmeasured = (counts[verdict] for verdict in (Verdict.HIT, Verdict.MISS, Verdict.NOT_MEASURED))
    return (
        f"beside published numbers: {n_hit} hit, {n_missed} missed, {n_unmeasured} not measured; "
        f"{n_unpublished} measured of which nothing is published."
    )
