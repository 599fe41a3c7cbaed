"""The mean pairwise cosine and its parts: anisotropy and rogue dimensions. All exact, all O(n dim)."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.spec import LayerData, Value
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
        n: the number of unit vectors.
        unit_total: Σu, float64, shape (dim,).
        unit_square_total: Σu² per dimension, float64, shape (dim,). Its sum is n, up to the rounding that it cancels.
    """
    if n < 2:
        return None
    return float((unit_total @ unit_total - unit_square_total.sum()) / (n * (n - 1)))


def anisotropy(data: LayerData, *, variant: str = "raw") -> dict[str, Value]:
    """Compute the mean pairwise cosine of a layer.

    Args:
        data: the vectors. ``raw`` needs only their summary; ``centred`` reads them once.
        variant: ``raw``, or ``centred``: after the mean vector has been subtracted from each.

    Returns:
        ``anisotropy`` in [-1, 1] or None with ``reason``; ``n`` vectors used; ``n_zero`` zero vectors left out.
    """
    summary = data.summary
    n, n_zero = summary.n - summary.n_zero, summary.n_zero
    total, square_total = summary.unit_total, summary.unit_square_total
    if variant == "centred":
        n, total, square_total = _centred_sums(data)
        n_zero = summary.n - n
    value = mean_pairwise_cosine(n, total, square_total)
    return {"anisotropy": value, "n": n, "n_zero": n_zero, "reason": TOO_FEW if value is None else None}


def _centred_sums(data: LayerData) -> tuple[int, Float64Array, Float64Array]:
    mean = data.summary.mean
    smallest = _ZERO_AFTER_CENTRING * data.summary.norm_max
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


def rogue_dims(data: LayerData, *, k: int = 5) -> dict[str, Value]:
    """Compute each dimension's contribution to the mean pairwise cosine, and return the k largest.

    CC_i = ((Σu_i)² − Σu_i²) / (n (n − 1)): Timkey & van Schijndel (2021), section 3, over all pairs rather than a
    sample. The contributions of all dimensions add up to the anisotropy.

    Args:
        data: the vectors; only their summary is used.
        k: how many dimensions to return, by descending contribution.

    Returns:
        ``dims`` (numbers of the dimensions), ``contributions`` (each in [-1, 1]), ``shares`` (contribution over
        anisotropy; None where that is zero), ``anisotropy``, ``n``, ``n_zero`` and ``reason``.
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
    found: dict[str, Value] = {"dims": [int(dim) for dim in dims], "contributions": contributions, "shares": shares}
    return result | found
