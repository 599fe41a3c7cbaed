"""Representational similarity analysis: correlate the pairwise cosines of two layers."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import cosine_error
from embstore.base.summary import Float64Array
from embstore.metrics.declaration.spec import Ids, LayerData, Result
from embstore.metrics.numerics.correlation import ranks
from embstore.metrics.numerics.gram import CentredVectors, GramMatrix, describe_route, pair_forms
from embstore.metrics.numerics.layer_grid import Grid, PairForm, with_self_pairs
from embstore.metrics.numerics.pair_sums import LayerSums, Pair, PairSums, check_complete

Positions = NDArray[np.int64]

_MIN_ITEMS = 3
_ROUNDING = 1e-13
_PAIRS_AT_ONCE = 2048
_ALL_ALIKE = "all its cosines are alike"


def rsa(
    left: Sequence[LayerData],
    right: Sequence[LayerData] | None,
    ids: Ids,
    *,
    correlation: str = "pearson",
    pairs: int = 100_000,
    seed: int = 0,
) -> list[Result]:
    """Compute the correlation of the cosines of all pairs of items, for each pair of layers.

    Kriegeskorte et al. (2008), with the cosine distance. Items whose vector is zero in one of two layers are omitted.

    Args:
        left: Layers, each with all the items.
        right: Layers to compare with; None compares ``left`` with each other.
        ids: Item ids, ascending.
        correlation: ``pearson``, exact over all pairs of items, or ``spearman``, over a sample of pairs.
        pairs: Number of pairs of items that ``spearman`` samples without replacement; at most all.
        seed: Random seed of the sample.

    Returns:
        A row for each layer of ``left`` with each of ``right``: ``rsa`` in [-1, 1]; ``n_pairs`` pairs of
        items; ``n``; ``n_zero``; ``reason``; ``seed``, None where no pair was drawn.
    """
    grid = Grid.of(left, right)
    by_pair: dict[Pair, PairForm] = {}
    for used_ids, layer_pairs in grid.pairs_by_items(ids):
        n = len(used_ids)
        forms = dict.fromkeys(with_self_pairs(layer_pairs), 0.0)
        if n >= _MIN_ITEMS and correlation == "pearson":
            forms = pair_forms(grid.layers, list(forms), used_ids, covariance_of_cosines, cosine_gram, normalise_rows)
        elif n >= _MIN_ITEMS:
            forms = _rank_covariances(grid.layers, list(forms), used_ids, *draw_pairs(n, pairs, seed))
        for i, j in layer_pairs:
            by_pair[i, j] = PairForm(forms[i, j], forms[i, i], forms[j, j], n, len(ids) - n)
    return grid.rows(partial(_row, sample=(pairs, seed) if correlation == "spearman" else None), by_pair)


def _row(pair: PairForm, sample: tuple[int, int] | None) -> Result:
    """Return the row of a pair of layers, from the covariances of their cosines.

    Args:
        pair: Covariances.
        sample: Maximum number of pairs of items, and the random seed; None if all pairs are used.
    """
    n_pairs, seed = pair.n * (pair.n - 1) // 2, None
    if sample is not None and sample[0] < n_pairs:
        n_pairs, seed = sample
    if pair.n < _MIN_ITEMS:
        result: Result = {"rsa": None, "n": pair.n, "reason": "fewer than three items with a direction"}
    else:
        result = pair.normalised("rsa", _ALL_ALIKE)
    return result | {"n_pairs": n_pairs, "n_zero": pair.n_zero, "seed": seed}


def describe_sample(row: Mapping[str, Any]) -> str:
    """Describe the sample of pairs of items behind a row of :func:`rsa`."""
    return f"a random sample of {row['n_pairs']:,} of {row['n'] * (row['n'] - 1) // 2:,} pairs of items"


def normalise_rows(block: Float64Array) -> Float64Array:
    """Divide each row of a block (n, dim) by its norm, in place, and return the block."""
    block /= np.sqrt(np.vecdot(block, block))[:, None]
    return block


def covariance_of_cosines(sums: PairSums) -> float:
    """Return the covariance (ddof 0) of two layers' cosines over all pairs i < j of n ≥ 2 items.

    With unit vectors u = m + x and v = l + y, a pair's cosine is ‖m‖² + aᵢ + aⱼ + xᵢ·xⱼ, where a = m·x; likewise
    b = l·y. The constant ‖m‖² is omitted, so that cosines near 1 keep their digits; the products of the other terms are
    summed over pairs in closed form, from sums over items. The covariance is zero if it is within rounding.
    """
    n, left, right, product = sums.n, sums.left, sums.right, sums.product
    m, l_ = left.shift, right.shift
    n_pairs = n * (n - 1) / 2
    mean_left, mean_right = (_deviation_total(n, side) / n_pairs for side in (left, right))
    linear = (n - 2) * float(m @ product @ l_) + float(m @ left.total) * float(l_ @ right.total)
    mixed = (
        float(m @ product @ right.total)
        - float(m @ sums.left_weighted)
        + float(left.total @ product @ l_)
        - float(l_ @ sums.right_weighted)
    )
    quadratic = (float(np.vdot(product, product)) - sums.square_product) / 2
    mean_product = (linear + mixed + quadratic) / n_pairs
    covariance = mean_product - mean_left * mean_right
    smallest = max(1e-24, _ROUNDING * abs(mean_product))
    return covariance if abs(covariance) > smallest else 0.0


def cosine_gram(vectors: CentredVectors) -> GramMatrix:
    """Return the matrix of cosines minus their mean, from which :func:`covariance_of_cosines` follows.

    The entries are aᵢ + aⱼ + xᵢ·xⱼ minus their mean over i < j: the part of a cosine that is not constant.
    """
    n, sums = len(vectors.x), vectors.sums
    mean = _deviation_total(n, sums) / (n * (n - 1) / 2)
    offsets = vectors.x @ sums.shift - mean / 2
    error = max(1e-24, _ROUNDING * mean**2)
    return GramMatrix(offsets, has_diagonal=False, scale=1 / (n * (n - 1)), rounding_error=error)


def describe_rsa_route(n: int, dims: Sequence[int], dims_2: Sequence[int] | None, *, correlation: str, **_: Any) -> str:
    """Name the algorithm of :func:`rsa` for n items, empty if there is no choice; arguments: :func:`describe_route`."""
    return describe_route(n, dims, dims_2) if n >= _MIN_ITEMS and correlation == "pearson" else ""


def _deviation_total(n: int, sums: LayerSums) -> float:
    """Return the sum of aᵢ + aⱼ + xᵢ·xⱼ over all pairs i < j of n items, a = m·x, m the shift of the layer."""
    return (n - 1) * float(sums.shift @ sums.total) + (float(sums.total @ sums.total) - sums.square_total) / 2


def draw_pairs(n: int, n_pairs: int, seed: int) -> tuple[Positions, Positions]:
    """Draw pairs of positions i < j of n items without replacement; return all pairs if there are no more."""
    all_pairs = n * (n - 1) // 2
    if n_pairs >= all_pairs:
        return numbered_pairs(np.arange(all_pairs))
    drawn = np.random.default_rng(seed).choice(all_pairs, n_pairs, replace=False, shuffle=False)
    return numbered_pairs(np.sort(drawn))


def numbered_pairs(numbers: Positions) -> tuple[Positions, Positions]:
    """Return the pairs of positions i < j with the numbers j(j−1)/2 + i, which must be below 2⁵⁰."""
    second = ((1 + np.sqrt(1 + 8.0 * numbers)) / 2).astype(np.int64)
    second -= second * (second - 1) // 2 > numbers  # the root may be rounded up to a whole number
    second += second * (second + 1) // 2 <= numbers
    return numbers - second * (second - 1) // 2, second


def _rank_covariances(
    layers: Sequence[LayerData], pairs: Sequence[Pair], ids: Ids, first: Positions, second: Positions
) -> dict[Pair, float]:
    """Compute the covariance of the ranks of the cosines of two layers, for each pair of layers.

    Args:
        layers: Layers, each with all the items.
        pairs: Pairs of positions in ``layers``.
        ids: Item ids, ascending.
        first: Position in ``ids`` of one item of each pair of items, int64 (m,).
        second: Position of the other item, int64 (m,).
    """
    mean = (len(first) + 1) / 2
    centred = {
        number: ranks(_cosines(layers[number], ids, first, second), cosine_error(layers[number].dim)) - mean
        for number in {number for pair in pairs for number in pair}
    }
    return {(i, j): float(centred[i] @ centred[j]) / len(first) for i, j in pairs}


def _cosines(layer: LayerData, ids: Ids, first: Positions, second: Positions) -> Float64Array:
    """Return the cosines (m,) of pairs of items, reading their vectors into memory; arguments as above."""
    used = np.union1d(first, second)
    found, vectors = layer.gather(ids[used])
    check_complete(found, ids[used])
    first, second = np.searchsorted(used, first), np.searchsorted(used, second)
    cosines = np.empty(len(first))
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        u, v = (normalise_rows(vectors[rows[part]].astype(np.float64)) for rows in (first, second))
        cosines[part] = np.vecdot(u, v)
    return cosines
