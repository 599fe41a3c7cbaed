"""Pictures of claims: marks of layers that do not differ, chance levels, dimension over scales,
change over groups.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import pytest
from datasets_written import write_pairs
from every_metric import INPUTS, prepare
from kept_columns import write_columns
from picture_boxes import caption, faults, parts, texts
from results import result_of

from embstore.metrics import METRICS, get_metric
from embstore.plot import Figure, read_result
from embstore.store import Result

pytestmark = pytest.mark.slow


def result(
    metric: str, rows: list[dict[str, Any]], parameters: dict[str, Any] | None = None
) -> Result:
    """Return rows as the result of a metric, with its columns, and null for those that a row does
    not give.
    """
    declared = get_metric(metric)
    declared = declared.with_columns_for(declared.check(parameters or {}))
    settings = {parameter.name: parameter.default for parameter in declared.row_parameters}
    empty = {"space": "a.word.last", "layer": 0, "layer_name": "0", "n": 100} | settings
    empty |= {column.name: None for column in declared.columns} | {"reason": None}
    full = [empty | row for row in rows]
    return result_of(full, columns=list(full[0]), chart=declared.chart, types=declared.types)


def data_of(figure: Figure) -> list[dict[str, Any]]:
    """Return the rows that the panels draw, without the labels at the ends of curves."""
    found = [row for part in parts(figure.spec) for row in part.get("data", {}).get("values", ())]
    return [row for row in found if "label" not in row or "layer_name" in row]


def circles(figure: Figure) -> list[str]:
    """Return the filters of the marks that are circles round points."""
    return [
        part["transform"][0]["filter"]
        for part in parts(figure.spec)
        if isinstance(mark := part.get("mark"), dict)
        and mark.get("type") == "point"
        and mark.get("filled") is False
        and mark.get("shape") is None
    ]


P_HOLM = [
    0.001,
    0.0499,
    0.05,
    None,
    1.0,
]  # of layers 0 … 4; 3 is the one that the others are compared with


def similarity(
    versus: str, space: str = "a.word.last", p_holm: tuple[float | None, ...] = tuple(P_HOLM)
) -> Any:
    return [
        {
            "space": space,
            "layer": at,
            "layer_name": str(at),
            "dataset": "rg65",
            "spearman": 0.1 * at,
            "spearman_low": 0,
            "spearman_high": 0.6,
            "n_common": 65,
            "p": p,
            "p_holm": p,
            "difference": None if p is None else -0.1,
            "versus": None if p is None else versus,
            "best": at == 3,
            "variant": None,
        }
        for at, p in enumerate(p_holm)
    ]


@pytest.mark.parametrize(
    ("versus", "words", "width"), [("best", "the best layer", "80mm"), ("3", "layer 3", "170mm")]
)
def test_exactly_the_layers_without_a_difference_are_marked(versus, words, width):
    found = result("similarity", similarity(versus), {"versus": versus})
    figure = found.plot(width=width)
    assert {row["layer"] for row in data_of(figure) if row["no_difference"]} == {2, 3, 4}
    assert circles(figure) == ["datum['no_difference']"]
    assert f"circle: no difference from {words} was found (adjusted p ≥ .05)" in caption(figure)
    assert not faults(figure)


def test_a_space_that_others_are_compared_with_is_not_marked():
    rows = similarity("b.word.last", p_holm=(0.001, 0.2)) + similarity(
        "", "b.word.last", p_holm=(None, None)
    )
    figure = result("similarity", rows, {"versus": "b.word.last"}).plot()
    assert [(row["space"], row["layer"]) for row in data_of(figure) if row["no_difference"]] == [
        ("a", 1)
    ]
    assert "circle: no difference from the same layer of b was found" in caption(figure)


def test_without_equal_layers_or_a_test_nothing_is_marked():
    different = result("similarity", similarity("4", p_holm=(0.01, 0.02)), {"versus": "4"}).plot()
    assert circles(different) == []
    plain = result(
        "similarity",
        [{"layer": at, "layer_name": str(at), "spearman": 0.1, "dataset": "d"} for at in (0, 1)],
    )
    for figure in (different, plain.plot()):
        assert circles(figure) == []
        assert "circle" not in caption(figure)


def test_marks_are_those_of_the_store_and_of_a_stored_result(make_store, tmp_path):
    made = make_store(n=60, dim=6, n_blocks=4, top_form=None, index=False)
    write_pairs(made)
    found = made.store.query("similarity", dataset="rg65", versus="best")
    expected = {row["layer"] for row in found if row["p_holm"] is None or row["p_holm"] >= 0.05}
    assert {row["versus"] for row in found} == {None, "best"}
    assert len(expected) > 1
    path = tmp_path / "result.json"
    path.write_text(json.dumps([dict(row) for row in found]))
    for figure in (found.plot(), Result.of(read_result(path)).plot()):
        assert {row["layer"] for row in data_of(figure) if row["no_difference"]} == expected
    drawn = found.plot()
    assert "differences" not in caption(drawn)
    assert "differences: 1,000" in drawn.to_svg().partition("</desc>")[0]
    named = made.store.query("similarity", dataset="rg65", versus="2")
    assert {row["versus"] for row in named if row["difference"] is not None} == {"2"}
    assert "no difference from layer 2" in caption(named.plot())
    by_column = Result.of(read_result(path)).plot(column="difference")
    assert "Agreement with human scores (difference)" in " ".join(texts(by_column))
    assert (
        "diamond" not in caption(by_column) + by_column.to_json()
    )  # the best layer has no difference from itself


def heat_map(over: str, calibrated: Callable[[int, int], float]) -> Result:
    rows = [
        {
            "layer": a,
            "layer_name": str(a),
            "space_2": "a.word.last",
            "layer_2": b,
            "layer_name_2": str(b),
            "cka": 0.9,
            "permutations": 2000,
            "over": over,
            "calibrated": calibrated(a, b),
        }
        for a in range(13)
        for b in range(13)
    ]
    return result("cka", rows, {"permutations": 2000})


@pytest.mark.parametrize(
    ("over", "words", "width"),
    [
        ("pair", "what 5 % of 2,000 shuffles of the items reach", "170mm"),
        ("max", "what the highest pair reaches in 5 % of 2,000 shuffles of the items", "80mm"),
    ],
)
def test_calibrated_goes_from_0_to_1_and_is_explained(over, words, width):
    for value in (0.0, 0.4, 1.0):
        figure = heat_map(over, lambda a, b, value=value: value).plot(
            width=width, column="calibrated"
        )  # type: ignore[misc]
        scales = [
            part["color"]["scale"]["domain"]
            for part in parts(figure.spec)
            if "legend" in part.get("color", {})
        ]
        assert scales == [[0.0, 1.0]]
        assert f"calibrated: 0 up to {words}, 1 for the highest possible value" in caption(figure)
    assert not faults(figure)
    assert "shuffles" not in caption(heat_map(over, lambda a, b: 0.5).plot())
    assert "outlined" not in caption(figure)  # as in the layers of two spaces


def test_an_outline_is_explained():
    rows = [
        {
            "layer": a,
            "layer_name": str(a),
            "space_2": "b.word.last",
            "layer_2": b,
            "layer_name_2": str(b),
            "cka": 0.9,
        }
        for a in range(3)
        for b in range(3)
    ]
    assert "outlined: equal depth" in caption(result("cka", rows).plot())


@pytest.mark.parametrize(
    "metric", [name for name, metric in METRICS.items() if metric.similarity is not None]
)
def test_all_similarities_of_layers_can_be_drawn_calibrated(metric, make_store, tmp_path):
    made = make_store(n=30, dim=4, n_blocks=1, top_form=None, index=False)
    more = {"k": 5} if metric in ("cknna", "overlap") else {}
    found = made.store.query(metric, permutations=20, **more)
    path = tmp_path / "result.json"
    path.write_text(json.dumps([dict(row) for row in found]))
    for each in (found, Result.of(read_result(path, metric))):
        figure = each.plot(column="calibrated")
        assert [row["calibrated"] for row in data_of(figure)] == found["calibrated"]
        assert "20 shuffles of the items" in caption(figure)
        assert figure.to_svg()
    assert circles(found.plot()) == []


def test_a_directed_measure_says_which_layer_is_the_source():
    rows = [
        {
            "layer": a,
            "layer_name": str(a),
            "space_2": other,
            "layer_2": b,
            "layer_name_2": str(b),
            "imbalance": 0.1,
        }
        for other in ("a.word.last", "b.word.last")
        for a in range(3)
        for b in range(3)
    ]
    shown = texts(result("imbalance", rows).plot())
    assert {"from layer", "to layer", "from layer, a", "to layer, b"} <= {*shown}


def gride(layers: int, **more: Any) -> Result:
    rows = [
        {
            "layer": at,
            "layer_name": str(at),
            "estimator": "gride",
            "scale": 2**power,
            "dimension": 5.0 + at + power,
            "standard_error": 0.5,
            **more,
        }
        for at in range(layers)
        for power in range(1, 7)
    ]
    return result("intrinsic-dimension", rows, {"estimator": "gride"})


@pytest.mark.parametrize(
    ("layers", "width"), [(1, "80mm"), (3, "170mm"), (13, "80mm"), (13, "170mm")]
)
def test_dimension_is_drawn_over_the_scale_with_standard_errors(layers, width):
    found = gride(layers)
    figure = found.plot(width=width)
    assert not faults(figure)
    drawn = [
        (row["place"], row["dimension"], row["band_low"], row["band_high"])
        for row in data_of(figure)
    ]
    assert drawn == [
        (row["scale"], row["dimension"], row["dimension"] - 0.5, row["dimension"] + 0.5)
        for row in found
    ]
    [scale] = {
        json.dumps(part["scale"])
        for part in parts(figure.spec)
        if part.get("field") == "place" and "scale" in part
    }
    assert json.loads(scale)["type"] == "log"
    assert {"2", "4", "8", "16", "32", "64", "scale: number of the neighbour"} <= {*texts(figure)}
    assert "band: ± standard error" in caption(figure)
    assert "95 %" not in caption(figure)
    names = {f"layer {at}" for at in range(layers)} if layers > 1 else {"0"}
    assert {row["layer"] for row in data_of(figure)} == names
    assert layers > 1 or "layer: 0" in caption(figure)


def test_one_scale_is_drawn_over_the_layers():
    rows = [row for row in gride(4) if row["scale"] == 16]
    figure = result("intrinsic-dimension", [dict(row) for row in rows], {"estimator": "mle"}).plot()
    assert [row["place"] for row in data_of(figure)] == [0, 1, 2, 3]
    assert "scale: 16" in caption(figure)
    assert "band: ± standard error" in caption(figure)


def test_scales_of_the_store_are_drawn_for_each_space_and_group(make_store, tmp_path):
    made = make_store(n=80, dim=4, n_blocks=1, top_form=None)
    write_columns(made, {"pos": ["NV"[number % 2] for number in range(80)]})
    found = made.store.query("intrinsic-dimension", estimator="gride", neighbours=16, by="pos")
    path = tmp_path / "result.json"
    path.write_text(json.dumps([dict(row) for row in found]))
    for each in (found, Result.of(read_result(path, "intrinsic-dimension"))):
        figure = each.plot()
        assert len(figure.spec["concat"]) == 2
        assert sorted(
            (row["group"], row["layer"], row["place"], row["dimension"]) for row in data_of(figure)
        ) == sorted(
            (row["group"], f"layer {row['layer_name']}", row["scale"], row["dimension"])
            for row in found
        )


def test_stores_have_panels_of_their_own():
    for found in (gride(2), change(("bank", "dog"))):
        assert found.chart is not None
        rows = tuple({**row, "store": name} for name in ("first", "second") for row in found)
        chart = found.chart._replace(facets=("store", *found.chart.facets))
        figure = replace(found, columns=("store", *found.columns), rows=rows, chart=chart).plot()
        panels = [
            {row["store"] for row in panel["data"]["values"]} for panel in figure.spec["concat"]
        ]
        assert {len(stores) for stores in panels} == {1}
        assert not faults(figure)


GROUPS = ("[2, 10)", "[10, 30)", "[30, 40]")  # not in alphabetical order


def change(
    words: tuple[str, ...], groups: tuple[str, ...] = GROUPS, layers: int = 2, pairs: Any = pairwise
) -> Result:
    rows = [
        {
            "space": "a.occurrence.last",
            "layer": at,
            "layer_name": str(at),
            "word": word,
            "group_1": before,
            "group_2": after,
            "apd": 0.5,
            "within": 0.3,
            "apd_change": 0.1 * at + 0.01 * number,
            "prt": 0.2,
            "p_holm": 0.05 if number else 0.01,
            "p": 0.01,
        }
        for at in range(layers)
        for before, after in pairs(groups)
        for number, word in enumerate(words)
    ]
    return result("change", rows)


@pytest.mark.parametrize("width", ["80mm", "170mm"])
def test_change_of_a_few_words_is_drawn_over_the_groups(width):
    found = change(("bank", "dog"))
    figure = found.plot(width=width)
    assert not faults(figure)
    assert {row["group_2"]: row["place"] for row in data_of(figure)} == {
        "[10, 30)": 0,
        "[30, 40]": 1,
    }
    assert all(row["is_numbered"] for row in data_of(figure)), "all points are joined by a line"
    assert {row["word"] for row in data_of(figure) if row["no_difference"]} == {"dog"}
    assert "circle: no change was found (adjusted p ≥ .05)" in caption(figure)
    shown = texts(figure)
    assert {"layer 0", "layer 1", "bank", "dog", "[10, 30)", "[30, 40]"} <= {*shown}
    assert "group, compared with the one before" in shown
    baseline = found.plot(column="apd")
    assert {row["within"] for row in data_of(baseline)} == {0.3}
    assert "dotted: mean distance within a group" in caption(baseline)


@pytest.mark.parametrize(
    "pairs",
    [
        lambda groups: [*combinations(groups, 2)],
        lambda groups: [(group, groups[0]) for group in groups[1:]],
    ],
)
def test_change_between_groups_without_an_order_is_a_strip_for_each_pair(pairs):
    """All pairs of groups, or each with one: no curve joins them, and none is said to be the one
    before.
    """
    figure = change(("bank", "dog"), pairs=pairs).plot()
    assert not faults(figure)
    assert "compared with the one before" not in " ".join(texts(figure))
    assert not any("place" in row for row in data_of(figure))


@pytest.mark.parametrize("groups", [GROUPS, GROUPS[:2]])
def test_change_of_many_words_is_a_strip_for_each_pair_of_groups(groups):
    words = tuple(f"word{number}" for number in range(9))
    figure = change(words, groups).plot()
    assert len(figure.spec.get("concat", [1])) == len(groups) - 1
    assert not faults(figure)
    assert "hollow: no change was found" in caption(figure)
    for panel in figure.spec.get("concat", [figure.spec]):
        assert [row["item"] for row in panel["data"]["values"] if row["layer_name"] == "1"] == [
            *words
        ]
        [encoding] = [layer["encoding"] for layer in panel["layer"]]
        assert encoding["fillOpacity"]["condition"] == {
            "test": "datum['no_difference']",
            "value": 0,
        }
    assert "layer:" not in caption(figure)
    assert "layer: 0" in caption(change(words, groups, layers=1).plot())
    if len(groups) > 2:
        assert {"[2, 10), [10, 30)", "[10, 30), [30, 40]"} <= {*texts(figure)}


@pytest.mark.parametrize("width", ["80mm", "170mm"])
def test_each_layer_has_its_items_by_score(width):
    rows = [
        {
            "layer": at,
            "layer_name": str(at),
            "rank": rank,
            "item_id": 10 * at + rank,
            "text": f"word{at}{rank}",
            "score": 1 - rank / 5,
        }
        for at in range(2)
        for rank in range(1, 6)
    ]
    figure = result("axis", rows).plot(width=width)
    assert not faults(figure)
    panels = [panel["data"]["values"] for panel in figure.spec["concat"]]
    assert [
        [row["item"] for row in sorted(panel, key=lambda row: row["line"])] for panel in panels
    ] == [[f"word{at}{rank}" for rank in range(1, 6)] for at in range(2)]
    assert {"layer 0", "layer 1"} <= {*texts(figure)}


def test_a_layer_without_scores_has_no_panel():
    rows: list[dict[str, Any]] = [
        {"layer": 0, "layer_name": "0", "reason": "the two poles are the same"}
    ]
    rows += [{"layer": 1, "layer_name": "1", "rank": 1, "item_id": 1, "text": "dog", "score": 0.5}]
    figure = result("axis", rows).plot()
    assert [row["item"] for row in data_of(figure)] == ["dog"]
    assert "1 of 2 without a value" in caption(figure)


def test_accuracy_stands_beside_the_majority_and_the_control():
    rows = [
        {
            "layer": at,
            "layer_name": str(at),
            "label": "pos",
            "accuracy": 0.8,
            "low": 0.7,
            "high": 0.9,
            "majority": 0.5,
            "control_accuracy": 0.3,
            "best": at == 0,
        }
        for at in range(3)
    ]
    figure = result("probe", rows).plot()
    assert "95 % intervals · dotted: control task · dashed: largest class" in caption(figure)
    lines = [
        part
        for part in parts(figure.spec)
        if isinstance(mark := part.get("mark"), dict) and mark.get("strokeDash")
    ]
    assert [line["encoding"]["y"]["field"] for line in lines] == ["control_accuracy", "majority"]
    low, _ = lines[0]["encoding"]["y"]["scale"]["domain"]
    assert low <= 0.3
    without = result("probe", [row | {"control_accuracy": None} for row in rows]).plot()
    assert "dotted: largest class" in caption(without)
    numbers = result(
        "probe", [row | {"accuracy": None, "majority": None, "r2": 0.4} for row in rows]
    ).plot()
    assert "dotted" not in caption(numbers)
    assert {row["r2"] for row in data_of(numbers)} == {0.4}


def test_the_distribution_of_effect_sizes_is_a_band():
    rows = [
        {
            "layer": at,
            "layer_name": str(at),
            "q05": -1.0,
            "q95": 1.5,
            "median": 0.2,
            "ces": 0.3,
            "se": 0.1,
        }
        for at in range(2)
    ]
    figure = result("ceat", rows).plot()
    assert [(row["median"], row["q05"], row["q95"]) for row in data_of(figure)] == [
        (0.2, -1.0, 1.5)
    ] * 2
    assert "band: 5 % quantile to 95 % quantile" in caption(figure)
    combined = result("ceat", rows).plot(column="ces")
    assert {(row["band_low"], row["band_high"]) for row in data_of(combined)} == {
        (0.3 - 0.1, 0.3 + 0.1)
    }


@pytest.mark.parametrize("name", METRICS)
def test_charts_name_columns_of_their_metric(name):
    metric = METRICS[name]
    for optional in (
        (),
        *(parameter.columns for parameter in metric.parameters if parameter.columns),
    ):
        columns = (*metric.columns, *optional)
        declared = metric.__class__(
            **{field: getattr(metric, field) for field in metric.__slots__} | {"columns": columns}
        )
        chart, names = declared.chart, {column.name for column in columns}
        beside = [
            each
            for pairs in (chart.bands, chart.baselines, chart.intervals)
            for _, given in pairs
            for each in given
        ]
        assert {*chart.values, *beside} <= names
        assert len({*chart.values}) == len(chart.values)


def test_metrics_of_a_store_have_pictures_by_default(tmp_path):
    store = prepare(tmp_path / "store").store
    for metric in (
        "knn",
        "clusters",
        "probe",
        "axis",
        "procrustes",
        "cknna",
        "imbalance",
        "predictivity",
    ):
        inputs = INPUTS.get(metric, {}) | ({"control": False} if metric == "probe" else {})
        figure = store.query(metric, unit="word", **inputs).plot(width="80mm")
        assert not faults(figure), metric
        assert data_of(figure), metric
