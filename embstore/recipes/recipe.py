"""A recipe: a paper as data. Models × sources × spaces × metrics × the numbers that it published.

Nothing here reads a file or runs a model: :mod:`.recipe_file` reads recipes, :mod:`.protocol` plans their builds and
questions, and :mod:`.reproduce` carries them out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from embstore.space import Pooling, Template, Unit


class Relation(StrEnum):
    """How a published number and a measured one should relate."""

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
        """Whether it bounds from above."""
        return self in (Relation.BELOW, Relation.AT_MOST)

    @property
    def is_trend(self) -> bool:
        """Whether it is about the order of the layers; there is no published number then."""
        return self in (Relation.FALLING, Relation.RISING)


class Verdict(StrEnum):
    """What became of a number."""

    HIT = "hit"
    MISS = "miss"
    NOT_PUBLISHED = "not published"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Source:
    """Texts that spaces are made of.

    Attributes:
        name: as spaces call it.
        datasets: the datasets (or files) that hold the texts.
        quick: those of them that a quick run uses.
        quick_texts: a quick run stops after so many texts; None reads all. The spaces of a source that is cut short
            have names of their own, and no dataset is complete in them.
        per_text: of occurrences, how many are drawn from each sentence.
        own_per_text: how many where a user's own file takes its place; None for ``per_text``.
        replaceable: whether a user's own file of sentences may take its place.
    """

    name: str
    datasets: tuple[str, ...]
    quick: tuple[str, ...]
    quick_texts: int | None = None
    per_text: int | None = None
    own_per_text: int | None = None
    replaceable: bool = False


@dataclass(frozen=True, slots=True)
class SpaceSpec:
    """A space that is built for each model.

    Attributes:
        name: what follows recipe and model in the space's name.
        label: what it is called in the result.
        source: the name of its source.
        unit: what a vector stands for.
        pooling: how the tokens become one vector.
        template: the text round an item.
        only_bare: whether it is only for models whose tokenizer adds no special tokens itself: for the others it would
            be the same as a space without the template.
        models: the models that it is for, by short name; empty for all.
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
    """The items of a dataset, of which a space may hold more.

    Attributes:
        dataset: its name.
        left_only: whether only the first text of each pair counts.
        repeated: whether a text counts as often as it stands there (:mod:`.questions.multiset`), rather than once.
    """

    dataset: str
    left_only: bool = False
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric that gives a figure: its number for each space and layer.

    Attributes:
        figure: the figure's name, as published numbers call it.
        help: what it is, for the eye.
        metric: the metric.
        column: the column of the metric's result that is the number.
        spaces: the names of the spaces that it is asked of.
        variant: what is special about it; empty for the sound way.
        parameters: of the metric.
        datasets: what must be built whole for it.
        sample: how many items are drawn; None takes all.
        where: an SQL expression over the item columns.
        population: the items that count; None for all of the space.
        transforms: applied to the vectors first.
        padding: of occurrences, the name of a space of sentences with the vectors of the padding after them, which is
            drawn too (:mod:`embstore.recipes.padding`); empty for none.
        band: how far from a published number the measured one may be.
        relative_band: the same as a share of the published number.
    """

    figure: str
    help: str
    metric: str
    column: str
    spaces: tuple[str, ...]
    variant: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    datasets: tuple[str, ...] = ()
    sample: int | None = None
    where: str | None = None
    population: Population | None = None
    transforms: tuple[str, ...] = ()
    padding: str = ""
    band: float = 0.0
    relative_band: float = 0.0


BEST, ALL = "best", "all"


@dataclass(frozen=True, slots=True)
class Published:
    """A number that was published, or an order of the layers.

    Attributes:
        model: the short name of the model.
        figure: what was measured.
        layers: a number; ``best`` (the highest of all layers) or ``all`` (each layer); None where it is not said.
        relation: of the measured number to the published one.
        value: the number; None for a trend.
        source: where it stands, a key of :attr:`Recipe.sources_of_figures`.
        spaces: the names of the spaces that it is about; empty for all that the figure is measured in.
    """

    model: str
    figure: str
    layers: int | str | None
    relation: Relation
    value: float | None
    source: str
    spaces: tuple[str, ...] = ()

    def band(self, measure: Measure) -> tuple[float | None, float | None]:
        """Return the lowest and the highest number that hits; None where there is no limit.

        Bounds are taken as they stand; only ``=`` and ``~=`` have the band of the measure round them.
        """
        if self.value is None:
            return None, 0.0  # a trend: steps in the wrong direction
        if self.relation.is_upper:
            return None, self.value
        if self.relation in (Relation.ABOVE, Relation.AT_LEAST):
            return self.value, None
        width = measure.band + measure.relative_band * abs(self.value)
        return self.value - width, self.value + width

    def verdict(self, measured: float, measure: Measure) -> Verdict:
        """Return whether a measured number hits."""
        low, high = self.band(measure)
        above = low is None or (measured > low if self.relation is Relation.ABOVE else measured >= low)
        below = high is None or (measured < high if self.relation is Relation.BELOW else measured <= high)
        return Verdict.HIT if above and below else Verdict.MISS


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """Published numbers that the recipe does not measure, and why.

    Attributes:
        reason: why.
        figures: the figures; empty for all.
        models: the models; empty for all.
        variant: names a way of measuring that is left out as a whole, for which nothing was published.
    """

    reason: str
    figures: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A paper as data.

    Attributes:
        name: on the command line, and the first part of its spaces' names.
        title: the paper.
        citation: the reference to give.
        models: the checkpoints of the paper.
        sources: of texts, by name.
        spaces: by name.
        measures: in the order of the result.
        published: the numbers to compare with.
        sources_of_figures: where they stand, by key.
        unmeasured: which of them are not measured, and why.
        notes: what a reader must know.
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
