"""Turn results of several revisions into curves over training steps."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from embstore.base.chart import Chart
from embstore.base.errors import UsageError
from embstore.base.escape import printable
from embstore.base.space import without_revision
from embstore.base.table import Row, Table

RUN, CURVE, STEP_NAME = "run", "curve", "step_name"


def over_steps(table: Table) -> tuple[Table, list[str]]:
    """Return a table whose chart has training steps along the x axis, and notes.

    There is a curve for each layer, and for each item of a result about items; several runs have a panel each. Of
    layers against layers those of the same name are drawn.

    Args:
        table: Results with a chart.

    Raises:
        UsageError: No space is of a revision that is named by a step, or the results are arrays.
    """
    chart = table.chart
    if chart is None or chart.kind == "bars":
        raise UsageError("⦃x=step⦄ draws a value over training steps, and these results are arrays: leave it out.")
    if not any(row.get("step") is not None for row in table.rows):
        raise UsageError(
            "⦃x=step⦄ needs spaces of revisions that are named by their step (step1000, checkpoint-1000), and these "
            "results have none. Build them with: embstore build SOURCE --model NAME --revision step0,step1000"
        )
    rows = [row for row in table.rows if row["step"] is not None]
    left_out = list(dict.fromkeys(row["space"] for row in table.rows if row["step"] is None))
    notes = [f"{printable(space)} is not drawn: it is of no revision named by its step." for space in left_out]
    if chart.kind == "heat map":
        rows = _same_layers(rows)
    labels, varying = _labels(rows, chart)
    several_runs = len({label[RUN] for label in labels}) > 1
    facets = (*((RUN,) if several_runs and varying else ()), *(column for column in chart.facets if column != "space"))
    drawn = [
        {**row, **label, CURVE: " · ".join(str(label[name]) for name in varying) or label[RUN]}
        for row, label in zip(rows, labels, strict=True)
    ]
    columns = tuple(dict.fromkeys((*table.columns, CURVE, *labels[0])))
    return replace(
        table, columns=columns, rows=tuple(drawn),
        chart=chart._replace(
            kind="curves", facets=facets, items=None, best=None, series=CURVE, layer="step", layer_name=STEP_NAME,
            x_title="training step", is_ordered=varying == ["layer"],
            settings=("layer", "against", *chart.settings),
        ),
    ), notes  # fmt: skip


def _same_layers(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that compare layers of the same name in two spaces.

    Raises:
        UsageError: Each space is compared with itself alone.
    """
    found = [row for row in rows if row["space"] != row["space_2"] and row["layer_name"] == row["layer_name_2"]]
    if not found:
        raise UsageError(
            "⦃x=step⦄ draws how near each layer is to the same one of another space: name that with ⦃against=SPACE⦄."
        )
    return found


def _labels(rows: Sequence[Row], chart: Chart) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what the curve and the caption say about each row, and the columns in which the curves of a run differ."""
    items = [column for column in (chart.items, chart.series) if column is not None and column != "space"]
    labels = []
    for row in rows:
        run, other = without_revision(row["space"], row["revision"]), row.get("space_2", row["space"])
        labels.append(
            {
                RUN: run, "space": run, "layer": _layer(row), STEP_NAME: str(row["step"]),
                "against": None if other == row["space"] else other, **{column: row[column] for column in items},
            }
        )  # fmt: skip
    varying = [column for column in (*items, "layer") if len({label[column] for label in labels}) > 1]
    if "layer" in varying:
        labels = [label | {"layer": f"layer {label['layer']}"} for label in labels]
    return labels, varying


def _layer(row: Mapping[str, Any]) -> str:
    """Return the layer of a row, or its two layers where they have different names."""
    second = row.get("layer_name_2", row["layer_name"])
    return str(row["layer_name"]) + ("" if second == row["layer_name"] else f"–{second}")
