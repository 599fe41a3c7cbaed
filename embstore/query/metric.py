"""Compute a metric over spaces and layers: choose them, find or compute an answer for each, and
put the answers into one table.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from embstore.base.errors import NotStoredError, QueryError, UnknownNameError, UsageError
from embstore.base.progress import task
from embstore.base.space import Layer, Unit, parse_space
from embstore.base.table import Pivot, Table, table
from embstore.metrics import Metric
from embstore.metrics.explain import UNGROUPED, CacheLookup, CacheState
from embstore.metrics.significance import versus_columns
from embstore.query import notes, provenance
from embstore.query.cache import Answers
from embstore.query.compute import MetricInputs, MetricRows, compute_layers
from embstore.query.differences import differences, with_versus
from embstore.query.grouping import check_column, item_column_types
from embstore.query.inputs import LOADERS, check_datasets
from embstore.query.request import NOTHING_SELECTED, MetricRequest, missing_words
from embstore.storage.answers import Answer
from embstore.storage.card import Card, select_layers
from embstore.storage.catalog import Catalog

Row = provenance.Row


def query(catalog: Catalog, request: MetricRequest, *, cache: bool = True) -> Table:
    """Compute a metric; return one row per space and layer, and per dataset or word if there are
    several.
    """
    request, cards, left_out = _chosen(catalog, request)
    # Stored rows are without the scores that `versus` compares.
    use = cache and request.parameters.get("versus") is None
    answers = Answers(catalog, request, use=use)
    if request.metric.compares_layers:
        from embstore.query.layer_pairs import compare  # which metrics of single layers do not need

        measured = compare(catalog, request, cards, answers)
    else:
        measured = _measure(catalog, request, cards, answers)
    rows = measured.rows
    is_empty = not any(catalog.items_of(card.space).n for card in cards)
    if {row["reason"] for row in rows} == {NOTHING_SELECTED} and not is_empty:
        raise QueryError(f"{NOTHING_SELECTED}: none fits `where`, `words` and `word`.")
    if request.metric.best:
        _mark_best(request.metric, request.metric.best, rows)
    missing = notes.missing(request, rows)
    reasons = [sentence for sentence, is_reason in missing.items() if is_reason]
    table_notes = [
        *notes.measured(request, rows, measured.drawn, measured.more),
        *notes.joined([*left_out, *measured.missing, *missing], reasons),
    ]
    return _tabulate(request, measured, table_notes)


def _measure(
    catalog: Catalog, request: MetricRequest, cards: Sequence[Card], answers: Answers
) -> MetricRows:
    """Compute a metric of single layers."""
    chosen, missing = select_layers(cards, request.layers, request.spaces)
    cards = [*{card.space: card for card in cards if card.space in chosen}.values()]
    measured, left_out = _find_or_compute(catalog, request, cards, chosen, answers)
    rows_of = {
        space: [row for answer in layers.values() for row in answer.rows]
        for space, layers in measured.items()
    }
    cards = [card for card in cards if card.space in measured]
    cards, without_items = request.with_items(cards, rows_of)
    compared: dict[tuple[str, Layer, int], Row] = {}
    no_columns: Row = {}
    more: list[str] = []
    versus = request.parameters.get("versus")
    if versus is not None:
        other = parse_space(versus)[0]
        if other in catalog.cards and other not in measured:
            raise QueryError(
                f"{other} has nothing that {request.metric.name} could measure here: name another"
                " space in `versus`."
            )
        compared, more = differences(request, measured)
        no_columns = dict.fromkeys(versus_columns(request.metric))
    shared = provenance.settings(request)
    rows: list[Row] = []
    drawn: list[str] = []
    missing = [*missing, *left_out, *without_items]
    across: dict[str, None] = {}
    for card in cards:
        word_columns, word_notes = missing_words(catalog, request.selection.words, card)
        missing += word_notes
        for layer, answer in measured[card.space].items():
            missing += answer.notes
            drawn.extend(notes.drawn(request, shared, answer.rows))
            across |= dict.fromkeys(answer.across)
            place = provenance.describe(card, layer)
            for number, row in enumerate(answer.rows):
                difference = compared.get((card.space, layer, number), no_columns)
                full = provenance.with_settings(request, shared, row)
                rows.append(place | full | word_columns | difference)
    return MetricRows(rows, drawn, missing, shared, tuple(across), more)


def cache_state(catalog: Catalog, request: MetricRequest) -> CacheState:
    """Return which answers to a request are stored, without computing any; arguments and errors as
    :func:`query`.
    """
    request, cards, _ = _chosen(catalog, request)
    answers = Answers(catalog, request)
    if request.metric.compares_layers:
        from embstore.query.layer_pairs import stored_pairs

        states = [*stored_pairs(catalog, request, cards, answers)]
    else:
        chosen, _ = select_layers(cards, request.layers)
        states = [
            CacheLookup(card.space, None, (layer.name,), answer is not None)
            for card in cards
            for layer in chosen.get(card.space, ())
            for answer in [answers.find(answers.question(card, [layer]))]
        ]
    return CacheState(tuple(states), answers.uncached_reason)


def _chosen(
    catalog: Catalog, request: MetricRequest
) -> tuple[MetricRequest, list[Card], list[str]]:
    """Return the spaces that a metric can be computed for, with the request for their items, and
    why others that were named are left out.
    """
    cards = request.spaces.select_with_layers(catalog.cards)
    units = request.metric.units
    suitable = [card for card in cards if not units or card.unit in units]
    if not suitable:
        raise QueryError(
            f"{request.metric.name} is about {' or '.join(units)} spaces, and none is among"
            f" {', '.join(card.space for card in cards)}. Make one with: embstore build SOURCE"
            f" --unit {units[0]}. {request.metric.elsewhere}".rstrip()
        )
    reason = f"{request.metric.name} is about {' or '.join(units)} spaces."
    unsuitable = [card.space for card in cards if card not in suitable]
    left_out = request.spaces.left_out(cards, dict.fromkeys(unsuitable, reason))
    suitable, without_column = _with_columns(catalog, request, suitable)
    if request.parameters.get("versus") is not None:
        request, suitable = with_versus(catalog, request, suitable)
    if request.common:
        request = _over_common_items(catalog, request, suitable)
    return request, suitable, [*left_out, *without_column]


def _over_common_items(
    catalog: Catalog, request: MetricRequest, cards: Sequence[Card]
) -> MetricRequest:
    """Return the request for the items that all spaces with the layers have; raise QueryError if
    there are none.
    """
    chosen, _ = select_layers(cards, request.layers)
    names = [card.space for card in cards if card.space in chosen]
    if (against := parse_space(str(request.parameters.get("against")))[0]) in catalog.cards:
        names.append(against)
    spaces = {space: catalog.ids(space) for space in names}
    if not len(reduce(np.intersect1d, spaces.values())):
        sizes = ", ".join(f"{space} ({len(ids):,})" for space, ids in spaces.items())
        versus = parse_space(str(request.parameters.get("versus")))[0]
        option = "versus" if versus in catalog.cards else "common"
        raise QueryError(
            f"no item is in all of the spaces {sizes}. Choose spaces that have items in common,"
            f" with `spaces` or `unit`, or leave out {option}."
        )
    return replace(request, selection=replace(request.selection, common=tuple(spaces)))


_COLUMN_PARAMETERS = {"column": "column", "labels": "label"}  # by what a metric needs


def _with_columns(
    catalog: Catalog, request: MetricRequest, cards: Sequence[Card]
) -> tuple[list[Card], list[str]]:
    """Return the spaces whose items have the requested columns, and why the others are left out."""
    metric, by = request.metric, request.selection.by
    if by is not None and (reason := UNGROUPED.get(metric.needs)) is not None:
        raise UsageError(f"{metric.name} is of {reason}, not of groups of items: leave out `by`.")
    names = [] if by is None else by.names(catalog, cards)
    missing = "by" if metric.compares_groups and by is None else None
    parameter = _COLUMN_PARAMETERS.get(metric.needs)
    if parameter is not None:
        names.append(request.parameters[parameter])
        if not request.parameters[parameter]:
            missing = parameter
    if request.parameters.get("group") is not None:
        names.append(request.parameters["group"])
    if missing is not None:
        known = [name for card in cards for name in item_column_types(catalog, card.space)]
        raise UsageError(
            f"{metric.name} needs a column of the items: {missing}=NAME. Known:"
            f" {', '.join(dict.fromkeys(known))}."
        )
    errors: dict[str, UnknownNameError] = {}
    for card in cards:
        try:
            for name in names:
                check_column(catalog, card.space, name)
        except UnknownNameError as error:
            errors[card.space] = error
    if errors and len(errors) == len(cards):
        raise next(iter(errors.values()))
    kept = [card for card in cards if card.space not in errors]
    return kept, request.spaces.left_out(cards, errors)


def _find_or_compute(
    catalog: Catalog,
    request: MetricRequest,
    cards: Sequence[Card],
    layers: Mapping[str, Sequence[Layer]],
    answers: Answers,
) -> tuple[dict[str, dict[Layer, Answer]], list[str]]:
    """Return space → layer → answer, from the store or else computed and stored now; and why
    spaces without all of the metric's inputs are left out.
    """
    metric = request.metric
    load = LOADERS.get(metric.needs)
    if metric.needs == "pairs":
        check_datasets(catalog, cards, request.parameters["dataset"])
    measured: dict[str, dict[Layer, Answer]] = {}
    errors: dict[str, QueryError] = {}
    for card in cards:
        questions = {layer: answers.question(card, [layer]) for layer in layers[card.space]}
        stored = {layer: answers.find(question) for layer, question in questions.items()}
        results = {layer: answer for layer, answer in stored.items() if answer is not None}
        missing = [layer for layer, answer in stored.items() if answer is None]
        if missing:
            try:
                cases = [MetricInputs()] if load is None else load(catalog, request, card)
            except QueryError as error:
                errors[card.space] = error
                continue
            groups = answers.groups(card)
            with task("compute", f"{metric.name} of {card.space}", len(missing)) as computing:
                for layer, answer in compute_layers(catalog, request, card, missing, cases, groups):
                    answers.store(questions[layer], answer)
                    results[layer] = answer
                    computing.finish()
        measured[card.space] = {layer: results[layer] for layer in questions}
    if errors and not measured:
        first = min(  # the error of the space that is most likely meant
            cards,
            key=lambda card: (
                not isinstance(errors[card.space], NotStoredError),
                card.unit is not Unit.WORD,
                card.untrained is not None,
            ),
        )
        raise errors[first.space]
    left_out = request.spaces.left_out(cards, errors)
    left_out += [
        f"{space} is left out: {error}"
        for space, error in errors.items()
        if isinstance(error, NotStoredError)
    ]
    return measured, [*dict.fromkeys(left_out)]


def _mark_best(metric: Metric, value: str, rows: Sequence[Row]) -> None:
    """Set the column ``best`` of each row: whether its layer has the highest value of its space
    (and dataset, and group).
    """
    compared = defaultdict[tuple[Any, ...], list[Row]](list)
    for row in rows:
        row["best"] = None
        if row[value] is not None:
            row["best"] = False
            key = tuple(row.get(name) for name in ("space", *metric.key_names, "group"))
            compared[key].append(row)
    for members in compared.values():
        max(members, key=lambda row: row[value])["best"] = True


def _tabulate(request: MetricRequest, measured: MetricRows, table_notes: Sequence[str]) -> Table:
    """Return the rows as a table with its printed layout."""
    metric, rows = request.metric, measured.rows
    places: Sequence[str] = provenance.SPACE_COLUMNS
    if metric.compares_layers:
        places, pivot = provenance.PAIR_COLUMNS, _pair_pivot(request, rows)
    else:
        pivot = _layer_pivot(request, measured)
    group = () if request.grouping is None else ("group",)
    return table(
        rows,
        columns=[
            *provenance.columns_with_values(places, rows),
            *group,
            *metric.key_names,
            "n",
            *(column.name for column in metric.columns if not column.is_key),
            "reason",
            *measured.settings,
        ],
        notes=table_notes,
        types={**provenance.REVISION_TYPES, **metric.types, **dict.fromkeys(group, "string")},
        chart=metric.chart,
        intervals={
            column.name: (column.limits[0], column.limits[1])
            for column in metric.columns
            if column.limits
        },
        pivot=pivot,
    )


def _layer_pivot(request: MetricRequest, measured: MetricRows) -> Pivot:
    """Return the layout with layers, groups and words down, spaces and datasets across."""
    metric, by, rows = request.metric, request.grouping, measured.rows
    shown = [
        column.name
        for column in metric.columns
        if column.shown and not column.is_key and column.name != "best"
    ]
    printed = [name for name in shown if any(row[name] is not None for row in rows)]
    if shown and (not printed or all(row["reason"] for row in rows)):
        printed = [*dict.fromkeys([shown[0], *printed])]
    drawn = metric.chart.drawn(rows)
    if "difference" in printed:  # which leaves no room for other columns
        compared = versus_columns(metric)
        printed = [name for name in printed if name in (drawn, *compared) and name != "p"]
    printed.sort(key=lambda name: (metric.types[name] != "string", name != drawn))
    keys = [key for key in metric.key_names if key not in measured.across]
    down, heads = ["layer_name", *keys], ["layer", *keys]
    if by is not None:
        down.insert(1, "group")
        heads.insert(1, by.column)
        printed.insert(0, "n")
    return Pivot(
        down=tuple(down),
        across=("space", *measured.across),
        values=tuple(printed),
        heads=tuple(heads),
        order="layer",
        mark="best" if metric.best else None,
    )


def _pair_pivot(request: MetricRequest, rows: Sequence[Row]) -> Pivot:
    """Return the layout with layers down and layers across."""
    by, similarity = request.selection.by, request.metric.similarity
    if request.metric.is_of_items:
        name = "context" if any(row["context"] for row in rows) else "text"
        across = ("space",) if len({row["space"] for row in rows}) > 1 else ()
        if not request.parameters["text"]:
            down = (*across, "change", "rank", name)
            return Pivot(down, (), ("mean_overlap", "mean_turnover"), (*down[:-1], "item"))
        names = (*across, name, "layer_name", "layer_name_2")
        heads = (*across, "item", "layer", "layer_2")
        return Pivot(names, (), ("overlap", "turnover", "lost", "gained"), heads)
    shown = request.metric.chart.drawn(rows)
    down = ("layer_name",) if len({row["space"] for row in rows}) == 1 else ("space", "layer_name")
    heads = tuple("layer" if column == "layer_name" else column for column in down)
    if by is not None:
        down, heads = ("group", *down), (by.column, *heads)
    if not request.parameters.get("permutations") or similarity is None:
        return Pivot(down, across=("layer_name_2",), values=(shown,), heads=heads)
    values = dict.fromkeys((shown, similarity.column, similarity.chance, "p", "calibrated"))
    return Pivot((*down, "layer_name_2"), (), values=tuple(values), heads=(*heads, "layer_2"))
