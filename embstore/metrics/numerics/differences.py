"""Test whether numbers differ between layers: which units are compared, and for how many tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import numpy as np

from embstore.base.arrays import Float64Array
from embstore.metrics.declaration import Ids

MIN_INTERVAL_UNITS = 10  # below which there is no interval and no test


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
    low: float  # lower limit of the 95 % interval of value
    high: float  # upper limit
    p: float  # two-sided, of no difference
    detectable: float  # difference that would have been found with a probability of .8


def holm(p_values: Float64Array) -> Float64Array:
    """Adjust p-values (m,) for their number by Holm (1979): valid for any dependence. The order is
    kept.
    """
    m = len(p_values)
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(1, np.maximum.accumulate((m - np.arange(m)) * p_values[order]))
    return adjusted
