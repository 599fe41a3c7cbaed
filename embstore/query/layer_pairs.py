"""Layers against layers, of one space or of two: which, on which items, and the metric of each pair."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from embstore.errors import QueryError, UnknownNameError
from embstore.metrics import LayerData, Metric, NotComputable, rows_of
from embstore.metrics.declaration.explain import Looked
from embstore.progress import task
from embstore.query.cache import Answers
from embstore.query.compute import selected_layers
from embstore.query.layer_pairs_table import SECOND_COLUMNS, tabulate
from embstore.query.provenance import (
    NOTHING,
    Row,
    describe,
    draw_notes,
    missing_shard_notes,
    provenance,
    sample_notes,
    with_missing_shards,
)
from embstore.query.request import MetricRequest, stored_ids
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


def compare(
    catalog: Catalog,
    request: MetricRequest,
    cards: Sequence[Card],
    layers: str,
    answers: Answers,
    notes: Sequence[str] = (),
) -> Table:
    """Compute a metric of two layers for each pair of layers.

    Args:
        catalog: The store.
        request: Its parameter ``against`` names a space to compare each of ``cards`` with, instead of the layers of
            each with each other.
        cards: Cards of the spaces.
        layers: Layers of all these spaces, as :meth:`Layers.select` reads them.
        answers: Stored answers: one for each space or pair of spaces.
        notes: Notes on the choice of the spaces, which come before those of the result.

    Returns:
        One row for each pair of layers, the second of them in the columns ``space_2``, ``layer_2``, ``layer_name_2``.

    Raises:
        UnknownNameError: There is no such space or layer.
        QueryError: Two spaces have no item in common.
    """
    pairs, missing = _pairs(catalog, request, cards, layers)
    rows: list[Row] = []
    apart = []
    notes = [*notes, *missing]
    for side, other in pairs:
        answer = answers.find_matrix(side.card, side.layers, other.card, other.layers)
        if answer is None and _are_apart(side, other):
            apart.append(_apart(catalog, side.card, other.card))
            continue
        if answer is None:
            n_read = len(side.layers) + (0 if other.name == side.name else len(other.layers))
            with task("compute", f"{request.metric.name} of {side.name}", n_read):
                answer = _answer(request, side, other)
            answers.keep_matrix(side.card, side.layers, other.card, other.layers, answer)
        notes += [*answer.notes, *draw_notes(request, answer.rows)]
        notes += [note for compared in (side, other) for note in missing_shard_notes(catalog, compared.card)]
        rows += _described(request, side, other, answer)
    if apart and len(apart) == len(pairs):
        raise QueryError(" ".join([*apart, *notes]))
    return tabulate(request, rows, [*notes, *apart])


def stored_pairs(
    catalog: Catalog, request: MetricRequest, cards: Sequence[Card], layers: str, answers: Answers
) -> list[Looked]:
    """Return the pairs of spaces that :func:`compare` would compare, and whether the answer for each is stored."""
    pairs, _ = _pairs(catalog, request, cards, layers)
    found = []
    for side, other in pairs:
        is_stored = answers.find_matrix(side.card, side.layers, other.card, other.layers) is not None
        names = tuple(layer.name for layer in side.layers)
        found.append(Looked(side.name, other.name, names, is_stored, "" if is_stored else _route(request, side, other)))
    return found


def _route(request: MetricRequest, side: _Side, other: _Side) -> str:
    """Return by which of several ways the answer would be computed; empty where there is one, or nothing to compute."""
    if request.metric.route is None or _are_apart(side, other):
        return ""
    n_dropped = sum(len(step.numbers) for step in request.selection.steps if step.kind == "drop")
    dims, dims_2 = ([each.card.dim - n_dropped] * len(each.layers) for each in (side, other))
    n = len(_selected(request, side, other))
    return request.metric.route(n, dims, None if side.name == other.name else dims_2, **request.arguments)


def _pairs(
    catalog: Catalog, request: MetricRequest, cards: Sequence[Card], layers: str
) -> tuple[list[_Pair], list[str]]:
    """Return the spaces to compare, each with itself or with that of ``against``, and notes on missing layers."""
    against = _against(catalog, request)
    if against is not None:
        cards = [card for card in cards if card.space != against.space] or [against]
    other = [] if against is None or against in cards else [against]
    chosen, missing = select_layers([*cards, *other], layers)
    sides = [_Side(catalog, card, chosen[card.space]) for card in cards if card.space in chosen]
    if against is None:
        return [(side, side) for side in sides], missing
    if not sides or against.space not in chosen:
        raise QueryError(f"there is nothing to compare: {' '.join(missing)}")
    second = _Side(catalog, against, chosen[against.space])
    return [(side, second) for side in sides], missing


def _against(catalog: Catalog, request: MetricRequest) -> Card | None:
    name = request.parameters.get("against")
    if name is None:
        return None
    if name not in catalog.cards:
        raise UnknownNameError("space", name, catalog.cards)
    check_layer_numbers([catalog.cards[name]])
    return catalog.cards[name]


def _are_apart(side: _Side, other: _Side) -> bool:
    if side.name == other.name:
        return False
    return side.card.unit is not other.card.unit or not len(_common_ids(side, other))


def _apart(catalog: Catalog, card: Card, other: Card) -> str:
    message = f"{card.space} (of {card.unit}s) and {other.space} (of {other.unit}s) have no item in common. "
    if card.unit is other.unit:
        if lost := [*missing_shard_notes(catalog, card), *missing_shard_notes(catalog, other)]:
            return message + "; ".join(lost)
        return f"{message}Embed the same texts in both with: embstore build"
    return f"{message}Items of two units are never the same: choose spaces of one unit, with --space and --against."


def _common_ids(side: _Side, other: _Side) -> Ids:
    return side.ids if side.name == other.name else np.intersect1d(side.ids, other.ids, assume_unique=True)


def answer_of_layers(
    catalog: Catalog,
    request: MetricRequest,
    card: Card,
    layers: tuple[Layer, ...],
    other: Card,
    others: tuple[Layer, ...],
) -> Answer:
    """Compute the answer for layers of a space compared with layers of the same or another one."""
    return _answer(request, _Side(catalog, card, layers), _Side(catalog, other, others))


def _answer(request: MetricRequest, side: _Side, other: _Side) -> Answer:
    """Return the answer for the layers of one space, with each other or with those of another space."""
    notes = []
    n_common = len(_common_ids(side, other))
    if n_common < max(len(side.ids), len(other.ids)):
        sizes = f"{len(side.ids)} and {len(other.ids)}"
        notes.append(f"{side.name} and {other.name} have {n_common} items in common, of {sizes}.")
    ids = _selected(request, side, other)
    notes += sample_notes(request.selection, side.card, ids)
    down, down_notes = _layers(request, side, ids)
    across, across_notes = (None, []) if other.name == side.name else _layers(request, other, ids)
    return Answer(tuple(_matrix(request, down, across, ids)), (*notes, *down_notes, *across_notes))


def _selected(request: MetricRequest, side: _Side, other: _Side) -> Ids:
    """Return the ids of the selected items that both spaces have, ascending."""
    selection, ids = request.selection, _common_ids(side, other)
    if selection.where is not None:
        ids = np.intersect1d(ids, side.catalog.select(selection.where, selection.limits), assume_unique=True)
    return selection.draw(ids)


def _layers(request: MetricRequest, side: _Side, ids: Ids) -> tuple[list[LayerData | NotComputable], list[str]]:
    """Return the vectors of the layers of one side, and notes on them."""
    only = None if len(ids) == len(side.ids) else ids
    found = list(selected_layers(side.catalog, request.selection, side.card, side.layers, only))
    return [data for data, _ in found], [note for _, notes in found for note in notes]


def _described(request: MetricRequest, side: _Side, other: _Side, answer: Answer) -> Iterator[Row]:
    """Yield the rows with what they are of: each layer of one space with each of the other."""
    for (layer, layer_2), row in zip(product(side.layers, other.layers), answer.rows, strict=True):
        second = dict(zip(SECOND_COLUMNS, (other.name, layer_2.id, layer_2.name), strict=True))
        row = with_missing_shards(side.catalog, row, side.card, other.card)
        row = row | {"reason": _placed(row["reason"], {"layer": (side, layer), "layer_2": (other, layer_2)})}
        yield describe(side.card, layer) | second | row | provenance(request, row)


def _placed(reason: str | None, sides: Mapping[str, tuple[_Side, Layer]]) -> str | None:
    """Return a reason that is about one of two layers (``layer: …``) with the name of this layer before it."""
    about, _, why = (reason or "").partition(": ")
    if about not in sides:
        return reason
    side, layer = sides[about]
    return f"{side.name}, layer {layer.name}: {why}"


def _matrix(
    request: MetricRequest,
    down: Sequence[LayerData | NotComputable],
    across: Sequence[LayerData | NotComputable] | None,
    ids: Ids,
) -> Iterator[Row]:
    """Yield the metric's rows for each layer down and each across; a layer that cannot be transformed has nulls."""
    metric, failed = request.metric, None if len(ids) else NOTHING
    left, right = _computable(down), None if across is None else _computable(across)
    rows: Iterator[Row] = iter(())
    if failed is None and left and right != []:
        try:
            found = rows_of(metric.function(left, right, ids, **request.arguments))
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
