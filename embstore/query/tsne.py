"""Map layers by t-SNE (van der Maaten & Hinton, 2008), as openTSNE computes it, on exact nearest neighbours.

The lowest layer starts from its principal components. Each further layer starts from the map of the layer below, so
that items whose neighbours stay the same stay where they are: t-SNE of each layer by itself would move them all.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import QueryError, UsageError
from embstore.base.installation import install_command
from embstore.storage.files.maps import Positions

Near = NDArray[np.int64]
Cosines = NDArray[np.float64]
Report = Callable[[float], None]
"""Function that receives the finished share of a layer, in [0, 1]."""

PERPLEXITY = 30
N_NEIGHBOURS = 3 * PERPLEXITY
"""Neighbours of each item that t-SNE attracts, as openTSNE chooses them."""
LEAST_ITEMS = 4
"""With fewer items the perplexity would be below 1."""

FROM_COMPONENTS = ((250, 12), (125, 6), (125, 3), (125, 2), (250, 1))
"""Iterations and exaggeration of each phase of the lowest layer.

Exaggeration that ends in steps keeps more neighbours than openTSNE's default, ((250, 12), (500, 1)).
"""
FROM_LAYER_BELOW = ((50, 4), (250, 1))
"""Iterations and exaggeration of each phase of the other layers.

A little exaggeration lets items cross over to new neighbours; more would move items whose neighbours stay the same.
"""
MOMENTUM = 0.8
_INITIAL_SPREAD = 1e-4
_JITTER = 0.01  # relative to the spread; items in one place would otherwise never part
_BARNES_HUT_ITEMS = 50_000  # below, its tree costs less than openTSNE's grid once the map is spread out
_N_THREADS = 2  # fixed, so that no sum depends on the machine's number of cores
_REPORT_ITERATIONS = 25


def version() -> str:
    """Return the version of openTSNE; raise UsageError if it cannot be imported."""
    return str(_open_tsne().__version__)


def place(near: Near, cosines: Cosines, initial: Positions, *, below: bool, seed: int, report: Report) -> Positions:
    """Compute the positions of n items, n ≥ 4.

    Args:
        near: Nearest other items of each item, as positions (n, k), nearest first.
        cosines: Cosines with them (n, k).
        initial: Initial positions (n, 2).
        below: Whether these are those of the layer below rather than principal components.
        seed: Random seed of the jitter that parts items with the same principal components.
        report: Function that receives the finished share.

    Returns:
        Positions, float32 (n, 2).
    """
    tsne = _open_tsne()
    neighbours = import_module("openTSNE.nearest_neighbors").PrecomputedNeighbors
    distances = np.sqrt(np.maximum(0, 2 - 2 * cosines))  # of unit vectors
    affinities = import_module("openTSNE.affinity").PerplexityBasedNN(
        perplexity=min(PERPLEXITY, near.shape[1] / 3), knn_index=neighbours(near, distances), n_jobs=_N_THREADS
    )
    phases = FROM_LAYER_BELOW if below else FROM_COMPONENTS
    start = initial.astype(np.float64) if below else _spread(initial, seed)
    repulsion = "bh" if len(near) < _BARNES_HUT_ITEMS else "fft"
    found = tsne.TSNEEmbedding(
        start, affinities, negative_gradient_method=repulsion, n_jobs=_N_THREADS, learning_rate="auto"
    )
    n_done, n_total = 0, sum(n for n, _ in phases)
    for n, exaggeration in phases:
        found.optimize(
            n, exaggeration=exaggeration, momentum=MOMENTUM, inplace=True, propagate_exception=True,
            callbacks=_reporter(report, n_done, n_total), callbacks_every_iters=_REPORT_ITERATIONS,
        )  # fmt: skip
        n_done += n
    positions: Positions = np.asarray(found, np.float32)
    if not np.isfinite(positions).all():
        raise QueryError("openTSNE gave positions that are not finite. Map these items by the method pca.")
    return positions


def _reporter(report: Report, n_before: int, n_total: int) -> Callable[[int, float, Any], None]:
    return lambda iteration, _error, _positions: report((n_before + iteration) / n_total)


def _spread(components: Positions, seed: int) -> NDArray[np.float64]:
    """Scale principal components to a small spread, which t-SNE needs at the start, and add jitter."""
    spread = float(components[:, 0].std(dtype=np.float64))
    scaled = components.astype(np.float64) * (_INITIAL_SPREAD / spread if spread else 0.0)
    return scaled + np.random.default_rng(seed).normal(0, _JITTER * _INITIAL_SPREAD, scaled.shape)


def _open_tsne() -> Any:
    try:
        return import_module("openTSNE")
    except ImportError as error:
        raise UsageError(
            f"t-SNE needs openTSNE, which cannot be imported ({error}): {install_command('map')}. The method pca "
            "needs nothing more."
        ) from error
