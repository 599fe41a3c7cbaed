"""Reproduce Wolfe & Caliskan (2022): build the spaces of ``wolfe2022.toml``, query its measures,
and compare them with the published numbers of ``wolfe2022.json``.
"""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from embstore.base.errors import CheckpointError, QueryError, UsageError
from embstore.base.messages import MOST_NAMED, first_of
from embstore.base.progress import task
from embstore.base.space import Pooling, Template, Unit
from embstore.base.summary import Summary
from embstore.base.table import ShownColumn, Table, table
from embstore.base.text import item_id, words_in
from embstore.encode.checkpoint import resolve
from embstore.encode.tokens import Tokenizer
from embstore.metrics.geometry import TOO_FEW, mean_pairwise_cosine
from embstore.query.request import check_seed
from embstore.sources.files import file_sha256
from embstore.storage.catalog import Catalog, Ids

NAME, NOT_MEASURED = "wolfe2022", "not measured"
COLUMNS = (
    "model", "figure", "variant", "layers", "layer", "published", "relation", "low", "high",
    "measured", "verdict", "reason", "n", "source", "space", "metric",
)  # fmt: skip
SHOWN = (*COLUMNS[:7], *COLUMNS[9:12])
TYPES = dict.fromkeys(("published", "low", "high", "measured"), "number")
TYPES |= dict.fromkeys(("relation", "reason", "source", "space"), "string")
PLANNED = ("step", "name", "sources", "limit", "template", "metric", "column", "figure", "variant")

Entry = Mapping[str, Any]  # of the TOML or JSON file
Row = dict[str, Any]
BLANK: Row = {**dict.fromkeys(COLUMNS), "verdict": NOT_MEASURED}


class Value(NamedTuple):
    """The value of a measure at one layer, of n vectors, or the reason why there is none."""

    layer: int | None = None
    value: float | None = None
    n: int | None = None
    reason: str | None = None


class Step(NamedTuple):
    """A space of a model; ``reason`` says why the model cannot have it."""

    model: str
    space: Entry
    build: Row  # arguments of Store.build
    reason: str | None


class Query(NamedTuple):
    """A measure of a space, and of its padding if it has one; ``reason`` says why it has no
    value.
    """

    measure: Entry
    step: Step
    padding: Step
    reason: str | None


@dataclass(frozen=True)
class Reproduction:
    """Options of a reproduction, as of :meth:`embstore.Store.reproduce`."""

    models: Sequence[str] = ()
    sentences: str | None = None
    quick: bool = False
    seed: int = 0
    device: str | None = None
    allow_pickle: bool = False

    def run(self, store: Any, *, dry_run: bool = False) -> Table:
        """Build the spaces, query the measures, and compare them; or list what would be done.

        Texts that are already embedded are not embedded again, so that the same call goes on.
        """
        check_seed(self.seed)
        paper, numbers = read_paper()
        steps = self._steps(paper)
        queries = self._queries(paper, steps)
        builds = [step.build for step in steps.values() if not step.reason]
        if dry_run:
            planned: list[Entry] = [
                {**build, "step": "build", "sources": " ".join(build["sources"])}
                for build in builds
            ]
            planned += [
                {**query.measure, "step": "query", "name": query.step.build["name"]}
                for query in queries
                if query.reason is None
            ]
            return table([{c: row.get(c) for c in PLANNED} for row in planned], columns=PLANNED)
        models, rows = list(dict.fromkeys(model for model, _ in steps)), list[Row]()
        notes = [*paper["notes"]]
        if unknown := {*models} - {number["model"] for number in numbers}:
            notes.append(f"nothing is published for {first_of(sorted(unknown), MOST_NAMED)}.")
        for build in builds:
            report = store.build(**build)
            skipped = sum((space.skipped for space in report.spaces), report.blanks.copy())
            notes += [f"{build['name']}: {n} skipped: {why}" for why, n in skipped.most_common()]
        others = [number for number in numbers if not self.models or number["model"] in models]
        with task("measure", NAME, len(queries)) as measuring:
            for query in queries:
                values = self._values(store, query)
                notes += _notes_on_sample(query, values)
                published = [number for number in numbers if _is_about(number, query)]
                others = [number for number in others if number not in published]
                rows += compare(query.measure, query.step, values, published)
                measuring.finish()
        rows += [BLANK | entry for entry in paper["unmeasured"] if entry["model"] in models]
        rows += [BLANK | _published(number) for number in others]
        notes.append(f"{paper['citation']}: {_verdicts(rows)}")
        shown = [ShownColumn(column) for column in SHOWN]
        return table(rows, columns=COLUMNS, notes=notes, types=TYPES, shown=shown)

    def _steps(self, paper: Entry) -> dict[tuple[str, str], Step]:
        """Return the builds of the spaces, by the names of model and space in the paper."""
        steps: dict[tuple[str, str], Step] = {}
        for spec in dict.fromkeys(self.models or paper["models"]):
            checkpoint = resolve(spec, allow_pickle=self.allow_pickle)
            tokenizer, model = Tokenizer.load(checkpoint), checkpoint.name
            if any(model == other for other, _ in steps):
                raise UsageError(
                    f"two of the models are called {model!r}. Rename one: NAME=FOLDER."
                )
            has_marks = "" in (tokenizer.bos, tokenizer.eos)  # it adds them itself: {bos} is empty
            for space in paper["spaces"]:
                is_named = model in space.get("models", [model])
                if not is_named or (has_marks and space.get("only_bare")):
                    continue
                build = self._build(model, space, paper["sources"][space["source"]])
                reason, template = None, Template(build["template"])
                try:
                    tokenizer.template_strings(template)
                    tokenizer.check(Unit(space["unit"]), Pooling(space["pooling"]), template)
                except (CheckpointError, QueryError, UsageError) as error:
                    reason = str(error)
                steps[model, space["name"]] = Step(model, space, build | {"models": spec}, reason)
        return steps

    def _queries(self, paper: Entry, steps: Mapping[tuple[str, str], Step]) -> list[Query]:
        """Return the measures of the spaces that the models have."""
        queries = []
        for measure in paper["measures"]:
            for model in dict.fromkeys(model for model, _ in steps):
                for space in measure["spaces"]:
                    step = steps.get((model, space))
                    padding = steps.get((model, measure.get("padding", space)))
                    if step and padding:
                        sources = step.build["sources"] if step.build["limit"] is None else ()
                        reason = step.reason or padding.reason
                        if self.quick and not {*measure.get("datasets", ())} <= {*sources}:
                            reason = reason or "left out by quick"
                        queries.append(Query(measure, step, padding, reason))
        return queries

    def _build(self, model: str, space: Entry, source: Entry) -> Row:
        """Return the arguments of a build; with other texts (own, seed, quick), another name."""
        texts, per_text = source["datasets"], source.get("per_text")
        name, limit = [NAME, model, space["name"]], None
        if self.quick:
            texts, limit = source.get("quick", texts), source.get("quick_texts")
        if self.sentences is not None and source.get("replaceable"):
            file = Path(self.sentences)
            texts, per_text = [self.sentences], source.get("own_per_text")
            name.append(f"{re.sub('[^A-Za-z0-9_-]', '-', file.stem)}-{file_sha256(file)[:8]}")
        if per_text is not None and self.seed:
            name.append(f"seed{self.seed}")
        if limit is not None:
            name.append("quick")
        return {
            "sources": texts,
            "unit": space["unit"],
            "poolings": space["pooling"],
            "template": space.get("template", "{text}"),
            "limit": limit,
            "per_text": per_text,
            "seed": self.seed,
            "name": ".".join(name),
            "index": "none",
            "device": self.device,
            "allow_pickle": self.allow_pickle,
        }

    def _values(self, store: Any, query: Query) -> list[Value]:
        """Return the value of a measure at each layer, or one with the reason why there is none."""
        measure, step, padding, reason = query
        if reason:
            return [Value(reason=reason)]
        space, catalog, sample = step.build["name"], store.catalog, measure.get("sample")
        if "padding" in measure:
            words, ends = _draws(catalog, space, measure["sample"], self.seed)
            return self_similarity(catalog, [(space, words), (padding.build["name"], ends)])
        if "left_of" in measure:
            dataset = catalog.dataset(measure["left_of"], Unit(step.space["unit"]))
            return self_similarity(catalog, [(space, dataset["item_id"])])
        layers = f"0-{catalog.cards[space].layers.n_blocks}"
        options = {"where": measure.get("where"), "sample": sample, "seed": self.seed}
        options |= measure.get("parameters", {})
        try:
            answers = store.query(measure["metric"], spaces=space, layers=layers, **options)
        except QueryError as error:
            return [Value(reason=str(error))]
        return [
            Value(row["layer"], value, row["n"], row["reason"] if value is None else None)
            for row, value in zip(answers, answers[measure["column"]], strict=True)
        ]


def read_paper() -> tuple[Entry, list[Entry]]:
    """Return the paper, and an entry for each published number, of one layer or of several."""
    folder = resources.files(__package__)
    paper = tomllib.loads(folder.joinpath(f"{NAME}.toml").read_text("utf-8"))
    numbers: list[Entry] = []
    for figure in json.loads(folder.joinpath(f"{NAME}.json").read_text("utf-8"))["figures"]:
        values = figure.get("values", [figure.get("value")])
        for layer, value in enumerate(values, figure.get("first_layer", 0)):
            numbers.append({"layers": layer, **figure, "value": value})
    return paper, numbers


def _is_about(number: Entry, query: Query) -> bool:
    """Return whether a published number is of a measure of a space."""
    space = query.step.space["name"]
    return (
        number["model"] == query.step.model
        and number["figure"] == query.measure["figure"]
        and space in number.get("spaces", [space])
    )


def _notes_on_sample(query: Query, values: Sequence[Value]) -> list[str]:
    """Return a note if there are fewer items than the sample of the paper has."""
    measure = query.measure
    n, sample = max(value.n or 0 for value in values), measure.get("sample", 0)
    if not 0 < n < sample:
        return []
    where = f" with {measure['where']}" if "where" in measure else ""
    return [
        f"{query.step.build['name']}{where}: all {n} items are used, fewer than the {sample} of"
        " the paper."
    ]


def _verdicts(rows: Sequence[Row]) -> str:
    """Return how many rows have each verdict."""
    counts = Counter(row["verdict"] for row in rows if row["relation"] is not None)
    n_unpublished = sum(row["verdict"] == "not published" for row in rows)
    return (
        f"beside published numbers: {counts['hit']} hit, {counts['miss']} missed,"
        f" {counts[NOT_MEASURED]} not measured; {n_unpublished} measured of which nothing is"
        " published."
    )


def _draws(catalog: Catalog, space: str, sample: int, seed: int) -> tuple[Ids, Ids]:
    """Draw ids of occurrences and of padded sentences as the code of Wolfe & Caliskan (2022) does.

    It draws an index from 1 to the sentence's length, inclusive, in a batch padded on the right:
    never the first token, and the last index is one past the end. GPT-2's padding is its
    end-of-text token. In a sentence of w words the padding has probability 1/w. Otherwise the draw
    is the word of the occurrence, which was itself sampled from all w when the space was built; a
    first word is dropped.
    """
    rng = np.random.default_rng(seed)
    occurrences = [item for _, item in sorted(catalog.items(catalog.ids(space).tolist()).items())]
    spans = [list(words_in(item.context or "")) for item in occurrences]
    n_words = np.array([*map(len, spans)], np.int64)
    is_padding = rng.integers(1, n_words, endpoint=True) == n_words
    is_first = [item.span == words[0] for item, words in zip(occurrences, spans, strict=True)]
    kept = np.flatnonzero(is_padding | ~np.array(is_first, np.bool_))
    if sample < len(kept):
        kept = np.sort(rng.choice(kept, sample, replace=False))
    words = [occurrences[i].id for i in kept[~is_padding[kept]].tolist()]
    padded = [occurrences[i].context or "" for i in kept[is_padding[kept]].tolist()]
    ends = [item_id(Unit.SENTENCE, context) for context in padded]
    return np.array(words, np.int64), np.array(ends, np.int64)


def self_similarity(catalog: Catalog, drawn: Sequence[tuple[str, Ids]]) -> list[Value]:
    """Compute the mean pairwise cosine of drawn items of some spaces, layer by layer.

    (‖Σu‖² − n) / (n (n − 1)) over unit vectors u: eq. 1 of Wolfe & Caliskan (2022). Two copies of
    an item are a pair of cosine 1.
    """
    card, values = catalog.cards[drawn[0][0]], list[Value]()
    for layer in card.layers.select(f"0-{card.layers.n_blocks}").members:
        total = Summary.empty(card.dim)
        for space, ids in drawn:
            distinct, copies = np.unique(ids, return_counts=True)
            stored, vectors = catalog.vectors(space, layer.id, distinct).gather()
            copies = copies[np.isin(distinct, stored)]
            total += Summary.of(np.repeat(vectors, copies, axis=0))
        n = total.n - total.n_zero
        value = mean_pairwise_cosine(n, total.unit_total, total.unit_square_total)
        values.append(Value(layer.id, value, n, TOO_FEW if value is None else None))
    return values


def compare(
    measure: Entry, step: Step, values: Sequence[Value], numbers: Sequence[Entry]
) -> Iterator[Row]:
    """Yield a row for each layer, and for each published number that is not of one of them."""
    variant = ", ".join(filter(None, (step.space["label"], measure.get("variant"))))
    row = BLANK | {
        "model": step.model,
        "figure": measure["figure"],
        "variant": variant,
        "metric": measure["metric"],
    }
    if values[0].layer is None:  # not measured
        for number in numbers or (None,):
            yield _judged(row, measure, number, values[0])
        return
    row["space"] = step.build["name"]
    for value in values:
        of_layer = [number for number in numbers if number["layers"] == value.layer]
        for number in of_layer or (None,):
            yield _judged(row, measure, number, value)
    for number in numbers:
        if number["layers"] in ("best", "all"):
            yield _judged(row, measure, number, _over_layers(number, values))
        elif number["layers"] not in [value.layer for value in values]:
            layers = f"{values[0].layer} to {values[-1].layer}"
            reason = f"{step.model} has no other layers than {layers}"
            yield _judged(row, measure, number, Value(reason=reason))


def _over_layers(number: Entry, values: Sequence[Value]) -> Value:
    """Return the value to compare with a number on several layers: of ``best`` the highest, of
    ``all`` the least favourable, of a trend how many steps go the other way.
    """
    if undefined := next((value for value in values if value.value is None), None):
        return undefined._replace(reason=f"layer {undefined.layer}: {undefined.reason}")
    if number["value"] is None:
        sign = 1 if number["relation"] == "falling" else -1
        signed = [sign * (value.value or 0.0) for value in values]
        return values[-1]._replace(value=float(sum(b > a for a, b in pairwise(signed))))
    takes_lowest = number["layers"] == "all" and number["relation"] not in ("<", "<=")
    return (min if takes_lowest else max)(values, key=lambda value: value.value or 0.0)


def _judged(row: Row, measure: Entry, number: Entry | None, judged: Value) -> Row:
    """Return the row of a value beside a published number, if there is one, with the verdict."""
    layer, value, n, reason = judged
    measured = {"layer": layer, "measured": value, "n": n, "reason": reason}
    if number is None:
        row = row | measured | {"layers": None if layer is None else str(layer)}
        return row if value is None else row | {"verdict": "not published"}
    low, high = _band(number, measure)
    row = row | _published(number) | measured | {"low": low, "high": high}
    if value is not None:
        is_outside = (low is not None and value < low) or (high is not None and value > high)
        is_equal = number["relation"] in ("<", ">") and value == number["value"]
        row["verdict"] = "miss" if is_outside or is_equal else "hit"
    return row


def _band(number: Entry, measure: Entry) -> tuple[float | None, float | None]:
    """Return the lowest and highest values that hit; of a trend no step that goes the other way."""
    value, relation = number["value"], number["relation"]
    if value is None:
        return None, 0.0
    if relation in ("=", "~="):
        width = measure.get("band", 0.0) + measure.get("relative_band", 0.0) * abs(value)
        return value - width, value + width
    return (None, value) if relation in ("<", "<=") else (value, None)


def _published(number: Entry) -> Row:
    """Return the columns of a published number, as it stands if nothing is compared with it."""
    published = {name: number[name] for name in ("model", "figure", "relation", "source")}
    layers = None if number["layers"] is None else str(number["layers"])
    absent = f"{number['model']} is not among the models of this run"
    reason = number.get("reason", absent)
    return {**published, "layers": layers, "published": number["value"], "reason": reason}
