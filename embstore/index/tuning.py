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
from embstore.index.searching import TUNED_K, FaissIndex
from embstore.index.vectors import Blocks, Gather, Ids, Units, batches

TARGET_RECALL = 0.99
_TIE = 1e-6
_Z_95 = 1.645  # standard errors: the 95th percentile of the normal distribution
_MAX_QUERIES, _MIN_QUERIES, _ONE_IN = 3000, 100, 50
_RE_RANKED = {"n_exact": N_EXACT}
_MIN_EF_SEARCH, _MAX_EF_SEARCH = 16, 4096


class RecallQueries(NamedTuple):
    """Queries with their exact answers.

    Attributes:
        ids: Item ids of the queries (n,).
        units: Unit vectors of the queries (n, dim).
        tenth_cosine: Cosine of the tenth exact neighbour (n,), or of the last where there are fewer.
        n_others: Number of exact neighbours of each query: 10, or fewer.
    """

    ids: Ids
    units: Units
    tenth_cosine: Units
    n_others: int

    def recall(self, index: FaissIndex, gather: Gather | None) -> tuple[float, float]:
        """Return the recall@10 of an index at its current effort, and the standard error."""
        if not len(self.ids) or not self.n_others:
            return 1.0, 0.0
        ids, cosines = index.search(self.units, self.n_others + 1, gather=gather)
        is_other = (ids >= 0) & (ids != self.ids[:, None])
        hits = is_other & (cosines >= self.tenth_cosine[:, None] - _TIE)
        recalls = np.minimum(hits.sum(axis=1), self.n_others) / self.n_others
        return float(recalls.mean()), float(recalls.std() / np.sqrt(len(recalls)))


def n_queries(kind: str, n: int, dim: int) -> int:
    """Return the number of queries to measure recall with: 3,000, or fewer if there are few vectors or long ones."""
    max_queries = max(1, n // _ONE_IN)  # a graph without many of its vectors would be a different graph
    query_bytes = 4 * dim * (N_EXACT if kind == "ivf" else 1)
    return min(max_queries, _MAX_QUERIES, max(_MIN_QUERIES, CANDIDATE_BYTES // query_bytes))


def recall_queries(
    ids: Ids, units: Units, blocks: Blocks, rows: int, *, exclude_queries: bool = False
) -> RecallQueries:
    """Compute the exact neighbours of queries in one pass over the vectors, to measure recall against.

    Args:
        ids: Item ids of the queries (n,).
        units: Unit vectors of the queries (n, dim).
        blocks: All vectors, in blocks.
        rows: Number of vectors that are compared at once.
        exclude_queries: Whether to exclude all queries from the neighbours of each.
    """
    import faiss

    best = np.empty((len(ids), 0), np.float32)
    for block_ids, block, _ in batches(blocks, rows):
        if exclude_queries:
            is_other = ~np.isin(block_ids, ids)
            block_ids, block = block_ids[is_other], block[is_other]
        if not len(block_ids):
            continue
        k = min(TUNED_K + 1, len(block_ids))
        cosines, places = faiss.knn(units, block, k, faiss.METRIC_INNER_PRODUCT)
        cosines[block_ids[places] == ids[:, None]] = -np.inf
        best = -np.sort(-np.concatenate([best, cosines], axis=1), axis=1)[:, :TUNED_K]
    n_others = int(np.isfinite(best).sum(axis=1).min(initial=TUNED_K)) if len(ids) else 0
    tenth_cosine = best[:, n_others - 1] if n_others else np.zeros(len(ids), np.float32)
    return RecallQueries(ids, units, tenth_cosine, n_others)


def tune(index: FaissIndex, queries: RecallQueries, target_recall: float, gather: Gather | None) -> float:
    """Set the least search effort that reaches a recall, or the best one tried, and return its measured recall.

    Args:
        index: FaissIndex whose :attr:`FaissIndex.effort` is set.
        queries: Queries with their exact answers.
        target_recall: Requested recall@10 in [0, 1].
        gather: Function that returns vectors by item id; required for ``ivf``.
    """
    name, first, fixed = ("ef_search", _MIN_EF_SEARCH, {}) if index.kind == "hnsw" else ("n_probe", 1, _RE_RANKED)

    def measure(value: int) -> tuple[float, bool]:
        index.effort = {name: value, **fixed}
        recall, error = queries.recall(index, gather)
        return recall, recall - _Z_95 * error >= target_recall

    with index.unlinking(queries.ids):
        value, recall = least_sufficient(measure, effort_steps(first, max_effort(index)))
    index.effort = {name: value, **fixed}
    return recall


def max_effort(index: FaissIndex) -> int:
    """Return the largest effort to try: at it, a search is as slow as an exact scan or reads all lists."""
    return min(_MAX_EF_SEARCH, max(16, len(index.ids))) if index.kind == "hnsw" else index.n_lists


def effort_steps(first: int, last: int) -> list[int]:
    """Return the efforts to try, ascending from the first to the last, each about 3 % above the one before."""
    return list(_effort_steps(first, last))


def _effort_steps(value: int, last: int) -> Iterator[int]:
    while value < last:
        yield value
        value += max(1, value // 32)
    yield last


def least_sufficient(measure: Callable[[int], tuple[float, bool]], values: list[int]) -> tuple[int, float]:
    """Return the smallest value with a sufficient recall, and that recall; if none is, the value of the best recall.

    Recall grows with effort, so the search doubles the value and then bisects. If recall dips by chance, the returned
    value is still one that was measured.

    Args:
        measure: Function that returns the recall at a value, and whether it is sufficient.
        values: Values to try, ascending.
    """
    tried: dict[int, float] = {}

    def try_value(index: int) -> bool:
        tried[index], is_enough = measure(values[index])
        return is_enough

    low, index = -1, 0
    while not try_value(index):
        if index == len(values) - 1:
            best = max(tried, key=lambda i: (tried[i], -i))
            return values[best], tried[best]
        low, index = index, min(len(values) - 1, bisect_left(values, 2 * values[index]))
    while index - low > 1:
        middle = (low + index) // 2
        if try_value(middle):
            index = middle
        else:
            low = middle
    return values[index], tried[index]
