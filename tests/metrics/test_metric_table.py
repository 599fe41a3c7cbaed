"""The table of metrics, and metrics given as objects: each can be made into options, help, schemas
and rows.
"""

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import pytest
from embstore_cli import query as command_line

from embstore import Store
from embstore import metrics as table
from embstore.base.errors import UnknownNameError
from embstore.base.space import Unit
from embstore.metrics import METRICS, Column, LayerData, Option, Parameter, all_metrics, metric
from embstore.metrics.data import Words
from embstore.metrics.declaration import Need
from embstore.metrics.explain import NEEDS, Explanation, metavar_of
from embstore.metrics.plugins import OWN_PARAMETERS, RESERVED_PARAMETERS, PluginError, problems

every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)


@every_metric
def test_every_metric_is_declared_in_full(metric):
    assert problems(metric) == []
    assert len(metric.help) <= 90
    assert metric.help.endswith(".")
    assert metric.estimator.endswith(".")
    assert metric.package is None


@every_metric
def test_every_default_is_one_that_the_metric_takes(metric):
    defaults = {parameter.name: parameter.default for parameter in metric.parameters}
    assert metric.check({}) == defaults
    for parameter in metric.parameters:
        for choice in parameter.choices:
            assert parameter.check(choice) == choice


def test_every_file_with_metrics_is_listed():
    assert next(iter(METRICS)) == "anisotropy"
    folder = Path(table.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if "\n@metric(" in path.read_text("utf-8")}
    assert files == set(table._FAMILIES)
    declared = {metric.function.__module__.rpartition(".")[2] for metric in METRICS.values()}
    assert declared == files


def test_the_reserved_options_are_those_that_all_metrics_have():
    flags = set()
    for function in (command_line.selection, command_line._query):
        for parameter in command_line.keyword_options(function):
            if parameter.name not in ("labels", "intervals"):  # a metric may have its own
                flags |= {parameter.name, *_declared(parameter.annotation)}
    python = set(inspect.signature(Store.query).parameters) - {"parameters"}
    assert flags | python <= RESERVED_PARAMETERS | OWN_PARAMETERS
    assert RESERVED_PARAMETERS - flags - python == {"help", "h", "data"}


def _declared(annotation):
    # In an annotation, Typer takes the first flag for the default at first.
    option = annotation.__metadata__[0]
    flags = (option.default, *(option.param_decls or ()))
    return {flag.lstrip("-").replace("-", "_") for flag in flags if isinstance(flag, str)}


def test_every_need_is_explained():
    assert set(NEEDS) == set(get_args(Need))


VALUE = Column("value", "number", "what it is")
KEY = Column("word", "string", "a word", is_key=True)


@metric(
    columns=(VALUE,), formula="1", citation="me", best="value", versus="units", estimator="More."
)
def own_metric(
    data: Any,
    *,
    k: Annotated[int, Option("How many.", minimum=1, maximum=9)] = 1,
    way: Annotated[Literal["a", "b"], Option("How.")] = "a",
    names: Annotated[tuple[str, ...], Option("Which.")] = (),
    share: Annotated[float | None, Option("How much.")] = None,
    words: Annotated[Words, Option("Which.")] = None,
) -> dict[str, Any]:
    """A metric.

    Exact,
    of two lines.

    Raises:
        NotComputable: Never.
    """
    return {"value": k}


GOOD = replace(own_metric, best=None, columns=(VALUE,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Own Metric"}, "its name must be like 'effective-rank'"),
        ({"help": ""}, "its function must have a docstring"),
        ({"needs": "vector"}, "its needs must be one of summary, vectors, "),
        ({"columns": ()}, "it has no columns"),
        (
            {"columns": (Column("value", "float", "x"),)},
            "its column 'value' must be one of number, integer",
        ),
        (
            {"columns": (Column("n", "number", "x"),)},
            "its column 'n' has the name of a column of every row",
        ),
        ({"best": "word", "columns": (VALUE, KEY)}, "its best must name a column of numbers"),
        ({"parameters": (Parameter("where", "", "x"),)}, "its parameter 'where' has the name of"),
        (
            {"parameters": (Parameter("min-n", 1, "x"),)},
            "its parameter 'min-n' must have a name like 'min_contexts'",
        ),
    ],
)
def test_a_mistake_in_a_declaration_is_named(change, message):
    assert problems(GOOD) == []
    [found] = problems(replace(GOOD, **change))
    assert message in found


def test_a_metric_is_declared_by_its_signature_and_docstring():
    assert (own_metric.name, own_metric.help) == ("own-metric", "A metric.")
    assert own_metric.estimator == "Exact, of two lines. More."
    assert own_metric([], k=2) == {"value": 2, "best": None, "reason": None}
    assert [column.name for column in own_metric.columns] == ["value", "best"]
    names = [parameter.name for parameter in own_metric.parameters]
    assert names == ["k", "way", "names", "share", "words", "versus"]
    k, way, several, share, words = own_metric.parameters[:5]
    assert (k.default, k.kind, k.help, k.minimum, k.maximum) == (1, int, "How many.", 1, 9)
    assert (way.default, way.kind, way.choices) == ("a", str, ("a", "b"))
    assert (several.default, several.kind) == ((), tuple)
    assert (share.default, share.kind) == (None, float)
    assert (words.is_words, words.is_input, words.is_in_rows) == (True, True, True)
    assert not own_metric.is_seeded


@pytest.mark.parametrize(
    ("parameter", "flag", "metavar"),
    [
        (Parameter("k", 1, "x"), "-k", "N"),
        (Parameter("min_contexts", 1, "x"), "--min-contexts", "N"),
        (Parameter("zeta", 0.5, "x"), "--zeta", "X"),
        (Parameter("variant", "a", "x", choices=("a", "b")), "--variant", "a|b"),
        (Parameter("dataset", (), "x", metavar="NAME"), "--dataset", "NAME"),
        (Parameter("std", False, "x"), "--std", ""),
        (Parameter("centre_first", True, "x"), "--centre-first/--no-centre-first", ""),
        (Parameter("at_most", None, "x", value_type=int), "--at-most", "N"),
    ],
)
def test_how_a_parameter_is_written_on_the_command_line(parameter, flag, metavar):
    assert (parameter.flag, metavar_of(parameter)) == (flag, metavar)


def test_an_explanation_says_what_is_declared():
    metric = replace(
        GOOD,
        estimator="Exact. " * 20,
        units=(Unit.WORD,),
        package="own 1.0",
        columns=(
            Column("word", "string", "a word", is_key=True),
            Column("rank", "number", "how many", minimum=1, unit="dimensions"),
        ),
        parameters=(
            Parameter("k", 1, "How many.", minimum=1, maximum=9),
            Parameter("names", (), "Which."),
            Parameter("variant", "a", "How.", choices=("a", "b")),
            Parameter("a_parameter_with_a_long_name", False, "Whether."),
        ),
    )
    message = str(Explanation(metric))
    assert max(map(len, message.splitlines())) <= 80
    for line in (
        "own-metric: A metric.\n",
        "\nFormula    1\nCitation   me\nEstimator  Exact. Exact.",
        "\nNeeds      vectors: passes over the vectors",
        (
            "\nUnits      word\nRows       extra columns: k, names, variant,"
            " a_parameter_with_a_long_name\n"
        ),
        "\nPackage    own 1.0\n",
        (
            "\n  word  string: a word; distinguishes the rows of a layer\n  rank  number ≥ 1"
            " (dimensions): how many\n"
        ),
        "How many.  [[1, 9]; default: 1]\n",
        "Which.  [repeatable]\n",
        "How.  [default: a]\n",
        "\n  --a-parameter-with-a-long-name\n",
        "Whether.",
    ):
        assert line in message
    assert repr(Explanation(metric)) == message
    document = Explanation(metric).to_dict()
    assert [document[name] for name in ("name", "units", "package")] == [
        "own-metric",
        ["word"],
        "own 1.0",
    ]
    assert [parameter["type"] for parameter in document["parameters"]] == [
        "int",
        "str",
        "str",
        "bool",
    ]
    assert document["parameters"][1]["default"] == []
    assert [parameter["in_rows"] for parameter in document["parameters"]] == [True] * 4


def test_the_store_lists_and_explains_the_metrics():
    listed = Store.metrics()
    assert listed["name"] == list(all_metrics()[0])
    assert set(listed["name"]) >= set(METRICS)
    assert str(Store.explain("norms")) == str(Explanation(METRICS["norms"]))
    with pytest.raises(UnknownNameError):
        Store.explain("norm")


@metric(
    columns=(Column("norm", "number", "the median", minimum=0),),
    formula="median ‖x‖",
    citation="own",
)
def median_norm(
    data: LayerData, *, power: Annotated[float, Option("Exponent.")] = 1.0
) -> dict[str, Any]:
    """Median of the norms."""
    norms = list(data.map(lambda block: np.linalg.norm(block.astype(np.float64), axis=1)))
    return {"norm": float(np.median(np.concatenate(norms))) ** power, "n": data.summary.n}


OWN = median_norm


def test_a_built_in_metric_may_be_given_by_name_or_as_an_object(make_store):
    store = make_store(n=20, index=False).store
    assert store.query(METRICS["norms"]).to_pylist() == store.query("norms").to_pylist()
    assert str(Store.explain(METRICS["norms"])) == str(Store.explain("norms"))


def test_an_own_metric_is_computed_explained_and_not_stored(make_store):
    made = make_store(n=20, index=False)
    table = made.store.query(OWN, layers="0,1", power=2)
    for row in table:
        norms = np.linalg.norm(made.vectors[row["layer"]].astype(np.float64), axis=1)
        assert row["norm"] == pytest.approx(np.median(norms) ** 2)
        assert (row["n"], row["power"]) == (20, 2.0)
    assert not [*made.root.glob("answers/*")]
    assert "median ‖x‖" in str(Store.explain(OWN))


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (replace(OWN, name="norms"), "embstore has another metric of that name"),
        (replace(OWN, name="No name"), "declared wrongly"),
        (median_norm.function, "no embstore.metrics.Metric"),
        (replace(OWN, function=lambda data, power: {"n": 1}), "returned a row without 'norm'"),
        (replace(OWN, function=lambda data, power: 1 / 0), "division by zero"),
    ],
)
def test_what_is_no_metric_is_refused(make_store, metric, reason):
    with pytest.raises(PluginError, match=reason):
        make_store(n=5, index=False).store.query(metric)
