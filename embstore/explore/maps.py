"""Return the map of a space: a stored one, or principal components computed now and kept in memory only."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import UnknownNameError
from embstore.base.table import Row
from embstore.explore.commands import command, python
from embstore.explore.items import SpaceItems, card_of, layer_names, read_items, sample_where
from embstore.explore.reading import Reading
from embstore.query.layer_data import StoredLayer
from embstore.query.map_methods import SharedBasis, kept_of_some
from embstore.storage.files.maps import read_map

NOW = "pca"
"""Name of the map by principal components that is computed when it is asked for."""

Positions = NDArray[np.float32]
Points = tuple[NDArray[np.int64], Positions]


@dataclass(frozen=True)
class SpaceMap:
    """A two-dimensional map of the items of a space in each layer.

    Attributes:
        space: Name of the space.
        items: Items on the map.
        layers: Names of the layers.
        positions: Coordinates, float32 (layers, n, 2).
        method: ``pca`` or ``tsne``.
        kept: For each layer, the share of the ten nearest neighbours by cosine that are among the ten nearest on the
            map; None if not computable. None for all layers if it was not measured: see :func:`kept_now`.
    """

    space: str
    items: SpaceItems
    layers: list[str]
    positions: Positions
    method: str
    kept: list[float | None] | None


def find_map(store: Reading, space: str, name: str = "") -> SpaceMap:
    """Return a map of a space: the stored one of this name, or principal components computed now.

    Args:
        store: Store to read.
        space: Name of the space.
        name: Name of a stored map (see :func:`stored_maps`); by default the first, and ``pca`` for one computed now.

    Raises:
        UnknownNameError: There is no such space or map.
    """
    rows = map_rows(store, space, name)
    return pca_now(store, space) if rows is None else _stored_map(store, space, rows)


def map_rows(store: Reading, space: str, name: str = "") -> list[Row] | None:
    """Return the rows of :meth:`Store.maps` of the map that :func:`find_map` returns; None for one computed now."""
    stored = stored_maps(store).get(space, {})
    if name in stored or (not name and stored):
        return stored[name or next(iter(stored))]
    if name not in ("", NOW):
        raise UnknownNameError("map", name, [NOW, *stored])
    return None


def commands_of(store: Reading, space: str, name: str = "", folder: Path | None = None) -> dict[str, str]:
    """Return the command, and the line of Python, that make the map that :func:`find_map` returns.

    Args:
        store: Store to read.
        space: Name of the space.
        name: As in :func:`find_map`.
        folder: Folder of the store as the commands name it; None for its path.
    """
    folder = folder or store.path
    rows = map_rows(store, space, name)
    options: dict[str, Any]
    if rows is None:
        options = {"method": "pca", "where": sample_where(store.catalog.count(space))}
    else:
        options = {key: rows[0][key] for key in ("method", "where", "words", "sample")}
        options["seed"] = rows[0]["seed"] or None
        together = rows[-1]["fitted_on"]
        options["layers"] = ",".join(together) if len(together) < len(layer_names(store, space)) else None
    options = {"spaces": [space], **options}
    return {"command": command("map", folder, options), "python": python("map", folder, options)}


def stored_maps(store: Reading) -> dict[str, dict[str, list[Row]]]:
    """Return space → name → rows of :meth:`Store.maps`, one for each layer, of current maps, t-SNE before others."""
    found: dict[str, dict[str, list[Row]]] = {}
    rows = [row for row in store.maps() if row["state"] == "current"]
    for row in sorted(rows, key=_order):
        settings = [f"{key} {row[key]}" for key in ("where", "words", "sample", "seed") if row[key]]
        if row["words"] and len({each["words_sha256"] for each in rows if each["words"] == row["words"]}) > 1:
            settings.append(f"list {row['words_sha256'][:8]}")  # a file that has changed since
        for together in _mapped_together(row, rows):
            layers = [] if len(together) == len(layer_names(store, row["space"])) else [f"layers {','.join(together)}"]
            name = ", ".join([f"stored {row['method']}", *layers, *settings])
            found.setdefault(row["space"], {}).setdefault(name, []).append(row)
    return found


def _order(row: Row) -> tuple[bool, bool, int, int, int, int]:
    n_together = len(row["fitted_on"]) if row["method"] == "pca" else 0
    return row["words"] is not None, row["method"] != "tsne", row["sample"] or 0, row["seed"], -n_together, row["layer"]


def _mapped_together(row: Row, rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the sets of layers that a map belongs to: of ``tsne`` all chains that begin with the layers below it."""
    settings = ("space", "method", "where", "words_sha256", "sample", "seed")
    alike = [each for each in rows if all(each[name] == row[name] for name in settings)]
    chains = {tuple(each["fitted_on"]) for each in alike}
    own = tuple(row["fitted_on"])
    if row["method"] != "tsne":
        return [own]
    shorter = {chain[:length] for chain in chains for length in range(len(chain))}
    found = (chain for chain in chains - shorter if chain[: len(own)] == own)
    return sorted(found, key=lambda chain: (-len(chain), chain))


def _stored_map(store: Reading, space: str, rows: list[Row]) -> SpaceMap:
    """Read the layers of a stored map."""
    points = stored_points(store, space, rows)
    names, kept = ([row[name] for row in rows] for name in ("layer_name", "kept"))
    return _assemble(space, read_items(store, space), names, points, rows[0]["method"], kept)


def stored_points(store: Reading, space: str, rows: list[Row]) -> list[Points]:
    """Return the ids and positions of each layer of a stored map."""
    if rows[0]["words"]:  # the list itself is not stored
        found = [read_map(store.catalog.paths, store.catalog.paths.root / row["file"]) for row in rows]
        return [(each.ids, each.positions) for each in found]
    options = {name: rows[0][name] for name in ("method", "where", "sample", "seed")}
    together = ",".join(rows[-1]["fitted_on"])
    return [store.map_points(space, row["layer_name"], layers=together, **options) for row in rows]


def pca_now(store: Reading, space: str) -> SpaceMap:
    """Compute the map by principal components that ``Store.map`` computes, of the items that a page shows.

    Nothing is written.
    """
    items = read_items(store, space)
    layers = _layers(store, space, items)
    basis = SharedBasis.of(layers)
    points = [basis.project(place) for place in range(len(layers))]
    return _assemble(space, items, layer_names(store, space), points, "pca", None)


def kept_now(store: Reading, space: str) -> list[float | None]:
    """Return the shares of neighbours that the map of :func:`pca_now` keeps, one for each layer.

    They take longer than the map itself.
    """
    found = pca_now(store, space)
    layers = _layers(store, space, found.items)
    return [
        kept_of_some(data, found.items.ids, positions, 0).share
        for data, positions in zip(layers, found.positions, strict=True)
    ]


def _layers(store: Reading, space: str, items: SpaceItems) -> list[StoredLayer]:
    card = card_of(store, space)
    only = None if len(items.ids) == items.n_stored else items.ids
    return [StoredLayer(store.catalog, card, layer, only) for layer in card.layers]


def _assemble(
    space: str,
    items: SpaceItems,
    layers: list[str],
    points: Iterable[Points],
    method: str,
    kept: list[float | None] | None,
) -> SpaceMap:
    """Return the map of the items that have a place in all layers."""
    points = list(points)
    items = items.only(np.logical_and.reduce([np.isin(items.ids, ids, assume_unique=True) for ids, _ in points]))
    positions = [places[np.searchsorted(ids, items.ids)] for ids, places in points]
    return SpaceMap(space, items, layers, np.stack(positions), method, kept)


def item_vectors(store: Reading, space: str, layer: str, items: SpaceItems) -> NDArray[np.float32]:
    """Return the vectors of the items on a page in one layer, float32 (n, dim)."""
    ids, _, vectors = store.vectors(space, layer, where=items.where)
    found: NDArray[np.float32] = vectors if len(ids) == len(items.ids) else vectors[np.searchsorted(ids, items.ids)]
    return found
