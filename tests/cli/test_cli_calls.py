"""Each command calls one method of Store."""

import shutil
from functools import wraps
from inspect import getmembers_static, isfunction

import pytest
from embstore_cli.main import COMMANDS
from synthetic import synthetic_store

from embstore import Store

CALLS = [
    ("build words.txt --model mine=MODEL --dry-run", "build"),
    ("build spans.csv --span start,end --model mine=MODEL --dry-run", "build"),
    ("datasets --json", "datasets"),
    ("datasets fetch words", "fetch_datasets"),
    ("datasets store words:5", "store_datasets"),
    ("datasets missing words.txt --unit word", "missing"),
    ("query norms", "query"),
    ("query norms --explain", "explain_query"),
    ("query norms --explain --no-cache", "explain_query"),
    ("plot norms --output norms.svg", "query"),
    ("plot norms isoscore --output two.svg", "query"),
    ("plot map --space toy.word.last --output map.svg", "map_items"),
    ("sql --tables", "sql_views"),
    ("map --space toy.word.last", "map"),
    ("drift -k 1 --space toy.word.last", "drift"),
    ("neighbours dog --unit word", "neighbours"),
    ("neighbours --positive dog,cat --negative fox --unit word", "neighbours"),
    ("cosine dog cat --unit word", "cosine"),
    ("index --model toy", "index"),
    ("reproduce wolfe2022 --model gpt2=MODEL --dry-run", "reproduce"),
    ("import word.vec --name other", "import_vectors"),
    ("pool toy.occurrence.last --min 2 --as first-pc --name pooled", "pool"),
    ("export out.vec --space toy.word.last --layer 1", "export"),
    ("push copy", "push"),
    ("pull other --dry-run --store empty", "pull"),
    ("cite", "cite"),
    ("info", "info"),
    ("info --skipped", "skipped"),
    ("info --columns", "columns"),
    ("verify", "verify"),
    ("verify --quick", "verify"),
    ("repair --dry-run", "repair"),
    ("compact --dry-run", "compact"),
    ("merge other --dry-run", "merge"),
    ("remove --space toy.word.last --dry-run", "remove"),
    ("remove --items dog, --yes", "remove"),
    ("remove --space toy.word.last --yes", "remove"),
]
WITHOUT_STORE = ("datasets fetch", "datasets --json", "pull")


@pytest.fixture
def called(monkeypatch):
    """Return the list of the methods of Store that were called, without those that other methods
    called.
    """
    names = []
    depth = [0]

    def recorded(method, name):
        @wraps(method)
        def call(*values, **named):
            names.extend([name] * (depth[0] == 0))
            depth[0] += 1
            try:
                return method(*values, **named)
            finally:
                depth[0] -= 1

        return call

    for name, member in getmembers_static(Store):
        if name.startswith("_"):
            continue
        if isinstance(member, staticmethod):
            monkeypatch.setattr(Store, name, staticmethod(recorded(member.__func__, name)))
        elif isfunction(member):
            monkeypatch.setattr(Store, name, recorded(member, name))
    return names


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the commands read, of which each gets a copy."""
    folder = tmp_path_factory.mktemp("calls")
    synthetic_store(folder / "store", texts=["dog", "cat", "fox"])
    sentences = ["the bank of the river", "a bank lends"]
    synthetic_store(folder / "store", texts=sentences, unit="occurrence")
    synthetic_store(folder / "other", model="other")
    (folder / "words.txt").write_text("dog\ncat\n")
    (folder / "spans.csv").write_text("text,start,end\nthe bank,4,8\n")
    (folder / "word.vec").write_text("1 2\ndog 0.5 1\n")
    (folder / "pairs.csv").write_text("a,b,score\ndog,cat,1.5\ndog,fox,0.5\n")
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(("line", "method"), CALLS)
def test_a_command_calls_one_method_of_store(request, cli, folder, tmp_path, called, line, method):
    if "MODEL" in line:
        line = line.replace("MODEL", str(request.getfixturevalue("checkpoint")))
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    called.clear()
    store = [] if line.startswith(WITHOUT_STORE) else ["--store", tmp_path / "store"]
    cli(*line.split(), *store)
    assert {*called} == ({method} if method else set())


def test_every_command_is_tried():
    assert {line.split()[0] for line, _ in CALLS} == {
        name for panel in COMMANDS.values() for name in panel
    } - {"explore", "report"}  # tests/explore: one serves until Ctrl-C, the other draws for long
