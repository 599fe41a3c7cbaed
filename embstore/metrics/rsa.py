"""Representational similarity analysis: the correlation of two layers' pairwise cosines."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.declaration.spec import Ids, LayerData, Result
from embstore.metrics.numerics.correlation import ranks
from embstore.metrics.numerics.directions import cosine_error
from embstore.metrics.numerics.gram import Cloud, Kernel, describe_route, pair_forms
from embstore.metrics.numerics.layer_grid import Agreement, Grid, with_themselves
from embstore.metrics.numerics.pair_sums import Pair, PairSums, check_complete
from embstore.summary import Float64Array

Places = NDArray[np.int64]

_FEWEST = 3
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

    Kriegeskorte et al. (2008), with the cosine distance. Items without a direction in one of two layers are left out.

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
    agreements: dict[Pair, Agreement] = {}
    for kept, group in grid.by_items(ids):
        found = dict.fromkeys(with_themselves(group), 0.0)
        if len(kept) >= _FEWEST and correlation == "pearson":
            found = pair_forms(grid.layers, list(found), kept, covariance_of_cosines, cosine_kernel, unit)
        elif len(kept) >= _FEWEST:
            found = _of_ranks(grid.layers, list(found), kept, *draw_pairs(len(kept), pairs, seed))
        for i, j in group:
            agreements[i, j] = Agreement(found[i, j], found[i, i], found[j, j], len(kept), len(ids) - len(kept))
    return grid.rows(partial(_row, drawn=(pairs, seed) if correlation == "spearman" else None), agreements)


def _row(agreement: Agreement, drawn: tuple[int, int] | None) -> Result:
    all_pairs = agreement.n * (agreement.n - 1) // 2
    n_pairs, seed = all_pairs, None
    if drawn is not None and drawn[0] < all_pairs:
        n_pairs, seed = drawn
    if agreement.n < _FEWEST:
        result: Result = {"rsa": None, "n": agreement.n, "reason": "fewer than three items with a direction"}
    else:
        result = agreement.normalised("rsa", _ALL_ALIKE)
    return result | {"n_pairs": n_pairs, "n_zero": agreement.n_zero, "seed": seed}


def said_of_draw(row: Mapping[str, Any]) -> str:
    """Describe the sample of pairs of items for a row of :func:`rsa`."""
    return f"a random sample of {row['n_pairs']:,} of {row['n'] * (row['n'] - 1) // 2:,} pairs of items"


def unit(block: Float64Array) -> Float64Array:
    """Return x/‖x‖ row by row, in place."""
    block /= np.sqrt(np.vecdot(block, block))[:, None]
    return block


def covariance_of_cosines(sums: PairSums) -> float:
    """Return the covariance (ddof 0) of two layers' cosines over all pairs i < j of n ≥ 2 items.

    With unit vectors u = m + x and v = l + y, a pair's cosine is ‖m‖² + aᵢ + aⱼ + xᵢ·xⱼ, where a = m·x; likewise
    b = l·y. Only what is not constant in it is summed, in closed form, from sums over items: cosines near 1 keep their
    digits. Zero where it is nothing but rounding.
    """
    n, left, right, product = sums.n, sums.left, sums.right, sums.product
    m, l_ = left.shift, right.shift
    n_pairs = n * (n - 1) / 2
    mean_left = _deviation_total(n, left.shift, left.total, left.square_total) / n_pairs
    mean_right = _deviation_total(n, right.shift, right.total, right.square_total) / n_pairs
    of_linear = (n - 2) * float(m @ product @ l_) + float(m @ left.total) * float(l_ @ right.total)
    of_mixed = (
        float(m @ product @ right.total)
        - float(m @ sums.left_by_right)
        + float(left.total @ product @ l_)
        - float(l_ @ sums.right_by_left)
    )
    of_products = (float(np.vdot(product, product)) - sums.square_product) / 2
    mean_product = (of_linear + of_mixed + of_products) / n_pairs
    covariance = mean_product - mean_left * mean_right
    smallest = max(1e-24, _ROUNDING * abs(mean_product))
    return covariance if abs(covariance) > smallest else 0.0


def cosine_kernel(cloud: Cloud) -> Kernel:
    """Return the cosines less their mean, whose products over n(n−1) are their covariance over all pairs i < j.

    As in :func:`covariance_of_cosines`, aᵢ + aⱼ + xᵢ·xⱼ is what is not constant in a cosine.
    """
    n, side = len(cloud.x), cloud.side
    mean = _deviation_total(n, side.shift, side.total, side.square_total) / (n * (n - 1) / 2)
    terms = cloud.x @ side.shift - mean / 2
    return Kernel(terms, has_diagonal=False, scale=1 / (n * (n - 1)), floor=max(1e-24, _ROUNDING * mean**2))


def describe_rsa_route(n: int, dims: Sequence[int], dims_2: Sequence[int] | None, *, correlation: str, **_: Any) -> str:
    """Name the algorithm that :func:`rsa` uses for n items and layers of these dimensions."""
    return describe_route(n, dims, dims_2) if n >= _FEWEST and correlation == "pearson" else ""


def _deviation_total(n: int, shift: Float64Array, total: Float64Array, square_total: float) -> float:
    """Return the sum of aᵢ + aⱼ + xᵢ·xⱼ over all pairs i < j."""
    return (n - 1) * float(shift @ total) + (float(total @ total) - square_total) / 2


def draw_pairs(n: int, n_pairs: int, seed: int) -> tuple[Places, Places]:
    """Return places i < j of pairs of n items, drawn without replacement; all pairs where there are no more."""
    all_pairs = n * (n - 1) // 2
    if n_pairs >= all_pairs:
        return numbered_pairs(np.arange(all_pairs))
    drawn = np.random.default_rng(seed).choice(all_pairs, n_pairs, replace=False, shuffle=False)
    return numbered_pairs(np.sort(drawn))


def numbered_pairs(numbers: Places) -> tuple[Places, Places]:
    """Return the pairs i < j that have these numbers j(j−1)/2 + i, below 2⁵⁰."""
    second = ((1 + np.sqrt(1 + 8.0 * numbers)) / 2).astype(np.int64)
    second -= second * (second - 1) // 2 > numbers  # the root may be rounded up to a whole number
    second += second * (second + 1) // 2 <= numbers
    return numbers - second * (second - 1) // 2, second


def _of_ranks(
    layers: Sequence[LayerData], pairs: Sequence[Pair], ids: Ids, first: Places, second: Places
) -> dict[Pair, float]:
    """Return for pairs of layers the covariance of the ranks of their cosines."""
    places = {place for pair in pairs for place in pair}
    mean = (len(first) + 1) / 2
    centred = {
        place: ranks(_cosines(layers[place], ids, first, second), cosine_error(layers[place].dim)) - mean
        for place in places
    }
    return {(i, j): float(centred[i] @ centred[j]) / len(first) for i, j in pairs}


def _cosines(layer: LayerData, ids: Ids, first: Places, second: Places) -> Float64Array:
    """Return the cosines of pairs of items, reading the vectors of these items into memory."""
    used = np.union1d(first, second)
    found, vectors = layer.gather(ids[used])
    check_complete(found, ids[used])
    first, second = np.searchsorted(used, first), np.searchsorted(used, second)
    cosines = np.empty(len(first))
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        u, v = (unit(vectors[places[part]].astype(np.float64)) for places in (first, second))
        cosines[part] = np.vecdot(u, v)
    return cosines
