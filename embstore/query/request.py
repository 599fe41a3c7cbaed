"""Define a request for a metric: the metric, its parameters, and the items that it is computed over."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore.base.errors import UsageError
from embstore.metrics import Metric
from embstore.metrics.transforms import Step, parse_transforms
from embstore.query.item_filter import ItemFilter, WordList
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.sql.limits import NO_LIMITS, Limits

if TYPE_CHECKING:
    from embstore.query.grouping import Grouping, Groups


@dataclass(frozen=True, slots=True)
class Selection:
    """The items that a metric is computed over, and the transforms of their vectors.

    Attributes:
        where: SQL expression over the item columns; None keeps all items.
        sample: Number of items to draw at random, without replacement; None keeps all.
        seed: Random seed of the sample, and of what the metric draws.
        transforms: Names of transforms, applied left to right, each fitted on the selected items.
        limits: Time and memory limits of the evaluation of ``where``.
        words: Words whose items the metric is computed over; None for all.
        by: Column that divides the items into groups, each with rows of its own; None for no groups.
        steps: The transforms, parsed.
    """

    where: str | None = None
    sample: int | None = None
    seed: int = 0
    transforms: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    words: WordList | None = None
    by: "Grouping | None" = None
    steps: tuple[Step, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        if self.sample is not None and self.sample < 1:
            raise UsageError(f"sample must be at least 1, not {self.sample}.")
        check_seed(self.seed)
        object.__setattr__(self, "steps", parse_transforms(self.transforms))
        object.__setattr__(self, "transforms", tuple(step.name for step in self.steps))

    @property
    def items(self) -> ItemFilter:
        """The filter of the items, before a sample is drawn from them."""
        return ItemFilter(self.where, self.words, self.limits)

    def select(self, catalog: Catalog, space: str) -> Ids | None:
        """Return the selected ids, ascending; None for all. Without a sample, ids of other spaces may be included."""
        chosen = self.items.ids(catalog, [catalog.cards[space]])
        return chosen if self.sample is None else self.draw(stored_ids(catalog, space, chosen))

    def groups(self, catalog: Catalog, space: str, other: str | None = None) -> "Groups | None":
        """Return the groups of the selected items of a space, or of those that it shares with another; None for none.

        Raises:
            UnknownNameError: The column does not exist; lists the nearest.
            UsageError: Intervals are requested for a column that is not of numbers.
            QueryError: The column has more values than there may be groups.
        """
        if self.by is None:
            return None
        kept = self.items.ids(catalog, [catalog.cards[space]])
        ids = stored_ids(catalog, space, kept)
        if other not in (None, space):
            ids = np.intersect1d(ids, stored_ids(catalog, str(other)), assume_unique=True)
        from embstore.query.grouping import divide

        return divide(catalog, space, self.by, self.draw(ids))

    def draw(self, ids: Ids) -> Ids:
        """Draw the random sample from ascending ids, and return it ascending; all ids if they are not more."""
        if self.sample is None or self.sample >= len(ids):
            return ids
        rng = np.random.default_rng(self.seed)
        return np.sort(rng.choice(ids, self.sample, replace=False, shuffle=False))

    def columns(self) -> dict[str, Any]:
        """Return the columns that describe the selection in each row; none if all items are used untransformed."""
        columns: dict[str, Any] = {**self.items.columns()}
        if self.sample is not None:
            columns |= {"sample": self.sample, "seed": self.seed}
        columns |= {"transform": " ".join(self.transforms)} if self.transforms else {}
        return columns if self.by is None else columns | self.by.columns()


@dataclass(frozen=True)
class MetricRequest:
    """A metric, its parameters, and the items that it is computed over.

    Attributes:
        metric: Metric to compute.
        parameters: Parameter name → value, checked by :meth:`Metric.check`.
        selection: Items, and the transforms of their vectors.
    """

    metric: Metric
    parameters: Mapping[str, Any]
    selection: Selection

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the metric's function besides its inputs, with the seed if it takes one."""
        arguments = {p.name: self.parameters[p.name] for p in self.metric.parameters if not p.is_input}
        return arguments | ({"seed": self.selection.seed} if self.metric.is_seeded else {})


def check_seed(seed: int) -> None:
    """Raise UsageError if a random seed is negative."""
    if seed < 0:
        raise UsageError(f"seed must be at least 0, not {seed}.")


def stored_ids(catalog: Catalog, space: str, only: Ids | None = None) -> Ids:
    """Return the ids of the items of a space, ascending; only those in ``only`` if it is given."""
    from embstore.storage.files.vectors import LayerVectors  # loads pyarrow, which summaries do not need

    card = catalog.cards[space]
    return LayerVectors(catalog.shards[space], card.layers.ids[0], card.dim, only).ids()
