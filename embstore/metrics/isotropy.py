"""Measure how evenly vectors use the directions of their space, and how many, from their
covariance.
"""

from functools import partial

import numpy as np

from embstore.base.summary import Float64Array
from embstore.metrics.declaration import (
    Block,
    Column,
    LayerData,
    Metric,
    NotComputable,
    Parameter,
    Result,
    Value,
)
from embstore.metrics.numerics import linear_algebra

_RANKME_CONSTANT = 1e-7  # Garrido et al. (2023), eq. 1


def isoscore(data: LayerData, *, zeta: float = 0.0) -> Result:
    """Compute IsoScore, or IsoScore* if ``zeta`` is above 0.

    The score of Rudman et al. (2022) is (PR − 1) / (dim − 1), PR = tr(C)² / ‖C‖_F²: exactly the
    definition by singular values, without any decomposition. IsoScore* (Rudman & Eickhoff, 2024) is
    that of (1 − ζ) C + ζ I.

    Args:
        data: Vectors of a layer, read once.
        zeta: Share ζ of the identity, in [0, 1].

    Returns:
        ``isoscore`` in [0, 1], ``n`` and ``reason``.

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
    return {"isoscore": score, "n": total.n, "reason": None}


def _participation_of(covariance: Float64Array) -> float:
    """Return the participation ratio tr(C)² / ‖C‖_F² = (Σλ)² / Σλ², in [1, dim], of a covariance C
    up to its scale.
    """
    # Row by row: for a product of the whole matrix, BLAS would wake threads, which then spin and
    # occupy a core.
    square = np.vecdot(covariance, covariance).sum()
    return float(np.clip(np.trace(covariance) ** 2 / square, 1, len(covariance)))


def partition(data: LayerData) -> Result:
    """Compute the isotropy of the partition function, and its approximations.

    I(W) = min Z(c) / max Z(c), Z(c) = Σ exp(c·w), over the eigenvectors c of WᵀW with both signs:
    Mu & Viswanath (2018), eq. 7, after Arora et al. (2016). First and second order: their section
    2.1.

    Args:
        data: Vectors of a layer, read twice.

    Returns:
        ``partition`` in [0, 1], ``log_partition`` = ln I ≤ 0, ``first_order`` and ``second_order``
        in (-1, 1], ``n`` and ``reason``.

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
        "partition": float(np.exp(log_ratio)),
        "log_partition": log_ratio,
        "first_order": (n - size) / (n + size),
        "second_order": (n - size + low) / (n + size + high),
        "n": n,
        "reason": None,
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


def participation_ratio(data: LayerData) -> Result:
    """Compute the participation ratio (Σλ)² / Σλ² of the eigenvalues λ of the covariance.

    Args:
        data: Vectors of a layer, read once.

    Returns:
        ``participation_ratio`` in [1, min(dim, n − 1)], ``n`` and ``reason``.

    Raises:
        NotComputable: There are fewer than two vectors, or all are equal.
    """
    total = linear_algebra.varying_moments(data)
    return {"participation_ratio": _participation_of(total.scatter), "n": total.n, "reason": None}


def effective_rank(data: LayerData, *, variant: str = "uncentred") -> Result:
    """Compute the effective rank exp(−Σ p ln p) (Roy & Vetterli, 2007, eq. 3).

    Args:
        data: Vectors of a layer, read once.
        variant: ``uncentred``: p = σ / Σσ of the singular values σ of the matrix, as Roy & Vetterli
            define it; ``centred``: the same after the mean is subtracted; ``eigenvalues``: p = λ /
            Σλ of the covariance's eigenvalues; ``rankme``: ``uncentred`` with 1e-7 added to each p
            (Garrido et al., 2023).

    Returns:
        ``effective_rank`` ≥ 1 (``rankme``: ≥ 1 − 1e-7), ``n`` and ``reason``.

    Raises:
        NotComputable: There are fewer than two vectors, or all are equal (centred) or zero
            (uncentred).
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
        variant: ``centred`` for principal components; ``uncentred`` for the squared singular values
            of the matrix.

    Returns:
        ``top_share`` in [0, 1], the share of the k components together; ``shares`` of each, largest
        first; ``variances``: the eigenvalues of the covariance (divisor n − 1; uncentred: of Σxxᵀ /
        n); ``n``; ``reason``.

    Raises:
        NotComputable: There are fewer than two vectors, or all are equal (centred) or zero
            (uncentred).
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
    return result | {"k": len(top), "n": total.n, "reason": None}


def _eigenvalues(data: LayerData, *, centred: bool) -> tuple[linear_algebra.Moments, Float64Array]:
    """Return the moments of a layer, and the squared singular values of its (centred) matrix,
    descending, (dim,).
    """
    if centred:
        total = linear_algebra.varying_moments(data)
        return (
            total,
            linear_algebra.zero_insignificant(
                linear_algebra.eigenvalues_of(total.scatter), total.n - 1
            )[::-1],
        )
    total = linear_algebra.moments(data)
    if total.n < 2:
        raise NotComputable(linear_algebra.TOO_FEW)
    if total.square_total == 0:
        raise NotComputable("all vectors are zero")
    return (
        total,
        linear_algebra.zero_insignificant(linear_algebra.eigenvalues_of(total.uncentred), total.n)[
            ::-1
        ],
    )


_PRECISION = (
    "Computed from the second moments in float64: singular values below about 1e-7 of the largest"
    " cannot be told from rounding and count as zero."
)


METRICS = (
    Metric(
        name="isoscore",
        label="IsoScore",
        help="IsoScore: how evenly the variance fills all dimensions.",
        function=isoscore,
        columns=(
            Column(
                "isoscore",
                "number",
                "0: all variance in one direction; 1: the same in all",
                minimum=0,
                maximum=1,
            ),
        ),
        parameters=(
            Parameter(
                "zeta",
                0.0,
                "Share of the identity in the covariance: above 0, IsoScore*.",
                minimum=0.0,
                maximum=1.0,
            ),
        ),
        formula="(PR − 1) / (d − 1), PR = tr(S)² / ‖S‖²_F, S = (1 − ζ) C + ζ I",
        citation="Rudman et al. (2022), Findings of ACL; IsoScore*: Rudman & Eickhoff (2024), ICLR",
        references=("rudman2022", "rudman2024"),
        estimator=(
            "Exact, from the covariance (divisor n − 1) of all vectors in float64: equal to the"
            " definition by singular values. It grows with n while n is not far above the number of"
            " dimensions (Gaussian vectors with n = d read about .5), so compare equal n. IsoScore"
            " does not depend on the vectors' scale; IsoScore* does, since the identity has none."
        ),
    ),
    Metric(
        name="partition",
        label="Isotropy of the partition function",
        help="Isotropy of the partition function, I(W).",
        function=partition,
        columns=(
            Column(
                "partition",
                "number",
                "smallest over largest Z; 1 is isotropic",
                minimum=0,
                maximum=1,
                label="I(W)",
            ),
            Column("log_partition", "number", "its natural logarithm", maximum=0),
            Column("first_order", "number", "first-order approximation", minimum=-1, maximum=1),
            Column("second_order", "number", "second-order approximation", minimum=-1, maximum=1),
        ),
        parameters=(),
        formula="min Z(c) / max Z(c), Z(c) = Σ exp(c·w), c = ± eigenvectors of WᵀW",
        citation="Mu & Viswanath (2018), ICLR; Arora et al. (2016), TACL",
        references=("mu2018", "arora2016"),
        estimator=(
            "Exact over all vectors and both signs of each eigenvector, by log-sum-exp in float64;"
            " the eigenvectors stand for all directions, as in the paper. partition may be 0 where"
            " its logarithm is below -745. The value depends on the vectors' scale, and the"
            " approximations hold for small norms alone: with a large mean the first is negative."
            " Where eigenvalues are equal, the choice among their eigenvectors is arbitrary."
        ),
    ),
    Metric(
        name="effective-rank",
        help="Effective rank: exp of the entropy of the singular values.",
        function=effective_rank,
        columns=(
            Column(
                "effective_rank",
                "number",
                "effective number of dimensions, from 1",
                minimum=0,
                unit="dimensions",
            ),
        ),
        parameters=(
            Parameter(
                "variant",
                "uncentred",
                "From the matrix itself, the centred matrix, the covariance's eigenvalues, or"
                " RankMe.",
                choices=("uncentred", "centred", "eigenvalues", "rankme"),
            ),
        ),
        formula="exp(−Σ p ln p), p = σ / Σσ",
        citation="Roy & Vetterli (2007), EUSIPCO; rankme: Garrido et al. (2023), ICML",
        references=("roy2007", "garrido2023"),
        estimator=(
            "uncentred is the original definition: singular values of the matrix as it is. centred"
            " subtracts the mean vector first; eigenvalues takes p from the covariance's"
            " eigenvalues, which are the squares of those; rankme adds 1e-7 to each p of"
            f" uncentred. The four differ: name the one you report. {_PRECISION}"
        ),
    ),
    Metric(
        name="participation-ratio",
        help="Participation ratio: the dimensions that share the variance.",
        function=participation_ratio,
        columns=(
            Column(
                "participation_ratio",
                "number",
                "effective number of dimensions",
                minimum=1,
                unit="dimensions",
            ),
        ),
        parameters=(),
        formula="(Σλ)² / Σλ² = tr(C)² / ‖C‖²_F",
        citation="Gao et al. (2017), bioRxiv 214262",
        references=("gao2017",),
        estimator=(
            "Exact, from the covariance of all vectors in float64, without a decomposition. At most"
            " n − 1 and at most the number of dimensions; it grows with n while n is not far above"
            " the number of dimensions (Gaussian vectors: about dn / (n + d)), so compare equal n."
        ),
    ),
    Metric(
        name="spectrum",
        drawn_as="bars",
        drawn_values=("shares", "variances"),
        help="Share of the variance that the top components explain.",
        function=spectrum,
        columns=(
            Column(
                "top_share", "number", "share of the top components together", minimum=0, maximum=1
            ),
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
        citation=(
            "Pearson (1901); Ethayarajh (2019), EMNLP, for the first component of a word (MEV)"
        ),
        references=("pearson1901", "ethayarajh2019"),
        estimator=(
            "centred: eigenvalues of the covariance (divisor n − 1), as in PCA. uncentred: of the"
            f" mean of xxᵀ, where the mean vector counts as a component. {_PRECISION}"
        ),
    ),
)
