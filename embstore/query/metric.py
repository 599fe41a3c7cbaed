"""A metric over spaces and layers: from the summaries where they suffice, from the vectors where not."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from embstore.errors import NotStoredError, QueryError
from embstore.metrics import Metric, get_metric
from embstore.metrics.declaration.explain import CacheState, Looked
from embstore.query.cache import Answers
from embstore.query.inputs.case import Case
from embstore.query.inputs.datasets import check_all_taken
from embstore.query.inputs.dispatch import cases
from embstore.query.layer_pairs import compare, stored_pairs
from embstore.query.notes import notes_of
from embstore.query.question import SPACE_COLUMNS, Question, Rows, describe
from embstore.space import Layer
from embstore.storage.catalog import Catalog
from embstore.storage.files.answers import Answer
from embstore.storage.files.card import Card
from embstore.storage.selection import SpaceFilter, check_layer_numbers, select_layers
from embstore.table import Pivot, Table, table


def query(
    catalog: Catalog,
    name: str,
    spaces: SpaceFilter,
    layers: str,
    rows: Rows,
    parameters: Mapping[str, Any],
    *,
    cache: bool = True,
) -> Table:
    """Compute a metric and return one row per space and layer, and per dataset or word where it is asked of several.

    Args:
        catalog: the store.
        name: the metric.
        spaces: which spaces.
        layers: which layers, as :meth:`Layers.select` reads them.
        rows: which items, and how they are transformed.
        parameters: of the metric.
        cache: whether to take answers that the store has, and to keep new ones in it.

    Raises:
        UnknownNameError: a metric, space, model, layer, column, transform or parameter that does not exist.
        QueryError: no space, dataset or text of that kind is in the store, or the layers of a space are shifted.
    """
    question, cards = _ask(catalog, name, spaces, rows, parameters)
    metric, answers = question.metric, Answers(question, use=cache)
    if metric.needs == "layers":
        return compare(question, cards, layers, answers)
    chosen, lacking = select_layers(cards, layers)
    question.notes += lacking
    result = []
    across: dict[str, None] = {}
    for card, of_layers in _answered(question, [card for card in cards if card.space in chosen], chosen, answers):
        question.notes += question.lost_shards(card)
        for layer in chosen[card.space]:
            answer = of_layers[layer]
            question.notes += [*answer.notes, *question.draws(answer.rows)]
            across |= dict.fromkeys(answer.across)
            result += [
                describe(card, layer) | question.explained(row, card) | question.told(row) for row in answer.rows
            ]
    if metric.best:
        question.notes += mark_best(metric, metric.best, result)
    return _tabulate(question, result, tuple(across))


def cache_state(
    catalog: Catalog, name: str, spaces: SpaceFilter, layers: str, rows: Rows, parameters: Mapping[str, Any]
) -> CacheState:
    """Return which answers to a question are stored; computes nothing. Arguments and errors: see :func:`query`."""
    question, cards = _ask(catalog, name, spaces, rows, parameters)
    answers = Answers(question)
    found: list[Looked] = []
    if question.metric.needs == "layers":
        for space, space_2, of, is_stored in stored_pairs(question, cards, layers, answers):
            found.append(Looked(space, space_2, tuple(layer.name for layer in of), is_stored))
    else:
        chosen, _ = select_layers(cards, layers)
        for card in cards:
            stored = answers.find(card, chosen.get(card.space, ()))
            found += [Looked(card.space, None, (one.name,), one in stored) for one in chosen.get(card.space, ())]
    plain = question.metric.needs == "summary" and not rows.described()
    return CacheState(tuple(found), answers.refused, may_need_no_vectors=plain)


def _ask(
    catalog: Catalog, name: str, spaces: SpaceFilter, rows: Rows, parameters: Mapping[str, Any]
) -> tuple[Question, list[Card]]:
    """Return the question, and the spaces that it can be asked of."""
    metric = get_metric(name)
    values = metric.check(parameters)
    cards, notes = _suitable(metric, spaces.select(catalog.cards))
    cards, shifted = check_layer_numbers(cards, spaces.spaces)
    return Question(catalog, metric, values, rows, [*notes, *shifted]), cards


def _answered(
    question: Question, cards: Sequence[Card], layers: Mapping[str, Sequence[Layer]], answers: Answers
) -> Iterator[tuple[Card, dict[Layer, Answer]]]:
    """Yield the answers for each space: those that are stored, and those that are computed and stored now."""
    known = {card.space: answers.find(card, layers[card.space]) for card in cards}
    lacking = [card for card in cards if len(known[card.space]) < len(layers[card.space])]
    found = _cases(question, lacking, n_known=len(cards) - len(lacking))
    if question.metric.needs == "pairs":
        check_all_taken(question.catalog, cards, question.values["dataset"], _taken(known, found))
    for card in cards:
        of_layers = known[card.space]
        if card in lacking:
            if card.space not in found:
                continue
            missing = [layer for layer in layers[card.space] if layer not in of_layers]
            for layer, answer in question.answers(card, missing, found[card.space]):
                answers.keep(card, layer, answer)
                of_layers[layer] = answer
        yield card, of_layers


def _taken(known: Mapping[str, Mapping[Layer, Answer]], found: Mapping[str, Sequence[Case]]) -> set[Any]:
    """Return the datasets that the answers, and the cases of others, are of."""
    answers = [answer for of_layers in known.values() for answer in of_layers.values()]
    of_cases = {case.columns["dataset"] for cases in found.values() for case in cases}
    return of_cases | {row["dataset"] for answer in answers for row in answer.rows}


def _cases(question: Question, cards: Sequence[Card], n_known: int) -> dict[str, list[Case]]:
    """Return the cases of each space; one without the dataset, or any word, is left out with a note, if not all are.

    Args:
        question: what is asked.
        cards: the spaces.
        n_known: how many other spaces have an answer.
    """
    found, lacking = {}, []
    for card in cards:
        try:
            found[card.space] = cases(question.metric, question.catalog, card, question.values)
        except NotStoredError:
            raise
        except QueryError as error:
            lacking.append(error)
            question.notes.append(f"{card.space} is left out: {error}")
    if lacking and not found and not n_known:
        raise lacking[0]
    return found


def mark_best(metric: Metric, value: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Mark the rows of the layer in which a value is highest, of each space (and dataset), and return a note of each.

    Args:
        metric: whose rows they are.
        value: the column. Of equal values the lower layer's is the best.
        rows: get ``best``: True, False, or None where there is no value.
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
            notes.append(f"{', '.join(group)}: {value} is highest in layer {best['layer_name']} ({best[value]:.4f}).")
    return notes


def _suitable(metric: Metric, cards: list[Card]) -> tuple[list[Card], list[str]]:
    """Return the spaces of a unit that the metric makes sense for, and a note for each of the others."""
    if not metric.units:
        return cards, []
    suitable = [card for card in cards if card.unit in metric.units]
    units = " or ".join(metric.units)
    if not suitable:
        raise QueryError(
            f"{metric.name} is about {units} spaces, and none is among {', '.join(card.space for card in cards)}. "
            f"Make one with: embstore build SOURCE --unit {metric.units[0]}. {metric.elsewhere}".rstrip()
        )
    notes = [
        f"{card.space} is left out: {metric.name} is about {units} spaces." for card in cards if card not in suitable
    ]
    return suitable, notes


def _tabulate(question: Question, rows: list[dict[str, Any]], across: tuple[str, ...]) -> Table:
    """Return the rows, for the eye with layers and words down, spaces and datasets across."""
    metric = question.metric
    keys = tuple(column.name for column in metric.columns if column.is_key)
    names = [column.name for column in metric.columns]
    hidden = {*keys, *(column.name for column in metric.columns if not column.shown), "best"}  # which a star marks
    shown = tuple(name for name in names if name not in hidden)
    down = tuple(key for key in keys if key not in across)
    # A column that has no value was not asked for; where nothing has one, the first says so with a dash.
    seen = tuple(name for name in shown if name == shown[0] or any(row[name] is not None for row in rows))
    own = [name for name in names if name not in keys]
    notes = [*question.notes, *notes_of(metric, rows, [*question.rows.described()], across), *question.changes]
    return table(
        rows,
        columns=[*SPACE_COLUMNS, *keys, "n", *own, "reason", *question.said],
        notes=list(dict.fromkeys(notes)),
        types=metric.types,
        pivot=Pivot(
            down=("layer_name", *down),
            across=("space", *across),
            values=seen,
            heads=("layer", *down),
            order="layer",
            mark="best" if metric.best else None,
        ),
    )
