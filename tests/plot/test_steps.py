"""Pictures over training steps: a curve for each layer, at the steps and with the values of the
table.
"""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from picture_boxes import drawn_rows, faults, texts
from results import result_of

from embstore.base.chart import DRIFT, Chart
from embstore.base.errors import UnknownNameError, UsageError
from embstore.plot import PlotOptions, draw, read_result
from embstore.store import Result

CURVES = Chart("curves", ("score",), "agreement", facets=("dataset",), best="best")
PAIRS = Chart("heat map", ("cka",), "cka", settings=("variant",))
STEPS = (0, 1, 2, 4, 512, 143_000)


def rows_of(
    runs: Sequence[str] = ("pythia",),
    steps: Sequence[int | None] = STEPS,
    layers: Sequence[str] = ("0", "1", "raw"),
) -> list[dict[str, Any]]:
    return [
        {
            "space": f"{run}.step{step}.word.last" if step is not None else f"{run}.word.last",
            "revision": None if step is None else f"step{step}",
            "step": step,
            "layer": at,
            "layer_name": name,
            "n": 50,
            "reason": None,
            "score": at + 1 / (2 + (step or 0)),
            "dataset": "rg65",
            "best": at == 1,
        }
        for run in runs
        for step in steps
        for at, name in enumerate(layers)
    ]


def result(rows: list[dict[str, Any]], chart: Chart = CURVES) -> Result:
    return result_of(rows, columns=list(rows[0]), chart=chart)


@pytest.mark.parametrize(
    ("runs", "logx", "width"), [(("pythia",), False, "80mm"), (("pythia", "olmo"), True, "170mm")]
)
def test_each_layer_is_a_curve_over_the_steps(runs, logx, width):
    rows = rows_of(runs)
    figure = result(rows).plot(x="step", logx=logx, width=width)
    expected = {(f"layer {row['layer_name']}", row["step"], row["score"]) for row in rows}
    assert {
        (row["curve"], row["place"], row["score"]) for row in drawn_rows(figure, "place")
    } == expected
    assert len(figure.spec.get("concat", [1])) == len(runs)
    assert faults(figure) == []
    shown = texts(figure)
    assert shown.count("training step") == len(runs)
    assert {"layer 0", "layer 1", "layer raw"} <= {*shown}
    assert '"symlog"' in figure.to_json() if logx else '"symlog"' not in figure.to_json()
    assert "diamond" not in figure.to_json()


def test_colours_of_many_layers_follow_their_order():
    figure = result(rows_of(layers=[str(layer) for layer in range(13)])).plot(x="step")
    assert faults(figure) == []
    assert '"viridis"' in figure.to_json()


def test_runs_of_one_layer_are_curves_of_one_panel():
    figure = result(rows_of(("pythia", "olmo"), layers=("6",))).plot(x="step")
    assert "concat" not in figure.spec
    assert {row["curve"] for row in drawn_rows(figure, "place")} == {"Pythia", "olmo"}
    assert any("layer: 6" in line for line in figure.spec["title"]["subtitle"])


def test_spaces_without_a_step_are_named():
    figure = result(rows_of(steps=(None, 1, 2))).plot(x="step")
    assert figure.notes == (
        "pythia.word.last is not drawn: it is of no revision named by its step.",
    )
    assert {row["place"] for row in drawn_rows(figure, "place")} == {1, 2}


def test_layers_are_compared_with_the_same_one_of_another_space():
    rows = [
        {
            **row,
            "space_2": "pythia.step143000.word.last",
            "revision_2": "step143000",
            "step_2": 143_000,
            "layer_2": at,
            "layer_name_2": name,
            "cka": row["score"] / 9,
            "variant": "unbiased",
        }
        for row in rows_of()
        for at, name in enumerate(("0", "1", "raw"))
        if row["step"] != 143_000
    ]
    figure = result(rows, PAIRS).plot(x="step")
    expected = {
        (row["step"], row["cka"]) for row in rows if row["layer_name"] == row["layer_name_2"]
    }
    assert {(row["place"], row["cka"]) for row in drawn_rows(figure, "place")} == expected
    assert any("against: Pythia.step143000" in line for line in figure.spec["title"]["subtitle"])
    alone = [row | {"space_2": row["space"]} for row in rows]
    with pytest.raises(UsageError, match='against="SPACE"'):
        result(alone, PAIRS).plot(x="step")


def test_items_and_pairs_of_layers_name_the_curves():
    rows = [
        row
        | {
            "text": word,
            "layer_2": row["layer"] + 1,
            "layer_name_2": str(row["layer"] + 1),
            "overlap": 0.5,
            "turnover": 0.1,
            "k": 10,
            "space_2": row["space"],
        }
        for row in rows_of(layers=("0", "1"))
        for word in ("dog", "cat")
    ]
    figure = result(rows, DRIFT).plot(x="step")
    curves = {row["curve"] for row in drawn_rows(figure, "place")}
    assert curves == {
        f"{word} · layer {pair}" for word in ("dog", "cat") for pair in ("0–1", "1–2")
    }


def test_a_stored_result_is_drawn_over_steps(tmp_path):
    rows = [
        {key: value for key, value in row.items() if key not in ("dataset", "best", "score")}
        | {"anisotropy": row["score"], "std": None, "n_zero": 0, "variant": "raw"}
        for row in rows_of()
    ]
    (tmp_path / "result.json").write_text(json.dumps(rows), "utf-8")
    figure = Result.of(read_result(tmp_path / "result.json")).plot(x="step")
    assert {row["place"] for row in drawn_rows(figure, "place")} == {*STEPS}
    rows[0]["step"] = "many"
    (tmp_path / "result.json").write_text(json.dumps(rows), "utf-8")
    with pytest.raises(UsageError, match="row 1: step must be a whole number, not 'many'"):
        read_result(tmp_path / "result.json")


def test_what_has_no_steps_is_refused():
    with pytest.raises(UsageError, match="needs spaces of revisions that are named by their step"):
        result(rows_of(steps=(None,))).plot(x="step")
    with pytest.raises(UsageError, match="these results are arrays"):
        result(rows_of(), Chart("bars", ("score",), "spectrum")).plot(x="step")
    with pytest.raises(UsageError, match="is about training steps"):
        PlotOptions(logx=True)
    with pytest.raises(UnknownNameError, match="unknown x axis 'epoch'"):
        draw(result(rows_of()), PlotOptions(x="epoch"))
