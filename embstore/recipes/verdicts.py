"""Compare measured with published numbers: the rows of a reproduction's result."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from embstore.recipes.protocol import Asked, Protocol, Question
from embstore.recipes.recipe import ALL, BEST, Published, Relation, Verdict

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
class Reading:
    """The result of a query at one layer.

    Attributes:
        layer: Layer number.
        value: Measured number; None if not computable.
        n: Number of vectors it was computed from; None if unknown.
        reason: Reason why there is no value; None if there is one.
    """

    layer: int
    value: float | None
    n: int | None
    reason: str | None = None


Answers = Mapping[Question, Mapping[str, Sequence[Reading]] | str]
"""The answer to each query: column → readings by ascending layer, or the reason why there is none."""


def judge(protocol: Protocol, answers: Answers) -> list[Row]:
    """Build the rows of the result: one per measured or published number, with its verdict."""
    rows: list[Row] = []
    used: set[Published] = set()
    for asked in protocol.asked:
        numbers = _numbers_for(asked, protocol.recipe.published)
        used.update(numbers)
        answer = answers[asked.question] if isinstance(asked.question, Question) else asked.question
        if isinstance(answer, str):
            rows += [_row(asked, number, reason=answer) for number in (numbers or (None,))]
        else:
            rows += _measured(asked, numbers, answer[asked.measure.column])
    rows += _left_out_variants(protocol)
    return rows + [
        _unmeasured(protocol, number)
        for number in protocol.recipe.published
        if number not in used and (protocol.all_published or number.model in protocol.models)
    ]


def _numbers_for(asked: Asked, published: Iterable[Published]) -> tuple[Published, ...]:
    return tuple(
        one
        for one in published
        if one.model == asked.model
        and one.figure == asked.measure.figure
        and (not one.spaces or asked.space.name in one.spaces)
    )


def _measured(asked: Asked, numbers: Sequence[Published], readings: Sequence[Reading]) -> list[Row]:
    rows = []
    for reading in readings:
        here = [number for number in numbers if number.layers == reading.layer]
        rows += [_row(asked, number, reading) for number in (here or (None,))]
    known = [reading.layer for reading in readings]
    for number in numbers:
        if number.layers in (BEST, ALL):
            rows.append(_row(asked, number, _summed_up(number, readings)))
        elif number.layers not in known:
            reason = f"{asked.model} has no other layers than {min(known)} to {max(known)}"
            rows.append(_row(asked, number, reason=reason))
    return rows


def _summed_up(number: Published, readings: Sequence[Reading]) -> Reading:
    """Aggregate readings over layers for comparison with a published number on several layers.

    ``best``: the maximum. ``all``: the least favourable reading. Trend: the number of steps in the wrong direction.
    """
    if lacking := next((one for one in readings if one.value is None), None):
        return Reading(lacking.layer, None, lacking.n, f"layer {lacking.layer}: {lacking.reason}")
    if number.relation.is_trend:
        sign = 1 if number.relation is Relation.FALLING else -1
        values = [sign * (one.value or 0.0) for one in readings]
        wrong = sum(after > before for before, after in pairwise(values))
        return Reading(readings[-1].layer, float(wrong), readings[-1].n)
    lowest = number.layers == ALL and not number.relation.is_upper
    return (min if lowest else max)(readings, key=lambda one: one.value or 0.0)


def _row(asked: Asked, number: Published | None, reading: Reading | None = None, *, reason: str | None = None) -> Row:
    measured = None if reading is None else reading.value
    if reading is not None:
        reason = reading.reason
    if measured is None:
        verdict = Verdict.NOT_MEASURED
    else:
        verdict = Verdict.NOT_PUBLISHED if number is None else number.verdict(measured, asked.measure)
    low, high = (None, None) if number is None else number.band(asked.measure)
    layers = None if reading is None else str(reading.layer)
    return _blank() | {
        "model": asked.model, "figure": asked.measure.figure,
        "variant": ", ".join(filter(None, (asked.space.label, asked.measure.variant))),
        "layers": layers if number is None or number.layers is None else str(number.layers),
        "layer": reading and reading.layer, "low": low, "high": high, "measured": measured, "verdict": verdict.value,
        "reason": reason, "n": reading and reading.n, "metric": asked.measure.metric,
        "space": asked.question.space if isinstance(asked.question, Question) else None,
    } | ({} if number is None else _of_number(number))  # fmt: skip


def _unmeasured(protocol: Protocol, number: Published) -> Row:
    entries = [one for one in protocol.recipe.unmeasured if not one.variant]
    for entry in entries:
        if (not entry.figures or number.figure in entry.figures) and (not entry.models or number.model in entry.models):
            reason = entry.reason
            break
    else:
        if number.model in protocol.models:
            reason = "the recipe has no measure of it"
        else:
            reason = f"{number.model} is not among the models of this run: --model {number.model}"
    return _blank() | _of_number(number) | {
        "model": number.model, "figure": number.figure, "reason": reason, "verdict": Verdict.NOT_MEASURED.value,
        "layers": None if number.layers is None else str(number.layers),
    }  # fmt: skip


def _left_out_variants(protocol: Protocol) -> list[Row]:
    return [
        _blank()
        | {
            "model": model, "figure": figure, "variant": entry.variant, "reason": entry.reason,
            "verdict": Verdict.NOT_MEASURED.value,
        }
        for entry in protocol.recipe.unmeasured
        if entry.variant
        for figure in entry.figures
        for model in protocol.models
        if not entry.models or model in entry.models
    ]  # fmt: skip


def _blank() -> Row:
    return dict.fromkeys(COLUMNS)


def _of_number(number: Published) -> Row:
    return {"published": number.value, "relation": number.relation.value, "source": number.source}


def summary_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """Count the verdicts, as one sentence."""
    rows = list(rows)
    counts = Counter(row["verdict"] for row in rows if row["relation"] is not None)
    beside = sum(row["verdict"] == Verdict.NOT_PUBLISHED for row in rows)
    hits, misses, lacking = (counts[one] for one in (Verdict.HIT, Verdict.MISS, Verdict.NOT_MEASURED))
    return (
        f"beside published numbers: {hits} hit, {misses} missed, {lacking} not measured; "
        f"{beside} measured of which nothing is published."
    )
