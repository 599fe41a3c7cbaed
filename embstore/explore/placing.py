"""Place a text that is not on a map: by the axes of principal components, or amid its nearest neighbours."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.space import Layer
from embstore.base.table import Row
from embstore.explore.items import card_of, sample_where
from embstore.explore.maps import map_rows, stored_points
from embstore.explore.reading import SQL_LIMITS, Reading
from embstore.metrics.numerics.directions import unit_rows
from embstore.query.layer_maps import shared_basis
from embstore.query.lookup import Embed, look_up, missing_query_notes, parse_queries
from embstore.query.request import Selection, WordList, word_list
from embstore.storage.catalog import Catalog
from embstore.storage.files.card import Card

N_AMID = 5
"""Number of neighbours amid which a text is placed on a map that has no axes."""

_basis = lru_cache(maxsize=2)(shared_basis)  # kept for further texts, as long as the store has the same catalog

Vector = NDArray[np.float32]
Place = list[float] | None


def place(
    store: Reading, *, space: str, name: str = "", text: str = "", marked: str = "", embed: bool = False
) -> dict[str, Any]:
    """Return where a text belongs on a map of a space, layer by layer.

    On a map by principal components it is the exact position. t-SNE gives none to further texts: the place is then the
    mean of the text's five nearest neighbours by cosine on the map, weighted by the inverse square of their distance
    (Shepard, 1968).

    Args:
        store: Store to read.
        space: Name of the space.
        name: Name of the map, as in :func:`find_map`.
        text: Text.
        marked: In place of ``text``, a sentence with one word in brackets.
        embed: Whether to encode a text that is not stored.

    Returns:
        ``places``, for each layer of the map ``[x, y]`` or None for a vector of zeros; ``is_exact``.

    Raises:
        NotStoredError: The text is not stored, and ``embed`` is false.
    """
    card = card_of(store, space)
    rows = map_rows(store, space, name)
    layers = list(card.layers) if rows is None else [card.layers.select(row["layer_name"]).members[0] for row in rows]
    vectors = _vectors(store.catalog, card, layers, text, marked, embed=embed)
    if rows is not None and rows[0]["method"] != "pca":
        points = stored_points(store, space, rows)
        places = [
            _amid(store, space, layer, vectors[layer.id], *found) for layer, found in zip(layers, points, strict=True)
        ]
        return {"places": places, "is_exact": False}
    if rows is None:
        together, selection = "all", Selection(sample_where(store.catalog.count(space)))
    else:
        together = ",".join(rows[-1]["fitted_on"])
        of_map = {name: rows[0][name] for name in ("where", "sample", "seed")}
        selection = Selection(**of_map, limits=SQL_LIMITS, words=_words_of(store, space, rows))
    basis = _basis(store.catalog, space, together, selection)
    fitted_on = card.layers.select(together).members
    exact = [basis.position(fitted_on.index(layer), vectors[layer.id]) for layer in layers]
    return {"places": [None if found is None else found.tolist() for found in exact], "is_exact": True}


def _words_of(store: Reading, space: str, rows: list[Row]) -> WordList | None:
    """Return the words whose items are on a stored map; None if it is of no list of words."""
    if not rows[0]["words"]:
        return None
    ids = np.unique(np.concatenate([ids for ids, _ in stored_points(store, space, rows)]))
    return word_list([item.text for item in store.catalog.items(ids.tolist()).values()])


def _vectors(
    catalog: Catalog, card: Card, layers: list[Layer], text: str, marked: str, *, embed: bool
) -> Mapping[int, Vector]:
    """Return layer id → vector, float32 (dim,), of a text that is stored, or else encoded now."""
    [query] = parse_queries([text] if text else [], [marked] if marked else [])
    found = look_up(catalog, card, [query], layers, _embedder() if embed else None)
    missing_query_notes(catalog, query, [found])
    return found.vectors[query]


def _embedder() -> Embed:
    from embstore.query.embed import embed_item  # loads torch, which stored texts do not need

    return embed_item


def _amid(
    store: Reading, space: str, layer: Layer, vector: Vector, ids: NDArray[np.int64], positions: NDArray[np.float32]
) -> Place:
    """Return the weighted mean of the positions of the nearest items, of those (n,) that are on the map."""
    [unit], [is_zero] = unit_rows(vector[None])
    if is_zero or not len(ids):
        return None
    stored, _, vectors = store.vectors(space, layer.name)
    units, _ = unit_rows(vectors[np.searchsorted(stored, ids)])
    squares = ((units - unit) ** 2).sum(axis=1)
    nearest = np.argsort(squares, kind="stable")[:N_AMID]
    weights = 1 / np.maximum(squares[nearest], 1e-12)  # a text's own place where it is stored
    found: list[float] = ((weights / weights.sum()) @ positions[nearest].astype(np.float64)).tolist()
    return found
