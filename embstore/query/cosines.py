"""Compute the cosine of two texts in spaces and layers, as a table."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import cosines_of
from embstore.base.chart import COSINE
from embstore.base.errors import NotStoredError, UsageError
from embstore.base.space import Layer, Unit
from embstore.base.table import Pivot, Table, table
from embstore.query.lookup import Embed, FoundQueries, Query, look_up, missing_query_notes
from embstore.query.provenance import REVISION_COLUMNS, REVISION_TYPES, columns_with_values, revision_of
from embstore.storage.catalog import Catalog
from embstore.storage.selection import SpaceFilter, select_layers

if TYPE_CHECKING:
    from embstore.metrics.transforms import Step

Float64Array = NDArray[np.float64]

COLUMNS = ("space", "model", *REVISION_COLUMNS, "layer", "layer_name", "text", "text_2", "cosine", "reason")


def cosines(
    catalog: Catalog,
    queries: Sequence[Query],
    spaces: SpaceFilter,
    layers: str,
    embed: Embed | None = None,
    transforms: "Sequence[Step]" = (),
) -> Table:
    """Compute the cosine of each pair of queries in each space and layer, in float64 from verified vectors."""
    queries = list(dict.fromkeys(queries))
    if len(queries) < 2:
        raise UsageError("give at least two different texts, as in: embstore cosine bank river")
    cards = spaces.select(catalog.cards)
    if all(query.marked for query in queries):  # only occurrences have brackets
        cards = [card for card in cards if card.unit is Unit.OCCURRENCE] or cards
    chosen, notes = select_layers(cards, layers)
    found = [look_up(catalog, card, queries, chosen[card.space], embed) for card in cards if card.space in chosen]
    notes += [note for query in queries for note in missing_query_notes(catalog, query, found)]
    rows: list[dict[str, Any]] = []
    for space in found:
        for layer in chosen[space.card.space]:
            layer_rows, transform_notes = _layer_rows(catalog, space, queries, layer, transforms)
            rows += layer_rows
            notes += transform_notes
    if not rows:
        shown = ", ".join(repr(query.shown) for query in queries)
        raise NotStoredError(f"no space has two of {shown}: {' '.join(notes)} To encode them now, add ⦃embed=True⦄.")
    return _tabulate(rows, notes, transforms, several=len(queries) > 2)


def _layer_rows(
    catalog: Catalog, found: FoundQueries, queries: Sequence[Query], layer: Layer, transforms: "Sequence[Step]"
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a row for each pair of queries that a layer has, and notes on the transform."""
    card = found.card
    present = [query for query in queries if layer.id in found.vectors.get(query, ())]
    if len(present) < 2:
        return [], []
    vectors = np.stack([found.vectors[query][layer.id] for query in present]).astype(np.float64)
    reason: str | None = None
    notes: list[str] = []
    if transforms:
        from embstore.query.layer_data import StoredLayer, TransformedLayer, transformed

        data = StoredLayer(catalog, card, layer, None, catalog.summaries(card.space).get(layer.id))
        after, notes = transformed(data, transforms)
        if isinstance(after, TransformedLayer):
            vectors = after.transform(vectors)
        else:
            reason = str(after)
    shared = {
        "space": card.space, "model": card.model, "layer": layer.id, "layer_name": layer.name, **revision_of(card),
    }  # fmt: skip
    rows = [
        {**shared, "text": first, "text_2": second, "cosine": cosine, "reason": reason or why_not}
        for first, second, cosine, why_not in _pairs([query.shown for query in present], vectors)
    ]
    return [row | {"cosine": None} if reason else row for row in rows], notes


def _pairs(texts: Sequence[str], vectors: Float64Array) -> Iterator[tuple[str, str, float | None, str | None]]:
    """Yield each pair of texts with its cosine, or None and the reason why there is none."""
    squares = np.vecdot(vectors, vectors)
    for first, second in combinations(range(len(texts)), 2):
        zero = [repr(texts[row]) for row in (first, second) if not squares[row] > 0]
        if zero:
            yield texts[first], texts[second], None, f"the vector of {' and of '.join(zero)} is zero"
        else:
            [cosine] = cosines_of(vectors[[second]], vectors[first])
            yield texts[first], texts[second], float(cosine), None


def _tabulate(
    rows: Sequence[Mapping[str, Any]], notes: Sequence[str], transforms: "Sequence[Step]", *, several: bool
) -> Table:
    """Return the cosines as a table that is printed with layers and pairs down, spaces across."""
    name = " ".join(step.name for step in transforms)
    columns = {"transform": name} if name else {}
    down = ("layer_name", "text", "text_2") if several else ("layer_name",)
    reasons = [f"{row['space']} layer {row['layer_name']}: {row['reason']}." for row in rows if row["reason"]]
    return table(
        [{**row, **columns} for row in rows],
        columns=[*columns_with_values(COLUMNS, rows), *columns],
        notes=list(dict.fromkeys([*notes, *reasons])),
        types={**REVISION_TYPES, "cosine": "number", "reason": "string"},
        chart=COSINE,
        pivot=Pivot(down, ("space",), ("cosine",), heads=("layer", *down[1:]), order="layer"),
    )
