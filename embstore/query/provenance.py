"""Describe how each row of a result was computed, in its columns."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embstore.storage.card import Card

if TYPE_CHECKING:
    from embstore.base.space import Layer
    from embstore.query.request import MetricRequest

Row = dict[str, Any]

REVISION_COLUMNS = ("revision", "step")
REVISION_TYPES = {
    "revision": "string",
    "step": "integer",
    "revision_2": "string",
    "step_2": "integer",
}
SPACE_COLUMNS = (
    "space",
    "model",
    *REVISION_COLUMNS,
    "unit",
    "pooling",
    "template",
    "layer",
    "layer_name",
)

PAIR_COLUMNS = (*SPACE_COLUMNS, "space_2", "revision_2", "step_2", "layer_2", "layer_name_2")


def columns_with_values(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return columns without those about revisions that have no value in any row."""
    return [
        name
        for name in columns
        if name not in REVISION_TYPES or any(row[name] is not None for row in rows)
    ]


def describe(card: Card, layer: "Layer") -> Row:
    """Return the columns that name the space and the layer of a row."""
    return {
        "space": card.space,
        "model": card.model,
        "revision": card.revision_name,
        "step": card.step,
        "unit": card.unit.value,
        "pooling": card.pooling.value,
        "template": card.template.pattern,
        "layer": layer.id,
        "layer_name": layer.name,
    }


def describe_second(card: Card, layer: "Layer") -> Row:
    """Return the columns that name the second space and layer of a row."""
    columns = describe(card, layer)
    names = ("space", *REVISION_COLUMNS, "layer", "layer_name")
    return {f"{name}_2": columns[name] for name in names}


def settings(request: "MetricRequest") -> Row:
    """Return the columns that are equal in all rows: the parameters, the random seed, and the
    selection; ``words_missing``, if there is a list of words, as None.
    """
    values: Row = {}
    for parameter in request.metric.row_parameters:
        is_used = not parameter.is_words and parameter.has_effect(request.parameters)
        value = request.parameters[parameter.name] if is_used else None
        values[parameter.name] = list(value) if isinstance(value, tuple) else value
    is_seeded = request.metric.is_seeded or request.is_estimated
    seed = {"seed": request.selection.seed} if is_seeded else {}
    missing = {} if request.selection.words is None else {"words_missing": None}
    baseline = {"baseline_of": "group"} if request.has_group_baselines else {}
    return values | seed | request.selection.columns() | baseline | missing


def with_settings(request: "MetricRequest", shared: Row, row: Row) -> Row:
    """Return a row with the settings that it was computed with.

    Values that the row itself has are those that had an effect. The seed, and a parameter that
    counts draws, are None if nothing was drawn.
    """
    columns = shared | row
    if "seed" in shared and not is_drawn(request, row):
        columns["seed"] = None if request.selection.sample is None else shared["seed"]
        for parameter in request.metric.row_parameters:
            if parameter.counts_draws:
                columns[parameter.name] = None
    return columns


def is_drawn(request: "MetricRequest", row: Mapping[str, Any]) -> bool:
    """Return whether the metric used its random seed for a row that its function returned."""
    is_seeded = "seed" in request.arguments or request.is_estimated
    return is_seeded and row.get("seed", request.selection.seed) is not None
