"""Return the map of a space: a stored one, or principal components computed now and kept in memory only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.errors import UnknownNameError
from embstore.explore.items import SpaceItems, layer_names, read_items
from embstore.explore.reading import Reading
from embstore.table import Row

_K = 10
_QUERIES = 300
_BYTES_IN_MEMORY = 1_000_000_000

Positions = NDArray[np.float32]


@dataclass(frozen=True)
class SpaceMap:
    """A two-dimensional map of the items of a space in each layer.

    Attributes:
        space: Name of the space.
        items: Items on the map.
        layers: Names of the layers.
        positions: Coordinates, float32 (layers, n, 2).
        method: ``pca``, or the method of the stored map.
        kept: For each layer, the share of the ten nearest neighbours that are among the ten nearest on the map.
        n_queries: Number of items, drawn with seed 0, for which that share was measured.
    """

    space: str
    items: SpaceItems
    layers: list[str]
    positions: Positions
    method: str
    kept: list[float]
    n_queries: int


def find_map(store: Reading, space: str, name: str = "") -> SpaceMap:
    """Return a map of a space: the stored one of this name, or principal components computed now.

    Args:
        store: Store to read.
        space: Name of the space.
        name: Name of a stored map (see :func:`stored_maps`); by default the first, and ``pca`` for one computed now.

    Raises:
        UnknownNameError: There is no such space or map.
    """
    stored = stored_maps(store).get(space, {})
    if name in stored or (not name and stored):
        return _stored_map(store, space, stored[name or next(iter(stored))])
    if name not in ("", "pca"):
        raise UnknownNameError("map", name, ["pca", *stored])
    return pca_map(store, space)


def stored_maps(store: Reading) -> dict[str, dict[str, list[Row]]]:
    """Return space → name → rows of :meth:`Store.maps`, one for each layer, of current maps, t-SNE before others."""
    found: dict[str, dict[str, list[Row]]] = {}
    listed = store.maps() if hasattr(store, "maps") else []
    rows = [row for row in listed if row["state"] == "current"]
    for row in sorted(rows, key=lambda row: (row["method"] != "tsne", row["sample"] or 0, row["seed"], row["layer"])):
        name = " ".join([row["method"], *(f"{key} {row[key]}" for key in ("where", "sample", "seed") if row[key])])
        found.setdefault(row["space"], {}).setdefault(name if name != "pca" else "pca stored", []).append(row)
    return found


def _stored_map(store: Reading, space: str, rows: list[Row]) -> SpaceMap:
    """Read the layers of a stored map. Items without a place in one of them are left out."""
    items = read_items(store, space)
    options = {name: rows[0][name] for name in ("method", "where", "sample", "seed")}
    together = ",".join(rows[-1]["fitted_on"])
    points_of: Any = store.map_points  # type: ignore[attr-defined]
    points = [points_of(space, row["layer_name"], layers=together, **options) for row in rows]
    kept = np.logical_and.reduce([np.isin(items.ids, ids, assume_unique=True) for ids, _ in points])
    items = items.only(kept)
    places = [positions[np.searchsorted(ids, items.ids)] for ids, positions in points]
    shares = [row["kept"] or 0.0 for row in rows]
    names = [row["layer_name"] for row in rows]
    return SpaceMap(space, items, names, np.stack(places), rows[0]["method"], shares, rows[0]["n_kept"] or 0)


def pca_map(store: Reading, space: str) -> SpaceMap:
    """Compute a map by the two principal components that all layers of a space share.

    Vectors are scaled to unit length and centred in each layer; each layer is scaled to a root mean square radius of 1.
    Nothing is written.
    """
    items, layers = read_items(store, space), layer_names(store, space)
    unit_vectors = _reader(store, space, items)
    covariance = sum(vectors.T @ vectors for vectors in map(unit_vectors, layers))
    _, directions = np.linalg.eigh(np.asarray(covariance, np.float64))
    basis = directions[:, [-1, -2]]
    basis *= np.sign(basis[np.abs(basis).argmax(axis=0), [0, 1]])
    queries = np.random.default_rng(0).permutation(len(items.ids))[:_QUERIES]
    positions, kept = [], []
    for layer in layers:
        vectors = unit_vectors(layer)
        places = vectors @ basis.astype(np.float32)
        places /= np.sqrt((places.astype(np.float64) ** 2).sum(axis=1).mean()) or 1.0
        positions.append(places)
        kept.append(_share_kept(vectors, places, queries))
    return SpaceMap(space, items, layers, np.stack(positions).astype(np.float32), "pca", kept, len(queries))


def _reader(store: Reading, space: str, items: SpaceItems) -> Callable[[str], NDArray[np.float32]]:
    """Return a function from a layer to its centred unit vectors, float32 (n, dim), read once if memory allows."""
    memory: dict[str, NDArray[np.float32]] = {}

    def read(layer: str) -> NDArray[np.float32]:
        if layer in memory:
            return memory[layer]
        vectors = unit_vectors(store, space, layer, items)
        vectors -= vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        if (len(memory) + 1) * vectors.nbytes <= _BYTES_IN_MEMORY:
            memory[layer] = vectors
        return vectors

    return read


def unit_vectors(store: Reading, space: str, layer: str, items: SpaceItems) -> NDArray[np.float32]:
    """Return the vectors of the items on a page in one layer, scaled to unit length; zero vectors stay."""
    vectors = item_vectors(store, space, layer, items)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(lengths == 0, 1, lengths)
    return vectors


def item_vectors(store: Reading, space: str, layer: str, items: SpaceItems) -> NDArray[np.float32]:
    """Return the vectors of the items on a page in one layer, float32 (n, dim)."""
    ids, _, vectors = store.vectors(space, layer, where=items.where)
    found: NDArray[np.float32] = vectors if len(ids) == len(items.ids) else vectors[np.searchsorted(ids, items.ids)]
    return found


def _share_kept(vectors: NDArray[np.float32], places: Positions, queries: NDArray[np.int64]) -> float:
    """Return the mean share of the ten nearest neighbours, by centred cosine, that are among the ten nearest places."""
    k = min(_K, len(vectors) - 1)
    if k < 1:
        return 1.0
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = (vectors[queries] @ vectors.T) / np.where(lengths == 0, 1, lengths)
    closeness = 2 * places[queries] @ places.T - (places**2).sum(axis=1)
    rows = np.arange(len(queries))
    cosines[rows, queries] = closeness[rows, queries] = -np.inf
    near, near_on_map = (np.argpartition(-each, k - 1, axis=1)[:, :k] for each in (cosines, closeness))
    shared = [len(np.intersect1d(a, b)) for a, b in zip(near, near_on_map, strict=True)]
    return float(np.mean(shared)) / k
