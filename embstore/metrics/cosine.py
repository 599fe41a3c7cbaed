"""Compute the mean pairwise cosine (anisotropy) and the contributions of dimensions to it, exactly, in O(n dim)."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import cosine_error
from embstore.base.summary import Float64Array, in_float64, weighted_sum
from embstore.metrics.declaration import N_ZERO, Column, LayerData, Metric, Parameter, Value
from embstore.metrics.numerics.linear_algebra import ignore_spurious_flags

# Share of the largest norm up to which ‖x − mean‖ is rounding; float32 has a resolution of 6e-8.
_ZERO_AFTER_CENTRING = 1e-12
_NO_ANISOTROPY = 1e-12  # mean cosine up to which it is rounding, and shares of it are undefined
TOO_FEW = "fewer than two non-zero vectors"


def mean_pairwise_cosine(n: int, unit_total: Float64Array, unit_square_total: Float64Array) -> float | None:
    """Return the mean cosine over all ordered pairs i ≠ j of n unit vectors, in [-1, 1]; None for n < 2.

    (‖Σu‖² − Σ‖u‖²) / (n (n − 1)): the self-similarity of Wolfe & Caliskan (2022), eq. 1, which is the anisotropy of
    Ethayarajh (2019, section 3.3) over all pairs rather than a sample.

    Args:
        n: Number of unit vectors.
        unit_total: Σu, float64, shape (dim,).
        unit_square_total: Σu² per dimension, float64, shape (dim,). Its sum is n up to rounding, and is subtracted
            instead of n because it contains the rounding errors of the unit vectors, which then cancel.
    """
    if n < 2:
        return None
    value = float((unit_total @ unit_total - unit_square_total.sum()) / (n * (n - 1)))
    return min(1.0, max(-1.0, value))  # rounding can exceed the limits by 1e-16


def anisotropy(data: LayerData, *, variant: str = "raw", std: bool = False) -> dict[str, Value]:
    """Compute the mean pairwise cosine of a layer.

    Args:
        data: Vectors of a layer; ``raw`` needs only their summary, ``centred`` reads them once.
        variant: ``raw``, or ``centred`` to subtract the mean vector first.
        std: Whether to compute the standard deviation too, by one more pass in O(n dim min(n, dim)).

    Returns:
        ``anisotropy`` in [-1, 1] or None with ``reason``; ``std`` of the cosines of all pairs (ddof 0), in [0, 1], None
        unless requested; ``n`` vectors used; ``n_zero`` zero vectors omitted.
    """
    summary = data.summary
    n = summary.n - summary.n_zero
    total, square_total = summary.unit_total, summary.unit_square_total
    centre, zero_norm = np.zeros(data.dim), 0.0
    if variant == "centred":
        centre, zero_norm = summary.mean, _ZERO_AFTER_CENTRING * summary.norm_max
        n, total, square_total = 0, np.zeros(data.dim), np.zeros(1)
        for count, unit_sum, square_sum in data.map(partial(_centred_block, mean=centre, zero_norm=zero_norm)):
            n += count
            total += unit_sum
            square_total += square_sum
    value = mean_pairwise_cosine(n, total, square_total)
    spread = _std_of_cosines(data, n, total / n, centre, zero_norm) if std and value is not None else None
    reason = TOO_FEW if value is None else None
    return {"anisotropy": value, "std": spread, "n": n, "n_zero": summary.n - n, "reason": reason}


def _centred_block(block: NDArray[np.float32], mean: Float64Array, zero_norm: float) -> tuple[int, Float64Array, float]:
    """Return n, Σu and Σ‖u‖² of the u = (x − mean)/‖x − mean‖ of a block for which that norm exceeds ``zero_norm``."""
    n, total, square_total = 0, np.zeros(block.shape[1]), 0.0
    for centred in in_float64(block):
        centred -= mean
        square_norms = np.vecdot(centred, centred)
        norms = np.sqrt(square_norms)
        inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > zero_norm)
        n += int(np.count_nonzero(inverse))
        total += weighted_sum(inverse, centred)
        square_total += float((inverse * inverse * square_norms).sum())
    return n, total, square_total


def _std_of_cosines(data: LayerData, n: int, unit_mean: Float64Array, centre: Float64Array, zero_norm: float) -> float:
    """Return the standard deviation (ddof 0) of the cosines of all pairs of n unit vectors u, in one pass.

    With w = u − ū, a = ū·w and q = ‖w‖², a cosine differs from the mean of all by aᵢ + aⱼ + wᵢ·wⱼ + Σq / (n (n − 1)).
    Since Σw = 0, the squares of these differences over all i ≠ j add up to
    2 (n − 2) Σa² − 4 Σaq + ‖WᵀW‖² − Σq² − (Σq)² / (n (n − 1)). The shorter ‖UᵀU‖² − n minus the squared mean loses all
    digits if the cosines are nearly equal. So does this one for vectors at equal angles, of which there are at most
    dim + 1 unless all have the same direction; the cosines of so few vectors are computed one by one.

    Args:
        data: Vectors x of a layer; u = (x − centre)/‖x − centre‖.
        n: Number of unit vectors, at least 2.
        unit_mean: Mean ū of the unit vectors, (dim,).
        centre: Vector subtracted from each vector, (dim,).
        zero_norm: Length up to which a centred vector is omitted.
    """
    if n <= data.dim + 1:
        u = np.concatenate(list(data.map(partial(_units, centre=centre, zero_norm=zero_norm))))
        with ignore_spurious_flags():
            spread = float((u @ u.T)[np.triu_indices(n, 1)].std())
        return spread if spread > cosine_error(data.dim) else 0.0
    sums, product = np.zeros(4), np.zeros((data.dim, data.dim))
    for block_sums, block_product in data.map(partial(_deviations, mean=unit_mean, centre=centre, zero_norm=zero_norm)):
        sums += block_sums
        product += block_product
    a_square, a_q, q_square, q = sums
    if q <= n * _ZERO_AFTER_CENTRING**2:
        return 0.0  # all vectors have the same direction
    total = 2 * (n - 2) * a_square - 4 * a_q + np.sum(product**2) - q_square - q * q / (n * (n - 1))
    return float(np.sqrt(max(0.0, total) / (n * (n - 1))))


def _units(block: NDArray[np.floating], centre: Float64Array, zero_norm: float) -> Float64Array:
    """Return (x − centre)/‖x − centre‖ of the vectors x of a block for which that norm exceeds ``zero_norm``."""
    x = block - centre
    norms = np.sqrt(np.vecdot(x, x))
    units: Float64Array = x[norms > zero_norm] / norms[norms > zero_norm, None]
    return units


def _deviations(
    block: NDArray[np.floating], mean: Float64Array, centre: Float64Array, zero_norm: float
) -> tuple[Float64Array, Float64Array]:
    """Return (Σa², Σaq, Σq², Σq) and Σwwᵀ over the unit vectors u of a block: w = u − mean, a = mean·w, q = ‖w‖²."""
    w = _units(block, centre, zero_norm) - mean
    a, q = w @ mean, np.vecdot(w, w)
    with ignore_spurious_flags():
        return np.array([a @ a, a @ q, q @ q, q.sum()]), w.T @ w


def rogue_dims(data: LayerData, *, k: int = 5) -> dict[str, Value]:
    """Compute the contribution of each dimension to the mean pairwise cosine, and return the k largest.

    CC_i = ((Σu_i)² − Σu_i²) / (n (n − 1)): Timkey & van Schijndel (2021), section 3, over all pairs rather than a
    sample. The contributions of all dimensions add up to the anisotropy.

    Args:
        data: Vectors of a layer; only their summary is used.
        k: Number of dimensions to return, by descending contribution.

    Returns:
        ``dims`` (numbers of the dimensions in the space), ``contributions`` (each in [-1, 1]), ``shares`` (contribution
        over anisotropy; None if that is zero), ``anisotropy``, ``n``, ``n_zero`` and ``reason``.
    """
    summary = data.summary
    n = summary.n - summary.n_zero
    mean_cosine = mean_pairwise_cosine(n, summary.unit_total, summary.unit_square_total)
    result: dict[str, Value] = {"anisotropy": mean_cosine, "n": n, "n_zero": summary.n_zero, "reason": None}
    if mean_cosine is None:
        return result | {"dims": None, "contributions": None, "shares": None, "reason": TOO_FEW}
    contributions = (summary.unit_total**2 - summary.unit_square_total) / (n * (n - 1))
    dims = np.argsort(-contributions, kind="stable")[:k]
    shares: list[float | None] = [None] * len(dims)
    if abs(mean_cosine) < _NO_ANISOTROPY:
        result["reason"] = "shares: the anisotropy is zero"
    else:
        shares = [float(contribution) / mean_cosine for contribution in contributions[dims]]
    result["k"] = len(dims)
    return result | {"dims": data.dims[dims].tolist(), "contributions": contributions[dims].tolist(), "shares": shares}


METRICS = (
    Metric(
        name="anisotropy", help="Mean cosine over all pairs of vectors, exactly.", function=anisotropy,
        columns=(
            Column("anisotropy", "number", "mean pairwise cosine", minimum=-1, maximum=1, label="mean cosine"),
            Column("std", "number", "standard deviation of the cosines; null unless requested", minimum=0, maximum=1,
                   label="standard deviation of the cosines"),
            N_ZERO,
        ),
        parameters=(
            Parameter("variant", "raw", "raw, or centred: after subtracting the mean vector.",
                      choices=("raw", "centred")),
            Parameter("std", False, "Read the vectors for the standard deviation of the cosines too."),
        ),
        formula="(‖Σu‖² − n) / (n (n − 1)), u = x/‖x‖",
        citation="Ethayarajh (2019), EMNLP; Wolfe & Caliskan (2022), ACL, eq. 1",
        references=("ethayarajh2019", "wolfe2022"), needs="summary",
        estimator="Exact over all n(n − 1)/2 pairs, in float64; no pair is sampled. Zero vectors are left out and "
        "counted; duplicates count as cosine 1. The standard deviation is exact too, with ddof 0 over the pairs, and 0 "
        "where the cosines differ by rounding alone.",
        version=2,
    ),
    Metric(
        name="rogue-dims", label="Rogue dimensions",
        drawn_as="bars", drawn_values=("shares", "contributions"), bar_names="dims",
        help="Dimensions that contribute most to the mean cosine.", function=rogue_dims,
        columns=(
            Column("anisotropy", "number", "mean pairwise cosine", minimum=-1, maximum=1),
            Column("dims", "array of integers", "their numbers in the space, by descending contribution"),
            Column("contributions", "array of numbers", "their parts of the mean cosine", -1, 1, shown=False,
                   label="parts of the mean cosine"),
            Column("shares", "array of numbers", "contribution over anisotropy; null where that is zero",
                   label="shares of the mean cosine"),
            N_ZERO,
        ),
        parameters=(Parameter("k", 5, "Number of dimensions to return.", minimum=1),),
        formula="CC_i = ((Σu_i)² − Σu_i²) / (n (n − 1))", citation="Timkey & van Schijndel (2021), EMNLP",
        references=("timkey2021",), needs="summary",
        estimator="Exact over all pairs, in float64. Contributions may be negative; those of all dimensions add up to "
        "the anisotropy. After a transform a dimension has the number that it has in the space, whatever was dropped; "
        "abtt and whiten mix dimensions, but leave the axes where they are.",
        version=2,
    ),
)  # fmt: skip
