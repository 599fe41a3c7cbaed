"""Find the nearest items of texts in spaces and layers, as a table."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embstore import index
from embstore.base.errors import QueryError, UsageError
from embstore.base.progress import Task, task
from embstore.base.space import Layer, Unit
from embstore.base.table import Pivot, Table, table
from embstore.base.text import Item
from embstore.query.layer_data import StoredLayer, TransformedLayer, transformed
from embstore.query.lookup import Embed, FoundQueries, Query, look_up, look_up_vectors, missing_query_notes
from embstore.query.nearest import CombinationSearch, LayerSearch, Vectors, with_all_words
from embstore.query.provenance import REVISION_COLUMNS, REVISION_TYPES, columns_with_values
from embstore.query.request import ALL_ITEMS, ItemFilter, missing_words
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card
from embstore.storage.selection import SpaceFilter, select_layers

if TYPE_CHECKING:
    from embstore.metrics.transforms import Step
    from embstore.query.nearest import Combination

COLUMNS = (
    "space", "model", *REVISION_COLUMNS, "layer", "layer_name", "query", "rank", "item_id", "text", "context",
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
    candidates: ItemFilter = ALL_ITEMS,
    exact: bool = False,
    combination: "Combination | None" = None,
    vectors: Mapping[Query, Vectors] | None = None,
) -> Table:
    """Find the k nearest items of each query, or of a combination of them, in each space and layer.

    The queries' own items are left out. Transformed layers, and layers without an index of all shards, are scanned
    exactly. Notes say which layers were scanned, and give the recall of approximate indexes.
    """
    if k < 1:
        raise UsageError(f"k must be at least 1, not {k}.")
    cards = spaces.select(catalog.cards)
    if all(query.marked for query in queries):  # only occurrences have brackets
        cards = [card for card in cards if card.unit is Unit.OCCURRENCE] or cards
    chosen, notes = select_layers(cards, layers)
    if not exact and not transforms:
        index.open_in_background(
            (catalog.paths.index(space, layer), catalog.shard_names(space))
            for space in chosen for layer in chosen[space]
        )  # fmt: skip
    if combination is None:
        notes += _maybe_one_sentence(queries, cards, embed)
    if vectors is None:
        found = [look_up(catalog, card, queries, chosen[card.space], embed) for card in cards if card.space in chosen]
        notes += [note for query in queries for note in missing_query_notes(catalog, query, found)]
    else:
        found = look_up_vectors(cards, vectors, chosen)
    only = candidates.ids(catalog, [space.card for space in found])
    search = LayerSearch(catalog, k, only, exact)
    if combination is not None:
        search = CombinationSearch(catalog, k, only, exact, combination=combination)
        found, space_notes = with_all_words(found, combination)
        notes += space_notes
    missing: dict[str, dict[str, Any]] = {}
    for space in found:
        candidates.check_texts(catalog, space.card)
        missing[space.card.space], word_notes = missing_words(catalog, candidates.words, space.card)
        notes += word_notes
    n_layers = {space.card.space: len(chosen[space.card.space]) for space in found if space.vectors}
    with task("search", ", ".join(n_layers), sum(n_layers.values())) as searching:
        rows, search_notes = _search_all(search, found, chosen, transforms, searching)
    notes += search_notes
    items = catalog.items({row["item_id"] for row in rows}) if rows else {}
    name = " ".join(step.name for step in transforms)
    columns = candidates.columns() | ({} if candidates.words is None else {"words_missing": None})
    columns |= {"transform": name} if name else {}
    columns |= {"method": combination.method} if combination is not None else {}
    rows = [row | _text_of(items[row["item_id"]]) | columns | missing[row["space"]] for row in rows]
    several = combination is None and len(queries) > 1
    return _tabulate(rows, notes, [*columns], search.value, several=several)


def _maybe_one_sentence(queries: Sequence[Query], cards: Sequence[Card], embed: Embed | None) -> list[str]:
    """Return a note if the queries are single words for a space of sentences: possibly one sentence without quotes."""
    words = [query.shown for query in queries if query.marked is None]
    is_doubtful = embed is not None and len(words) > 1 and not any(" " in word for word in words)
    if not is_doubtful or not any(card.unit is Unit.SENTENCE for card in cards):
        return []
    return [f'these are {len(words)} texts of one word each. If they are one sentence, quote it: "{" ".join(words)}".']


def _search_all(
    search: LayerSearch,
    found: Sequence[FoundQueries],
    chosen: Mapping[str, Sequence[Layer]],
    transforms: "Sequence[Step]",
    searching: Task,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Search every space and layer; return the neighbours as rows, and notes."""
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    refused: list[str] = []
    n_layers = 0
    for space in (space for space in found if space.vectors):
        summaries = search.catalog.summaries(space.card.space) if transforms else {}
        for layer in chosen[space.card.space]:
            n_layers += 1
            known = None if search.only is not None else summaries.get(layer.id)
            after: TransformedLayer | None = None
            if transforms:
                data = StoredLayer(search.catalog, space.card, layer, search.only, known)
                fitted, transform_notes = transformed(data, transforms)
                if not isinstance(fitted, TransformedLayer):
                    refused.append(f"{space.card.space} layer {layer.name}: {fitted}.")
                    continue
                after = fitted
                names = " ".join(step.name for step in transforms)
                notes.append(f"{space.card.space}: n = {data.summary.n}, after {names}: answered by an exact scan.")
                notes += transform_notes
            layer_rows, layer_notes = search.rows(space, layer, after)
            rows += layer_rows
            notes += layer_notes
            searching.finish((space.card.space, layer.id))
    if refused and len(refused) == n_layers:
        raise QueryError(f"{refused[0]} Give another ⦃transform⦄.")
    return rows, [*notes, *refused]


def _text_of(item: Item) -> dict[str, Any]:
    """Return the columns with the text of a neighbour, and for an occurrence its sentence."""
    return {"text": item.text, "context": None if item.context is None else item.shown}


def _tabulate(
    rows: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
    extra_columns: Sequence[str],
    value: str,
    *,
    several: bool,
) -> Table:
    """Return the neighbours as a table that is printed with ranks down, spaces and layers across."""
    return table(
        rows,
        columns=[*columns_with_values((*COLUMNS, value), rows), *extra_columns],
        notes=list(dict.fromkeys(notes)),
        types={**REVISION_TYPES, "context": "string"},
        pivot=Pivot(
            down=("query", "rank") if several else ("rank",),
            across=("space", "layer_name"),
            values=(("context", "text"), value),
            joined=True,
        ),
    )
