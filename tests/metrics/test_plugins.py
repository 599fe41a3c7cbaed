"""Metrics of other packages: found by name, checked, and never in the way of the built-in ones."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import numpy as np
import pytest

from embstore import Store
from embstore.base.errors import QueryError, UnknownNameError, UsageError
from embstore.base.space import Unit
from embstore.metrics import METRICS, all_metrics, get_metric
from embstore.metrics.plugins import PluginError, find_plugins
from embstore.storage.writer import write_dataset

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorials" / "own-metric.md"

HEAD = """
from typing import Annotated
from embstore.metrics import Column, NotComputable, Option, metric

def declared(function, **more):
    function.__doc__ = "A metric."
    columns = (Column("value", "number", "what it is"), Column("dims", "array of integers", "which"))
    return metric(**{"name": "own", "formula": "1", "citation": "me", "columns": columns, **more})(function)
"""
WORKS = """
OWN = declared(lambda data: {"value": 0.5, "dims": [1], "n": data.summary.n})
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package of one module by its metadata, as pip would leave it, and return its
    folder.
    """
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def make(source, points, package="own-metrics", version="1.0"):
        module = package.replace("-", "_")
        (folder / f"{module}.py").write_text(source, "utf-8")
        info = folder / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n", "utf-8"
        )
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text(
            "\n".join(["[embstore.metrics]", *lines, ""]), "utf-8"
        )
        monkeypatch.delitem(sys.modules, module, raising=False)
        importlib.invalidate_caches()
        return folder

    return make


@pytest.fixture
def own(install):
    """Install a metric called ``own``, given what defines it."""
    return lambda source, **points: install(
        HEAD + textwrap.dedent(source), points or {"own": "own_metrics:OWN"}
    )


def test_the_example_of_the_tutorial_is_a_metric_like_the_others(cli, install, make_store):
    text = TUTORIAL.read_text("utf-8")
    toml, source = (
        re.findall(rf"^```{language}\n(.*?)```", text, re.DOTALL | re.MULTILINE)[0]
        for language in ("toml", "python")
    )
    project = tomllib.loads(toml)
    points = project["project"]["entry-points"]["embstore.metrics"]
    assert project["tool"]["setuptools"]["py-modules"] == ["my_metrics"]
    install(source, points, project["project"]["name"], project["project"]["version"])
    made = make_store(n=30, index=False)

    rows = made.store.query("norm-quantile", q=0.9, layers="0-1").to_pylist()
    assert [row["q"] for row in rows] == [0.9] * 2
    for row, x in zip(rows, made.vectors, strict=False):
        wanted = np.quantile(np.linalg.norm(x.astype(np.float64), axis=1), 0.9)
        assert row["norm"] == pytest.approx(wanted, rel=1e-12)
        assert (row["n"], row["reason"]) == (30, None)
    with pytest.raises(QueryError, match="no item is selected"):
        made.store.query("norm-quantile", layers=0, where="false")

    store = ("--store", made.root)
    call = ("query", "norm-quantile")
    printed = cli(*call, "-q", "0.9", "--layer", "0-1", "--format", "json", *store).stdout
    assert json.loads(printed) == rows
    cli(*call, "-q", "2", *store, code=2)
    assert "not installed" not in cli("cite", *store).stderr
    assert "\nPackage    my-metrics 0.1\n" in cli(*call, "--explain").stdout
    assert "norm-quantile" in cli("query", "--help").stdout
    assert "Quantile of the vector lengths." in cli(*call, "--help").stdout
    assert Store.metrics().rows[-1]["package"] == "my-metrics 0.1"


def test_the_rows_of_a_plugin_say_its_parameters_and_its_seed(own, make_store):
    own(
        """
        def drawing(
            data, *, names: Annotated[tuple[str, ...], Option("Which.")] = (),
            share: Annotated[float, Option("How much.")] = 1.0, seed,
        ):
            row = {"value": share, "dims": [seed], "n": data.summary.n}
            return row | {"seed": None} if "exactly" in names else row

        OWN = declared(drawing)
        """
    )
    store = make_store(n=5, index=False).store
    for _ in "computed", "from the cache":
        found = store.query("own", share=2, seed=3, layers=0)
        [row] = found.to_pylist()
        assert (row["names"], row["share"], row["seed"], type(row["share"])) == ([], 2.0, 3, float)
        exact = store.query("own", names=["a", "exactly"], seed=3, layers=0)
        assert (exact["names"], exact["seed"]) == ([["a", "exactly"]], [None])
        for table in (found, exact):
            types = [str(table.to_arrow()[name].type) for name in ("names", "seed")]
            assert types == ["list<item: string>", "int64"]


def test_a_plugin_may_reduce_a_parameter_and_have_columns_of_an_option(own, make_store):
    own(
        """
        from embstore.metrics import Column
        MORE = (Column("most", "number", "the largest"),)

        def function(
            data, *, k: Annotated[int, Option("How many.")] = 10,
            extended: Annotated[bool, Option("Whether.", columns=MORE)] = False,
        ):
            n = data.summary.n
            return {"value": 1.0, "dims": [], "k": min(k, n - 1), "n": n} | ({"most": 2.0} if extended else {})

        OWN = declared(function)
        BARE = declared(
            lambda data, *, extended: {"value": 1.0, "dims": [], "n": 1}, name="bare",
            options=[parameter for parameter in OWN.parameters if parameter.name == "extended"],
        )
        """,
        own="own_metrics:OWN",
        bare="own_metrics:BARE",
    )
    store = make_store(n=5, index=False).store
    plain = store.query("own", layers=0, cache=False)
    assert plain["k"] == [4]
    assert "most" not in plain.columns
    [row] = store.query("own", layers=0, k=3, extended=True)
    assert (row["k"], row["most"]) == (3, 2.0)
    with pytest.raises(PluginError, match=r"'bare' .* returned a row without 'most'"):
        store.query("bare", extended=True)


def test_a_plugin_returns_the_units_on_which_layers_are_compared(own, make_store):
    own("""
    import numpy as np
    from embstore.metrics.declaration import with_scores
    from embstore.metrics.numerics.units import mean_of

    def function(data):
        norms = np.concatenate([*data.map(lambda block: np.linalg.norm(block.astype(float), axis=1))])
        row = {"value": norms.mean(), "dims": [], "n": len(norms)}
        return with_scores(row, mean_of(np.arange(len(norms)), norms))

    OWN = declared(function, versus=True)
    """)
    store = make_store(n=40, index=False).store
    found = store.query("own", layers="0,1", versus="0")
    assert "scores" not in found.columns
    [first, second] = found["value"]
    assert found["difference"] == [None, pytest.approx(second - first)]


def test_a_plugin_is_known_beside_the_built_in_metrics(own):
    own(WORKS)
    metrics, refused = all_metrics()
    assert list(metrics) == [*METRICS, "own"]
    assert refused == []
    assert metrics["own"].package == "own-metrics 1.0"
    with pytest.raises(UnknownNameError) as error:
        get_metric("ownn")
    assert error.value.known == (*METRICS, "own")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_module", "cannot be loaded from 'own_metrics:OWN': ModuleNotFoundError"),
        ("own = 3", "cannot be loaded from 'own_metrics:OWN': AttributeError"),
        ("raise SystemExit(3)", "cannot be loaded from 'own_metrics:OWN': SystemExit: 3"),
        ("OWN = metric(formul='1')", "cannot be loaded from 'own_metrics:OWN': TypeError"),
        ("OWN = declared", "is declared wrongly: it is no embstore.metrics.Metric"),
        ("OWN = declared(lambda data: 1, name='another')", "is declared wrongly: its name is"),
        (
            "def own(data, *, where: Annotated[str, Option('x')] = ''): pass\nOWN = declared(own)",
            "is declared wrongly: its parameter 'where' has the name of an option",
        ),
    ],
)
def test_a_broken_plugin_is_named_with_its_error_and_breaks_nothing_else(
    cli, own, install, make_store, source, message
):
    own(source)
    install(HEAD + WORKS.replace("})", "}, name='fine')"), {"fine": "fine:OWN"}, package="fine")
    made = make_store(n=5, index=False)
    with pytest.raises(PluginError) as error:
        get_metric("own")
    assert str(error.value).startswith("the metric 'own' of own-metrics 1.0 ")
    assert message in str(error.value)
    assert str(error.value) in Store.metrics().notes
    refused = cli("query", "own", "--store", made.root, code=2)
    assert (refused.stdout, refused.stderr) == ("", f"embstore: {error.value}\n")
    assert message in " ".join(cli("query", "--help").stderr.split())
    for metric in ("anisotropy", "fine"):
        cli("query", metric, "--store", made.root)


def test_a_plugin_cannot_take_the_name_of_a_built_in_metric(own):
    own("def __getattr__(name): raise RuntimeError('imported')", anisotropy="own_metrics:OWN")
    assert get_metric("anisotropy") is METRICS["anisotropy"]
    metrics, [refused] = all_metrics()
    assert metrics == METRICS
    assert refused.startswith("the metric 'anisotropy' of own-metrics 1.0 is refused")


def test_two_packages_cannot_have_a_metric_of_the_same_name(install, own):
    own(WORKS)
    install(HEAD + WORKS, {"own": "other_metrics:OWN"}, package="other-metrics")
    with pytest.raises(
        PluginError, match=r"the metric 'own' of other-metrics 1.0 and own-metrics 1.0 is refused"
    ):
        get_metric("own")
    assert len(find_plugins()["own"]) == 2
    assert all_metrics()[0] == METRICS


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0", "failed: ZeroDivisionError: division by zero"),
        ("exit(3)", "failed: SystemExit: 3"),
        ("3.5", "must return a dict of its columns, or a list of such, not float."),
        ("[3.5]", "must return a dict of its columns, or a list of such, not float."),
        ("{'value': 1.0, 'n': 2}", "returned a row without 'dims'."),
        ("{'value': 1.0, 'dims': []}", "returned a row without 'n'."),
        (
            "{'value': 1.0, 'dims': [], 'n': 2, 'm': 1}",
            "returned 'm', which it does not declare as a column.",
        ),
        (
            "{'value': 1j, 'dims': [], 'n': 2}",
            "failed: TypeError: Object of type complex is not JSON serializable",
        ),
    ],
)
def test_a_plugin_that_fails_is_named(cli, own, make_store, source, message):
    own(f"OWN = declared(lambda data: {source})")
    made = make_store(n=5, index=False)
    with pytest.raises(PluginError) as error:
        made.store.query("own")
    text = re.sub(r" \([^()]+, line \d+\)$", "", str(error.value))
    assert text == f"the metric 'own' of own-metrics 1.0 {message}"
    cli("query", "own", "--store", made.root, code=2)


@pytest.mark.parametrize(
    ("source", "row"),
    [
        (
            "{'value': np.float32(0.5), 'dims': np.array([1, 2]), 'n': np.int64(7)}",
            {"value": 0.5, "dims": [1, 2], "n": 7, "reason": None},
        ),
        (
            "{'value': float('nan'), 'dims': [], 'n': 2}",
            {"value": None, "dims": [], "n": 2, "reason": "value: not a finite number"},
        ),
        (
            "{'value': np.inf, 'dims': None, 'n': 2, 'reason': 'too large'}",
            {"value": None, "dims": None, "n": 2, "reason": "too large"},
        ),
        (
            "{'value': np.nan, 'dims': [np.int64(1), 2], 'n': 2, 'reason': None}",
            {"value": None, "dims": [1, 2], "n": 2, "reason": "value: not a finite number"},
        ),
        ("no('no pairs')", {"value": None, "dims": None, "n": 40, "reason": "no pairs"}),
    ],
)
def test_numpy_numbers_become_pythons_and_what_is_not_finite_becomes_null(
    own, make_store, source, row
):
    own(f"""
    import numpy as np
    def no(reason):
        raise NotComputable(reason)
    OWN = declared(lambda data: {source})
    """)
    [found] = make_store(n=40, index=False).store.query("own", layers=0)
    assert {name: found[name] for name in row} == row
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_plugin_may_give_several_rows_and_have_every_kind_of_option(cli, own, make_store):
    own("""
    from typing import Literal
    def function(
        data, *,
        words: Annotated[tuple[str, ...], Option("Which.")] = ("a", "b"),
        count: Annotated[int, Option("How many.")] = 2,
        share: Annotated[float, Option("How much.")] = 0.5,
        strict: Annotated[bool, Option("Whether.")] = False,
        loose: Annotated[bool, Option("Whether.")] = True,
        kind: Annotated[Literal["x", "y"], Option("Which.")] = "x",
        at_most: Annotated[int | None, Option("How many.")] = None,
    ):
        told = f"{words} {count} {share} {strict} {loose} {kind} {at_most}"
        return [{"word": word, "value": 1.0, "told": told, "n": 1} for word in words]
    OWN = declared(function, columns=(
        Column("word", "string", "which", is_key=True), Column("value", "number", "x"), Column("told", "string", "y"),
    ))
    """)
    made = make_store(n=5, index=False)
    call = ("query", "own", "--layer", "0", "--format", "json", "--store", made.root)
    assert [(row["word"], row["told"]) for row in json.loads(cli(*call).stdout)] == [
        ("a", "('a', 'b') 2 0.5 False True x None"),
        ("b", "('a', 'b') 2 0.5 False True x None"),
    ]
    more = [
        "--words",
        "c",
        "--count",
        "3",
        "--share",
        "1",
        "--strict",
        "--no-loose",
        "--kind",
        "y",
        "--at-most",
        "4",
    ]
    [row] = json.loads(cli(*call, *more).stdout)
    assert (row["word"], row["told"]) == ("c", "('c',) 3 1.0 True False y 4")


def test_a_plugin_may_need_a_dataset(own, make_store):
    own("""
    OWN = declared(
        lambda data, *, pairs: {"highest": pairs.score.max(), "n": len(pairs.score)},
        needs="pairs", columns=(Column("highest", "number", "x"),),
    )
    """)
    made = make_store(n=4, index=False)
    left, right = made.ids[:2].tolist(), made.ids[2:].tolist()
    columns = {
        "item_id": left,
        "text": made.texts[:2],
        "item_id_2": right,
        "text_2": made.texts[2:],
        "score": [1.0, 3.5],
    }
    write_dataset(made.files, "few", "word pairs", Unit.WORD, columns)
    [row] = made.store.query("own", layers=0)
    assert (row["dataset"], row["highest"], row["n"]) == ("few", 3.5, 2)
    with pytest.raises(UnknownNameError):
        made.store.query("own", datasett="few")


def test_an_error_of_embstore_passes_as_it_is(own, make_store):
    own("""
    from embstore.base.errors import UsageError
    def function(data):
        raise UsageError("k and j exclude each other.")
    OWN = declared(function)
    """)
    with pytest.raises(UsageError, match=r"^k and j exclude each other\.$"):
        make_store(n=5, index=False).store.query("own")


@pytest.mark.process
def test_packages_are_looked_up_only_where_they_are_asked_for(install, make_store):
    """Of the commands, only the last one looks for packages."""
    folder = install("print('own_metrics is read')" + HEAD + WORKS, {"own": "own_metrics:OWN"})
    made = make_store()
    code = (
        "import sys; from embstore_cli.main import app\n"
        "for command in sys.argv[1:]:\n"
        "    app(command.split(), standalone_mode=False)\n"
        "    print('looked:', 'embstore.metrics.plugins' in sys.modules)"
    )
    commands = ["query anisotropy", "query norms --help", "neighbours text1", "query --help"]
    shown = subprocess.run(
        [sys.executable, "-c", code, *commands],
        env={**os.environ, "PYTHONPATH": str(folder), "EMBSTORE_STORE": str(made.root)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = [line for line in shown.splitlines() if line.startswith(("looked:", "own_metrics"))]
    assert lines == [*["looked: False"] * 3, "own_metrics is read", "looked: True"]


@pytest.mark.parametrize("at", ["import", "run"])
def test_a_users_ctrl_c_in_a_plugin_ends_the_command(install, own, make_store, at):
    before = signal.getsignal(signal.SIGINT)
    stop = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(5)"
    if at == "import":
        install(stop + HEAD + WORKS, {"own": "own_metrics:OWN"})
    else:
        own(f"def function(data):\n    {stop}\nOWN = declared(function)")
    store = make_store(n=5, index=False).store
    with pytest.raises(KeyboardInterrupt):
        store.query("own")
    assert signal.getsignal(signal.SIGINT) is before


def test_the_control_characters_of_a_plugins_error_are_escaped(cli, install):
    install("raise RuntimeError('\\x1b]0;x\\x07')", {"own": "own_metrics:OWN"})
    shown = cli("query", "--help").output
    assert "\\x1b]0;x\\x07" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import no_such_module", "import no_such"),
        (
            "def failing(data):\n    return 1 / 0\nOWN = declared(lambda data: failing(data))",
            "    return 1 /",
        ),
    ],
)
def test_an_error_of_a_plugin_names_the_file_and_the_line(own, make_store, source, text):
    own(f"\n\n{source}\n")
    with pytest.raises(PluginError) as found:
        make_store(n=5, index=False).store.query("own")
    file, line = re.search(r"\((\S*own_metrics\.py), line (\d+)\)", str(found.value)).groups()
    assert Path(file).read_text().splitlines()[int(line) - 1].startswith(text)


def test_an_error_of_syntax_names_the_file_and_the_line(own, make_store):
    own("\n\ndef (\n")
    line = HEAD.count("\n") + 3
    with pytest.raises(PluginError, match=rf"SyntaxError: .* \(own_metrics\.py, line {line}\)"):
        make_store(n=5, index=False).store.query("own")


def test_answers_belong_to_the_source_that_runs_and_to_the_columns(own, make_store, monkeypatch):
    """Not to the source in a file that an author has changed since it was loaded."""
    values = "VALUES = {'value': 1.0, 'dims': [], 'n': 2}\n"
    source = "OWN = declared(lambda data: VALUES)\n"
    file = own(values + source) / "own_metrics.py"
    store = make_store(n=5, index=False).store
    assert store.query("own", layers=0)["value"] == [1.0]

    changed = source.replace("VALUES", "VALUES | {'value': 20.0}")
    file.write_text(HEAD + values + changed, "utf-8")
    assert store.query("own", layers=0)["value"] == [1.0]
    monkeypatch.delitem(sys.modules, "own_metrics")
    assert store.query("own", layers=0)["value"] == [20.0]

    head = HEAD.replace("columns = (", "columns = (Column('most', 'number', 'the largest'), ")
    file.write_text(head + values.replace("{", "{'most': 300.0, ") + source, "utf-8")
    monkeypatch.delitem(sys.modules, "own_metrics")
    assert store.query("own", layers=0)["most"] == [300.0]


def test_what_declares_an_error_is_imported_from_the_package_of_metrics(make_store):
    """``Parts`` and ``with_scores``, as the reference documents them."""
    from typing import Any

    from embstore.metrics import Column, LayerData, Metric, Parts, get_metric, metric, with_scores

    words = {"formula": "1", "citation": "me", "name": "own"}
    columns = (Column("value", "number", "what it is"),)

    @metric(columns=columns, parts=Parts(column="value", parts="groups"), **words)
    def of_items(data: LayerData) -> dict[str, Any]:
        """Return the mean norm."""
        row = get_metric("norms").function(data)
        return {"value": row["mean"], "n": row["n"], "reason": None}

    assert isinstance(of_items, Metric)
    store = make_store(n=60, index=False).store
    rows = store.query(of_items, ci=True, layers="0,1").to_pylist()
    assert [row["value"] for row in rows] == store.query("norms", layers="0,1")["mean"]
    assert all(row["low"] < row["value"] < row["high"] for row in rows)
    assert with_scores({"value": 1}, "estimate") == {"value": 1, "scores": "estimate"}
