"""Reproduce a paper: build the spaces of its recipe, query its metrics, and compare with the published numbers."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embstore.base.errors import CheckpointError, QueryError, UsageError, check_known
from embstore.base.progress import Progress, report_progress
from embstore.base.space import Layer, Unit
from embstore.base.summary import Summary
from embstore.base.table import Table, table
from embstore.base.text import item_id, words_in
from embstore.encode import Tokenizer, resolve
from embstore.metrics import get_metric
from embstore.metrics.cosine import TOO_FEW, mean_pairwise_cosine
from embstore.metrics.explain import UNGROUPED
from embstore.query.request import check_seed
from embstore.recipes.recipe import BuildStep, CheckpointTraits, Plan, PlannedQuery, Population, Recipe, Sentences, plan
from embstore.recipes.recipe_file import load_recipe
from embstore.recipes.verdicts import COLUMNS, TYPES, LayerValue, judge, summary_of
from embstore.sources.files import file_sha256
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.files.vectors import LayerVectors

PLAN_COLUMNS = ("step", "model", "space", "sources", "unit", "pooling", "template", "metric", "column", "figure")


StoreMethods = Any  # an embstore.Store, which is above this package


@dataclass(frozen=True, slots=True)
class ReproduceOptions:
    """Options of a reproduction, as of :meth:`embstore.Store.reproduce`."""

    models: tuple[str, ...] = ()
    sentences: str | None = None
    quick: bool = False
    seed: int = 0
    device: str | None = None
    allow_pickle: bool = False


def reproduce(store: StoreMethods, name: str, options: ReproduceOptions) -> Table:
    """Run a recipe: build its spaces, query its metrics, and compare with the published numbers.

    Texts that are already embedded are not embedded again, so an interrupted run can be resumed. Progress is reported
    by the stages of builds, then ``measure``, counted in queries.
    """
    run, notes = _plan_run(name, options)
    for step in run.builds:
        notes += _build(store, step, options)
    queries = run.queries
    answers: dict[PlannedQuery, dict[str, list[LayerValue]] | str] = {}
    for n_done, query in enumerate(queries):
        report_progress(Progress("measure", run.recipe.name, n_done, len(queries), n_done / len(queries)))
        answers[query] = _answer(store, query)
        notes += _answer_notes(query, answers[query])
    report_progress(Progress("measure", run.recipe.name, len(queries), len(queries), 1.0))
    rows = judge(run, answers)
    notes = [*dict.fromkeys(notes), f"{run.recipe.citation}: {summary_of(rows)}"]
    return table(rows, columns=COLUMNS, notes=notes, types=TYPES)


def preview(name: str, options: ReproduceOptions) -> Table:
    """List the builds and queries of :func:`reproduce`, one per row, without running them."""
    run, notes = _plan_run(name, options)
    blank = dict.fromkeys(PLAN_COLUMNS)
    builds = [
        blank
        | {
            "step": "build", "model": step.model, "space": step.space, "unit": step.spec.unit.value,
            "pooling": step.spec.pooling.value, "template": step.spec.template.pattern,
            "sources": " ".join(step.sources) + (f", the first {step.limit} texts" if step.limit else ""),
        }
        for step in run.builds
    ]  # fmt: skip
    queries = [
        blank
        | {
            "step": "query", "model": planned.model, "metric": planned.measure.metric,
            "column": planned.measure.column, "space": planned.query.space,
            "figure": planned.measure.figure + (f" ({planned.measure.variant})" if planned.measure.variant else ""),
        }
        for planned in run.measures
        if isinstance(planned.query, PlannedQuery)
    ]  # fmt: skip
    return table([*builds, *queries], columns=PLAN_COLUMNS, notes=notes)


def _plan_run(name: str, options: ReproduceOptions) -> tuple[Plan, list[str]]:
    """Read a recipe, load the tokenizers of its models, and plan the run; return the plan with notes for the user."""
    check_seed(options.seed)
    recipe = load_recipe(name)
    check_metrics(recipe)
    sentences = None if options.sentences is None else _sentences(options.sentences)
    if sentences and not any(source.replaceable for source in recipe.sources.values()):
        raise UsageError(f"the recipe {recipe.name!r} has no source that a file of sentences may replace.")
    models = [_traits(spec, recipe, options) for spec in dict.fromkeys(options.models or recipe.models)]
    names = [model.name for model in models]
    if duplicate := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two of the models are called {duplicate!r}. Rename one: ⦃model=NAME=FOLDER⦄.")
    run = plan(
        recipe, models, quick=options.quick, sentences=sentences, seed=options.seed, all_published=not options.models
    )
    notes = list(recipe.notes)
    published = {number.model for number in recipe.published}
    if unknown := [name for name in names if name not in published]:
        notes.append(
            f"nothing is published for {', '.join(unknown)}. A folder that stands in for {' or '.join(recipe.models)} "
            "is given as NAME=FOLDER."
        )
    return run, notes


def check_metrics(recipe: Recipe) -> None:
    """Check that measures fit their metrics (parameters, column, unit); raise UnknownNameError or UsageError."""
    for measure in recipe.measures:
        metric = get_metric(measure.metric)
        metric.check(measure.parameters)
        if measure.words and any(parameter.name == "words" for parameter in metric.parameters):
            raise UsageError(f"{measure.figure!r}: {metric.name} takes words as a parameter: put them in parameters.")
        if measure.by is not None and (of := UNGROUPED.get(metric.needs)) is not None:
            raise UsageError(f"{measure.figure!r}: {metric.name} is of {of}, not of groups of items: leave out by.")
        columns = [column.name for column in metric.columns if column.type in ("number", "integer")]
        check_known(f"column of {metric.name}", measure.column, columns)
        for space in measure.spaces:
            unit = recipe.spaces[space].unit
            if metric.units and unit not in metric.units:
                raise UsageError(
                    f"{measure.figure!r} asks {metric.name} of the space {space!r}, whose unit is {unit.value}: the "
                    f"metric is about {' or '.join(metric.units)} spaces."
                )


def _sentences(path: str) -> Sentences:
    """Return the user's file of sentences, with the tag from its name and hash; raise SourceError if unreadable."""
    file = Path(path)
    return Sentences(path, f"{re.sub(r'[^A-Za-z0-9_-]', '-', file.stem)}-{file_sha256(file)[:8]}")


def _traits(spec: str, recipe: Recipe, options: ReproduceOptions) -> CheckpointTraits:
    """Load the tokenizer of a checkpoint, and check which spaces of the recipe it supports."""
    checkpoint = resolve(spec, allow_pickle=options.allow_pickle)
    tokenizer = Tokenizer.load(checkpoint)
    unsupported = {}
    for space in recipe.spaces.values():
        try:
            tokenizer.template_strings(space.template)
            tokenizer.check(space.unit, space.pooling, space.template)
        except (CheckpointError, QueryError, UsageError) as error:
            unsupported[space.name] = str(error)
    bare = "" not in (tokenizer.bos, tokenizer.eos)
    return CheckpointTraits(checkpoint.name, spec, bare=bare, unsupported=unsupported)


def _build(store: StoreMethods, step: BuildStep, options: ReproduceOptions) -> list[str]:
    """Build a space, and return notes on the skipped texts."""
    report = store.build(
        step.sources, models=step.model, unit=step.spec.unit.value, poolings=step.spec.pooling.value,
        template=step.spec.template.pattern, limit=step.limit, per_text=step.per_text, seed=options.seed,
        name=step.space, keep=step.keep, index="none", device=options.device, allow_pickle=options.allow_pickle,
    )  # fmt: skip
    return [
        f"{step.space}: {count} skipped: {reason}"
        for reason, count in sum((space.skipped for space in report.spaces), report.blanks.copy()).most_common()
    ]


def _answer(store: StoreMethods, query: PlannedQuery) -> dict[str, list[LayerValue]] | str:
    """Run a query: return the values of each column of its result at each layer, or the reason why there are none."""
    layers = store.catalog.cards[query.space].layers
    n_blocks = layers.n_blocks
    members = layers.select(f"0-{n_blocks}").members
    if query.padding:
        return {"anisotropy": _padded_self_similarity(store.catalog, query, members)}
    try:
        if query.population is not None and query.population.repeated:
            ids = _ids_of(store, query.space, query.population)
            return {"anisotropy": self_similarity(store.catalog, {query.space: ids}, members)}
        result = store.query(
            query.metric, spaces=query.space, layers=f"0-{n_blocks}", where=_where(store, query),
            sample=query.sample, seed=query.seed, transforms=query.transforms,
            **({"words": query.words} if query.words else {}),
            **({"by": query.by, "bins": query.bins} if query.by else {}), **dict(query.parameters),
        )  # fmt: skip
    except QueryError as error:
        return str(error)
    if len({(row["layer"], row.get("group")) for row in result}) < len(result):
        return f"{query.metric} gives several rows for a layer: its parameters must single one out"
    columns = [column for column in result.columns if column not in ("layer", "group", "n", "reason")]
    return {column: [_layer_value(row, column) for row in result] for column in columns}


def _layer_value(row: Mapping[str, Any], column: str) -> LayerValue:
    """Return the value of a column in a row of a query's result; None with the reason if it is no number."""
    value = row[column]
    value = float(value) if isinstance(value, int | float) else None
    group = (row["group"] or "") if "group" in row else None
    return LayerValue(row["layer"], value, row["n"], None if value is not None else row["reason"], group)


def _where(store: StoreMethods, query: PlannedQuery) -> str | None:
    """Return the SQL expression for the items of a query; None for all items."""
    conditions = [] if query.where is None else [f"({query.where})"]
    if query.population is not None:
        ids = np.unique(_ids_of(store, query.space, query.population)).tolist()
        conditions.append(f"item_id IN ({', '.join(map(str, ids))})")
    return " AND ".join(conditions) or None


def _ids_of(store: StoreMethods, space: str, population: Population) -> Ids:
    """Return the item ids of a population, with the duplicates of its dataset."""
    rows = store.catalog.dataset(population.dataset, store.catalog.cards[space].unit)
    columns = [rows["item_id"]]
    if "item_id_2" in rows and not population.left_only:
        columns.append(rows["item_id_2"])
    return np.concatenate(columns)


def _answer_notes(query: PlannedQuery, answer: Mapping[str, Sequence[LayerValue]] | str) -> list[str]:
    """Return notes if a space has fewer items than the query's sample, or no item of some of its words."""
    if isinstance(answer, str):
        return []
    notes: list[str] = []
    n_used: list[int] = []
    for values in answer.values():
        of_layers: Counter[int] = Counter()  # the groups of a layer together
        for value in values:
            of_layers[value.layer] += value.n or 0
        n_used += of_layers.values()
    if query.sample is not None and n_used and (n := max(n_used)) < query.sample:
        selection = "" if query.where is None else f" with {query.where}"
        notes.append(f"{query.space}{selection}: all {n} items are used, fewer than the {query.sample} of the paper.")
    n_missing = max((each.value or 0 for each in answer.get("words_missing", ())), default=0)
    if query.words and n_missing:
        notes.append(f"{query.space}: {n_missing:.0f} of the {len(query.words)} words of a measure have no item.")
    return notes


def _padded_self_similarity(catalog: Catalog, query: PlannedQuery, layers: Sequence[Layer]) -> list[LayerValue]:
    """Compute the mean pairwise cosine of a sample of words and paddings, layer by layer.

    As the code of Wolfe & Caliskan (2022) does, which draws an index from 1 to the sentence's length, inclusive, in a
    batch padded on the right: never the first token, and the last index is one past the end. GPT-2's padding
    is its end-of-text token. In a sentence of w words the padding has probability 1/w. Otherwise the draw is the word
    of the occurrence, which was itself sampled from all w when the space was built; a first word is dropped.
    """
    rng = np.random.default_rng(query.seed)
    items = catalog.items(catalog.ids(query.space).tolist())
    occurrences = [items[item] for item in sorted(items)]
    sentences = [words_in(item.context or "") for item in occurrences]
    n_words = np.array([len(spans) for spans in sentences], np.int64)
    is_padding = rng.integers(1, n_words, endpoint=True) == n_words
    is_first = np.array([item.span == spans[0] for item, spans in zip(occurrences, sentences, strict=True)], np.bool_)
    kept = np.flatnonzero(is_padding | ~is_first)
    if query.sample is not None and query.sample < len(kept):
        kept = np.sort(rng.choice(kept, query.sample, replace=False))
    words = [occurrences[i].id for i in kept[~is_padding[kept]].tolist()]
    paddings = [item_id(Unit.SENTENCE, occurrences[i].context or "") for i in kept[is_padding[kept]].tolist()]
    drawn = {query.space: np.array(words, np.int64), query.padding: np.array(sorted(paddings), np.int64)}
    return self_similarity(catalog, drawn, layers)


def self_similarity(catalog: Catalog, ids_by_space: Mapping[str, Ids], layers: Sequence[Layer]) -> list[LayerValue]:
    """Compute the mean pairwise cosine of a multiset of items of some spaces, layer by layer.

    (‖Σu‖² − n) / (n (n − 1)) over unit vectors u: eq. 1 of Wolfe & Caliskan (2022). Two copies of an item are a pair of
    cosine 1. The multiset is split into sets without duplicates, whose sums are added. Ids that are not in their space
    are ignored.
    """
    sets = [(space, ids) for space, multiset in ids_by_space.items() for ids in split_into_sets(multiset)]
    dim = catalog.cards[next(iter(ids_by_space))].dim
    values = []
    for layer in layers:
        summaries = (LayerVectors(catalog.shards[space], layer.id, dim, ids).summary for space, ids in sets)
        total = sum(summaries, start=Summary.empty(dim))
        n = total.n - total.n_zero
        value = mean_pairwise_cosine(n, total.unit_total, total.unit_square_total)
        values.append(LayerValue(layer.id, value, n, TOO_FEW if value is None else None))
    return values


def split_into_sets(ids: Ids) -> Iterator[Ids]:
    """Split a multiset of ids into sets: the ids that occur at least once, at least twice and so on, each ascending."""
    distinct, counts = np.unique(ids, return_counts=True)
    for times in range(1, max(counts, default=0) + 1):
        yield distinct[counts >= times]
