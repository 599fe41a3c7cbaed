"""Compute the centred kernel alignment of pairs of layers with linear kernels."""

from collections.abc import Sequence

import numpy as np

from embstore.metrics.declaration.spec import Ids, LayerData, Result
from embstore.metrics.numerics.gram import CentredVectors, GramMatrix, describe_route, pair_forms
from embstore.metrics.numerics.layer_grid import Grid, PairForm, with_self_pairs
from embstore.metrics.numerics.pair_sums import PairSums

# Share of the summed terms up to which their sum is rounding.
_ROUNDING = 1e-13
_MIN_ITEMS = {"unbiased": 4, "biased": 2}
_NO_VARIANCE = "its vectors are all alike, or all equally far from each other"


def cka(
    left: Sequence[LayerData], right: Sequence[LayerData] | None, ids: Ids, *, variant: str = "unbiased"
) -> list[Result]:
    """Compute the linear CKA of each pair of layers (Kornblith et al. 2019, section 3).

    Args:
        left: Layers, each with all the items.
        right: Layers to compare with; None compares ``left`` with each other.
        ids: Item ids, ascending.
        variant: ``unbiased``, from HSIC_1 (Song et al. 2012, eq. 5; as in Nguyen et al. 2021), or ``biased``.

    Returns:
        A row for each layer of ``left`` with each of ``right``: ``cka`` in [-1, 1], biased in [0, 1]; ``n``;
        ``reason``.
    """
    grid, n, min_items = Grid.of(left, right), len(ids), _MIN_ITEMS[variant]
    if n < min_items:
        return grid.repeated({"cka": None, "n": n, "reason": f"{variant} CKA needs {min_items} items or more"})
    form, gram = (hsic1, hsic1_gram) if variant == "unbiased" else (biased_hsic, biased_gram)
    forms = pair_forms(grid.layers, with_self_pairs(grid.pairs), ids, form, gram)
    by_pair = {(i, j): PairForm(forms[i, j], forms[i, i], forms[j, j], n) for i, j in grid.pairs}
    return grid.rows(lambda pair: pair.normalised("cka", _NO_VARIANCE), by_pair)


def describe_cka_route(n: int, dims: Sequence[int], dims_2: Sequence[int] | None, *, variant: str) -> str:
    """Name the algorithm of :func:`cka` for n items; arguments as of :func:`describe_route`."""
    return describe_route(n, dims, dims_2) if n >= _MIN_ITEMS[variant] else ""


def hsic1(sums: PairSums) -> float:
    """Return HSIC_1 of n ≥ 4 items with linear kernels K and L; zero if it is within rounding.

    [tr(KL) + 1ᵀK1 1ᵀL1 / ((n−1)(n−2)) − 2 1ᵀKL1 / (n−2)] / (n(n−3)) of Gram matrices with zero diagonals (Song et al.
    2012, eq. 5), which is the same for shifted vectors. In feature space tr(KL) = ‖Σxyᵀ‖² − Σ‖x‖²‖y‖²,
    1ᵀK1 = ‖Σx‖² − Σ‖x‖² and (K1)ᵢ = x·Σx − ‖x‖², whose products sum to third-order sums.
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
    """Return the U-centred Gram matrix of n ≥ 4 items; two of these, multiplied and summed, over n(n−3) are HSIC_1.

    Kᵢⱼ − (K1)ᵢ/(n−2) − (K1)ⱼ/(n−2) + 1ᵀK1/((n−1)(n−2)) with zero diagonals (Székely & Rizzo 2014, section 2).
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
    return GramMatrix(offsets, has_diagonal=False, scale=scale, rounding_error=_ROUNDING * scale * (subtracted + added))


def biased_gram(vectors: CentredVectors) -> GramMatrix:
    """Return the Gram matrix of the centred vectors of n ≥ 2 items, from which :func:`biased_hsic` follows."""
    n, total = len(vectors.x), vectors.sums.total
    offsets = float(total @ total) / (2 * n * n) - vectors.x @ total / n
    return GramMatrix(offsets, has_diagonal=True, scale=1 / (n - 1) ** 2, rounding_error=0.0)
