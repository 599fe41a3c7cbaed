"""Reproduce a paper: build the spaces of its recipe, query its metrics, and compare with the published numbers."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from embstore.build.report import BuildReport
from embstore.encode import Tokenizer, resolve
from embstore.errors import CheckpointError, QueryError, SourceError, UnknownNameError, UsageError
from embstore.metrics import get_metric
from embstore.progress import Observer, Progress
from embstore.query.request import check_seed
from embstore.recipes.multiset import self_similarity
from embstore.recipes.padding import padded_self_similarity
from embstore.recipes.protocol import BuildStep, Question, Sentences, Traits, plan
from embstore.recipes.protocol import Protocol as Steps
from embstore.recipes.recipe import Population, Recipe, SpaceSpec
from embstore.recipes.recipe_file import load_recipe
from embstore.recipes.verdicts import COLUMNS, TYPES, Reading, judge, summary_of
from embstore.storage.catalog import Catalog, Ids
from embstore.table import Table, table

PLAN_COLUMNS = ("step", "model", "space", "sources", "unit", "pooling", "template", "metric", "column", "figure")


class Workbench(Protocol):
    """The part of :class:`embstore.Store` that a reproduction uses."""

    @property
    def catalog(self) -> Catalog:
        """The catalog of the store."""

    @property
    def build(self) -> Callable[..., BuildReport]:
        """The method :meth:`embstore.Store.build`."""

    @property
    def query(self) -> Callable[..., Table]:
        """The method :meth:`embstore.Store.query`."""


@dataclass(frozen=True, slots=True)
class Choices:
    """Options of a reproduction.

    Attributes:
        models: Checkpoints to use instead of the paper's; empty for the paper's.
        sentences: Path of a user's file of sentences; None for the recipe's sources.
        quick: Whether to use only the small datasets, and the first texts of the others.
        seed: Random seed of all samples.
        device: ``cpu``, ``cuda`` …; None for an accelerator if available.
        allow_pickle: Whether to load pickled weights if there are no safetensors.
    """

    models: tuple[str, ...] = ()
    sentences: str | None = None
    quick: bool = False
    seed: int = 0
    device: str | None = None
    allow_pickle: bool = False


def reproduce(store: Workbench, name: str, choices: Choices, observe: Observer) -> Table:
    """Run a recipe: build its spaces, query its metrics, and compare with the published numbers.

    Texts that are already embedded are not embedded again, so an interrupted run can be resumed.

    Args:
        store: Store to build and query the spaces in.
        name: Name of the recipe, or path of its file.
        choices: Options of the run.
        observe: Callback for progress: the stages of builds, then ``measure``, counted in queries.

    Returns:
        One row per measure, space and layer, and one per published number without a measure.

    Raises:
        EmbstoreError: If a build or query fails, see :mod:`embstore.errors`; embedded texts are kept.
    """
    steps, notes = _steps(name, choices)
    for step in steps.builds:
        notes += _build(store, step, choices, observe)
    questions = steps.questions
    answers: dict[Question, dict[str, list[Reading]] | str] = {}
    for done, question in enumerate(questions):
        observe(Progress("measure", steps.recipe.name, done, len(questions), done / len(questions)))
        answers[question] = _answer(store, question)
        notes += _short_samples(question, answers[question])
    observe(Progress("measure", steps.recipe.name, len(questions), len(questions), 1.0))
    rows = judge(steps, answers)
    said = [*dict.fromkeys(notes), f"{steps.recipe.citation}: {summary_of(rows)}"]
    return table(rows, columns=COLUMNS, notes=said, types=TYPES)


def preview(name: str, choices: Choices) -> Table:
    """List the builds and queries of :func:`reproduce`, one per row, without running them."""
    steps, notes = _steps(name, choices)
    blank = dict.fromkeys(PLAN_COLUMNS)
    builds = [
        blank
        | {
            "step": "build", "model": step.model, "space": step.space, "unit": step.spec.unit.value,
            "pooling": step.spec.pooling.value, "template": step.spec.template.pattern,
            "sources": " ".join(step.sources) + (f", the first {step.limit} texts" if step.limit else ""),
        }
        for step in steps.builds
    ]  # fmt: skip
    asks = [
        blank
        | {
            "step": "query", "model": one.model, "metric": one.measure.metric, "column": one.measure.column,
            "figure": one.measure.figure + (f" ({one.measure.variant})" if one.measure.variant else ""),
            "space": one.question.space,
        }
        for one in steps.asked
        if isinstance(one.question, Question)
    ]  # fmt: skip
    return table([*builds, *asks], columns=PLAN_COLUMNS, notes=notes)


def _steps(name: str, choices: Choices) -> tuple[Steps, list[str]]:
    check_seed(choices.seed)
    recipe = load_recipe(name)
    check_metrics(recipe)
    sentences = None if choices.sentences is None else _sentences(choices.sentences)
    if sentences and not any(source.replaceable for source in recipe.sources.values()):
        raise UsageError(f"the recipe {recipe.name!r} has no source that a file of sentences may replace.")
    models = [_traits(spec, recipe, choices) for spec in dict.fromkeys(choices.models or recipe.models)]
    names = [model.name for model in models]
    if twice := next((one for one in names if names.count(one) > 1), None):
        raise UsageError(f"two of the models are called {twice!r}. Rename one: --model NAME=FOLDER.")
    steps = plan(
        recipe, models, quick=choices.quick, sentences=sentences, seed=choices.seed, all_published=not choices.models
    )
    notes = list(recipe.notes)
    published = {number.model for number in recipe.published}
    if strange := [one for one in names if one not in published]:
        notes.append(
            f"nothing is published for {', '.join(strange)}. A folder that stands in for {' or '.join(recipe.models)} "
            "is given as NAME=FOLDER."
        )
    return steps, notes


def check_metrics(recipe: Recipe) -> None:
    """Check that measures fit their metrics (parameters, column, unit); raise UnknownNameError or UsageError."""
    for measure in recipe.measures:
        metric = get_metric(measure.metric)
        metric.check(measure.parameters)
        columns = [column.name for column in metric.columns if column.type in ("number", "integer")]
        if measure.column not in columns:
            raise UnknownNameError(f"column of {metric.name}", measure.column, columns)
        for space in measure.spaces:
            unit = recipe.spaces[space].unit
            if metric.units and unit not in metric.units:
                raise UsageError(
                    f"{measure.figure!r} asks {metric.name} of the space {space!r}, whose unit is {unit.value}: the "
                    f"metric is about {' or '.join(metric.units)} spaces."
                )


def _sentences(path: str) -> Sentences:
    file = Path(path)
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}. Give a file with a sentence a line.") from error
    return Sentences(path, f"{re.sub(r'[^A-Za-z0-9_-]', '-', file.stem)}-{digest}")


def _traits(spec: str, recipe: Recipe, choices: Choices) -> Traits:
    checkpoint = resolve(spec, allow_pickle=choices.allow_pickle)
    tokenizer = Tokenizer.load(checkpoint)
    lacking = {
        space.name: reason for space in recipe.spaces.values() if (reason := _why_lacking(tokenizer, space)) is not None
    }
    return Traits(checkpoint.name, spec, bare="" not in (tokenizer.bos, tokenizer.eos), lacking=lacking)


def _why_lacking(tokenizer: Tokenizer, space: SpaceSpec) -> str | None:
    try:
        tokenizer.template_strings(space.template)
        tokenizer.check(space.unit, space.pooling, space.template)
    except (CheckpointError, QueryError, UsageError) as error:
        return str(error)
    return None


def _build(store: Workbench, step: BuildStep, choices: Choices, observe: Observer) -> list[str]:
    """Build a space, and return notes on the skipped texts."""
    report = store.build(
        step.sources, models=step.model, unit=step.spec.unit.value, poolings=step.spec.pooling.value,
        template=step.spec.template.pattern, limit=step.limit, per_text=step.per_text, seed=step.seed, name=step.space,
        index="none", device=choices.device, allow_pickle=choices.allow_pickle, observe=observe,
    )  # fmt: skip
    return [
        f"{step.space}: {count} skipped: {reason}"
        for reason, count in sum((one.skipped for one in report.spaces), report.blanks.copy()).most_common()
    ]


def _answer(store: Workbench, question: Question) -> dict[str, list[Reading]] | str:
    layers = store.catalog.cards[question.space].layers
    n_blocks = layers.n_blocks
    members = layers.select(f"0-{n_blocks}").members
    if question.padding is not None:
        readings = padded_self_similarity(
            store.catalog, question.space, question.padding, members, sample=question.sample, seed=question.seed
        )
        return {"anisotropy": readings}
    try:
        if question.population is not None and question.population.repeated:
            ids = _ids_of(store, question.space, question.population)
            return {"anisotropy": self_similarity(store.catalog, {question.space: ids}, members)}
        result = store.query(
            question.metric, spaces=question.space, layers=f"0-{n_blocks}", where=_where(store, question),
            sample=question.sample, seed=question.seed, transforms=question.transforms, **dict(question.parameters),
        )  # fmt: skip
    except QueryError as error:
        return str(error)
    if len({row["layer"] for row in result}) < len(result):
        return f"{question.metric} gives several rows for a layer: its parameters must single one out"
    columns = [column for column in result.columns if column not in ("layer", "n", "reason")]
    return {column: [_reading(row, column) for row in result] for column in columns}


def _reading(row: Mapping[str, Any], column: str) -> Reading:
    value = row[column]
    value = float(value) if isinstance(value, int | float) else None
    return Reading(row["layer"], value, row["n"], None if value is not None else row["reason"])


def _where(store: Workbench, question: Question) -> str | None:
    conditions = [] if question.where is None else [f"({question.where})"]
    if question.population is not None:
        ids = np.unique(_ids_of(store, question.space, question.population)).tolist()
        conditions.append(f"item_id IN ({', '.join(map(str, ids))})")
    return " AND ".join(conditions) or None


def _ids_of(store: Workbench, space: str, population: Population) -> Ids:
    """Return the item ids of a population, with the duplicates of its dataset."""
    rows = store.catalog.dataset(population.dataset, store.catalog.cards[space].unit)
    columns = [rows["item_id"]]
    if "item_id_2" in rows and not population.left_only:
        columns.append(rows["item_id_2"])
    return np.concatenate(columns)


def _short_samples(question: Question, answer: Mapping[str, Sequence[Reading]] | str) -> list[str]:
    if question.sample is None or isinstance(answer, str):
        return []
    counts = {reading.n for readings in answer.values() for reading in readings if reading.n is not None}
    if not counts or max(counts) >= question.sample:
        return []
    only = "" if question.where is None else f" with {question.where}"
    return [f"{question.space}{only}: all {max(counts)} items are used, fewer than the {question.sample} of the paper."]
