"""The result of layers against layers: its table, with layers down and across, and what must be said beside it."""

from collections.abc import Iterator, Sequence
from typing import Any

from embstore.query.question import SPACE_COLUMNS, Question
from embstore.table import Pivot, Table, show, table

SECOND_COLUMNS = ("space_2", "layer_2", "layer_name_2")

Row = dict[str, Any]


def tabulate(question: Question, rows: Sequence[Row]) -> Table:
    """Return the rows with layers down and layers across for the eye."""
    metric = question.metric
    names = [column.name for column in metric.columns]
    shown = next(column.name for column in metric.columns if column.shown)
    notes = [*question.notes, *_reasons(rows, shown), *_said_of_all(question, rows), *question.changes]
    one_space = len({row["space"] for row in rows}) == 1
    return table(
        rows,
        columns=[*SPACE_COLUMNS, *SECOND_COLUMNS, "n", *names, "reason", *question.said],
        notes=list(dict.fromkeys(notes)),
        types=metric.types,
        pivot=Pivot(
            down=("layer_name",) if one_space else ("space", "layer_name"),
            across=("layer_name_2",),
            values=(shown,),
            heads=("layer",) if one_space else ("space", "layer"),
        ),
    )


def _reasons(rows: Sequence[Row], shown: str) -> Iterator[str]:
    for row in rows:
        if row["reason"] is None or row[shown] is not None:
            continue
        is_placed = row["reason"].startswith((f"{row['space']}, layer ", f"{row['space_2']}, layer "))
        yield f"{row['reason']}." if is_placed else f"{row['space']}: {row['reason']}."


def _said_of_all(question: Question, rows: Sequence[Row]) -> Iterator[str]:
    """Yield for each space what holds for all its pairs of layers: n, and the columns that the table does not show."""
    described = question.rows.described()
    drawn = f", a random sample (seed {question.rows.seed})" if "sample" in described else ""
    after = f", after {described['transform']}" if "transform" in described else ""
    for pair in dict.fromkeys((row["space"], row["space_2"]) for row in rows):
        of_pair = [row for row in rows if (row["space"], row["space_2"]) == pair]
        n = sorted({row["n"] for row in of_pair})
        name = pair[0] if pair[0] == pair[1] else f"{pair[0]} (down) and {pair[1]} (across)"
        yield f"{name}: n = {'–'.join(map(str, dict.fromkeys((n[0], n[-1]))))}{drawn}{after}"
        for column in question.metric.columns:
            values = {row[column.name] for row in of_pair}
            if not column.shown and len(values) == 1 and (value := values.pop()):
                yield f"{name}: {column.name} = {show(value)} ({column.help})"
