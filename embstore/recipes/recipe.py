"""Define a recipe: the models, sources, spaces, measures and published numbers of a paper.

The data classes have the keys of the recipe's TOML file. No file is read and no model is run here:
:mod:`.recipe_file` reads recipes, :mod:`.protocol` plans their builds and queries, and :mod:`.reproduce` runs them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from embstore.base.space import Pooling, Template, Unit

BEST, ALL = "best", "all"


class Relation(StrEnum):
    """Expected relation of a measured number to a published one, or of a trend over layers."""

    EQUAL = "="
    ABOUT = "~="
    BELOW = "<"
    AT_MOST = "<="
    ABOVE = ">"
    AT_LEAST = ">="
    FALLING = "falling"
    RISING = "rising"

    @property
    def is_upper(self) -> bool:
        """Whether the published number is an upper bound."""
        return self in (Relation.BELOW, Relation.AT_MOST)

    @property
    def is_trend(self) -> bool:
        """Whether the relation is a trend over the layers, without a published number."""
        return self in (Relation.FALLING, Relation.RISING)


class Verdict(StrEnum):
    """Result of the comparison of a measured number with a published one."""

    HIT = "hit"
    MISS = "miss"
    NOT_PUBLISHED = "not published"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Source:
    """A source of texts for spaces: datasets or files.

    Attributes:
        quick: Subset of ``datasets`` for a quick run.
        quick_texts: Maximum number of texts in a quick run; None for all. Spaces of a limited source have separate
            names, and contain no dataset in full.
        per_text: Number of words to sample from each sentence, for occurrences; None for all.
        own_per_text: The same for a user's file that replaces the source; None for ``per_text``.
        replaceable: Whether a user's file of sentences may replace the source.
        keep: Columns of its files to store with the items, for ``by`` and ``where``.
    """

    name: str
    datasets: tuple[str, ...]
    quick: tuple[str, ...]
    quick_texts: int | None = None
    per_text: int | None = None
    own_per_text: int | None = None
    replaceable: bool = False
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SpaceSpec:
    """A space to build for each model.

    Attributes:
        name: Last part of the space's name, after recipe and model.
        label: Name of the space in the result.
        source: Name of its source.
        only_bare: Whether to build it only for models whose tokenizer adds no special tokens; for others it would equal
            the space without the template.
        models: Short names of the models to build it for; empty for all.
    """

    name: str
    label: str
    source: str
    unit: Unit
    pooling: Pooling
    template: Template = field(default_factory=Template)
    only_bare: bool = False
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Population:
    """A selection of a space's items: the items of one dataset.

    Attributes:
        left_only: Whether to use only the first text of each pair.
        repeated: Whether a text counts as often as it occurs in the dataset, instead of once.
    """

    dataset: str
    left_only: bool = False
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QuerySpec:
    """What a query computes, of which items of a space.

    Attributes:
        parameters: Parameters of the metric.
        sample: Number of items to sample; None for all.
        where: SQL expression over the item columns; None for all items.
        words: Words whose items are used, as those of ``--words``; empty for all items.
        population: Selection of items; None for all items of the space.
        transforms: Transforms applied to the vectors first.
        by: Column of the items that divides them into groups, as ``--by`` does; None for no groups. There is a number
            for each group, space and layer then.
        bins: Intervals of a column of numbers, as those of ``--bins``; None for a group for each value.
        padding: Name of a space of sentences with the vectors of the padding after them, to include in samples of
            occurrences; empty for none.
    """

    metric: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    sample: int | None = None
    where: str | None = None
    words: tuple[str, ...] = ()
    population: Population | None = None
    transforms: tuple[str, ...] = ()
    by: str | None = None
    bins: str | None = None
    padding: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure(QuerySpec):
    """A figure of the paper: a metric's number for each space and layer.

    Attributes:
        figure: Name of the figure, as in the published numbers.
        help: Description for the user.
        column: Column of the metric's result with the number.
        spaces: Names of the spaces to compute it for.
        variant: Description of a deviating way to measure it; empty for the standard way.
        datasets: Datasets that must be embedded in full.
        band: Tolerance: maximum absolute difference from a published number.
        relative_band: Further tolerance, as a fraction of the published number.
    """

    figure: str
    help: str
    column: str
    spaces: tuple[str, ...]
    variant: str = ""
    datasets: tuple[str, ...] = ()
    band: float = 0.0
    relative_band: float = 0.0


@dataclass(frozen=True, slots=True)
class Published:
    """A published number, or a published trend over the layers.

    Attributes:
        model: Short name of the model.
        layers: Layer number, ``best`` (the maximum over layers) or ``all`` (every layer); None if not stated.
        value: Published number; None for a trend.
        source: Place in the paper, a key of :attr:`Recipe.sources_of_figures`.
        spaces: Names of the spaces that it applies to; empty for all spaces of the figure.
        group: Group of a measure with ``by`` that it applies to; None for measures without.
    """

    model: str
    figure: str
    layers: int | str | None
    relation: Relation
    value: float | None
    source: str
    spaces: tuple[str, ...] = ()
    group: str | None = None

    def band(self, measure: Measure) -> tuple[float | None, float | None]:
        """Return the lowest and highest measured numbers that hit; None for no limit.

        The measure's tolerance applies only to ``=`` and ``~=``. For a trend, the measured number is the number of
        steps in the wrong direction, which must be 0.
        """
        if self.value is None:
            return None, 0.0
        if self.relation.is_upper:
            return None, self.value
        if self.relation in (Relation.ABOVE, Relation.AT_LEAST):
            return self.value, None
        width = measure.band + measure.relative_band * abs(self.value)
        return self.value - width, self.value + width

    def verdict(self, measured: float, measure: Measure) -> Verdict:
        """Return whether a measured number hits or misses the published one."""
        low, high = self.band(measure)
        is_above = low is None or (measured > low if self.relation is Relation.ABOVE else measured >= low)
        is_below = high is None or (measured < high if self.relation is Relation.BELOW else measured <= high)
        return Verdict.HIT if is_above and is_below else Verdict.MISS


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """Published numbers, or a variant, that the recipe does not measure.

    Attributes:
        figures: Names of the figures; empty for all.
        models: Short names of the models; empty for all.
        variant: Name of a variant that is left out as a whole, without published numbers.
    """

    reason: str
    figures: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A paper to reproduce.

    Attributes:
        name: Name on the command line, and first part of its spaces' names.
        models: Checkpoints of the paper.
        measures: Measures, in the order of the result.
        sources_of_figures: Places of the published numbers in the paper, by key.
        notes: Notes for the reader of the result.
    """

    name: str
    title: str
    citation: str
    models: tuple[str, ...]
    sources: Mapping[str, Source]
    spaces: Mapping[str, SpaceSpec]
    measures: tuple[Measure, ...]
    published: tuple[Published, ...]
    sources_of_figures: Mapping[str, str]
    unmeasured: tuple[Unmeasured, ...] = ()
    notes: tuple[str, ...] = ()
