"""Measure how evenly vectors use the directions of their space, and how many, from their
covariance.
"""

from functools import partial
from typing import Annotated, Literal

import numpy as np

from embstore.base.summary import Float64Array, in_float64
from embstore.metrics.declaration import Block, Column, LayerData, NotComputable, Result
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import Option, coefficient, quantity, share
from embstore.metrics.numerics import linear_algebra
from embstore.metrics.parts import Parts

_RANKME_CONSTANT = 1e-7  # Garrido et al. (2023), eq. 1
_CENTRED = ("centred", "eigenvalues")  # variants of the effective rank


@metric(
    columns=(share("isoscore", "0: all variance in one direction; 1: the same in all"),),
    formula="(PR − 1) / (d − 1), PR = tr(S)² / ‖S‖²_F, S = (1 − ζ) C + ζ I",
    citation="Rudman et al. (2022), Findings of ACL; IsoScore*: Rudman & Eickhoff (2024), ICLR",
    references=("rudman2022", "rudman2024"),
    label="IsoScore",
    parts=Parts(
        column="isoscore", parts="groups", is_log=True, largest=lambda n, dim, parameters: 1
    ),
    version=3,
)
def isoscore(
    data: LayerData,
    *,
    zeta: Annotated[
        float,
        Option(
            "Share of the identity in the covariance: above 0, IsoScore*.", minimum=0.0, maximum=1.0
        ),
    ] = 0.0,
) -> Result:
    """IsoScore: how evenly the variance fills all dimensions.

    Exact, from the covariance (divisor n − 1) of all vectors in float64: equal to the definition by
    singular values. It grows with n while n is not far above the number of dimensions (Gaussian
    vectors with n = d read about .5), so compare equal n. IsoScore does not depend on the vectors'
    scale; IsoScore* does, since the identity has none. The interval, of the logarithm, is that of
    its expectation at this n.

    Raises:
        NotComputable: There are fewer than two vectors, all are equal, or they have one dimension.
    """
    if data.dim < 2:
        raise NotComputable("vectors of one dimension")
    total = linear_algebra.varying_moments(data)
    matrix = total.scatter
    if zeta:
        matrix *= (1 - zeta) / (total.n - 1)
        matrix.flat[:: data.dim + 1] += zeta
    score = (_participation_of(matrix) - 1) / (data.dim - 1)
    return {"isoscore": score, "n": total.n}


def _participation_of(covariance: Float64Array) -> float:
    """Return the participation ratio tr(C)² / ‖C‖_F² = (Σλ)² / Σλ², in [1, dim], of a covariance C
    up to its scale.
    """
    # Row by row: for a product of the whole matrix, BLAS would wake threads, which then spin and
    # occupy a core.
    square = np.vecdot(covariance, covariance).sum()
    return float(np.clip(np.trace(covariance) ** 2 / square, 1, len(covariance)))


@metric(
    columns=(
        share("partition", "smallest over largest Z; 1 is isotropic", label="I(W)"),
        quantity("log_partition", "its natural logarithm", maximum=0),
        coefficient("first_order", "first-order approximation"),
        coefficient("second_order", "second-order approximation"),
    ),
    formula="min Z(c) / max Z(c), Z(c) = Σ exp(c·w), c = ± eigenvectors of WᵀW",
    citation="Mu & Viswanath (2018), ICLR; Arora et al. (2016), TACL",
    references=("mu2018", "arora2016"),
    label="Isotropy of the partition function",
)
def partition(data: LayerData) -> Result:
    """Isotropy of the partition function, I(W).

    Exact over all vectors and both signs of each eigenvector, by log-sum-exp in float64; the
    eigenvectors stand for all directions, as in the paper. partition may be 0 where its logarithm
    is below -745. The value depends on the vectors' scale, and the approximations hold for small
    norms alone: with a large mean the first is negative. Where eigenvalues are equal, the choice
    among their eigenvectors is arbitrary.

    Raises:
        NotComputable: There are fewer than two vectors.
    """
    total = linear_algebra.moments(data)
    if total.n < 2:
        raise NotComputable(linear_algebra.TOO_FEW)
    eigenvalues, vectors = linear_algebra.eigenvectors_of(total.uncentred)
    low, high = max(0.0, float(eigenvalues[0])) / 2, float(eigenvalues[-1]) / 2
    log_z = np.full((2, data.dim), -np.inf)
    with linear_algebra.one_thread():
        for block_log_z in data.map(partial(_log_z, directions=vectors)):
            np.logaddexp(log_z, block_log_z, out=log_z)
    log_ratio = float(log_z.min() - log_z.max())
    n, size = total.n, total.n * float(np.linalg.norm(total.mean))
    return {
        "partition": np.exp(log_ratio),
        "log_partition": log_ratio,
        "first_order": (n - size) / (n + size),
        "second_order": (n - size + low) / (n + size + high),
        "n": n,
    }


def _log_z(block: Block, directions: Float64Array) -> Float64Array:
    """Return ln Σ exp(c·w) and ln Σ exp(−c·w), (2, dim), over the vectors w of a block, c the
    columns (dim, dim).
    """
    with linear_algebra.ignore_spurious_flags():
        products = block.astype(np.float64, copy=False) @ directions
    log_sums = []
    for signed in (products, -products):
        largest = signed.max(axis=0)
        signed -= largest
        log_sums.append(largest + np.log(np.exp(signed, out=signed).sum(axis=0)))
    return np.stack(log_sums)


@metric(
    columns=(
        quantity(
            "participation_ratio", "effective number of dimensions", minimum=1, unit="dimensions"
        ),
        quantity(
            "population",
            "that of the population, by unbiased estimates of tr(Σ)² and tr(Σ²)",
            minimum=1,
            unit="dimensions",
            label="participation ratio of the population",
        ),
    ),
    formula="(Σλ)² / Σλ² = tr(C)² / ‖C‖²_F",
    citation=(
        "Gao et al. (2017), bioRxiv 214262; population: Himeno & Yamada (2014), J. Multivar."
        " Anal. 130"
    ),
    references=("gao2017", "himeno2014"),
    parts=Parts(
        column="participation_ratio",
        parts="groups",
        is_log=True,
        others=("population",),
        largest=lambda n, dim, parameters: min(n - 1, dim),
    ),
    version=4,
)
def participation_ratio(data: LayerData) -> Result:
    """Participation ratio: the dimensions that share the variance.

    Exact, from the covariance of all vectors in float64, without a decomposition. At most n − 1 and
    at most the number of dimensions; it grows with n while n is not far above the number of
    dimensions (Gaussian vectors: about dn / (n + d)), so compare equal n. population is the ratio
    of unbiased estimates of tr(Σ)² and tr(Σ²), of any distribution with fourth moments: it does not
    grow with n, but varies more, may exceed the number of dimensions, and is null where an estimate
    is not above 0. low and high, and differences, are of the expectation of participation_ratio at
    this n, population_low and population_high of the population; all are of logarithms.

    Raises:
        NotComputable: There are fewer than two vectors, or all are equal.
    """
    n, matrix, mean = spread(data, centred=True)
    if mean is None:
        fourth = float((np.diagonal(matrix) ** 2).sum())
    else:
        fourth = sum(data.map(partial(_fourth_powers, mean=mean)))
    population = _population_ratio(n, matrix, fourth)
    reason = None if population is not None else "population: too few items to estimate it"
    ratio = _participation_of(matrix)
    return {"participation_ratio": ratio, "population": population, "n": n, "reason": reason}


def _fourth_powers(block: Block, mean: Float64Array) -> float:
    """Return Σ‖x − mean‖⁴ of a block."""
    deviations = (part - mean for part in in_float64(block))
    return sum(float((np.vecdot(x, x) ** 2).sum()) for x in deviations)


def _population_ratio(n: int, scatter: Float64Array, fourth: float) -> float | None:
    """Return the ratio of unbiased estimates of tr(Σ)² and tr(Σ²) (Himeno & Yamada 2014); None if
    one of them is not above 0.

    Args:
        n: Number of vectors.
        scatter: Matrix with the non-zero eigenvalues of Σ (x − x̄)(x − x̄)ᵀ.
        fourth: Σ‖x − x̄‖⁴.
    """
    if n < 4:
        return None
    trace = float(np.trace(scatter)) / (n - 1)
    square = float(np.vecdot(scatter, scatter).sum()) / (n - 1) ** 2
    fourths = n * fourth / (n - 1)
    numerator = 2 * square + (n * n - 3 * n + 1) * trace**2 - fourths
    denominator = (n - 1) * (n - 2) * square + trace**2 - fourths
    # Below 1 by rounding alone, since tr(S)² ≥ tr(S²).
    return max(1.0, numerator / denominator) if min(numerator, denominator) > 0 else None


@metric(
    columns=(
        quantity("effective_rank", "effective number of dimensions", minimum=1, unit="dimensions"),
    ),
    formula="exp(−Σ p ln p), p = σ / Σσ",
    citation=(
        "Roy & Vetterli (2007), EUSIPCO; rankme: Garrido et al. (2023), ICML;"
        " uncentred-eigenvalues: Wei et al. (2024), NeurIPS"
    ),
    references=("roy2007", "garrido2023", "wei2024"),
    parts=Parts(
        column="effective_rank",
        parts="groups",
        is_log=True,
        largest=lambda n, dim, parameters: min(n - (parameters["variant"] in _CENTRED), dim),
    ),
    version=3,
)
def effective_rank(
    data: LayerData,
    *,
    variant: Annotated[
        Literal["uncentred", "centred", "eigenvalues", "uncentred-eigenvalues", "rankme"],
        Option(
            "From the matrix itself, the centred matrix, the covariance's eigenvalues, those of"
            " Σ xxᵀ, or RankMe."
        ),
    ] = "uncentred",
) -> Result:
    """Effective rank: exp of the entropy of the singular values.

    uncentred is the original definition: singular values of the matrix as it is. centred subtracts
    the mean vector first; eigenvalues takes p from the covariance's eigenvalues, which are the
    squares of those; uncentred-eigenvalues from the squares of the singular values of the matrix as
    it is, as the erank of Wei et al. (2024) does after center and normalize; rankme adds 1e-7 to
    each p of uncentred. The five differ: name the one you report. Computed from the second moments
    in float64: singular values below about 1e-7 of the largest cannot be told from rounding and
    count as zero. The interval, of the logarithm, is that of the expectation at this n, not of the
    population, of which there is no valid one for n below ten times the number of dimensions.

    Raises:
        NotComputable: There are fewer than two vectors, or all are equal (centred) or zero
            (uncentred).
    """
    n, eigenvalues = _eigenvalues(data, centred=variant in _CENTRED)
    shares = eigenvalues if variant.endswith("eigenvalues") else np.sqrt(eigenvalues)
    if variant == "rankme":
        shares = shares[: min(n, data.dim)] / shares.sum() + _RANKME_CONSTANT
        rank = max(1.0, float(np.exp(-(shares * np.log(shares)).sum())))
    else:
        rank = float(np.exp(linear_algebra.entropy(shares)))
    return {"effective_rank": rank, "n": n}


@metric(
    columns=(
        share("top_share", "share of the top components together"),
        Column(
            "shares",
            "array of numbers",
            "share of each, largest first",
            minimum=0,
            maximum=1,
            label="share of the variance",
        ),
        Column(
            "variances",
            "array of numbers",
            "variance along each",
            0,
            unit="squared units of the space",
            shown=False,
        ),
    ),
    formula="Σ_{i≤k} λ_i / Σ λ",
    citation="Pearson (1901); Ethayarajh (2019), EMNLP, for the first component of a word (MEV)",
    references=("pearson1901", "ethayarajh2019"),
    drawn_values=("shares", "variances"),
)
def spectrum(
    data: LayerData,
    *,
    k: Annotated[int, Option("Number of components.", minimum=1)] = 10,
    variant: Annotated[
        Literal["centred", "uncentred"],
        Option("Components of the centred matrix (principal components), or of the uncentred one."),
    ] = "centred",
) -> Result:
    """Share of the variance that the top components explain.

    centred: eigenvalues of the covariance (divisor n − 1), as in PCA. uncentred: of the mean of
    xxᵀ, where the mean vector counts as a component. Computed from the second moments in float64:
    singular values below about 1e-7 of the largest cannot be told from rounding and count as zero.

    Raises:
        NotComputable: There are fewer than two vectors, or all are equal (centred) or zero
            (uncentred).
    """
    centred = variant == "centred"
    n, eigenvalues = _eigenvalues(data, centred=centred)
    top = eigenvalues[: min(k, n)]
    shares = top / eigenvalues.sum()
    return {
        "top_share": min(1.0, float(shares.sum())),
        "shares": shares,
        "variances": top / (n - 1 if centred else n),
        "k": len(top),
        "n": n,
    }


def _eigenvalues(data: LayerData, *, centred: bool) -> tuple[int, Float64Array]:
    """Return the number of vectors, and the squared singular values of their (centred) matrix,
    descending, of which all but the first min(n, dim) may be left out.
    """
    n, matrix, _ = spread(data, centred=centred)
    eigenvalues = linear_algebra.eigenvalues_of(matrix)
    return n, linear_algebra.zero_insignificant(eigenvalues, n - 1 if centred else n)[::-1]


def spread(data: LayerData, *, centred: bool) -> tuple[int, Float64Array, Float64Array | None]:
    """Return the number of vectors, a matrix whose eigenvalues are the squared singular values of
    their (centred) matrix X, and their mean.

    The matrix is XᵀX (dim, dim), or XXᵀ (n, n) and the mean None if they are not more than
    dimensions.

    Raises:
        NotComputable: There are fewer than two vectors, or all are equal (centred) or zero.
    """
    x = linear_algebra.few_vectors(data)
    if x is None:
        if centred:
            total = linear_algebra.varying_moments(data)
            return total.n, total.scatter, total.mean
        total = linear_algebra.moments(data)
        n, matrix, square_total = total.n, total.uncentred, total.square_total
        mean: Float64Array | None = total.mean
    else:
        n, square_total, mean = len(x), float(np.vdot(x, x)), None
        if centred and n > 1:
            x = x - x[0]  # equal vectors are exactly zero from here on
            x -= x.mean(axis=0)
        with linear_algebra.ignore_spurious_flags():
            matrix = x @ x.T
    if n < 2:
        raise NotComputable(linear_algebra.TOO_FEW)
    if centred and np.trace(matrix) <= linear_algebra.ROUNDING**2 * square_total:
        raise NotComputable(linear_algebra.ALL_EQUAL)
    if square_total == 0:
        raise NotComputable("all vectors are zero")
    return n, matrix, mean
