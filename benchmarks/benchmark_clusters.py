"""Made-up vectors that lie like those of a language model.

A vector is a common mean, the centre of its topic, that of its cluster in it and its own deviation,
times a length that varies a little:

* the mean makes the cosines of unrelated items positive, as in every layer of a language model;
* two thousand clusters, whose sizes fall as a power of their rank (Zipf), give items near
  neighbours, and some regions many more than others: both decide how far a graph or an inverted
  list has to look;
* the clusters lie in a few dozen topics, so that a graph leads to the right region and is not lost
  among islands;
* the deviations of a cluster are mostly along a few directions of its own, so that the intrinsic
  dimension is small;
* centres and deviations have a spectrum that falls as a power of the rank, in rotated directions,
  so that no component is special.

Beside the 10,000 most frequent English words in MiniLM (layer 6), the first 10,000 at 384
components have:

=============================== ====== ========
measure                         MiniLM clusters
=============================== ====== ========
anisotropy                      .07    .10
intrinsic dimension (TwoNN)     4.8    6.2
hubness (skewness, k = 10)      .9     1.8
effective rank                  325    355
participation ratio             172    168
share of the top 10 components  .12    .16
cosine to the 1st neighbour     .73    .75
cosine to the 10th neighbour    .45    .46
recall@10 of hnswlib, ef = 20   .967   .973
recall@10 of hnswlib, ef = 80   .998   .994
=============================== ====== ========

The recall is that of 300 held-out words or vectors (M = 16, ef_construction = 200).

Items are drawn block by block, each block from a seed of its own: a set of n is the beginning of
every larger one.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_BLOCK = 4_096
_CLUSTERS = 2_048
_SIZES = 0.7  # the size of the cluster of rank r goes as r to minus this
_SPECTRUM = 0.25  # and so does the standard deviation along the direction of rank r
_TOPICS = 64
_LOCAL_DIM = 6
# Lengths of the parts of a vector, where that of a cluster's centre is 1, with its topic's in it.
_MEAN, _TOPIC, _LOCAL, _REST = 0.45, 0.55, 1.0, 0.3
_LENGTHS = 0.1  # the standard deviation of the logarithm of the whole vector's length


class Clusters:
    """A distribution of vectors.

    Args:
        dim: components of a vector.
        seed: of everything.
    """

    def __init__(self, dim: int, seed: int = 0) -> None:
        rng = np.random.default_rng([seed, dim])
        self.dim, self._seed = dim, seed
        spread = np.arange(1, dim + 1) ** -_SPECTRUM
        rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
        self._directions = (spread[:, None] / np.linalg.norm(spread) * rotation).astype(np.float32)
        mean = rng.standard_normal(dim, dtype=np.float32)
        topics = self._deviations(rng, _TOPICS)[rng.integers(0, _TOPICS, _CLUSTERS)]
        within = self._deviations(rng, _CLUSTERS)
        centres = (
            _TOPIC * topics + np.sqrt(1 - _TOPIC**2) * within + _MEAN / np.linalg.norm(mean) * mean
        )
        self._centres = centres.astype(np.float32)
        local = self._deviations(rng, _CLUSTERS * _LOCAL_DIM) * np.float32(
            _LOCAL / np.sqrt(_LOCAL_DIM)
        )
        self._local = local.reshape(_CLUSTERS, _LOCAL_DIM, dim)
        sizes = np.arange(1, _CLUSTERS + 1) ** -_SIZES
        self._until = np.cumsum(sizes / sizes.sum())

    def blocks(self, n: int) -> Iterator[Vectors]:
        """Yield the first n vectors, in blocks (rows, dim)."""
        for number, start in enumerate(range(0, n, _BLOCK)):
            yield self._draw(number + 1, _BLOCK)[: n - start]

    def held_out(self, n: int) -> Vectors:
        """Return vectors (n, dim) that are in none of the blocks: queries."""
        return self._draw(0, n)

    def _draw(self, number: int, n: int) -> Vectors:
        rng = np.random.default_rng([self._seed, self.dim, number, 1])
        clusters = np.minimum(np.searchsorted(self._until, rng.random(n)), _CLUSTERS - 1)
        along = rng.standard_normal((n, 1, _LOCAL_DIM), dtype=np.float32)
        vectors = self._centres[clusters] + (along @ self._local[clusters])[:, 0]
        vectors += np.float32(_REST) * self._deviations(rng, n)
        lengths: Vectors = np.exp(
            np.float32(_LENGTHS) * rng.standard_normal((n, 1), dtype=np.float32)
        )
        return vectors * lengths

    def _deviations(self, rng: np.random.Generator, n: int) -> Vectors:
        return rng.standard_normal((n, self.dim), dtype=np.float32) @ self._directions
