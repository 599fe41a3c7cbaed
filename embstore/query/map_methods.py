"""Place the items of a layer by a method, and measure which share of their neighbours the map
keeps.

t-SNE (van der Maaten & Hinton, 2008) is as openTSNE computes it, on exact nearest neighbours. The
lowest layer starts from its principal components. Each further layer starts from the map of the
layer below, so that items whose neighbours stay the same stay where they are: t-SNE of each layer
by itself would move them all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float64Array, Int64Array, positions_of
from embstore.base.errors import QueryError
from embstore.base.installation import needing
from embstore.index import unit_vectors
from embstore.metrics import LayerData
from embstore.metrics.numerics.linear_algebra import Moments, one_thread
from embstore.metrics.numerics.neighbours import TIED, are_equal, n_shared, nearest_in_plane
from embstore.storage.maps import Ids, LayerMap, Positions

_ROUNDING = 2.0**-22  # distance between unit vectors within which float32 does not tell them apart

Block = NDArray[np.floating]


class Centre(NamedTuple):
    """Mean of the unit vectors of a layer, and the root of their variance; 0 if they differ by
    rounding only.
    """

    mean: Float64Array
    spread: float


@dataclass(frozen=True, slots=True, eq=False)
class SharedBasis:
    """Two axes for several layers, with the centre of each, so that positions in different layers
    can be compared.

    The vectors of each layer are scaled to unit length, as cosines see them, then centred and
    scaled to a total variance of 1, so that no layer dominates. The axes are the first two
    eigenvectors of the mean of the layers' covariances (common principal components of pooled
    covariances: Flury, 1984).
    """

    layers: tuple[LayerData, ...]
    centres: tuple[Centre, ...]
    axes: Float64Array

    @classmethod
    def of(cls, layers: Sequence[LayerData]) -> "SharedBasis":
        """Fit the axes to layers of one space in one pass over their vectors, in memory independent
        of n.
        """
        dim = layers[0].dim
        pooled, centres = np.zeros((dim, dim)), []
        # Some BLAS kernels raise the flag for nothing.
        with one_thread(), np.errstate(invalid="ignore"):
            for data in layers:
                moments = Moments.empty(dim)
                for part in data.map(_moments_of_units):
                    moments += part
                variance = float(np.trace(moments.scatter)) / max(1, moments.n)
                spread = variance**0.5 if variance > _ROUNDING**2 else 0.0
                centres.append(Centre(moments.mean, spread))
                if spread:
                    pooled += moments.scatter / (moments.n * variance)
            return cls(tuple(layers), tuple(centres), _first_two(pooled))

    def project(self, place: int) -> tuple[Ids, Positions]:
        """Return the ids, ascending, and the positions of the items of a layer that have a
        direction.
        """

        def place_block(ids: Ids, block: Block) -> tuple[Ids, Block]:
            units = unit_vectors(block)
            keep = units.any(axis=1)
            return ids[keep], self._placed(place, units[keep])

        parts: list[tuple[Ids, Block]] = [(np.empty(0, np.int64), np.empty((0, 2)))]
        with one_thread(), np.errstate(invalid="ignore"):
            parts += self.layers[place].map_with_ids(place_block)
        ids, positions = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        order = np.argsort(ids)
        return ids[order], positions[order].astype(np.float32)

    def position(self, place: int, vector: Block) -> Positions | None:
        """Return the position, float32 (2,), of a vector (dim,) that need not be one of the
        layer's; None for zero.
        """
        [unit] = unit_vectors(vector[None])
        return self._placed(place, unit).astype(np.float32) if unit.any() else None

    def _placed(self, place: int, units: Block) -> Float64Array:
        centre = self.centres[place]
        placed: Float64Array = ((units - centre.mean) @ self.axes) * (
            1 / centre.spread if centre.spread else 0.0
        )
        return placed


def _moments_of_units(block: Block) -> Moments:
    units = unit_vectors(block)
    keep = units.any(axis=1)
    return Moments.of(units[keep]) if keep.any() else Moments.empty(block.shape[1])


def _first_two(pooled: Float64Array) -> Float64Array:
    """Return the first two eigenvectors (dim, 2), each with the sign that makes its largest
    component positive.
    """
    vectors = np.linalg.eigh(pooled)[1][:, ::-1][:, :2]
    largest = np.abs(vectors).argmax(axis=0)
    axes = np.zeros((len(pooled), 2))
    axes[:, : vectors.shape[1]] = vectors * np.where(
        vectors[largest, range(vectors.shape[1])] < 0, -1, 1
    )
    return axes


K = 10  # number of neighbours that are compared
SAMPLE = 2000  # number of items whose neighbours are searched for the sake of the share alone

Near = Int64Array


class Kept(NamedTuple):
    """Share of the ten nearest neighbours by cosine that are among the ten nearest on the map: the
    mean over n items.

    It is None if it is not computable, for a reason.
    """

    share: float | None
    n: int
    reason: str | None = None


def kept_of_all(
    dim: int,
    near: Near,
    cosines: Float64Array,
    positions: Positions,
    rows: Int64Array | None = None,
) -> Kept:
    """Return the share over the n items of a map, or some of them, from their positions (all items,
    2).

    Args:
        dim: Number of components of a vector.
        near: Nearest other items of each item, as positions (n, k), k > 10 if there are as many,
            nearest first.
        cosines: Cosines with them (n, k).
        positions: Positions on the map.
        rows: Positions of the n items among all; None for all items.
    """
    n_all, rows = len(positions), np.arange(len(positions)) if rows is None else rows
    if n_all <= K + 1:
        few = f"n = {n_all}: the ten nearest items are all others"
        return Kept(None, 0, few if n_all else "no item is selected that has a direction")
    # One neighbour more shows whether the choice of ten is arbitrary.
    if are_equal(cosines[:, : K + 1].ravel(), dim):
        return Kept(None, 0, TIED)
    on_map = nearest_in_plane(positions, K, rows)
    shared = n_shared(*(np.sort(lists.astype(np.int32), axis=1) for lists in (near[:, :K], on_map)))
    return Kept(float(shared.mean() / K), len(rows))


def kept_of_some(data: LayerData, ids: Ids, positions: Positions, seed: int) -> Kept:
    """Return the share over all n items of a map, at positions (n, 2), or over 2,000 items drawn at
    random.
    """
    if len(ids) <= SAMPLE:
        return kept_of_all(data.dim, *data.neighbours(K + 1)[1:], positions)
    drawn = np.random.default_rng(seed).choice(ids, SAMPLE, replace=False, shuffle=False)
    items = np.sort(drawn)
    near, cosines = data.neighbours_of(items, K + 1, ids)
    return kept_of_all(data.dim, near, cosines, positions, np.searchsorted(ids, items))


Report = Callable[[], None]  # function that reports that a layer is worked on

PERPLEXITY = 30
# Neighbours of each item that t-SNE attracts, as openTSNE chooses them.
N_NEIGHBOURS = 3 * PERPLEXITY
LEAST_ITEMS = 4  # with fewer items the perplexity would be below 1

FROM_COMPONENTS = ((250, 12), (125, 6), (125, 3), (125, 2), (250, 1))
"""Iterations and exaggeration of each phase of the lowest layer.

Exaggeration that ends in steps keeps more neighbours than openTSNE's default, ((250, 12), (500,
1)).
"""
FROM_LAYER_BELOW = ((50, 4), (250, 1))
"""Iterations and exaggeration of each phase of the other layers.

A little exaggeration lets items cross over to new neighbours; more would move items whose
neighbours stay the same.
"""
MOMENTUM = 0.8
_INITIAL_SPREAD = 1e-4
_JITTER = 0.01  # relative to the spread; items in one place would otherwise never part
_BARNES_HUT_ITEMS = (
    50_000  # below, its tree costs less than openTSNE's grid once the map is spread out
)
_N_THREADS = 2  # fixed, so that no sum depends on the machine's number of cores
_REPORT_ITERATIONS = 25


def place_by_tsne(
    near: Near, cosines: Float64Array, initial: Positions, *, below: bool, seed: int, report: Report
) -> Positions:
    """Compute the positions of n items, n ≥ 4.

    Args:
        near: Nearest other items of each item, as positions (n, k), nearest first.
        cosines: Cosines with them (n, k).
        initial: Initial positions (n, 2).
        below: Whether these are those of the layer below rather than principal components.
        seed: Random seed of the jitter that parts items with the same principal components.
        report: Function that reports that the work goes on.

    Returns:
        Positions, float32 (n, 2).
    """
    tsne = _open_tsne()
    neighbours = import_module("openTSNE.nearest_neighbors").PrecomputedNeighbors
    distances = np.sqrt(np.maximum(0, 2 - 2 * cosines))  # of unit vectors
    affinities = import_module("openTSNE.affinity").PerplexityBasedNN(
        perplexity=min(PERPLEXITY, near.shape[1] / 3),
        knn_index=neighbours(near, distances),
        n_jobs=_N_THREADS,
    )
    phases = FROM_LAYER_BELOW if below else FROM_COMPONENTS
    start = initial.astype(np.float64) if below else _spread(initial, seed)
    repulsion = "bh" if len(near) < _BARNES_HUT_ITEMS else "fft"
    embedding = tsne.TSNEEmbedding(
        start,
        affinities,
        negative_gradient_method=repulsion,
        n_jobs=_N_THREADS,
        learning_rate="auto",
    )
    for n, exaggeration in phases:
        embedding.optimize(
            n,
            exaggeration=exaggeration,
            momentum=MOMENTUM,
            inplace=True,
            propagate_exception=True,
            callbacks=lambda *_state: report(),
            callbacks_every_iters=_REPORT_ITERATIONS,
        )
    positions: Positions = np.asarray(embedding, np.float32)
    if not np.isfinite(positions).all():
        raise QueryError(
            "openTSNE gave positions that are not finite. Map these items by the method pca."
        )
    return positions


def _spread(components: Positions, seed: int) -> Float64Array:
    """Scale principal components to a small spread, which t-SNE needs at the start, and add
    jitter.
    """
    spread = float(components[:, 0].std(dtype=np.float64))
    scaled = components.astype(np.float64) * (_INITIAL_SPREAD / spread if spread else 0.0)
    return scaled + np.random.default_rng(seed).normal(0, _JITTER * _INITIAL_SPREAD, scaled.shape)


def _open_tsne() -> Any:
    with needing("t-SNE needs openTSNE", "map", more=". The method pca needs nothing more."):
        return import_module("openTSNE")


Placed = tuple[Ids, Positions, Kept]
"""Ids of the items that have a direction, ascending; their positions, float32 (n, 2); and the share
that is kept.
"""


class Method(NamedTuple):
    """How the layers of a space are mapped, one after the other, and the versions of the libraries
    that do it.
    """

    # Of a layer's position, and the map of the layer below.
    place: Callable[[int, LayerMap | None, Report], Placed]
    versions: dict[str, str]


def by_components(layers: Sequence[LayerData], seed: int) -> Method:
    """Map by principal components, with axes that all layers share: none depends on the one
    before.
    """
    basis = SharedBasis.of(layers)

    def place(
        number: int, _below: LayerMap | None, _report: Report
    ) -> Placed:  # reading the vectors reports itself
        ids, positions = basis.project(number)
        return ids, positions, kept_of_some(layers[number], ids, positions, seed)

    return Method(place, {"numpy": np.__version__})


def by_tsne(layers: Sequence[LayerData], seed: int) -> Method:
    """Map by t-SNE on exact nearest neighbours, from the map of the layer below or else from
    principal components.
    """

    def place(number: int, below: LayerMap | None, report: Report) -> Placed:
        data = layers[number]
        ids, near, cosines = data.neighbours(N_NEIGHBOURS)
        if below is None or len(ids) < LEAST_ITEMS:
            positions = SharedBasis.of([data]).project(0)[1]
        else:
            positions = _positions_below(below, ids, near)
        if len(ids) >= LEAST_ITEMS:
            positions = place_by_tsne(
                near, cosines, positions, below=below is not None, seed=seed, report=report
            )
        return ids, positions, kept_of_all(data.dim, near, cosines, positions)

    return Method(place, {"numpy": np.__version__, "openTSNE": str(_open_tsne().__version__)})


def _positions_below(below: LayerMap, ids: Ids, near: Ids) -> Positions:
    """Return the positions of items on the map of the layer below.

    An item that is not on it, since its vector is zero there, starts among those of its neighbours
    that are, or else at the origin.
    """
    places = positions_of(ids, below.ids)
    is_there = places >= 0
    initial = np.zeros((len(ids), 2), np.float32)
    initial[is_there] = below.positions[places[is_there]]
    for row in np.flatnonzero(~is_there):
        if len(placed := near[row][is_there[near[row]]]):
            initial[row] = initial[placed].mean(axis=0)
    return initial


METHODS: dict[str, Callable[[Sequence[LayerData], int], Method]] = {
    "pca": by_components,
    "tsne": by_tsne,
}
