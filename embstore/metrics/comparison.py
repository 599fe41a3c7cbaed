"""Compare layers, of one space with each other or with those of another space: CKA, RSA, overlap of
neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import sqrt
from typing import Annotated, Literal

import numpy as np

from embstore.base.arrays import Float64Array, Positions, cosine_error, rounding_error_bound, slices
from embstore.metrics.declaration import Block, Ids, LayerData, Layers, Result, Similarity
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import (
    N_TIED,
    N_ZERO,
    NearestNeighbours,
    Option,
    amount,
    coefficient,
    count,
    quantity,
    share,
)
from embstore.metrics.numerics.canonical import svcca
from embstore.metrics.numerics.layer_pairs import (
    CentredVectors,
    GramMatrix,
    Grid,
    LayerSums,
    Pair,
    PairSums,
    check_complete,
    members,
    normalise,
    ordered,
    pair_forms,
    read_vectors,
    unit_gram,
    with_self_pairs,
)
from embstore.metrics.numerics.neighbours import TIED, Nearest, find_nearest, n_shared, why_too_many
from embstore.metrics.numerics.statistics import ranks

_ROUNDING = 1e-13  # share of the summed terms up to which their sum is rounding
_MIN_CKA_ITEMS = {"unbiased": 4, "biased": 2}
_SVCCA_KEPT = 0.99  # share of the variance
_NO_VARIANCE = "its vectors are all alike, or all equally far from each other"
WITHIN_ROUNDING = "the differences of its cosines are within rounding"
_MIN_RSA_ITEMS = 3
_PAIRS_AT_ONCE = 2048
_LISTS_AT_ONCE = 16_384


@metric(
    columns=(
        coefficient("cka", "1: alike up to rotation and scale", label="CKA"),
        share("chance", "mean over all ways to shuffle the items", shown=False),
        amount("chance_deviation", "standard deviation over these", shown=False),
    ),
    formula="HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)), K = XXᵀ, L = YYᵀ",
    citation=(
        "Kornblith et al. (2019), ICML; HSIC_1 of Song et al. (2012), JMLR, as in Nguyen et"
        " al. (2021), ICLR; chance: Kazi-Aoual et al. (1995), CSDA 20; Josse, Pagès &"
        " Husson (2008), CSDA 53; svcca: Raghu et al. (2017), NeurIPS"
    ),
    references=("kornblith2019", "song2012", "nguyen2021", "kazi1995", "josse2008", "raghu2017"),
    needs="layers",
    label="CKA",
    similarity=Similarity(
        "cka",
        matrix=lambda layer, ids, *, variant: unit_gram(
            read_vectors(layer, ids), hsic1_gram if variant == "unbiased" else biased_gram
        ),
        has_matrix=lambda arguments: arguments["variant"] != "svcca",
        chance="chance",
    ),
    version=3,
)
def cka(
    left: Layers,
    right: Layers | None,
    ids: Ids,
    *,
    variant: Annotated[
        Literal["unbiased", "biased", "svcca"],
        Option(
            "unbiased, or biased: near 1 by itself where items are few; svcca: instead of CKA the"
            " mean canonical correlation."
        ),
    ] = "unbiased",
) -> list[Result]:
    """How alike two layers arrange the items: linear centred kernel alignment.

    Exact, in float64, from sums of products of dimensions or, where n Σdᵢ < Σdᵢdⱼ (dimensions d,
    summed over the layers and over their pairs, a layer with itself counting half; n < Ld/2 for all
    pairs of L layers), from Gram matrices: the same number up to rounding, in bounded memory.
    unbiased takes HSIC_1, which needs 4 items and may make CKA negative; biased takes Kornblith's,
    which for n = 100 items with independent Gaussian vectors of 768 dimensions in both layers is
    about .885: chance says how much of it items in random order have, exactly and without a draw,
    and chance_deviation how far it varies. Rotating a layer, or scaling it as a whole, changes
    nothing; scaling single dimensions does. svcca is another measure: the mean canonical
    correlation of two layers, each reduced to its fewest principal components with 99 % of its
    variance; it is near 1 where there are hardly more items than components, and its chance has no
    closed form. ReSi's code means the same, but holds the share of the variance against .99 times
    Σ‖x − x̄‖², so that it keeps one component where that sum is above 1.01. 33 layers of 100,000
    items and 4,096 dimensions take hours: take a sample.
    """
    grid, n = Grid.of(left, right), len(ids)
    if variant == "svcca":
        return _svcca_rows(grid, ids)
    min_items = _MIN_CKA_ITEMS[variant]
    form, gram = (hsic1, hsic1_gram) if variant == "unbiased" else (biased_hsic, biased_gram)
    forms: dict[Pair, float] = {}
    if n >= min_items:
        forms = pair_forms(grid.layers, with_self_pairs(grid.pairs), ids, form, gram)
    too_few = (None, f"{variant} CKA needs {min_items} items or more")
    spectra = [
        Spectrum.of(layer, forms[i, i]) if variant == "biased" and forms else UNBIASED
        for i, layer in enumerate(grid.layers)
    ]
    rows: list[Result] = []
    for i, j in product(grid.left, grid.right):
        value, reason = normalise(forms, i, j, _NO_VARIANCE) if forms else too_few
        row: Result = {"cka": value, "n": n, "reason": reason}
        if value is not None:
            row["chance"], row["chance_deviation"] = cka_by_chance(spectra[i], spectra[j], n)
        rows.append(row)
    return rows


def _svcca_rows(grid: Grid, ids: Ids) -> list[Result]:
    """Return the rows of SVCCA, in the columns of CKA."""
    reasons = {
        (i, j): grid.constant_reason(i, j) if len(ids) >= 2 else "fewer than two items"
        for i, j in product(grid.left, grid.right)
    }
    wanted = {ordered(*pair) for pair, reason in reasons.items() if reason is None}
    values = svcca(grid.layers, sorted(wanted), ids, _SVCCA_KEPT)
    return [
        {"cka": values.get(ordered(*pair)), "n": len(ids), "reason": reason}
        for pair, reason in reasons.items()
    ]


def hsic1(sums: PairSums) -> float:
    """Return HSIC_1 of n ≥ 4 items with linear kernels K and L; zero if it is within rounding.

    [tr(KL) + 1ᵀK1 1ᵀL1 / ((n−1)(n−2)) − 2 1ᵀKL1 / (n−2)] / (n(n−3)) of Gram matrices with zero
    diagonals (Song et al. 2012, eq. 5), which is the same for shifted vectors. In feature space
    tr(KL) = ‖Σxyᵀ‖² − Σ‖x‖²‖y‖², 1ᵀK1 = ‖Σx‖² − Σ‖x‖² and (K1)ᵢ = x·Σx − ‖x‖², whose products sum
    to third-order sums.
    """
    n, left, right = sums.n, sums.left, sums.right
    if left.is_constant(n) or right.is_constant(n):
        return 0.0
    product_square = float(np.vdot(sums.product, sums.product))
    trace = product_square - sums.square_product
    total_left = float(left.total @ left.total) - left.square_total
    total_right = float(right.total @ right.total) - right.square_total
    row_products = (
        float(left.total @ sums.product @ right.total)
        - float(left.total @ sums.left_weighted)
        - float(right.total @ sums.right_weighted)
        + sums.square_product
    )
    totals = total_left * total_right / ((n - 1) * (n - 2))
    form = trace + totals - 2 / (n - 2) * row_products
    terms = product_square + sums.square_product + abs(totals) + 2 / (n - 2) * abs(row_products)
    return form / (n * (n - 3)) if abs(form) > _ROUNDING * terms else 0.0


def biased_hsic(sums: PairSums) -> float:
    """Return ‖Σ (x − x̄)(y − ȳ)ᵀ‖² / (n−1)² of n ≥ 2 items (Kornblith et al. 2019, eq. 3)."""
    n, left, right = sums.n, sums.left, sums.right
    if left.is_constant(n) or right.is_constant(n):
        return 0.0
    centred = sums.product - np.outer(left.total / n, right.total)
    return float(np.vdot(centred, centred)) / (n - 1) ** 2


def hsic1_gram(vectors: CentredVectors) -> GramMatrix:
    """Return the U-centred Gram matrix of n ≥ 4 items; two of these, multiplied and summed, over
    n(n−3) are HSIC_1.

    Kᵢⱼ − (K1)ᵢ/(n−2) − (K1)ⱼ/(n−2) + 1ᵀK1/((n−1)(n−2)) with zero diagonals (Székely & Rizzo 2014,
    section 2).
    """
    n, squares, total = len(vectors.x), vectors.squares, vectors.sums.total
    row_sums = vectors.x @ total - squares
    matrix_sum = float(total @ total) - vectors.sums.square_total
    offsets = matrix_sum / (2 * (n - 1) * (n - 2)) - row_sums / (n - 2)
    # ΣKᵢⱼ² minus that of the centred matrix, and the other terms that :func:`hsic1` adds up.
    subtracted = 2 * (n - 2) * float(offsets @ offsets) + 2 * float(offsets.sum()) ** 2
    added = 2 * float(squares @ squares) + matrix_sum**2 / ((n - 1) * (n - 2))
    added += 2 / (n - 2) * float(row_sums @ row_sums)
    scale = 1 / (n * (n - 3))
    return GramMatrix(
        offsets,
        has_diagonal=False,
        scale=scale,
        rounding_error=_ROUNDING * scale * (subtracted + added),
    )


def biased_gram(vectors: CentredVectors) -> GramMatrix:
    """Return the Gram matrix of the centred vectors of n ≥ 2 items, from which :func:`biased_hsic`
    follows.
    """
    n, total = len(vectors.x), vectors.sums.total
    offsets = float(total @ total) / (2 * n * n) - vectors.x @ total / n
    return GramMatrix(offsets, has_diagonal=True, scale=1 / (n - 1) ** 2, rounding_error=0.0)


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What the chance level of biased CKA needs of a layer with the centred Gram matrix K = XXᵀ."""

    beta: float  # tr(K)²/‖K‖², the participation ratio of the covariance
    delta: float  # Σ Kᵢᵢ²/‖K‖²

    @classmethod
    def of(cls, layer: LayerData, form: float) -> "Spectrum":
        """Return that of a layer whose biased HSIC with itself is ``form``; zeros if that is
        zero.
        """
        n = layer.summary.n
        mean, square = layer.summary.total / n, form * (n - 1) ** 2
        if square == 0:
            return cls(0.0, 0.0)

        def powers(block: Block) -> tuple[float, float]:
            centred = block - mean
            squares = np.vecdot(centred, centred)
            return float(squares.sum()), float(squares @ squares)

        trace, fourth = map(sum, zip(*layer.map(powers), strict=True))
        return cls(trace**2 / square, fourth / square)


UNBIASED = Spectrum(0.0, 0.0)
"""That of the matrix of unbiased CKA (Székely & Rizzo 2014, section 2), whose rows sum to 0 and
whose diagonal is 0.
"""


def cka_by_chance(left: Spectrum, right: Spectrum, n: int) -> tuple[float, float]:
    """Return the mean and standard deviation of CKA over all n! ways to shuffle the items of one
    layer, n ≥ 2.

    Those of the RV coefficient: Kazi-Aoual, Hitier, Sabatier & Lebreton (1995); Josse, Pagès &
    Husson (2008), section 3, which hold for all symmetric matrices whose rows sum to 0. The mean is
    √(β β₂)/(n − 1).
    """
    mean = sqrt(left.beta * right.beta) / (n - 1)
    if n == 2:  # all orders give the same
        return mean, 0.0
    first, second = (n - 1 - left.beta, n - 1 - right.beta)
    skewed = [  # times n − 1 − β, which may be zero; of three items, zero
        (n - 1) / (n - 3) * (n * (n + 1) * side.delta - (n - 1) * (side.beta + 2)) if n > 3 else 0.0
        for side in (left, right)
    ]
    variance = 2 * (first * second + (n - 3) * skewed[0] * skewed[1] / (2 * n * (n - 1)))
    return mean, sqrt(max(0.0, variance / ((n + 1) * (n - 1) ** 2 * (n - 2))))


@metric(
    columns=(
        coefficient("rsa", "correlation of the cosines of all pairs of items", label="RSA"),
        quantity("chance", "mean over all ways to shuffle the items", shown=False),
        count("n_pairs", "pairs of items"),
        N_ZERO,
    ),
    formula="corr over i < j of cos(xᵢ, xⱼ) and cos(yᵢ, yⱼ)",
    citation="Kriegeskorte et al. (2008), Frontiers in Systems Neuroscience",
    references=("kriegeskorte2008",),
    needs="layers",
    label="RSA",
    similarity=Similarity(
        "rsa",
        matrix=lambda layer, ids, **_: unit_gram(
            normalise_rows(read_vectors(layer, ids)), cosine_gram
        ),
        has_matrix=lambda arguments: arguments["correlation"] == "pearson",
        excludes_zero_vectors=lambda _: True,
        chance="chance",
    ),
    version=4,
    drawn=lambda row: (
        f"a random sample of {row['n_pairs']:,} of {row['n'] * (row['n'] - 1) // 2:,} pairs of"
        " items"
    ),
)
def rsa(
    left: Layers,
    right: Layers | None,
    ids: Ids,
    *,
    correlation: Annotated[
        Literal["pearson", "spearman"], Option("pearson, or spearman.")
    ] = "pearson",
    pairs: Annotated[
        int,
        Option(
            "Number of pairs of items that spearman samples (`seed`).",
            minimum=2,
            counts_draws=True,
            only_with=("correlation", ("spearman",)),
        ),
    ] = 100000,
    seed: int = 0,
) -> list[Result]:
    """Whether two layers find the same pairs of items similar: the correlation of their cosines.

    pearson is exact over all pairs of items, in float64, from sums of products of dimensions or,
    where n Σdᵢ < Σdᵢdⱼ (dimensions d, summed over the layers and over their pairs, a layer with
    itself counting half; n < Ld/2 for all pairs of L layers), from Gram matrices: the same number
    up to rounding, in bounded memory. spearman (tied ranks averaged) is of pairs drawn at random
    without replacement, the same for all layers, or of all pairs if there are no more than that;
    n_pairs says how many. Cosines that differ by no more than their rounding errors share a rank.
    Items that are a zero vector in one of the two layers are left out and counted in n_zero. Cosine
    distances give the same number as cosines.
    """
    grid = Grid.of(left, right)
    by_pair: dict[Pair, tuple[int, dict[Pair, float]]] = {}
    for used_ids, layer_pairs in grid.pairs_by_items(ids):
        n, needed = len(used_ids), with_self_pairs(layer_pairs)
        forms: dict[Pair, float] = {}
        if n >= _MIN_RSA_ITEMS and correlation == "pearson":
            forms = pair_forms(
                grid.layers, needed, used_ids, covariance_of_cosines, cosine_gram, normalise_rows
            )
        elif n >= _MIN_RSA_ITEMS:
            forms = _rank_covariances(grid.layers, needed, used_ids, *draw_pairs(n, pairs, seed))
        by_pair |= dict.fromkeys(layer_pairs, (n, forms))
    rows: list[Result] = []
    for i, j in product(grid.left, grid.right):
        n, forms = by_pair[ordered(i, j)]
        all_pairs = n * (n - 1) // 2
        is_sample = correlation == "spearman" and pairs < all_pairs
        too_few = (None, "fewer than three items with a direction")
        value, reason = normalise(forms, i, j, WITHIN_ROUNDING) if forms else too_few
        counts: Result = {
            "n": n,
            "n_pairs": pairs if is_sample else all_pairs,
            "n_zero": len(ids) - n,
        }
        chance, drawn = None if value is None else 0.0, seed if is_sample else None
        rows.append({"rsa": value, "chance": chance, **counts, "reason": reason, "seed": drawn})
    return rows


def normalise_rows(block: Float64Array) -> Float64Array:
    """Divide each row of a block (n, dim) by its norm, in place, and return the block."""
    block /= np.sqrt(np.vecdot(block, block))[:, None]
    return block


def covariance_of_cosines(sums: PairSums) -> float:
    """Return the covariance (ddof 0) of two layers' cosines over all pairs i < j of n ≥ 2 items.

    The cosine of two unit vectors, which are x here after a shift, is 1 − ‖xᵢ − xⱼ‖²/2 = c + aᵢ +
    aⱼ + xᵢ·xⱼ, where 2a is the mean of ‖x‖² minus ‖x‖², whose sum is 0; likewise b and y. The
    constant c is omitted, so that cosines near 1 keep their digits; the products of the other terms
    are summed over pairs in closed form, from sums over items. The covariance is zero if it is
    within rounding.
    """
    n, left, right = sums.n, sums.left, sums.right
    if left.is_constant(n) or right.is_constant(n):
        return 0.0
    n_pairs = n * (n - 1) / 2
    norm_products = sums.square_product - left.square_total * right.square_total / n  # 4 Σ aᵢbᵢ
    mixed = (
        float(right.total @ (right.total * (left.square_total / n) - sums.right_weighted))
        + float(left.total @ (left.total * (right.square_total / n) - sums.left_weighted))
    ) / 2 + norm_products
    product_square = float(np.vdot(sums.product, sums.product))
    quadratic = (product_square - sums.square_product) / 2
    mean_product = ((n - 2) * norm_products / 4 + mixed + quadratic) / n_pairs
    covariance = mean_product - _mean_deviation(n, left) * _mean_deviation(n, right)
    terms = (n * sums.square_product / 4 + product_square) / n_pairs
    smallest = max(_ROUNDING * terms, sqrt(_cosine_noise(n, left) * _cosine_noise(n, right)))
    return covariance if abs(covariance) > smallest else 0.0


def cosine_gram(vectors: CentredVectors) -> GramMatrix:
    """Return the matrix of cosines minus their mean, from which :func:`covariance_of_cosines`
    follows.

    The entries are aᵢ + aⱼ + xᵢ·xⱼ minus their mean over i < j: the part of a cosine that is not
    constant.
    """
    n, sums = len(vectors.x), vectors.sums
    offsets = (vectors.squares.mean() - vectors.squares - _mean_deviation(n, sums)) / 2
    return GramMatrix(
        offsets, has_diagonal=False, scale=1 / (n * (n - 1)), rounding_error=_cosine_noise(n, sums)
    )


def _mean_deviation(n: int, sums: LayerSums) -> float:
    """Return the mean of aᵢ + aⱼ + xᵢ·xⱼ over all pairs i < j of n items."""
    return (float(sums.total @ sums.total) - sums.square_total) / (n * (n - 1))


def _cosine_noise(n: int, sums: LayerSums) -> float:
    """Return a bound on the variance that the rounding errors of n unit vectors give their cosines.

    With errors of up to e in both vectors, half the squared distance d² has one of up to 2 e d; the
    mean of d² over all pairs is at most 4/n Σ‖x‖².
    """
    return 16 * sums.square_total / n * cosine_error(len(sums.shift)) ** 2


def draw_pairs(n: int, n_pairs: int, seed: int) -> tuple[Positions, Positions]:
    """Draw pairs of positions i < j of n items without replacement; return all pairs if there are
    no more.
    """
    all_pairs = n * (n - 1) // 2
    if n_pairs >= all_pairs:
        return numbered_pairs(np.arange(all_pairs))
    drawn = np.random.default_rng(seed).choice(all_pairs, n_pairs, replace=False, shuffle=False)
    return numbered_pairs(np.sort(drawn))


def numbered_pairs(numbers: Positions) -> tuple[Positions, Positions]:
    """Return the pairs of positions i < j with the numbers j(j−1)/2 + i, which must be below
    2⁵⁰.
    """
    second = ((1 + np.sqrt(1 + 8.0 * numbers)) / 2).astype(np.int64)
    second -= second * (second - 1) // 2 > numbers  # the root may be rounded up to a whole number
    second += second * (second + 1) // 2 <= numbers
    return numbers - second * (second - 1) // 2, second


def _rank_covariances(
    layers: Layers, pairs: Sequence[Pair], ids: Ids, first: Positions, second: Positions
) -> dict[Pair, float]:
    """Compute the covariance of the ranks of the cosines of two layers, for each pair of layers.

    The cosines are of pairs of items at the positions ``first`` (m,) and ``second`` (m,) in
    ``ids``. Their ranks are those of the distances of unit vectors in reverse, in both layers.
    """
    centred: dict[int, Float64Array] = {}
    for number in members(pairs):
        distances = _distances(layers[number], ids, first, second)
        # With those of unit vectors.
        errors = rounding_error_bound(layers[number].dim, np.float64) * (1 + distances)
        centred[number] = ranks(distances, errors) - (len(first) + 1) / 2
    return {(i, j): float(centred[i] @ centred[j]) / len(first) for i, j in pairs}


def _distances(layer: LayerData, ids: Ids, first: Positions, second: Positions) -> Float64Array:
    """Return the distances (m,) of the unit vectors of pairs of items, read into memory; arguments
    as above.
    """
    used = np.union1d(first, second)
    stored, vectors = layer.gather(ids[used])
    check_complete(stored, ids[used])
    first, second = np.searchsorted(used, first), np.searchsorted(used, second)
    distances = np.empty(len(first))
    for part in slices(len(first), _PAIRS_AT_ONCE):
        u, v = (normalise_rows(vectors[rows[part]].astype(np.float64)) for rows in (first, second))
        distances[part] = np.linalg.norm(u - v, axis=1)
    return distances


def _overlap_matrix(layer: LayerData, ids: Ids, *, k: int) -> Float64Array:
    matrix = np.zeros((len(ids), len(ids)))
    np.put_along_axis(
        matrix, find_nearest(layer, k, only=ids).positions, 1 / sqrt(k * len(ids)), axis=1
    )
    return matrix


@metric(
    columns=(
        share("jaccard", "mean of |A∩B| / |A∪B|", shown=False),
        share("jaccard_expected", "its expectation for random lists", shown=False),
        share("overlap", "mutual k-NN alignment: mean of |A∩B| / k"),
        share("chance", "k/(n−1), by chance", shown=False),
        N_ZERO,
        N_TIED,
    ),
    formula="mean over items of |A∩B| / k, A and B the k nearest in either layer by cosine",
    citation=(
        "Mutual k-nearest-neighbour alignment: Huh et al. (2024), ICML; jaccard: index of the"
        " same lists"
    ),
    references=("huh2024",),
    needs="layers",
    label="Overlap of nearest neighbours",
    similarity=Similarity(
        "overlap", matrix=_overlap_matrix, excludes_zero_vectors=lambda _: True, chance="chance"
    ),
    version=5,
)
def overlap(
    left: Layers, right: Layers | None, ids: Ids, *, k: NearestNeighbours = 10
) -> list[Result]:
    """Share of their k nearest neighbours that two layers have in common: mutual k-NN alignment.

    Neighbours are exact, an item is not its own, and ties, up to rounding, go to the lower item id:
    where they reach beyond the k-th place, as of duplicates, the ids decide which of them count,
    and n_tied says for how many items. Items that are a zero vector in one of the two layers are
    left out of both, as items and as neighbours, and counted in n_zero. k ≥ n gives null. Chance is
    by the hypergeometric distribution.
    """
    grid = Grid.of(left, right)
    rows: dict[Pair, Result] = {}
    for used_ids, pairs in grid.pairs_by_items(ids):
        n = len(used_ids)
        reason = why_too_many(k, n)
        if n < 2:
            reason = "fewer than two items with a direction"
        nearest: dict[int, Nearest] = {}
        for position in () if reason else members(pairs):
            neighbours = find_nearest(
                grid.layers[position], k, only=None if n == len(ids) else used_ids
            )
            check_complete(neighbours.ids, used_ids)
            nearest[position] = neighbours._replace(
                positions=np.sort(neighbours.positions.astype(np.int32), axis=1)
            )
        for i, j in pairs:
            values = {"reason": reason} if reason else _overlap_values(nearest[i], nearest[j], n, k)
            rows[i, j] = {"n": n, "n_zero": len(ids) - n, **values}
    return [dict(rows[ordered(i, j)]) for i in grid.left for j in grid.right]


def _overlap_values(left: Nearest, right: Nearest, n: int, k: int) -> Result:
    """Return the values of two layers with n compared items and ascending lists of k neighbours, or
    the reason.
    """
    n_tied = int((left.are_tied | right.are_tied).sum())
    if left.are_all_tied or right.are_all_tied:
        return {"n_tied": n_tied, "reason": f"in one of the layers {TIED}"}
    lists = (left.positions, right.positions)
    shared = np.concatenate(
        [n_shared(*(positions[part] for positions in lists)) for part in slices(n, _LISTS_AT_ONCE)]
    )
    return {
        "jaccard": (shared / (2 * k - shared)).mean(),
        "jaccard_expected": expected_jaccard(n, k),
        "overlap": shared.mean() / k,
        "chance": k / (n - 1),
        "n_tied": n_tied,
    }


def expected_jaccard(n: int, k: int) -> float:
    """Return the expected |A∩B|/|A∪B| of two random sets A and B of k of n − 1 items: |A∩B| is
    hypergeometric.
    """
    others = n - 1
    shared = np.arange(max(0, 2 * k - others), k + 1, dtype=np.float64)
    # Ratios of the probabilities of |A∩B| = s + 1 and s.
    s = shared[:-1]
    ratios = (k - s) ** 2 / ((s + 1) * (others - 2 * k + s + 1))
    logs = np.concatenate([[0.0], np.cumsum(np.log(ratios))])
    weights = np.exp(logs - logs.max())
    return float((weights * shared / (2 * k - shared)).sum() / weights.sum())
