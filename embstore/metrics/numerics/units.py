"""Estimate means and correlations of units, such as pairs, with an error from each of these.

The errors are those of the jackknife, so that a mean has the interval of Student's t, and the
difference of two means of the same units the paired t test. Correlations are Fisher's z.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from embstore.base.arrays import Float64Array
from embstore.metrics.declaration import Ids, NotComputable, Result, with_scores
from embstore.metrics.numerics.estimates import MIN_GROUPS, Estimate, group_errors
from embstore.metrics.numerics.statistics import pearson, ranks

_CLOSE = 1 - 1e-12  # to 1, of a correlation: Fisher's z of 1 is infinite


def mean_of(units: Ids, values: Float64Array, *, are_shares: bool = False) -> Estimate:
    """Return the mean of the units' values.

    Args:
        units: Number or item id of each, int64 (n,), ascending.
        values: Of each unit, float64 (n,).
        are_shares: Whether the values are 0 or 1: the error of a difference is then no less than
            that without one, as in McNemar (1947), since few units differ.
    """
    n = len(units)

    def of_some(some: Ids) -> Estimate:
        return mean_of(some, values[np.searchsorted(units, some)], are_shares=are_shares)

    errors, df = group_errors((values.sum() - values) / (n - 1)) if n > 1 else (np.empty(0), 0)
    value = float(values.mean()) if n else math.nan
    contributions = values if are_shares else np.empty(0)
    return Estimate(units, value, contributions, errors, df, of_some, of_units=True)


@dataclass(frozen=True, slots=True, eq=False)
class Correlation:
    """A correlation of values of units, such as the cosines of pairs, with other values, such as
    scores.
    """

    units: Ids  # number or item id of each, int64 (n,), ascending
    values: Float64Array  # of each unit, float64 (n,)
    gold: Float64Array  # what they are compared with, float64 (n,)
    kind: Literal["pearson", "spearman"]
    # Bound on the rounding error of each value (n,): those that differ by no more share a rank.
    error: Float64Array
    # What fewer than two units are, and nouns for the two sides.
    nouns: tuple[str, str, str]

    def why_undefined(self) -> str | None:
        """Return why there is no correlation."""
        few, values, gold = self.nouns
        if len(self.units) < 2:
            return f"fewer than two {few}"
        low, high = self.values.argmin(), self.values.argmax()
        if self.values[high] - self.values[low] <= self.error[high] + self.error[low]:
            return f"{values} are all equal"
        return f"{gold} are all equal" if np.ptp(self.gold) == 0 else None

    @property
    def _sides(self) -> tuple[Float64Array, Float64Array]:
        """What is correlated linearly: the values, or their ranks."""
        if self.kind == "pearson":
            return self.values, self.gold
        return ranks(self.values, self.error), ranks(self.gold)

    @property
    def value(self) -> float:
        """The correlation, if it is not undefined."""
        return pearson(*self._sides)

    def restricted(self, units: Ids) -> Estimate:
        """Return the estimate of some of the units, ascending; raise NotComputable if it is
        undefined.
        """
        places = np.searchsorted(self.units, units)
        some = replace(
            self,
            units=units,
            values=self.values[places],
            gold=self.gold[places],
            error=self.error[places],
        )
        if reason := some.why_undefined():
            raise NotComputable(reason)
        return some.estimate()

    def estimate(self) -> Estimate:
        """Return Fisher's z of the correlation, with an error from each unit; infinite without
        errors for 1 and -1.
        """
        r = self.value
        if abs(r) > _CLOSE:
            value, errors = math.copysign(math.inf, r), np.zeros(len(self.units))
        else:
            errors_of = _pearson_errors if self.kind == "pearson" else _spearman_errors
            value, errors = math.atanh(r), errors_of(*self._sides, r)
        df = len(errors) - 1
        return Estimate(
            self.units, value, np.empty(0), errors, df, self.restricted, is_z=True, of_units=True
        )


def with_interval(row: Result, estimate: Estimate, noun: str) -> Result:
    """Return the row of a mean or correlation with its interval, or the reason why there is
    none.
    """
    if len(estimate.units) < MIN_GROUPS:
        added: Result = {"reason": f"interval: fewer than {MIN_GROUPS} {noun}"}
    elif not math.isfinite(estimate.value):
        added = {"reason": "interval: the correlation is 1 or -1"}
    else:
        added = dict(zip(("low", "high"), estimate.interval(), strict=True))
    return with_scores(row | added, estimate)


def _pearson_errors(x: Float64Array, y: Float64Array, r: float) -> Float64Array:
    """Return the errors of Fisher's z of Pearson's r: computed anew without each unit (jackknife).

    Where all spread is that of one unit, it counts as 0 without it.
    """
    x, y = x - x.mean(), y - y.mean()
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    factor = len(x) / (len(x) - 1)
    square = (1 - factor * x * x) * (1 - factor * y * y)
    without = np.zeros(len(x))
    np.divide(r - factor * x * y, np.sqrt(square.clip(0)), out=without, where=square > 1e-30)
    return group_errors(np.arctanh(without.clip(-_CLOSE, _CLOSE)))[0]


def _spearman_errors(x: Float64Array, y: Float64Array, r: float) -> Float64Array:
    """Return the errors of Fisher's z of Spearman's rho of ranks x and y: what each unit adds to
    it, and to the ranks of the others (infinitesimal jackknife: Efron 1982, The Jackknife, the
    Bootstrap and Other Resampling Plans, chapter 6).
    """
    n = len(x)
    spread_x, spread_y = x.std(), y.std()
    u, v = (x - x.mean()) / spread_x, (y - y.mean()) / spread_y
    added = u * v - r * (u * u + v * v) / 2
    added += _above(x, v - r * u) / spread_x + _above(y, u - r * v) / spread_y
    errors: Float64Array = (added - added.mean()) / (1 - r * r) / math.sqrt(n * (n - 1))
    return errors


def _above(rank: Float64Array, weights: Float64Array) -> Float64Array:
    """Return the sum of the weights of the units above each, and half of those with its rank."""
    _, groups = np.unique(rank, return_inverse=True)
    sums = np.bincount(groups, weights)
    total: Float64Array = sums.sum() - np.cumsum(sums) + sums / 2
    return total[groups]
