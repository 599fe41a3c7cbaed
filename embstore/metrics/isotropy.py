"""Measure how evenly vectors use the directions of their space: IsoScore and the partition function."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from embstore.base.summary import Float64Array
from embstore.metrics.declaration.spec import Column, LayerData, Metric, NotComputable, Parameter, Result
from embstore.metrics.numerics.blas_threads import eigenvectors_of, ignore_spurious_flags, one_thread
from embstore.metrics.numerics.moments import TOO_FEW, moments, varying_moments


def participation_of(covariance: Float64Array) -> float:
    """Return the participation ratio tr(C)² / ‖C‖_F² = (Σλ)² / Σλ², in [1, dim].

    Args:
        covariance: Positive semidefinite matrix, not zero, shape (dim, dim); its scale does not matter.
    """
    # Row by row: for a product of the whole matrix, BLAS would wake threads, which then spin and occupy a core.
    square = np.vecdot(covariance, covariance).sum()
    return float(np.clip(np.trace(covariance) ** 2 / square, 1, len(covariance)))


def isoscore(data: LayerData, *, zeta: float = 0.0) -> Result:
    """Compute IsoScore, or IsoScore* if ``zeta`` is above 0.

    The score of Rudman et al. (2022) is (PR − 1) / (dim − 1), PR = tr(C)² / ‖C‖_F²: exactly the definition by singular
    values, without any decomposition. IsoScore* (Rudman & Eickhoff, 2024) is that of (1 − ζ) C + ζ I.

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
    total = varying_moments(data)
    matrix = total.scatter
    if zeta:
        matrix *= (1 - zeta) / (total.n - 1)
        matrix.flat[:: data.dim + 1] += zeta
    score = (participation_of(matrix) - 1) / (data.dim - 1)
    return {"isoscore": score, "n": total.n, "reason": None}


def partition(data: LayerData) -> Result:
    """Compute the isotropy of the partition function, and its approximations.

    I(W) = min Z(c) / max Z(c), Z(c) = Σ exp(c·w), over the eigenvectors c of WᵀW with both signs: Mu & Viswanath
    (2018), eq. 7, after Arora et al. (2016). First and second order: their section 2.1.

    Args:
        data: Vectors of a layer, read twice.

    Returns:
        ``partition`` in [0, 1], ``log_partition`` = ln I ≤ 0, ``first_order`` and ``second_order`` in (-1, 1], ``n``
        and ``reason``.

    Raises:
        NotComputable: There are fewer than two vectors.
    """
    total = moments(data)
    if total.n < 2:
        raise NotComputable(TOO_FEW)
    eigenvalues, vectors = eigenvectors_of(total.uncentred)
    low, high = max(0.0, float(eigenvalues[0])) / 2, float(eigenvalues[-1]) / 2
    log_z = np.full((2, data.dim), -np.inf)
    with one_thread():
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


def _log_z(block: NDArray[np.floating], directions: Float64Array) -> Float64Array:
    """Return ln Σ exp(c·w) and ln Σ exp(−c·w) over the vectors w of a block, (2, dim).

    Args:
        block: Vectors, (n, dim).
        directions: Directions c as columns, (dim, dim).
    """
    with ignore_spurious_flags():
        products = block.astype(np.float64, copy=False) @ directions
    log_sums = []
    for signed in (products, -products):
        largest = signed.max(axis=0)
        signed -= largest
        log_sums.append(largest + np.log(np.exp(signed, out=signed).sum(axis=0)))
    return np.stack(log_sums)


METRICS = (
    Metric(
        name="isoscore",
        help="IsoScore: how evenly the variance fills all dimensions.",
        function=isoscore,
        columns=(
            Column("isoscore", "number", "0: all variance in one direction; 1: the same in all", minimum=0, maximum=1),
        ),
        parameters=(
            Parameter(
                "zeta", 0.0, "Share of the identity in the covariance: above 0, IsoScore*.", minimum=0.0, maximum=1.0
            ),
        ),
        formula="(PR − 1) / (d − 1), PR = tr(S)² / ‖S‖²_F, S = (1 − ζ) C + ζ I",
        citation="Rudman et al. (2022), Findings of ACL; IsoScore*: Rudman & Eickhoff (2024), ICLR",
        references=("rudman2022", "rudman2024"),
        estimator="Exact, from the covariance (divisor n − 1) of all vectors in float64: equal to the definition by "
        "singular values. It grows with n while n is not far above the number of dimensions (Gaussian vectors with "
        "n = d read about .5), so compare equal n. IsoScore does not depend on the vectors' scale; IsoScore* does, "
        "since the identity has none.",
    ),
    Metric(
        name="partition",
        help="Isotropy of the partition function, I(W).",
        function=partition,
        columns=(
            Column("partition", "number", "smallest over largest Z; 1 is isotropic", minimum=0, maximum=1),
            Column("log_partition", "number", "its natural logarithm", maximum=0),
            Column("first_order", "number", "first-order approximation", minimum=-1, maximum=1),
            Column("second_order", "number", "second-order approximation", minimum=-1, maximum=1),
        ),
        parameters=(),
        formula="min Z(c) / max Z(c), Z(c) = Σ exp(c·w), c = ± eigenvectors of WᵀW",
        citation="Mu & Viswanath (2018), ICLR; Arora et al. (2016), TACL",
        references=("mu2018", "arora2016"),
        estimator="Exact over all vectors and both signs of each eigenvector, by log-sum-exp in float64; the "
        "eigenvectors stand for all directions, as in the paper. partition may be 0 where its logarithm is below -745. "
        "The value depends on the vectors' scale, and the approximations hold for small norms alone: with a large mean "
        "the first is negative. Where eigenvalues are equal, the choice among their eigenvectors is arbitrary.",
    ),
)
