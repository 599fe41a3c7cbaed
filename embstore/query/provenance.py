"""Describe how each row of a result was computed, in columns and notes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from embstore.base.space import Layer
from embstore.base.table import show
from embstore.query.request import MetricRequest, Selection
from embstore.query.revision_columns import REVISION_COLUMNS, revision_of
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.card import Card

Row = dict[str, Any]

SPACE_COLUMNS = ("space", "model", *REVISION_COLUMNS, "unit", "pooling", "template", "layer", "layer_name")

NOTHING_SELECTED = "no item is selected"
"""Reason of a row without vectors."""
NONE_LEFT = "no item that is left is selected"
"""Beginning of the reason of a row without vectors if shards are missing; their names follow."""


def describe(card: Card, layer: Layer) -> Row:
    """Return the columns that name the space and the layer of a row."""
    return {
        "space": card.space, "model": card.model, "unit": card.unit.value, "pooling": card.pooling.value,
        "template": card.template.pattern, "layer": layer.id, "layer_name": layer.name, **revision_of(card),
    }  # fmt: skip


def request_columns(request: MetricRequest) -> Row:
    """Return the columns that are equal in all rows: the parameters, the random seed, and the selection.

    ``words_missing`` is among them, if there is a list of words, as None: see :func:`.item_filter.missing_words`.
    """
    values = {parameter.name: request.parameters[parameter.name] for parameter in request.metric.row_parameters}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    seed = {"seed": request.selection.seed} if request.metric.is_seeded else {}
    missing = {} if request.selection.words is None else {"words_missing": None}
    return plain | seed | request.selection.columns() | missing


def provenance(request: MetricRequest, row: Mapping[str, Any]) -> Row:
    """Return the parameters, seed and selection that a row was computed with.

    The seed, and a parameter that counts draws, are None if nothing was drawn.
    """
    columns = request_columns(request)
    if "seed" not in columns or _is_drawn(request, row):
        return columns
    drawn = [parameter.name for parameter in request.metric.row_parameters if parameter.counts_draws]
    seed = columns["seed"] if request.selection.sample is not None else None
    return columns | {"seed": seed} | {name: None for name in drawn if columns[name]}


def _is_drawn(request: MetricRequest, row: Mapping[str, Any]) -> bool:
    """Return whether the metric used its random seed for a row that its function returned."""
    return "seed" in request.arguments and row.get("seed", request.selection.seed) is not None


def parameter_notes(request: MetricRequest) -> list[str]:
    """Return a note with the parameters that differ from their defaults, since printed tables do not show them."""
    values = request.parameters
    changed = {p.name: values[p.name] for p in request.metric.row_parameters if values[p.name] != p.default}
    shown = [f"{name} = {value if isinstance(value, float) else show(value)}" for name, value in changed.items()]
    return [f"{request.metric.name}: {', '.join(shown)}"] if shown else []


def draw_notes(request: MetricRequest, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return notes on what the metric drew at random for some rows, with the seed."""
    drawn = request.metric.drawn
    columns = request_columns(request)
    rows = [row for row in rows if _is_drawn(request, row)]
    texts = ["drawn at random" if drawn is None else drawn({**columns, **row}) for row in rows]
    return [f"{request.metric.name}: {text} (seed {request.selection.seed})" for text in dict.fromkeys(texts)]


def sample_notes(selection: Selection, card: Card, ids: Ids | None) -> list[str]:
    """Return a note if a space has fewer items than the requested sample.

    Args:
        selection: Selection with the size of the sample.
        card: Card of the space.
        ids: Selected ids; None if all items are used.
    """
    if ids is None or selection.sample is None or len(ids) >= selection.sample:
        return []
    return [f"{_all_items(card.space, selection)}{len(ids)} items."]


def whole_samples(selection: Selection, spaces: Iterable[str], notes: Sequence[str]) -> frozenset[str]:
    """Return the spaces whose sample is all of their items, as their notes say."""
    return frozenset(space for space in spaces if any(note.startswith(_all_items(space, selection)) for note in notes))


def _all_items(space: str, selection: Selection) -> str:
    return f"{space}: the sample of {selection.sample} is all "


def missing_shard_notes(catalog: Catalog, card: Card) -> list[str]:
    """Return a note for each shard of a space that is missing."""
    return [f"{card.space}: {shard} is missing. Run: embstore verify" for shard in catalog.missing_shards(card.space)]


def with_missing_shards(catalog: Catalog, row: Row, *cards: Card) -> Row:
    """Return a row; if it has no vectors and shards of its spaces are missing, with a reason that names them."""
    if row["n"] or row.get("n_zero") or not row["reason"]:
        return row
    spaces = dict.fromkeys(card.space for card in cards)
    missing = [shard for space in spaces for shard in catalog.missing_shards(space)]
    if not missing:
        return row
    return row | {"reason": f"{NONE_LEFT}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"}
