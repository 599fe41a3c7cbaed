"""Tables as LaTeX: rules of booktabs, intervals inline, the best in bold, special characters
escaped.
"""

import re
import shutil
import subprocess

import pytest

from embstore.base.errors import UnknownNameError
from embstore.base.latex import escaped
from embstore.base.table import Pivot, table

ROWS = [
    {
        "layer_name": name,
        "layer": at,
        "space": space,
        "r": value,
        "low": low,
        "high": high,
        "best": best,
    }
    for space, best_layer in (("gpt2_xl.word.last", 1), ("a&b.word.last", 0))
    for at, (name, value, low, high) in enumerate(
        [("0", 0.5, 0.25, 0.75), ("1", -0.125, -0.5, 0.25)]
    )
    for best in [at == best_layer]
]
PIVOT = Pivot(
    ("layer_name",), ("space",), ("r", "low", "high"), heads=("layer",), order="layer", mark="best"
)


def result(notes=()):
    return table(
        ROWS, columns=list(ROWS[0]), pivot=PIVOT, intervals={"r": ("low", "high")}, notes=notes
    )


def test_a_table_has_rules_intervals_and_the_best_in_bold():
    assert (
        result(("n = 5",)).to_latex() == "% n = 5\n"
        "% gpt2_xl: gpt2_xl.word.last\n"
        "% a&b: a&b.word.last\n"
        "\\begin{tabular}{rrr}\n"
        "\\toprule\n"
        "layer & gpt2\\_xl & a\\&b \\\\\n"
        "\\midrule\n"
        "0 & 0.5000 [0.2500, 0.7500] & \\textbf{0.5000 [0.2500, 0.7500]} \\\\\n"
        "1 & \\textbf{$-$0.1250 [$-$0.5000, 0.2500]} & $-$0.1250 [$-$0.5000, 0.2500] \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
    )


def test_spaces_are_called_as_in_figures_or_as_requested():
    models = {
        "gpt2_xl.word.last": "minilm-untrained-0.word.last",
        "a&b.word.last": "minilm.word.last",
    }
    rows = [{**row, "space": models[row["space"]]} for row in ROWS]
    found = table(rows, columns=list(rows[0]), pivot=PIVOT)
    head = next(line for line in found.to_latex().splitlines() if line.startswith("layer"))
    assert head.startswith("layer & MiniLM, untrained r & MiniLM, untrained low")
    written = found.to_latex({"minilm.word.last": "Ours"})
    assert (
        "% MiniLM, untrained: minilm-untrained-0.word.last\n% Ours: minilm.word.last\n" in written
    )
    assert "& Ours r & Ours low" in written
    assert "Ours low" in repr(found.with_labels({"minilm.word.last": "Ours"}))
    assert "Ours" not in repr(found)
    with pytest.raises(
        UnknownNameError, match=r"space to label 'b.*Known: minilm-untrained-0.word.last, minilm"
    ):
        found.to_latex({"b.word.last": "Ours"})


def test_texts_are_left_and_a_missing_value_is_a_dash():
    rows = [{"text": "sub-word", "value": None}, {"text": "-", "value": 1e-9}]
    lines = table(rows, columns=["text", "value"]).to_latex().splitlines()
    assert lines[0] == "\\begin{tabular}{lr}"
    assert lines[4] == "sub-word & -- \\\\"
    assert lines[5] in ("-- & 1.0e$-$09 \\\\", "-- & 1.0e-09 \\\\")


@pytest.mark.parametrize(
    "text", ["100% & $5 #1 a_b {x} ~ ^ \\input{/etc/passwd}", '<a|b>"', "\x1b[31m\x07"]
)
def test_special_characters_are_escaped(text):
    written = escaped(text)
    assert "\x1b" not in written
    unescaped = re.sub(r"\\[#$%&_{}]|\\text[a-z]+\{\}", "", written)
    assert not set(unescaped) & set('\\{}$&#%_^~<>|"')


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_sets_the_table(tmp_path):
    hostile = table(
        [{"text": '\\input{x} % & _ ^ ~ # $ {} <|> " é', "n": -1.5}], columns=["text", "n"]
    )
    head = (
        "\\documentclass{article}\\usepackage{booktabs}\\usepackage[T1]{fontenc}\\begin{document}\n"
    )
    (tmp_path / "t.tex").write_text(
        f"{head}{result().to_latex()}{hostile.to_latex()}\\end{{document}}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
