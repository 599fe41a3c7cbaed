"""Estimate the error of a metric of a set of vectors, by computing it anew in parts of the items:
``ci`` and ``versus``.

The parts are the same in all layers and spaces that are compared, so that the error of a difference
is the difference of the errors. Transforms are fitted on each part.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float64Array, Int64Array, Mask, Positions
from embstore.base.summary import Summary
from embstore.metrics import LayerData, NotComputable, rows_of
from embstore.metrics.declaration import join_reasons, with_scores
from embstore.metrics.decorator import best_columns
from embstore.metrics.inputs import kept_whole
from embstore.metrics.numerics.estimates import (
    GROUPS,
    MIN_GROUPS,
    MORE_NEIGHBOURS,
    ROUNDING,
    Estimate,
    group_errors,
    half_errors,
    halved,
    limited_df,
    whole_copies,
)
from embstore.metrics.numerics.statistics import draw_folds
from embstore.metrics.parts import Parts
from embstore.metrics.significance import AVERAGE, VERSUS, limits_of
from embstore.query.group_layers import MEMORY_BYTES, GroupLayer, fitted, restricted, summaries
from embstore.query.grouping import Group, item_groups
from embstore.query.layer_data import TransformedLayer
from embstore.query.provenance import Row
from embstore.query.request import MetricRequest
from embstore.storage.card import Card
from embstore.storage.catalog import Catalog, Ids

if TYPE_CHECKING:
    from embstore.metrics.transforms import Step

Lists = tuple[Ids, Int64Array, Float64Array]
_NEAR = 20  # neighbours by whose number an item weighs in the errors from halves
_CARRYING = 1 / 5  # share of the items that carry these, which is their degrees of freedom
# Items that must carry the variance for an interval: a quarter, of Gaussian ones a third do, or 150
_LEAST_SHARE, _LEAST_CARRYING = 1 / 4, 150


def estimated(request: MetricRequest) -> MetricRequest:
    """Return the request with the columns of intervals, and of differences if they are asked for.

    Raises:
        UsageError: There is no valid interval with these parameters, or some have no effect.
    """
    metric, values = request.metric, request.parameters
    assert metric.parts is not None
    parts = metric.parts
    if parts.check is not None:
        parts.check(values)
    [ci] = (parameter for parameter in metric.parameters if parameter.name == "ci")
    added = {column.name for column in (*ci.columns, *VERSUS.columns)}
    limits = limits_of(parts)
    columns = []
    for column in metric.columns:
        if column.name in added:
            continue
        names = limits.get(column.name, ())
        columns.append(replace(column, interval=names, shown=True) if names else column)
        columns += [limit for limit in ci.columns if limit.name in names]
    best = parts.column if values["versus"] == "best" else None
    if values["versus"] is not None:
        columns += VERSUS.columns
    columns += best_columns(best)
    of_average = {parameter.name for parameter in AVERAGE}  # with which `versus` has more columns
    parameters = [parameter for parameter in metric.parameters if parameter.name not in of_average]
    divided = f"{parts.parts} of the items{kept_whole(values['group'])}"
    metric = replace(
        metric,
        columns=tuple(columns),
        drawn_values=(parts.column, *metric.chart.values),
        parameters=(*parameters, VERSUS),
        best=best,
        drawn=lambda _: f"{' and '.join(limits)}: intervals from random {divided}",
    )
    return replace(request, metric=metric)


@dataclass(frozen=True)
class Estimator:
    """The errors of a metric of some items, from the same parts of these in all layers.

    Attributes:
        ids: Item ids, int64 (n,), ascending.
        clusters: Number of the cluster of each item, which is divided by no part: its group, the
            sentence of an occurrence, or the item itself; int64 (n,), from 0.
        noun: What the clusters are called.
        steps: Transforms that are fitted on each part.
    """

    request: MetricRequest
    ids: Ids
    clusters: Positions
    noun: str
    steps: "Sequence[Step]"

    @classmethod
    def of(
        cls, catalog: Catalog, request: MetricRequest, card: Card, ids: Ids, steps: "Sequence[Step]"
    ) -> "Estimator":
        """Return the estimator for items of a space: clusters have the same numbers in each."""
        column = request.parameters["group"]
        clusters = item_groups(catalog, card, ids, column)
        if clusters is None:
            return cls(request, ids, np.arange(len(ids)), "items", steps)
        noun = "sentences" if column is None else "groups"
        return cls(request, ids, _in_order(clusters), noun, steps)

    def with_errors(self, row: Row, data: LayerData | NotComputable) -> Row:
        """Return a row with the intervals of its numbers, and the estimate that is compared.

        Args:
            row: Row of all of the items.
            data: Vectors of the layer; transforms that are fitted on each part are undone.
        """
        if self.steps and isinstance(data, TransformedLayer):
            data = data.layer
        parts = self._parts
        row = {**dict.fromkeys(self.request.metric.empty(0, "")), **row, "seed": None}
        if "grouped_by" in row:
            row["grouped_by"] = self.request.parameters["group"]
        if row[parts.column] is None or isinstance(data, NotComputable):
            return row
        try:
            values = self._on_scale(row)
            source = _Source(data, self.ids, self.steps, parts)
            clusters, why_whole = whole_copies(self.clusters, source.copies())
            estimator = self
            if why_whole is not None:
                estimator = replace(self, clusters=clusters, noun="different vectors")
            errors, df = estimator._errors(source, row)  # noqa: SLF001
        except NotComputable as error:
            return row | {"reason": join_reasons(row["reason"], f"interval: {error}")}
        estimates = []
        for column, value, of_number in zip(limits_of(parts), values, errors.T, strict=True):
            bounds = self._bounds(column, source)
            estimate = Estimate(
                self.ids,
                float(value),
                np.empty(0),
                of_number,
                df,
                is_log=parts.is_log,
                bounds=bounds,
            )
            estimates.append(estimate)
            if np.isfinite([value, *of_number]).all():
                row |= zip(limits_of(parts)[column], estimate.interval(), strict=True)
        row |= {"reason": join_reasons(row["reason"], why_whole)}
        return with_scores(row | {"seed": self.request.selection.seed}, estimates[0])

    @property
    def _parts(self) -> Parts:
        assert self.request.metric.parts is not None
        return self.request.metric.parts

    def _on_scale(self, row: Row) -> Float64Array:
        """Return the numbers of a row on the scale of their errors, NaN where there is none."""
        columns = list(limits_of(self._parts))
        values = np.array([np.nan if row[name] is None else row[name] for name in columns])
        if not self._parts.is_log:
            return values
        if values[0] <= 0:
            raise NotComputable(f"{columns[0]} is 0 in a part of the items: it has no logarithm")
        return np.log(np.where(values > 0, values, np.nan))

    def _errors(self, source: "_Source", row: Row) -> tuple[Float64Array, float]:
        """Return the errors of the numbers, float64 (parts, numbers), and degrees of freedom."""
        parts, seed = self._parts, self.request.selection.seed
        n_clusters = int(self.clusters.max(initial=-1)) + 1
        is_grouped = self.noun in ("groups", "sentences")
        least = GROUPS if parts.parts == "groups" or is_grouped else MIN_GROUPS
        if n_clusters < least:
            raise NotComputable(f"fewer than {least} {self.noun}")
        if is_grouped and parts.items_only:
            raise NotComputable(f"none of {parts.column} is valid for whole {self.noun}")
        if parts.parts == "groups":
            folds = draw_folds(self.clusters, GROUPS, [seed, 4])
            numbers = [self._numbers(layer, {}) for layer in source.without_each(folds)]
            errors, df = group_errors(np.stack(numbers))
            if parts.largest is not None:
                source.check_tails()
                if np.linalg.norm(errors[:, 0]) <= ROUNDING:
                    raise NotComputable(f"{parts.column} is the same in all parts of the items")
            weights = np.ones(len(self.ids)) if parts.from_sums else source.square_distances()
            return errors, limited_df(df, np.bincount(self.clusters, weights), GROUPS / n_clusters)
        changed: dict[str, Any] = {}
        if parts.halved is not None and (k := row.get(parts.halved)) is not None:
            changed[parts.halved] = halved(k)

        def number(half: Mask) -> float:
            return float(self._numbers(source.part(half), changed)[0])

        errors, df = half_errors(lambda half: (number(half), number(~half)), self.clusters, seed)
        times_near = np.bincount(self.clusters, source.times_near(_NEAR))
        return errors[:, None], limited_df(df, times_near, _CARRYING)

    def _bounds(self, name: str, source: "_Source") -> tuple[float | None, float | None]:
        """Return the smallest and the largest possible value of a number; those of the population
        are not limited by the number of items.
        """
        [column] = (column for column in self.request.metric.columns if column.name == name)
        if self._parts.largest is None:
            return column.minimum, column.maximum
        n = math.inf if name in self._parts.others else len(self.ids)
        largest = self._parts.largest(n, source.whole.dim, self.request.parameters)
        return column.minimum, largest

    def _numbers(self, layer: LayerData | NotComputable, changed: dict[str, Any]) -> Float64Array:
        """Return the numbers of a part on the scale of the errors; raise NotComputable if the
        first is undefined.
        """
        if isinstance(layer, NotComputable):
            raise layer
        arguments = {**self.request.arguments, **dict(self._parts.arguments), **changed}
        [row] = rows_of(self.request.metric(layer, **arguments))
        if row[self._parts.column] is None:
            raise NotComputable(f"of a part of the items: {row['reason']}")
        return self._on_scale(row)


def _by_item(blocks: Iterable[tuple[Ids, NDArray[Any]]]) -> NDArray[Any]:
    """Return the values of the items in all blocks (n,), in the order of their ids."""
    ids, values = (np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
    return values[np.argsort(ids)]


def _in_order(numbers: Int64Array) -> Positions:
    """Return the number of each item's cluster (n,), from 0 in the order of the first items."""
    _, first, members = np.unique(numbers, return_index=True, return_inverse=True)
    return np.unique(first[members], return_inverse=True)[1]


@dataclass(frozen=True)
class _Source:
    """The vectors of a layer, of which parts are taken."""

    data: LayerData
    ids: Ids
    steps: "Sequence[Step]"
    parts: Parts

    @cached_property
    def layer(self) -> LayerData:
        """The vectors of all items, in memory if they fit."""
        if len(self.ids) * self.data.dim * 8 > MEMORY_BYTES:
            return restricted(self.data, self.ids)
        return GroupLayer(*self.data.gather(self.ids), self.data.dims)

    @cached_property
    def whole(self) -> LayerData:
        """The vectors of all items, after the transforms."""
        layer = self.part(np.ones(len(self.ids), np.bool_))
        if isinstance(layer, NotComputable):
            raise layer
        return layer

    def copies(self) -> Positions:
        """Return the number of the vector of each item (n,), from 0, which equal vectors share."""

        def digests(ids: Ids, block: NDArray[np.floating]) -> tuple[Ids, Int64Array]:
            rows = np.ascontiguousarray(block + block.dtype.type(0))  # which turns -0 into 0
            joined = b"".join(blake2b(row, digest_size=8).digest() for row in rows)
            return ids, np.frombuffer(joined, np.int64)

        return _in_order(_by_item(self.layer.map_with_ids(digests)))

    def square_distances(self) -> Float64Array:
        """Return the squared distance of each vector from their mean (n,)."""
        mean = self.whole.summary.mean
        return _by_item(
            self.whole.map_with_ids(lambda ids, x: (ids, ((x - mean) ** 2).sum(axis=1)))
        )

    def check_tails(self) -> None:
        """Raise NotComputable if so few items carry the variance that its error cannot be told.

        Of a dimension these are (Σ d²)² / Σ d⁴ of the deviations d, n over its kurtosis; over the
        dimensions, n over the mean kurtosis, weighted by the variances.
        """
        mean = self.whole.summary.mean

        def sums_of_powers(block: NDArray[np.floating]) -> Float64Array:
            squares = (block - mean) ** 2
            return np.array([squares.sum(axis=0), (squares**2).sum(axis=0)])

        squares, fourths = np.sum([*self.whole.map(sums_of_powers)], axis=0)
        ratios = fourths[squares > 0] / squares[squares > 0]
        n, carrying = len(self.ids), squares.sum() / ratios.sum()
        least = min(_LEAST_SHARE * n, _LEAST_CARRYING)
        if carrying < least:
            raise NotComputable(
                f"long tails: as few as {carrying:,.1f} of {n:,} items carry the variance, and it"
                f" needs {least:,.0f}"
            )

    def times_near(self, k: int) -> Float64Array:
        """Return how often each item is among the k nearest others of one, (n,), by Euclidean
        distance; equal vectors count once.
        """
        ids, positions, _ = self.whole.neighbours(k, "euclidean", distinct=True)
        times = np.zeros(len(self.ids))
        times[np.searchsorted(self.ids, ids)] = np.bincount(positions.ravel(), minlength=len(ids))
        return times

    def part(self, mask: Mask) -> LayerData | NotComputable:
        """Return the vectors of some of the items, after the transforms."""
        if not isinstance(self.layer, GroupLayer):
            return fitted(restricted(self.data, self.ids[mask]), self.steps)
        part = GroupLayer(self.ids[mask], self.layer.vectors[mask], self.data.dims)
        part.vectors.flags.writeable = False
        if self.parts.parts == "halves" and not self.steps:
            return _PartLayer(part.ids, part.vectors, part.dims, self._lists)
        return fitted(part, self.steps)

    def without_each(self, folds: Positions) -> Iterator[LayerData | NotComputable]:
        """Yield the vectors without each fold; sums of the folds are taken in one pass."""
        if self.steps or not self.parts.from_sums:
            yield from (self.part(folds != fold) for fold in range(GROUPS))
            return
        members = [Group(None, self.ids[folds == fold]) for fold in range(GROUPS)]
        sums = summaries(self.data, members)
        for fold in range(GROUPS):
            others = Summary.sum_of((*sums[:fold], *sums[fold + 1 :]), self.data.dim)
            yield restricted(self.data, self.ids[folds != fold], others)

    @cached_property
    def _lists(self) -> Callable[[int, str, bool], Lists]:
        """The nearest neighbours of all items, so many that nearly always k are in a half."""

        def search(k: int, distance: str, distinct: bool) -> Lists:
            return self.layer.neighbours(2 * k + MORE_NEIGHBOURS, distance, distinct=distinct)

        return cache(search)


@dataclass(frozen=True)
class _PartLayer(GroupLayer):
    """Some of the vectors of a layer, whose neighbours are taken from the lists of all of them."""

    lists: Callable[[int, str, bool], Lists]

    def neighbours(
        self, k: int, distance: str = "cosine", *, distinct: bool = False, only: Ids | None = None
    ) -> Lists:
        """Return the k nearest other items of every item: see :class:`LayerData`.

        Of equal vectors one is taken before the items are divided.
        """
        ids, positions, nearness = self.lists(k, distance, distinct)
        are_members = np.isin(ids, self.ids, assume_unique=True)
        are_near = are_members[positions[are_members]]
        k = max(0, min(k, int(are_members.sum()) - 1))
        if (are_near.sum(axis=1) < k).any():
            return GroupLayer(*self.gather(ids[are_members]), self.dims).neighbours(k, distance)
        are_nearest = are_near & (np.cumsum(are_near, axis=1) <= k)
        near = positions[are_members][are_nearest].reshape(-1, k)
        nearness = nearness[are_members][are_nearest].reshape(-1, k)
        return ids[are_members], (np.cumsum(are_members) - 1)[near], nearness
