"""Figures for papers: exact widths, legible type, metadata, labels, colours, ranges, captions; and
what is refused.
"""

import json
import re
import struct
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from picture_boxes import faults, texts
from results import result_of

from embstore.base.chart import Chart
from embstore.base.errors import UnknownNameError, UsageError
from embstore.metrics import METRICS
from embstore.plot.options import PlotOptions, read_length
from embstore.store import Result

pytestmark = pytest.mark.slow

MODELS = ("minilm.word.last", "minilm-untrained-0.word.last")
MM = 96 / 25.4


def rows_of(
    spaces: tuple[str, ...] = MODELS, n_layers: int = 4, **columns: Any
) -> list[dict[str, Any]]:
    return [
        {
            "space": space,
            "layer": at,
            "layer_name": str(at),
            "n": 100,
            "reason": None,
            "score": 0.1 * at + 0.2 * where,
        }
        | columns
        for where, space in enumerate(spaces)
        for at in range(n_layers)
    ]


def curves(spaces: tuple[str, ...] = MODELS, n_panels: int = 1) -> Result:
    rows = [row for number in range(n_panels) for row in rows_of(spaces, dataset=f"set {number}")]
    return result_of(
        rows,
        columns=list(rows[0]),
        chart=Chart("curves", ("score",), "agreement", facets=("dataset",)),
    )


def heat_map(n_layers: int = 4) -> Result:
    rows = [
        row | {"space_2": row["space"], "layer_2": at, "layer_name_2": str(at)}
        for row in rows_of(MODELS[:1], n_layers)
        for at in range(n_layers)
    ]
    return result_of(
        rows,
        columns=list(rows[0]),
        chart=Chart("heat map", ("score",), "distance", distances=("score",)),
    )


def chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


@pytest.mark.parametrize(
    ("drawn", "width"),
    [
        (curves(), "3.3in"),
        (curves(n_panels=5), "80mm"),
        (curves(n_panels=5), "170 mm"),
        (heat_map(), "170 mm"),
        (heat_map(13), "80mm"),
    ],
)
def test_files_are_exactly_as_wide_as_requested(drawn, width):
    figure = drawn.plot(width=width)
    millimetres = read_length("width", width) / MM
    svg, png = figure.to_svg(), dict(chunks(figure.to_png()))
    box = re.search(rb"/MediaBox ?\[([^\]]+)\]", figure.to_pdf())
    assert box
    left, _, right, _ = map(float, box[1].split())
    assert (right - left) / 72 * 25.4 == pytest.approx(millimetres, abs=0.01)
    measured = re.search(
        r'<svg[^>]* width="([\d.]+)mm" height="([\d.]+)mm" viewBox="0 0 ([\d.]+) ([\d.]+)"', svg
    )
    assert measured
    assert float(measured[1]) == pytest.approx(millimetres, abs=0.01)
    assert float(measured[3]) / MM == pytest.approx(
        millimetres, abs=0.01
    )  # nothing is made smaller
    pixels, per_metre, unit = (
        *struct.unpack(">I", png[b"IHDR"][:4]),
        *struct.unpack(">IxxxxB", png[b"pHYs"][:9]),
    )
    assert unit == 1
    assert pixels / per_metre * 1000 == pytest.approx(millimetres, abs=0.1)  # of whole pixels
    assert min(map(float, re.findall(r'font-size="([\d.]+)px"', svg))) * 0.75 >= 7  # points


BARS = Chart("bars", ("parts",), "share")
STRIP = Chart("curves", ("score",), "Self-similarity", items="word")
DRAWN = [
    curves(),
    heat_map(),
    result_of(rows_of(parts=[0.4, 0.2]), columns=[*rows_of()[0], "parts"], chart=BARS),
    result_of(rows_of(word="a") + rows_of(word="b"), columns=[*rows_of()[0], "word"], chart=STRIP),
]


@pytest.mark.parametrize(
    "names",
    [
        [*map(str, range(7)), "output"],
        [*map(str, range(12)), "raw", "normed"],
        [*map(str, range(24))],
        ["0", "11", "12"],
    ],
)
@pytest.mark.parametrize("drawn", [curves(MODELS[:1]), heat_map()])
def test_the_first_and_the_last_layer_are_labelled(drawn, names):
    pairs = [
        (at, other)
        for at in range(len(names))
        for other in range(len(names) if "layer_2" in drawn.columns else 1)
    ]
    rows = [
        {
            **drawn.rows[0],
            "layer": at,
            "layer_name": names[at],
            "layer_2": other,
            "layer_name_2": names[other],
        }
        for at, other in pairs
    ]
    figure = result_of(rows, columns=drawn.columns, chart=drawn.chart).plot(width="80mm")
    assert {names[0], names[-1]} <= {*texts(figure)}
    assert not faults(figure)


@pytest.mark.parametrize("drawn", DRAWN)
def test_a_long_word_makes_nothing_smaller(drawn):
    word = "Donaudampfschifffahrtsgesellschaft" * 5
    figure = drawn.plot(width="80mm", title=word, x_label=word, y_label=word)
    assert not faults(figure)
    width = re.search(r'viewBox="0 0 ([\d.]+) ', figure.to_svg())
    assert width
    assert float(width[1]) / MM == pytest.approx(80, abs=0.01)


def test_the_title_of_a_legend_is_whole():
    chart = Chart(
        "heat map", ("score",), "likeness", labels=(("score", "counterfactual agreement"),)
    )
    rows = heat_map().rows
    shown = texts(result_of(rows, columns=list(rows[0]), chart=chart).plot(style="screen"))
    assert {"counterfactual", "agreement"} <= {*" ".join(shown).split()}


def test_the_panels_and_not_a_margin_fill_the_width():
    svg = heat_map().plot(width="170mm").to_svg()
    labels = re.findall(r"<rect|<text[^>]*transform=\"translate\(([\d.]+)", svg)
    assert max(float(label) for label in labels if label) > 0.7 * 170 * MM


def test_on_paper_nothing_lies_behind_a_figure():
    assert 'fill="white"' not in curves().plot().to_svg()
    assert 'fill="white"' in curves().plot(style="screen").to_svg()
    sizes = [
        max(map(float, re.findall(r'font-size="([\d.]+)px"', curves().plot(style=style).to_svg())))
        for style in ("paper", "screen")
    ]
    assert sizes[0] < sizes[1]


def test_what_a_caption_leaves_out_is_in_the_files():
    chart = Chart(
        "curves",
        ("score",),
        "agreement",
        settings=("k", "variant"),
        defaults=(("k", 10), ("variant", "raw")),
    )
    rows = rows_of(MODELS[:1], k=10, variant="centred", seed=7)
    figure = result_of(rows, columns=list(rows[0]), chart=chart).plot()
    assert figure.spec["title"]["subtitle"] == [
        "MiniLM, words, last token · n = 100 · variant: centred"
    ]
    told = "minilm.word.last. n = 100; k: 10; variant: centred; seed: 7"
    assert told in (re.search(r"<desc>(.*?)</desc>", figure.to_svg()) or [""])[0]
    assert told.encode() in b"".join(
        data for name, data in chunks(figure.to_png()) if name == b"iTXt"
    )
    assert told.encode("utf-16-be").hex().encode() in figure.to_pdf()


def test_a_caption_always_states_the_number_of_neighbours():
    """Of which no default is known; where k counts dimensions, it is stated if it is another."""
    defaults = {
        name: dict(METRICS[name].chart.defaults)
        for name in ("knn", "hubness", "overlap", "spectrum")
    }
    assert [name for name, found in defaults.items() if "k" in found] == ["spectrum"]
    rows = rows_of(
        MODELS[:1], label="pos", accuracy=0.5, low=None, high=None, majority=0.3, best=None, k=10
    )
    [caption] = (
        result_of(rows, columns=list(rows[0]), chart=METRICS["knn"].chart)
        .plot()
        .spec["title"]["subtitle"]
    )
    assert caption.endswith(" · k: 10")


def test_a_figure_has_the_words_that_a_reader_knows():
    metric = METRICS["anisotropy"]
    rows = rows_of(anisotropy=0.3, std=None, n_zero=0, variant="raw")
    shown = texts(result_of(rows, columns=list(rows[0]), chart=metric.chart).plot())
    assert {"Anisotropy", "Anisotropy (mean cosine, −1 to 1)", "MiniLM", "MiniLM, untrained"} <= {
        *shown
    }
    rows = rows_of(twonn_ls=9.0, twonn_mle=None, twonn_mle_unbiased=None)
    found = result_of(
        rows, columns=list(rows[0]), chart=METRICS["intrinsic-dimension"].chart
    ).plot()
    assert "Intrinsic dimension (TwoNN)" in texts(found)


def look_of(svg: str, label: str) -> set[tuple[str, ...]]:
    """Return the marks and colours of the points of a curve, in an SVG."""
    points = re.findall(
        rf'aria-label="[^"]*space: {label};[^"]*"[^>]*aria-roledescription="point"([^>]*)>', svg
    )
    found = [re.search(r' d="([^"]+)".* fill="([^"]+)"', point) for point in points]
    assert found, label
    return {match.groups() for match in found if match}


def test_a_model_looks_the_same_beside_others():
    both = curves().plot().to_svg()
    more = curves(("gpt2.word.last", *MODELS, "clip.word.last")).plot().to_svg()
    for label in ("MiniLM", "MiniLM, untrained"):
        assert look_of(both, label) == look_of(more, label)
    looks = [look_of(more, label) for label in ("GPT-2", "MiniLM", "MiniLM, untrained", "CLIP")]
    assert len(set.union(*looks)) == 4
    assert {len({look[part] for each in looks for look in each}) for part in (0, 1)} == {4}


def test_labels_titles_range_caption_and_colours_are_as_requested():
    figure = curves().plot(
        labels={MODELS[1]: "Random"},
        x_label="block",
        y_label="Spearman",
        range=(0, 0.5),
        caption="Ours",
        title="",
        colours=["#123456", "#E69F00"],
    )
    shown = texts(figure)
    assert {"MiniLM", "Random", "block", "Spearman", "Ours", "0.5"} <= {*shown}
    assert not {"layer", "0.6", "agreement"} & {*shown}
    svg = figure.to_svg()
    assert "#123456" in svg
    assert "#E69F00".lower() in svg.lower()
    assert '"clip": true' in figure.to_json()
    assert not faults(figure)
    assert curves().plot(caption="none", title="").spec["title"] is None
    assert '"domain": [\n' in heat_map().plot(range=(0, 2)).to_json()
    assert heat_map().plot(range=(0, 2)).spec["layer"][0]["encoding"]["color"]["scale"][
        "domain"
    ] == [0, 2]


def test_a_distance_has_the_colours_of_a_similarity_the_other_way():
    assert heat_map().plot().spec["layer"][0]["encoding"]["color"]["scale"]["reverse"] is True


def test_given_colours_are_the_ends_of_a_scale_on_which_numbers_can_be_read():
    svg = heat_map().plot(colours=["#000000", "#ffffff"], range=(0, 0.3)).to_svg()
    numbers = {
        (text, fill)
        for fill, text in re.findall(r'<text[^>]* fill="(black|white)"[^>]*>(0\.\d0)</text>', svg)
    }
    assert numbers == {("0.00", "white"), ("0.10", "white"), ("0.20", "black"), ("0.30", "black")}
    assert {"rgb(0, 0, 0)", "rgb(255, 255, 255)"} <= {*re.findall(r'fill="(rgb\([^"]+\))"', svg)}
    rows = rows_of(MODELS[:1], 5, word="bank") + rows_of(MODELS[:1], 5, word="river")
    strip = result_of(rows, columns=list(rows[0]), chart=STRIP)
    scale = strip.plot(colours=["#000000", "#ff0000", "#ffffff"]).spec["layer"][0]["encoding"][
        "color"
    ]["scale"]
    assert scale["range"] == ["#000000", "#800000", "#ff0000", "#ff8080", "#ffffff"]
    with pytest.raises(UsageError, match="a scale needs two or more colours"):
        heat_map().plot(colours=["#000000"])


def test_one_word_is_a_curve_over_the_layers_and_several_are_lines():
    chart = Chart("curves", ("score",), "Self-similarity", items="word")
    rows = rows_of(word="bank") + rows_of(word=None)
    one = result_of(rows, columns=list(rows[0]), chart=chart).plot()
    assert {"layer", "MiniLM", "MiniLM, untrained"} <= {*texts(one)}
    assert "word: bank" in one.spec["title"]["subtitle"][0]
    assert len([row for row in one.spec["data"]["values"] if "score" in row]) == 8
    several = result_of(rows + rows_of(word="river"), columns=list(rows[0]), chart=chart).plot()
    assert {"bank", "river"} <= {*texts(several)}


def test_items_without_a_value_are_named_in_the_caption():
    rows = [*rows_of(MODELS[:1], 2, word="bank"), *rows_of(MODELS[:1], 2, word="river")]
    rows += [row | {"score": None} for row in rows_of(MODELS[:1], 2, word="xyzzy")]
    chart = Chart("curves", ("score",), "Self-similarity", items="word")
    shown = " ".join(texts(result_of(rows, columns=list(rows[0]), chart=chart).plot()))
    assert shown.endswith("without a value: xyzzy") or "· without a value: xyzzy" in shown
    assert "2 of 6" not in shown
    rows[0]["score"] = None
    assert "without a value: xyzzy · 1 of 6 without" in " ".join(
        texts(result_of(rows, columns=list(rows[0]), chart=chart).plot())
    )


@pytest.mark.parametrize(
    "name", [name for name, metric in METRICS.items() if metric.chart.kind == "curves"]
)
def test_the_title_of_an_axis_is_whole_at_80_mm(name):
    chart = METRICS[name].chart._replace(
        items=None, facets=(), intervals=(), bands=(), baselines=(), best=None
    )
    for column in chart.values:
        rows = [row | {column: 0.1 * row["layer"]} for row in rows_of(MODELS[:1])]
        spec = (
            result_of(rows, columns=list(rows[0]), chart=chart)
            .plot(width="80mm", column=column)
            .spec
        )
        assert "…" not in " ".join(spec["layer"][0]["encoding"]["y"]["axis"]["title"]), column


def test_the_panels_of_a_strip_are_equally_wide():
    rows = [row | {"word": word} for word in ("a", "b") for row in rows_of(MODELS, 2)]
    rows += [row | {"word": "accusations"} for row in rows_of(MODELS[:1], 2)]
    panels = result_of(rows, columns=list(rows[0]), chart=STRIP).plot(width="80mm").spec["concat"]
    assert len({panel["width"] for panel in panels}) == 1


def test_labels_keep_off_the_circles_round_points():
    def gap(same: bool) -> float:
        rows = rows_of(no_difference=same, dataset="rg65")
        label = (
            result_of(rows, columns=list(rows[0]), chart=curves().chart).plot().spec["layer"][-1]
        )
        return float(label["mark"]["dx"])

    assert gap(True) >= 1 + (150 / 3.14159) ** 0.5 > gap(False)


def test_a_figure_goes_on_in_altair(monkeypatch):
    altair = pytest.importorskip("altair")
    for drawn in (curves(), curves(n_panels=3), heat_map()):
        chart = drawn.plot().to_altair()
        assert isinstance(chart, altair.TopLevelMixin)
        assert json.loads(chart.properties(title="Mine").to_json())["title"] == "Mine"
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(
        UsageError, match=r"Altair, which is not installed: pip install 'altair>=6'"
    ):
        curves().plot().to_altair()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": "80"}, r"'80' has no unit: write a length as in width=.80mm.; cm, in and pt"),
        (
            {"width": "640px"},
            r"'640px' is in pixels, which have no size on paper: .* width=.169.3mm.",
        ),
        ({"width": "0"}, "has no unit"),
        ({"width": "0mm"}, "width must be from 50mm to 297mm, the length of a page of A4, not 0mm"),
        ({"width": "2m"}, "'2m' is no length: write it as in width=.80mm."),
        ({"width": "12in"}, "width must be from 50mm to 297mm"),
        ({"height": "5mm"}, "height must be from 15mm to 297mm"),
        (
            {"range": "1,0"},
            "'1,0' is no range: write two numbers, the smaller first, as in range=.0,1.",
        ),
        ({"range": "0"}, "is no range"),
        ({"range": "0,nan"}, "is no range"),
        ({"range": "0,1", "logy": True}, "logy=.* needs a range of positive values"),
        ({"labels": ["minilm"]}, "'minilm' is no label: write SPACE=TEXT"),
        ({"labels": {"minilm": 3}}, r"\('minilm', 3\) is no label: write SPACE=TEXT"),
        ({"labels": {3: "MiniLM"}}, r"\(3, 'MiniLM'\) is no label"),
        ({"labels": [3]}, "'?3'? is no label"),
        ({"labels": 3}, "'?3'? is no label"),
        ({"colours": ","}, "'' is no colour: write each as #rrggbb"),
        ({"colours": 3}, "'3' is no colour"),
        ({"colours": "#12345"}, "'#12345' is no colour: write each as #rrggbb"),
        ({"colours": "#123456,bleu"}, "'bleu' is no colour"),
        ({"style": "papre"}, "unknown style 'papre'"),
    ],
)
def test_what_cannot_work_is_refused_with_the_right_form(options, message):
    with pytest.raises((UsageError, UnknownNameError), match=message):
        PlotOptions(**options)


def test_what_is_meant_is_read_as_it_is_given():
    assert PlotOptions(colours=None, labels=None) == PlotOptions(colours="") == PlotOptions()
    assert PlotOptions(labels="a=b=c") == PlotOptions(labels={"a": "b=c"})
    assert PlotOptions(colours="#123456,#ABCDEF") == PlotOptions(colours=["#123456", "#abcdef"])


@pytest.mark.parametrize(
    ("text", "inches"),
    [
        ("80mm", 80 / 25.4),
        ("8 cm", 8 / 2.54),
        ("3.3in", 3.3),
        ("240pt", 240 / 72),
        ("50mm", 50 / 25.4),
    ],
)
def test_lengths_are_read_in_units(text, inches):
    assert read_length("width", text) == pytest.approx(96 * inches)
