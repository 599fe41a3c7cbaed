"""Pictures of results: what they show equals the table, no text overlaps or is cut, and files have
the same bytes.
"""

import importlib.resources
import json
import math
import re
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_boxes import caption, drawn_rows, faults, parts, texts
from results import result_of

from embstore.base.chart import DRIFT, Chart
from embstore.base.errors import UnknownNameError, UsageError
from embstore.plot import Figure, PlotOptions, draw, read_result
from embstore.plot.axes import STYLES
from embstore.store import Result

pytestmark = pytest.mark.slow

SIZES = ("80mm", "170mm")
CURVES = Chart(
    "curves", ("score", "other"), "agreement", ranges=(("score", "−1 to 1"),), settings=("variant",)
)


@pytest.fixture(scope="session")
def vega_lite():
    """Return the validator of Vega-Lite's own schema, of the version that the pictures name."""
    pytest.importorskip("altair")
    text = (
        importlib.resources.files("altair") / "vegalite/v6/schema/vega-lite-schema.json"
    ).read_text()

    def addressed(
        part: dict[str, Any],
    ) -> dict[str, Any]:  # names there have characters that an address must not have
        return part | (
            {"$ref": quote(part["$ref"], safe="#/")} if isinstance(part.get("$ref"), str) else {}
        )

    return jsonschema_rs.Draft7Validator(json.loads(text, object_hook=addressed))


def rows_of(
    spaces: tuple[str, ...] = ("minilm.word.last",),
    layers: tuple[str, ...] = ("0", "1", "2", "3"),
    **columns: Any,
) -> list[dict[str, Any]]:
    """Return rows of spaces and layers; a column is a value or a function of the space's and the
    layer's positions.
    """
    return [
        {
            "space": space,
            "layer": at,
            "layer_name": name,
            "n": 100,
            "reason": None,
            "variant": "raw",
            "other": None,
        }
        | {
            column: value(where, at) if callable(value) else value
            for column, value in columns.items()
        }
        for where, space in enumerate(spaces)
        for at, name in enumerate(layers)
    ]


def result(rows: list[dict[str, Any]], chart: Chart = CURVES) -> Result:
    return result_of(rows, columns=list(rows[0]), chart=chart)


names = st.lists(
    st.text("abcdefghij-_", min_size=1, max_size=14), min_size=1, max_size=6, unique=True
).map(lambda models: tuple(f"{model}.word.last" for model in models))
layer_names = st.integers(1, 34).map(lambda n: (*map(str, range(n)), "raw"))
score = st.one_of(st.none(), st.floats(-1, 1, allow_subnormal=False))


@settings(max_examples=12)
@given(
    st.data(),
    names,
    layer_names,
    st.sampled_from(SIZES),
    st.sampled_from(("paper", "screen", "dark")),
    st.integers(1, 4),
)
def test_curves_have_legible_texts_and_the_values_of_the_table(
    data, spaces, layers, width, theme, n_sets
):
    drawn = data.draw(
        st.lists(score, min_size=len(spaces) * len(layers), max_size=len(spaces) * len(layers))
    )
    rows = [
        row | {"score": value, "dataset": f"set {number}"}
        for number in range(n_sets)
        for row, value in zip(rows_of(spaces, layers), drawn, strict=True)
    ]
    chart = Chart("curves", ("score",), "agreement", facets=("dataset",), settings=("variant",))
    figure = result(rows, chart).plot(width=width, style=theme)
    assert not faults(figure)
    if any(value is not None for value in drawn):
        assert sorted(str(row["score"]) for row in drawn_rows(figure, "score")) == sorted(
            str(row["score"]) for row in rows
        )


@settings(max_examples=8)
@given(st.integers(1, 34), st.integers(1, 34), st.sampled_from(SIZES), st.booleans())
def test_heat_maps_have_legible_texts(n_down, n_across, width, same):
    n_across = n_down if same else n_across
    rows = [
        row
        | {
            "space_2": row["space"] if same else "clip.word.eos",
            "layer_2": b,
            "layer_name_2": str(b),
        }
        for row in rows_of(
            layers=tuple(map(str, range(n_down))), score=lambda _, a: math.cos(a / 7)
        )
        for b in range(n_across)
    ]
    figure = result(rows, Chart("heat map", ("score",), "cka")).plot(width=width)
    assert not faults(figure)
    assert len(drawn_rows(figure, "score")) == n_down * n_across


@pytest.mark.parametrize(
    ("width", "n_layers", "k"),
    [
        ("80mm", 1, 1),
        ("170mm", 1, 50),
        ("80mm", 7, 5),
        ("170mm", 34, 5),
        ("80mm", 34, 50),
        ("170mm", 7, 1),
    ],
)
def test_bars_stand_on_each_other_and_are_named(width, n_layers, k):
    def shares(_: int, at: int) -> list[float]:
        return [(-1) ** (rank % 5 == 4) * 0.4 / (rank + 1) for rank in range(k)]

    rows = rows_of(
        layers=tuple(map(str, range(n_layers))), shares=shares, dims=[3 * rank for rank in range(k)]
    )
    figure = result(rows, Chart("bars", ("shares",), "rogue-dims", bar_names="dims")).plot(
        width=width
    )
    assert not faults(figure)
    data = next(part for part in parts(figure.spec) if "mark" in part)
    stacked = figure.spec["data"]["values"]
    assert len(stacked) == n_layers * k
    assert data["mark"]["type"] == "bar"
    for layer in {row["layer_name"] for row in stacked}:
        of_layer = [row for row in stacked if row["layer_name"] == layer]
        for sign in (1, -1):
            part = [row["shares"] for row in of_layer if row["shares"] * sign > 0]
            ends = [row["to"] * sign for row in of_layer if row["shares"] * sign > 0]
            assert max(ends, default=0) == pytest.approx(abs(sum(part)), abs=1e-12)


@pytest.mark.parametrize(("width", "n_words"), [("80mm", 2), ("170mm", 12), ("80mm", 300)])
def test_words_stand_in_a_strip_highest_first(n_words, width):
    words = [f"word{number}" * (1 + number % 4) for number in range(n_words)]
    rows = [
        row | {"word": word, "score": math.sin(number + row["layer"])}
        for number, word in enumerate(words)
        for row in rows_of()
    ]
    figure = result(rows, Chart("curves", ("score",), "self-similarity", items="word")).plot(
        width=width
    )
    assert not faults(figure)
    last = {row["word"]: row["score"] for row in rows if row["layer"] == 3}
    drawn = {row["line"]: row["item"] for row in figure.spec["data"]["values"]}
    order = sorted(words, key=lambda word: -last[word])
    assert [drawn[line] for line in sorted(drawn)] == (
        order if n_words <= 40 else order[:20] + order[-20:]
    )
    assert bool(figure.notes) == (n_words > 40)


@pytest.mark.parametrize("width", SIZES)
def test_drift_has_a_curve_for_each_item(width):
    rows = [
        row
        | {
            "space_2": row["space"],
            "layer_2": row["layer"],
            "layer_name_2": row["layer_name"],
            "text": text,
            "overlap": number / 10,
            "k": 10,
            "turnover": 0.1,
        }
        for number, text in enumerate(["dog", "bank", "light"])
        for row in rows_of()
    ]
    figure = result(rows, DRIFT).plot(width=width)
    assert not faults(figure)
    assert {"dog", "bank", "light", "layer, compared with the one before"} <= {*texts(figure)}
    assert [row["overlap"] for row in drawn_rows(figure, "overlap")] == [
        row["overlap"] for row in rows
    ]
    turnover = " ".join(texts(result(rows, DRIFT).plot(width=width, column="turnover")))
    assert "Drift of neighbourhoods (turnover of neighbours, 0 to 2)" in turnover
    other = "minilm-untrained-0.word.last"
    against = result([row | {"space_2": other} for row in rows], DRIFT)
    captions = [
        " ".join(against.plot(labels=labels).spec["title"]["subtitle"])
        for labels in ({}, {other: "Random"})
    ]
    assert captions[0].startswith("words, last token · MiniLM against MiniLM, untrained · n = 100")
    assert captions[1].startswith("words, last token · MiniLM against Random · n = 100")
    assert "against" not in str(figure.spec["title"])


def test_overlapping_and_cut_texts_are_found():
    text = {"mark": {"type": "text", "text": "a label", "x": 50, "y": 20}}
    near = {"mark": {"type": "text", "text": "another", "x": 60, "y": 22}}
    base = {"data": {"values": [{}]}, "width": 200, "height": 60, "autosize": "none"}
    assert not faults(Figure({**base, "layer": [text]}))
    assert faults(Figure({**base, "layer": [text, near]})) == ["'a label' overlaps 'another'"]
    cut = {"mark": {"type": "text", "text": "beyond the edge", "x": 190, "y": 20}}
    assert faults(Figure({**base, "layer": [cut]})) == ["'beyond the edge' is cut"]


def test_specifications_are_valid_and_rendered_bytes_are_stable(vega_lite):
    spaces = ("a.word.last", "b.word.last")
    curves = result(
        rows_of(
            spaces,
            score=lambda a, b: 0.1 * a + 0.05 * b,
            low=0.0,
            high=0.9,
            best=lambda _, b: b == 3,
        ),
        Chart("curves", ("score",), "s", intervals=(("score", ("low", "high")),), best="best"),
    )
    matrix_rows = [
        row | {"space_2": "b.word.last", "layer_2": at, "layer_name_2": str(at)}
        for row in rows_of(score=0.5)
        for at in range(3)
    ]
    matrix = result(matrix_rows, Chart("heat map", ("score",), "cka"))
    bars = result(rows_of(shares=[0.5, -0.1]), Chart("bars", ("shares",), "spectrum"))
    for figure in (
        curves.plot(),
        curves.plot(logy=False, width="80mm", style="dark"),
        matrix.plot(),
        bars.plot(),
    ):
        vega_lite.validate(json.loads(figure.to_json()))
        assert figure.to_svg() == figure.to_svg()
        assert figure.to_png() == figure.to_png()


def test_files_are_what_their_suffix_says(tmp_path):
    figure = result(rows_of(score=0.5)).plot(width="80mm")
    beginnings = {
        ".svg": b"<svg",
        ".png": b"\x89PNG",
        ".pdf": b"%PDF",
        ".html": b"<!DOCTYPE html>",
        ".vl.json": b"{",
    }
    for suffix, beginning in beginnings.items():
        figure.save(tmp_path / f"a{suffix}")
        assert (tmp_path / f"a{suffix}").read_bytes().startswith(beginning), suffix
    page = (tmp_path / "a.html").read_text()
    assert not re.search(r"""(?:src|href)=["']https?:""", page)
    assert "<text" in (tmp_path / "a.svg").read_text()
    assert json.loads((tmp_path / "a.vl.json").read_text()) == figure.spec
    with pytest.raises(UsageError, match=r"unknown type of picture\. Known: \.svg, \.png"):
        figure.save(tmp_path / "a.gif")
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        figure.save(tmp_path / "absent" / "a.svg")


@pytest.mark.parametrize("width", SIZES)
def test_a_picture_of_no_value_says_why(width):
    rows = rows_of(score=None)
    for row, why in zip(
        rows, ("needs at least 3 vectors", "a zero vector", "a zero vector", "<b>&"), strict=True
    ):
        row["reason"] = why
    figure = result(rows).plot(width=width)
    drawn = texts(figure)
    assert {"No values to draw.", "a zero vector", "needs at least 3 vectors", "<b>&"} <= {*drawn}
    assert not faults(figure)
    assert "<b>" not in figure.to_svg()


@pytest.mark.parametrize("values", [[0.5], [0.0], [1e-9, 1e-9], [-3e8, 5e8], [1.0, 1.0 + 1e-15]])
def test_one_layer_and_equal_values_have_a_scale(values):
    rows = rows_of(layers=tuple(map(str, range(len(values)))), score=lambda _, at: values[at])
    assert not faults(result(rows).plot(width="80mm"))


def test_texts_are_shown_as_text():
    hostile = "</script><img src=x onerror=alert(1)>\x1b[31m"
    figure = result(rows_of((hostile,), score=0.5)).plot(title=hostile)
    for written in (figure.to_svg(), figure.to_html().partition("const spec")[2]):
        assert "\x1b" not in written
        assert "<img" not in written
    words = [
        row | {"word": word, "score": 0.1}
        for word in ("it's \\ 'q' </script>", "plain")
        for row in rows_of()
    ]
    strip = result(words, Chart("curves", ("score",), "s", items="word")).plot()
    assert "it's \\ 'q' </script>" in texts(strip)
    assert strip.to_html().count("</script") == 2


def test_a_logarithmic_scale_needs_positive_values():
    assert "log" in json.dumps(result(rows_of(score=lambda _, at: 10.0**at)).plot(logy=True).spec)
    with pytest.raises(UsageError, match="logy= needs positive values, and the smallest is 0"):
        result(rows_of(score=lambda _, at: at / 1)).plot(logy=True)


def test_options_that_do_not_exist_are_refused():
    drawn = result(rows_of(score=0.5))
    with pytest.raises(UnknownNameError, match="style 'papre'"):
        drawn.plot(style="papre")
    with pytest.raises(UnknownNameError, match="column to draw 'scor'"):
        drawn.plot(column="scor")
    with pytest.raises(UsageError, match="has no picture"):
        result_of(rows_of(), columns=["space"]).plot()


def test_a_stored_result_is_recognised_by_its_columns(tmp_path):
    row = {
        "space": "a.word.last",
        "layer": 0,
        "layer_name": "0",
        "n": 5,
        "anisotropy": 0.25,
        "std": None,
        "n_zero": 0,
        "reason": None,
        "variant": "raw",
    }
    path = tmp_path / "result.json"
    path.write_text(json.dumps([row]))
    assert read_result(path).chart == read_result(path, "anisotropy").chart
    path.write_text(f"{json.dumps(row)}\n{json.dumps(row)}\n")
    assert len(read_result(path)) == 2
    for text, message in {
        "{": "is not JSON",
        "[1]": "list of rows with the same columns",
        "[]": "list of rows",
        json.dumps([row | {"layer": "x"}]): "row 1: layer must be a whole number, not 'x'",
        json.dumps([row | {"layer_name": None}]): "row 1: layer_name must be text",
        '[{"a": 1}]': "has no column space, .* Write one: embstore query METRIC",
        json.dumps([row | {"anisotropy": "x"}]): "anisotropy .* number",
    }.items():
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            read_result(path)
    del row["anisotropy"]
    path.write_text(json.dumps([row]))
    with pytest.raises(
        UsageError, match=r"no metric has its columns\. Write one: embstore query METRIC"
    ):
        read_result(path)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_result(tmp_path / "absent.json")


def test_stored_cosines_are_drawn_as_they_are_computed(make_store, tmp_path):
    store = make_store(n=4, index=False).store
    for pairs in (["text1", "text2"], ["text0", "text1", "text2"]):
        table = store.cosine(pairs)
        path = tmp_path / "cosines.json"
        path.write_text(json.dumps(table.to_pylist()))
        stored = read_result(path)
        assert draw(stored, PlotOptions()).to_svg() == draw(table, PlotOptions()).to_svg()
    for name, value, message in (
        ("cosine", "x", "cosine must be of type number"),
        ("text", 1, "text must be text"),
    ):
        path.write_text(json.dumps([table.to_pylist()[0] | {name: value}]))
        with pytest.raises(UsageError, match=f"row 1: {message}"):
            read_result(path)


def test_a_name_of_a_layer_in_a_stored_result_is_text():
    hostile = "it's' + datum.space + '\\"
    figure = result(rows_of(layers=("0", hostile), score=0.5)).plot()
    assert hostile in texts(figure)


@pytest.mark.parametrize("width", SIZES)
def test_a_caption_states_the_dataset_and_the_selected_and_transformed_items(width):
    where = " OR ".join(f"text LIKE '{letter}%'" for letter in "abcdefghijklmnopq")
    selected = {
        "dataset": "rg65",
        "where": where,
        "sample": 500,
        "seed": 7,
        "transform": "center abtt:2",
    }
    chart = Chart("curves", ("score",), "agreement", facets=("dataset",), settings=("variant",))
    figure = result(rows_of(score=0.5, **selected), chart).plot(width=width)
    shown = caption(figure)
    for part in ("dataset: rg65", "transform: center abtt:2", f"where: {where}", "sample: 500"):
        assert part in shown
    assert "seed" not in shown
    assert "sample: 500; variant: raw; seed: 7" in figure.spec["description"]
    assert not faults(figure)
    several = [*rows_of(score=0.5, dataset="rg65"), *rows_of(score=0.4, dataset="stsb")]
    assert "dataset" not in " ".join(
        result(several, chart).plot(width=width).spec["title"]["subtitle"]
    )


@pytest.mark.parametrize("width", SIZES)
def test_a_caption_that_cannot_be_broken_is_shortened(width):
    figure = result(rows_of(("x" * 300,), score=0.5)).plot(width=width)
    assert any(
        line.startswith("xxx") and line.endswith("…") for line in figure.spec["title"]["subtitle"]
    )
    assert not faults(figure)


@pytest.mark.parametrize(
    ("layers", "n_bars"), [(("6",), 1), (("raw",), 1), (("0", "1", "raw"), 1), (("0", "1"), 0)]
)
def test_the_interval_of_a_layer_that_stands_alone_is_a_bar(layers, n_bars):
    chart = Chart("curves", ("score",), "s", intervals=(("score", ("low", "high")),))
    figure = result(rows_of(layers=layers, score=0.5, low=0.25, high=0.75), chart).plot()
    svg = figure.to_svg()
    bars = re.findall(r'<line[^>]*aria-label="[^"]*low[^"]*"', svg)
    assert len(bars) == n_bars
    assert "95 % intervals" in caption(figure)


def test_curves_differ_in_colour_or_dashes():
    spaces = tuple(f"{letter}.word.last" for letter in "abcdefghijklmnopqrst")
    svg = result(rows_of(spaces, score=lambda where, at: where + at)).plot().to_svg()
    looks = re.findall(
        r'<path aria-label="[^>]*line mark[^>]*'
        r' stroke="([^"]+)"[^>]*?(?:stroke-dasharray="([^"]+)")?/?>',
        svg,
    )
    assert len(looks) == len(set(looks)) == len(spaces)


def test_items_without_a_value_have_no_colour_of_an_interval(vega_lite):
    chart = Chart("curves", ("score",), "s", series="group", is_ordered=True)
    groups = ("[0, 1)", "[1, 2)", "[2, 3]", None)
    rows = [
        row | {"group": group} for at, group in enumerate(groups) for row in rows_of(score=0.1 * at)
    ]

    def strokes(figure: Figure) -> dict[str, str]:
        vega_lite.validate(json.loads(figure.to_json()))
        curves = r'<path aria-label="[^>]*group: ([^;"]+)[^>]*line mark[^>]* stroke="([^"]+)"'
        return dict(re.findall(curves, figure.to_svg()))

    of_intervals = strokes(result([row for row in rows if row["group"]], chart).plot())
    assert len(set(of_intervals.values())) == 3
    assert strokes(result(rows, chart).plot()) == of_intervals | {"no value": STYLES["paper"].faint}


@pytest.mark.parametrize(("low", "high"), [(220.0, 340.0), (0.91, 0.97), (1.0, 9.0), (1e-9, 1e9)])
def test_a_logarithmic_scale_has_several_ticks(low, high):
    figure = result(rows_of(layers=("0", "1"), score=lambda _, at: (low, high)[at])).plot(
        logy=True, width="80mm"
    )
    ticks = next(part for part in parts(figure.spec) if "mark" in part)["encoding"]["y"]["axis"][
        "values"
    ]
    assert len(ticks) >= 3
    assert all(low / 1.1 <= tick <= high * 1.1 for tick in ticks)
    assert not faults(figure)
