"""Return the map of a space: a stored one, or principal components computed now; pack it; place
further texts on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float32Array, Ids
from embstore.base.documents import Document
from embstore.base.errors import UnknownNameError
from embstore.base.space import Layer
from embstore.base.table import Row
from embstore.explore.items import (
    SQL_LIMITS,
    Reading,
    SpaceItems,
    card_of,
    layer_names,
    read_items,
    sample_where,
)
from embstore.explore.rendering import calls, to_json
from embstore.metrics.numerics.linear_algebra import unit_rows
from embstore.query.layer_maps import shared_basis
from embstore.query.lookup import Embed, look_up, missing_query_notes, parse_queries
from embstore.query.map_methods import SharedBasis, kept_of_some
from embstore.query.request import Selection
from embstore.query.words import word_list
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog
from embstore.storage.maps import read_map

NOW = "pca"  # name of the map by principal components that is computed when it is asked for

_LARGEST = 65_535
_N_NEAREST = 5
# Kept for further texts, as long as the store has the same catalog.
_basis = lru_cache(maxsize=2)(shared_basis)

Positions = NDArray[np.float32]
Points = tuple[Ids, Positions]


@dataclass(frozen=True)
class SpaceMap:
    """A two-dimensional map of the items of a space in each layer."""

    items: SpaceItems
    layers: list[str]
    positions: Positions  # (layers, n, 2)
    method: str  # pca or tsne
    # Of each layer, as kept_now returns them; None if they were not measured.
    kept: list[float | None] | None


def find_map(store: Reading, space: str, name: str = "") -> SpaceMap:
    """Return a map of a space: the stored one of this name, or principal components computed
    now.
    """
    rows = _map_rows(store, space, name)
    if rows is None:
        return pca_now(store, space)
    names, kept = ([row[name] for row in rows] for name in ("layer_name", "kept"))
    points = _stored_points(store, space, rows)
    return _assemble(read_items(store, space), names, points, rows[0]["method"], kept)


def _map_rows(store: Reading, space: str, name: str = "") -> list[Row] | None:
    """Return the rows of :meth:`Store.maps` of the map that :func:`find_map` returns; None for one
    computed now.
    """
    stored = stored_maps(store).get(space, {})
    if name in stored or (not name and stored):
        return stored[name or next(iter(stored))]
    if name not in ("", NOW):
        raise UnknownNameError("map", name, [NOW, *stored])
    return None


def commands_of(
    store: Reading, space: str, name: str = "", folder: Path | None = None
) -> dict[str, str]:
    """Return the command, and the line of Python, that make the map that :func:`find_map`
    returns.
    """
    folder = folder or store.path
    rows = _map_rows(store, space, name)
    options: dict[str, Any]
    if rows is None:
        options = {"method": "pca", "where": sample_where(store.catalog.count(space))}
    else:
        options = {key: rows[0][key] for key in ("method", "where", "words", "sample")}
        options["seed"] = rows[0]["seed"] or None
        together = rows[-1]["fitted_on"]
        options["layers"] = (
            ",".join(together) if len(together) < len(layer_names(store, space)) else None
        )
    return calls("map", folder, {"spaces": [space], **options})


def stored_maps(store: Reading) -> dict[str, dict[str, list[Row]]]:
    """Return space → name → rows of :meth:`Store.maps`, one for each layer, of current maps, t-SNE
    before others.
    """
    maps: dict[str, dict[str, list[Row]]] = {}
    rows = [row for row in store.maps() if row["state"] == "current"]

    def order(row: Row) -> tuple[bool, bool, int, int, int, int]:
        n = len(row["fitted_on"]) if row["method"] == "pca" else 0
        return (
            row["words"] is not None,
            row["method"] != "tsne",
            row["sample"] or 0,
            row["seed"],
            -n,
            row["layer"],
        )

    for row in sorted(rows, key=order):
        settings = [f"{key} {row[key]}" for key in ("where", "words", "sample", "seed") if row[key]]
        if (
            row["words"]
            and len({other["words_sha256"] for other in rows if other["words"] == row["words"]}) > 1
        ):
            settings.append(f"list {row['words_sha256'][:8]}")  # a file that has changed since
        for together in _mapped_together(row, rows):
            layers = (
                []
                if len(together) == len(layer_names(store, row["space"]))
                else [f"layers {','.join(together)}"]
            )
            name = ", ".join([f"stored {row['method']}", *layers, *settings])
            maps.setdefault(row["space"], {}).setdefault(name, []).append(row)
    # The first one opens, and maps of one layer have nothing to go through.
    return {
        space: dict(sorted(named.items(), key=lambda map: len(map[1]) == 1))
        for space, named in maps.items()
    }


def _mapped_together(row: Row, rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the sets of layers that a map belongs to: of ``tsne`` all chains that begin with the
    layers below it.
    """
    settings = ("space", "method", "where", "words_sha256", "sample", "seed")
    alike = [other for other in rows if all(other[name] == row[name] for name in settings)]
    chains = {tuple(other["fitted_on"]) for other in alike}
    fitted_on = tuple(row["fitted_on"])
    if row["method"] != "tsne":
        return [fitted_on]
    shorter = {chain[:length] for chain in chains for length in range(len(chain))}
    containing = (chain for chain in chains - shorter if chain[: len(fitted_on)] == fitted_on)
    return sorted(containing, key=lambda chain: (-len(chain), chain))


def _stored_points(store: Reading, space: str, rows: list[Row]) -> list[Points]:
    """Return the ids and positions of each layer of a stored map."""
    if rows[0]["words"]:  # the list itself is not stored
        maps = [read_map(store.catalog.root, store.catalog.root / row["file"]) for row in rows]
        return [(stored.ids, stored.positions) for stored in maps]
    options = {name: rows[0][name] for name in ("method", "where", "sample", "seed")}
    together = ",".join(rows[-1]["fitted_on"])
    return [store.map_points(space, row["layer_name"], layers=together, **options) for row in rows]


def pca_now(store: Reading, space: str) -> SpaceMap:
    """Compute the map by principal components that ``Store.map`` computes, of the items that a page
    shows.

    Nothing is written.
    """
    items = read_items(store, space)
    basis, names = SharedBasis.of(items.layers()), list(items.card.layers.names)
    points = [basis.project(place) for place in range(len(names))]
    return _assemble(items, names, points, "pca", None)


def kept_now(store: Reading, space: str) -> list[float | None]:
    """Return for each layer the share of the ten nearest neighbours that are so on the map of
    :func:`pca_now` too.

    They take longer than the map itself.
    """
    shown = pca_now(store, space)
    return [
        kept_of_some(data, shown.items.ids, positions, 0).share
        for data, positions in zip(shown.items.layers(), shown.positions, strict=True)
    ]


def _assemble(
    items: SpaceItems,
    layers: list[str],
    points: list[Points],
    method: str,
    kept: list[float | None] | None,
) -> SpaceMap:
    """Return the map of the items that have a place in all layers."""
    items = items.only(
        np.logical_and.reduce([np.isin(items.ids, ids, assume_unique=True) for ids, _ in points])
    )
    positions = [places[np.searchsorted(ids, items.ids)] for ids, places in points]
    return SpaceMap(items, layers, np.stack(positions), method, kept)


def pack(shown: SpaceMap, more: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a map, little-endian.

    The length of the header (uint32), the header (JSON in UTF-8, padded with spaces to a multiple
    of 8 bytes with the length), item ids (int64, n), positions (uint16, layers × n × 2) between the
    header's ``low`` and ``high``.
    """
    items, positions = shown.items, shown.positions
    flat = positions.reshape(-1, 2).astype(np.float64)
    low, high = (flat.min(axis=0), flat.max(axis=0)) if flat.size else (np.zeros(2), np.ones(2))
    span = np.where(high > low, high - low, 1)
    places = np.round((positions - low) / span * _LARGEST).astype("<u2")
    header = {
        "space": items.card.space,
        "method": shown.method,
        "layers": shown.layers,
        "kept": shown.kept,
        "n": len(items.ids),
        "n_stored": items.n_stored,
        "where": items.where,
        "low": low.tolist(),
        "high": (low + span).tolist(),
        "texts": items.texts,
        "contexts": items.contexts,
        "context_of": items.context_of.tolist(),
        "spans": items.spans.tolist(),
        **(more or {}),
    }
    text = to_json(header)
    text += b" " * (-(len(text) + 4) % 8)
    body: bytes = items.ids.astype("<i8").tobytes() + places.tobytes()
    return len(text).to_bytes(4, "little") + text + body


def packed_map(store: Reading, space: str, map: str = "") -> bytes:
    """Return the packed map of a space, with the command and the line of Python that make it."""
    return pack(find_map(store, space, map), commands_of(store, space, map))


def place(
    store: Reading,
    *,
    space: str,
    name: str = "",
    text: str = "",
    marked: str = "",
    embed: bool = False,
) -> Document:
    """Return where a text belongs on a map of a space, layer by layer.

    On a map by principal components it is the exact position. t-SNE gives none to further texts:
    the place is then the mean of the text's five nearest neighbours by cosine on the map, weighted
    by the inverse square of their distance (Shepard, 1968).
    """
    card = card_of(store, space)
    rows = _map_rows(store, space, name)
    layers = (
        list(card.layers)
        if rows is None
        else [card.layers.select(row["layer_name"]).members[0] for row in rows]
    )
    vectors = _vectors(store.catalog, card, layers, text, marked, embed=embed)
    if rows is not None and rows[0]["method"] != "pca":
        points = _stored_points(store, space, rows)
        pairs = zip(layers, points, strict=True)
        nearby = [
            _among_nearest(store, space, layer, vectors[layer.id], *layer_points)
            for layer, layer_points in pairs
        ]
        return {"places": nearby, "is_exact": False}
    if rows is None:
        together, selection = "all", Selection(sample_where(store.catalog.count(space)))
    else:
        together = ",".join(rows[-1]["fitted_on"])
        of_map, words = {name: rows[0][name] for name in ("where", "sample", "seed")}, None
        if rows[0]["words"]:  # the list itself is not stored
            ids = np.unique(np.concatenate([ids for ids, _ in _stored_points(store, space, rows)]))
            words = word_list([item.text for item in store.catalog.items(ids.tolist()).values()])
        selection = Selection(**of_map, limits=SQL_LIMITS, words=words)
    basis = _basis(store.catalog, space, together, selection)
    fitted_on = card.layers.select(together).members
    exact = [basis.position(fitted_on.index(layer), vectors[layer.id]) for layer in layers]
    return {
        "places": [None if position is None else position.tolist() for position in exact],
        "is_exact": True,
    }


def _vectors(
    catalog: Catalog, card: Card, layers: list[Layer], text: str, marked: str, *, embed: bool
) -> Mapping[int, Float32Array]:
    """Return layer id → vector, float32 (dim,), of a text that is stored, or else encoded now."""
    embed_item: Embed | None = None
    if embed:
        from embstore.query.embed import embed_item  # loads torch, which stored texts do not need
    [query] = parse_queries([text] if text else [], [marked] if marked else [])
    looked_up = look_up(catalog, card, [query], layers, embed_item)
    missing_query_notes(catalog, query, [looked_up])
    return looked_up.vectors[query]


def _among_nearest(
    store: Reading, space: str, layer: Layer, vector: Float32Array, ids: Ids, positions: Positions
) -> list[float] | None:
    """Return the weighted mean of the positions of the nearest items, of those (n,) that are on the
    map.
    """
    [unit], [is_zero] = unit_rows(vector[None])
    if is_zero or not len(ids):
        return None
    stored, _, vectors = store.vectors(space, layer.name)
    units, _ = unit_rows(vectors[np.searchsorted(stored, ids)])
    squares = ((units - unit) ** 2).sum(axis=1)
    nearest = np.argsort(squares, kind="stable")[:_N_NEAREST]
    weights = 1 / np.maximum(squares[nearest], 1e-12)  # a text's own place where it is stored
    position: list[float] = (
        (weights / weights.sum()) @ positions[nearest].astype(np.float64)
    ).tolist()
    return position
