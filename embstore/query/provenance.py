"""Describe how each row of a result was computed, in columns and notes."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embstore.base.table import Pivot, Table, show_parameter, table
from embstore.storage.card import Card
from embstore.storage.catalog import Ids

if TYPE_CHECKING:
    from embstore.base.space import Layer
    from embstore.metrics import Metric
    from embstore.query.request import MetricRequest, Selection

Row = dict[str, Any]

REVISION_COLUMNS = ("revision", "step")
REVISION_TYPES = {
    "revision": "string",
    "step": "integer",
    "revision_2": "string",
    "step_2": "integer",
}


def revision_of(card: Card) -> dict[str, Any]:
    """Return the columns that describe the revision of a space; they are None for a space without
    one.
    """
    return {"revision": card.revision_name, "step": card.step}


def columns_with_values(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return columns without those about revisions that have no value in any row."""
    return [
        name
        for name in columns
        if name not in REVISION_TYPES or any(row[name] is not None for row in rows)
    ]


SPACE_COLUMNS = (
    "space",
    "model",
    *REVISION_COLUMNS,
    "unit",
    "pooling",
    "template",
    "layer",
    "layer_name",
)

_LEVEL = 0.05
NOTHING_SELECTED = "no item is selected"  # reason of a row without vectors
NONE_LEFT = "no item that is left is selected"
"""Beginning of the reason of a row without vectors if shards are missing; their names follow."""


def describe(card: Card, layer: "Layer") -> Row:
    """Return the columns that name the space and the layer of a row."""
    return {
        "space": card.space,
        "model": card.model,
        "unit": card.unit.value,
        "pooling": card.pooling.value,
        "template": card.template.pattern,
        "layer": layer.id,
        "layer_name": layer.name,
        **revision_of(card),
    }


def request_columns(request: "MetricRequest") -> Row:
    """Return the columns that are equal in all rows: the parameters, the random seed, and the
    selection.

    ``words_missing`` is among them, if there is a list of words, as None: see
    :func:`.request.missing_words`.
    """
    given = request.parameters
    values = {
        p.name: None if p.is_words or not p.has_effect(given) else given[p.name]
        for p in request.metric.row_parameters
    }
    plain = {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }
    seed = {"seed": request.selection.seed} if request.metric.is_seeded else {}
    missing = {} if request.selection.words is None else {"words_missing": None}
    return plain | seed | request.selection.columns() | missing


def provenance(request: "MetricRequest", row: Mapping[str, Any]) -> Row:
    """Return the parameters, seed and selection that a row was computed with.

    Values that the row itself has are those that had an effect. The seed, and a parameter that
    counts draws, are None if nothing was drawn.
    """
    columns = request_columns(request)
    columns |= {p.name: row[p.name] for p in request.metric.row_parameters if p.name in row}
    if "seed" not in columns or _is_drawn(request, row):
        return columns
    drawn = [
        parameter.name for parameter in request.metric.row_parameters if parameter.counts_draws
    ]
    seed = columns["seed"] if request.selection.sample is not None else None
    return columns | {"seed": seed} | {name: None for name in drawn if columns[name]}


def _is_drawn(request: "MetricRequest", row: Mapping[str, Any]) -> bool:
    """Return whether the metric used its random seed for a row that its function returned."""
    return "seed" in request.arguments and row.get("seed", request.selection.seed) is not None


def parameter_notes(request: "MetricRequest", rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a note with the parameters that differ from their defaults, since printed tables do
    not show them.
    """
    shown = []
    for parameter in request.metric.row_parameters:
        if parameter.only_with == ("versus", ()):  # the note on versus says them
            continue
        given = (row[parameter.name] for row in rows if row[parameter.name] is not None)
        values = dict.fromkeys(
            tuple(value) if isinstance(value, list) else value for value in given
        )
        if any(value != parameter.default for value in values):
            texts = (
                value if isinstance(value, float) else show_parameter(value) for value in values
            )
            shown.append(f"{parameter.name} = {' or '.join(map(str, texts))}")
    has_words = any(parameter.is_words for parameter in request.metric.row_parameters)
    return [f"{request.metric.name}: {('; ' if has_words else ', ').join(shown)}"] if shown else []


def draw_notes(request: "MetricRequest", rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return notes on what the metric drew at random for some rows, with the seed."""
    drawn = request.metric.drawn
    columns = request_columns(request)
    splits = dict.fromkeys(
        row["n_permutations"] for row in rows if row.get("exact") and "n_permutations" in row
    )
    notes = [
        f"{request.metric.name}: p_value is one-sided and exact, over all {n:,} splits of the words"
        f" into two sets of these sizes: at least {1 / n:.2g}"
        for n in splits
    ]
    rows = [row for row in rows if _is_drawn(request, row)]
    texts = ["drawn at random" if drawn is None else drawn({**columns, **row}) for row in rows]
    notes += [
        f"{request.metric.name}: {text} (seed {request.selection.seed})"
        for text in dict.fromkeys(texts)
    ]
    if request.metric.name == "change" and request.parameters["permutations"]:
        n_tests, n_draws = (
            sum(row["p"] is not None for row in rows),
            request.parameters["permutations"],
        )
        if n_tests / (n_draws + 1) >= _LEVEL:
            notes.append(
                f"too few permutations for {n_tests} tests: no p_holm can be below"
                f" {n_tests / (n_draws + 1):.2g}. Draw more:"
                f" permutations={math.ceil(20 * n_tests / 1000) * 1000}"
            )
    return notes


def sample_notes(selection: "Selection", card: Card, ids: Ids | None) -> list[str]:
    """Return a note if a space has fewer items than the requested sample."""
    if ids is None or selection.sample is None or len(ids) >= selection.sample:
        return []
    return [f"{_all_items(card.space, selection)}{len(ids)} items."]


def whole_samples(
    selection: "Selection", spaces: Iterable[str], notes: Sequence[str]
) -> frozenset[str]:
    """Return the spaces whose sample is all of their items, as their notes say."""
    return frozenset(
        space
        for space in spaces
        if any(note.startswith(_all_items(space, selection)) for note in notes)
    )


def _all_items(space: str, selection: "Selection") -> str:
    return f"{space}: the sample of {selection.sample} is all "


def tabulate(
    request: "MetricRequest",
    rows: Sequence[Row],
    notes: Sequence[str],
    pivot: Pivot,
    second: Sequence[str] = (),
) -> Table:
    """Return the rows of a metric as a table with its chart; ``second`` are columns that name a
    second layer.
    """
    metric, by = request.metric, request.grouping
    group = () if by is None else ("group",)
    keys = [column.name for column in metric.columns if column.is_key]
    names = [column.name for column in metric.columns if not column.is_key]
    return table(
        rows,
        columns=[
            *columns_with_values([*SPACE_COLUMNS, *second], rows),
            *group,
            *keys,
            "n",
            *names,
            "reason",
            *request_columns(request),
        ],
        notes=[*notes, *parameter_notes(request, rows)],
        types={**REVISION_TYPES, **metric.types, **dict.fromkeys(group, "string")},
        chart=metric.chart,
        intervals={
            column.name: (column.limits[0], column.limits[1])
            for column in metric.columns
            if column.limits
        },
        pivot=pivot,
    )


_MAX_NAMED = 30


def notes_of(
    metric: "Metric",
    rows: Sequence[Mapping[str, Any]],
    described: Sequence[str],
    across: Sequence[str],
    whole: Collection[str] = (),
) -> list[str]:
    """Return the notes of the rows of a metric."""
    return [
        *_reasons(metric, rows, described),
        *_left_out(metric, rows),
        *counts(rows, described, across, whole),
    ]


def _reasons(
    metric: "Metric", rows: Sequence[Mapping[str, Any]], described: Sequence[str]
) -> Iterator[str]:
    """Yield the reasons of missing values, once for all layers with the same reason."""
    reasons = []
    for row in rows:
        if not row["reason"]:
            continue
        is_counted = any(row.get(name) for name in ("n_zero", "null_left_out")) or not {
            "total",
            "group",
        }.isdisjoint(row)
        is_of_words = metric.compares_groups or metric.needs in (
            "word sets",
            "word contexts",
        )  # which may be missing
        is_empty = row["n"] == 0 and not is_counted and not is_of_words
        if is_empty and "transform" not in described:
            yield (
                f"{row['space']}:"
                f" {row['reason'] if row['reason'].startswith(NONE_LEFT) else NOTHING_SELECTED}."
            )
        else:
            reasons.append((row, row["reason"]))
    yield from _merged(metric, reasons)


def _left_out(metric: "Metric", rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the counts of excluded vectors, words or sentences, and of ties, that the printed table
    does not show.
    """
    first = next(column.name for column in metric.columns if column.shown and not column.is_key)
    columns = [
        c
        for c in metric.columns
        if c.name in ("n_zero", "n_duplicates", "n_tied") or c.name.endswith("_left_out")
    ]
    counts = [
        (row, f"{column.name} = {row[column.name]} ({column.help})")
        for row in rows
        for column in columns
        if row[first] is not None and row[column.name]
    ]
    yield from _merged(metric, counts)
    rare = {
        (row["space"], row["layer_name"]): (row["n_rare"], row["rare"])
        for row in rows
        if row.get("n_rare")
    }
    text = "{:,} words, or groups of words, have too few contexts and are compared with nothing"
    yield from _merged(
        metric,
        [
            (
                {"space": space, "layer_name": layer},
                text.format(n) + ("" if names is None else f": {names}"),
            )
            for (space, layer), (n, names) in rare.items()
        ],
    )


def _merged(metric: "Metric", row_notes: Iterable[tuple[Mapping[str, Any], str]]) -> Iterator[str]:
    """Yield the notes on rows, those with the same text merged over layers, words and datasets."""
    keys = ["group", *(column.name for column in metric.columns if column.is_key)]
    layers: dict[tuple[str, str, str], list[str]] = {}
    for row, text in row_notes:
        name = ", ".join(str(row[key]) for key in keys if row.get(key) is not None)
        layers.setdefault((row["space"], text, name), []).append(row["layer_name"])
    names: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (space, text, name), layer_names in layers.items():
        names.setdefault((space, text, tuple(layer_names)), []).append(name)
    for (space, text, merged_layers), merged_names in names.items():
        more = (
            f" and {len(merged_names) - _MAX_NAMED} more" if len(merged_names) > _MAX_NAMED else ""
        )
        where = ", ".join(filter(None, [space, *merged_names[:_MAX_NAMED]])) + more
        yield (
            f"{where}: layer{'s' if len(merged_layers) > 1 else ''} {', '.join(merged_layers)}:"
            f" {text}."
        )


def counts(
    rows: Sequence[Mapping[str, Any]],
    described: Sequence[str],
    across: Sequence[str],
    whole: Collection[str],
) -> Iterator[str]:
    """Yield the number of items used in each space or pair of spaces, and in each dataset used in
    part.
    """
    found: dict[tuple[str, str], list[int]] = {}
    drawn = f", a random sample (seed {rows[0]['seed']})" if rows and "sample" in described else ""
    for row in rows:
        where, of_total, total = row["space"], "", row.get("total")
        if row.get("space_2", where) != where:
            where = f"{where} (down) and {row['space_2']} (across)"
        if total is not None and row["n"] != total:
            where, of_total = ", ".join([where, *(str(row[key]) for key in across)]), f" of {total}"
        if row["space"] not in whole:
            of_total += drawn
        found.setdefault((where, of_total), []).append(row["n"])
    after = f", after {rows[0]['transform']}" if rows and "transform" in described else ""
    for (where, of_total), n in found.items():
        yield f"{where}: n = {'–'.join(map(str, sorted({min(n), max(n)})))}{of_total}{after}"
