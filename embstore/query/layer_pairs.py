"""Layers against layers, of one space or of two: which, on which items, and the metric of each pair."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from embstore.errors import QueryError, UnknownNameError
from embstore.metrics import LayerData, Metric, NotComputable, rows_of
from embstore.query.cache import Answers
from embstore.query.layer_pairs_table import SECOND_COLUMNS, Row, tabulate
from embstore.query.question import NOTHING, Question, describe, stored_ids
from embstore.space import Layer
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.answers import Answer
from embstore.storage.files.card import Card
from embstore.storage.selection import check_layer_numbers, select_layers
from embstore.table import Table


@dataclass(frozen=True, eq=False)
class _Side:
    """A space, and those of its layers that are compared."""

    catalog: Catalog
    card: Card
    layers: tuple[Layer, ...]

    @property
    def name(self) -> str:
        return self.card.space

    @cached_property
    def ids(self) -> Ids:
        """The ids of all its items, ascending."""
        return stored_ids(self.catalog, self.card.space)


_Pair = tuple[_Side, _Side]


def compare(question: Question, cards: Sequence[Card], layers: str, answers: Answers) -> Table:
    """Compute a metric of two layers for each pair of layers.

    Args:
        question: its parameter ``against`` names a space to compare each of ``cards`` with, instead of the layers of
            each with each other.
        cards: the spaces.
        layers: which layers of all these spaces, as :meth:`Layers.select` reads them.
        answers: those that are stored: one for each space or pair of spaces.

    Returns:
        One row for each pair of layers, the second of them in the columns ``space_2``, ``layer_2``, ``layer_name_2``.

    Raises:
        UnknownNameError: there is no such space or layer.
        QueryError: two spaces have no item in common.
    """
    pairs = _pairs(question, cards, layers)
    rows: list[Row] = []
    apart = []
    for side, other in pairs:
        answer = answers.find_matrix(side.card, side.layers, other.card, other.layers)
        if answer is None and _are_apart(side, other):
            apart.append(_apart(question, side.card, other.card))
            continue
        if answer is None:
            answer = _answer(question, side, other)
            answers.keep_matrix(side.card, side.layers, other.card, other.layers, answer)
        question.notes += [*answer.notes, *question.draws(answer.rows)]
        question.notes += [note for one in (side, other) for note in question.lost_shards(one.card)]
        rows += _described(question, side, other, answer)
    if apart and len(apart) == len(pairs):
        raise QueryError(" ".join([*apart, *question.notes]))
    question.notes += apart
    return tabulate(question, rows)


def stored_pairs(
    question: Question, cards: Sequence[Card], layers: str, answers: Answers
) -> list[tuple[str, str, tuple[Layer, ...], bool]]:
    """Return the pairs of spaces that :func:`compare` would be asked of, and whether the answer for each is stored."""
    return [
        (side.name, other.name, side.layers,
         answers.find_matrix(side.card, side.layers, other.card, other.layers) is not None)
        for side, other in _pairs(question, cards, layers)
    ]  # fmt: skip


def _pairs(question: Question, cards: Sequence[Card], layers: str) -> list[_Pair]:
    """Return the spaces to compare: each with itself, or with that of ``against``."""
    against = _against(question)
    if against is not None:
        cards = [card for card in cards if card.space != against.space] or [against]
    other = [] if against is None or against in cards else [against]
    chosen, lacking = select_layers([*cards, *other], layers)
    question.notes += lacking
    sides = [_Side(question.catalog, card, chosen[card.space]) for card in cards if card.space in chosen]
    if against is None:
        return [(side, side) for side in sides]
    if not sides or against.space not in chosen:
        raise QueryError(f"there is nothing to compare: {' '.join(lacking)}")
    second = _Side(question.catalog, against, chosen[against.space])
    return [(side, second) for side in sides]


def _against(question: Question) -> Card | None:
    name = question.values.get("against")
    if name is None:
        return None
    cards = question.catalog.cards
    if name not in cards:
        raise UnknownNameError("space", name, cards)
    check_layer_numbers([cards[name]])
    return cards[name]


def _are_apart(side: _Side, other: _Side) -> bool:
    if side.name == other.name:
        return False
    return side.card.unit is not other.card.unit or not len(_common_ids(side, other))


def _apart(question: Question, card: Card, other: Card) -> str:
    said = f"{card.space} (of {card.unit}s) and {other.space} (of {other.unit}s) have no item in common. "
    if card.unit is other.unit:
        if lost := [*question.lost_shards(card), *question.lost_shards(other)]:
            return said + "; ".join(lost)
        return f"{said}Embed the same texts in both with: embstore build"
    return f"{said}Items of two units are never the same: choose spaces of one unit, with --space and --against."


def _common_ids(side: _Side, other: _Side) -> Ids:
    return side.ids if side.name == other.name else np.intersect1d(side.ids, other.ids, assume_unique=True)


def answer_of_layers(
    question: Question, card: Card, layers: tuple[Layer, ...], other: Card, others: tuple[Layer, ...]
) -> Answer:
    """Compute the answer for layers of a space compared with layers of the same or another one."""
    return _answer(question, _Side(question.catalog, card, layers), _Side(question.catalog, other, others))


def _answer(question: Question, side: _Side, other: _Side) -> Answer:
    """Return the answer for the layers of one space, with each other or with those of another space."""
    notes = []
    n_common = len(_common_ids(side, other))
    if n_common < max(len(side.ids), len(other.ids)):
        held = f"{len(side.ids)} and {len(other.ids)}"
        notes.append(f"{side.name} and {other.name} have {n_common} items in common, of {held}.")
    ids = _selected(question, side, other)
    notes += question.small_sample(side.card, ids)
    down = _layers(question, side, ids, notes)
    across = None if other.name == side.name else _layers(question, other, ids, notes)
    return Answer(tuple(_matrix(question, down, across, ids)), tuple(notes))


def _selected(question: Question, side: _Side, other: _Side) -> Ids:
    """Return the ids of the common items that are asked for, ascending."""
    rows, ids = question.rows, _common_ids(side, other)
    if rows.where is not None:
        ids = np.intersect1d(ids, question.catalog.select(rows.where, rows.limits), assume_unique=True)
    return rows.draw(ids)


def _layers(question: Question, side: _Side, ids: Ids, notes: list[str]) -> list[LayerData | NotComputable]:
    found = list(question.layers_among(side.card, side.layers, None if len(ids) == len(side.ids) else ids))
    notes += [note for _, said in found for note in said]
    return [data for data, _ in found]


def _described(question: Question, side: _Side, other: _Side, answer: Answer) -> Iterator[Row]:
    """Yield the rows with what they are of: each layer of one space with each of the other."""
    for (layer, layer_2), row in zip(product(side.layers, other.layers), answer.rows, strict=True):
        second = dict(zip(SECOND_COLUMNS, (other.name, layer_2.id, layer_2.name), strict=True))
        row = question.explained(row, side.card, other.card)
        row = row | {"reason": _placed(row["reason"], {"layer": (side, layer), "layer_2": (other, layer_2)})}
        yield describe(side.card, layer) | second | row | question.told(row)


def _placed(reason: str | None, sides: Mapping[str, tuple[_Side, Layer]]) -> str | None:
    """Return a reason that is about one of two layers (``layer: …``) with the name of this layer before it."""
    about, _, why = (reason or "").partition(": ")
    if about not in sides:
        return reason
    side, layer = sides[about]
    return f"{side.name}, layer {layer.name}: {why}"


def _matrix(
    question: Question,
    down: Sequence[LayerData | NotComputable],
    across: Sequence[LayerData | NotComputable] | None,
    ids: Ids,
) -> Iterator[Row]:
    """Yield the metric's rows for each layer down and each across; a layer that cannot be transformed has nulls."""
    metric, failed = question.metric, None if len(ids) else NOTHING
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
