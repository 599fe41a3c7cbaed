"""Define a recipe, the models, sources, spaces, measures and published numbers of a paper; plan its
builds and queries.

The data classes have the keys of the recipe's TOML file. No file is read and no model is run here:
:mod:`.recipe_file` reads recipes, and :mod:`.reproduce` runs them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
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
        quick_texts: Maximum number of texts in a quick run; None for all. Spaces of a limited
            source have separate names, and contain no dataset in full.
    """

    name: str
    datasets: tuple[str, ...]
    quick: tuple[str, ...]  # subset of ``datasets`` for a quick run
    quick_texts: int | None = None
    per_text: int | None = (
        None  # number of words to sample from each sentence, for occurrences; None for all
    )
    own_per_text: int | None = (
        None  # the same for a user's file that replaces the source; None for ``per_text``
    )
    replaceable: bool = False  # whether a user's file of sentences may replace the source
    keep: tuple[
        str, ...
    ] = ()  # columns of its files to store with the items, for ``by`` and ``where``


@dataclass(frozen=True, slots=True)
class SpaceSpec:
    """A space to build for each model.

    Attributes:
        only_bare: Whether to build it only for models whose tokenizer adds no special tokens; for
            others it would equal the space without the template.
    """

    name: str  # last part of the space's name, after recipe and model
    label: str  # name of the space in the result
    source: str  # name of its source
    unit: Unit
    pooling: Pooling
    template: Template = field(default_factory=Template)
    only_bare: bool = False
    models: tuple[str, ...] = ()  # short names of the models to build it for; empty for all


@dataclass(frozen=True, slots=True)
class Population:
    """A selection of a space's items: the items of one dataset."""

    dataset: str
    left_only: bool = False  # whether to use only the first text of each pair
    repeated: bool = (
        False  # whether a text counts as often as it occurs in the dataset, instead of once
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuerySpec:
    """What a query computes, of which items of a space.

    Attributes:
        parameters: Parameters of the metric.
        by: Column of the items that divides them into groups, as ``--by`` does; None for no groups.
            There is a number for each group, space and layer then.
        padding: Name of a space of sentences with the vectors of the padding after them, to include
            in samples of occurrences; empty for none.
    """

    metric: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    sample: int | None = None  # number of items to sample; None for all
    where: str | None = None  # SQL expression over the item columns; None for all items
    words: tuple[
        str, ...
    ] = ()  # words whose items are used, as those of ``--words``; empty for all items
    population: Population | None = None  # selection of items; None for all items of the space
    transforms: tuple[str, ...] = ()  # transforms applied to the vectors first
    by: str | None = None
    bins: str | None = (
        # intervals of a column of numbers, as those of ``--bins``; None for a group for each value
        None
    )
    padding: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure(QuerySpec):
    """A figure of the paper: a metric's number for each space and layer."""

    figure: str  # name of the figure, as in the published numbers
    help: str  # description for the user
    column: str  # column of the metric's result with the number
    spaces: tuple[str, ...]  # names of the spaces to compute it for
    variant: str = ""  # description of a deviating way to measure it; empty for the standard way
    datasets: tuple[str, ...] = ()  # datasets that must be embedded in full
    band: float = 0.0  # tolerance: maximum absolute difference from a published number
    relative_band: float = 0.0  # further tolerance, as a fraction of the published number


@dataclass(frozen=True, slots=True)
class Published:
    """A published number, or a published trend over the layers.

    Attributes:
        layers: Layer number, ``best`` (the maximum over layers) or ``all`` (every layer); None if
            not stated.
    """

    model: str  # short name of the model
    figure: str
    layers: int | str | None
    relation: Relation
    value: float | None  # published number; None for a trend
    source: str  # place in the paper, a key of ``sources`` in the file of figures
    spaces: tuple[
        str, ...
    ] = ()  # names of the spaces that it applies to; empty for all spaces of the figure
    group: str | None = (
        None  # group of a measure with ``by`` that it applies to; None for measures without
    )

    def band(self, measure: Measure) -> tuple[float | None, float | None]:
        """Return the lowest and highest measured numbers that hit; None for no limit.

        The measure's tolerance applies only to ``=`` and ``~=``. For a trend, the measured number
        is the number of steps in the wrong direction, which must be 0.
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
        is_above = low is None or (
            measured > low if self.relation is Relation.ABOVE else measured >= low
        )
        is_below = high is None or (
            measured < high if self.relation is Relation.BELOW else measured <= high
        )
        return Verdict.HIT if is_above and is_below else Verdict.MISS


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """Published numbers, or a variant, that the recipe does not measure."""

    reason: str
    figures: tuple[str, ...] = ()  # names of the figures; empty for all
    models: tuple[str, ...] = ()  # short names of the models; empty for all
    variant: str = ""  # name of a variant that is left out as a whole, without published numbers


@dataclass(frozen=True, slots=True)
class Recipe:
    """A paper to reproduce."""

    name: str  # name on the command line, and first part of its spaces' names
    title: str
    citation: str
    models: tuple[str, ...]  # checkpoints of the paper
    sources: Mapping[str, Source]
    spaces: Mapping[str, SpaceSpec]
    measures: tuple[Measure, ...]  # measures, in the order of the result
    published: tuple[Published, ...]
    unmeasured: tuple[Unmeasured, ...] = ()
    notes: tuple[str, ...] = ()  # notes for the reader of the result


OMITTED_BY_QUICK = "left out by quick"


@dataclass(frozen=True, slots=True)
class CheckpointTraits:
    """Properties of a checkpoint that the plan depends on.

    Attributes:
        unsupported: Spaces that it does not support: name → reason.
    """

    name: str  # short name, which published numbers refer to
    spec: str  # checkpoint as given to a build
    bare: bool = False  # whether its tokenizer adds no special tokens
    unsupported: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Sentences:
    """A user's file of sentences that replaces sources of the recipe."""

    path: str
    # part of the names of its spaces, from the file's name and hash, so that a changed file makes
    # new spaces
    tag: str


@dataclass(frozen=True, slots=True)
class BuildStep:
    """A build of one space of one model: arguments of :meth:`embstore.Store.build`."""

    model: str
    space: str
    sources: tuple[str, ...]
    spec: SpaceSpec
    limit: int | None
    per_text: int | None
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedQuery(QuerySpec):
    """A query of one space, at all layers, with its random seed; measures with equal queries share
    the answer.
    """

    space: str
    seed: int


@dataclass(frozen=True, slots=True)
class PlannedMeasure:
    """A measure applied to one space of one model, with its query, or the reason why there is
    none.
    """

    measure: Measure
    model: str
    space: SpaceSpec
    query: PlannedQuery | str


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a reproduction."""

    recipe: Recipe
    models: tuple[str, ...]  # short names of the checkpoints
    all_published: bool  # whether to include published numbers of other models, as not measured
    builds: tuple[BuildStep, ...]
    measures: tuple[
        PlannedMeasure, ...
    ]  # measures of each space and model, in the order of the result

    @property
    def queries(self) -> list[PlannedQuery]:
        """The distinct queries, in order."""
        queries = (measure.query for measure in self.measures)
        return list(dict.fromkeys(query for query in queries if isinstance(query, PlannedQuery)))


def plan(
    recipe: Recipe,
    models: Sequence[CheckpointTraits],
    *,
    quick: bool = False,
    sentences: Sentences | None = None,
    seed: int = 0,
    all_published: bool = True,
) -> Plan:
    """Plan the builds and queries of a reproduction.

    Args:
        recipe: Recipe of the paper.
        models: Checkpoints to run.
        quick: Whether to use only the small datasets, and the first texts of the others.
        sentences: File that replaces the replaceable sources; None to keep them.
        seed: Random seed of the samples of occurrences and of items.
        all_published: Whether to include published numbers of models that are not run.
    """
    planner = _Planner(recipe, quick, sentences, seed)
    builds = [
        planner.build(model, space)
        for model in models
        for space in recipe.spaces.values()
        if space.name not in model.unsupported and _applies_to(space, model)
    ]
    measures = [
        PlannedMeasure(
            measure,
            model.name,
            recipe.spaces[space],
            planner.query(measure, model, recipe.spaces[space]),
        )
        for measure in recipe.measures
        for model in models
        for space in measure.spaces
        if all(_applies_to(recipe.spaces[name], model) for name in (space, measure.padding) if name)
    ]
    names = tuple(model.name for model in models)
    return Plan(recipe, names, all_published, tuple(builds), tuple(measures))


def _applies_to(space: SpaceSpec, model: CheckpointTraits) -> bool:
    """Return whether the recipe has the space for the model."""
    return (model.bare or not space.only_bare) and (not space.models or model.name in space.models)


@dataclass(frozen=True, slots=True)
class _Planner:
    """Plans the steps of one run; arguments as of :func:`plan`."""

    recipe: Recipe
    quick: bool
    sentences: Sentences | None
    seed: int

    def build(self, model: CheckpointTraits, space: SpaceSpec) -> BuildStep:
        """Return the build of a space of a model."""
        source = self.recipe.sources[space.source]
        replacement = self._replacement(source)
        datasets = source.quick if self.quick else source.datasets
        return BuildStep(
            model=model.spec,
            space=self._space_name(model, space),
            sources=datasets if replacement is None else (replacement.path,),
            spec=space,
            limit=source.quick_texts if self.quick else None,
            per_text=(
                source.per_text if replacement is None else source.own_per_text or source.per_text
            ),
            keep=source.keep if replacement is None else (),
        )

    def query(
        self, measure: Measure, model: CheckpointTraits, space: SpaceSpec
    ) -> PlannedQuery | str:
        """Return the query of a measure for a space of a model, or the reason why there is none."""
        source = self.recipe.sources[space.source]
        padding = self.recipe.spaces.get(measure.padding)
        for needed in (space, padding):
            if needed is not None and needed.name in model.unsupported:
                return model.unsupported[needed.name]
        is_truncated = self._is_truncated(source)
        complete_datasets = () if is_truncated else source.quick
        if self.quick and any(name not in complete_datasets for name in measure.datasets):
            return OMITTED_BY_QUICK
        if is_truncated and measure.population is not None and measure.population.repeated:
            return OMITTED_BY_QUICK  # the omitted texts may repeat the others
        spec = {each.name: getattr(measure, each.name) for each in fields(QuerySpec)}
        spec["padding"] = "" if padding is None else self._space_name(model, padding)
        if is_truncated:
            spec["population"] = None  # the space has only these items
        return PlannedQuery(space=self._space_name(model, space), seed=self.seed, **spec)

    def _space_name(self, model: CheckpointTraits, space: SpaceSpec) -> str:
        """Return the name of a model's space; runs with other items (quick, another file or seed)
        get other names.
        """
        source = self.recipe.sources[space.source]
        parts = [self.recipe.name, model.name, space.name]
        if replacement := self._replacement(source):
            parts.append(replacement.tag)
        if source.per_text is not None and self.seed:
            parts.append(f"seed{self.seed}")
        if self._is_truncated(source):
            parts.append("quick")
        return ".".join(parts)

    def _replacement(self, source: Source) -> Sentences | None:
        """Return the user's file that replaces a source; None if it is not replaced."""
        return self.sentences if source.replaceable else None

    def _is_truncated(self, source: Source) -> bool:
        """Return whether only the first texts of a source are read."""
        return self.quick and source.quick_texts is not None
