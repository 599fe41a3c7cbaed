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
from embstore.base.progress import Progress, report_progress
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
        steps: dict[str, dict[str, Step]] = {}
        for spec in dict.fromkeys(self.models or paper["models"]):
            model, of_model = self._steps(spec, paper)
            if model in steps:
                raise UsageError(
                    f"two of the models are called {model!r}. Rename one: NAME=FOLDER."
                )
            steps[model] = of_model
        measures = [
            (measure, steps[model][space], steps[model][measure.get("padding", space)])
            for measure in paper["measures"]
            for model in steps
            for space in measure["spaces"]
            if {space, measure.get("padding", space)} <= steps[model].keys()
        ]
        builds = [
            step for of_model in steps.values() for step in of_model.values() if not step.reason
        ]
        if dry_run:
            return self._plan(builds, measures)
        notes, rows, compared = [*paper["notes"]], list[Row](), list[Entry]()
        if unknown := steps.keys() - {number["model"] for number in numbers}:
            notes.append(f"nothing is published for {', '.join(sorted(unknown))}.")
        for step in builds:
            report = store.build(**step.build)
            skipped = sum((space.skipped for space in report.spaces), report.blanks.copy())
            notes += [
                f"{step.build['name']}: {n} skipped: {why}" for why, n in skipped.most_common()
            ]
        for n_done, (measure, step, padding) in enumerate(measures):
            share = n_done / len(measures)
            report_progress(Progress("measure", NAME, n_done, len(measures), share))
            reason, values = self._reason(measure, step, padding), list[Value]()
            try:
                values = [] if reason else self._values(store, measure, step, padding)
            except QueryError as error:
                reason = str(error)
            n, sample = max((value.n or 0 for value in values), default=0), measure.get("sample", 0)
            if 0 < n < sample:
                of = step.build["name"] + (
                    f" with {measure['where']}" if "where" in measure else ""
                )
                notes.append(f"{of}: all {n} items are used, fewer than the {sample} of the paper.")
            own = [number for number in numbers if _is_about(number, measure, step)]
            compared += own
            rows += compare(measure, step, reason or values, own)
        report_progress(Progress("measure", NAME, len(measures), len(measures), 1.0))
        others = [
            number
            for number in numbers
            if number not in compared and (not self.models or number["model"] in steps)
        ]
        rows += _unmeasured(paper["unmeasured"], others, [*steps])
        counts = Counter(row["verdict"] for row in rows if row["relation"] is not None)
        n_unpublished = sum(row["verdict"] == "not published" for row in rows)
        notes.append(
            f"{paper['citation']}: beside published numbers: {counts['hit']} hit,"
            f" {counts['miss']} missed, {counts[NOT_MEASURED]} not measured; {n_unpublished}"
            " measured of which nothing is published."
        )
        shown = [ShownColumn(column) for column in SHOWN]
        return table(rows, columns=COLUMNS, notes=notes, types=TYPES, shown=shown)

    def _steps(self, spec: str, paper: Entry) -> tuple[str, dict[str, Step]]:
        """Return the name of a model, and the builds of its spaces by their name in the paper."""
        checkpoint = resolve(spec, allow_pickle=self.allow_pickle)
        tokenizer = Tokenizer.load(checkpoint)
        has_marks = "" in (tokenizer.bos, tokenizer.eos)  # it adds them itself: {bos} is empty
        sources = {source["name"]: source for source in paper["sources"]}
        steps = {}
        for space in paper["spaces"]:
            is_named = checkpoint.name in space.get("models", [checkpoint.name])
            if not is_named or (has_marks and space.get("only_bare")):
                continue
            build = self._build(checkpoint.name, space, sources[space["source"]]) | {"models": spec}
            reason, template = None, Template(build["template"])
            try:
                tokenizer.template_strings(template)
                tokenizer.check(Unit(space["unit"]), Pooling(space["pooling"]), template)
            except (CheckpointError, QueryError, UsageError) as error:
                reason = str(error)
            steps[space["name"]] = Step(checkpoint.name, space, build, reason)
        return checkpoint.name, steps

    def _build(self, model: str, space: Entry, source: Entry) -> Row:
        """Return the arguments of a build; with other texts (own, seed, quick), another name."""
        texts, per_text, name = (
            source["datasets"],
            source.get("per_text"),
            [NAME, model, space["name"]],
        )
        if self.quick:
            texts = source.get("quick", texts)
        if self.sentences is not None and source.get("replaceable"):
            file = Path(self.sentences)
            texts, per_text = [self.sentences], source.get("own_per_text", per_text)
            name.append(f"{re.sub('[^A-Za-z0-9_-]', '-', file.stem)}-{file_sha256(file)[:8]}")
        if per_text is not None and self.seed:
            name.append(f"seed{self.seed}")
        limit = source.get("quick_texts") if self.quick else None
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

    def _reason(self, measure: Entry, step: Step, padding: Step) -> str | None:
        """Return why a measure cannot be queried; None if it can."""
        whole = step.build["sources"] if step.build["limit"] is None else []
        is_left_out = self.quick and not {*measure.get("datasets", ())} <= {*whole}
        return step.reason or padding.reason or ("left out by quick" if is_left_out else None)

    def _values(self, store: Any, measure: Entry, step: Step, padding: Step) -> list[Value]:
        """Return the value of a measure at each layer."""
        name, catalog, where = step.build["name"], store.catalog, measure.get("where")
        if "padding" in measure:
            drawn = _draws(catalog, name, measure["sample"], self.seed)
            return self_similarity(catalog, [(name, drawn[0]), (padding.build["name"], drawn[1])])
        if "items" in measure and step.build["limit"] is None:  # a space that is cut has no others
            dataset = catalog.dataset(measure["items"], Unit(step.space["unit"]))
            if "left" in measure:
                return self_similarity(catalog, [(name, dataset["item_id"])])
            ids = np.union1d(dataset["item_id"], dataset["item_id_2"]).tolist()
            where = f"item_id IN ({', '.join(map(str, ids))})"
        layers = f"0-{catalog.cards[name].layers.n_blocks}"
        options = {"where": where, "sample": measure.get("sample"), "seed": self.seed}
        options |= measure.get("parameters", {})
        found = store.query(measure["metric"], spaces=name, layers=layers, **options)
        column = measure["column"]
        reasons = [None if row[column] is not None else row["reason"] for row in found]
        return list(map(Value, found["layer"], found[column], found["n"], reasons))

    def _plan(self, builds: Sequence[Step], measures: Sequence[tuple[Entry, Step, Step]]) -> Table:
        """Return the builds and queries as rows."""
        rows: list[Entry] = [
            {**step.build, "step": "build", "sources": " ".join(step.build["sources"])}
            for step in builds
        ]
        rows += [
            {**measure, "step": "query", "name": step.build["name"]}
            for measure, step, padding in measures
            if self._reason(measure, step, padding) is None
        ]
        return table([{**dict.fromkeys(PLANNED), **row} for row in rows], columns=PLANNED)


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


def _is_about(number: Entry, measure: Entry, step: Step) -> bool:
    """Return whether a published number is of a measure of a space."""
    space = step.space["name"]
    return (number["model"], number["figure"]) == (step.model, measure["figure"]) and (
        space in number.get("spaces", [space])
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
    spans = [words_in(item.context or "") for item in occurrences]
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
    an item are a pair of cosine 1: the draws are split into sets, whose sums are added.
    """
    card, sets, values = catalog.cards[drawn[0][0]], list[tuple[str, Ids]](), list[Value]()
    for space, ids in drawn:
        distinct, counts = np.unique(ids, return_counts=True)
        sets += [(space, distinct[counts > times]) for times in range(max(counts, default=0))]
    for layer in card.layers.select(f"0-{card.layers.n_blocks}").members:
        summaries = (catalog.vectors(space, layer.id, ids).summary for space, ids in sets)
        total = sum(summaries, start=Summary.empty(card.dim))
        n = total.n - total.n_zero
        value = mean_pairwise_cosine(n, total.unit_total, total.unit_square_total)
        values.append(Value(layer.id, value, n, TOO_FEW if value is None else None))
    return values


def compare(
    measure: Entry, step: Step, found: Sequence[Value] | str, numbers: Sequence[Entry]
) -> Iterator[Row]:
    """Yield a row for each layer, and for each published number that is not of one of them."""
    variant = ", ".join(filter(None, (step.space["label"], measure.get("variant"))))
    own = {"model": step.model, "figure": measure["figure"], "variant": variant}
    row: Row = {**dict.fromkeys(COLUMNS), **own, "metric": measure["metric"]}
    if isinstance(found, str):
        for number in numbers or (None,):
            yield _judged(row, measure, number, Value(reason=found))
        return
    row["space"] = step.build["name"]
    for value in found:
        of_layer = [number for number in numbers if number["layers"] == value.layer]
        for number in of_layer or (None,):
            yield _judged(row, measure, number, value)
    for number in numbers:
        if number["layers"] in ("best", "all"):
            yield _judged(row, measure, number, _over_layers(number, found))
        elif number["layers"] not in [value.layer for value in found]:
            layers = f"{found[0].layer} to {found[-1].layer}"
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


def _judged(row: Row, measure: Entry, number: Entry | None, found: Value) -> Row:
    """Return the row of a value beside a published number, if there is one, with the verdict."""
    value = found.value
    row = row | {"layer": found.layer, "measured": value, "n": found.n, "reason": found.reason}
    if number is None:
        layers = None if found.layer is None else str(found.layer)
        return row | {
            "layers": layers,
            "verdict": NOT_MEASURED if value is None else "not published",
        }
    low, high = _band(number, measure)
    is_strict = number["relation"] in ("<", ">")
    inside = value is not None and (
        (low is None or value > low or (value == low and not is_strict))
        and (high is None or value < high or (value == high and not is_strict))
    )
    verdict = NOT_MEASURED if value is None else "hit" if inside else "miss"
    return row | _published(number) | {"low": low, "high": high, "verdict": verdict}


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
    """Return the columns of a published number."""
    layers = None if number["layers"] is None else str(number["layers"])
    return {
        "layers": layers,
        "published": number["value"],
        "relation": number["relation"],
        "source": number["source"],
    }


def _unmeasured(
    omitted: Sequence[Entry], numbers: Sequence[Entry], models: Sequence[str]
) -> Iterator[Row]:
    """Yield a row for each variant and published number that nothing is compared with."""
    blank: Row = {**dict.fromkeys(COLUMNS), "verdict": NOT_MEASURED}
    for entry in omitted:
        for model in models if "variant" in entry else ():
            if model in entry["models"]:
                yield (
                    blank
                    | {"model": model, "figure": entry["figures"][0]}
                    | {name: entry[name] for name in ("variant", "reason")}
                )
    for number in numbers:
        model, figure = number["model"], number["figure"]
        reasons = [
            entry["reason"]
            for entry in omitted
            if "variant" not in entry
            and figure in entry.get("figures", [figure])
            and model in entry.get("models", [model])
        ]
        reason = reasons[0] if reasons else f"{model} is not among the models of this run"
        yield blank | _published(number) | {"model": model, "figure": figure, "reason": reason}
