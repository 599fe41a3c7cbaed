"""``embstore plot``: files, options, stored results, and what is refused."""

import json

import pytest

from embstore.metrics import METRICS

SPACE = ("--space", "toy.word.last")
WORDS = ("text3", "text7")


@pytest.mark.slow
def test_a_picture_goes_where_it_is_said_or_beside(cli, made, tmp_path):
    done = cli("plot", "anisotropy", *SPACE, "--store", made.root)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "Written: anisotropy.svg" in done.stderr
    assert (tmp_path / "anisotropy.svg").read_text().startswith("<svg")
    files = ["a.svg", "b.png", "c.vl.json"]
    outputs = [word for file in files for word in ("-o", file)]
    done = cli(
        "plot",
        "anisotropy",
        *SPACE,
        *outputs,
        "--store",
        made.root,
        "--title",
        "Mean <cosine>",
        "--quiet",
    )
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert json.loads((tmp_path / "c.vl.json").read_text())["title"]["text"] == ["Mean <cosine>"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.svg",
        "anisotropy.svg",
        "b.png",
        "c.vl.json",
    ]


def test_the_numbers_of_a_picture_are_those_of_the_query(cli, made, tmp_path):
    stored, drawn, again = (tmp_path / name for name in ("r.json", "a.vl.json", "b.vl.json"))
    assert cli("query", "norms", *SPACE, "--store", made.root, "-o", stored).exit_code == 0
    assert cli("plot", "norms", *SPACE, "--store", made.root, "-o", drawn).exit_code == 0
    assert cli("plot", "--from", stored, "-o", again).exit_code == 0
    assert json.loads(drawn.read_text()) == json.loads(again.read_text())
    rows = json.loads(stored.read_text())
    values = json.loads(drawn.read_text())["data"]["values"]
    assert [(row["layer_name"], row["mean"]) for row in values] == [
        (row["layer_name"], row["mean"]) for row in rows
    ]


def test_drift_is_drawn_as_its_stored_result_is(cli, made, tmp_path):
    request = ("drift", *WORDS, "-k", "3", *SPACE, "--store", made.root)
    stored, drawn, again, named = (
        tmp_path / name for name in ("r.json", "a.vl.json", "b.vl.json", "c.vl.json")
    )
    assert cli(*request, "-o", stored).exit_code == 0
    done = cli("plot", *request, "-o", drawn, "--column", "turnover")
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    assert "lists of 3 drawn at random overlap by" in done.stderr
    assert cli("plot", "--from", stored, "-o", again, "--column", "turnover").exit_code == 0
    assert (
        cli("plot", "drift", "--from", stored, "-o", named, "--column", "turnover").exit_code == 0
    )
    drawing = json.loads(drawn.read_text())
    assert json.loads(named.read_text()) == json.loads(again.read_text()) == drawing
    rows = json.loads(stored.read_text())
    assert len(rows) > 2
    assert [
        (row["text"], row["layer_name_2"], row["turnover"]) for row in drawing["data"]["values"]
    ] == [(row["text"], row["layer_name_2"], row["turnover"]) for row in rows]


def test_mistakes_about_drift_are_named(cli, refusal, made, tmp_path):
    options = ("-k", "2", *SPACE, "--store", made.root)
    assert (
        cli("query", "anisotropy", *SPACE, "--store", made.root, "-o", "metric.json").exit_code == 0
    )
    for words, message in (
        (
            ["--pairs", "all", *WORDS, *options],
            "a picture of drift is of adjacent layers: leave out --pairs all.",
        ),
        (["--from", "metric.json"], "metric.json is no result of embstore drift."),
        (["absent", *options], "'absent'"),
    ):
        assert message in refusal("plot", "drift", *words)
    assert not (tmp_path / "drift.svg").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["anisotropy", "-o", "absent/x.svg"],
            "absent/x.svg cannot be written: there is no folder absent",
        ),
        (["anisotropy", "--style", "drak"], "unknown style 'drak'. Did you mean 'dark'?"),
        (["anisotropy", "--width", "3 ells"], "'3 ells' is no length: write it as in --width 80mm"),
        (
            ["anisotropy", "--label", "other.word.last=Other"],
            "unknown space to label 'other.word.last'",
        ),
        (["anisotropy", "--column", "stdd"], "unknown column to draw 'stdd'"),
        (["anisotropyy"], "Did you mean 'anisotropy'?"),
        (["--style", "dark", "anisotropy"], "Options stand after the metric"),
        (
            ["norms", "--from", "absent.json", "--layer", "0"],
            "is about what is computed, and --from draws a stored",
        ),
        (["drift", "dog", "--from", "absent.json", "-k", "3"], "is about what is computed"),
        (["--from", "absent.json"], "absent.json cannot be read: No such file or directory"),
        (
            ["-o", "a.svg"],
            "Name a metric, as in embstore plot anisotropy, or a stored result: --from result.json",
        ),
    ],
)
def test_what_cannot_be_drawn_is_said(refusal, made, tmp_path, words, message):
    store = ["--store", str(made.root)] if words[0] in METRICS else []
    assert message in refusal("plot", *words, *store, *(SPACE if store else ()))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["-o", "x.gif"],
            "x.gif: unknown type of picture. Known: .svg, .png, .pdf, .html, .vl.json.",
        ),
        (["--width", "80"], "'80' has no unit: write a length as in --width 80mm"),
        (
            ["--colours", "bleu"],
            "'bleu' is no colour: write each as #rrggbb, as in --colours '#0072B2,#D55E00'.",
        ),
        (
            ["--label", "MiniLM"],
            'write SPACE=TEXT, as in --label "minilm.word.last=MiniLM, words".',
        ),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_is_computed(
    refusal, made, monkeypatch, options, message
):
    monkeypatch.setattr("embstore.Store.query", lambda *_, **__: pytest.fail("it was computed"))
    assert message in refusal("plot", "anisotropy", "--store", made.root, *options)


def test_the_look_of_a_picture_is_as_requested(cli, made, tmp_path):
    path = tmp_path / "a.vl.json"
    options = [
        "--label",
        "toy.word.last=Ours",
        "--x-label",
        "block",
        "--y-label",
        "cosine",
        "--range",
        "0,0.5",
    ]
    done = cli(
        "plot",
        "anisotropy",
        *SPACE,
        "--store",
        made.root,
        "-o",
        path,
        *options,
        "--caption",
        "none",
        "--colours",
        "#123456",
        "--style",
        "screen",
    )
    assert done.exit_code == 0, done.stderr
    spec = json.loads(path.read_text())
    line = next(layer for layer in spec["layer"] if layer["mark"]["type"] == "line")["encoding"]
    assert (line["x"]["axis"]["title"], line["y"]["axis"]["title"]) == (["block"], ["cosine"])
    assert line["y"]["scale"]["domain"] == [0, 0.5]
    assert line["color"]["scale"] == {"domain": ["Ours"], "range": ["#123456"]}
    assert spec["title"]["subtitle"] == []


def test_without_the_extra_the_specification_is_left(cli, refusal, made, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)
    done = refusal("plot", "anisotropy", *SPACE, "--store", made.root, "-o", tmp_path / "a.svg")
    assert "vl-convert-python, which cannot be imported" in done
    assert "pip install 'embstore[plot]'" in done
    assert "ends in .vl.json" in done
    assert (
        cli(
            "plot", "anisotropy", *SPACE, "--store", made.root, "-o", tmp_path / "a.vl.json"
        ).exit_code
        == 0
    )
