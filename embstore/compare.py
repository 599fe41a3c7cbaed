"""Layers against layers, of one space or of two."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embstore.errors import QueryError, UnknownNameError
from embstore.metrics import LayerData, Metric, NotComputable, rows_of
from embstore.question import SPACE_COLUMNS, Question, describe, stored_ids
from embstore.selection import select_layers
from embstore.space import Layer
from embstore.storage.card import Card
from embstore.storage.catalog import Ids
from embstore.table import Pivot, Table, show, table

SECOND_COLUMNS = ("space_2", "layer_2", "layer_name_2")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """A space, those of its layers that are compared, and the ids of all its items, ascending."""

    card: Card
    layers: tuple[Layer, ...]
    ids: Ids

    @property
    def name(self) -> str:
        return self.card.space


def compare(question: Question, cards: Sequence[Card], layers: str) -> Table:
    """Compute a metric of two layers for each pair of layers.

    Args:
        question: its parameter ``against`` names a space to compare each of ``cards`` with, instead of the layers of
            each with each other.
        cards: the spaces.
        layers: which layers of all these spaces, as :meth:`Layers.select` reads them.

    Returns:
        One row for each pair of layers, the second of them in the columns ``space_2``, ``layer_2``, ``layer_name_2``.

    Raises:
        UnknownNameError: there is no such space or layer.
        QueryError: two spaces have no item in common.
    """
    against = _against(question)
    if against is not None:
        cards = [card for card in cards if card.space != against.space] or [against]
    other = [] if against is None or against in cards else [against]
    chosen, lacking = select_layers([*cards, *other], layers)
    question.notes += lacking

    def side(card: Card) -> _Side:
        return _Side(card, chosen[card.space], stored_ids(question.catalog, card.space))

    sides = [side(card) for card in cards if card.space in chosen]
    if against is None:
        return _tabulate(question, [row for one in sides for row in _rows(question, one, one)])
    if not sides or against.space not in chosen:
        raise QueryError(f"there is nothing to compare: {' '.join(lacking)}")
    return _tabulate(question, list(_rows_against(question, sides, side(against))))


def _against(question: Question) -> Card | None:
    name = question.values.get("against")
    if name is None:
        return None
    cards = question.catalog.cards
    if name not in cards:
        raise UnknownNameError("space", name, cards)
    return cards[name]


def _rows_against(question: Question, sides: Sequence[_Side], other: _Side) -> Iterator[Row]:
    """Yield the rows of each space with the other one; one that shares no item with it is left out, with a note."""
    apart = []
    for side in sides:
        common = _common_ids(side, other)
        if not len(common):
            apart.append(side)
            continue
        if len(common) < max(len(side.ids), len(other.ids)):
            held = f"{len(side.ids)} and {len(other.ids)}"
            question.notes.append(f"{side.name} and {other.name} have {len(common)} items in common, of {held}.")
        yield from _rows(question, side, other)
    said = [_apart(side.card, other.card) for side in apart]
    if len(apart) == len(sides):
        raise QueryError(" ".join([*said, *question.notes]))
    question.notes += said


def _apart(card: Card, other: Card) -> str:
    said = f"{card.space} (of {card.unit}s) and {other.space} (of {other.unit}s) have no item in common. "
    if card.unit is other.unit:
        return f"{said}Embed the same texts in both with: embstore build"
    return f"{said}Items of two units are never the same: choose spaces of one unit, with --space and --against."


def _common_ids(side: _Side, other: _Side) -> Ids:
    return side.ids if side.name == other.name else np.intersect1d(side.ids, other.ids, assume_unique=True)


def _rows(question: Question, side: _Side, other: _Side) -> list[Row]:
    """Return the rows of the layers of one space, with each other or with those of another space."""
    ids = _selected(question, side, other)
    down = _layers(question, side, ids)
    across = None if other.name == side.name else _layers(question, other, ids)
    matrix = _matrix(question, down, across, ids)
    rows = []
    for layer in side.layers:
        for layer_2 in other.layers:
            second = dict(zip(SECOND_COLUMNS, (other.name, layer_2.id, layer_2.name), strict=True))
            rows.append(describe(side.card, layer) | second | next(matrix) | question.rows.described())
    return rows


def _selected(question: Question, side: _Side, other: _Side) -> Ids:
    """Return the ids of the common items that are asked for, ascending."""
    rows, ids = question.rows, _common_ids(side, other)
    if rows.where is not None:
        ids = np.intersect1d(ids, question.catalog.select(rows.where), assume_unique=True)
    if rows.sample is not None and len(ids) < rows.sample:
        question.notes.append(f"{side.name}: the sample of {rows.sample} is all {len(ids)} items.")
    return rows.draw(ids)


def _layers(question: Question, side: _Side, ids: Ids) -> list[LayerData | NotComputable]:
    return question.layers_among(side.card, side.layers, None if len(ids) == len(side.ids) else ids)


def _matrix(
    question: Question,
    down: Sequence[LayerData | NotComputable],
    across: Sequence[LayerData | NotComputable] | None,
    ids: Ids,
) -> Iterator[Row]:
    """Yield the metric's rows for each layer down and each across; a layer that cannot be transformed has nulls."""
    metric, failed = question.metric, None if len(ids) else "no item is selected"
    left, right = _computable(down), None if across is None else _computable(across)
    rows: Iterator[Row] = iter(())
    if failed is None and left and right != []:
        try:
            found = rows_of(metric.function(left, right, ids, **question.settings))
        except NotComputable as error:
            failed = str(error)
        else:
            rows = iter(_checked(metric, found, len(left) * len(left if right is None else right)))
    for one in down:
        for other in down if across is None else across:
            if failed:
                yield metric.empty(len(ids), failed)
            elif isinstance(one, NotComputable):
                yield metric.empty(len(ids), f"layer: {one}")
            elif isinstance(other, NotComputable):
                yield metric.empty(len(ids), f"layer_2: {other}")
            else:
                yield next(rows)


def _checked(metric: Metric, rows: list[Row], n_pairs: int) -> list[Row]:
    """Return the rows if there is one for each pair of layers: a user's own metric may give others."""
    if len(rows) != n_pairs:
        raise QueryError(f"{metric.name} gave {len(rows)} rows for {n_pairs} pairs of layers: see Metric.function.")
    return rows


def _computable(layers: Sequence[LayerData | NotComputable]) -> list[LayerData]:
    return [layer for layer in layers if not isinstance(layer, NotComputable)]


def _tabulate(question: Question, rows: Sequence[Row]) -> Table:
    """Return the rows with layers down and layers across for the eye."""
    metric, described = question.metric, question.rows.described()
    names = [column.name for column in metric.columns]
    shown = next(column.name for column in metric.columns if column.shown)
    notes = [*question.notes, *_reasons(rows, shown), *_said_of_all(question, rows)]
    one_space = len({row["space"] for row in rows}) == 1
    return table(
        rows,
        columns=[*SPACE_COLUMNS, *SECOND_COLUMNS, "n", *names, "reason", *described],
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
        side, _, why = row["reason"].partition(": ")
        where = {"layer": ("space", "layer_name"), "layer_2": ("space_2", "layer_name_2")}.get(side)
        yield f"{row[where[0]]}, layer {row[where[1]]}: {why}." if where else f"{row['space']}: {row['reason']}."


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
