"""Compare the rows of a metric with that of another layer, of another space, or of the best layer:
``versus``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from embstore.base.errors import QueryError, UnknownNameError, UsageError
from embstore.base.space import Layer
from embstore.metrics.declaration import NotComputable, Scored
from embstore.metrics.numerics.differences import Scores, common_units, compare_resamples, holm
from embstore.metrics.numerics.estimates import Estimate, compare_estimates
from embstore.metrics.significance import versus_columns
from embstore.query.request import MetricRequest
from embstore.storage.answers import Answer
from embstore.storage.card import Card, select_layers
from embstore.storage.catalog import Catalog

BEST = "best"
_LEVEL = 0.05
_RESAMPLES = 1000
_FEW = 10  # units below which no difference is tested
_UNITS = {"pairs": "pairs", "analogies": "questions", "lexicon": "words"}
_PARTS = {"knn": "random halves of these", "probe": "the repeated folds"}

LayerAnswers = dict[Layer, Answer]
Place = tuple[str, Layer, int]
"""A space, a layer, and the number of a row of its answer."""


def with_versus(
    catalog: Catalog, request: MetricRequest, cards: list[Card], layers: str
) -> tuple[MetricRequest, list[Card], str]:
    """Return the request, spaces and layers with those they are compared with; raise if they cannot
    be compared.

    A number that depends on all items is compared with that of another space over the items that
    both have.
    """
    _check(request)
    versus = request.parameters["versus"]
    names = {"top", *(layer.name for card in cards for layer in card.layers.members)}
    if versus != BEST and versus not in catalog.cards:
        if not any(character.isdigit() for character in versus) and versus not in names:
            raise UnknownNameError("space or layer", versus, [BEST, *catalog.cards])
        for card in cards:
            _layer(card, versus)
        layers = f"{layers},{versus}"
    shown, _ = select_layers(cards, layers)
    if {card.space for card in cards} == {versus} or (
        versus not in catalog.cards and max(map(len, shown.values()), default=0) < 2
    ):
        raise UsageError(
            f"versus={versus!r}: there is nothing to compare it with. Take more layers, or another"
            " space."
        )
    if versus in catalog.cards and versus not in {card.space for card in cards}:
        cards = [*cards, catalog.cards[versus]]
    if versus in catalog.cards and "differences" not in request.parameters:
        request = replace(request, common=True)
    return request, cards, layers


def _check(request: MetricRequest) -> None:
    if request.selection.by is not None:
        raise UsageError("`versus` compares layers, not groups of items: leave out `by`.")
    if request.parameters["versus"] == BEST and request.metric.best is None:
        raise UsageError(
            f"{request.metric.name} has no best layer, since low values may matter as much. Name a"
            " layer."
        )


def differences(
    request: MetricRequest, cards: Sequence[Card], space_answers: Mapping[str, LayerAnswers]
) -> tuple[dict[Place, dict[str, Any]], list[str]]:
    """Return the columns of each row that compare it with another, and notes.

    All rows that are compared with each other are compared on the units, such as pairs, that all of
    them have.
    """
    columns: dict[Place, dict[str, Any]] = {}
    notes: list[str] = []
    other_p: list[float] = []
    compared: dict[str, list[dict[str, Any]]] = {}
    for places, reference in _families(request, cards, space_answers):
        scored = {place: row.scores for place, row in places.items() if isinstance(row, Scored)}
        if len(scored) < 2 or (reference is not None and reference not in scored):
            notes.append(
                "versus: nothing to compare: fewer than two layers have a value that can be"
                " compared."
            )
            continue
        found, more_p, note = _compare(request, scored, reference)
        other_p += more_p
        compared.setdefault(note, []).extend(found.values())
        if reference is not None and len({space for space, *_ in scored}) > 1:
            found.pop(reference, None)  # it is compared with several
        columns |= found
    notes += [f"{note} {_power(rows)}" if rows else note for note, rows in compared.items()]
    tested = [place for place, row in columns.items() if row["p"] is not None]
    adjusted = holm(np.array([*(columns[place]["p"] for place in tested), *other_p])).tolist()
    for place, p in zip(tested, adjusted[: len(tested)], strict=True):
        columns[place]["p_holm"] = p
    if "differences" in request.parameters:
        notes += _few_resamples(request, len(tested))
    if other_p:
        notes.append(
            f"p_holm is over all {len(adjusted)} pairs of layers, since the best was chosen by the"
            " same items."
        )
    return columns, notes


def _few_resamples(request: MetricRequest, n_tests: int) -> list[str]:
    """Return a note if no p_holm can be significant, whatever the resamples."""
    smallest = (
        n_tests * (1 if request.parameters["versus"] == BEST else 2) / (_n_resamples(request) + 1)
    )
    if smallest < _LEVEL:
        return []
    return [
        f"too few resamples for {n_tests} tests: no p_holm can be below {smallest:.2g}. Draw more:"
        " differences=10000"
    ]


def _families(
    request: MetricRequest, cards: Sequence[Card], space_answers: Mapping[str, LayerAnswers]
) -> Iterator[tuple[dict[Place, Mapping[str, Any]], Place | None]]:
    """Yield rows that are compared with each other, and the place of that which the others are
    compared with.

    These are the rows of one space and dataset; if they are compared with another space, of one
    layer of both.
    """
    versus = str(request.parameters["versus"])
    keys = [column.name for column in request.metric.columns if column.is_key]
    rows: dict[tuple[Any, ...], dict[Place, Mapping[str, Any]]] = {}
    for space, answers in space_answers.items():
        for layer, answer in answers.items():
            for number, row in enumerate(answer.rows):
                rows.setdefault(tuple(row.get(key) for key in keys), {})[space, layer, number] = row
    other = next((card for card in cards if card.space == versus), None)
    for members in rows.values():
        for card in cards:
            own = {place: row for place, row in members.items() if place[0] == card.space}
            if not own or card is other:
                continue
            if versus == BEST:
                yield own, None
            elif other is None:
                yield own, next(place for place in own if place[1] == _layer(card, versus))
            else:
                for place in own:
                    match = [
                        each
                        for each in members
                        if each[0] == versus and each[1].name == place[1].name
                    ]
                    if match:
                        yield {each: members[each] for each in (place, match[0])}, match[0]


def _layer(card: Card, versus: str) -> Layer:
    """Return the layer of a space that the others are compared with."""
    chosen, _ = select_layers([card], versus)
    layers = chosen.get(card.space, ())
    if len(layers) != 1:
        raise QueryError(f"`versus` must be one layer, a space, or {BEST}, not {versus!r}.")
    return layers[0]


def _compare(
    request: MetricRequest, scored: Mapping[Place, Scores | Estimate], reference: Place | None
) -> tuple[dict[Place, dict[str, Any]], list[float], str]:
    """Return the columns of some rows that are compared with each other, further p-values, and a
    note on how.

    The best is found by the same units that it is compared on. Of estimates, its tests therefore
    count among those of all pairs of layers: the further p-values are of the pairs without it.
    """
    places, units = list(scored), _UNITS.get(request.metric.needs, "items")
    try:
        scores = common_units(list(scored.values()))
    except NotComputable as error:
        return {}, [], f"versus: nothing to compare on the {units} that all have: {error}."
    n = len(scores[0].units)
    values = (
        np.array([each.value for each in scores]) if n >= _FEW else np.full(len(scores), np.nan)
    )
    target = places.index(reference) if reference is not None else int(np.argmax(values))
    space, layer, _ = places[target]
    is_of_spaces = any(place[0] != space for place in places)
    name = (
        space
        if is_of_spaces
        else f"{space} layer {layer.name}" + (", the best" if reference is None else "")
    )
    if n < _FEW or not np.isfinite(values).all():
        return (
            {},
            [],
            (
                f"versus {name}: {n} units in common, or values that are all equal: there is"
                " nothing to test."
            ),
        )
    other_p: list[float] = []
    settings: dict[str, Any] = {"seed": request.selection.seed}
    estimates = [each for each in scores if isinstance(each, Estimate)]
    if estimates:
        found = [compare_estimates(each, estimates[target]) for each in estimates]
        if reference is None:
            others = [each for at, each in enumerate(estimates) if at != target]
            pairs = [compare_estimates(*pair) for pair in combinations(others, 2)]
            other_p = [each.p for each in pairs if each.p is not None]
        made = (
            f"{', and all numbers are of these' * is_of_spaces}; errors from"
            f" {_PARTS[request.metric.name]}"
        )
    else:
        n_resamples = settings["differences"] = _n_resamples(request)
        of_units = [each for each in scores if isinstance(each, Scores)]
        resampled = np.stack(
            [each.resampled(n_resamples, request.selection.seed) for each in of_units]
        )
        found = compare_resamples(values, resampled, None if reference is None else target)
        made = f", {n_resamples:,} resamples of the {units}"
    columns: dict[Place, dict[str, Any]] = {}
    for at, (place, difference) in enumerate(zip(places, found, strict=True)):
        row: dict[str, Any] = dict.fromkeys(versus_columns(request.metric)) | {"n_common": n}
        if "best_share" in row:
            row["best_share"] = difference.best_share
        if at != target:
            row |= settings | {
                "versus": _name_of_reference(place, places[target], reference),
                "difference": difference.value,
                "difference_low": difference.low,
                "difference_high": difference.high,
                "p": difference.p,
                "detectable": difference.detectable,
            }
        columns[place] = row
    note = f"versus {name}: {n:,} {units} that all have{made} (seed {request.selection.seed})."
    return columns, other_p, note


def _name_of_reference(place: Place, target: Place, reference: Place | None) -> str:
    """Return what a row is compared with: the best, a layer of its space, or another space."""
    if reference is None:
        return BEST
    return target[1].name if place[0] == target[0] else target[0]


def _power(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return what difference would have been found, as a sentence."""
    largest = max((row["detectable"] or 0.0 for row in rows), default=0.0)
    if not largest:
        return "No part of the units differs between them: there is no difference to be found."
    return (
        f"Against a layer named beforehand, a difference of {largest:.3f} is found with a"
        " probability of .8; smaller ones less often."
    )


def _n_resamples(request: MetricRequest) -> int:
    """Return the number of resamples: by default those of the intervals, which need not be drawn
    anew.
    """
    return request.parameters["differences"] or request.parameters.get("resamples") or _RESAMPLES
