"""Figures: size, fonts, metadata, colours, labels, scales, and what is refused."""

import re
import struct
import sys
from io import BytesIO
from itertools import combinations, pairwise

import matplotlib
import numpy as np
import pytest
from every_metric import INPUTS, prepare
from figures import MODELS, caption, circled, curves, figure_of, pairs, result, rows_of, texts
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.text import Text
from results import result_of

from embstore.base.chart import MAP
from embstore.base.errors import UnknownNameError, UsageError
from embstore.base.table import table
from embstore.metrics import METRICS
from embstore.plot.options import STYLES, PlotOptions, read_length

LOOKS = [("80mm", "paper"), ("170mm", "screen"), ("3.3in", "dark"), ("400mm", "paper")]


def saved(figure, kind):
    written = BytesIO()
    figure.savefig(written, format=kind)
    return written.getvalue()


def size_in_mm(data):
    """Return the size that a PDF, SVG or PNG states."""
    if data.startswith(b"%PDF"):
        box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", data)
        assert box is not None
        return float(box[1]) / 72 * 25.4, float(box[2]) / 72 * 25.4
    if data.startswith(b"\x89PNG"):
        width, height = struct.unpack(">II", data[16:24])
        [dots] = struct.unpack(">I", data[data.index(b"pHYs") + 4 :][:4])
        return width / dots * 1000, height / dots * 1000
    sides = [re.search(rb' %s="([\d.]+)pt"' % name, data) for name in (b"width", b"height")]
    width, height = (float(side[1]) / 72 * 25.4 for side in sides if side is not None)
    return width, height


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [("80mm", "60mm", (80, 60)), ("3.3in", "2in", (83.82, 50.8)), ("420mm", "90mm", (420, 90))],
)
def test_a_figure_has_exactly_the_requested_size(kind, width, height, expected):
    data = saved(figure_of(result(rows_of()), width=width, height=height), kind)
    assert size_in_mm(data) == pytest.approx(expected, abs=0.09)  # a pixel at 300 dpi


@pytest.mark.parametrize(
    "length", ["80", "80px", "0mm", "-80mm", "3 ells", "", "nanmm", "1e3mm", "19mm", "2000mm"]
)
def test_lengths_that_are_no_size_on_paper_are_refused(length):
    for name in ("width", "height"):
        with pytest.raises(UsageError):
            PlotOptions(**{name: length})


def test_lengths_are_read_in_four_units():
    inches = [read_length("width", text) for text in ("25.4mm", "2.54 cm", "1in", "72pt")]
    assert inches == pytest.approx([1, 1, 1, 1])


def test_fonts_are_embedded_and_texts_stay_texts():
    figure = figure_of(result(rows_of()))
    pdf = saved(figure, "pdf")
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b">Agreement</text>" in saved(figure, "svg")


@pytest.mark.slow
def test_files_are_equal_and_without_a_date():
    for kind in ("pdf", "svg", "png"):
        first, second = (saved(figure_of(result(rows_of())), kind) for _ in range(2))
        assert first == second
        assert b"CreationDate" not in first
        assert b"<dc:date>" not in first


def test_the_metadata_has_the_title_and_every_setting():
    found = result(
        rows_of(variant="raw", seed=7), settings=("variant",), defaults={"variant": "raw"}
    )
    figure = figure_of(found)
    assert "raw" not in caption(figure)
    assert "seed: 7" in caption(figure)
    assert "seed" not in caption(figure_of(result(rows_of(seed=0))))
    for part in (MODELS[0], MODELS[1], "n = 100", "variant: raw", "seed: 7"):
        assert part in figure.about["description"]
    svg, png, pdf = (saved(figure, kind) for kind in ("svg", "png", "pdf"))
    assert b"<dc:title>Agreement</dc:title>" in svg
    assert b"variant: raw" in svg
    assert b"variant: raw" in png
    assert "n = 100; variant: raw".encode("utf-16-be") in pdf or b"variant: raw" in pdf


def test_a_model_has_the_same_colour_and_mark_wherever_it_appears():
    def look(*spaces):
        ax = result(rows_of(spaces)).plot(width="170mm")
        label = "MiniLM" if len(spaces) > 1 else "MiniLM, words, last token"
        [line] = [line for line in ax.get_lines() if line.get_label() == label]
        return to_hex(line.get_color()), line.get_marker()

    alone = look("minilm.word.last")
    assert alone == look("bert-base-uncased.word.last", "minilm.word.last", "gpt2.word.last")
    with matplotlib.style.context("embstore.plot.paper"):
        palette = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    assert alone[0] in {to_hex(colour if colour[0] == "#" else f"#{colour}") for colour in palette}


def test_many_curves_differ_in_colour_or_dashes_or_mark():
    spaces = tuple(f"{letter}.word.last" for letter in "abcdefghijklmnopqrst")
    lines = [
        line for line in result(rows_of(spaces)).plot().get_lines() if line.get_label()[0] != "_"
    ]
    looks = {(to_hex(line.get_color()), line.get_marker()) for line in lines}
    assert len(looks) == len(lines) == len(spaces)


def test_ordered_curves_follow_the_scale_of_colours():
    groups = ("[0, 1)", "[1, 2)", "[2, 3]", None)
    rows = [row | {"group": group, "bins": 3} for group in groups for row in rows_of(MODELS[:1])]
    ax = result(rows).plot()
    luminance = [sum(line.get_color()[:3]) for line in ax.get_lines()[:6:2]]
    assert luminance == sorted(luminance)
    assert curves(ax).keys() == {"[0, 1)", "[1, 2)", "[2, 3]", "no value"}


def test_curves_are_named_at_their_ends_where_that_fits_else_in_a_legend():
    apart = figure_of(result(rows_of()), width="170mm")
    assert not apart.legends
    assert {"MiniLM", "GPT-2"} <= {*texts(apart)}
    close = figure_of(result(rows_of(score=lambda where, at: at + 0.001 * where)), width="170mm")
    assert [text.get_text() for text in close.legends[0].get_texts()] == ["MiniLM", "GPT-2"]
    assert not figure_of(result(rows_of(MODELS[:1]))).legends


def test_layers_with_names_stand_apart_from_numbers():
    ax = result(rows_of(MODELS[:1], low=0.0, high=0.9), intervals={"score": ("low", "high")}).plot()
    assert [len(line.get_xdata()) for line in ax.get_lines()] == [3, 1]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1", "2", "raw"]
    assert len(ax.collections) == 2  # a band, and a bar of the layer that stands alone


@pytest.mark.parametrize(
    ("values", "distances", "options", "limits", "is_reversed"),
    [
        ((-0.005, -0.003), (), {}, (0, 1), False),
        ((0.2, 0.4), (), {}, (0, 1), False),
        ((-0.4, 0.4), (), {}, (-0.4, 1), False),
        ((0.2, 1.2), ("score",), {}, (0, 1.2), True),
        ((0.2, 0.4), (), {"range": (0.1, 0.5)}, (0.1, 0.5), False),
    ],
)
def test_a_heat_map_has_the_range_of_its_measure(values, distances, options, limits, is_reversed):
    rows = pairs(rows_of(MODELS[:1], layers=("0", "1", "2")))
    for at, row in enumerate(rows):
        row["score"] = values[at % 2]
    [mesh] = result(rows, distances=distances).plot(**options).collections
    assert mesh.get_clim() == limits
    assert mesh.get_cmap().name == ("viridis_r" if is_reversed else "viridis")
    assert mesh.get_array().reshape(3, 3)[0, 1] == values[1]


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ((-0.00004, 0.00312), {}, {"0.00"}),
        ((-0.00004, 0.00312), {"range": (0, 0.01)}, {"0.0000", "0.0031"}),
        ((-0.0123, 0.0456), {"range": (-0.05, 0.05)}, {"−0.012", "0.046"}),
        ((-0.5, 0.25), {}, {"−0.50", "0.25"}),
        ((3.14, 31.4), {}, {"3.1", "31.4"}),
    ],
)
def test_numbers_in_cells_have_the_decimals_of_the_scale(values, options, expected):
    rows = pairs(rows_of(MODELS[:1], layers=("0", "1", "2")))
    for at, row in enumerate(rows):
        row["score"] = values[at % 2]
    [ax] = figure_of(result(rows), **options).panels
    assert {text.get_text() for text in ax.texts} == expected


def test_a_heat_map_of_two_spaces_outlines_equal_depth_and_names_both():
    figure = figure_of(result(pairs(rows_of(MODELS[:1], layers=("0", "1", "2")), MODELS[1])))
    [ax] = figure.panels
    assert [patch.get_xy() for patch in ax.patches] == [(0, 0), (1, 1), (2, 2)]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("layer, MiniLM", "layer, GPT-2")
    assert "outlined: equal depth" in caption(figure)


def test_bars_stand_on_each_other_and_are_named():
    rows = rows_of(MODELS[:1], score=lambda _, at: [0.3, 0.2, -0.1], dims=lambda _, at: [5, 7, 9])
    found = result(rows)
    found = type(found)(**{**vars(found), "types": {"dims": "array of integers"}})
    figure = figure_of(found, width="170mm")
    bars = figure.panels[0].patches
    ends = [end for bar in bars[:3] for end in (bar.get_y(), bar.get_y() + bar.get_height())]
    assert ends == pytest.approx([0, 0.3, 0.3, 0.5, 0, -0.1])
    assert {"5", "7", "9"} <= {*texts(figure)}


@pytest.mark.parametrize(("n_words", "n_drawn"), [(2, 2), (12, 12), (300, 40)])
def test_words_stand_in_a_strip_highest_first(n_words, n_drawn):
    rows = [
        row | {"word": f"word{number}", "score": (7 * number) % n_words + row["layer"] / 10}
        for number in range(n_words)
        for row in rows_of(MODELS[:1])
    ]
    figure = figure_of(result(rows), width="80mm")
    shown = [label.get_text() for label in figure.panels[0].get_yticklabels()]
    last = {row["word"]: row["score"] for row in rows if row["layer"] == 3}
    order = sorted(last, key=lambda word: -last[word])
    assert shown == (order if n_words <= 40 else order[:20] + order[-20:])
    assert len(shown) == n_drawn
    assert bool(figure.notes) == (n_words > n_drawn)


HOSTILE = r"$\frac{1}{0}$ $\frac{$ <b>&amp;</script> _^ \input{x} " + "\x1b[31m\n\u202e%"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_texts_are_drawn_as_text(kind):
    rows = rows_of(
        (HOSTILE, "b"), layers=("0", HOSTILE), dataset=lambda where, at: f"{HOSTILE}{at}"
    )
    for found in (
        result(rows, title=HOSTILE, panels=("dataset",), labels={"score": HOSTILE}),
        result([row | {"word": HOSTILE + row["space"]} for row in rows]),
        result(pairs(rows, HOSTILE)),
    ):
        data = saved(figure_of(found, width="170mm"), kind)
        if kind == "svg":
            assert b"<b>" not in data
            assert b"\x1b" not in data
            assert rb"$\frac{1}{0}$" in data


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fallbacks", "text", "missing"),
    [
        ((), "猫 café", "猫"),
        (("STIXGeneral",), "Ⓐ", ""),
        ((), "ℊ", "ℊ"),
        ((), "𝟢", "𝟢"),  # titles are bold, and only the regular face has it
    ],
)
def test_characters_that_no_font_has_are_noted(monkeypatch, fallbacks, text, missing):
    monkeypatch.setattr("embstore.plot.look._FALLBACK_FONTS", fallbacks)
    figure = figure_of(result(rows_of()), title=text)
    for kind in ("svg", "pdf", "png"):
        assert saved(figure, kind)  # matplotlib's warning would be an error here
    [*notes] = figure.notes
    assert len(notes) == bool(missing)
    assert all(f"boxes: {missing}." in note for note in notes)


@pytest.mark.slow
def test_a_caption_is_not_broken_within_brackets():
    for width in range(60, 200, 7):
        rows = rows_of(p_holm=lambda _, at: 0.5, versus="best", n_common=9)
        figure = figure_of(result(rows), width=f"{width}mm")
        figure.draw_without_rendering()
        text = figure.texts[-1]
        assert any(
            "(adjusted p ≥ .05)" in line
            for line in text._get_wrapped_text().replace("\u00a0", " ").splitlines()
        )


def test_one_is_told_what_is_not_drawn():
    outside = figure_of(result(rows_of(MODELS[:1])), range=(0, 0.15))
    assert outside.notes == ("2 of 4 values are outside the range and not drawn.",)
    why = ["needs at least 3 vectors", "a zero vector", "a zero vector", "<b>&"]
    empty = figure_of(result(rows_of(MODELS[:1], score=None, reason=lambda _, at: why[at])))
    [text] = [text for text in texts(empty) if text.startswith("No values to draw.")]
    assert text.splitlines()[1] == "a zero vector"
    assert {*text.splitlines()[2:]} == {"needs at least 3 vectors", "<b>&"}


@pytest.mark.slow
@pytest.mark.parametrize("values", [[0.5], [0.0], [1e-9, 1e-9], [-3e8, 5e8], [1.0, 1.0 + 1e-15]])
@pytest.mark.parametrize(("width", "style"), LOOKS)
def test_any_values_have_a_scale(values, width, style):
    layers = tuple(map(str, range(len(values))))
    found = result(rows_of(layers=layers, score=lambda _, at: values[at]))
    assert saved(figure_of(found, width=width, style=style), "png")


@pytest.mark.parametrize(("low", "high"), [(220.0, 340.0), (0.91, 0.97), (1.0, 9.0), (1e-9, 1e9)])
def test_a_logarithmic_scale_has_several_ticks_without_tex(low, high):
    ax = result(rows_of(MODELS[:1], ("0", "1"), score=lambda _, at: (low, high)[at])).plot(
        logy=True
    )
    ax.figure.draw_without_rendering()
    ticks = [label.get_text() for label in ax.get_yticklabels()]
    bottom, top = ax.get_ylim()
    assert ax.get_yscale() == "log"
    assert sum(bottom <= tick <= top for tick in ax.get_yticks()) >= 2
    assert not any("$" in tick for tick in ticks)
    with pytest.raises(UsageError, match="positive values"):
        result(rows_of()).plot(logy=True)


def test_a_result_is_drawn_on_axes_of_the_caller():
    with plt.style.context({"font.size": 17, "text.usetex": False}):
        figure, ax = plt.subplots()
        assert result(rows_of(), title=HOSTILE).plot(ax=ax) is ax
        assert ax.xaxis.label.get_fontsize() == 17
    assert curves(ax).keys() == {"MiniLM", "GPT-2"}
    assert not any(text.get_parse_math() for text in ax.texts)
    figure.savefig(BytesIO())
    plt.close(figure)
    panels = result(rows_of(dataset=lambda where, _: f"d{where}"), panels=("dataset",))
    with pytest.raises(UsageError, match="2 panels"):
        panels.plot(ax=ax)
    grid = plt.figure().subplots(1, 2)
    assert [*panels.plot(ax=grid)] == [*grid]
    plt.close("all")


def test_panels_are_an_array_of_axes():
    found = result(rows_of(dataset=lambda where, _: f"d{where}"), panels=("dataset",)).plot()
    assert isinstance(found, np.ndarray)
    assert [ax.get_title(loc="left") for ax in found] == ["d0", "d1"]
    assert not plt.get_fignums()  # no state of pyplot


@pytest.mark.parametrize(
    ("kind", "shared"), [("curves", "y"), ("bars", "y"), ("strip", "x"), ("heat map", "")]
)
def test_panels_have_one_scale_of_values(kind, shared):
    rows = rows_of(dataset=lambda where, _: f"d{where}", score=lambda where, at: 3.0 * where + at)
    if kind == "bars":
        rows = [row | {"score": [row["score"], 1.0]} for row in rows]
    if kind == "strip":
        rows = [row | {"word": word} for row in rows for word in ("cat", "dog")]
    if kind == "heat map":
        rows = pairs(rows)
    first, second = result(rows, panels=("dataset",)).plot()
    for axis in "xy":
        siblings = getattr(first, f"get_shared_{axis}_axes")()
        assert siblings.joined(first, second) == (axis == shared)
    if shared:
        assert getattr(first, f"get_{shared}lim")() == getattr(second, f"get_{shared}lim")()


def test_the_title_and_the_caption_are_at_the_edges_and_the_panels_between_them():
    figure = figure_of(result(rows_of()), title="Above", caption="Below")
    figure.draw_without_rendering()
    above, below = (text.get_window_extent() for text in figure.texts)
    panel = figure.panels[0].get_tightbbox()
    assert figure.bbox.height - above.y1 == pytest.approx(0.05 * figure.dpi, abs=1)
    assert below.y0 == pytest.approx(0.05 * figure.dpi, abs=1)
    assert below.y1 < panel.y0 < panel.y1 < above.y0


@pytest.mark.parametrize(("width", "n_columns"), [("170mm", 2), ("80mm", 1)])
def test_several_results_stand_side_by_side_with_one_caption(width, n_columns):
    first, second = result(rows_of(k=3), settings=("k",)), result(rows_of(), title="Norm")
    figure = figure_of([first, second], width=width)
    assert len({ax.get_window_extent().x0 // 20 for ax in figure.panels}) == n_columns
    assert {"Agreement", "Norm"} <= {*texts(figure)}
    assert caption(figure).splitlines() == ["words, last token · n = 100", "Agreement: k: 3"]


def test_the_look_is_as_requested(tmp_path):
    own = tmp_path / "own.mplstyle"
    own.write_text("font.size: 14\nlines.linewidth: 5\n")
    options = {
        "labels": {MODELS[0]: "Ours"}, "x_label": "block", "y_label": "cosine", "caption": "none",
        "range": "0,0.5", "colours": "#123456,#654321", "title": "", "style": str(own),
    }  # fmt: skip
    figure = figure_of(result(rows_of()), **options)
    [ax] = figure.panels
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_ylim()) == ("block", "cosine", (0, 0.5))
    assert curves(ax).keys() == {"Ours", "GPT-2"}
    line = ax.get_lines()[0]
    assert (to_hex(line.get_color()), line.get_linewidth()) == ("#123456", 5)
    assert not figure.texts
    rows = pairs(rows_of(MODELS[:1], layers=("0", "1")))
    [mesh] = result(rows).plot(colours="#123456,#654321").collections
    assert to_hex(mesh.get_cmap()(0.0)) == "#123456"


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"style": "papre"}, UnknownNameError),
        ({"style": "absent.mplstyle"}, UsageError),
        ({"column": "scor"}, UnknownNameError),
        ({"x": "epoch"}, UnknownNameError),
        ({"labels": {"other.word.last": "Other"}}, UnknownNameError),
        ({"colours": "bleu"}, UsageError),
        ({"range": "1,0"}, UsageError),
        ({"range": "-1,1", "logy": True}, UsageError),
        ({"logx": True}, UsageError),
        ({"labels": "MiniLM"}, UsageError),
    ],
)
def test_options_that_cannot_work_are_refused(options, kind):
    with pytest.raises(kind):
        result(rows_of()).plot(**options)


def test_files_that_cannot_be_written_are_refused(tmp_path):
    figure = figure_of(result(rows_of()))
    for path in (tmp_path / "a.gif", tmp_path / "a.html", tmp_path / "absent" / "a.svg"):
        with pytest.raises(UsageError, match=path.name):
            figure.savefig(path)
    with pytest.raises(UsageError, match="has no figure"):
        figure_of(table(rows_of(), columns=["space"]))


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "embstore.plot.figure", None)
    with pytest.raises(UsageError, match=r"pip install 'embstore\[plot\]'"):
        result(rows_of()).plot()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    store = prepare(tmp_path_factory.mktemp("all") / "store").store
    return {name: store.query(name, **INPUTS.get(name, {})) for name in METRICS}


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_every_metric_draws_its_values(results, style):
    for name, found in results.items():
        figure = figure_of(found, width="170mm" if style == "paper" else "80mm", style=style)
        assert saved(figure, "svg"), name
        has_values = any(row[column] is not None for row in found for column in found.chart.values)
        said = any(text.startswith("No values") for text in texts(figure))
        assert said != has_values, name
        assert figure.about["description"], name


def test_the_best_layer_has_a_diamond():
    found = result(rows_of(MODELS[:1], best=lambda _, at: at == 1), best="best")
    figure = figure_of(found)
    assert circled(figure.panels[0], "D") == [(1.0, 0.1)]
    assert "diamond: best layer" in caption(figure)


TEN = tuple(
    f"minilm-untrained-{seed}.{rest}"
    for seed in range(5)
    for rest in ("word.last", "sentence.model")
)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "n_columns"), [("80mm", 2), ("170mm", 4)])
def test_heat_maps_of_ten_spaces_stand_in_columns_with_their_whole_names(width, n_columns):
    names = [*map(str, range(7)), "output"]
    rows = [
        row | {"space_2": row["space"], "layer_2": at, "layer_name_2": name}
        for row in rows_of(TEN, (*names,))
        for at, name in enumerate(names)
    ]
    figure = figure_of(result(rows), width=width)
    figure.draw_without_rendering()
    boxes = [ax.get_window_extent() for ax in figure.panels]
    assert len({round(box.x0) for box in boxes}) == n_columns
    titles = [ax.get_title("left") for ax in figure.panels]
    assert len(set(titles)) == len(TEN)
    assert "…" not in "".join(titles)
    written = [
        each.get_window_extent() for each in figure.findobj(Text) if each.get_text() in titles
    ]
    assert len(written) == len(TEN)
    assert not any(one.overlaps(other) for one, other in combinations(written, 2))
    for ax in figure.panels:
        names = [each.get_window_extent().padded(-2) for each in ax.get_xticklabels()]  # ink
        assert not any(one.overlaps(other) for one, other in pairwise(names))


@pytest.mark.parametrize(("spaces", "layers"), [(MODELS, ("0",)), (MODELS[:1], ("0", "1"))])
def test_maps_share_their_axes_within_a_space_only(spaces, layers):
    rows = [
        row | {"text": f"w{place}", "x": place * (1.0 + row["layer"] + row["score"]), "y": 1.0}
        for row in rows_of(spaces, layers)
        for place in range(3)
    ]
    panels = figure_of(result_of(rows, columns=list(rows[0]), chart=MAP), width="170mm").panels
    assert len(panels) == len(spaces) * len(layers) > 1
    assert (len({ax.get_xlim() for ax in panels}) == 1) == (len(spaces) == 1)


@pytest.mark.slow
@pytest.mark.parametrize("layers", [("0",), ("0", "1", "2")])
def test_texts_of_a_map_do_not_cover_each_other(layers):
    rng = np.random.default_rng(0)
    rows = [
        row | {"text": f"word {place}", "x": x, "y": y, "n": 60}
        for row in rows_of(MODELS[:1], layers)
        for place, (x, y) in enumerate(rng.normal(size=(60, 2)) ** 5)
    ]
    found = result_of(rows, columns=list(rows[0]), chart=MAP)
    figure = figure_of(found)
    figure.draw_without_rendering()  # in the layout that is saved
    n_written = 0
    for ax in figure.panels:
        boxes = [text.get_window_extent() for text in ax.texts]
        assert len(boxes) > 5
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        n_written += len(boxes)
    [note] = figure.notes
    assert note.startswith("not written, as they would cover others: word ")
    n_left_out = 5 + int(note.removesuffix(" more.").rpartition(" ")[2]) if "more" in note else 0
    assert (n_left_out or note.count("word")) == 60 * len(layers) - n_written
    shown = [text.get_text() for text in figure.panels[0].texts]
    named = figure_of(found, label_words=[shown[0], shown[1], "absent"])
    assert [text.get_text() for text in named.panels[0].texts] == shown[:2]
    assert "not on the map: 'absent'." in named.notes
    more = [*rows, *(row | {"text": "more"} for row in rows if row["text"] == "word 0")]
    crowded = figure_of(result_of(more, columns=list(rows[0]), chart=MAP))
    assert not any(ax.texts for ax in crowded.panels)
    [note] = crowded.notes
    assert note.startswith("more than 60 items: no text is drawn.")
    with pytest.raises(UsageError, match="`label_words` is about maps"):
        figure_of(result(rows_of()), label_words="word 3")
