"""Compute a metric over spaces and layers, from stored answers or summaries if possible, else from
the vectors.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embstore.base.errors import NotStoredError, QueryError, UnknownNameError, UsageError
from embstore.base.progress import task
from embstore.base.space import Layer
from embstore.base.table import Pivot, Table
from embstore.metrics import Metric
from embstore.metrics.explain import UNGROUPED, CacheLookup, CacheState
from embstore.metrics.significance import versus_columns
from embstore.query import provenance
from embstore.query.cache import Answers
from embstore.query.common import (
    OF_ITEMS,
    baseline_notes,
    difference_notes,
    source_notes,
    with_common,
)
from embstore.query.compute import compute_layers
from embstore.query.request import Case, MetricRequest, missing_words
from embstore.storage.answers import Answer
from embstore.storage.card import Card, SpaceFilter, select_layers
from embstore.storage.catalog import Catalog

if TYPE_CHECKING:
    from embstore.query.differences import Place

LayerAnswers = dict[Layer, Answer]


def query(
    catalog: Catalog,
    request: MetricRequest,
    spaces: SpaceFilter,
    layers: str,
    *,
    cache: bool = True,
) -> Table:
    """Compute a metric; return one row per space and layer, and per dataset or word if there are
    several.
    """
    metric, versus = request.metric, request.parameters.get("versus")
    cards, notes = _suitable_spaces(catalog, request, spaces)
    if versus is not None:
        from embstore.query.differences import (
            differences,
            with_versus,
        )  # which other requests do not need

        request, cards, layers = with_versus(catalog, request, cards, layers)
    request = with_common(catalog, request, cards, layers)
    answers = Answers(
        catalog, request, use=cache and versus is None
    )  # stored rows are without their units
    if metric.needs == "layers":
        from embstore.query.layer_pairs import compare  # which metrics of single layers do not need

        return compare(catalog, request, cards, layers, answers, notes)
    chosen, missing = select_layers(cards, layers)
    cards = [card for card in cards if card.space in chosen]
    space_answers, left_out = _find_or_compute(catalog, request, cards, chosen, answers)
    notes += [*missing, *left_out]
    compared: dict[Place, dict[str, Any]] = {}
    no_columns = {} if versus is None else dict.fromkeys(versus_columns(metric))
    if versus is not None:
        compared, versus_notes = differences(request, cards, space_answers)
        notes += versus_notes
    rows = []
    across: dict[str, None] = {}
    for card in (card for card in cards if card.space in space_answers):
        word_columns, word_notes = missing_words(catalog, request.selection.words, card)
        notes += word_notes
        for layer in chosen[card.space]:
            answer = space_answers[card.space][layer]
            notes += [*answer.notes, *provenance.draw_notes(request, answer.rows)]
            across |= dict.fromkeys(answer.across)
            rows += [
                provenance.describe(card, layer)
                | row
                | provenance.provenance(request, row)
                | word_columns
                | compared.get((card.space, layer, number), no_columns)
                for number, row in enumerate(answer.rows)
            ]
    notes += [
        *source_notes(catalog, request),
        *difference_notes(catalog, request, rows),
        *baseline_notes(request),
    ]
    if metric.best:
        notes += mark_best(metric, metric.best, rows)
    return _tabulate(request, rows, tuple(across), notes)


def cache_state(
    catalog: Catalog, request: MetricRequest, spaces: SpaceFilter, layers: str
) -> CacheState:
    """Return which answers to a request are stored, without computing any; arguments and errors as
    :func:`query`.
    """
    from embstore.query.layer_pairs import stored_pairs

    cards, _ = _suitable_spaces(catalog, request, spaces)
    request = with_common(catalog, request, cards, layers)
    answers = Answers(catalog, request)
    states: list[CacheLookup] = []
    if request.metric.needs == "layers":
        states += stored_pairs(catalog, request, cards, layers, answers)
    else:
        chosen, _ = select_layers(cards, layers)
        for card in cards:
            stored = {
                layer: answers.find(answers.question(card, layer))
                for layer in chosen.get(card.space, ())
            }
            states += [
                CacheLookup(card.space, None, (layer.name,), stored[layer] is not None)
                for layer in stored
            ]
    may_need_none = request.metric.needs == "summary" and not request.selection.columns()
    return CacheState(tuple(states), answers.uncached_reason, may_need_no_vectors=may_need_none)


def _suitable_spaces(
    catalog: Catalog, request: MetricRequest, spaces: SpaceFilter
) -> tuple[list[Card], list[str]]:
    """Return the cards of the spaces that a metric can be computed for, and notes on the spaces
    left out.
    """
    cards, notes = _of_metric_units(request.metric, spaces.select(catalog.cards))
    cards, without_column = _with_column(catalog, request, cards)
    return cards, [*notes, *without_column]


def _with_column(
    catalog: Catalog, request: MetricRequest, cards: Sequence[Card]
) -> tuple[list[Card], list[str]]:
    """Return the cards of the spaces whose items have the requested columns, and a note for each of
    the others.
    """
    metric, by = request.metric, request.selection.by
    names = [] if by is None or not cards else by.names(catalog, cards)
    if by is not None and (reason := UNGROUPED.get(metric.needs)) is not None:
        raise UsageError(f"{metric.name} is of {reason}, not of groups of items: leave out `by`.")
    needed = {
        "column": ("column", "needs a column of the items. Name it with `column`"),
        "labels": ("label", "needs a column with labels. Name it with `label`"),
    }.get(metric.needs)
    if metric.compares_groups and by is None:
        raise _without_column(
            catalog, cards, metric, "compares groups of occurrences, by a column. Name it with `by`"
        )
    if needed is not None and not request.parameters[needed[0]]:
        raise _without_column(catalog, cards, metric, needed[1])
    if needed is not None:
        names.append(request.parameters[needed[0]])
    notes = []
    for name in names:
        from embstore.query.grouping import check_column

        errors: dict[str, UnknownNameError] = {}
        for card in cards:
            try:
                check_column(catalog, card.space, name)
            except UnknownNameError as error:
                errors[card.space] = error
        if len(errors) == len(cards):
            raise next(iter(errors.values()))
        notes += [f"{space} is left out: its items have no column {name!r}." for space in errors]
        cards = [card for card in cards if card.space not in errors]
    return [*cards], notes


def _without_column(
    catalog: Catalog, cards: Sequence[Card], metric: Metric, why: str
) -> UsageError:
    """Return the error that a column must be named; it lists those that the items of some spaces
    have.
    """
    from embstore.query.grouping import item_column_types

    known = dict.fromkeys(name for card in cards for name in item_column_types(catalog, card.space))
    return UsageError(f"{metric.name} {why}: {', '.join(known)}.")


def _find_or_compute(
    catalog: Catalog,
    request: MetricRequest,
    cards: Sequence[Card],
    layers: Mapping[str, Sequence[Layer]],
    answers: Answers,
) -> tuple[dict[str, LayerAnswers], list[str]]:
    """Return space → layer → answer, from the store or else computed and stored now; and notes.

    Spaces without all of the metric's inputs are left out with a note; if all are, QueryError is
    raised.
    """
    space_answers: dict[str, LayerAnswers] = {card.space: {} for card in cards}
    for card in cards:
        for layer in layers[card.space]:
            if (answer := answers.find(answers.question(card, layer))) is not None:
                space_answers[card.space][layer] = answer
    incomplete = [
        card for card in cards if len(space_answers[card.space]) < len(layers[card.space])
    ]
    inputs, notes = _inputs(catalog, request, incomplete, n_known=len(cards) - len(incomplete))
    if request.metric.needs == "pairs":
        from embstore.query.inputs import check_all_used

        used = {case.columns["dataset"] for space_cases in inputs.values() for case in space_cases}
        used |= {
            row["dataset"]
            for each in space_answers.values()
            for answer in each.values()
            for row in answer.rows
        }
        check_all_used(catalog, cards, request.parameters["dataset"], used)
    for card in incomplete:
        if card.space not in inputs:
            del space_answers[card.space]
            continue
        layer_answers = space_answers[card.space]
        missing = [layer for layer in layers[card.space] if layer not in layer_answers]
        computed = compute_layers(
            catalog, request, card, missing, inputs[card.space], answers.groups(card)
        )
        with task("compute", f"{request.metric.name} of {card.space}", len(missing)) as computing:
            for layer, answer in computed:
                answers.store(answers.question(card, layer), answer)
                layer_answers[layer] = answer
                computing.finish((card.space, layer.id))
    return space_answers, notes


def _inputs(
    catalog: Catalog, request: MetricRequest, cards: Sequence[Card], n_known: int
) -> tuple[dict[str, list[Case]], list[str]]:
    """Return space → sets of inputs of the metric, one or one per dataset; and a note for each
    space without inputs.
    """
    if request.metric.needs in OF_ITEMS or not cards:
        return {card.space: [Case()] for card in cards}, []
    from embstore.query.inputs import LOADERS  # which most metrics do not need

    inputs, errors, notes = {}, [], []
    for card in cards:
        try:
            inputs[card.space] = LOADERS[request.metric.needs](
                request.metric, catalog, card, request.parameters
            )
        except QueryError as error:
            errors.append(error)
            notes.append(f"{card.space} is left out: {error}")
    if errors and not inputs and not n_known:
        raise min(errors, key=lambda error: not isinstance(error, NotStoredError))
    return inputs, notes


def mark_best(metric: Metric, value: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Set the column ``best`` of each row: whether its layer has the highest value of its space
    (and dataset).
    """
    keys = [column.name for column in metric.columns if column.is_key]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        row["best"] = None if row[value] is None else False
        if row[value] is not None:
            groups.setdefault((row["space"], *(row[key] for key in keys)), []).append(row)
    notes = []
    for group, members in groups.items():
        best = max(members, key=lambda row: row[value])
        best["best"] = True
        if len({row["layer"] for row in members}) > 1:
            equal = [
                row["layer_name"]
                for row in members
                if row is not best and row[value] == best[value]
            ]
            others = f", as high in {', '.join(equal)}" if equal else ""
            found = f"layer {best['layer_name']} ({best[value]:.4f}{others})"
            notes.append(f"{', '.join(group)}: {value} is highest in {found}.")
    return notes


def _of_metric_units(metric: Metric, cards: list[Card]) -> tuple[list[Card], list[str]]:
    """Return the spaces of the units that a metric is defined for, and a note for each of the
    others.
    """
    if not metric.units:
        return cards, []
    matching = [card for card in cards if card.unit in metric.units]
    units = " or ".join(metric.units)
    if not matching:
        raise QueryError(
            f"{metric.name} is about {units} spaces, and none is among"
            f" {', '.join(card.space for card in cards)}. Make one with: embstore build SOURCE"
            f" --unit {metric.units[0]}. {metric.elsewhere}".rstrip()
        )
    notes = [
        f"{card.space} is left out: {metric.name} is about {units} spaces."
        for card in cards
        if card not in matching
    ]
    return matching, notes


def _tabulate(
    request: MetricRequest,
    rows: list[dict[str, Any]],
    across: tuple[str, ...],
    notes: Sequence[str],
) -> Table:
    """Return the rows as a table that is printed with layers, groups and words down, spaces and
    datasets across.
    """
    metric, by = request.metric, request.grouping
    keys = tuple(column.name for column in metric.columns if column.is_key)
    hidden = {
        *keys,
        *(column.name for column in metric.columns if not column.shown),
        "best",
    }  # printed as a star
    shown = tuple(column.name for column in metric.columns if column.name not in hidden)
    down = tuple(key for key in keys if key not in across)
    # Columns without any value were not requested; if no column has one, the first is printed with
    # dashes.
    printed = (
        tuple(name for name in shown if any(row[name] is not None for row in rows)) or shown[:1]
    )
    if "difference" in printed:  # which leaves no room for other columns
        value = metric.best if metric.best in printed else printed[0]
        printed = tuple(name for name in printed if name in (value, *versus_columns(metric)))
    whole = provenance.whole_samples(request.selection, {row["space"] for row in rows}, notes)
    counts = provenance.notes_of(metric, rows, [*request.selection.columns()], across, whole)
    group, head, n = ((), (), ()) if by is None else (("group",), (by.column,), ("n",))
    pivot = Pivot(
        down=("layer_name", *group, *down),
        across=("space", *across),
        values=(*n, *printed),
        heads=("layer", *head, *down),
        order="layer",
        mark="best" if metric.best else None,
    )
    return provenance.tabulate(request, rows, [*notes, *counts], pivot)
