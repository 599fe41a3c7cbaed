"""``embstore query METRIC --explain``: the declaration of a metric, without a store."""

import json
from pathlib import Path

import pytest

from embstore import Store
from embstore.metrics import METRICS


@pytest.mark.parametrize("metric", METRICS)
def test_explain_prints_all_that_is_declared(cli, metric: str) -> None:
    declared = METRICS[metric]
    result = cli("query", metric, "--explain")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{Store.explain(metric)}\n"
    said = " ".join(result.stdout.split())
    for text in (declared.name, declared.help, declared.formula, declared.citation, declared.estimator):
        assert " ".join(text.split()) in said
    for column in declared.columns:
        assert f" {column.name} {column.type}" in said
        assert column.range in said
    for parameter in declared.parameters:
        assert f"-{parameter.name.replace('_', '-')}" in said
        assert " ".join(parameter.help.split()) in said


def test_explain_writes_one_object(cli) -> None:
    told = json.loads(cli("query", "rogue-dims", "--explain", "--format", "json").stdout)
    assert told == Store.explain("rogue-dims").to_dict()
    assert told["formula"] == "CC_i = ((Σu_i)² − Σu_i²) / (n (n − 1))"
    assert told["parameters"] == [
        {
            "name": "k", "option": "-k", "type": "int", "repeatable": False, "default": 5, "choices": [], "minimum": 1,
            "maximum": None, "help": "How many dimensions to return.",
        }
    ]  # fmt: skip
    assert told["columns"][0] == {
        "name": "anisotropy", "type": "number", "minimum": -1, "maximum": 1, "unit": None, "key": False,
        "help": "mean pairwise cosine",
    }  # fmt: skip
    line = cli("query", "rogue-dims", "--explain", "--format", "jsonl").stdout
    assert line.count("\n") == 1
    assert json.loads(line) == told


def test_explain_writes_to_a_file(cli, tmp_path: Path) -> None:
    assert cli("query", "norms", "--explain", "-o", "norms.txt").stdout == ""
    assert (tmp_path / "norms.txt").read_text("utf-8") == f"{Store.explain('norms')}\n"
    result = cli("query", "norms", "--explain", "-o", "no/folder.txt")
    assert result.exit_code == 2
    said = "embstore: no/folder.txt cannot be written: No such file or directory. Name another file with --output.\n"
    assert result.stderr == said


@pytest.mark.parametrize("form", ["csv", "markdown", "parquet"])
def test_explain_refuses_a_format_that_it_has_not(cli, form: str) -> None:
    result = cli("query", "norms", "--explain", "--format", form)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"embstore: --explain is written as table (text), json or jsonl, not as {form}.\n"


def test_explain_names_the_nearest_metric(cli) -> None:
    result = cli("query", "norm", "--explain")
    assert result.exit_code == 2
    assert "unknown metric 'norm'. Did you mean 'norms'" in result.stderr
