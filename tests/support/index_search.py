"""Vectors in clusters, as embeddings are, and their neighbours by an index and by numpy."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from embstore.index.opening import open_index
from numpy.typing import NDArray

from embstore.index.exact_search import Gather, Ids, Units, Vectors


def search(
    path: Path,
    shards: Iterable[str],
    queries: Vectors,
    k: int,
    *,
    only: Ids | None = None,
    gather: Gather | None = None,
) -> tuple[Ids, Units] | None:
    """Return ids and cosines, each of shape (n, k), if the index at a path covers exactly these shards.

    Args:
        path: Index file.
        shards: Names of shards.
        queries: Vectors (n, dim).
        k: Number of neighbours.
        only: Ascending ids of the items that may be found; None for all.
        gather: Gives the stored vectors, whose cosines rank the items.
    """
    if (found := open_index(path, shards)) is None:
        return None
    _, index = found
    return index.search(queries, k, members=None if only is None else index.members(only), gather=gather)


class Clustered:
    """n vectors (n, dim) of any length under ids that are no positions, block by block; and queries of their kind.

    The queries are not among the vectors.
    """

    def __init__(self, n: int, dim: int, *, n_queries: int = 300, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        centres = rng.normal(size=(max(1, n // 50), dim))
        spread = (1 + np.arange(dim)) ** -0.5
        drawn = centres[rng.integers(len(centres), size=n + n_queries)] + 0.7 * rng.normal(size=(n + n_queries, dim))
        drawn = (drawn * spread * rng.uniform(0.5, 5, size=(n + n_queries, 1))).astype(np.float32)
        self.vectors, self.queries = drawn[:n], drawn[n:]
        self.ids = rng.permutation(2**40 + 7919 * np.arange(n))
        self.dim = dim

    def blocks(self, start: int = 0, stop: int | None = None) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        stop = len(self.ids) if stop is None else stop
        return [
            (self.ids[at : min(stop, at + 1024)], self.vectors[at : min(stop, at + 1024)])
            for at in range(start, stop, 1024)
        ]

    def gather(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        order = np.argsort(self.ids)
        places = order[np.searchsorted(self.ids[order], ids)]
        return self.ids[places], self.vectors[places]

    def cosines(self, queries: NDArray[np.floating]) -> NDArray[np.float64]:
        """Of each query with each vector, in float64."""
        left, right = queries.astype(np.float64), self.vectors.astype(np.float64)
        lengths = np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=1)
        return np.divide(left @ right.T, lengths, out=np.zeros(lengths.shape), where=lengths > 0)

    def exact(
        self, queries: NDArray[np.floating], k: int, keep: NDArray[np.bool_] | None = None
    ) -> Iterator[list[tuple[int, float]]]:
        """The nearest of each query among all, or among those of ``keep`` (n,)."""
        for row in self.cosines(queries):
            kept = row if keep is None else np.where(keep, row, -np.inf)
            best = np.argsort(-kept)[:k]
            yield [(int(self.ids[place]), float(kept[place])) for place in best if np.isfinite(kept[place])]


def recall(found: NDArray[np.int64], wanted: list[list[tuple[int, float]]]) -> float:
    """The share of the wanted ids that was found."""
    hits = [len({*row.tolist()} & {item for item, _ in answer}) for row, answer in zip(found, wanted, strict=True)]
    return sum(hits) / sum(map(len, wanted))
