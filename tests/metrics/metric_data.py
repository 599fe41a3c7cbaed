"""Vectors in memory as a metric sees them, and the plain definitions that metrics are held against."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from embstore.summary import Summary


class Arrays:
    """Some blocks of vectors of one layer (the protocol ``LayerData``)."""

    def __init__(self, *blocks: NDArray[np.floating]) -> None:
        self.blocks = blocks
        self.dim = blocks[0].shape[1]
        self.n_reads = 0

    @property
    def summary(self) -> Summary:
        total = Summary.empty(self.dim)
        for block in self.blocks:
            total = total + Summary.of(block)
        return total

    def map(self, function: Callable[[Any], Any]) -> Iterator[Any]:
        self.n_reads += 1
        return (function(block) for block in self.blocks if len(block))


def mean_cosine(x: NDArray[np.floating]) -> float:
    """The mean over all pairs, by scipy's distance of each pair, in float64."""
    return float(np.mean(1 - pdist(x.astype(np.float64), "cosine")))


def centred(x: NDArray[np.floating]) -> NDArray[np.float64]:
    wide = x.astype(np.float64)
    return wide - wide.mean(axis=0)
