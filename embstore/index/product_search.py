"""Exact search by 3CosMul, a product of cosines: found by float32 products, decided by float64 scores, ties by id."""

from collections.abc import Sequence

import numpy as np

from embstore.base.arrays import Float64Array, Positions, cosine_error, rounding_error_bound
from embstore.index.exact_search import approximate_cosines, first, inner_products, kept
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
) -> tuple[Ids, Float64Array]:
    """Search blocks of vectors for the items with the highest scores.

    Args:
        blocks: Pairs of item ids (n,) and vectors (n, dim); zero vectors are skipped.
        words: Vectors (words, dim), none of them zero.
        positive: Rows of the positive words.
        negative: Rows of the negative words.
        k: Number of items.

    Returns:
        Item ids and scores, each (k,), best first, ties by ascending id; fewer if there are fewer.
    """
    best_ids, best, best_errors = np.empty(0, np.int64), np.empty(0), np.empty(0)
    units, dim = unit_vectors(words), words.shape[1]
    for all_ids, block in blocks:
        ids, vectors = with_direction(all_ids, block)
        lowest = float(best[k - 1]) if len(best) >= k else 0.0
        near = _candidates(inner_products(unit_vectors(vectors), units), positive, negative, k, (dim, lowest))
        cosines = np.stack([approximate_cosines(vectors[near], word) for word in words]).clip(-1, 1)
        scores, errors = _scores(cosines, positive, negative, cosine_error(dim))
        all_ids, scores = np.concatenate([best_ids, ids[near]]), np.concatenate([best, scores])
        errors = np.concatenate([best_errors, errors])
        order = kept(all_ids, scores, errors, k)
        best_ids, best, best_errors = all_ids[order], scores[order], errors[order]
    return first(best_ids, best, best_errors, k)


def _scores(
    cosines: Float64Array, positive: Sequence[int], negative: Sequence[int], error: float
) -> tuple[Float64Array, Float64Array]:
    """Return the scores of cosines (words, n) that are exact to ``error``, and bounds on their rounding errors (n,)."""
    scores = product_scores(cosines, positive, negative)
    denominators = ((1 + cosines[negative]) / 2).prod(axis=0) + EPSILON
    return scores, error * (len(positive) + (len(negative) + 1) * scores) / denominators


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
    error = 2 * rounding_error_bound(dim, np.float32)  # once would do; the rest is for the errors in float64
    cosines = products.astype(np.float64)
    low, high = (cosines - error).clip(-1, 1), (cosines + error).clip(-1, 1)
    below, above = (np.concatenate(pair) for pair in ((low, high), (high, low)))
    shifted = [row + len(products) for row in negative]  # the rows of the other bound
    at_least, at_most = (product_scores(rows, positive, shifted) for rows in (below, above))
    if k < len(at_least):
        lowest = max(lowest, float(np.partition(at_least, -k)[-k]))
    return np.flatnonzero(at_most >= lowest)
