"""Name and tabulate the drift of items, with the texts of the neighbours that an item loses and gains."""

from collections.abc import Sequence
from typing import Any

from embstore.base.chart import DRIFT
from embstore.base.table import Pivot, ShownColumn, Table, table
from embstore.drift.measure import Measured
from embstore.drift.request import DriftRequest
from embstore.drift.sides import Sides
from embstore.query.missing import quoted_list
from embstore.query.provenance import REVISION_COLUMNS, REVISION_TYPES, columns_with_values, describe, whole_samples

Row = dict[str, Any]

COLUMNS = (
    "space", "model", *REVISION_COLUMNS, "layer", "layer_name", "space_2", "revision_2", "step_2", "layer_2",
    "layer_name_2", "change", "rank", "item_id", "text", "context", "n", "k", "overlap", "turnover", "mean_overlap",
    "mean_turnover", "lost", "gained", "reason",
)  # fmt: skip
_TYPES = {
    **REVISION_TYPES,
    "change": "string", "rank": "integer", "context": "string", "overlap": "number", "turnover": "number",
    "mean_overlap": "number", "mean_turnover": "number", "lost": "array of strings", "gained": "array of strings",
    "reason": "string",
}  # fmt: skip


def rows_of(sides: Sides, request: DriftRequest, measured: Measured) -> list[Row]:
    """Return the rows of the drift of items, with the names of the layers and the texts of the items."""
    wanted = {item for row in measured.values for item in (row["item_id"], *row["lost"], *row["gained"])}
    items = sides.catalog.items(wanted) if wanted else {}
    rows = []
    for row in measured.values:
        (side, layer), (side_2, layer_2) = sides.pairs[row["pair"]]
        item = items[row["item_id"]]
        names = describe(sides.cards[side], layer)
        rows.append(
            row | {name: names[name] for name in ("space", "model", *REVISION_COLUMNS, "layer", "layer_name")} | {
                "revision_2": sides.cards[side_2].revision_name, "step_2": sides.cards[side_2].step,
                "space_2": sides.cards[side_2].space, "layer_2": layer_2.id, "layer_name_2": layer_2.name,
                "text": item.text, "context": None if item.context is None else item.shown, "k": request.k,
                "lost": [items[each].shown for each in row["lost"]],
                "gained": [items[each].shown for each in row["gained"]],
            }
        )  # fmt: skip
    return rows


def tabulate(rows: Sequence[Row], request: DriftRequest, notes: Sequence[str]) -> Table:
    """Return the rows as a table: of words printed pair by pair, of the most and least changed with their means."""
    columns = request.selection.columns() | ({} if request.selection.words is None else {"words_missing": None})
    all_notes = [*notes, *_counts(rows, request, notes), *_reasons(rows)]
    return table(
        [columns | row for row in rows], columns=[*columns_with_values(COLUMNS, rows), *columns],
        notes=list(dict.fromkeys(all_notes)), types=_TYPES,
        pivot=_one_line_an_item(rows) if request.n_most else None, shown=_one_line_a_pair(rows),
        chart=DRIFT if request.pairs == "adjacent" else None,
    )  # fmt: skip


def _one_line_an_item(rows: Sequence[Row]) -> Pivot:
    """Print the means of each item that changes most or least."""
    down = (*_space_if_several(rows), "change", "rank", _name_column(rows))
    return Pivot(down, (), ("mean_overlap", "mean_turnover"), heads=(*down[:-1], "item"))


def _one_line_a_pair(rows: Sequence[Row]) -> tuple[ShownColumn, ...]:
    """Print each item and pair of layers, with the neighbours that differ."""
    names = (*_space_if_several(rows), "layer_name", "layer_name_2", "overlap", "turnover", "lost", "gained")
    heads = {"layer_name": "layer", "layer_name_2": "layer_2"}
    return (ShownColumn(_name_column(rows), "item"), *(ShownColumn(name, heads.get(name, "")) for name in names))


def _space_if_several(rows: Sequence[Row]) -> tuple[str, ...]:
    return ("space",) if len({row["space"] for row in rows}) > 1 else ()


def _name_column(rows: Sequence[Row]) -> str:
    return "context" if any(row["context"] for row in rows) else "text"


def _counts(rows: Sequence[Row], request: DriftRequest, notes: Sequence[str]) -> list[str]:
    drawn = "" if request.selection.sample is None else f", a random sample (seed {request.selection.seed})"
    whole = whole_samples(request.selection, {row["space"] for row in rows}, notes)
    found = dict.fromkeys((row["space"], row["space_2"], row["n"]) for row in rows)
    counts = [
        f"{space if space == other else f'{space} and {other}'}: n = {n}{'' if space in whole else drawn}; lists of "
        f"{request.k} drawn at random overlap by {request.k / (n - 1):.2g}"
        for space, other, n in found
    ]
    if request.n_most and rows:
        counts.append(
            "ordered by the mean overlap over the pairs of layers, items that are equal by their mean turnover, then "
            "by their id"
        )
    return counts


def _reasons(rows: Sequence[Row]) -> list[str]:
    """Return a note on each pair of layers in which items have no value, naming the first of them."""
    without: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        if row["reason"]:
            pair = (row["space"], row["layer_name"], row["space_2"], row["layer_name_2"], row["reason"])
            without.setdefault(pair, []).append(row[_name_column([row])])
    return [
        f"{space} layer {layer} and {space_2} layer {layer_2}, {quoted_list(items)}: {reason}."
        for (space, layer, space_2, layer_2, reason), items in without.items()
    ]
