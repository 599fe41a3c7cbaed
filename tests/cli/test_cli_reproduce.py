"""``embstore reproduce``: what it prints, and how it ends."""

import json
from pathlib import Path
from typing import Any

import pytest
from embstore_cli._options import Format
from embstore_cli.papers import emit_sections, result_sections
from rich.cells import cell_len

from embstore.base.table import Table, table
from embstore.recipes.reproduce import COLUMNS

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
def paper(tmp_path):
    """A recipe in the folder where commands run."""
    (tmp_path / "words.txt").write_text("fox\ndog\nsea\n", "utf-8")
    figures = [
        {
            "model": "tiny",
            "figure": "cosine",
            "layers": 1,
            "relation": "=",
            "value": 0.5,
            "source": "a",
        },
        {
            "model": "tiny",
            "figure": "cosine",
            "layers": "best",
            "relation": ">",
            "value": 2,
            "source": "a",
        },
        {
            "model": "tiny",
            "figure": "gone",
            "layers": None,
            "relation": "=",
            "value": 1,
            "source": "a",
        },
    ]
    (tmp_path / "figures.json").write_text(
        json.dumps({"sources": {"a": "here"}, "figures": figures}), "utf-8"
    )
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE, "utf-8")
    return path


def test_the_result_for_the_eye_and_in_each_format(cli, paper, checkpoint):
    result = cli("reproduce", paper, "--models", checkpoint)
    assert result.exit_code == 0, result.output
    blocks = [block.splitlines() for block in result.stdout.split("\n\n")]
    assert [block[0] for block in blocks] == [
        "cosine: mean pairwise cosine; beside what is published",
        "cosine: mean pairwise cosine; nothing published",
        "not measured: it cannot be",
    ]
    assert [line.split()[:5] for line in blocks[0][1:]] == [
        ["model", "variant", "layer", "published", "band"],
        ["tiny", "last", "token", "1", "0.5000"],
        ["tiny", "last", "token", "best", blocks[0][3].split()[4]],
    ]
    assert blocks[0][2].split()[5] == "-1.5–2.5"
    assert "  > 2  " in blocks[0][3].replace("> 2.0000", "")
    assert [line.split()[-1] for line in blocks[0][1:]] == ["verdict", "hit", "miss"]
    assert [line.split()[0] for line in blocks[1][1:]] == ["layer", "0", "2"]
    assert blocks[2][2].split() == ["tiny", "gone", "1"]
    assert "beside published numbers: 1 hit, 1 missed, 1 not measured; 2 measured" in result.stderr
    for form in ("table", "markdown", "jsonl", "csv"):
        printed = cli("reproduce", paper, "--models", checkpoint, "--format", form)
        cli("reproduce", paper, "--models", checkpoint, "--format", form, "--output", "out")
        assert printed.stdout == Path("out").read_text("utf-8")
        assert printed.stdout.count("it cannot be") == 1


def test_json_goes_to_a_file(cli, paper, checkpoint, tmp_path):
    result = cli(
        "reproduce", paper, "--model", checkpoint, "--quiet", "--format", "json", "-o", "out.json"
    )
    assert (result.exit_code, result.stdout) == (0, "")
    rows = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert [row["verdict"] for row in rows] == [
        "not published",
        "hit",
        "not published",
        "miss",
        "not measured",
    ]


def test_a_dry_run_shows_builds_and_queries_and_writes_nothing(cli, paper, checkpoint, tmp_path):
    result = cli("reproduce", paper, "--models", checkpoint, "--dry-run", "--strict")
    assert result.exit_code == 0
    assert result.stdout.startswith("1 builds\nspace ")
    assert "\n1 queries\n" in result.stdout
    assert not (tmp_path / "store").exists()


def test_strict_ends_with_1_if_a_number_is_missed(cli, paper, checkpoint):
    assert cli("reproduce", paper, "--models", checkpoint, "--strict").exit_code == 1
    assert cli("reproduce", paper, "--models", f"other={checkpoint}", "--strict").exit_code == 0


def test_a_mistake_is_named(refusal, paper):
    for arguments, message in (
        (["wolfe2023"], "unknown recipe 'wolfe2023'. Did you mean 'wolfe2022'?"),
        (["gone.toml"], "gone.toml cannot be read: No such file"),
        (["wolfe2022", "--models", "./gone"], "gone"),
        (["tiny.toml", "--models", "x=gone/y/z"], "gone/y/z"),
    ):
        assert message in refusal("reproduce", *arguments)


def row(**values: Any) -> dict[str, Any]:
    given = {
        "model": "gpt2",
        "figure": "f",
        "variant": "word, last token, BOS/EOS",
        "layers": "12",
        "layer": 12,
    }
    return dict.fromkeys(COLUMNS) | given | values


def laid_out(*rows: dict[str, Any]) -> list[tuple[str, Table]]:
    return result_sections(table(rows, columns=COLUMNS), {})


COMPARED = (
    row(published=0.9642, relation="~=", low=0.9142, high=1.0142, measured=0.1234, verdict="miss"),
    row(
        layers="best",
        layer=8,
        published=0.95,
        relation=">=",
        low=0.95,
        measured=-0.1234,
        verdict="hit",
    ),
    row(layers="all", relation="falling", high=0.0, measured=3.0, verdict="miss"),
    row(variant=None, published=0.25, relation="<", high=0.25, measured=0.1, verdict="hit"),
)


def test_what_is_compared_stands_beside_the_band():
    [(_, compared)] = laid_out(*COMPARED)
    header, lines = compared.layout()
    assert header == ["model", "variant", "layer", "published", "band", "measured", "verdict"]
    assert [line[2:6] for line in lines] == [
        ["12", "~= 0.9642", "0.9142–1.014", "0.1234"],
        ["best 8", ">= 0.9500", ">= 0.95", "-0.1234"],
        ["all", "falling", "0 steps", "3 steps rise"],
        ["12", "< 0.2500", "< 0.25", "0.1000"],
    ]


@pytest.mark.parametrize(
    ("low", "high", "band"),
    [
        (0.5609999999999999, 0.661, "0.561–0.661"),
        (0.00707932, 0.10707932, "0.0071–0.1071"),
        (-0.05, 0.05, "-0.05–0.05"),
        (259.8288, 389.7432, "259.8–389.7"),
        (80000.0, 120000.0, "8.000e+04–1.200e+05"),
    ],
)
def test_a_band_is_short(low, high, band):
    [(_, compared)] = laid_out(
        row(published=(low + high) / 2, relation="=", low=low, high=high, measured=1.0)
    )
    assert compared["band"] == [band]


def test_what_is_compared_fits_80_columns_of_a_terminal(monkeypatch, capsys):
    """Whole where there is room, or nobody looks; else a variant at a time."""
    sections = laid_out(*COMPARED)
    emit_sections(sections, Format.TABLE)
    whole = capsys.readouterr().out
    assert whole.count("published  band") == 1
    assert max(map(cell_len, whole.splitlines())) > 80
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("embstore_cli.papers._terminal_width", lambda: 80)
    emit_sections(sections, Format.TABLE)
    blocks = [block.splitlines() for block in capsys.readouterr().out.split("\n\n")]
    assert [block[0] for block in blocks] == [
        "f; beside what is published; word, last token, BOS/EOS",
        "f; beside what is published",
    ]
    assert [len(block) for block in blocks] == [5, 3]
    assert max(cell_len(line) for block in blocks for line in block) <= 80
    emit_sections(sections, Format.MARKDOWN)
    assert (
        "| model | variant | layer | published | band | measured | verdict |"
        in capsys.readouterr().out
    )
    monkeypatch.setattr("embstore_cli.papers._terminal_width", lambda: 120)
    emit_sections(sections, Format.TABLE)
    assert capsys.readouterr().out == whole


def test_what_is_not_measured_is_counted_by_figure_and_reason():
    missing = {
        "verdict": "not measured",
        "reason": "why",
        "relation": "=",
        "published": 1.0,
        "variant": None,
    }
    other = missing | {"reason": "why else"}
    (head, counted), (second, rest) = laid_out(
        row(**missing), row(**other), row(layers="3", **missing), row(model="clip", **missing)
    )
    assert (head, second) == ("not measured: why", "not measured: why else")
    assert counted.to_pylist() == [
        {"model": "gpt2", "figure": "f", "published": 2},
        {"model": "clip", "figure": "f", "published": 1},
    ]
    assert rest.to_pylist() == [{"model": "gpt2", "figure": "f", "published": 1}]
