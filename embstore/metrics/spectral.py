"""Measure how many dimensions vectors use, from the eigenvalues of their covariance."""

import numpy as np

from embstore.base.summary import Float64Array
from embstore.metrics.declaration.spec import Column, LayerData, Metric, NotComputable, Parameter, Result, Value
from embstore.metrics.isotropy import participation_of
from embstore.metrics.numerics.blas_threads import eigenvalues_of
from embstore.metrics.numerics.moments import TOO_FEW, Moments, moments, varying_moments, zero_insignificant

_RANKME_CONSTANT = 1e-7  # Garrido et al. (2023), eq. 1


def participation_ratio(data: LayerData) -> Result:
    """Compute the participation ratio (Σλ)² / Σλ² of the eigenvalues λ of the covariance.

    Args:
        data: Vectors of a layer, read once.

    Returns:
        ``participation_ratio`` in [1, min(dim, n − 1)], ``n`` and ``reason``.

    Raises:
        NotComputable: There are fewer than two vectors, or all are equal.
    """
    total = varying_moments(data)
    return {"participation_ratio": participation_of(total.scatter), "n": total.n, "reason": None}


def effective_rank(data: LayerData, *, variant: str = "uncentred") -> Result:
    """Compute the effective rank exp(−Σ p ln p) (Roy & Vetterli, 2007, eq. 3).

    Args:
        data: Vectors of a layer, read once.
        variant: ``uncentred``: p = σ / Σσ of the singular values σ of the matrix, as Roy & Vetterli define it;
            ``centred``: the same after the mean is subtracted; ``eigenvalues``: p = λ / Σλ of the covariance's
            eigenvalues; ``rankme``: ``uncentred`` with 1e-7 added to each p (Garrido et al., 2023).

    Returns:
        ``effective_rank`` ≥ 1 (``rankme``: ≥ 1 − 1e-7), ``n`` and ``reason``.

    Raises:
        NotComputable: There are fewer than two vectors, or all are equal (centred) or zero (uncentred).
    """
    total, eigenvalues = _eigenvalues(data, centred=variant in ("centred", "eigenvalues"))
    parts = eigenvalues if variant == "eigenvalues" else np.sqrt(eigenvalues)
    shares = parts / parts.sum()
    if variant == "rankme":
        shares = shares[: min(total.n, data.dim)] + _RANKME_CONSTANT
    shares = shares[shares > 0]  # 0 ln 0 = 0
    rank = float(np.exp(-(shares * np.log(shares)).sum()))
    if variant != "rankme":
        rank = max(1.0, rank)
    return {"effective_rank": rank, "n": total.n, "reason": None}


def spectrum(data: LayerData, *, k: int = 10, variant: str = "centred") -> Result:
    """Compute the shares of the variance that the largest principal components explain.

    Args:
        data: Vectors of a layer, read once.
        k: Number of components; reduced if there are fewer dimensions or vectors.
        variant: ``centred`` for principal components; ``uncentred`` for the squared singular values of the matrix.

    Returns:
        ``top_share`` in [0, 1], the share of the k components together; ``shares`` of each, largest first;
        ``variances``: the eigenvalues of the covariance (divisor n − 1; uncentred: of Σxxᵀ / n); ``n``; ``reason``.

    Raises:
        NotComputable: There are fewer than two vectors, or all are equal (centred) or zero (uncentred).
    """
    centred = variant == "centred"
    total, eigenvalues = _eigenvalues(data, centred=centred)
    top = eigenvalues[: min(k, total.n)]
    shares = top / eigenvalues.sum()
    result: dict[str, Value] = {
        "top_share": min(1.0, float(shares.sum())),
        "shares": shares.tolist(),
        "variances": (top / (total.n - 1 if centred else total.n)).tolist(),
    }
    return result | {"n": total.n, "reason": None}


def _eigenvalues(data: LayerData, *, centred: bool) -> tuple[Moments, Float64Array]:
    """Return the moments of a layer, and the squared singular values of its (centred) matrix, descending, (dim,).

    Raises:
        NotComputable: There are fewer than two vectors, or all singular values are zero.
    """
    if centred:
        total = varying_moments(data)
        return total, zero_insignificant(eigenvalues_of(total.scatter), total.n - 1)[::-1]
    total = moments(data)
    if total.n < 2:
        raise NotComputable(TOO_FEW)
    if total.square_total == 0:
        raise NotComputable("all vectors are zero")
    return total, zero_insignificant(eigenvalues_of(total.uncentred), total.n)[::-1]


_PRECISION = (
    "Computed from the second moments in float64: singular values below about 1e-7 of the largest cannot be told from "
    "rounding and count as zero."
)

METRICS = (
    Metric(
        name="effective-rank",
        help="Effective rank: exp of the entropy of the singular values.",
        function=effective_rank,
        columns=(
            Column("effective_rank", "number", "effective number of dimensions, from 1", minimum=0, unit="dimensions"),
        ),
        parameters=(
            Parameter(
                "variant",
                "uncentred",
                "From the matrix itself, the centred matrix, the covariance's eigenvalues, or RankMe.",
                choices=("uncentred", "centred", "eigenvalues", "rankme"),
            ),
        ),
        formula="exp(−Σ p ln p), p = σ / Σσ",
        citation="Roy & Vetterli (2007), EUSIPCO; rankme: Garrido et al. (2023), ICML",
        references=("roy2007", "garrido2023"),
        estimator="uncentred is the original definition: singular values of the matrix as it is. centred subtracts the "
        "mean vector first; eigenvalues takes p from the covariance's eigenvalues, which are the squares of those; "
        f"rankme adds 1e-7 to each p of uncentred. The four differ: name the one you report. {_PRECISION}",
    ),
    Metric(
        name="participation-ratio",
        help="Participation ratio: the dimensions that share the variance.",
        function=participation_ratio,
        columns=(
            Column("participation_ratio", "number", "effective number of dimensions", minimum=1, unit="dimensions"),
        ),
        parameters=(),
        formula="(Σλ)² / Σλ² = tr(C)² / ‖C‖²_F",
        citation="Gao et al. (2017), bioRxiv 214262",
        references=("gao2017",),
        estimator="Exact, from the covariance of all vectors in float64, without a decomposition. At most n − 1 and at "
        "most the number of dimensions; it grows with n while n is not far above the number of dimensions "
        "(Gaussian vectors: about dn / (n + d)), so compare equal n.",
    ),
    Metric(
        name="spectrum",
        drawn_as="bars",
        drawn_values=("shares", "variances"),
        help="Share of the variance that the top components explain.",
        function=spectrum,
        columns=(
            Column("top_share", "number", "share of the top components together", minimum=0, maximum=1),
            Column("shares", "array of numbers", "share of each, largest first", minimum=0, maximum=1),
            Column(
                "variances",
                "array of numbers",
                "variance along each",
                0,
                unit="squared units of the space",
                shown=False,
            ),
        ),
        parameters=(
            Parameter("k", 10, "Number of components.", minimum=1),
            Parameter(
                "variant",
                "centred",
                "Components of the centred matrix (principal components), or of the uncentred one.",
                choices=("centred", "uncentred"),
            ),
        ),
        formula="Σ_{i≤k} λ_i / Σ λ",
        citation="Pearson (1901); Ethayarajh (2019), EMNLP, for the first component of a word (MEV)",
        references=("pearson1901", "ethayarajh2019"),
        estimator="centred: eigenvalues of the covariance (divisor n − 1), as in PCA. uncentred: of the mean of xxᵀ, "
        f"where the mean vector counts as a component. {_PRECISION}",
    ),
)
