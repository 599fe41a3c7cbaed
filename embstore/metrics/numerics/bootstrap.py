"""The bootstrap confidence interval of Spearman's rho."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import group_ties

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]
Counts = NDArray[np.floating]

_LEVEL = 0.95
_BATCH_VALUES = 1 << 22
_CACHED_BATCHES = 8  # of at most 34 MB each: all layers use the same resamples of a dataset
_FLOAT32_MAX_PAIRS = 1 << 18


def spearman_interval(
    x: Floats, y: Floats, resamples: int, seed: int, error: Floats | float = 0.0
) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % percentile bootstrap interval of Spearman's rho (Efron & Tibshirani 1993, section 13.3).

    n pairs are drawn with replacement, and each resample is ranked again. A resample is stored as the count of each
    pair: its ranks are cumulative sums of these counts in the order of the whole sample, without another sort.
    Resamples in which all x or all y are equal have no rho and are omitted.

    Args:
        x: float64 (n,), not constant.
        y: float64 (n,), not constant.
        resamples: Number of resamples.
        seed: Random seed of the resamples.
        error: Bound on the rounding error of each x (n,), or of all: see :func:`group_ties`.

    Returns:
        The 2.5 % and 97.5 % quantiles; None if no resample has a rho.
    """
    order, is_start = group_ties(x, error)
    size = max(1, _BATCH_VALUES // len(y))
    scores = y.tobytes()
    batches = [
        _draw_resamples(scores, min(size, resamples - start), seed, number)
        for number, start in enumerate(range(0, resamples, size))
    ]
    rho = np.concatenate([_resampled_rho(batch, order, np.flatnonzero(is_start)) for batch in batches])
    rho = rho[np.isfinite(rho)]
    if not len(rho):
        return None, None
    low, high = np.quantile(rho, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


@dataclass(frozen=True, slots=True, eq=False)
class _Resamples:
    """A batch of b resamples, with the sums that do not depend on x.

    Attributes:
        counts: Number of times that each pair is in each resample, float32 or float64 (n, b).
        weighted: That count times the rank of the pair's y in the resample, likewise (n, b).
        rank_spread: Σ (rank of y − mean rank)² over the resample, float64 (b,).
        weighted_total: Σ count · weighted, float64 (b,).
        cube_total: Σ count³, float64 (b,).
    """

    counts: Counts
    weighted: Counts
    rank_spread: Floats
    weighted_total: Floats
    cube_total: Floats


@lru_cache(maxsize=_CACHED_BATCHES)
def _draw_resamples(y: bytes, size: int, seed: int, number: int) -> _Resamples:
    """Draw a batch of resamples of y; cached, since all layers use the same ones.

    Args:
        y: Values of y as the bytes of a float64 array (n,), which are hashable.
        size: Number of resamples.
        seed: Random seed of all resamples.
        number: Number of the batch.
    """
    scores = np.frombuffer(y)
    n = len(scores)
    rng = np.random.default_rng([seed, number])
    # Whole numbers, and halves of them, which float32 holds exactly up to 2²³: no count is ever above 32.
    dtype = np.float32 if n < _FLOAT32_MAX_PAIRS else np.float64
    drawn = np.empty((size, n), dtype)
    for row in drawn:
        row[:] = np.bincount(rng.integers(0, n, n), minlength=n)
    counts = np.ascontiguousarray(drawn.T)
    weighted = np.empty_like(counts)
    n_before, rank_spread, weighted_total, cube_total = np.zeros((4, size))
    rank_spread += float(n) ** 3 / 12
    order, is_start = group_ties(scores)
    for members in np.split(order, np.flatnonzero(is_start)[1:]):
        in_group = counts[members].sum(axis=0, dtype=np.float64)
        # Tied values share the mean of their ranks.
        weighted[members] = counts[members] * (n_before + (in_group + 1) / 2)
        n_before += in_group
        rank_spread -= in_group * in_group * in_group / 12  # numpy's ** 3 takes ten times as long
    for count, weight in zip(counts, weighted, strict=True):
        wide = count.astype(np.float64)
        weighted_total += wide * weight
        cube_total += wide * wide * wide
    return _Resamples(counts, weighted, rank_spread, weighted_total, cube_total)


def _resampled_rho(resamples: _Resamples, order: Positions, starts: Positions) -> Floats:
    """Return Spearman's rho of x and y in each resample (b,), NaN where it is undefined.

    The rank of x is the cumulative count less (count − 1)/2, with the counts of tied x added up; Σ rank · weighted is
    summed in these two parts. The spread of the ranks of x is (n³ − Σ count³)/12.

    Args:
        resamples: Batch of resamples.
        order: Positions of x in ascending order, (n,).
        starts: Start of each group of tied x in ``order``.
    """
    n, size = resamples.counts.shape
    n_before, covariance, product = np.zeros((3, size))
    weighted_total, cube_total = resamples.weighted_total.copy(), resamples.cube_total.copy()
    stops = [*starts[1:].tolist(), n]
    positions = order.tolist()
    for start, stop in zip(starts.tolist(), stops, strict=True):
        count, weight = resamples.counts[positions[start]], resamples.weighted[positions[start]]
        if stop - start > 1:
            members = order[start:stop]
            counts, weights = (x[members].astype(np.float64) for x in (resamples.counts, resamples.weighted))
            count, weight = counts.sum(axis=0), weights.sum(axis=0)
            weighted_total += count * weight - (counts * weights).sum(axis=0)
            cube_total += count**3 - (counts**3).sum(axis=0)
        np.add(n_before, count, out=n_before)
        np.multiply(n_before, weight, out=product)
        np.add(covariance, product, out=covariance)
    covariance -= (weighted_total - n * (n + 1) / 2) / 2 + n * ((n + 1) / 2) ** 2
    square = resamples.rank_spread * (float(n) ** 3 - cube_total) / 12
    rho = np.full(size, np.nan)
    np.divide(covariance, np.sqrt(square), out=rho, where=square > 0)
    return rho.clip(-1, 1)
