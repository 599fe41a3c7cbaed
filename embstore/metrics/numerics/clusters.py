"""Cluster directions by k-means."""

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2, vq

_FITTED = 10_000


def spherical_clusters(unit_vectors: NDArray[np.float32], k: int, seed: int = 0) -> NDArray[np.int64]:
    """Cluster unit vectors by k-means, and number the clusters by falling size.

    Centres are fitted to at most 10,000 vectors, drawn at random; every vector then goes to its nearest centre.

    Args:
        unit_vectors: Vectors, float32 (n, dim).
        k: Number of clusters; fewer if there are fewer vectors.
        seed: Random seed of the sample and of the first centres.

    Returns:
        Number of the cluster of each vector, int64 (n,), from 0.
    """
    n, rng = len(unit_vectors), np.random.default_rng(seed)
    if n <= k:
        return np.arange(n)
    sample = unit_vectors if n <= _FITTED else unit_vectors[rng.choice(n, _FITTED, replace=False)]
    centres = np.unique(sample.astype(np.float64), axis=0)
    if len(centres) > k:  # k-means++ needs as many different vectors as clusters
        centres, _ = kmeans2(sample.astype(np.float64), k, minit="++", missing="warn", rng=rng)
    labels, _ = vq(unit_vectors.astype(np.float64), centres)
    sizes = np.bincount(labels, minlength=len(centres))
    rank = np.empty(len(centres), np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(centres))
    numbers: NDArray[np.int64] = rank[labels]
    return numbers
