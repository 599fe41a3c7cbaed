"""``embstore reproduce``: what it prints, and how it ends."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

SCHEMA = Path(__file__).parents[2] / "schemas" / "reproduce.schema.json"

RECIPE = """
name = "tiny"
title = "A tiny paper"
citation = "Someone (2026)"
figures = "figures.json"
models = ["tiny"]
sources = [{ name = "words", datasets = ["words.txt"] }]
spaces = [{ name = "word.last", label = "last token", source = "words", unit = "word", pooling = "last" }]

[[measures]]
figure = "cosine"
help = "mean pairwise cosine"
metric = "anisotropy"
column = "anisotropy"
spaces = ["word.last"]
band = 2

[[unmeasured]]
figures = ["gone"]
reason = "it cannot be"
"""


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    """A recipe in the folder where commands run."""
    (tmp_path / "words.txt").write_text("fox\ndog\nsea\n", "utf-8")
    figures = [
        {"model": "tiny", "figure": "cosine", "layers": 1, "relation": "=", "value": 0.5, "source": "a"},
        {"model": "tiny", "figure": "cosine", "layers": "best", "relation": ">", "value": 2, "source": "a"},
        {"model": "tiny", "figure": "gone", "layers": None, "relation": "=", "value": 1, "source": "a"},
    ]
    (tmp_path / "figures.json").write_text(json.dumps({"sources": {"a": "here"}, "figures": figures}), "utf-8")
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE, "utf-8")
    return path


def test_the_result_for_the_eye(cli, paper: Path, checkpoint: Path):
    result = cli("reproduce", paper, "--models", checkpoint)
    assert result.exit_code == 0, result.output
    header, *lines = [line.split() for line in result.stdout.splitlines()]
    assert header == ["figure", "model", "variant", "layer", "is", "published", "measured", "verdict"]
    assert [(line[0], line[4:7], line[-1]) for line in lines if line[5] in "=>"] == [
        ("cosine", ["1", "=", "0.5000"], "hit"), ("cosine", ["best", ">", "2.0000"], "miss"),
    ]  # fmt: skip
    assert [line[4] for line in lines if line[-2:] == ["not", "published"]] == ["0", "2"]
    assert lines[-1] == ["gone", "tiny", "-", "-", "=", "1.0000", "-", "not", "measured"]
    assert "not measured: gone of tiny: it cannot be" in result.stderr
    assert "beside published numbers: 1 hit, 1 missed, 1 not measured; 2 measured" in result.stderr


def test_json_keeps_its_schema_and_goes_to_a_file(cli, paper: Path, checkpoint: Path, tmp_path: Path):
    result = cli("reproduce", paper, "--model", checkpoint, "--quiet", "--strict", "--format", "json", "-o", "out.json")
    assert (result.exit_code, result.stdout) == (1, ""), "a number is missed"
    rows = json.loads((tmp_path / "out.json").read_text("utf-8"))
    validator = Draft202012Validator(json.loads(SCHEMA.read_text("utf-8")))
    validator.validate(rows)
    assert [row["verdict"] for row in rows] == ["not published", "hit", "not published", "miss", "not measured"]
    for wrong in ({"verdict": "maybe"}, {"verdict": "hit", "measured": None}, {"more": 1}, {"layers": "top"}):
        assert not validator.is_valid([rows[1] | wrong])
    for key in rows[0]:
        assert not validator.is_valid([{name: value for name, value in rows[0].items() if name != key}])


@pytest.mark.parametrize("form", ["markdown", "csv"])
def test_each_format_writes_all_of_it(cli, paper: Path, checkpoint: Path, tmp_path: Path, form: str):
    printed = cli("reproduce", paper, "--models", checkpoint, "--format", form)
    cli("reproduce", paper, "--models", checkpoint, "--format", form, "--output", "out")
    assert printed.stdout == (tmp_path / "out").read_text("utf-8")
    assert printed.stdout.count("it cannot be") == (form in ("jsonl", "csv"))
    assert printed.stderr.count("it cannot be") == 1


def test_a_dry_run_shows_builds_and_queries_and_writes_nothing(cli, paper: Path, checkpoint: Path, tmp_path: Path):
    result = cli("reproduce", paper, "--models", checkpoint, "--dry-run", "--strict")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["step", "build", "query"]
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wolfe2023"], "unknown recipe 'wolfe2023'. Did you mean 'wolfe2022'?"),
        (["gone.toml"], "gone.toml cannot be read: No such file"),
        (["wolfe2022", "--models", "./gone"], "gone"),
        (["tiny.toml", "--models", "x=gone/y/z"], "gone/y/z"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(cli, paper: Path, arguments: list[str], message: str):
    result = cli("reproduce", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert (len(result.stderr.splitlines()), result.stdout) == (1, "")
