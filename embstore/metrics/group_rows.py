"""Make the rows of a metric with a value for each group of vectors: one row per group, or one with their mean."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embstore.metrics.cosine import TOO_FEW, mean_pairwise_cosine
from embstore.metrics.declaration.spec import LayerData, Result
from embstore.metrics.numerics.groups import GroupValues


@dataclass(frozen=True, slots=True)
class Labels:
    """The words for groups and their members in the rows of a metric.

    Attributes:
        value: Name of the column of the value.
        group: Noun for a group, also the name of its column.
        member: Noun for a member of a group.
        undefined: Reason why a group with enough members has no value.
    """

    value: str
    group: str
    member: str
    undefined: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A value to subtract from the value of each group.

    Attributes:
        value: Baseline; NaN if it is undefined.
        undefined: Reason why it is undefined, if it is.
    """

    value: float
    undefined: str

    @classmethod
    def mean_cosine(cls, data: LayerData) -> Self:
        """Return the mean cosine over all pairs of the vectors: the anisotropy."""
        summary = data.summary
        value = mean_pairwise_cosine(summary.n - summary.n_zero, summary.unit_total, summary.unit_square_total)
        return cls(float("nan") if value is None else value, TOO_FEW)


@dataclass(frozen=True, slots=True, eq=False)
class GroupRows:
    """Makes the rows of a metric with one value per group.

    Attributes:
        values: Value and numbers of vectors of each group.
        names: Name of each group.
        minimum: Minimum number of vectors of a group.
        labels: Words for groups and their members.
        baseline: Value to subtract; None for none.
    """

    values: GroupValues
    names: tuple[str, ...]
    minimum: int
    labels: Labels
    baseline: Baseline | None

    def each(self) -> list[Result]:
        """Return a row for each group, with the reason where it has no value."""
        return [self._group(group) for group in range(len(self.names))]

    def each_with_enough(self) -> list[Result]:
        """Return a row for each group with enough vectors; if there is none, one row with the reason."""
        return [self._group(group) for group in np.flatnonzero(self._has_enough()).tolist()] or self.mean()

    def mean(self) -> list[Result]:
        """Return one row: the mean over the groups that have a value, each counted once.

        Its ``n`` counts their vectors; if no group has a value, the vectors of all groups.
        """
        values, has_enough = self.values.value, self._has_enough()
        is_used = has_enough & ~np.isnan(values)
        n_undefined = int(np.count_nonzero(has_enough & np.isnan(values)))
        has_vectors = self.values.n + self.values.n_zero > 0
        reason = f"{_count(n_undefined, self.labels.group)} left out: {self.labels.undefined}" if n_undefined else None
        value = float(values[is_used].mean()) if is_used.any() else None
        if value is None and not n_undefined:
            reason = self._none_has_enough()
        n_groups = (int(np.count_nonzero(is_used)), int(np.count_nonzero(has_vectors & ~is_used)))
        counts = (int(self.values.n[is_used if is_used.any() else has_vectors].sum()), int(self.values.n_zero.sum()))
        return [self._row(None, value, counts, n_groups, reason)]

    def _has_enough(self) -> NDArray[np.bool_]:
        """Return whether each group has the minimum number of vectors, (g,)."""
        return self.values.n >= self.minimum

    def _group(self, group: int) -> Result:
        """Return the row of the group with this number."""
        n, n_zero, value = int(self.values.n[group]), int(self.values.n_zero[group]), float(self.values.value[group])
        reason = None
        if n < self.minimum:
            reason = f"{_count(n, self.labels.member)}, and at least {self.minimum} are needed"
        elif math.isnan(value):
            reason = self.labels.undefined
        is_used = reason is None
        n_groups = (int(is_used), int(not is_used))
        return self._row(self.names[group], value if is_used else None, (n, n_zero), n_groups, reason)

    def _none_has_enough(self) -> str:
        """Return the reason that no group has enough vectors, with the group that has most."""
        reason = f"no {self.labels.group} has {_count(self.minimum, self.labels.member)} or more"
        if not self.values.n.any():
            return reason
        largest = int(self.values.n.argmax())
        return f"{reason}; the most has {self.names[largest]!r}: {self.values.n[largest]}"

    def _row(
        self,
        name: str | None,
        value: float | None,
        counts: tuple[int, int],
        n_groups: tuple[int, int],
        reason: str | None,
    ) -> Result:
        """Return a row with the value, the baseline and their difference, and the numbers of groups and vectors.

        Args:
            name: Name of the group; None for the mean over groups.
            value: Value, if it is defined.
            counts: Numbers of vectors used and of zero vectors.
            n_groups: Numbers of groups with and without a value.
            reason: Reason if there is no value, or if groups were omitted.
        """
        baseline = None if self.baseline is None or math.isnan(self.baseline.value) else self.baseline.value
        if self.baseline is not None and baseline is None:
            reason = "; ".join(filter(None, (reason, f"baseline: {self.baseline.undefined}")))
        return {
            self.labels.group: name,
            self.labels.value: value,
            "baseline": baseline,
            "adjusted": None if baseline is None or value is None else value - baseline,
            f"n_{self.labels.group}s": n_groups[0],
            f"n_{self.labels.group}s_left_out": n_groups[1],
            "n": counts[0],
            "n_zero": counts[1],
            "reason": reason,
        }


def _count(n: int, noun: str) -> str:
    """Return a number with its noun, as in "1 word" and "2 words"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
