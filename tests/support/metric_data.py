"""Vectors in memory as a metric sees them, and the plain definitions that metrics are held against."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from embstore.base.summary import Summary


class Arrays:
    """Some blocks of vectors of one layer (the protocol ``LayerData``).

    Ids count up from 0 unless they are given, one for each row of the blocks in their order, which need not ascend.
    """

    def __init__(self, *blocks: NDArray[np.floating], ids: Sequence[int] | NDArray[np.int64] | None = None) -> None:
        self.blocks = blocks
        self.dim = blocks[0].shape[1]
        self.dims = np.arange(self.dim)
        self.ids = np.arange(sum(map(len, blocks))) if ids is None else np.asarray(ids, np.int64)
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

    def map_with_ids(self, function: Callable[[Any, Any], Any]) -> Iterator[Any]:
        self.n_reads += 1
        ends = np.cumsum([len(block) for block in self.blocks])
        for block, ids in zip(self.blocks, np.split(self.ids, ends[:-1]), strict=True):
            if len(block):
                order = np.argsort(ids)
                yield function(ids[order], block[order])

    def gather(self, ids: NDArray[np.int64] | None = None) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
        order = np.argsort(self.ids)
        if ids is not None:
            order = order[np.isin(self.ids[order], ids)]
        return self.ids[order], np.concatenate(self.blocks)[order]

    def neighbours(
        self,
        k: int,
        distance: str = "cosine",
        *,
        distinct: bool = False,
        only: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """By brute force in float64. Zero vectors have no cosine, and are left out of it."""
        ids, x = self.gather(only)
        if distance == "cosine":
            ids, x = ids[x.any(axis=1)], x[x.any(axis=1)]
        if distinct:
            first = sorted({tuple(row): place for place, row in reversed(list(enumerate(x.tolist())))}.values())
            ids, x = ids[first], x[first]
        return (ids, *plain_neighbours(x, k, distance))


def plain_neighbours(x: NDArray[np.floating], k: int, distance: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Row by row: all values to all rows, without the row itself, sorted by (value, position)."""
    wide = x.astype(np.float64)
    n = len(wide)
    width = max(0, min(k, n - 1))
    positions, values = np.empty((n, width), np.int64), np.empty((n, width))
    norms = np.sqrt((wide * wide).sum(axis=1))
    for i in range(n):
        if distance == "cosine":
            row = np.minimum(1.0, (wide * wide[i]).sum(axis=1) / (norms * norms[i]))
        else:
            row = np.sqrt(((wide - wide[i]) ** 2).sum(axis=1))
        order = np.lexsort((np.arange(n), -row if distance == "cosine" else row))
        positions[i] = order[order != i][:width]
        values[i] = row[positions[i]]
    return positions, values


def mean_cosine(x: NDArray[np.floating]) -> float:
    """The mean over all pairs, by scipy's distance of each pair, in float64."""
    return float(np.mean(1 - pdist(x.astype(np.float64), "cosine")))


def centred(x: NDArray[np.floating]) -> NDArray[np.float64]:
    wide = x.astype(np.float64)
    return wide - wide.mean(axis=0)
