"""Measure lengths and angles of a layer: mean cosine and its dimensions, norms, uniformity and
alignment.
"""

from functools import partial
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import (
    cosine_error,
    has_direction,
    in_threads,
    rounding_error_bound,
    square_norms,
)
from embstore.base.space import Unit
from embstore.base.summary import Float64Array, in_float64, weighted_sum
from embstore.metrics.data import Pairs
from embstore.metrics.declaration import Block, Column, Ids, LayerData, NotComputable, Result
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import (
    N_ZERO,
    MissingPairs,
    Option,
    amount,
    coefficient,
    count,
    coverage,
    quantity,
    share,
)
from embstore.metrics.numerics.linear_algebra import ignore_spurious_flags, one_thread, unit_rows
from embstore.metrics.parts import Parts

# Share of the largest norm up to which ‖x − mean‖ is rounding; float32 has a resolution of 6e-8.
_ZERO_AFTER_CENTRING = 1e-12
_NO_ANISOTROPY = 1e-12  # mean cosine up to which it is rounding, and shares of it are undefined
TOO_FEW = "fewer than two non-zero vectors"


def mean_pairwise_cosine(
    n: int, unit_total: Float64Array, unit_square_total: Float64Array
) -> float | None:
    """Return the mean cosine over all ordered pairs i ≠ j of n unit vectors, in [-1, 1]; None for n
    < 2.

    (‖Σu‖² − Σ‖u‖²) / (n (n − 1)): the self-similarity of Wolfe & Caliskan (2022), eq. 1, which is
    the anisotropy of Ethayarajh (2019, section 3.3) over all pairs rather than a sample.

    Args:
        n: Number of unit vectors.
        unit_total: Σu, float64, shape (dim,).
        unit_square_total: Σu² per dimension, float64, shape (dim,). Its sum is n up to rounding,
            and is subtracted instead of n because it contains the rounding errors of the unit
            vectors, which then cancel.
    """
    if n < 2:
        return None
    value = float((unit_total @ unit_total - unit_square_total.sum()) / (n * (n - 1)))
    return min(1.0, max(-1.0, value))  # rounding can exceed the limits by 1e-16


@metric(
    columns=(
        coefficient("anisotropy", "mean pairwise cosine", label="mean cosine"),
        share(
            "std",
            "standard deviation of the cosines; null unless requested",
            label="standard deviation of the cosines",
        ),
        N_ZERO,
    ),
    formula="(‖Σu‖² − n) / (n (n − 1)), u = x/‖x‖",
    citation="Ethayarajh (2019), EMNLP; Wolfe & Caliskan (2022), ACL, eq. 1",
    references=("ethayarajh2019", "wolfe2022"),
    needs="summary",
    parts=Parts(column="anisotropy", parts="groups", from_sums=True, arguments=(("std", False),)),
    version=3,
)
def anisotropy(
    data: LayerData,
    *,
    variant: Annotated[
        Literal["raw", "centred"], Option("raw, or centred: after subtracting the mean vector.")
    ] = "raw",
    std: Annotated[
        bool, Option("Read the vectors for the standard deviation of the cosines too.")
    ] = False,
) -> Result:
    """Mean cosine over all pairs of vectors, exactly.

    Exact over all n(n − 1)/2 pairs, in float64; no pair is sampled. Zero vectors are left out and
    counted; duplicates count as cosine 1. The standard deviation is exact too, with ddof 0 over the
    pairs, and 0 where the cosines differ by rounding alone. The interval is that of the mean cosine
    of the population that the items are drawn from; of directions without a common mean it is wider
    than need be.
    """
    summary = data.summary
    n = summary.n - summary.n_zero
    total, square_total = summary.unit_total, summary.unit_square_total
    centre, zero_norm = np.zeros(data.dim), 0.0
    if variant == "centred":
        centre, zero_norm = summary.mean, _ZERO_AFTER_CENTRING * summary.norm_max
        n, total, square_total = 0, np.zeros(data.dim), np.zeros(1)
        for n_block, unit_sum, square_sum in data.map(
            partial(_centred_block, mean=centre, zero_norm=zero_norm)
        ):
            n += n_block
            total += unit_sum
            square_total += square_sum
    value = mean_pairwise_cosine(n, total, square_total)
    row: Result = {"anisotropy": value, "n": n, "n_zero": summary.n - n}
    if value is None:
        row["reason"] = TOO_FEW
    elif std:
        row["std"] = _std_of_cosines(data, n, total / n, centre, zero_norm)
    return row


def _centred_block(
    block: NDArray[np.float32], mean: Float64Array, zero_norm: float
) -> tuple[int, Float64Array, float]:
    """Return n, Σu and Σ‖u‖² of the u = (x − mean)/‖x − mean‖ of a block for which that norm
    exceeds ``zero_norm``.
    """
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


def _std_of_cosines(
    data: LayerData, n: int, unit_mean: Float64Array, centre: Float64Array, zero_norm: float
) -> float:
    """Return the standard deviation (ddof 0) of the cosines of all pairs of n unit vectors u, in
    one pass.

    With w = u − ū, a = ū·w and q = ‖w‖², a cosine differs from the mean of all by aᵢ + aⱼ + wᵢ·wⱼ +
    Σq / (n (n − 1)). Since Σw = 0, the squares of these differences over all i ≠ j add up to
    2 (n − 2) Σa² − 4 Σaq + ‖WᵀW‖² − Σq² − (Σq)² / (n (n − 1)). The shorter ‖UᵀU‖² − n minus the
    squared mean loses all digits if the cosines are nearly equal. So does this one for vectors at
    equal angles, of which there are at most dim + 1 unless all have the same direction; the cosines
    of so few vectors are computed one by one.

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
    for block_sums, block_product in data.map(
        partial(_deviations, mean=unit_mean, centre=centre, zero_norm=zero_norm)
    ):
        sums += block_sums
        product += block_product
    a_square, a_q, q_square, q = sums
    if q <= n * _ZERO_AFTER_CENTRING**2:
        return 0.0  # all vectors have the same direction
    total = 2 * (n - 2) * a_square - 4 * a_q + np.sum(product**2) - q_square - q * q / (n * (n - 1))
    return float(np.sqrt(max(0.0, total) / (n * (n - 1))))


def _units(block: NDArray[np.floating], centre: Float64Array, zero_norm: float) -> Float64Array:
    """Return (x − centre)/‖x − centre‖ of the vectors x of a block for which that norm exceeds
    ``zero_norm``.
    """
    x = block - centre
    norms = np.sqrt(np.vecdot(x, x))
    units: Float64Array = x[norms > zero_norm] / norms[norms > zero_norm, None]
    return units


def _deviations(
    block: NDArray[np.floating], mean: Float64Array, centre: Float64Array, zero_norm: float
) -> tuple[Float64Array, Float64Array]:
    """Return (Σa², Σaq, Σq², Σq) and Σwwᵀ over the unit vectors u of a block: w = u − mean, a =
    mean·w, q = ‖w‖².
    """
    w = _units(block, centre, zero_norm) - mean
    a, q = w @ mean, np.vecdot(w, w)
    with ignore_spurious_flags():
        return np.array([a @ a, a @ q, q @ q, q.sum()]), w.T @ w


@metric(
    columns=(
        coefficient("anisotropy", "mean pairwise cosine"),
        Column(
            "dims", "array of integers", "their numbers in the space, by descending contribution"
        ),
        Column(
            "contributions",
            "array of numbers",
            "their parts of the mean cosine",
            -1,
            1,
            shown=False,
            label="parts of the mean cosine",
        ),
        Column(
            "shares",
            "array of numbers",
            "contribution over anisotropy; null where that is zero",
            label="shares of the mean cosine",
        ),
        N_ZERO,
    ),
    formula="CC_i = ((Σu_i)² − Σu_i²) / (n (n − 1))",
    citation="Timkey & van Schijndel (2021), EMNLP",
    references=("timkey2021",),
    needs="summary",
    label="Rogue dimensions",
    drawn_values=("shares", "contributions"),
    version=2,
)
def rogue_dims(
    data: LayerData, *, k: Annotated[int, Option("Number of dimensions to return.", minimum=1)] = 5
) -> Result:
    """Dimensions that contribute most to the mean cosine.

    Exact over all pairs, in float64. Contributions may be negative; those of all dimensions add up
    to the anisotropy. After a transform a dimension has the number that it has in the space,
    whatever was dropped; abtt and whiten mix dimensions, but leave the axes where they are.
    """
    summary = data.summary
    n = summary.n - summary.n_zero
    mean_cosine = mean_pairwise_cosine(n, summary.unit_total, summary.unit_square_total)
    row: Result = {"anisotropy": mean_cosine, "n": n, "n_zero": summary.n_zero}
    if mean_cosine is None:
        return row | {"reason": TOO_FEW}
    contributions = (summary.unit_total**2 - summary.unit_square_total) / (n * (n - 1))
    dims = np.argsort(-contributions, kind="stable")[:k]
    top = contributions[dims]
    row |= {"dims": data.dims[dims], "contributions": top, "k": len(dims)}
    shares: list[float | None] = [None] * len(dims)
    if abs(mean_cosine) < _NO_ANISOTROPY:
        row["reason"] = "shares: the anisotropy is zero"
    else:
        shares = (top / mean_cosine).tolist()
    return row | {"shares": shares}


# share of the squared mean from which a variance is precise enough as a difference of sums
_MIN_RESOLVED = 1e-4


@metric(
    columns=(
        amount("mean", "mean L2 norm"),
        amount("std", "population standard deviation of the norms", label="standard deviation"),
        amount("min", "smallest norm", label="smallest"),
        amount("max", "largest norm", label="largest"),
        share(
            "top_share",
            "share of the largest components by signed value",
            label="share of the largest components",
        ),
        share(
            "top_share_abs",
            "share of the largest components by absolute value",
            label="share of the largest absolute components",
        ),
        N_ZERO,
    ),
    formula="mean ‖x_top‖ / mean ‖x‖",
    citation="Wolfe & Caliskan (2022), ACL",
    references=("wolfe2022",),
    label="Norm",
    parts=Parts(column="mean", parts="groups", from_sums=True, arguments=(("top", 0),)),
    version=3,
)
def norms(
    data: LayerData,
    *,
    top: Annotated[
        int, Option("Number of components in the shares (0: no shares).", minimum=0)
    ] = 5,
) -> Result:
    """Vector lengths, and how few components make them.

    Norms come from the summaries; the shares read every vector. std has ddof 0; where it is below a
    hundredth of the mean, it too is computed from the vectors, and norms that differ by no more
    than rounding have a std of 0. The shares are ratios of means of norms, as in the paper's code,
    not means of ratios. The interval is that of the mean norm of the population that the items are
    drawn from.
    """
    summary = data.summary
    result: Result = {"n": summary.n, "n_zero": summary.n_zero}
    if summary.n == 0:
        return result | {"reason": "no vectors"}
    mean = summary.norm_total / summary.n
    result |= {
        "mean": mean,
        "std": _std(data, mean),
        "min": summary.norm_min,
        "max": summary.norm_max,
    }
    if top == 0:
        return result | {"reason": "shares: not asked for (top 0)"}
    if top > data.dim:
        return result | {"reason": f"shares: {top} components of {data.dim}"}
    if mean == 0:
        return result | {"reason": "shares: all vectors are zero"}
    totals = data.map(
        lambda block: (_top_norm_total(block, top), _top_norm_total(np.abs(block), top))
    )
    shares = np.array(list(totals)).sum(axis=0) / summary.norm_total
    return result | {"top_share": shares[0], "top_share_abs": shares[1]}


def _std(data: LayerData, mean: float) -> float:
    """Return the standard deviation (ddof 0) of the norms, given their mean; 0 if they differ by
    rounding only.

    E[‖x‖²] − E[‖x‖]² of the summary is imprecise if the norms are nearly equal: then the vectors
    are read, and the variance is computed from ‖x‖ − mean.
    """
    summary = data.summary
    if (
        summary.norm_max - summary.norm_min
        <= rounding_error_bound(data.dim, np.float64) * summary.norm_max
    ):
        return 0.0
    variance = summary.norm_square_total / summary.n - mean * mean
    if variance < _MIN_RESOLVED * mean * mean:
        total, square_total = (
            np.array(list(data.map(partial(_norm_deviations, mean=mean)))).sum(axis=0) / summary.n
        )
        variance = square_total - total * total
    return float(variance**0.5)


def _norm_deviations(block: NDArray[np.floating], mean: float) -> tuple[float, float]:
    """Return Σ(‖x‖ − mean) and Σ(‖x‖ − mean)² of a block."""
    deviations = np.sqrt(square_norms(block)) - mean
    return float(deviations.sum()), float(deviations @ deviations)


def _top_norm_total(block: NDArray[np.floating], top: int) -> float:
    """Return the sum over vectors of the norm of their ``top`` largest components by signed
    value.
    """
    largest = np.partition(block, block.shape[1] - top, axis=1)[:, -top:].astype(np.float64)
    return float(np.sqrt((largest * largest).sum(axis=1)).sum())


# Memory for the unit vectors that are compared with all others in one pass: 10,900 of 768
# components.
_LOADED_BYTES = 1 << 26
# Rows and columns of a block of products, which fits in a core's cache.
_ROWS, _COLUMNS = 256, 1024


@metric(
    columns=(
        quantity(
            "uniformity",
            "log mean Gaussian potential",
            maximum=0,
            label="log of the mean Gaussian potential",
        ),
        N_ZERO,
    ),
    formula="ln mean_{i<j} exp(−t |u_i − u_j|²), u = x/‖x‖",
    citation="Wang & Isola (2020), ICML",
    references=("wang2020",),
    parts=Parts(column="uniformity", parts="groups"),
    version=2,
)
def uniformity(
    data: LayerData,
    *,
    t: Annotated[
        float,
        Option("Sharpness of the Gaussian: the larger, the more near pairs count.", minimum=1e-06),
    ] = 2.0,
) -> Result:
    """How evenly vectors are spread over the unit sphere.

    Exact over all n(n − 1)/2 pairs, in float64 by log-sum-exp, block by block. Its time grows with
    n², its memory does not: seconds at n = 10,000, minutes at 100,000, where `sample` answers
    sooner. Vectors are made unit vectors first, which the authors' code leaves to the caller. Zero
    vectors are left out and counted; duplicates pull the value towards 0, which equal vectors have.
    Spread evenly over the sphere of R^768 it is −3.990 at t = 2. The interval is that of the value
    of the population that the items are drawn from.
    """
    parts = list(data.map_with_ids(lambda ids, block: (ids[has_direction(block)], len(ids))))
    ids = np.sort(np.concatenate([np.empty(0, np.int64), *(nonzero for nonzero, _ in parts)]))
    n = len(ids)
    result: Result = {"n": n, "n_zero": sum(size for _, size in parts) - n}
    if n < 2:
        return result | {"reason": TOO_FEW}
    value = _log_total(data, ids, t) - 2 * t - np.log(n * (n - 1) / 2)
    return result | {"uniformity": min(0.0, float(value))}


def _log_total(data: LayerData, ids: Ids, t: float) -> float:
    """Return ln Σ exp(2t uᵢ·uⱼ) over all pairs i < j of unit vectors.

    The vectors are loaded in batches; each batch is compared with itself, and with all vectors of
    larger ids. ``ids`` are those of the non-zero vectors, ascending.
    """
    log_total = -np.inf
    size = max(1, _LOADED_BYTES // (8 * data.dim))
    with one_thread():
        for start in range(0, len(ids), size):
            loaded = unit_rows(data.gather(ids[start : start + size])[1])[0]

            def log_sum_within(row: int, loaded: Float64Array = loaded) -> float:
                return _log_sum(loaded[row : row + _ROWS] * (2 * t), loaded, row)

            log_sums = in_threads(log_sum_within, range(0, len(loaded), _ROWS))
            if start + size < len(ids):
                log_sums += data.map_with_ids(
                    partial(_log_sum_with_block, loaded, 2 * t, ids[start + size])
                )
            log_total = float(np.logaddexp.reduce([log_total, *log_sums]))
    return log_total


def _log_sum_with_block(
    loaded: Float64Array, factor: float, first: int, ids: Ids, block: Block
) -> float:
    """Return ln Σ exp(factor uᵢ·uⱼ) over loaded unit vectors and those of a block with ids from
    ``first`` on.
    """
    units, is_zero = unit_rows(block[ids >= first])
    units = units[~is_zero]
    units *= factor
    parts = [
        _log_sum(units[start : start + _ROWS], loaded) for start in range(0, len(units), _ROWS)
    ]
    return float(np.logaddexp.reduce(parts, initial=-np.inf))


def _log_sum(rows: Float64Array, others: Float64Array, start: int | None = None) -> float:
    """Return ln Σ exp(xᵢ·yⱼ) over all rows x and others y, by log-sum-exp.

    If the rows are others from the position ``start`` on, only pairs i < j of the latter are
    summed.
    """
    log_sum = -np.inf
    for column in range(start or 0, len(others), _COLUMNS):
        with ignore_spurious_flags():
            exponents = rows @ others[column : column + _COLUMNS].T
        if start is not None and column < start + len(rows):
            i, j = start + np.arange(len(exponents)), column + np.arange(exponents.shape[1])
            exponents[j <= i[:, None]] = -np.inf
        largest = exponents.max()
        if largest > -np.inf:
            exponents -= largest
            log_sum = np.logaddexp(
                log_sum, largest + np.log(np.exp(exponents, out=exponents).sum())
            )
    return float(log_sum)


@metric(
    columns=(
        amount(
            "alignment", "mean distance to the power of alpha", label="mean power of the distance"
        ),
        count("total", "pairs in the dataset that have such a score"),
        share("coverage", "pairs used over those"),
        count("n_zero", "pairs left out since a vector is zero"),
    ),
    formula="mean |u − v|^alpha over the pairs with a score ≥ min_score, u = x/‖x‖",
    citation="Wang & Isola (2020), ICML; positive pairs as in Gao et al. (2021), EMNLP",
    references=("wang2020", "gao2021"),
    needs="pairs",
    units=(Unit.WORD, Unit.SENTENCE, Unit.OCCURRENCE),
)
def alignment(
    data: LayerData,
    *,
    pairs: Pairs,
    missing: MissingPairs = "skip",
    alpha: Annotated[float, Option("Exponent of the distance.", minimum=1e-06, maximum=1000)] = 2.0,
    min_score: Annotated[
        float, Option("Smallest score of pairs that count as equal in meaning.")
    ] = 4.0,
) -> Result:
    """How near the unit vectors of pairs of like meaning are.

    Exact over all such pairs that have both vectors, from differences of unit vectors in float64. A
    score of 4 and more is a paraphrase on the scale of 0 to 5 of STS-B; other datasets have other
    scales. n, total and coverage say how many pairs were used; pairs with a zero vector are left
    out and counted.
    """
    positive = pairs.score >= min_score
    total = int(positive.sum())
    result = coverage(0, total)
    try:
        squares, n_zero = _square_distances(data, pairs.left[positive], pairs.right[positive])
    except NotComputable as error:
        return result | {"reason": str(error)}
    n = len(squares)
    result |= coverage(n, total) | {"n_zero": n_zero}
    if total == 0:
        return result | {"reason": f"no pair has a score of {min_score:g} or more"}
    if missing == "error" and n < total:
        return result | {
            "reason": f"{total - n} of {total} pairs have no distance (missing: error)"
        }
    if n == 0:
        return result | {"reason": "no pair has two non-zero vectors"}
    return result | {"alignment": (squares ** (alpha / 2)).mean()}


def _square_distances(data: LayerData, left: Ids, right: Ids) -> tuple[Float64Array, int]:
    """Return |u − v|² of the unit vectors of each pair of items with two non-zero ones, and how
    many have a zero one.

    The pairs are given by their ids (n,); there are at most n distances.
    """
    ids, vectors = data.gather(np.union1d(left, right))
    has_both = np.isin(left, ids) & np.isin(right, ids)
    units, is_zero = unit_rows(vectors)
    u, v = (np.searchsorted(ids, side[has_both]) for side in (left, right))
    has_zero = is_zero[u] | is_zero[v]
    differences = units[u[~has_zero]] - units[v[~has_zero]]
    return np.vecdot(differences, differences), int(has_zero.sum())
