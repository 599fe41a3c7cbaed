"""Estimate the error of a number that the items make together, where to resample them would
understate it.

Whether an item is classified rightly depends on its neighbours, or on the items that a probe was
fitted to: items are not independent, and a bootstrap over them gives p-values that are too small.
Here a number is computed anew in parts of the items, the same parts in all layers, so that the
error of a difference is the difference of the errors.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import cast

import numpy as np

from embstore.base.arrays import Float64Array, Int64Array, Mask, Positions
from embstore.metrics.declaration import Ids, NotComputable, Result
from embstore.metrics.numerics.statistics import NORMAL_QUANTILE

MIN_GROUPS = 10  # independent items or units below which there is no interval and no test
SPLITS = 50  # into halves; twice as many below 100 items, where a half says less
_FEW = 100
MORE_NEIGHBOURS = 40  # in a list of 2 k + these, nearly always k are in a half
_LEAST_NEIGHBOURS = 3
_LEVEL, _POWER = 0.95, 0.8
ROUNDING = 1e-12  # of a number, up to which two are equal
GROUPS = 20  # of the jackknife
_MANY_COPIES = 1.05  # items that have the vector of an item, on average, above which they are many


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A number of a layer, with its errors in parts of the items."""

    units: Ids  # item ids, int64 (n,), ascending
    value: float  # on the scale of the errors
    # Of each item, float64 (n,): their mean is the value; (0,) if it is no mean.
    contributions: Float64Array
    # of each part, float64 (parts,): the sum of squares is the squared standard error
    errors: Float64Array
    df: float  # degrees of freedom of the standard error
    # Of some of the items; None where all layers have the same.
    recompute: "Callable[[Ids], Estimate] | None" = None
    is_log: bool = False  # whether the value is a logarithm
    is_z: bool = False  # whether the value is Fisher's z of a correlation
    of_units: bool = False  # whether the parts are independent units, each with an error
    # Number of each item's cluster, (n,), of which no part divides one; None: each its own.
    clusters: Positions | None = None
    bounds: tuple[float | None, float | None] = (None, None)  # what the number can be

    def number(self, value: float) -> float:
        """Return the number that has a value on the scale of the errors, within its bounds."""
        if self.is_log:
            value = math.exp(value)
        elif self.is_z:
            value = math.tanh(value)
        return float(np.clip(value, *self.bounds))

    def restricted(self, units: Ids) -> "Estimate":
        """Return the number of some of the items, ascending: computed anew, since it depends on all
        of them.
        """
        if np.array_equal(units, self.units):
            return self
        assert self.recompute is not None
        return self.recompute(units)

    def standard_error(self, expected: float) -> float:
        """Return the standard error: from the parts, or that of independent items, or clusters, if
        it is larger.

        Args:
            expected: Mean that the contributions deviate from: the value, or 0 of a difference
                under test, as in McNemar (1947).
        """
        deviations = self.contributions - expected
        if self.clusters is not None:
            deviations = np.bincount(self.clusters, deviations).astype(np.float64)
        independent = float(np.linalg.norm(deviations)) / len(self.units)
        return max(float(np.linalg.norm(self.errors)), independent)

    @property
    def _quantile(self) -> float:
        """Quantile of .975 of Student's t."""
        from scipy.special import stdtrit  # slow to import

        return float(stdtrit(self.df, (1 + _LEVEL) / 2))

    def _around(self, error: float) -> tuple[float, float]:
        """Return the limits of the 95 % interval of the value, given its standard error."""
        half = self._quantile * error
        return self.value - half, self.value + half

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the number by Student's t on the scale of the errors."""
        low, high = self._around(self.standard_error(self.value))
        return self.number(low), self.number(high)

    def r2_interval(self) -> tuple[float, float]:
        """Return the 95 % interval of R² by Student's t, with an error of no less than 2/n.

        That is the standard deviation of R² of unrelated numbers for two predictors: where there is
        nothing to predict, most sets of folds have nearly the same R² of 0, and their spread says
        little.
        """
        low, high = self._around(max(self.standard_error(self.value), 2 / len(self.units)))
        return low, min(1.0, high)

    def share_interval(self) -> tuple[float, float]:
        """Return the 95 % interval of a share by Korn & Graubard (1998, Survey Methodology 24).

        It is that of Clopper & Pearson (1934) of as many independent items as have this error,
        fewer for few degrees of freedom.
        """
        from scipy.special import betaincinv  # slow to import

        n = len(self.units)
        # Of a share of 1, errors say nothing of those that were not seen.
        share = (n * self.value + 1) / (n + 2)
        error = self.standard_error(self.value)
        n_effective = min(n, share * (1 - share) / error**2) if error else n
        n_effective *= (NORMAL_QUANTILE / self._quantile) ** 2
        right, wrong = self.value * n_effective, (1 - self.value) * n_effective
        low = float(betaincinv(right, wrong + 1, (1 - _LEVEL) / 2)) if right else 0.0
        high = float(betaincinv(right + 1, wrong, (1 + _LEVEL) / 2)) if wrong else 1.0
        return low, high


def common_units(estimates: Sequence[Estimate]) -> list[Estimate]:
    """Return the numbers of several layers restricted to the units that all of them are of."""
    units = reduce(np.intersect1d, [estimate.units for estimate in estimates])
    return [estimate.restricted(units) for estimate in estimates]


@dataclass(frozen=True, slots=True)
class Difference:
    """A layer compared with a reference."""

    value: float  # score of the layer minus that of the reference
    low: float  # lower limit of the 95 % interval of value
    high: float  # upper limit
    p: float  # two-sided, of no difference
    detectable: float  # difference that would have been found with a probability of .8


def compare_estimates(first: Estimate, second: Estimate) -> Difference:
    """Test the difference of two numbers of the same items, with errors in the same parts, by
    Student's t.

    It is tested on the scale of the errors: of logarithms that is the ratio, of correlations the
    difference of Fisher's z. Its limits are given as differences of two numbers that differ so on
    that scale, with the same mean on it as both have: they exclude 0 exactly if it does.
    """
    from scipy.special import stdtr, stdtrit  # slow to import

    difference = first.value - second.value
    paired = Estimate(
        first.units,
        difference,
        first.contributions - second.contributions,
        first.errors - second.errors,
        min(first.df, second.df),
        clusters=second.clusters if first.clusters is None else first.clusters,
    )
    error = paired.standard_error(0.0)
    centre = (first.value + second.value) / 2

    def shown(value: float) -> float:
        if not (first.is_log or first.is_z):
            return value
        return first.number(centre + value / 2) - second.number(centre - value / 2)

    rounding = ROUNDING * max(1.0, abs(first.value))
    if error <= rounding:
        are_equal = abs(difference) <= rounding
        value = shown(difference)
        return Difference(value, value, value, float(are_equal), 0.0)
    quantile, power = stdtrit(paired.df, [(1 + _LEVEL) / 2, _POWER]).tolist()
    p = 2 * float(stdtr(paired.df, -abs(difference) / error))
    half = quantile * error
    detectable = (quantile + power) * error
    low, high = shown(difference - half), shown(difference + half)
    return Difference(shown(difference), low, high, p, shown(detectable))


def estimate_of(result: Result) -> Estimate:
    """Return the estimate that a row was made of; raise NotComputable with the row's reason if it
    has none.
    """
    if "scores" not in result:
        raise NotComputable(str(result["reason"]))
    return cast("Estimate", result["scores"])


def halved(k: int) -> int:
    """Return the number of neighbours in half of the items: half of k, but three if k has as
    many.
    """
    return min(k, max(_LEAST_NEIGHBOURS, k // 2))


def limited_df(df: float, weights: Float64Array | Int64Array, share: float) -> float:
    """Return degrees of freedom of an error, at most a share of the items that carry it.

    These are (Σ w²)² / Σ w⁴, all of them if their weights are equal: Student's t with as many
    degrees of freedom as there are parts takes all items to contribute alike.

    Args:
        df: Degrees of freedom of items that contribute alike.
        weights: Weight of each item, or cluster of items, in the error, float64 (n,).
        share: Share of the items that carry the error.
    """
    squares = weights.astype(np.float64) ** 2
    fourth = float(squares @ squares)
    return max(1.0, min(df, share * float(squares.sum()) ** 2 / fourth)) if fourth else df


def whole_copies(clusters: Positions, copies: Positions) -> tuple[Positions, str | None]:
    """Return the clusters that no part divides; and the reason why, if these are equal vectors.

    Equal vectors in different parts would say nothing of new items. Where items come in clusters
    already, these are kept.

    Args:
        clusters: Number of the cluster of each item, from 0, int64 (n,).
        copies: Number of the vector of each item, from 0, which equal vectors share, int64 (n,).
    """
    sizes = np.bincount(copies)
    is_divided = int(clusters.max(initial=-1)) + 1 == len(clusters)
    if not is_divided or (sizes**2).sum() <= _MANY_COPIES * len(copies):
        return clusters, None
    n_copies = int(sizes[sizes > 1].sum())
    return copies, f"interval: {n_copies:,} items have a vector that others have too"


def half_errors(
    values: Callable[[Mask], tuple[float, float]], groups: Positions, seed: int
) -> tuple[Float64Array, float]:
    """Return errors of a number from random halves of the items, and their degrees of freedom.

    The number of a half varies twice as much as that of all items, if its variance is inverse to
    their number, and half the squared difference of two halves estimates it. e = (T(A) − T(Aᶜ)) /
    (2√S) in each of S splits; the squared standard error is Σ e² (the random-halves estimate of
    McCarthy 1969, Review of the International Statistical Institute 37, without strata).

    Args:
        values: Function from a mask of the items of a half, bool (n,), to the number in it and in
            the other half.
        groups: Number of the group of each item, from 0, int64 (n,): none is divided.
        seed: Random seed of the splits.
    """
    n_groups = int(groups.max()) + 1
    n_splits = SPLITS if n_groups >= _FEW else 2 * SPLITS
    rng = np.random.default_rng([seed, 3])
    differences = np.empty(n_splits)
    for split in range(n_splits):
        first, second = values((rng.permutation(n_groups) < n_groups // 2)[groups])
        differences[split] = first - second
    return differences / (2 * math.sqrt(n_splits)), 1 / (1 / n_splits + 1 / (n_groups - 1))


def group_errors(numbers: Float64Array) -> tuple[Float64Array, float]:
    """Return errors of numbers from the jackknife, and their degrees of freedom.

    e_j = (T without group j − mean of these) √((g − 1)/g) of g groups; the squared standard error
    is Σ e² (delete-a-group jackknife: Shao & Tu 1995, The Jackknife and Bootstrap, section 2.3).

    Args:
        numbers: Numbers T of all items but those of one group, float64 (g, ...).
    """
    n_groups = len(numbers)
    errors = (numbers - numbers.mean(axis=0)) * math.sqrt((n_groups - 1) / n_groups)
    return errors, n_groups - 1


def fold_estimate(
    units: Ids,
    gains: Float64Array,
    totals: Float64Array,
    folds: Positions,
    recompute: Callable[[Ids], Estimate],
    *,
    inflation: float = 1.0,
    clusters: Positions | None = None,
) -> Estimate:
    """Return a ratio Σ gains / Σ totals of predictions in repeated folds, with errors from the
    folds.

    Folds share the items that they are fitted to, which is why the variance of their mean is not
    s²/J but (1/J + n_test/n_fitted) s² (Nadeau & Bengio 2003, Machine Learning 52, section 3), with
    J − 1 degrees of freedom.

    Args:
        units: Item ids, int64 (n,), ascending.
        gains: Numerator of each item in each repeat, float64 (repeats, n): 1 if it was predicted
            rightly.
        totals: Denominator, likewise.
        folds: Fold of each item in each repeat, from 0, int64 (repeats, n).
        recompute: Function that computes the estimate of some of the items.
        inflation: Factor of the variance.
        clusters: Number of the cluster of each item, from 0, int64 (n,): no fold divides one.
    """
    value = float(gains.sum() / totals.sum())
    deviations = (gains - value * totals) / totals.mean()
    n_folds = int(folds.max()) + 1
    fold_size = len(units) / n_folds
    of_folds = [
        np.bincount(numbers, weights, n_folds) / fold_size
        for numbers, weights in zip(folds, deviations, strict=True)
    ]
    errors = np.concatenate(of_folds)
    n_parts = len(errors)
    errors *= math.sqrt(inflation * (1 / n_parts + 1 / (n_folds - 1)) / (n_parts - 1))
    contributions = value + deviations.mean(axis=0)
    return Estimate(units, value, contributions, errors, n_parts - 1, recompute, clusters=clusters)
