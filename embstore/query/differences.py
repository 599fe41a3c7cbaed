"""Compare the rows of a metric with that of another layer, of another space, or of the best layer:
``versus``.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from embstore.base.errors import QueryError, UnknownNameError, UsageError
from embstore.base.messages import first_of
from embstore.base.space import Layer
from embstore.metrics.declaration import NotComputable
from embstore.metrics.numerics.estimates import MIN_GROUPS, common_units, compare_estimates
from embstore.metrics.numerics.statistics import holm
from embstore.metrics.significance import versus_columns
from embstore.query.notes import shown_range
from embstore.query.provenance import Row
from embstore.query.request import MetricRequest, SpaceLayer
from embstore.storage.answers import Answer
from embstore.storage.card import Card, compared_space, select_layers
from embstore.storage.catalog import Catalog

BEST = "best"

LayerAnswers = Mapping[Layer, Answer]
Place = tuple[str, Layer, int]
"""A space, a layer, and the number of a row of its answer."""


def with_versus(
    catalog: Catalog, request: MetricRequest, cards: list[Card]
) -> tuple[MetricRequest, list[Card]]:
    """Return the request, and the spaces with the layers that theirs are compared with; raise if
    none can be compared.

    A number that depends on all items is compared with that of another space over the items that
    both have.
    """
    versus = request.parameters["versus"]
    if not versus.strip():
        raise UsageError(f"`versus` is empty: name a layer, a space, or {BEST}.")
    if request.grouping is not None:
        means = ", or add `average`" if "average" in request.parameters else ""
        raise UsageError(f"`versus` compares layers, not groups of items: leave out `by`{means}.")
    single = ("word", "per_word", "per_sentence") if request.metric.needs == "contexts" else ()
    for name in filter(request.parameters.get, single):
        raise UsageError(f"`versus` compares means over words or sentences: leave out `{name}`.")
    if versus == BEST and request.metric.best is None:
        raise UsageError(f"{request.metric.name} has no best layer: name a layer in `versus`.")
    if ":" in versus or versus in catalog.cards:
        other = compared_space(catalog.cards, versus).space
        is_of_all_items = request.metric.needs == "labels" or request.is_estimated
        if is_of_all_items and any(card.space != other for card in cards):
            request = replace(request, common=True)
    chosen, _ = select_layers(cards, request.layers)
    places = [
        (space, layer) for space, layers in chosen.items() for layer in layers if space != versus
    ]
    references = {place: _reference(catalog, versus, *place) for place in places}
    if not any(references.values()) and versus not in (BEST, *catalog.cards):
        known = dict.fromkeys(layer.name for _, layer in places)
        raise UnknownNameError("space or layer", versus, [BEST, *catalog.cards, *known])
    n_compared = sum(reference not in (None, place) for place, reference in references.items())
    if n_compared == 0 and (versus != BEST or len(places) == len(chosen)):
        raise UsageError(
            f"versus={versus}: there is nothing to compare it with. Take more layers, or another"
            " space, or name its layer: SPACE:LAYER."
        )
    needed = filter(None, references.values())
    others = [catalog.cards[space].with_layers(layer.name) for space, layer in needed]
    return replace(request, references=references), [*cards, *others]


def _reference(catalog: Catalog, versus: str, space: str, layer: Layer) -> SpaceLayer | None:
    """Return the space and layer that a layer is compared with; None if there is none, and for the
    best, which is found later.
    """
    name = versus if ":" in versus or versus in catalog.cards else f"{space}:{versus}"
    try:
        card = compared_space(catalog.cards, name)
        layers = card.layers.select(layer.name).members
    except UnknownNameError:
        return None
    if len(layers) > 1:
        raise QueryError(
            f"`versus` must be one layer, a space, SPACE:LAYER or {BEST}, not {versus!r}."
        )
    return card.space, layers[0]


class _Compared(NamedTuple):
    """The columns of rows that are compared with each other.

    Attributes:
        how: How they are compared.
        n: Number of units that all have.
        more_p: Further p-values that the rows' are adjusted for.
    """

    how: str
    n: int
    columns: dict[Place, Row]
    more_p: list[float]


def differences(
    request: MetricRequest, answers: Mapping[str, LayerAnswers]
) -> tuple[dict[Place, Row], list[str]]:
    """Return the columns of each row that compare it with another, and notes.

    All rows that are compared with each other are compared on the units, such as pairs, that all of
    them have.
    """
    versus = str(request.parameters["versus"])
    columns: dict[Place, Row] = {}
    more_p: list[float] = []
    alike, failed = defaultdict[str, list[int]](list), defaultdict[str, dict[str, None]](dict)
    for space, scored, reference in _families(request, answers):
        try:
            how, n, rows, further_p = _compare(request, scored, reference)
        except NotComputable as error:
            failed[str(error)][space] = None
            continue
        alike[how].append(n)
        more_p += further_p
        columns |= {place: row for place, row in rows.items() if place[0] == space}
    tested = [place for place, row in columns.items() if row["p"] is not None]
    adjusted = holm(np.array([*(columns[place]["p"] for place in tested), *more_p])).tolist()
    for place, p in zip(tested, adjusted[: len(tested)], strict=True):
        columns[place]["p_holm"] = p
    named = "the best layer" if versus == BEST else f"layer {versus}"
    named = versus if ":" in versus or versus in answers else named
    notes = [f"versus {named}, over {shown_range(sizes)} {how}" for how, sizes in alike.items()]
    for (space, _), other in request.references.items():
        if other is None and versus != BEST:
            failed["not every layer has one to be compared with"][space] = None
    for how, spaces in failed.items():
        notes.append(f"versus{f' ({first_of(spaces)})' * (len(answers) > 1)}: {how}")
    if more_p:
        notes.append(f"p_holm over all {len(adjusted)} pairs, since the best was chosen among them")
    return columns, notes


def _families(
    request: MetricRequest, answers: Mapping[str, LayerAnswers]
) -> Iterator[tuple[str, dict[Place, Any], Place | None]]:
    """Yield a space with the scores of its rows that are compared with each other, and the place of
    that which the others are compared with; None for the best of them.

    These are the rows of one dataset that are compared with the same layer, and that one's.
    """
    versus = request.parameters["versus"]
    scored: dict[tuple[Any, ...], tuple[Place, Any]] = {}
    for space, layers in answers.items():
        for layer, answer in layers.items():
            for number, row in enumerate(answer.rows):
                key = tuple(row.get(name) for name in request.metric.key_names)
                scored[space, layer, key] = (space, layer, number), row.get("scores")
    families = defaultdict[tuple[Any, ...], dict[Place, Any]](dict)
    for (space, layer, key), (place, score) in scored.items():
        reference = request.references.get((space, layer))
        if reference is not None or versus == BEST:
            families[space, reference, key][place] = score
    for (space, reference, key), family in families.items():
        if reference is None:
            yield space, family, None
            continue
        target, score = scored.get((*reference, key), ((*reference, 0), None))
        yield space, {**family, target: score}, target


def _compare(
    request: MetricRequest, family: Mapping[Place, Any], reference: Place | None
) -> _Compared:
    """Compare rows with one of them, None for the best.

    The best is found by the same units that it is compared on. Its tests therefore count among
    those of all pairs of layers: the further p-values are of the pairs without it.

    Raises:
        NotComputable: They cannot be compared.
    """
    scored = {place: scores for place, scores in family.items() if scores is not None}
    if len(scored) < 2 or (reference is not None and reference not in scored):
        raise NotComputable("fewer than two layers have a value that can be compared")
    try:
        scores = dict(zip(scored, common_units(list(scored.values())), strict=True))
    except NotComputable as error:
        raise NotComputable(f"nothing that all have can be compared: {error}") from error
    first = next(iter(scores.values()))
    n, units = len(first.units), "units" if first.of_units else "items"
    scores = {
        place: estimate for place, estimate in scores.items() if math.isfinite(estimate.value)
    }
    if n < MIN_GROUPS:
        raise NotComputable(f"no test: {n} {units} in common, fewer than {MIN_GROUPS}")
    if len(scores) < 2 or (reference is not None and reference not in scores):
        raise NotComputable("no test: the correlations are 1 or -1")
    target = reference or max(scores, key=lambda place: scores[place].value)
    others = [estimate for place, estimate in scores.items() if place != target]
    pairs = combinations(others, 2) if reference is None else ()
    more_p = [compare_estimates(*pair).p for pair in pairs]
    seed = {} if first.of_units else {"seed": request.selection.seed}
    columns: dict[Place, Row] = {}
    for place, estimate in scores.items():
        row: Row = dict.fromkeys(versus_columns(request.metric)) | {"n_common": n}
        if place != target:
            difference = compare_estimates(estimate, scores[target])
            same_space = place[0] == target[0]
            named = target[1].name if same_space else request.parameters["versus"]
            row |= seed | {
                "versus": BEST if reference is None else named,
                "difference": difference.value,
                "difference_low": difference.low,
                "difference_high": difference.high,
                "p": difference.p,
                "detectable": difference.detectable,
            }
        columns[place] = row
    how = f"errors from parts of the items (seed {request.selection.seed})"
    how = f"{units} in common, " + ("by Student's t" if first.of_units else how)
    if not any(row.get("detectable") for row in columns.values()):
        how += ", none of which differs"
    return _Compared(how, n, columns, more_p)
