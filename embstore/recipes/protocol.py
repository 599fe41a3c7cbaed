"""Plan the builds and queries of a reproduction. Pure data: no file is read and no model is run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embstore.recipes.recipe import Measure, Population, Recipe, Source, SpaceSpec

LEFT_OUT = "left out by quick"


@dataclass(frozen=True, slots=True)
class Traits:
    """Properties of a checkpoint that the plan depends on.

    Attributes:
        name: Short name, which published numbers refer to.
        spec: Checkpoint as given to a build.
        bare: Whether its tokenizer adds no special tokens.
        lacking: Spaces that it does not support: name → reason.
    """

    name: str
    spec: str
    bare: bool = False
    lacking: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Sentences:
    """A user's file of sentences that replaces sources of the recipe.

    Attributes:
        path: Path of the file.
        tag: Part of the names of its spaces, from the file's name and hash, so that a changed file makes new spaces.
    """

    path: str
    tag: str


@dataclass(frozen=True, slots=True)
class BuildStep:
    """A build of one space of one model.

    Attributes:
        model: Checkpoint as given to the build.
        space: Name of the space.
        sources: Datasets or files to read.
        spec: Entry of the recipe.
        limit: Maximum number of texts to read; None for all.
        per_text: Number of words to sample from each sentence; None for all.
        seed: Random seed of that sample.
    """

    model: str
    space: str
    sources: tuple[str, ...]
    spec: SpaceSpec
    limit: int | None
    per_text: int | None
    seed: int


@dataclass(frozen=True, slots=True)
class Question:
    """A query of one space, at all layers; measures with equal queries share the answer."""

    space: str
    metric: str
    parameters: tuple[tuple[str, Any], ...]
    sample: int | None
    seed: int
    where: str | None
    population: Population | None
    transforms: tuple[str, ...]
    padding: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A measure applied to one space of one model.

    Attributes:
        measure: Measure of the recipe.
        model: Short name of the model.
        space: Entry of the recipe.
        question: Query that computes the numbers, or the reason why there is none.
    """

    measure: Measure
    model: str
    space: SpaceSpec
    question: Question | str


@dataclass(frozen=True, slots=True)
class Protocol:
    """The plan of a reproduction.

    Attributes:
        recipe: Recipe of the paper.
        models: Short names of the checkpoints.
        all_published: Whether to include published numbers of other models, as not measured.
        builds: Builds, in order.
        asked: Measures of each space and model, in the order of the result.
    """

    recipe: Recipe
    models: tuple[str, ...]
    all_published: bool
    builds: tuple[BuildStep, ...]
    asked: tuple[Asked, ...]

    @property
    def questions(self) -> list[Question]:
        """The distinct queries, in order."""
        return list(dict.fromkeys(one.question for one in self.asked if isinstance(one.question, Question)))


def plan(
    recipe: Recipe,
    models: Sequence[Traits],
    *,
    quick: bool = False,
    sentences: Sentences | None = None,
    seed: int = 0,
    all_published: bool = True,
) -> Protocol:
    """Plan the builds and queries of a reproduction.

    Args:
        recipe: Recipe of the paper.
        models: Checkpoints to run.
        quick: Whether to use only the small datasets, and the first texts of the others.
        sentences: File that replaces the replaceable sources; None to keep them.
        seed: Random seed of the samples of occurrences and of items.
        all_published: Whether to include published numbers of models that are not run.
    """
    made = _Planner(recipe, quick, sentences, seed)
    builds = [made.build(model, space) for model in models for space in recipe.spaces.values() if _has(model, space)]
    asked = [
        made.asked(measure, model, recipe.spaces[space])
        for measure in recipe.measures
        for model in models
        for space in measure.spaces
        if all(_is_for(model, recipe.spaces[name]) for name in (space, measure.padding) if name)
    ]
    names = tuple(model.name for model in models)
    return Protocol(recipe, names, all_published, tuple(builds), tuple(asked))


def _has(model: Traits, space: SpaceSpec) -> bool:
    return space.name not in model.lacking and _is_for(model, space)


def _is_for(model: Traits, space: SpaceSpec) -> bool:
    return (model.bare or not space.only_bare) and (not space.models or model.name in space.models)


@dataclass(frozen=True, slots=True)
class _Planner:
    recipe: Recipe
    quick: bool
    sentences: Sentences | None
    seed: int

    def build(self, model: Traits, space: SpaceSpec) -> BuildStep:
        source = self.recipe.sources[space.source]
        replaced = self._replaced(source)
        datasets = source.quick if self.quick else source.datasets
        return BuildStep(
            model=model.spec,
            space=self.space_name(model, space),
            sources=datasets if replaced is None else (replaced.path,),
            spec=space,
            limit=source.quick_texts if self.quick else None,
            per_text=source.per_text if replaced is None else source.own_per_text or source.per_text,
            seed=self.seed,
        )

    def space_name(self, model: Traits, space: SpaceSpec) -> str:
        """Return the name of a space, which differs whenever its items would."""
        source = self.recipe.sources[space.source]
        parts = [self.recipe.name, model.name, space.name]
        if replaced := self._replaced(source):
            parts.append(replaced.tag)
        if source.per_text is not None and self.seed:
            parts.append(f"seed{self.seed}")
        if self._cut(source):
            parts.append("quick")
        return ".".join(parts)

    def asked(self, measure: Measure, model: Traits, space: SpaceSpec) -> Asked:
        source = self.recipe.sources[space.source]
        return Asked(measure, model.name, space, self._question(measure, model, space, source))

    def _question(self, measure: Measure, model: Traits, space: SpaceSpec, source: Source) -> Question | str:
        padding = self.recipe.spaces.get(measure.padding)
        for one in (space, padding):
            if one is not None and one.name in model.lacking:
                return model.lacking[one.name]
        whole = () if self._cut(source) else source.quick
        if self.quick and any(name not in whole for name in measure.datasets):
            return LEFT_OUT
        if self._cut(source) and measure.population is not None and measure.population.repeated:
            return LEFT_OUT  # the texts that were cut off may repeat those that were not
        return Question(
            space=self.space_name(model, space),
            metric=measure.metric,
            parameters=tuple((name, _frozen(value)) for name, value in measure.parameters.items()),
            sample=measure.sample,
            seed=self.seed,
            where=measure.where,
            population=None if self._cut(source) else measure.population,  # a space of its own holds nothing else
            transforms=measure.transforms,
            padding=None if padding is None else self.space_name(model, padding),
        )

    def _replaced(self, source: Source) -> Sentences | None:
        return self.sentences if source.replaceable else None

    def _cut(self, source: Source) -> bool:
        return self.quick and source.quick_texts is not None


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
