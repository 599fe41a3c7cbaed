"""Find the nearest items of texts in spaces and layers, or the cosine of two texts, as a table."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from embstore.base.arrays import cosines_of
from embstore.base.chart import COSINE
from embstore.base.errors import NotStoredError, QueryError, UsageError
from embstore.base.messages import MOST_NAMED, first_of
from embstore.base.progress import Task, task
from embstore.base.space import Layer
from embstore.base.table import Pivot, Table, table
from embstore.query.layer_data import TransformedLayer, stored_layers, transformed
from embstore.query.lookup import Embed, FoundQueries, Query, look_up_all, look_up_vectors
from embstore.query.nearest import LayerSearch, Vectors, with_all_words
from embstore.query.notes import joined
from embstore.query.provenance import (
    REVISION_COLUMNS,
    REVISION_TYPES,
    Row,
    columns_with_values,
    describe,
)
from embstore.query.request import ALL_ITEMS, Selection, missing_words
from embstore.storage.card import Card, SpaceFilter, select_layers
from embstore.storage.catalog import Catalog

if TYPE_CHECKING:
    from embstore.metrics.transforms import Step
    from embstore.query.nearest import Combination

COLUMNS = (
    "space", "model", *REVISION_COLUMNS, "layer", "layer_name", "query", "rank", "item_id", "text",
    "context",
)  # fmt: skip


def neighbours(
    catalog: Catalog,
    queries: Sequence[Query],
    spaces: SpaceFilter,
    layers: str,
    k: int,
    embed: Embed | None = None,
    transforms: "Sequence[Step]" = (),
    *,
    candidates: Selection = ALL_ITEMS,
    exact: bool = False,
    combination: "Combination | None" = None,
    vectors: Mapping[Query, Vectors] | None = None,
) -> Table:
    """Find the k nearest items of each query, or of a combination of them, in each space and layer.

    The queries' own items are left out. Transformed layers, and layers without an index of all
    items, are scanned exactly. Notes say which layers were scanned, and give the recall of
    approximate indexes.
    """
    if k < 1:
        raise UsageError(f"k must be at least 1, not {k}.")
    cards = _cards(catalog, queries, spaces)
    chosen, notes = select_layers(cards, layers, spaces)
    if vectors is None:
        found, lookup_notes = look_up_all(catalog, cards, queries, chosen, embed)
        notes += lookup_notes
    else:
        found = look_up_vectors(cards, vectors, chosen)
    only = candidates.ids(catalog, [space.card for space in found])
    search = LayerSearch(catalog, k, only, exact, combination)
    if combination is not None:
        found, space_notes = with_all_words(found, combination)
        notes += space_notes
    missing: dict[str, Row] = {}
    for space in found:
        candidates.check_texts(catalog, space.card)
        missing[space.card.space], word_notes = missing_words(catalog, candidates.words, space.card)
        notes += word_notes
    n_layers = {space.card.space: len(chosen[space.card.space]) for space in found if space.vectors}
    with task("search", ", ".join(n_layers), sum(n_layers.values())) as searching:
        rows, search_notes, refused = _search_all(search, found, chosen, transforms, searching)
    if not rows:
        notes.append(
            f"{first_of((space.card.space for space in found), MOST_NAMED)}: there is no other item"
            " to compare with."
        )
    items = catalog.items({row["item_id"] for row in rows}) if rows else {}
    name = " ".join(step.name for step in transforms)
    if name and only is not None:
        notes.append(f"{name}: fitted on the selected items alone.")
    columns = candidates.columns() | ({} if candidates.words is None else {"words_missing": None})
    columns |= {"transform": name} if name else {}
    columns |= {"method": combination.method} if combination is not None else {}
    texts = {
        number: {"text": item.text, "context": None if item.context is None else item.shown}
        for number, item in items.items()
    }
    down = ("query", "rank") if combination is None and len(queries) > 1 else ("rank",)
    return table(
        [row | texts[row["item_id"]] | columns | missing[row["space"]] for row in rows],
        columns=[*columns_with_values((*COLUMNS, search.value), rows), *columns],
        notes=[*joined(search_notes, refused), *joined(notes)],
        types={**REVISION_TYPES, "context": "string"},
        pivot=Pivot(
            down, ("space", "layer_name"), values=(("context", "text"), search.value), joined=True
        ),
    )


def _cards(catalog: Catalog, queries: Sequence[Query], spaces: SpaceFilter) -> list[Card]:
    """Return the spaces to look queries up in: of occurrences alone if all are marked."""
    cards = spaces.select_with_layers(catalog.cards)
    is_marked = all(query.marked for query in queries)
    return [card for card in cards if is_marked and card.unit.has_context] or cards


def _search_all(
    search: LayerSearch,
    found: Sequence[FoundQueries],
    chosen: Mapping[str, Sequence[Layer]],
    transforms: "Sequence[Step]",
    searching: Task,
) -> tuple[list[Row], list[str], list[str]]:
    """Search every space and layer; return the neighbours as rows, notes, and why some layers have
    none.
    """
    rows: list[Row] = []
    notes: list[str] = []
    refused: list[str] = []
    n_layers = 0
    for space in (space for space in found if space.vectors):
        for layer in chosen[space.card.space]:
            n_layers += 1
            after: TransformedLayer | None = None
            if transforms:
                [data] = stored_layers(search.catalog, space.card, [layer], search.only)
                fitted, transform_notes = transformed(data, transforms)
                if not isinstance(fitted, TransformedLayer):
                    refused.append(f"{space.card.space} layer {layer.name}: {fitted}.")
                    continue
                after = fitted
                notes += transform_notes
            layer_rows, layer_notes = search.rows(space, layer, after)
            rows += layer_rows
            notes += layer_notes
            searching.finish()
    if refused and len(refused) == n_layers:
        raise QueryError(f"{refused[0]} Give another transform.")
    return rows, notes, refused


COSINE_COLUMNS = (
    "space",
    "model",
    *REVISION_COLUMNS,
    "layer",
    "layer_name",
    "text",
    "text_2",
    "cosine",
    "reason",
)


def cosines(
    catalog: Catalog,
    queries: Sequence[Query],
    spaces: SpaceFilter,
    layers: str,
    embed: Embed | None = None,
    transforms: "Sequence[Step]" = (),
) -> Table:
    """Compute the cosine of each pair of queries in each space and layer, in float64 from verified
    vectors.
    """
    queries = list(dict.fromkeys(queries))
    if len(queries) < 2:
        raise UsageError("give at least two different texts, as in: embstore cosine bank river")
    cards = _cards(catalog, queries, spaces)
    chosen, notes = select_layers(cards, layers, spaces)
    found, lookup_notes = look_up_all(catalog, cards, queries, chosen, embed)
    notes += lookup_notes
    rows: list[Row] = []
    for space in found:
        for layer in chosen[space.card.space]:
            layer_rows, transform_notes = _layer_rows(catalog, space, queries, layer, transforms)
            rows += layer_rows
            notes += transform_notes
    if not rows:
        shown = ", ".join(repr(query.shown) for query in queries)
        raise NotStoredError(
            f"no space has two of {shown}: {' '.join(notes)} To encode them now, add embed=True."
        )
    columns = {"transform": " ".join(step.name for step in transforms)} if transforms else {}
    down = ("layer_name", "text", "text_2") if len(queries) > 2 else ("layer_name",)
    reasons = [
        f"{row['space']} layer {row['layer_name']}: {row['reason']}."
        for row in rows
        if row["reason"]
    ]
    return table(
        [row | columns for row in rows],
        columns=[*columns_with_values(COSINE_COLUMNS, rows), *columns],
        notes=joined(notes, reasons),
        types={**REVISION_TYPES, "cosine": "number", "reason": "string"},
        chart=COSINE,
        pivot=Pivot(down, ("space",), ("cosine",), heads=("layer", *down[1:]), order="layer"),
    )


def _layer_rows(
    catalog: Catalog,
    found: FoundQueries,
    queries: Sequence[Query],
    layer: Layer,
    transforms: "Sequence[Step]",
) -> tuple[list[Row], list[str]]:
    """Return a row for each pair of queries that a layer has, and notes on the transform."""
    card = found.card
    present = [query for query in queries if layer.id in found.vectors.get(query, ())]
    if len(present) < 2:
        return [], []
    vectors = np.stack([found.vectors[query][layer.id] for query in present]).astype(np.float64)
    reason: str | None = None
    notes: list[str] = []
    if transforms:
        [data] = stored_layers(catalog, card, [layer])
        after, notes = transformed(data, transforms)
        if isinstance(after, TransformedLayer):
            vectors = after.transform(vectors)
        else:
            reason = str(after)
    squares = np.vecdot(vectors, vectors)
    rows: list[Row] = []
    for first, second in combinations(range(len(present)), 2):
        zero = [repr(present[at].shown) for at in (first, second) if not squares[at] > 0]
        why = reason or (f"the vector of {' and of '.join(zero)} is zero" if zero else None)
        cosine = None if why else float(cosines_of(vectors[[second]], vectors[first])[0])
        texts = {"text": present[first].shown, "text_2": present[second].shown}
        rows.append({**describe(card, layer), **texts, "cosine": cosine, "reason": why})
    return rows, notes
