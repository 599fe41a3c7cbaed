"""Centred kernel alignment of two layers with linear kernels, in feature space or from Gram matrices."""

from collections.abc import Sequence

import numpy as np

from embstore.metrics.declaration.spec import Ids, LayerData, Result
from embstore.metrics.numerics.gram import Cloud, Kernel, describe_route, pair_forms
from embstore.metrics.numerics.layer_grid import Agreement, Grid, with_themselves
from embstore.metrics.numerics.pair_sums import PairSums

# Share of the summed terms below which a form is their rounding.
_ROUNDING = 1e-13
_FEWEST = {"unbiased": 4, "biased": 2}
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
    grid, n = Grid.of(left, right), len(ids)
    if n < _FEWEST[variant]:
        return grid.filled({"cka": None, "n": n, "reason": f"{variant} CKA needs {_FEWEST[variant]} items or more"})
    form, kernel = (hsic1, hsic1_kernel) if variant == "unbiased" else (biased_hsic, biased_kernel)
    found = pair_forms(grid.layers, with_themselves(grid.pairs), ids, form, kernel)
    agreements = {(i, j): Agreement(found[i, j], found[i, i], found[j, j], n) for i, j in grid.pairs}
    return grid.rows(lambda agreement: agreement.normalised("cka", _NO_VARIANCE), agreements)


def describe_cka_route(n: int, dims: Sequence[int], dims_2: Sequence[int] | None, *, variant: str) -> str:
    """Name the algorithm that :func:`cka` uses for n items and layers of these dimensions."""
    return describe_route(n, dims, dims_2) if n >= _FEWEST[variant] else ""


def hsic1(sums: PairSums) -> float:
    """Return HSIC_1 of n ≥ 4 items with linear kernels; zero where it is nothing but rounding.

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
    of_rows = (
        float(left.total @ sums.product @ right.total)
        - float(left.total @ sums.left_by_right)
        - float(right.total @ sums.right_by_left)
        + sums.square_product
    )
    totals = total_left * total_right / ((n - 1) * (n - 2))
    form = trace + totals - 2 / (n - 2) * of_rows
    terms = product_square + sums.square_product + abs(totals) + 2 / (n - 2) * abs(of_rows)
    return form / (n * (n - 3)) if abs(form) > _ROUNDING * terms else 0.0


def biased_hsic(sums: PairSums) -> float:
    """Return ‖Σ (x − x̄)(y − ȳ)ᵀ‖² / (n−1)² of n ≥ 2 items (Kornblith et al. 2019, eq. 3)."""
    n, left, right = sums.n, sums.left, sums.right
    if left.is_constant(n) or right.is_constant(n):
        return 0.0
    centred = sums.product - np.outer(left.total / n, right.total)
    return float(np.vdot(centred, centred)) / (n - 1) ** 2


def hsic1_kernel(cloud: Cloud) -> Kernel:
    """Return the U-centred Gram matrix of n ≥ 4 items, whose products over n(n−3) are HSIC_1.

    Kᵢⱼ − (K1)ᵢ/(n−2) − (K1)ⱼ/(n−2) + 1ᵀK1/((n−1)(n−2)) with zero diagonals (Székely & Rizzo 2014, section 2).
    """
    n, squares, total = len(cloud.x), cloud.squares, cloud.side.total
    of_rows = cloud.x @ total - squares
    of_all = float(total @ total) - cloud.side.square_total
    terms = of_all / (2 * (n - 1) * (n - 2)) - of_rows / (n - 2)
    # ΣKᵢⱼ² less that of the centred matrix, and the other terms that :func:`hsic1` adds up.
    taken_off = 2 * (n - 2) * float(terms @ terms) + 2 * float(terms.sum()) ** 2
    others = 2 * float(squares @ squares) + of_all**2 / ((n - 1) * (n - 2)) + 2 / (n - 2) * float(of_rows @ of_rows)
    scale = 1 / (n * (n - 3))
    return Kernel(terms, has_diagonal=False, scale=scale, floor=_ROUNDING * (taken_off + others) * scale)


def biased_kernel(cloud: Cloud) -> Kernel:
    """Return the Gram matrix of the centred vectors of n ≥ 2 items, whose products over (n−1)² are the biased HSIC."""
    n, total = len(cloud.x), cloud.side.total
    terms = float(total @ total) / (2 * n * n) - cloud.x @ total / n
    return Kernel(terms, has_diagonal=True, scale=1 / (n - 1) ** 2, floor=0.0)
