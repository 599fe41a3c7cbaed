"""Mean pairwise cosine: anisotropy and its contributions by dimension (rogue dimensions). Exact, in O(n dim)."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.declaration.spec import N_ZERO, Column, LayerData, Metric, Parameter, Value
from embstore.metrics.numerics.directions import cosine_error
from embstore.summary import Float64Array, in_float64, weighted_sum

# ‖x − mean‖ below this share of the largest norm is rounding, not a direction. float32 values differ by 6e-8 or more.
_ZERO_AFTER_CENTRING = 1e-12
# A share of the mean cosine means nothing where that mean is rounding itself.
_NO_ANISOTROPY = 1e-12

TOO_FEW = "fewer than two non-zero vectors"


def mean_pairwise_cosine(n: int, unit_total: Float64Array, unit_square_total: Float64Array) -> float | None:
    """Return the mean cosine over all ordered pairs i ≠ j of n unit vectors, in [-1, 1]; None for n < 2.

    (‖Σu‖² − Σ‖u‖²) / (n (n − 1)): the self-similarity of Wolfe & Caliskan (2022), eq. 1, which is the anisotropy of
    Ethayarajh (2019, section 3.3) over all pairs rather than a sample.

    Args:
        n: Number of unit vectors.
        unit_total: Σu, float64, shape (dim,).
        unit_square_total: Σu² per dimension, float64, shape (dim,). Its sum is n up to rounding, which it cancels.
    """
    if n < 2:
        return None
    value = float((unit_total @ unit_total - unit_square_total.sum()) / (n * (n - 1)))
    return min(1.0, max(-1.0, value))  # rounding may pass the limits by 1e-16


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
    n, n_zero = summary.n - summary.n_zero, summary.n_zero
    total, square_total = summary.unit_total, summary.unit_square_total
    centre, smallest = np.zeros(data.dim), 0.0
    if variant == "centred":
        centre, smallest = summary.mean, _ZERO_AFTER_CENTRING * summary.norm_max
        n, total, square_total = _centred_sums(data, centre, smallest)
        n_zero = summary.n - n
    value = mean_pairwise_cosine(n, total, square_total)
    spread = _std_of_cosines(data, n, total / n, centre, smallest) if std and value is not None else None
    return {"anisotropy": value, "std": spread, "n": n, "n_zero": n_zero, "reason": TOO_FEW if value is None else None}


def _centred_sums(data: LayerData, mean: Float64Array, smallest: float) -> tuple[int, Float64Array, Float64Array]:
    n, total, square_total = 0, np.zeros(data.dim), 0.0
    for count, unit_sum, square_sum in data.map(partial(_centred_block, mean=mean, smallest=smallest)):
        n += count
        total += unit_sum
        square_total += square_sum
    return n, total, np.array([square_total])


def _centred_block(block: NDArray[np.float32], mean: Float64Array, smallest: float) -> tuple[int, Float64Array, float]:
    n, total, square_total = 0, np.zeros(block.shape[1]), 0.0
    for centred in in_float64(block):
        centred -= mean
        square_norms = np.vecdot(centred, centred)
        norms = np.sqrt(square_norms)
        inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > smallest)
        n += int(np.count_nonzero(inverse))
        total += weighted_sum(inverse, centred)
        square_total += float((inverse * inverse * square_norms).sum())
    return n, total, square_total


def _std_of_cosines(data: LayerData, n: int, unit_mean: Float64Array, centre: Float64Array, smallest: float) -> float:
    """Return the standard deviation (ddof 0) of the cosines of all pairs of n unit vectors u, in one pass.

    With w = u − ū, a = ū·w and q = ‖w‖², a cosine differs from the mean of all by aᵢ + aⱼ + wᵢ·wⱼ + Σq / (n (n − 1)).
    Since Σw = 0, the squares of that over all i ≠ j add up to 2 (n − 2) Σa² − 4 Σaq + ‖WᵀW‖² − Σq² − (Σq)² / (n (n −
    1)). The plain form, ‖UᵀU‖² − n less the squared mean, loses all digits where the cosines are nearly equal. So does
    this one for vectors at equal angles, of which there are dim + 1 at most unless all have the same direction: so few
    are compared one with another.
    """
    if n <= data.dim + 1:
        u = np.concatenate(list(data.map(partial(_units, centre=centre, smallest=smallest))))
        with np.errstate(invalid="ignore"):  # some BLAS kernels read past a small matrix and raise the flag for nothing
            spread = float((u @ u.T)[np.triu_indices(n, 1)].std())
        return spread if spread > cosine_error(data.dim) else 0.0
    sums, product = np.zeros(4), np.zeros((data.dim, data.dim))
    for part, block_product in data.map(partial(_deviations, mean=unit_mean, centre=centre, smallest=smallest)):
        sums += part
        product += block_product
    a_square, a_q, q_square, q = sums
    if q <= n * _ZERO_AFTER_CENTRING**2:
        return 0.0  # all have the same direction
    total = 2 * (n - 2) * a_square - 4 * a_q + np.sum(product**2) - q_square - q * q / (n * (n - 1))
    return float(np.sqrt(max(0.0, total) / (n * (n - 1))))


def _units(block: NDArray[np.floating], centre: Float64Array, smallest: float) -> Float64Array:
    x = block - centre
    norms = np.sqrt(np.vecdot(x, x))
    units: Float64Array = x[norms > smallest] / norms[norms > smallest, None]
    return units


def _deviations(
    block: NDArray[np.floating], mean: Float64Array, centre: Float64Array, smallest: float
) -> tuple[Float64Array, Float64Array]:
    """Return (Σa², Σaq, Σq², Σq) and WᵀW of a block."""
    w = _units(block, centre, smallest) - mean
    a, q = w @ mean, np.vecdot(w, w)
    with np.errstate(invalid="ignore"):
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
    parts = (summary.unit_total**2 - summary.unit_square_total) / (n * (n - 1))
    dims = np.argsort(-parts, kind="stable")[:k]
    contributions: list[float | None] = [float(part) for part in parts[dims]]
    shares: list[float | None] = [None] * len(dims)
    if abs(mean_cosine) < _NO_ANISOTROPY:
        result["reason"] = "shares: the anisotropy is zero"
    else:
        shares = [float(part) / mean_cosine for part in parts[dims]]
    found: dict[str, Value] = {"dims": data.dims[dims].tolist(), "contributions": contributions, "shares": shares}
    return result | found


METRICS = (
    Metric(
        name="anisotropy",
        help="Mean cosine over all pairs of vectors, exactly.",
        function=anisotropy,
        columns=(
            Column("anisotropy", "number", "mean pairwise cosine", minimum=-1, maximum=1),
            Column("std", "number", "standard deviation of the cosines; null unless asked for", minimum=0, maximum=1),
            N_ZERO,
        ),
        parameters=(
            Parameter(
                "variant",
                "raw",
                "raw, or centred: after subtracting the mean vector.",
                choices=("raw", "centred"),
            ),
            Parameter("std", False, "Read the vectors for the standard deviation of the cosines too."),
        ),
        formula="(‖Σu‖² − n) / (n (n − 1)), u = x/‖x‖",
        citation="Ethayarajh (2019), EMNLP; Wolfe & Caliskan (2022), ACL, eq. 1",
        references=("ethayarajh2019", "wolfe2022"),
        needs="summary",
        estimator="Exact over all n(n − 1)/2 pairs, in float64; no pair is sampled. Zero vectors are left out and "
        "counted; duplicates count as cosine 1. The standard deviation is exact too, with ddof 0 over the pairs, and 0 "
        "where the cosines differ by rounding alone.",
        version=2,
    ),
    Metric(
        name="rogue-dims",
        drawn_as="bars",
        drawn_values=("shares", "contributions"),
        bar_names="dims",
        help="Dimensions that contribute most to the mean cosine.",
        function=rogue_dims,
        columns=(
            Column("anisotropy", "number", "mean pairwise cosine", minimum=-1, maximum=1),
            Column("dims", "array of integers", "their numbers in the space, by descending contribution"),
            Column(
                "contributions",
                "array of numbers",
                "their parts of the mean cosine",
                minimum=-1,
                maximum=1,
                shown=False,
            ),
            Column("shares", "array of numbers", "contribution over anisotropy; null where that is zero"),
            N_ZERO,
        ),
        parameters=(Parameter("k", 5, "How many dimensions to return.", minimum=1),),
        formula="CC_i = ((Σu_i)² − Σu_i²) / (n (n − 1))",
        citation="Timkey & van Schijndel (2021), EMNLP",
        references=("timkey2021",),
        needs="summary",
        estimator="Exact over all pairs, in float64. Contributions may be negative; those of all dimensions add up to "
        "the anisotropy. After a transform a dimension has the number that it has in the space, whatever was dropped; "
        "abtt and whiten mix dimensions, but leave the axes where they are.",
        version=2,
    ),
)
