"""The nearest items of a text, over spaces and layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore import index
from embstore.errors import DamagedError, QueryError, UsageError
from embstore.layerdata import StoredLayer, TransformedLayer
from embstore.lookup import Embed, Found, Query, check_found, look_up
from embstore.metrics import LayerData, NotComputable
from embstore.metrics.transforms import Step, fit
from embstore.selection import SpaceFilter, select_layers
from embstore.space import Layer, Unit
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.table import Pivot, Table, table
from embstore.text import Item

COLUMNS = ("space", "model", "layer", "layer_name", "query", "rank", "item_id", "text", "context", "cosine")

_SELF_COSINE_ERROR = 1e-4


def neighbours(
    catalog: Catalog,
    queries: Sequence[Query],
    spaces: SpaceFilter,
    layers: str,
    k: int,
    embed: Embed | None = None,
    transforms: Sequence[Step] = (),
) -> Table:
    """Find the k nearest items of each query, by cosine, in each space and layer.

    The item itself is left out. A layer without an index that covers all shards is scanned exactly, and a note says so;
    so is one that is transformed.

    Args:
        catalog: the store.
        queries: the texts.
        spaces: which spaces.
        layers: which layers, as :meth:`Layers.select` reads them.
        k: how many neighbours; fewer where the space has fewer.
        embed: encodes a text that is not stored; None refuses such a text.
        transforms: applied to the vectors of a layer first, fitted on all of them, and to the queries' vectors too.

    Raises:
        NotStoredError: a text is in none of the spaces and ``embed`` is None.
        QueryError: no layer can be transformed like this.
        UsageError: a word is in no other space than one that has it in several sentences.
        DamagedError: a file that is needed was altered.
    """
    if k < 1:
        raise UsageError(f"k must be at least 1, not {k}.")
    cards = spaces.select(catalog.cards)
    if all(query.marked for query in queries):  # only occurrences can be what is meant
        cards = [card for card in cards if card.unit is Unit.OCCURRENCE] or cards
    chosen, notes = select_layers(cards, layers)
    found = [look_up(catalog, card, queries, chosen[card.space], embed) for card in cards if card.space in chosen]
    for query in queries:
        check_found(catalog, query, found, notes)
    rows = _search_all(catalog, found, chosen, transforms, k, notes)
    items = catalog.items({row["item_id"] for row in rows}) if rows else {}
    name = " ".join(step.name for step in transforms)
    return _tabulate([row | _text_of(items, row) for row in rows], notes, several=len(queries) > 1, transform=name)


def _search_all(
    catalog: Catalog,
    found: Sequence[Found],
    chosen: Mapping[str, Sequence[Layer]],
    transforms: Sequence[Step],
    k: int,
    notes: list[str],
) -> list[dict[str, Any]]:
    """Return the hits in each space and layer."""
    rows: list[dict[str, Any]] = []
    refused: list[str] = []
    n_asked = 0
    for one in found:
        summaries = catalog.summaries(one.card.space) if transforms and one.vectors else {}
        for layer in chosen[one.card.space] if one.vectors else []:
            n_asked += 1
            data = StoredLayer(catalog, one.card, layer, None, summaries.get(layer.id))
            try:
                transformed = _transformed(data, transforms, notes) if transforms else None
            except NotComputable as error:
                refused.append(f"{one.card.space} layer {layer.name}: {error}.")
            else:
                rows += _search_layer(catalog, one, layer, transformed, k, notes)
    if refused and len(refused) == n_asked:
        raise QueryError(f"{refused[0]} Give another --transform.")
    notes += refused
    return rows


def _transformed(data: StoredLayer, steps: Sequence[Step], notes: list[str]) -> TransformedLayer:
    """Return a layer after transforms that are fitted on all its vectors."""
    space, names = data.card.space, " ".join(step.name for step in steps)
    transform = fit(data, steps)
    notes.append(f"{space}: n = {data.summary.n}, after {names}: answered by an exact scan.")
    notes += [f"{space} layer {data.layer.name}: {note}." for note in transform.notes]
    return TransformedLayer(data, transform, transform.dim)


def _search_layer(
    catalog: Catalog, found: Found, layer: Layer, transformed: TransformedLayer | None, k: int, notes: list[str]
) -> list[dict[str, Any]]:
    asked = [query for query in found.vectors if layer.id in found.vectors[query]]
    if not asked:
        return []
    vectors: NDArray[np.floating] = np.stack([found.vectors[query][layer.id] for query in asked])
    if not np.isfinite(vectors).all():
        raise DamagedError(
            f"a stored vector in {catalog.paths.embeddings(found.card.space)} is not finite: a file there is damaged. "
            "Run: embstore verify"
        )
    if transformed is not None:
        vectors = transformed.transform(vectors)
    after = "" if transformed is None else ", transformed"
    has_direction = (vectors != 0).any(axis=1)
    usable = [query for query, has in zip(asked, has_direction, strict=True) if has]
    notes += [
        f"{query.shown!r} is the zero vector in {found.card.space} layer {layer.name}{after}: no direction."
        for query in asked
        if query not in usable
    ]
    if not usable:
        return []
    if transformed is None:
        ids, cosines = _search(catalog, found.card, layer, vectors[has_direction], k + 1, notes)
    else:
        ids, cosines = _scan(transformed, vectors[has_direction], k + 1)
    rows = []
    for query, near, near_cosines in zip(usable, ids, cosines, strict=True):
        hits = [(int(i), float(c)) for i, c in zip(near, near_cosines, strict=True) if i >= 0]
        _check_cosines(catalog, found, query, layer, hits)
        others = [hit for hit in hits if hit[0] != found.stored.get(query)][:k]
        rows += [
            {
                "space": found.card.space, "model": found.card.model, "layer": layer.id, "layer_name": layer.name,
                "query": query.shown, "rank": rank, "item_id": item, "cosine": cosine,
            }
            for rank, (item, cosine) in enumerate(others, 1)
        ]  # fmt: skip
    return rows


def _search(
    catalog: Catalog, card: Card, layer: Layer, vectors: NDArray[np.floating], k: int, notes: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    path = catalog.paths.index(card.space, layer)
    shards = [shard.name for shard in catalog.shards[card.space]]
    if (found := index.search(path, shards, vectors, k)) is not None:
        return found
    state = "has no index" if index.IndexCard.read(path) is None else "has an index of other shards (it is behind)"
    notes.append(f"{card.space} layer {layer.name} {state}: answered by an exact scan.")
    return _scan(StoredLayer(catalog, card, layer), vectors, k)


def _scan(data: LayerData, vectors: NDArray[np.floating], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    return index.search_exact(data.map_with_ids(lambda ids, block: (ids, block)), vectors, k)


def _check_cosines(catalog: Catalog, found: Found, query: Query, layer: Layer, hits: list[tuple[int, float]]) -> None:
    """Raise DamagedError where a cosine is none, or the index disagrees with the stored vector about the item itself.

    The item is among the hits with cosine 1, unless as many others have cosine 1 too.
    """
    path = catalog.paths.index(found.card.space, layer)
    if not all(abs(cosine) <= 1 + _SELF_COSINE_ERROR for _, cosine in hits):
        raise DamagedError(
            f"{path} gives a cosine that is none: it is damaged. Delete it and its card, and build again to make it "
            "anew; until then an exact scan answers."
        )
    if query not in found.stored:
        return
    cosine = dict(hits).get(found.stored[query], hits[-1][1] if hits else 0.0)
    if abs(cosine - 1) > _SELF_COSINE_ERROR:
        raise DamagedError(
            f"the vector of {query.shown!r} in {catalog.paths.embeddings(found.card.space)} and the index {path} "
            f"disagree about layer {layer.name}: one of them is damaged. Run: embstore verify"
        )


def _text_of(items: Mapping[int, Item], row: Mapping[str, Any]) -> dict[str, Any]:
    item = items[row["item_id"]]
    return {"text": item.text, "context": None if item.context is None else item.shown}


def _tabulate(rows: Sequence[Mapping[str, Any]], notes: Sequence[str], *, several: bool, transform: str) -> Table:
    said = {"transform": transform} if transform else {}
    return table(
        [{**row, **said} for row in rows],
        columns=[*COLUMNS, *said],
        notes=list(dict.fromkeys(notes)),
        types={"context": "string"},
        pivot=Pivot(
            down=("query", "rank") if several else ("rank",),
            across=("space", "layer_name"),
            values=(("context", "text"), "cosine"),
            joined=True,
        ),
    )
