"""Reproduce a paper: build the spaces of its recipe, query its metrics, and compare with the
published numbers.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from embstore.base.errors import CheckpointError, QueryError, UsageError, check_known
from embstore.base.progress import Progress, report_progress
from embstore.base.space import Layer, Unit
from embstore.base.summary import Summary
from embstore.base.table import Table, table
from embstore.base.text import item_id, words_in
from embstore.encode.checkpoint import resolve
from embstore.encode.tokens import Tokenizer
from embstore.metrics import get_metric
from embstore.metrics.explain import UNGROUPED
from embstore.metrics.geometry import TOO_FEW, mean_pairwise_cosine
from embstore.query.request import check_seed
from embstore.recipes.recipe import (
    ALL,
    BEST,
    BuildStep,
    CheckpointTraits,
    Plan,
    PlannedMeasure,
    PlannedQuery,
    Population,
    Published,
    Recipe,
    Relation,
    Sentences,
    Verdict,
    plan,
)
from embstore.recipes.recipe_file import load_recipe
from embstore.sources.files import file_sha256
from embstore.storage.catalog import Catalog, Ids

PLAN_COLUMNS = (
    "step",
    "model",
    "space",
    "sources",
    "unit",
    "pooling",
    "template",
    "metric",
    "column",
    "figure",
)


StoreMethods = Any  # an embstore.Store, which is above this package


@dataclass(frozen=True, slots=True)
class LayerValue:
    """The result of a query at one layer, of n vectors, or the reason why there is no value."""

    layer: int
    value: float | None
    n: int | None
    reason: str | None = None
    group: str | None = (
        # group of the items, empty for those without a value of the column; None without groups
        None
    )


Answers = Mapping[PlannedQuery, Mapping[str, Sequence[LayerValue]] | str]
"""The answer to each query: column → values by ascending layer, or the reason why there is none."""


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

    Texts that are already embedded are not embedded again, so an interrupted run can be resumed.
    Progress is reported by the stages of builds, then ``measure``, counted in queries.
    """
    run, notes = _plan_run(name, options)
    for step in run.builds:
        notes += _build(store, step, options)
    queries = run.queries
    answers: dict[PlannedQuery, dict[str, list[LayerValue]] | str] = {}
    for n_done, query in enumerate(queries):
        report_progress(
            Progress("measure", run.recipe.name, n_done, len(queries), n_done / len(queries))
        )
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
            "step": "build",
            "model": step.model,
            "space": step.space,
            "unit": step.spec.unit.value,
            "pooling": step.spec.pooling.value,
            "template": step.spec.template.pattern,
            "sources": (
                " ".join(step.sources) + (f", the first {step.limit} texts" if step.limit else "")
            ),
        }
        for step in run.builds
    ]
    queries = [
        blank
        | {
            "step": "query",
            "model": planned.model,
            "metric": planned.measure.metric,
            "column": planned.measure.column,
            "space": planned.query.space,
            "figure": (
                planned.measure.figure
                + (f" ({planned.measure.variant})" if planned.measure.variant else "")
            ),
        }
        for planned in run.measures
        if isinstance(planned.query, PlannedQuery)
    ]
    return table([*builds, *queries], columns=PLAN_COLUMNS, notes=notes)


def _plan_run(name: str, options: ReproduceOptions) -> tuple[Plan, list[str]]:
    """Read a recipe, load the tokenizers of its models, and plan the run; return the plan with
    notes for the user.
    """
    check_seed(options.seed)
    recipe = load_recipe(name)
    check_metrics(recipe)
    sentences = None if options.sentences is None else _sentences(options.sentences)
    if sentences and not any(source.replaceable for source in recipe.sources.values()):
        raise UsageError(
            f"the recipe {recipe.name!r} has no source that a file of sentences may replace."
        )
    models = [
        _traits(spec, recipe, options) for spec in dict.fromkeys(options.models or recipe.models)
    ]
    names = [model.name for model in models]
    if duplicate := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(
            f"two of the models are called {duplicate!r}. Rename one: models='NAME=FOLDER'."
        )
    run = plan(
        recipe,
        models,
        quick=options.quick,
        sentences=sentences,
        seed=options.seed,
        all_published=not options.models,
    )
    notes = list(recipe.notes)
    published = {number.model for number in recipe.published}
    if unknown := [name for name in names if name not in published]:
        notes.append(
            f"nothing is published for {', '.join(unknown)}. A folder that stands in for"
            f" {' or '.join(recipe.models)} is given as NAME=FOLDER."
        )
    return run, notes


def check_metrics(recipe: Recipe) -> None:
    """Check that measures fit their metrics (parameters, column, unit); raise UnknownNameError or
    UsageError.
    """
    for measure in recipe.measures:
        metric = get_metric(measure.metric)
        metric.check(measure.parameters)
        if measure.words and any(parameter.name == "words" for parameter in metric.parameters):
            raise UsageError(
                f"{measure.figure!r}: {metric.name} takes words as a parameter: put them in"
                " parameters."
            )
        if measure.by is not None and (of := UNGROUPED.get(metric.needs)) is not None:
            raise UsageError(
                f"{measure.figure!r}: {metric.name} is of {of}, not of groups of items: leave"
                " out by."
            )
        columns = [column.name for column in metric.columns if column.type in ("number", "integer")]
        check_known(f"column of {metric.name}", measure.column, columns)
        for space in measure.spaces:
            unit = recipe.spaces[space].unit
            if metric.units and unit not in metric.units:
                raise UsageError(
                    f"{measure.figure!r} asks {metric.name} of the space {space!r}, whose unit is"
                    f" {unit.value}: the metric is about {' or '.join(metric.units)} spaces."
                )


def _sentences(path: str) -> Sentences:
    """Return the user's file of sentences, with the tag from its name and hash; raise SourceError
    if unreadable.
    """
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
        step.sources,
        models=step.model,
        unit=step.spec.unit.value,
        poolings=step.spec.pooling.value,
        template=step.spec.template.pattern,
        limit=step.limit,
        per_text=step.per_text,
        seed=options.seed,
        name=step.space,
        keep=step.keep,
        index="none",
        device=options.device,
        allow_pickle=options.allow_pickle,
    )
    return [
        f"{step.space}: {count} skipped: {reason}"
        for reason, count in sum(
            (space.skipped for space in report.spaces), report.blanks.copy()
        ).most_common()
    ]


def _answer(store: StoreMethods, query: PlannedQuery) -> dict[str, list[LayerValue]] | str:
    """Run a query: return the values of each column of its result at each layer, or the reason why
    there are none.
    """
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
            query.metric,
            spaces=query.space,
            layers=f"0-{n_blocks}",
            where=_where(store, query),
            sample=query.sample,
            seed=query.seed,
            transforms=query.transforms,
            **({"words": query.words} if query.words else {}),
            **({"by": query.by, "bins": query.bins} if query.by else {}),
            **dict(query.parameters),
        )
    except QueryError as error:
        return str(error)
    if len({(row["layer"], row.get("group")) for row in result}) < len(result):
        return f"{query.metric} gives several rows for a layer: its parameters must single one out"
    columns = [
        column for column in result.columns if column not in ("layer", "group", "n", "reason")
    ]
    return {column: [_layer_value(row, column) for row in result] for column in columns}


def _layer_value(row: Mapping[str, Any], column: str) -> LayerValue:
    """Return the value of a column in a row of a query's result; None with the reason if it is no
    number.
    """
    value = row[column]
    value = float(value) if isinstance(value, int | float) else None
    group = (row["group"] or "") if "group" in row else None
    return LayerValue(
        row["layer"], value, row["n"], None if value is not None else row["reason"], group
    )


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


def _answer_notes(
    query: PlannedQuery, answer: Mapping[str, Sequence[LayerValue]] | str
) -> list[str]:
    """Return notes if a space has fewer items than the query's sample, or no item of some of its
    words.
    """
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
        notes.append(
            f"{query.space}{selection}: all {n} items are used, fewer than the {query.sample} of"
            " the paper."
        )
    n_missing = max((each.value or 0 for each in answer.get("words_missing", ())), default=0)
    if query.words and n_missing:
        notes.append(
            f"{query.space}: {n_missing:.0f} of the {len(query.words)} words of a measure have no"
            " item."
        )
    return notes


def _padded_self_similarity(
    catalog: Catalog, query: PlannedQuery, layers: Sequence[Layer]
) -> list[LayerValue]:
    """Compute the mean pairwise cosine of a sample of words and paddings, layer by layer.

    As the code of Wolfe & Caliskan (2022) does, which draws an index from 1 to the sentence's
    length, inclusive, in a batch padded on the right: never the first token, and the last index is
    one past the end. GPT-2's padding is its end-of-text token. In a sentence of w words the padding
    has probability 1/w. Otherwise the draw is the word of the occurrence, which was itself sampled
    from all w when the space was built; a first word is dropped.
    """
    rng = np.random.default_rng(query.seed)
    items = catalog.items(catalog.ids(query.space).tolist())
    occurrences = [items[item] for item in sorted(items)]
    sentences = [words_in(item.context or "") for item in occurrences]
    n_words = np.array([len(spans) for spans in sentences], np.int64)
    is_padding = rng.integers(1, n_words, endpoint=True) == n_words
    is_first = np.array(
        [item.span == spans[0] for item, spans in zip(occurrences, sentences, strict=True)],
        np.bool_,
    )
    kept = np.flatnonzero(is_padding | ~is_first)
    if query.sample is not None and query.sample < len(kept):
        kept = np.sort(rng.choice(kept, query.sample, replace=False))
    words = [occurrences[i].id for i in kept[~is_padding[kept]].tolist()]
    paddings = [
        item_id(Unit.SENTENCE, occurrences[i].context or "")
        for i in kept[is_padding[kept]].tolist()
    ]
    drawn = {
        query.space: np.array(words, np.int64),
        query.padding: np.array(sorted(paddings), np.int64),
    }
    return self_similarity(catalog, drawn, layers)


def self_similarity(
    catalog: Catalog, ids_by_space: Mapping[str, Ids], layers: Sequence[Layer]
) -> list[LayerValue]:
    """Compute the mean pairwise cosine of a multiset of items of some spaces, layer by layer.

    (‖Σu‖² − n) / (n (n − 1)) over unit vectors u: eq. 1 of Wolfe & Caliskan (2022). Two copies of
    an item are a pair of cosine 1. The multiset is split into sets without duplicates, whose sums
    are added. Ids that are not in their space are ignored.
    """
    sets = [
        (space, ids)
        for space, multiset in ids_by_space.items()
        for ids in split_into_sets(multiset)
    ]
    dim = catalog.cards[next(iter(ids_by_space))].dim
    values = []
    for layer in layers:
        summaries = (catalog.vectors(space, layer.id, ids).summary for space, ids in sets)
        total = sum(summaries, start=Summary.empty(dim))
        n = total.n - total.n_zero
        value = mean_pairwise_cosine(n, total.unit_total, total.unit_square_total)
        values.append(LayerValue(layer.id, value, n, TOO_FEW if value is None else None))
    return values


def split_into_sets(ids: Ids) -> Iterator[Ids]:
    """Split a multiset of ids into sets: the ids that occur at least once, at least twice and so
    on, each ascending.
    """
    distinct, counts = np.unique(ids, return_counts=True)
    for times in range(1, max(counts, default=0) + 1):
        yield distinct[counts >= times]


COLUMNS = (
    "model", "figure", "variant", "layers", "layer", "published", "relation", "low", "high",
    "measured", "verdict",
    "reason", "n", "source", "space", "metric",
)  # fmt: skip
TYPES = {
    **dict.fromkeys(("published", "low", "high", "measured"), "number"),
    **dict.fromkeys(("relation", "reason", "source", "space"), "string"),
}
"""JSON types of the columns that may be null in every row."""
Row = dict[str, Any]


def judge(plan: Plan, answers: Answers) -> list[Row]:
    """Build the rows of the result: one per measured or published number, with its verdict."""
    rows: list[Row] = []
    compared: set[Published] = set()
    for planned in plan.measures:
        numbers = tuple(
            number
            for number in plan.recipe.published
            if (number.model, number.figure) == (planned.model, planned.measure.figure)
            and (not number.spaces or planned.space.name in number.spaces)
            and (number.group is None) == (planned.measure.by is None)
        )
        compared.update(numbers)
        answer = (
            answers[planned.query] if isinstance(planned.query, PlannedQuery) else planned.query
        )
        if isinstance(answer, str):
            rows += [_row(planned, number, reason=answer) for number in numbers or (None,)]
        else:
            values = answer[planned.measure.column]
            groups = list(dict.fromkeys(value.group for value in values))
            for group in groups:
                of_group = [number for number in numbers if number.group == group]
                rows += _measured_rows(
                    planned, of_group, [value for value in values if value.group == group]
                )
            known = f"there are {', '.join(filter(None, groups))}" + " and one without a name" * (
                "" in groups
            )
            reason = f"there is no such group: {known}"
            rows += [
                _row(planned, number, reason=reason)
                for number in numbers
                if number.group not in groups
            ]
    rows += _variant_rows(plan)
    return rows + [
        _unmeasured_row(plan, number)
        for number in plan.recipe.published
        if number not in compared and (plan.all_published or number.model in plan.models)
    ]


def _measured_rows(
    planned: PlannedMeasure, numbers: Sequence[Published], values: Sequence[LayerValue]
) -> list[Row]:
    """Return a row for each layer, and for each published number on several layers or on a missing
    layer.
    """
    rows = []
    for value in values:
        numbers_of_layer = [number for number in numbers if number.layers == value.layer]
        rows += [_row(planned, number, value) for number in numbers_of_layer or (None,)]
    layers = [value.layer for value in values]
    for number in numbers:
        if number.layers in (BEST, ALL):
            rows.append(_row(planned, number, _over_layers(number, values)))
        elif number.layers not in layers:
            reason = f"{planned.model} has no other layers than {min(layers)} to {max(layers)}"
            rows.append(_row(planned, number, reason=reason))
    return rows


def _over_layers(number: Published, values: Sequence[LayerValue]) -> LayerValue:
    """Aggregate values over layers for comparison with a published number on several layers.

    ``best``: the maximum. ``all``: the least favourable value. Trend: the number of steps in the
    wrong direction.
    """
    if undefined := next((value for value in values if value.value is None), None):
        return replace(undefined, reason=f"layer {undefined.layer}: {undefined.reason}")
    if number.relation.is_trend:
        sign = 1 if number.relation is Relation.FALLING else -1
        falling = [sign * (value.value or 0.0) for value in values]
        n_wrong = sum(after > before for before, after in pairwise(falling))
        return replace(values[-1], value=float(n_wrong))
    takes_lowest = number.layers == ALL and not number.relation.is_upper
    return (min if takes_lowest else max)(values, key=lambda value: value.value or 0.0)


def _row(
    planned: PlannedMeasure,
    number: Published | None,
    value: LayerValue | None = None,
    *,
    reason: str | None = None,
) -> Row:
    """Return the row of a measure: a published number, if any, and the measured one or the reason
    why there is none.
    """
    measured = None if value is None else value.value
    verdict = Verdict.NOT_MEASURED
    if measured is not None:
        verdict = (
            Verdict.NOT_PUBLISHED if number is None else number.verdict(measured, planned.measure)
        )
    low, high = (None, None) if number is None else number.band(planned.measure)
    source = value or number
    group = None if source is None else source.group
    if group is not None:
        group = f"{planned.measure.by} {group}" if group else f"no {planned.measure.by}"
    row = _without_value(
        planned.model,
        planned.measure.figure,
        number,
        reason=reason if value is None else value.reason,
        variant=", ".join(filter(None, (planned.space.label, planned.measure.variant, group))),
        low=low,
        high=high,
        measured=measured,
        verdict=verdict.value,
        metric=planned.measure.metric,
        space=planned.query.space if isinstance(planned.query, PlannedQuery) else None,
    )
    if value is not None:
        row |= {"layer": value.layer, "layers": row["layers"] or str(value.layer), "n": value.n}
    return row


def _unmeasured_row(plan: Plan, number: Published) -> Row:
    """Return the row of a published number that nothing was compared with, with the reason."""
    reason = "the recipe has no measure of it"
    if number.model not in plan.models:
        reason = f"{number.model} is not among the models of this run: models={number.model!r}"
    for entry in plan.recipe.unmeasured:
        covers_figure = not entry.figures or number.figure in entry.figures
        if (
            not entry.variant
            and covers_figure
            and (not entry.models or number.model in entry.models)
        ):
            reason = entry.reason
            break
    return _without_value(number.model, number.figure, number, reason=reason)


def _variant_rows(plan: Plan) -> list[Row]:
    """Return a row without a number for each variant that the recipe omits, for each of its figures
    and models.
    """
    return [
        _without_value(model, figure, None, variant=entry.variant, reason=entry.reason)
        for entry in plan.recipe.unmeasured
        if entry.variant
        for figure in entry.figures
        for model in plan.models
        if not entry.models or model in entry.models
    ]


def _without_value(model: str, figure: str, number: Published | None, **columns: Any) -> Row:
    """Return a row that is not measured but for the given columns, with those of a published
    number, if any.
    """
    row = dict.fromkeys(COLUMNS) | {
        "model": model,
        "figure": figure,
        "verdict": Verdict.NOT_MEASURED.value,
    }
    if number is not None:
        layers = None if number.layers is None else str(number.layers)
        row |= {
            "layers": layers,
            "published": number.value,
            "relation": number.relation.value,
            "source": number.source,
        }
    return row | columns


def summary_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """Count the verdicts, as one sentence."""
    rows = list(rows)
    counts = Counter(row["verdict"] for row in rows if row["relation"] is not None)
    n_unpublished = sum(row["verdict"] == Verdict.NOT_PUBLISHED for row in rows)
    n_hit, n_missed, n_unmeasured = (
        counts[verdict] for verdict in (Verdict.HIT, Verdict.MISS, Verdict.NOT_MEASURED)
    )
    return (
        f"beside published numbers: {n_hit} hit, {n_missed} missed, {n_unmeasured} not measured; "
        f"{n_unpublished} measured of which nothing is published."
    )
