"""Measure the recall of an index, and find the least search effort that reaches the requested recall.

The measure is recall@10. The queries are a random sample of the stored vectors, and a query's own item is excluded from
both the exact and the found neighbours. In a graph, all queries are unlinked meanwhile (:mod:`.hnsw_holdout`), and none
is among the exact neighbours: with its links a query would lead straight to its neighbours, and a text that is not
stored has no links. A found item is a hit if its cosine is at least the tenth exact cosine minus 1e-6, so that any of
several equally near items, such as duplicates, counts.

The recall is a mean over a sample of queries: an effort is enough if the lower end of a one-sided 95 % confidence
interval (normal approximation, from the standard error) reaches the requested recall.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from embstore.index.policy import CANDIDATE_BYTES, N_EXACT
from embstore.index.searching import TUNED_K, Index
from embstore.index.vectors import Blocks, Gather, Ids, Units, batches

WANTED_RECALL = 0.99
_TIE = 1e-6
_SURE = 1.645  # standard errors: the 95th percentile of the normal distribution
_MAX_QUERIES, _MIN_QUERIES, _ONE_IN = 3000, 100, 50
_RE_RANKED = {"n_exact": N_EXACT}
_LEAST_EF_SEARCH, _MOST_EF_SEARCH = 16, 4096


class HeldOut(NamedTuple):
    """Queries with their exact answers.

    Attributes:
        ids: Item ids of the queries (n,).
        units: Unit vectors of the queries (n, dim).
        tenth: Cosine of the tenth exact neighbour (n,), or of the last where there are fewer.
        n_others: Number of exact neighbours of each query: 10, or fewer.
    """

    ids: Ids
    units: Units
    tenth: Units
    n_others: int

    def recall(self, index: Index, gather: Gather | None) -> tuple[float, float]:
        """Return the recall@10 of an index at its current effort, and the standard error."""
        if not len(self.ids) or not self.n_others:
            return 1.0, 0.0
        ids, cosines = index.search(self.units, self.n_others + 1, gather=gather)
        others = (ids >= 0) & (ids != self.ids[:, None])
        near = others & (cosines >= self.tenth[:, None] - _TIE)
        recalls = np.minimum(near.sum(axis=1), self.n_others) / self.n_others
        return float(recalls.mean()), float(recalls.std() / np.sqrt(len(recalls)))


def n_queries(kind: str, n: int, dim: int) -> int:
    """Return the number of queries for the measurement of recall: 3,000, or fewer where vectors are few or long."""
    few = max(1, n // _ONE_IN)  # a graph without many of its vectors would be a different graph
    query_bytes = 4 * dim * (N_EXACT if kind == "ivf" else 1)
    return min(few, _MAX_QUERIES, max(_MIN_QUERIES, CANDIDATE_BYTES // query_bytes))


def answer_exactly(ids: Ids, units: Units, blocks: Blocks, rows: int, *, apart: bool = False) -> HeldOut:
    """Compute the exact neighbours of queries in one pass over the vectors.

    Args:
        ids: Item ids of the queries (n,).
        units: Unit vectors of the queries (n, dim).
        blocks: All vectors, in blocks.
        rows: Number of vectors that are compared at once.
        apart: Whether to exclude all queries from the neighbours of each.
    """
    import faiss

    best = np.empty((len(ids), 0), np.float32)
    for block_ids, block, _ in batches(blocks, rows):
        if apart:
            others = ~np.isin(block_ids, ids)
            block_ids, block = block_ids[others], block[others]
        if not len(block_ids):
            continue
        k = min(TUNED_K + 1, len(block_ids))
        cosines, places = faiss.knn(units, block, k, faiss.METRIC_INNER_PRODUCT)
        cosines[block_ids[places] == ids[:, None]] = -np.inf
        best = -np.sort(-np.concatenate([best, cosines], axis=1), axis=1)[:, :TUNED_K]
    n_others = int(np.isfinite(best).sum(axis=1).min(initial=TUNED_K)) if len(ids) else 0
    tenth = best[:, n_others - 1] if n_others else np.zeros(len(ids), np.float32)
    return HeldOut(ids, units, tenth, n_others)


def tune(index: Index, held: HeldOut, wanted: float, gather: Gather | None) -> float:
    """Set the least search effort that reaches a recall, or the best one tried, and return its measured recall.

    Args:
        index: Index whose :attr:`Index.effort` is set.
        held: Queries with their exact answers.
        wanted: Requested recall@10 in [0, 1].
        gather: Function that returns vectors by item id; required for ``ivf``.
    """
    if index.kind == "flat":
        index.effort = {}
        return 1.0
    name, first, fixed = ("ef_search", _LEAST_EF_SEARCH, {}) if index.kind == "hnsw" else ("n_probe", 1, _RE_RANKED)

    def measured(value: int) -> tuple[float, bool]:
        index.effort = {name: value, **fixed}
        recall, error = held.recall(index, gather)
        return recall, recall - _SURE * error >= wanted

    with index.holding_out(held.ids):
        value, recall = least(measured, steps(first, most(index)))
    index.effort = {name: value, **fixed}
    return recall


def most(index: Index) -> int:
    """Return the largest effort to try: at it, a search is as slow as an exact scan or reads all lists."""
    return min(_MOST_EF_SEARCH, max(16, len(index.ids))) if index.kind == "hnsw" else index.n_lists


def steps(first: int, last: int) -> list[int]:
    """Return the efforts to try, ascending from the first to the last, each about 3 % above the one before."""
    return list(_steps(first, last))


def _steps(value: int, last: int) -> Iterator[int]:
    while value < last:
        yield value
        value += max(1, value // 32)
    yield last


def least(measured: Callable[[int], tuple[float, bool]], values: list[int]) -> tuple[int, float]:
    """Return the least of some ascending values that is enough, with its recall; the one of best recall if none is.

    Recall grows with effort, so the search doubles the value and then bisects. If recall dips by chance, the returned
    value is still one that was measured.

    Args:
        measured: Function that returns the recall of a value, and whether it is enough.
        values: Values to try, ascending.
    """
    tried: dict[int, float] = {}

    def enough(place: int) -> bool:
        tried[place], is_enough = measured(values[place])
        return is_enough

    low, place = -1, 0
    while not enough(place):
        if place == len(values) - 1:
            best = max(tried, key=lambda one: (tried[one], -one))
            return values[best], tried[best]
        low, place = place, min(len(values) - 1, bisect_left(values, 2 * values[place]))
    while place - low > 1:
        middle = (low + place) // 2
        if enough(middle):
            place = middle
        else:
            low = middle
    return values[place], tried[place]
