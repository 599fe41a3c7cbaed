"""Tabulate a comparison of layers, with layers down and across, and its notes."""

from collections.abc import Iterator, Sequence

from embstore.base.chart import with_groups
from embstore.base.table import Pivot, Table, show, table
from embstore.query.provenance import SPACE_COLUMNS, Row, parameter_notes, request_columns, whole_samples
from embstore.query.request import MetricRequest
from embstore.query.revision_columns import REVISION_TYPES, columns_with_values

SECOND_COLUMNS = ("space_2", "revision_2", "step_2", "layer_2", "layer_name_2")


def tabulate(request: MetricRequest, rows: Sequence[Row], notes: Sequence[str]) -> Table:
    """Return the rows as a table that is printed with layers down and layers across, with notes."""
    metric, by = request.metric, request.selection.by
    names = [column.name for column in metric.columns]
    shown = next(column.name for column in metric.columns if column.shown)
    notes = [*notes, *_reasons(rows, shown), *_notes_on_pairs(request, rows, notes), *parameter_notes(request)]
    down = ("layer_name",) if len({row["space"] for row in rows}) == 1 else ("space", "layer_name")
    heads = tuple("layer" if column == "layer_name" else column for column in down)
    return table(
        rows,
        columns=[
            *columns_with_values([*SPACE_COLUMNS, *SECOND_COLUMNS], rows),
            *(() if by is None else ("group",)),
            "n",
            *names,
            "reason",
            *request_columns(request),
        ],
        notes=list(dict.fromkeys(notes)),
        types={**REVISION_TYPES, **metric.types, "group": "string"},
        chart=metric.chart if by is None else with_groups(metric.chart, is_ordered=by.bins is not None),
        pivot=Pivot(
            down=down if by is None else ("group", *down),
            across=("layer_name_2",),
            values=(shown,),
            heads=heads if by is None else (by.column, *heads),
        ),
    )


def _reasons(rows: Sequence[Row], shown: str) -> Iterator[str]:
    """Yield the reason of each row whose printed value is missing, with its space unless the reason names it."""
    for row in rows:
        if row["reason"] is None or row[shown] is not None:
            continue
        names_layer = row["reason"].startswith((f"{row['space']}, layer ", f"{row['space_2']}, layer "))
        subject = row["space"] if row.get("group") is None else f"{row['space']}, {row['group']}"
        yield f"{row['reason']}." if names_layer else f"{subject}: {row['reason']}."


def _notes_on_pairs(request: MetricRequest, rows: Sequence[Row], notes: Sequence[str]) -> Iterator[str]:
    """Yield notes on what all pairs of layers of two spaces share: n, and columns that are not printed."""
    described = request.selection.columns()
    drawn = f", a random sample (seed {request.selection.seed})" if "sample" in described else ""
    after = f", after {described['transform']}" if "transform" in described else ""
    whole = whole_samples(request.selection, {row["space"] for row in rows}, notes)
    for pair in dict.fromkeys((row["space"], row["space_2"]) for row in rows):
        pair_rows = [row for row in rows if (row["space"], row["space_2"]) == pair]
        n = sorted({row["n"] for row in pair_rows})
        name = pair[0] if pair[0] == pair[1] else f"{pair[0]} (down) and {pair[1]} (across)"
        sampled = "" if pair[0] in whole else drawn
        yield f"{name}: n = {'–'.join(map(str, dict.fromkeys((n[0], n[-1]))))}{sampled}{after}"
        for column in request.metric.columns:
            values = {row[column.name] for row in pair_rows}
            if column.name == "n_tied" and len(counts := sorted(values - {None})) > 1:
                yield f"{name}: n_tied = {counts[0]}–{counts[-1]} ({column.help})"
            elif not column.shown and len(values) == 1 and (value := values.pop()):
                yield f"{name}: {column.name} = {show(value)} ({column.help})"
