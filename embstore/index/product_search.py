"""Exact search by 3CosMul, a product of cosines: found by float32 products, decided by float64 scores, ties by id."""

from collections.abc import Sequence

import numpy as np

from embstore.arrays import Float64Array, Positions, rounding_error_bound
from embstore.index.exact_search import exact_dot, first, inner_products
from embstore.index.vectors import Blocks, Ids, Units, Vectors, unit_vectors, with_direction

EPSILON = 1e-6
"""Number that is added to a denominator, so that it is not zero: that of gensim's ``most_similar_cosmul``."""


def product_scores(cosines: Float64Array, positive: Sequence[int], negative: Sequence[int]) -> Float64Array:
    """Compute Π (1 + cos(x, p))/2 ÷ (Π (1 + cos(x, q))/2 + ε): Levy & Goldberg (2014), CoNLL, as gensim computes it.

    Args:
        cosines: Cosine of each word with each item (words, n), in [-1, 1].
        positive: Rows of the words p; a repeated one counts as often.
        negative: Rows of the words q.

    Returns:
        Scores (n,), ≥ 0.
    """
    shifted = (1 + cosines) / 2
    scores: Float64Array = shifted[positive].prod(axis=0) / (shifted[negative].prod(axis=0) + EPSILON)
    return scores


def search_products(
    blocks: Blocks, words: Vectors, positive: Sequence[int], negative: Sequence[int], k: int
) -> tuple[Ids, Units]:
    """Search blocks of vectors for the items with the highest scores.

    Args:
        blocks: Pairs of item ids (n,) and vectors (n, dim); zero vectors are skipped.
        words: Vectors (words, dim), none of them zero.
        positive: Rows of the positive words.
        negative: Rows of the negative words.
        k: Number of items.

    Returns:
        Item ids and scores rounded to float32, each (k,), best first, ties by ascending id; fewer if there are fewer.
    """
    best_ids, best = np.empty(0, np.int64), np.empty(0, np.float32)
    queries = unit_vectors(words)
    for all_ids, block in blocks:
        ids, vectors = with_direction(all_ids, block)
        units = unit_vectors(vectors)
        lowest = float(best[-1]) if len(best) == k else 0.0
        near = _candidates(inner_products(units, queries), positive, negative, k, (words.shape[1], lowest))
        cosines = np.stack([exact_dot(units, near, query) for query in queries]).clip(-1, 1)
        scores = product_scores(cosines, positive, negative).astype(np.float32)
        best_ids, best = first(np.concatenate([best_ids, ids[near]]), np.concatenate([best, scores]), k)
    return best_ids, best


def _candidates(
    products: Units, positive: Sequence[int], negative: Sequence[int], k: int, bound: tuple[int, float]
) -> Positions:
    """Return the positions of all items that can be among the k best, given the rounding error of float32 products.

    Args:
        products: Inner products of the words with the items (words, n).
        positive: Rows of the positive words.
        negative: Rows of the negative words.
        k: Number of items.
        bound: Dimension of the vectors, and score that an item must reach.
    """
    dim, lowest = bound
    error = 2 * rounding_error_bound(dim, np.float32)
    cosines = products.astype(np.float64)
    low, high = (cosines - error).clip(-1, 1), (cosines + error).clip(-1, 1)
    below, above = (np.concatenate(pair) for pair in ((low, high), (high, low)))
    shifted = [row + len(products) for row in negative]  # the rows of the other bound
    at_least, at_most = (product_scores(rows, positive, shifted) for rows in (below, above))
    if k < len(at_least):
        lowest = max(lowest, float(np.partition(at_least, -k)[-k]))
    return np.flatnonzero(at_most >= lowest * (1 - 1e-6))  # scores are compared as float32
