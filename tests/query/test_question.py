"""What each row says of the question: the metric's parameters, and the seed of what was drawn."""

from dataclasses import replace

import pyarrow
import pytest
from every_metric import INPUTS, WORDS, prepare

from embstore.base.errors import UsageError
from embstore.base.table import show_parameter
from embstore.metrics import METRICS, Parameter
from embstore.metrics.plugins import problems

# Defaults that have another effect here, and what makes others effective.
USED = {
    ("valnorm", "value"): "valence",
    ("spectrum", "k"): 6,
    ("intrinsic-dimension", "neighbours"): 20,
    ("rsa", "pairs"): None,
    **{(metric, "permutations"): 10_000 for metric in ("weat", "sc-weat")},
}
# Of the first two no more are there.
ANOTHER = {("spectrum", "k"): 3, ("rsa", "pairs"): 50, ("change", "against"): "rest"}
# Names, which a type does not give.
TEXTS = {
    "sentence_space": "toy.sentence.mean",
    "value": "arousal",
    "word": ("the",),
    "label_bins": "3",
}
PYTHON = {"integer": int, "number": float, "string": str, "boolean": bool, "array of strings": list}
ARROW = {
    "integer": pyarrow.int64(),
    "number": pyarrow.float64(),
    "string": pyarrow.string(),
    "boolean": pyarrow.bool_(),
    "array of strings": pyarrow.list_(pyarrow.string()),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("prepared") / "store").store


def ask(store, metric, **question):
    unit = "word" if "word" in (METRICS[metric].units or ["word"]) else "occurrence"
    poles = INPUTS["axis"] if question.get("value") == "axis" else {}
    return store.query(metric, unit=unit, **{**INPUTS.get(metric, {}), **poles, **question})


def another(metric, parameter):
    """Return a value that is not the default, nor that of INPUTS."""
    if parameter.is_words:
        return ["lends", "by"] if metric == "ceat" else WORDS[28:]
    if (metric, parameter.name) in ANOTHER:
        return ANOTHER[metric, parameter.name]
    if parameter.choices:
        choices = [choice for choice in parameter.choices if choice != parameter.default]
        return choices[-1]  # the first value of correlate is of occurrences
    if parameter.name in TEXTS:
        return TEXTS[parameter.name]
    if parameter.kind is bool:
        return not parameter.default
    if parameter.default is None:
        return 7
    step = 1 if parameter.kind is int else 0.25
    is_highest = parameter.maximum is not None and parameter.default + step > parameter.maximum
    return parameter.default - step if is_highest else parameter.default + step


def named_parameters(table):
    """Return the parameters and values that the first note names, as in ``n = 30; k = 5.``"""
    parts = table.notes[0].removesuffix(".").split("; ")[1:] if table.notes else []
    return {
        (name, value) for name, is_named, value in (p.partition(" = ") for p in parts) if is_named
    }


def used(metric, parameter, question):
    """Return the value that has an effect: of what is given, else of the default."""
    if not parameter.has_effect(
        {each.name: each.default for each in METRICS[metric].parameters} | dict(question)
    ):
        return None
    if parameter.name in question:
        return question[parameter.name]
    return USED.get((metric, parameter.name), parameter.default)


EVERY = [(metric.name, parameter) for metric in METRICS.values() for parameter in metric.parameters]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "parameter"), EVERY, ids=lambda each: getattr(each, "name", each)
)
def test_rows_of_two_values_of_a_parameter_say_which(store, metric, parameter):
    """Also where the metric has a column of that name, which the parameter fills (``std``,
    ``adjusted``, ``word``).
    """
    if not parameter.is_in_rows:
        assert parameter.is_input or parameter.name == "most", "whose ranks say how many there are"
        return
    value, given = another(metric, parameter), dict(INPUTS.get(metric, {}))
    if parameter.only_with is not None:
        other, allowed = parameter.only_with
        given |= {other: allowed[-1]} if allowed != ((),) else {}
    if metric == "correlate" and parameter.is_words:
        given |= {"value": "axis", **INPUTS["axis"]}
    plain, changed = (
        ask(store, metric, **given),
        ask(store, metric, **given | {parameter.name: value}),
    )
    assert set(map(str, plain[parameter.name])).isdisjoint(map(str, changed[parameter.name]))
    if parameter in METRICS[metric].row_parameters:
        assert plain[parameter.name] == [used(metric, parameter, given)] * len(plain)
        assert changed[parameter.name] == [
            used(metric, parameter, given | {parameter.name: value})
        ] * len(changed)
        text = (
            str(value) if isinstance(value, float) else show_parameter(changed[parameter.name][0])
        )
        assert (parameter.name, text) in named_parameters(changed)
    assert {name for name, _ in named_parameters(plain)} == {
        each.name
        for each in METRICS[metric].row_parameters
        if used(metric, each, given) not in (None, each.default)
    }


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
def test_what_rows_say_has_the_declared_types(store, metric):
    found = ask(store, metric)
    types = {
        name: ARROW[METRICS[metric].types[name]]
        for name in found.columns
        if name in ("reason", "seed")
    }
    for parameter in METRICS[metric].row_parameters:
        types[parameter.name] = ARROW[parameter.type]
        assert all(
            value is None or type(value) is PYTHON[parameter.type]
            for value in found[parameter.name]
        )
    assert {name: found.to_arrow().schema.field(name).type for name in types} == types


def test_the_table_for_the_eye_is_as_wide_as_ever(store):
    found = ask(store, "hubness", k=3, distance="euclidean")
    assert found.layout()[0] == ["layer", "skewness", "hub_share", "antihub_share"]
    assert found.notes == ("n = 30; k = 3; distance = euclidean.",)


def test_a_row_without_a_value_says_how_it_was_asked_too(store):
    one = f"text = '{WORDS[0]}'"
    [row] = ask(store, "isoscore", zeta=1, where=one, layers=0).to_pylist()
    assert (row["isoscore"], row["zeta"], type(row["zeta"])) == (None, 1.0, float)
    [row] = ask(store, "similarity", where=one, layers=0).to_pylist()
    assert (row["spearman"], row["missing"]) == (None, "skip")


SPLITS = (
    "one-sided p-values, from 50 random splits of the words into two sets of these sizes (seed 5)"
)
DRAWN = [
    ("weat", {"permutations": 50}, SPLITS),
    ("sc-weat", {"permutations": 50}, SPLITS),
    (
        "rsa",
        {"correlation": "spearman", "pairs": 50},
        "a random sample of 50 of 435 pairs of items (seed 5)",
    ),
    ("ceat", {"draws": 50}, "50 draws of one occurrence of each word (seed 5)"),
    ("change", {"word": ["the"]}, "p by 1,000 shuffles of the groups (seed 5)"),
    ("knn", {"k": 3}, "intervals from random halves of the items (seed 5)"),
    ("clusters", {"runs": 2}, "2 random starts of k-means (seed 5)"),
    ("predictivity", {}, "5 folds (seed 5)"),
    ("probe", {"control": False, "repeats": 2}, "2 × 2 folds drawn at random (seed 5)"),
]
NOT_DRAWN = [
    ("weat", {"permutations": 0}),
    ("weat", {"x": WORDS[:3], "y": WORDS[3:6]}),
    ("sc-weat", {"a": WORDS[:3], "b": WORDS[3:6]}),
    ("rsa", {}),
    ("rsa", {"correlation": "spearman", "pairs": 435}),
]


def test_every_metric_that_draws_is_among_those_that_follow():
    assert {metric.name for metric in METRICS.values() if metric.is_seeded} == {
        metric for metric, _, _ in DRAWN
    }


@pytest.mark.parametrize(
    ("metric", "question", "expected"), DRAWN, ids=[metric for metric, _, _ in DRAWN]
)
def test_what_was_drawn_has_a_note_with_its_seed(store, metric, question, expected):
    for _ in "computed", "from the cache":
        found = ask(store, metric, seed=5, **question)
        assert set(found["seed"]) == {5}
        assert found.notes[0].removesuffix(".").split("; ").count(expected) == 1
    assert set(ask(store, metric, **question)["seed"]) == {0}


@pytest.mark.parametrize(("metric", "question"), NOT_DRAWN)
def test_where_nothing_was_drawn_there_is_no_seed(store, metric, question):
    found = ask(store, metric, seed=5, **question)
    assert set(found["seed"]) == {None}
    assert not any("seed" in note for note in found.notes)
    sampled = ask(store, metric, seed=5, **question, sample=30)
    assert (set(sampled["seed"]), set(sampled["sample"])) == ({5}, {30})
    assert str(sampled.notes).count("seed") == 1
    assert len(set(sampled.columns)) == len(sampled.columns)


def test_a_number_is_of_the_declared_type():
    share = Parameter("share", 2.0, "How much.")
    assert [type(share.check(value)) for value in (2, 3, 2.5)] == [float] * 3
    with pytest.raises(UsageError, match="share must be a number that a float can hold"):
        share.check(10**400)
    with pytest.raises(UsageError, match="whether must be True or False, not 'yes'"):
        Parameter("whether", False, "Whether.").check("yes")


def test_a_parameter_cannot_have_the_name_of_a_column_of_every_row():
    metric = replace(METRICS["norms"], parameters=(Parameter("n", 1, "How many."),))
    [problem] = problems(metric)
    assert "'n'" in problem
