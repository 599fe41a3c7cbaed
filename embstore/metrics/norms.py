"""Measure the norms of a layer, and the share of a few components in them."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import rounding_error_bound, square_norms
from embstore.metrics.declaration import N_ZERO, Column, LayerData, Metric, Parameter, Value

_MIN_RESOLVED = 1e-4  # share of the squared mean from which a variance is precise enough as a difference of sums


def norms(data: LayerData, *, top: int = 5) -> dict[str, Value]:
    """Compute the L2 norms of a layer, and the share of the largest components in them.

    The share is the mean norm of each vector's ``top`` largest components over the mean norm of the whole vectors: a
    ratio of means of norms, as in the code of Wolfe & Caliskan (2022). They take the largest by signed value; by
    absolute value, large negative components count too.

    Args:
        data: Vectors of a layer. Norms come from the summary; the shares read the vectors once, and so does a ``std``
            below a hundredth of the mean.
        top: Number of components; 0 omits the shares.

    Returns:
        ``mean``, ``std`` (population, ddof 0), ``min`` and ``max`` of the norms, in the unit of the vectors;
        ``top_share`` (signed) and ``top_share_abs``, each in [0, 1]; ``n``; ``n_zero``; ``reason``.
    """
    summary = data.summary
    empty: dict[str, Value] = dict.fromkeys(("mean", "std", "min", "max", "top_share", "top_share_abs"))
    result = empty | {"n": summary.n, "n_zero": summary.n_zero, "reason": None}
    if summary.n == 0:
        return result | {"reason": "no vectors"}
    mean = summary.norm_total / summary.n
    result |= {"mean": mean, "std": _std(data, mean), "min": summary.norm_min, "max": summary.norm_max}
    if top == 0:
        return result | {"reason": "shares: not asked for (top 0)"}
    if top > data.dim:
        return result | {"reason": f"shares: {top} components of {data.dim}"}
    if mean == 0:
        return result | {"reason": "shares: all vectors are zero"}
    totals = data.map(lambda block: (_top_norm_total(block, top), _top_norm_total(np.abs(block), top)))
    shares = np.array(list(totals)).sum(axis=0) / summary.norm_total
    return result | {"top_share": float(shares[0]), "top_share_abs": float(shares[1])}


def _std(data: LayerData, mean: float) -> float:
    """Return the standard deviation (ddof 0) of the norms, given their mean; 0 if they differ by rounding only.

    E[‖x‖²] − E[‖x‖]² of the summary is imprecise if the norms are nearly equal: then the vectors are read, and the
    variance is computed from ‖x‖ − mean.
    """
    summary = data.summary
    if summary.norm_max - summary.norm_min <= rounding_error_bound(data.dim, np.float64) * summary.norm_max:
        return 0.0
    variance = summary.norm_square_total / summary.n - mean * mean
    if variance < _MIN_RESOLVED * mean * mean:
        total, square_total = np.array(list(data.map(partial(_deviations, mean=mean)))).sum(axis=0) / summary.n
        variance = square_total - total * total
    return float(variance**0.5)


def _deviations(block: NDArray[np.floating], mean: float) -> tuple[float, float]:
    """Return Σ(‖x‖ − mean) and Σ(‖x‖ − mean)² of a block."""
    deviations = np.sqrt(square_norms(block)) - mean
    return float(deviations.sum()), float(deviations @ deviations)


def _top_norm_total(block: NDArray[np.floating], top: int) -> float:
    """Return the sum over vectors of the norm of their ``top`` largest components by signed value."""
    largest = np.partition(block, block.shape[1] - top, axis=1)[:, -top:].astype(np.float64)
    return float(np.sqrt((largest * largest).sum(axis=1)).sum())


METRICS = (
    Metric(
        name="norms", label="Norm", help="Vector lengths, and how few components make them.", function=norms,
        columns=(
            Column("mean", "number", "mean L2 norm", minimum=0),
            Column("std", "number", "population standard deviation of the norms", minimum=0,
                   label="standard deviation"),
            Column("min", "number", "smallest norm", minimum=0, label="smallest"),
            Column("max", "number", "largest norm", minimum=0, label="largest"),
            Column("top_share", "number", "share of the largest components by signed value", minimum=0, maximum=1,
                   label="share of the largest components"),
            Column("top_share_abs", "number", "share of the largest components by absolute value", 0, 1,
                   label="share of the largest absolute components"),
            N_ZERO,
        ),
        parameters=(Parameter("top", 5, "Number of components in the shares (0: no shares).", minimum=0),),
        formula="mean ‖x_top‖ / mean ‖x‖", citation="Wolfe & Caliskan (2022), ACL", references=("wolfe2022",),
        estimator="Norms come from the summaries; the shares read every vector. std has ddof 0; where it is below a "
        "hundredth of the mean, it too is computed from the vectors, and norms that differ by no more than rounding "
        "have a std of 0. The shares are ratios of means of norms, as in the paper's code, not means of ratios.",
        version=2,
    ),
)  # fmt: skip
