"""Compute canonical correlations of pairs of layers, each reduced to its principal components."""

from collections.abc import Sequence

import numpy as np

from embstore.base.arrays import slices
from embstore.base.summary import Float64Array
from embstore.metrics.declaration import Ids, LayerData, Layers
from embstore.metrics.numerics.layer_pairs import Pair, read_vectors
from embstore.metrics.numerics.linear_algebra import eigenvectors_of, moments

_ROWS = 1024  # vectors of every layer that are in memory at a time


def svcca(layers: Layers, pairs: Sequence[Pair], ids: Ids, kept: float) -> dict[Pair, float]:
    """Return the mean canonical correlation of pairs of layers (Raghu et al. 2017), in [0, 1].

    Each layer is reduced to its fewest principal components that have a share of its variance. The
    canonical correlations of two such are the singular values of the products of their principal
    components, each scaled to unit length over the items; there are as many as the layer with fewer
    components has.

    Args:
        layers: Layers with the same n ≥ 2 items, none of them constant.
        pairs: Pairs of positions in ``layers``.
        ids: Ids of the items, ascending.
        kept: Share of the variance that the components of a layer keep, in (0, 1].
    """
    maps = {position: _components(layers[position], kept) for pair in pairs for position in pair}
    products = {(i, j): np.zeros((maps[i][1].shape[1], maps[j][1].shape[1])) for i, j in pairs}
    for part in slices(len(ids), _ROWS):
        scores = {
            position: (read_vectors(layers[position], ids[part]) - mean) @ scaled
            for position, (mean, scaled) in maps.items()
        }
        for (i, j), total in products.items():
            total += scores[i].T @ scores[j]
    return {
        pair: float(np.linalg.svd(total, compute_uv=False).clip(max=1).mean())
        for pair, total in products.items()
    }


def _components(layer: LayerData, kept: float) -> tuple[Float64Array, Float64Array]:
    """Return the mean (dim,) of a layer, and its first principal axes (dim, k), each divided by the
    norm of its component over the items.
    """
    total = moments(layer)
    values, vectors = eigenvectors_of(total.scatter)
    shares = np.cumsum(values[::-1]) / values.sum()
    k = int(np.argmax(shares >= kept * (1 - 1e-12))) + 1
    return total.mean, vectors[:, : -k - 1 : -1] / np.sqrt(values[: -k - 1 : -1])
