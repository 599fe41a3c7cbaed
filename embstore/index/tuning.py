"""How much of the exact answer an index finds, and the least effort with which it finds enough.

The measure is recall@10. The queries are stored vectors drawn at random, and a query's own item is left out of the
exact answer and of the found one. A graph leads around all of them meanwhile (:mod:`.held_out`), and none is in an
exact answer: with its links a query would lead straight to its neighbours, and a text that is not stored has none. A
hit counts if its cosine is not below the tenth of the exact answer by more than 1e-6: which of several equally near
items comes is no fault, so that duplicates count as what they are.

The recall is a mean over some of all queries: an effort is enough if its recall is so even at the lower end of a
one-sided 95 % interval (normal, from the standard error).
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Queries and the exact answer to them.

    Attributes:
        ids: the items of the queries (n,).
        units: their unit vectors (n, dim).
        tenth: the cosine of the tenth of the exact answer (n,), or of the last where there are fewer.
        n_others: how many there are in each exact answer: 10, or fewer.
    """

    ids: Ids
    units: Units
    tenth: Units
    n_others: int

    def recall(self, index: Index, gather: Gather | None) -> tuple[float, float]:
        """Return the recall@10 of an index at the effort that is set in it, and its standard error."""
        if not len(self.ids) or not self.n_others:
            return 1.0, 0.0
        ids, cosines = index.search(self.units, self.n_others + 1, gather=gather)
        others = (ids >= 0) & (ids != self.ids[:, None])
        near = others & (cosines >= self.tenth[:, None] - _TIE)
        recalls = np.minimum(near.sum(axis=1), self.n_others) / self.n_others
        return float(recalls.mean()), float(recalls.std() / np.sqrt(len(recalls)))


def n_queries(kind: str, n: int, dim: int) -> int:
    """Return how many of n vectors the recall is measured with: 3,000, or fewer where vectors are few or long."""
    few = max(1, n // _ONE_IN)  # a graph without many of its vectors would be another one
    query_bytes = 4 * dim * (N_EXACT if kind == "ivf" else 1)
    return min(few, _MAX_QUERIES, max(_MIN_QUERIES, CANDIDATE_BYTES // query_bytes))


def answer_exactly(ids: Ids, units: Units, blocks: Blocks, rows: int, *, apart: bool = False) -> HeldOut:
    """Return queries with their exact answers, by one pass over the vectors.

    Args:
        ids: the items of the queries.
        units: their unit vectors (n, dim).
        blocks: all vectors.
        rows: how many of them are compared at once.
        apart: no query is in the answer to another.
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
    """Set the least effort that reaches a recall, or the best there is, and return the recall that it has.

    Args:
        index: of which :attr:`Index.effort` is set.
        held: queries with their exact answers.
        wanted: the recall.
        gather: gives the vectors of candidates (``ivf``).
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
    """Return the most effort that makes sense: an exact scan would be as fast, or all lists are read."""
    return min(_MOST_EF_SEARCH, max(16, len(index.ids))) if index.kind == "hnsw" else index.n_lists


def steps(first: int, last: int) -> list[int]:
    """Return efforts to try, ascending: each a few per cent more than the one before, from the first to the last."""
    return list(_steps(first, last))


def _steps(value: int, last: int) -> Iterator[int]:
    while value < last:
        yield value
        value += max(1, value // 32)
    yield last


def least(measured: Callable[[int], tuple[float, bool]], values: list[int]) -> tuple[int, float]:
    """Return the least of ascending values that is enough, and its recall; the best if none is.

    Recall grows with effort, so that it is looked for by doubling the value, and then by halving the steps; where
    chance makes it dip, the value that is returned is still one that was measured.

    Args:
        measured: gives the recall of a value, and whether it is enough.
        values: to try.
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
