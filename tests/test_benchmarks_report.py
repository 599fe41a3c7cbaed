"""What the documentation and the README show is what the run measured."""

import json
from dataclasses import asdict
from xml.etree import ElementTree

import pytest
from benchmark_timing import Result
from report import CHOSEN, PAGE, PLOT, ROOT, growth_plot, points, renew, section, summary
from report_plot import draw, svg_of

_FIGURES = ROOT / "docs" / "benchmarks.json"
_SVG = "{http://www.w3.org/2000/svg}"


def document(*lines, costs=()):
    return {
        "one": {
            "machine": [
                "2 cores, a processor, 24 GiB, Linux, load 0.5, 0.4, 0.3",
                "Python 3.11.7, numpy 2.1",
            ],
            "finished": "2026-11-25T10:00+00:00",
            "size": {"search_dim": 384},
            "lines": [asdict(line) for line in lines],
            "points": [asdict(point) for point in costs],
        }
    }


def test_the_table_has_every_line_with_its_verdict():
    text = section(
        document(
            Result("a to b", "1 s", "2 s", 0.5, 0.6, rounds=7),
            Result("c to d", "2 s", "1 s", 2.0, 1.5),
            Result("e to f", "", "f is not installed"),
        )
    )
    assert "| a to b | 1 s | 2 s | 0.50 | ≤ 0.6 | 7 |" in text
    assert "| c to d | 2 s | 1 s | 2.00 | ≤ 1.5, missed | 1 |" in text
    assert "| e to f |  | f is not installed |  |  |  |" in text
    assert "2 cores, a processor, 24 GiB, Linux, 2026-11-25, with a load of 0.5 to 0.5" in text
    assert "numpy 2.1" in text
    assert PLOT.name not in text


def test_the_summary_has_the_chosen_lines_in_their_order():
    near = Result(
        "build of 8,000 words, MiniLM, 7 layers, written and indexed, to one text per call",
        "1 s",
        "2 s",
        0.5,
        0.6,
    )
    mean = Result(
        "anisotropy of 10,000 × 768, from the summaries, to scipy's pdist",
        "7 ms",
        "35 s",
        5000,
        100,
    )
    other = Result("something else", "1 s", "2 s", 0.5, 0.6)
    text = summary(
        {"encoding": document(near, mean, other)["one"], "geometry": document(other, mean)["one"]}
    )
    assert text.split("\n")[4:] == [
        "| embed 8,000 words with MiniLM, store and index 7 layers | 1 s | one text per call,"
        " scaled from 300 words | 2 s |",
        "| mean cosine over all pairs of 10,000 × 768 | 7 ms | scipy's `pdist` | 35 s |",
    ]


def test_the_plot_has_the_points_of_each_contender():
    lines = {"embstore": {1_000: 0.1, 1_000_000: 0.2}, "slow & old": {1_000: 1.0, 1_000_000: 300.0}}
    figure = draw({"a panel": lines, "another": lines}, "embstore")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["a panel", "another"]
    for ax in figure.axes:
        drawn = {line.get_label(): line for line in ax.get_lines()}
        for name, line in lines.items():
            assert dict(zip(*drawn[name].get_data(), strict=True)) == line
        assert drawn["embstore"].get_linewidth() > drawn["slow & old"].get_linewidth()
    names = texts(svg_of(figure))
    assert names.count("embstore") == names.count("slow & old") == 2


def texts(svg):
    return [text.text for text in ElementTree.fromstring(svg).iter(f"{_SVG}text")]


def test_the_summary_says_what_was_scaled():
    size = json.loads(_FIGURES.read_text("utf-8"))["encoding"]["size"]
    loop, *_ = [peer for _, peer in CHOSEN.values()]
    assert f"scaled from {size['loop_words']} words" in loop


@pytest.mark.skipif(not _FIGURES.exists(), reason="no figures are kept yet")
def test_the_pages_show_the_figures_that_are_kept():
    kept = json.loads(_FIGURES.read_text("utf-8"))
    for name, text, heading in (
        (PAGE, section(kept), "Results"),
        ("README.md", summary(kept), "Speed"),
    ):
        page = (ROOT / name).read_text("utf-8")
        assert renew(page, text, heading) == page
    assert summary(kept).count("\n|") == 2 + len(CHOSEN)
    assert points(kept)
    drawn = growth_plot(kept)
    assert drawn is not None
    # Places depend on the version of matplotlib.
    assert texts((ROOT / PLOT).read_text("utf-8")) == texts(svg_of(drawn))
