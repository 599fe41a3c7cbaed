"""What is drawn: curves over steps, scales and groups, marks of tests, and captions."""

from itertools import combinations, pairwise

import pytest
from figures import (
    MODELS,
    caption,
    circled,
    curves,
    figure_of,
    metric_result,
    pairs,
    result,
    rows_of,
    texts,
)

from embstore.base.errors import UsageError

STEPS = (0, 1, 2, 4, 512, 143_000)
P_HOLM = (0.001, 0.0499, 0.05, None, 1.0)  # of layers 0 … 4; the others are compared with 3


def rows_over_steps(runs=("pythia",), steps=STEPS, layers=("0", "1")):
    spaces = [
        (f"{run}.step{step}" if step is not None else run, step) for run in runs for step in steps
    ]
    return [
        row | {"revision": None if step is None else f"step{step}", "step": step}
        for name, step in spaces
        for row in rows_of((f"{name}.word.last",), layers)
    ]


@pytest.mark.parametrize("logx", [False, True])
def test_each_layer_is_a_curve_over_the_steps(logx):
    figure = figure_of(result(rows_over_steps()), x="step", logx=logx)
    [ax] = figure.panels
    assert curves(ax) == {
        f"layer {layer}": [(step, 0.1 * layer) for step in STEPS] for layer in (0, 1)
    }
    assert ax.get_xscale() == ("symlog" if logx else "linear")
    assert ax.get_xlabel() == "training step"
    several = result(rows_over_steps(("pythia", "olmo"))).plot(x="step")
    assert [ax.get_title(loc="left") for ax in several] == ["Pythia", "olmo"]


def test_runs_of_one_layer_are_curves_of_one_panel():
    figure = figure_of(result(rows_over_steps(("pythia", "olmo"), layers=("6",))), x="step")
    assert curves(figure.panels[0]).keys() == {"Pythia", "olmo"}
    assert "layer: 6" in caption(figure)


def test_spaces_without_a_step_are_named():
    figure = figure_of(result(rows_over_steps(steps=(None, 1, 2))), x="step")
    assert figure.notes == (
        "pythia.word.last is not drawn: it is of no revision named by its step.",
    )


def test_layers_are_compared_over_steps_with_the_same_one_of_another_space():
    rows = pairs(rows_over_steps(steps=(0, 1), layers=("0", "1", "2")), "pythia.step9.word.last")
    figure = figure_of(result(rows), x="step")
    assert curves(figure.panels[0])["layer 1"] == [(0, 0.1), (1, 0.1)]
    assert "against: Pythia.step9" in caption(figure)
    with pytest.raises(UsageError, match="against"):
        result(pairs(rows)).plot(x="step")


@pytest.mark.parametrize("rows", [rows_of(), rows_over_steps(steps=(None,))])
def test_what_has_no_steps_is_refused(rows):
    with pytest.raises(UsageError, match="revisions that are named by their step"):
        result(rows).plot(x="step")
    with pytest.raises(UsageError):
        result(rows_of(score=lambda _, at: [0.1, 0.2])).plot(x="step")


def drift(**more):
    given = {"k": 10, "turnover": 0.1, "space_2": MODELS[0]} | more
    return [
        row
        | {"layer_2": row["layer"] + 1, "layer_name_2": str(row["layer"] + 1), "text": text}
        | {"overlap": number / 10}
        | given
        for number, text in enumerate(("dog", "bank"))
        for row in rows_of(MODELS[:1], ("0", "1"))
    ]


def test_drift_has_a_curve_for_each_item():
    rows = drift()
    figure = figure_of(metric_result("drift", rows))
    [ax] = figure.panels
    assert curves(ax) == {"dog": [(1, 0), (2, 0)], "bank": [(1, 0.1), (2, 0.1)]}
    assert ax.get_xlabel() == "layer, compared with the one before"
    assert "against" not in caption(figure)
    for row in rows:
        row["layer_2"] += 1
    [ax] = figure_of(metric_result("drift", rows)).panels
    assert ax.get_xlabel() == "layer, compared with the one before of 0, 1, 2"
    rows = drift(space_2=MODELS[1])
    assert "MiniLM against GPT-2" in caption(figure_of(metric_result("drift", rows)))


def similarity(versus, p_holm=P_HOLM, space=MODELS[0]):
    return [
        {"space": space, "layer": at, "layer_name": str(at), "dataset": "rg65", "spearman": 0.1 * at,
         "low": 0, "high": 0.6, "n_common": 65, "p": p, "p_holm": p, "best": at == 3,
         "difference": None if p is None else -0.1, "versus": None if p is None else versus}
        for at, p in enumerate(p_holm)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "marked", "versus"),
    [
        (similarity("best"), [2, 3, 4], "best"),
        (similarity("3"), [2, 3, 4], "3"),
        (similarity("4", (0.01, 0.02)), [], "4"),
        (
            similarity(MODELS[1], (0.001, 0.2)) + similarity(None, (None, None), MODELS[1]),
            [1],
            "GPT-2",
        ),
    ],
)
def test_exactly_the_layers_without_a_difference_are_marked(rows, marked, versus):
    figure = figure_of(metric_result("similarity", rows, {"versus": "best"}))
    assert [place for place, _ in circled(figure.panels[0])] == marked
    words = "circle: no difference was found (adjusted p ≥ .05)"
    assert (words in caption(figure)) == bool(marked)
    assert f"versus: {versus}" in caption(figure)
    assert "95 % intervals" in caption(figure)


def test_calibrated_has_its_settings():
    more = {"cka": 0.9, "calibrated": 0.5, "permutations": 2000, "over": "max"}
    rows = [row | more for row in pairs(rows_of(MODELS[:1], ("0", "1", "2")))]
    found = metric_result("cka", rows, {"permutations": 2000})
    figure = figure_of(found, column="calibrated")
    assert "permutations: 2,000 · over: max" in caption(figure)


def test_a_directed_measure_says_which_layer_is_the_source():
    rows = [row | {"imbalance": 0.1} for row in pairs(rows_of(MODELS[:1], ("0", "1")))]
    ax = metric_result("imbalance", rows).plot()
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("from layer", "to layer")


def gride(layers):
    return [
        {"layer": at, "layer_name": str(at), "estimator": "gride", "scale": 2**power,
         "dimension": 5.0 + at + power, "standard_error": 0.5}
        for at in range(layers)
        for power in range(1, 7)
    ]  # fmt: skip


@pytest.mark.parametrize("layers", [1, 3])
def test_dimension_is_drawn_over_the_scale_with_standard_errors(layers):
    figure = figure_of(metric_result("intrinsic-dimension", gride(layers), {"estimator": "gride"}))
    [ax] = figure.panels
    assert next(iter(curves(ax).values())) == [(2**power, 5.0 + power) for power in range(1, 7)]
    assert (ax.get_xscale(), ax.get_xlabel()) == ("log", "scale: number of the neighbour")
    [band, *_] = ax.collections
    assert band.get_datalim(ax.transData).intervaly.tolist() == [5.5, 11.5]
    assert "band: ± standard error" in caption(figure)
    assert ("layer: 0" in caption(figure)) == (layers == 1)


GROUPS = ("[2, 10)", "[10, 30)", "[30, 40]")


def change(words, compared=pairwise):
    return [
        {"space": "a.occurrence.last", "layer": at, "layer_name": str(at), "word": word,
         "group_1": before, "group_2": after, "apd": 0.5, "within": 0.3, "p": 0.01, "prt": 0.2,
         "apd_change": 0.1 * at + 0.01 * number, "p_holm": 0.05 if number else 0.01}
        for at in range(2)
        for before, after in compared(GROUPS)
        for number, word in enumerate(words)
    ]  # fmt: skip


def test_change_of_a_few_words_is_drawn_over_the_groups():
    found = metric_result("change", change(("bank", "dog")))
    figure = figure_of(found)
    assert [ax.get_title(loc="left") for ax in figure.panels] == ["layer 0", "layer 1"]
    assert curves(figure.panels[1]) == {"bank": [(0, 0.1), (1, 0.1)], "dog": [(0, 0.11), (1, 0.11)]}
    assert circled(figure.panels[0]) == [(0, 0.01), (1, 0.01)]
    assert "circle: no difference was found (adjusted p ≥ .05)" in caption(figure)
    assert "group, compared with the one before" in texts(figure)
    assert "dotted: mean distance within a group" in caption(figure_of(found, column="apd"))


@pytest.mark.parametrize(
    ("words", "compared"),
    [
        (("bank", "dog"), lambda groups: [*combinations(groups, 2)]),
        (tuple(f"word{number}" for number in range(9)), pairwise),
    ],
)
def test_other_change_is_a_strip_for_each_pair_of_groups(words, compared):
    figure = figure_of(metric_result("change", change(words, compared)))
    assert len(figure.panels) == len([*compared(GROUPS)])
    assert "compared with the one before" not in " ".join(texts(figure))


def test_one_word_over_the_layers_is_a_curve():
    rows = [row | {"word": "bank"} for row in rows_of()]
    figure = figure_of(result(rows))
    assert curves(figure.panels[0]).keys() == {"MiniLM", "GPT-2"}
    assert "word: bank" in caption(figure)


def test_a_caption_states_what_is_not_default():
    selected = {"where": "text LIKE 'a%'", "sample": 500, "transform": "center", "k": 7, "m": 2}
    found = result(rows_of(dataset="rg65", **selected), panels=("dataset",), settings=("k", "m"),
                   defaults={"k": 5, "m": 2})  # fmt: skip
    assert caption(figure_of(found)) == (
        "words, last token · dataset: rg65 · n = 100 · transform: center · where: text LIKE 'a%'"
        " · sample: 500 · k: 7"
    )


def test_a_caption_counts_what_has_no_value():
    rows = rows_of(score=lambda where, at: None if at == 2 else 0.5, n=lambda where, at: 5 + at)
    figure = figure_of(result(rows))
    assert "n = 5–8" in caption(figure)
    assert "2 of 8 without a value" in caption(figure)
