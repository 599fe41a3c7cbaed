"""A metric over spaces and layers: from the summaries where they suffice, from the vectors where not."""

from collections.abc import Mapping, Sequence
from typing import Any

from embstore.case import Case
from embstore.compare import compare
from embstore.errors import NotStoredError, QueryError
from embstore.inputs import cases
from embstore.metrics import Metric, get_metric
from embstore.notes import notes_of
from embstore.question import SPACE_COLUMNS, Question, Rows, describe
from embstore.selection import SpaceFilter, select_layers
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.table import Pivot, Table, table


def query(
    catalog: Catalog,
    name: str,
    spaces: SpaceFilter,
    layers: str,
    rows: Rows,
    parameters: Mapping[str, Any],
) -> Table:
    """Compute a metric and return one row per space and layer, and per dataset or word where it is asked of several.

    Args:
        catalog: the store.
        name: the metric.
        spaces: which spaces.
        layers: which layers, as :meth:`Layers.select` reads them.
        rows: which items, and how they are transformed.
        parameters: of the metric.

    Raises:
        UnknownNameError: a metric, space, model, layer, column, transform or parameter that does not exist.
        QueryError: no space, dataset or text of that kind is in the store.
    """
    metric = get_metric(name)
    values = metric.check(parameters)
    cards, notes = _suitable(metric, spaces.select(catalog.cards))
    question = Question(catalog, metric, values, rows, notes)
    if metric.needs == "layers":
        return compare(question, cards, layers)
    chosen, lacking = select_layers(cards, layers)
    notes += lacking
    result = []
    across: dict[str, None] = {}
    for card, found in _cases(question, [card for card in cards if card.space in chosen]):
        of_layers = question.layers_of(card, chosen[card.space])
        for layer, data in zip(chosen[card.space], of_layers, strict=True):
            for case in found:
                notes += case.notes
                across |= dict.fromkeys(case.columns)
                for row in question.answer(data, case):
                    result.append(describe(card, layer) | row | dict(case.columns) | rows.described())
    if metric.best:
        notes += mark_best(metric, metric.best, result)
    return _tabulate(metric, result, [*rows.described()], notes, tuple(across))


def _cases(question: Question, cards: Sequence[Card]) -> list[tuple[Card, list[Case]]]:
    """Return the cases of each space; one without the dataset, or any word, is left out with a note, if not all are."""
    found, lacking = [], []
    for card in cards:
        try:
            found.append((card, cases(question.metric, question.catalog, card, question.values)))
        except NotStoredError:
            raise
        except QueryError as error:
            lacking.append(error)
            question.notes.append(f"{card.space} is left out: {error}")
    if lacking and not found:
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


def _tabulate(
    metric: Metric, rows: list[dict[str, Any]], described: list[str], notes: list[str], across: tuple[str, ...]
) -> Table:
    """Return the rows, for the eye with layers and words down, spaces and datasets across."""
    keys = tuple(column.name for column in metric.columns if column.is_key)
    names = [column.name for column in metric.columns]
    hidden = {*keys, *(column.name for column in metric.columns if not column.shown), "best"}  # which a star marks
    shown = tuple(name for name in names if name not in hidden)
    down = tuple(key for key in keys if key not in across)
    # A column that has no value was not asked for; where nothing has one, the first says so with a dash.
    seen = tuple(name for name in shown if name == shown[0] or any(row[name] is not None for row in rows))
    notes += notes_of(metric, rows, described, across)
    return table(
        rows,
        columns=[*SPACE_COLUMNS, *keys, "n", *(name for name in names if name not in keys), "reason", *described],
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
