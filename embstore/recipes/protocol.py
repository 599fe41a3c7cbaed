"""Plan the builds and queries of a reproduction. Pure data: no file is read and no model is run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from embstore.recipes.recipe import Measure, QuerySpec, Recipe, Source, SpaceSpec

OMITTED_BY_QUICK = "left out by quick"


@dataclass(frozen=True, slots=True)
class CheckpointTraits:
    """Properties of a checkpoint that the plan depends on.

    Attributes:
        name: Short name, which published numbers refer to.
        spec: Checkpoint as given to a build.
        bare: Whether its tokenizer adds no special tokens.
        unsupported: Spaces that it does not support: name → reason.
    """

    name: str
    spec: str
    bare: bool = False
    unsupported: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Sentences:
    """A user's file of sentences that replaces sources of the recipe.

    Attributes:
        tag: Part of the names of its spaces, from the file's name and hash, so that a changed file makes new spaces.
    """

    path: str
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
    seed: int
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedQuery(QuerySpec):
    """A query of one space, at all layers, with its random seed; measures with equal queries share the answer."""

    space: str
    seed: int


@dataclass(frozen=True, slots=True)
class PlannedMeasure:
    """A measure applied to one space of one model, with its query, or the reason why there is none."""

    measure: Measure
    model: str
    space: SpaceSpec
    query: PlannedQuery | str


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a reproduction.

    Attributes:
        models: Short names of the checkpoints.
        all_published: Whether to include published numbers of other models, as not measured.
        measures: Measures of each space and model, in the order of the result.
    """

    recipe: Recipe
    models: tuple[str, ...]
    all_published: bool
    builds: tuple[BuildStep, ...]
    measures: tuple[PlannedMeasure, ...]

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
        PlannedMeasure(measure, model.name, recipe.spaces[space], planner.query(measure, model, recipe.spaces[space]))
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
            per_text=source.per_text if replacement is None else source.own_per_text or source.per_text,
            seed=self.seed,
            keep=source.keep if replacement is None else (),
        )

    def query(self, measure: Measure, model: CheckpointTraits, space: SpaceSpec) -> PlannedQuery | str:
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
        """Return the name of a model's space; runs with other items (quick, another file or seed) get other names."""
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
