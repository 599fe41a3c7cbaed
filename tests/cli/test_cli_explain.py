"""``embstore query METRIC --explain``: the declaration of a metric, and which answers a store
has.
"""

import json

import pytest
from synthetic import synthetic_store

from embstore import Store
from embstore.metrics import METRICS


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
def test_explain_prints_all_that_is_declared(cli, metric):
    declared = METRICS[metric]
    result = cli("query", metric, "--explain")
    assert result.stderr == ""
    assert result.stdout == f"{Store.explain(metric)}\n"
    words = " ".join(result.stdout.split())
    estimator = declared.estimator
    for text in (declared.name, declared.help, declared.formula, declared.citation, estimator):
        assert " ".join(text.split()) in words
    for column in declared.columns:
        assert f" {column.name} {column.type}" in words
        assert column.range in words
    for parameter in declared.parameters:
        assert f"-{parameter.name.replace('_', '-')}" in words
        assert " ".join(parameter.help.split()) in words


def test_explain_writes_one_object(cli):
    document = json.loads(cli("query", "rogue-dims", "--explain", "--format", "json").stdout)
    assert document == Store.explain("rogue-dims").to_dict()
    assert document["formula"] == "CC_i = ((Σu_i)² − Σu_i²) / (n (n − 1))"
    assert document["parameters"][:1] == [
        {
            "name": "k",
            "option": "-k",
            "type": "int",
            "repeatable": False,
            "default": 5,
            "choices": [],
            "minimum": 1,
            "maximum": None,
            "in_rows": True,
            "help": "Number of dimensions to return.",
        }
    ]
    assert document["columns"][0] == {
        "name": "anisotropy",
        "type": "number",
        "minimum": -1,
        "maximum": 1,
        "unit": None,
        "key": False,
        "help": "mean pairwise cosine",
    }
    line = cli("query", "rogue-dims", "--explain", "--format", "jsonl").stdout
    assert line.count("\n") == 1
    assert json.loads(line) == document


def test_explain_writes_to_a_file_and_refuses_formats_that_it_has_not(cli, refusal, tmp_path):
    assert cli("query", "norms", "--explain", "-o", "norms.txt").stdout == ""
    assert (tmp_path / "norms.txt").read_text("utf-8") == f"{Store.explain('norms')}\n"
    words = (
        "embstore: no/folder.txt cannot be written: there is no folder no. Name another file with"
        " --output."
    )
    assert refusal("query", "norms", "--explain", "-o", "no/folder.txt") == words
    for form in ("csv", "markdown", "parquet"):
        words = f"embstore: --explain is written as table (text), json or jsonl, not as {form}."
        assert refusal("query", "norms", "--explain", "--format", form) == words


def explained(cli, *options):
    """The part of the explanation that is about the cache, as one line; the whole fits the screen,
    but for paths.
    """
    result = cli("query", *options, "--explain")
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert max(len(line) for line in lines if "/" not in line) <= 80
    begin = [place for place, line in enumerate(lines) if line.startswith("Cache ")]
    return [
        " ".join(" ".join(lines[at : lines.index("", at)]).split()).removeprefix("Cache ")
        for at in begin
    ]


def test_explain_says_which_answers_are_stored(cli, tmp_path):
    synthetic_store(tmp_path / "store", n=20, index=False)  # the default folder
    none = "0 of 4 answers are stored; 4 would be computed: toy.word.last layers 0, 1, 2, 3"
    assert explained(cli, "isoscore", "--layer", "0-3") == [none]
    shown = cli("query", "isoscore", "--layer", "1,2")
    assert explained(cli, "isoscore", "--layer", "0-3") == [
        "2 of 4 answers are stored; 2 would be computed: toy.word.last layers 0, 3"
    ]
    assert cli("query", "isoscore", "--layer", "1,2").output == shown.output
    assert explained(cli, "isoscore", "--layer", "1,2") == ["all 2 answers are stored"]
    document = json.loads(
        cli("query", "isoscore", "--layer", "0-3", "--explain", "--format", "json").stdout
    )
    assert document["cache"] == {
        "n_answers": 4,
        "n_stored": 2,
        "refused": None,
        "to_compute": [{"space": "toy.word.last", "space_2": None, "layers": ["0", "3"]}],
    }
    assert len(list((tmp_path / "store" / "derived" / "answers").iterdir())) == 2, (
        "to explain is not to compute"
    )


def test_explain_says_why_it_did_not_look_where_a_store_is_meant(cli, tmp_path):
    assert explained(cli, "isoscore") == [], "there is no store at the default place"
    [words] = explained(cli, "isoscore", "--store", "nowhere")
    assert words.startswith("not looked at: there is no store at")
    synthetic_store(tmp_path / "store", n=20, index=False)
    assert explained(cli, "isoscore", "--unit", "sentence") == [
        "not looked at: no space matches unit 'sentence'. The store holds: toy.word.last."
    ]
    assert explained(cli, "isoscore", "--layer", "9") != explained(cli, "isoscore")
    max((tmp_path / "store" / "manifest").iterdir()).write_text("{}")
    assert "\nCache      not looked at:" in cli("query", "isoscore", "--explain").stdout
    assert "bypassed (cache=False)" in cli("query", "isoscore", "--no-cache", "--explain").stdout
