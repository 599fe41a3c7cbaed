"""The bootstrap confidence interval of Spearman's rho."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.numerics.correlation import tied

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Counts = NDArray[np.floating]

_LEVEL = 0.95
_BLOCK_VALUES = 1 << 22
_KEPT_BLOCKS = 8  # of at most 34 MB each; all layers use the same resamples of a dataset
_FLOAT32_PAIRS = 1 << 18


def spearman_interval(
    x: Floats, y: Floats, resamples: int, seed: int, error: float = 0.0
) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % percentile bootstrap interval of Spearman's rho (Efron & Tibshirani 1993, section 13.3).

    n pairs are drawn with replacement, and each resample is ranked again. A resample is stored as the count of each
    pair; its ranks are cumulative sums of these counts in the order of the whole sample, so that nothing is sorted
    again, and all resamples are ranked in one pass. Resamples in which all x or all y are equal have no rho and are
    omitted.

    Args:
        x: float64 (n,), not constant.
        y: float64 (n,), not constant.
        resamples: Number of resamples.
        seed: Random seed of the resamples.
        error: Bound on the rounding error of x: see :func:`tied`.

    Returns:
        The 2.5 % and 97.5 % quantiles; None if no resample has a rho.
    """
    order, starts = tied(x, error)
    size = max(1, _BLOCK_VALUES // len(y))
    scores = y.tobytes()
    found = np.concatenate(
        [
            _resampled(_part(scores, min(size, resamples - start), seed, number), order, starts)
            for number, start in enumerate(range(0, resamples, size))
        ]
    )
    found = found[np.isfinite(found)]
    if not len(found):
        return None, None
    low, high = np.quantile(found, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A batch of b resamples, with the sums that do not depend on x.

    Attributes:
        counts: Number of times that each pair is in each resample, float32 or float64 (n, b).
        weighted: That count times the rank of the pair's y in the resample, likewise (n, b).
        spread: Σ (rank of y − mean rank)² over the resample, float64 (b,).
        own: Σ count · weighted, float64 (b,).
        cubes: Σ count³, float64 (b,).
    """

    counts: Counts
    weighted: Counts
    spread: Floats
    own: Floats
    cubes: Floats


@lru_cache(maxsize=_KEPT_BLOCKS)
def _part(y: bytes, size: int, seed: int, number: int) -> _Part:
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
    kind = np.float32 if n < _FLOAT32_PAIRS else np.float64
    drawn = np.empty((size, n), kind)
    for row in drawn:
        row[:] = np.bincount(rng.integers(0, n, n), minlength=n)
    counts = np.ascontiguousarray(drawn.T)
    weighted = np.empty_like(counts)
    so_far, spread, own, cubes = np.zeros((4, size))
    spread += float(n) ** 3 / 12
    order, starts = tied(scores)
    for members in np.split(order, starts[1:]):
        in_group = counts[members].sum(axis=0, dtype=np.float64)
        # Tied values share the mean of their ranks.
        weighted[members] = counts[members] * (so_far + (in_group + 1) / 2)
        so_far += in_group
        spread -= in_group * in_group * in_group / 12  # numpy's ** 3 takes ten times as long
    for count, weight in zip(counts, weighted, strict=True):
        wide = count.astype(np.float64)
        own += wide * weight
        cubes += wide * wide * wide
    return _Part(counts, weighted, spread, own, cubes)


def _resampled(part: _Part, order: Places, starts: Places) -> Floats:
    """Return rho of each resample (b,), NaN where it is undefined.

    The rank of x is the cumulative count less (count − 1)/2, with the counts of tied x added up, and Σ rank · weighted
    is summed in these two parts. The spread of the ranks of x is (n³ − Σ count³)/12.

    Args:
        part: Batch of resamples.
        order: Positions of x in ascending order, (n,).
        starts: Start of each group of tied x in ``order``.
    """
    n, size = part.counts.shape
    so_far, together, term = np.zeros((3, size))
    own, cubes = part.own.copy(), part.cubes.copy()
    stops = [*starts[1:].tolist(), n]
    places = order.tolist()
    for start, stop in zip(starts.tolist(), stops, strict=True):
        count, weight = part.counts[places[start]], part.weighted[places[start]]
        if stop - start > 1:
            members = order[start:stop]
            counts, weights = part.counts[members].astype(np.float64), part.weighted[members].astype(np.float64)
            count, weight = counts.sum(axis=0), weights.sum(axis=0)
            own += count * weight - (counts * weights).sum(axis=0)
            cubes += count**3 - (counts**3).sum(axis=0)
        np.add(so_far, count, out=so_far)
        np.multiply(so_far, weight, out=term)
        np.add(together, term, out=together)
    together -= (own - n * (n + 1) / 2) / 2 + n * ((n + 1) / 2) ** 2
    square = part.spread * (float(n) ** 3 - cubes) / 12
    rho = np.full(size, np.nan)
    np.divide(together, np.sqrt(square), out=rho, where=square > 0)
    return rho.clip(-1, 1)
