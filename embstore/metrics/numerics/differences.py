"""Test whether scores differ between layers: paired resamples, comparison with the best.

The layers are scored on the same units (pairs, questions or items), so that one set of resamples
serves all of them, and a difference is that within each resample.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self, TypeVar

import numpy as np

from embstore.base.arrays import Float64Array
from embstore.metrics.declaration import Ids, Result, with_scores
from embstore.metrics.numerics import statistics

# With fewer units, so few resamples are distinct that the ends of the interval lie on a coarse
# grid.
MIN_INTERVAL_UNITS = 10
_LEVEL = 0.95
_ROUNDING = (
    1e-12  # of scores, up to which they are equal: few pairs have few different correlations
)
# of a two-sided test at the level .05 with a power of .8: the quantiles of .975 and .8
_POWER = 2.801585


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What a layer's number is made of: a value of each unit, as the cosine of a pair, and what it
    is held against.
    """

    units: Ids  # number or item id of each, int64 (n,), ascending
    values: Float64Array  # of each unit, float64 (n,); NaN where it is undefined
    # Mean of the values, or their correlation with gold.
    statistic: Literal["mean", "pearson", "spearman"]
    gold: Float64Array | None = (
        None  # what they are held against, float64 (n,), NaN where missing; None for a mean
    )
    error: Float64Array | float = (
        0.0  # bound on the rounding error of each value (n,), or of all: these share a rank
    )
    known: Float64Array | None = (
        None  # the statistic in each resample of the units with a value, if it is known
    )

    def restricted(self, units: Ids) -> "Scores":
        """Return the scores of some of the units, ascending."""
        if np.array_equal(units, self.units):
            return self
        at = np.searchsorted(self.units, units)
        return replace(
            self,
            units=units,
            values=self.values[at],
            gold=None if self.gold is None else self.gold[at],
            error=self.error if isinstance(self.error, float) else self.error[at],
            known=None,
        )

    @property
    def usable(self) -> Ids:
        """The units that have a value and what it is held against."""
        is_usable = np.isfinite(self.values)
        return self.units[is_usable if self.gold is None else is_usable & np.isfinite(self.gold)]

    def why_undefined(self, few: str, values: str, gold: str) -> str | None:
        """Return why there is no correlation, given what fewer than two units are, and nouns for
        the two sides.
        """
        assert self.gold is not None
        if len(self.units) < 2:
            return f"fewer than two {few}"
        errors = np.broadcast_to(self.error, self.values.shape)
        low, high = self.values.argmin(), self.values.argmax()
        if self.values[high] - self.values[low] <= errors[high] + errors[low]:
            return f"{values} are all equal"
        return f"{gold} are all equal" if np.ptp(self.gold) == 0 else None

    def with_interval(self, row: Result, resamples: int, seed: int, noun: str) -> Result:
        """Return the row of a rank correlation with its interval by the bootstrap, or the reason
        why there is none.
        """
        if resamples == 0:
            return with_scores(row | {"reason": "interval: not asked for (resamples 0)"}, self)
        if len(self.units) < MIN_INTERVAL_UNITS:
            return with_scores(
                row | {"reason": f"interval: fewer than {MIN_INTERVAL_UNITS} {noun}"}, self
            )
        resampled = self.resampled(resamples, seed)
        low, high = statistics.percentile_interval(resampled)
        return with_scores(
            row | {"low": low, "high": high, "seed": seed}, replace(self, known=resampled)
        )

    @property
    def value(self) -> float:
        """The statistic; all units must be usable."""
        if self.gold is None:
            return float(self.values.mean())
        if self.statistic == "spearman":
            return statistics.pearson(
                statistics.ranks(self.values, self.error), statistics.ranks(self.gold)
            )
        return statistics.pearson(self.values, self.gold)

    def resampled(self, resamples: int, seed: int) -> Float64Array:
        """Return the statistic in each resample (resamples,) of the units."""
        if self.known is not None and len(self.known) == resamples:
            return self.known
        if self.gold is None:
            return statistics.resampled_means(self.values, resamples, seed)
        if self.statistic == "spearman":
            return statistics.resampled_spearman(
                self.values, self.gold, resamples, seed, self.error
            )
        return statistics.resampled_pearson(self.values, self.gold, resamples, seed)


class _OfUnits(Protocol):
    """Something that is made of units, and can be restricted to some of them."""

    @property
    def usable(self) -> Ids: ...

    def restricted(self, units: Ids) -> Self: ...


S = TypeVar("S", bound=_OfUnits)


def common_units(scores: Sequence[S]) -> list[S]:
    """Return the scores of several layers restricted to the units that are usable in all of
    them.
    """
    units = scores[0].usable
    for each in scores[1:]:
        units = np.intersect1d(units, each.usable, assume_unique=True)
    return [each.restricted(units) for each in scores]


@dataclass(frozen=True, slots=True)
class Difference:
    """A layer compared with a reference."""

    value: float  # score of the layer minus that of the reference
    low: float | None  # lower limit of the 95 % interval of value; None without resamples
    high: float | None  # upper limit
    # Two-sided, of no difference, in (0, 1]; against the best layer one-sided, of being as good.
    p: float | None
    detectable: float | None  # difference that would have been found with a probability of .8
    best_share: float | None = (
        None  # share of the resamples in which the layer has the highest score of all
    )


def compare_resamples(
    scores: Float64Array, resampled: Float64Array, reference: int | None
) -> list[Difference]:
    """Compare each of several layers with one of them, or with the best.

    Against one layer, p = 2 min(1 + #{d* ≤ 0}, 1 + #{d* ≥ 0}) / (B + 1) over the differences d* in
    the resamples, at most 1 (Davison & Hinkley 1997, sections 4.4 and 5). Against the best, the
    statistic is max θ − θ of the layer, and its distribution under equality that of max(θ* − θ) −
    (θ* − θ) of the layer (Hsu 1984: comparison with the best), which accounts for the choice of the
    maximum. Numbers that differ by rounding, up to 1e-12, are taken for equal.

    Args:
        scores: Scores θ, float64 (layers,).
        resampled: Scores θ* in each resample, float64 (layers, B); those in which any is NaN are
            omitted.
        reference: Position of the layer to compare with; None for the best.
    """
    resampled = resampled[:, np.isfinite(resampled).all(axis=0)]
    n_resamples = resampled.shape[1]
    target = int(scores.argmax()) if reference is None else reference
    values = scores - scores[target]
    if not n_resamples:
        return [Difference(float(value), None, None, None, None) for value in values]
    is_best = resampled >= resampled.max(axis=0) - _ROUNDING
    shares = (is_best / is_best.sum(axis=0)).mean(axis=1)
    deviations = resampled - scores[:, None]
    lead = deviations.max(axis=0) - deviations
    found = []
    for layer, value in enumerate(values.tolist()):
        differences = resampled[layer] - resampled[target]
        low, high = np.quantile(differences, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]).tolist()
        if reference is None:
            p = (1 + int(np.count_nonzero(lead[layer] >= -value - _ROUNDING))) / (n_resamples + 1)
        else:
            tails = [
                1 + int(np.count_nonzero(each))
                for each in (differences <= _ROUNDING, differences >= -_ROUNDING)
            ]
            p = min(1.0, 2 * min(tails) / (n_resamples + 1))
        detectable = _POWER * float(differences.std(ddof=1)) if n_resamples > 1 else None
        found.append(Difference(value, low, high, p, detectable, float(shares[layer])))
    return found


def holm(p_values: Float64Array) -> Float64Array:
    """Adjust p-values (m,) for their number by Holm (1979): valid for any dependence. The order is
    kept.
    """
    m = len(p_values)
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(1, np.maximum.accumulate((m - np.arange(m)) * p_values[order]))
    return adjusted
