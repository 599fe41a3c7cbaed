"""The rows of a result that has a value for each group of vectors: one for each group, or one with their mean."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

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
    """A value that is subtracted from the value of each group; NaN, with the reason, if it is undefined.

    Attributes:
        value: Baseline, or NaN.
        undefined: Reason for NaN.
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
        found: Value of each group.
        names: Name of each group.
        minimum: Minimum number of vectors of a group.
        labels: Words for groups and their members.
        baseline: Value to subtract; None for none.
    """

    found: GroupValues
    names: tuple[str, ...]
    minimum: int
    labels: Labels
    baseline: Baseline | None

    def each(self) -> list[Result]:
        """Return a row for each group, with the reason where it has no value."""
        return [self._group(group) for group in range(len(self.names))]

    def each_with_enough(self) -> list[Result]:
        """Return a row for each group with enough vectors; where none has, the one row that says so."""
        return [self._group(group) for group in np.flatnonzero(self._enough()).tolist()] or self.mean()

    def mean(self) -> list[Result]:
        """Return one row: the mean over the groups that have a value, each counted once.

        Its ``n`` counts their vectors; where no group has a value, those that were looked at.
        """
        values = self.found.value
        used = self._enough() & ~np.isnan(values)
        n_lost = int(np.count_nonzero(self._enough() & np.isnan(values)))
        seen = self.found.n + self.found.n_zero > 0
        reason = f"{_count(n_lost, self.labels.group)} left out: {self.labels.undefined}" if n_lost else None
        value = float(values[used].mean()) if used.any() else None
        if value is None and not n_lost:
            reason = self._none_has_enough()
        n_left_out = int(np.count_nonzero(seen & ~used))
        counts = (int(self.found.n[used if used.any() else seen].sum()), int(self.found.n_zero.sum()))
        return [self._row(None, value, counts, (int(np.count_nonzero(used)), n_left_out), reason)]

    def _enough(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return self.found.n >= self.minimum

    def _group(self, group: int) -> Result:
        n, n_zero, value = int(self.found.n[group]), int(self.found.n_zero[group]), float(self.found.value[group])
        reason = None
        if n < self.minimum:
            reason = f"{_count(n, self.labels.member)}, and at least {self.minimum} are needed"
        elif math.isnan(value):
            reason = self.labels.undefined
        used = reason is None
        return self._row(self.names[group], value if used else None, (n, n_zero), (int(used), int(not used)), reason)

    def _none_has_enough(self) -> str:
        reason = f"no {self.labels.group} has {_count(self.minimum, self.labels.member)} or more"
        if not self.found.n.any():
            return reason
        most = int(self.found.n.argmax())
        return f"{reason}; the most has {self.names[most]!r}: {self.found.n[most]}"

    def _row(
        self,
        name: str | None,
        value: float | None,
        counts: tuple[int, int],
        n_groups: tuple[int, int],
        reason: str | None,
    ) -> Result:
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
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
