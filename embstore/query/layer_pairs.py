"""Compute a metric of two layers for each pair of layers of one space or of two."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, product

import numpy as np

from embstore.base.errors import QueryError, UnknownNameError
from embstore.base.progress import task
from embstore.base.space import Layer
from embstore.base.table import Table
from embstore.metrics import LayerData, Metric, NotComputable, rows_of
from embstore.metrics.declaration.explain import CacheLookup
from embstore.query.cache import Answers
from embstore.query.compute import selected_layers
from embstore.query.group_layers import restricted
from embstore.query.grouping import Groups
from embstore.query.item_filter import missing_words
from embstore.query.layer_pairs_table import SECOND_COLUMNS, tabulate
from embstore.query.provenance import (
    NOTHING_SELECTED,
    Row,
    describe,
    draw_notes,
    missing_shard_notes,
    provenance,
    sample_notes,
    with_missing_shards,
)
from embstore.query.request import MetricRequest, stored_ids
from embstore.query.revision_columns import revision_of
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.answers import Answer
from embstore.storage.files.card import Card
from embstore.storage.selection import select_layers


@dataclass(frozen=True, eq=False)
class _Side:
    """One of the two spaces of a comparison (possibly the same), with its layers that are compared."""

    catalog: Catalog
    card: Card
    layers: tuple[Layer, ...]

    @property
    def name(self) -> str:
        return self.card.space

    @cached_property
    def ids(self) -> Ids:
        """Ids of all items of the space, ascending."""
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
        catalog: Store to read.
        request: Metric, its parameters and its items. The parameter ``against`` names a space to compare each space
            with; without it, the layers of each space are compared with each other.
        cards: Cards of the spaces.
        layers: Selection of layers, in the notation of :meth:`Layers.select`.
        answers: Stored answers, one per space or pair of spaces.
        notes: Notes on the choice of the spaces, put before those of the result.

    Returns:
        One row per pair of layers, with the second layer in ``space_2``, ``layer_2`` and ``layer_name_2``.

    Raises:
        UnknownNameError: A space or layer does not exist.
        QueryError: No pair of spaces has items in common.
    """
    pairs, missing = _pairs(catalog, request, cards, layers)
    rows: list[Row] = []
    disjoint = []
    notes = [*notes, *missing]
    for side, other in pairs:
        answer = answers.find_layer_pairs(side.card, side.layers, other.card, other.layers)
        if answer is None and _are_disjoint(side, other):
            disjoint.append(_disjoint_note(catalog, side.card, other.card))
            continue
        if answer is None:
            n_read = len(side.layers) + (0 if other.name == side.name else len(other.layers))
            with task("compute", f"{request.metric.name} of {side.name}", n_read):
                answer = _answer(request, side, other, answers.groups(side.card, other.card))
            answers.store_layer_pairs(side.card, side.layers, other.card, other.layers, answer)
        notes += [*answer.notes, *draw_notes(request, answer.rows)]
        notes += [note for each in (side, other) for note in missing_shard_notes(catalog, each.card)]
        word_columns, word_notes = missing_words(catalog, request.selection.words, side.card, other.card)
        notes += word_notes
        rows += [row | word_columns for row in _described(request, side, other, answer)]
    if disjoint and len(disjoint) == len(pairs):
        raise QueryError(" ".join([*disjoint, *notes]))
    return tabulate(request, rows, [*notes, *disjoint])


def stored_pairs(
    catalog: Catalog, request: MetricRequest, cards: Sequence[Card], layers: str, answers: Answers
) -> list[CacheLookup]:
    """Return the pairs of spaces that :func:`compare` would compare, each with whether its answer is stored."""
    pairs, _ = _pairs(catalog, request, cards, layers)
    states = []
    for side, other in pairs:
        is_stored = answers.find_layer_pairs(side.card, side.layers, other.card, other.layers) is not None
        names = tuple(layer.name for layer in side.layers)
        states.append(
            CacheLookup(side.name, other.name, names, is_stored, "" if is_stored else _route(request, side, other))
        )
    return states


def _route(request: MetricRequest, side: _Side, other: _Side) -> str:
    """Return which of a metric's algorithms would compute the answer; empty if it has one, or nothing to compute."""
    if request.metric.route is None or _are_disjoint(side, other):
        return ""
    n_dropped = sum(len(step.numbers) for step in request.selection.steps if step.kind == "drop")
    dims, dims_2 = ([each.card.dim - n_dropped] * len(each.layers) for each in (side, other))
    n = len(_selected(request, side, other))
    return request.metric.route(n, dims, None if side.name == other.name else dims_2, **request.arguments)


def _pairs(
    catalog: Catalog, request: MetricRequest, cards: Sequence[Card], layers: str
) -> tuple[list[_Pair], list[str]]:
    """Return the pairs of spaces to compare, each space with itself or with that of ``against``; and notes."""
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
    """Return the card of the space named by the parameter ``against``; None without it."""
    name = request.parameters.get("against")
    if name is None:
        return None
    if name not in catalog.cards:
        raise UnknownNameError("space", name, catalog.cards)
    return catalog.cards[name]


def _are_disjoint(side: _Side, other: _Side) -> bool:
    """Return whether two spaces have no item in common."""
    if side.name == other.name:
        return False
    return side.card.unit is not other.card.unit or not len(_common_ids(side, other))


def _disjoint_note(catalog: Catalog, card: Card, other: Card) -> str:
    """Return a note on two spaces without common items, with the likely cause and the remedy."""
    message = f"{card.space} (of {card.unit}s) and {other.space} (of {other.unit}s) have no item in common. "
    if card.unit is other.unit:
        if missing := [*missing_shard_notes(catalog, card), *missing_shard_notes(catalog, other)]:
            return message + "; ".join(missing)
        return f"{message}Embed the same texts in both with: embstore build"
    return f"{message}Items of two units are never the same: choose spaces of one unit, with ⦃space⦄ and ⦃against⦄."


def _common_ids(side: _Side, other: _Side) -> Ids:
    return side.ids if side.name == other.name else np.intersect1d(side.ids, other.ids, assume_unique=True)


def _answer(request: MetricRequest, side: _Side, other: _Side, groups: Groups | None) -> Answer:
    """Compute the answer for the layers of one space, with each other or with those of another space."""
    notes = []
    n_common = len(_common_ids(side, other))
    if n_common < max(len(side.ids), len(other.ids)):
        sizes = f"{len(side.ids)} and {len(other.ids)}"
        notes.append(f"{side.name} and {other.name} have {n_common} items in common, of {sizes}.")
    ids = _selected(request, side, other) if groups is None else groups.ids
    notes += sample_notes(request.selection, side.card, ids)
    down, down_notes = _layers(request, side, ids)
    across, across_notes = (None, []) if other.name == side.name else _layers(request, other, ids)
    notes += [*down_notes, *across_notes]
    if groups is None:
        return Answer(tuple(_matrix(request, down, across, ids)), tuple(notes))
    rows: list[Row] = []
    for group in groups.members:
        left = _restricted(down, group.ids)
        right = None if across is None else _restricted(across, group.ids)
        rows += [{"group": group.name} | row for row in _matrix(request, left, right, group.ids)]
    return Answer(tuple(rows), (*notes, *groups.notes))


def _restricted(layers: Sequence[LayerData | NotComputable], ids: Ids) -> list[LayerData | NotComputable]:
    """Return the vectors of some items in each layer."""
    return [layer if isinstance(layer, NotComputable) else restricted(layer, ids) for layer in layers]


def _selected(request: MetricRequest, side: _Side, other: _Side) -> Ids:
    """Return the ids of the selected items that both spaces have, ascending."""
    selection, ids = request.selection, _common_ids(side, other)
    kept = selection.items.ids(side.catalog, [side.card, other.card])
    if kept is not None:
        ids = np.intersect1d(ids, kept, assume_unique=True)
    return selection.draw(ids)


def _layers(request: MetricRequest, side: _Side, ids: Ids) -> tuple[list[LayerData | NotComputable], list[str]]:
    """Return the vectors of each layer of one side, or the reason why there are none; and notes."""
    only = None if len(ids) == len(side.ids) else ids
    layers = list(selected_layers(side.catalog, request.selection, side.card, side.layers, only))
    return [data for data, _ in layers], [note for _, notes in layers for note in notes]


def _described(request: MetricRequest, side: _Side, other: _Side, answer: Answer) -> Iterator[Row]:
    """Yield the rows of an answer with the columns that name their two layers, and their provenance."""
    revision = revision_of(other.card).values()
    pairs = [*product(side.layers, other.layers)]
    for (layer, layer_2), row in zip(cycle(pairs), answer.rows, strict=False):  # the pairs of each group
        second = dict(zip(SECOND_COLUMNS, (other.name, *revision, layer_2.id, layer_2.name), strict=True))
        row = with_missing_shards(side.catalog, row, side.card, other.card)
        row = row | {"reason": _with_layer_name(row["reason"], {"layer": (side, layer), "layer_2": (other, layer_2)})}
        yield describe(side.card, layer) | second | row | provenance(request, row)


def _with_layer_name(reason: str | None, sides: Mapping[str, tuple[_Side, Layer]]) -> str | None:
    """Replace ``layer: …`` or ``layer_2: …`` at the beginning of a reason by the space and layer that it is about."""
    key, _, text = (reason or "").partition(": ")
    if key not in sides:
        return reason
    side, layer = sides[key]
    return f"{side.name}, layer {layer.name}: {text}"


def _matrix(
    request: MetricRequest,
    down: Sequence[LayerData | NotComputable],
    across: Sequence[LayerData | NotComputable] | None,
    ids: Ids,
) -> Iterator[Row]:
    """Compute the metric's rows, for each layer down and each across (None: the same layers).

    Layers that cannot be transformed get rows of nulls with the reason.
    """
    metric, failure = request.metric, None if len(ids) else NOTHING_SELECTED
    left, right = _computable(down), None if across is None else _computable(across)
    rows: Iterator[Row] = iter(())
    if failure is None and left and right != []:
        try:
            metric_rows = rows_of(metric.function(left, right, ids, **request.arguments))
        except NotComputable as error:
            failure = str(error)
        else:
            rows = iter(_checked(metric, metric_rows, len(left) * len(left if right is None else right)))
    for first in down:
        for second in down if across is None else across:
            if failure:
                yield metric.empty(len(ids), failure)
            elif isinstance(first, NotComputable):
                yield metric.empty(len(ids), f"layer: {first}")
            elif isinstance(second, NotComputable):
                yield metric.empty(len(ids), f"layer_2: {second}")
            else:
                yield next(rows)


def _checked(metric: Metric, rows: list[Row], n_pairs: int) -> list[Row]:
    """Return the rows; raise QueryError unless there is one per pair of layers, since a plug-in may give others."""
    if len(rows) != n_pairs:
        raise QueryError(f"{metric.name} gave {len(rows)} rows for {n_pairs} pairs of layers: see Metric.function.")
    return rows


def _computable(layers: Sequence[LayerData | NotComputable]) -> list[LayerData]:
    return [layer for layer in layers if not isinstance(layer, NotComputable)]
