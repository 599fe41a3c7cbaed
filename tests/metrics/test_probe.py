"""Linear probes against scikit-learn's own pipeline, and what groups and the control task are
for.
"""

import numpy as np
import pytest
from kept_columns import write_columns
from metric_data import Arrays, labelled
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from embstore.base.errors import UsageError
from embstore.metrics import METRICS
from embstore.metrics.data import ItemLabels
from embstore.metrics.numerics.statistics import draw_folds
from embstore.metrics.predictivity import predictivity
from embstore.metrics.probe import STRENGTHS, probe


@pytest.fixture(scope="module")
def three():
    rng = np.random.default_rng(0)
    codes = rng.choice(3, 150, p=[0.5, 0.3, 0.2])
    return (rng.normal(size=(150, 5)) + 1.2 * np.eye(3, 5)[codes]) * [1, 10, 0.1, 1, 1] + 3, codes


@pytest.mark.slow
def test_a_probe_is_scikit_learns(three):
    x, codes = three
    groups = np.arange(150) // 3
    folds, found = draw_folds(groups, 4, 1), np.empty_like(codes)
    for number in range(4):
        train, test = folds != number, folds == number
        scaler = StandardScaler().fit(x[train])
        z, c, inner = (
            scaler.transform(x[train]),
            codes[train],
            draw_folds(np.unique(groups[train], return_inverse=True)[1], 3, 1),
        )
        right = [
            sum(
                (
                    LogisticRegression(C=s, max_iter=2000)
                    .fit(z[inner != i], c[inner != i])
                    .predict(z[inner == i])
                    == c[inner == i]
                ).sum()
                for i in range(3)
            )
            for s in STRENGTHS
        ]
        best = LogisticRegression(C=STRENGTHS[int(np.argmax(right))], max_iter=2000).fit(z, c)
        found[test] = best.predict(scaler.transform(x[test]))
    row = probe(Arrays(x), labels=labelled(codes, groups=groups), folds=4, repeats=1, seed=1)
    assert row["accuracy"] == (found == codes).mean() > 0.6
    assert row["macro_f1"] == pytest.approx(f1_score(codes, found, average="macro"))
    assert (row["majority"], row["n_groups"], row["n_classes"]) == (
        np.bincount(codes).max() / 150,
        50,
        3,
    )
    assert row["control"] == "shuffled labels"
    assert row["selectivity"] == row["accuracy"] - row["control_accuracy"]
    assert row["low"] < row["accuracy"] < row["high"]


@pytest.mark.slow
def test_groups_keep_what_items_share_from_leaking():
    """Items of a group have nearly one vector, and the groups' labels are random: nothing can be
    learnt of them.
    """
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(60), 5)
    codes = rng.integers(0, 2, 60)[groups]
    x = rng.normal(size=(60, 40))[groups] + 0.01 * rng.normal(size=(300, 40))
    honest = probe(Arrays(x), labels=labelled(codes, groups=groups), control=False)
    leaking = probe(Arrays(x), labels=labelled(codes), control=False)
    assert leaking["accuracy"] > 0.9 > 0.65 > honest["accuracy"]


@pytest.mark.parametrize("in_pairs", [False, True])
def test_accuracies_of_groups_have_one_and_a_half_times_the_variance(monkeypatch, in_pairs):
    rng = np.random.default_rng(8)
    x, codes, predicted = rng.normal(size=(60, 4)), np.tile([0, 1], 30), rng.integers(0, 2, 60)
    groups = np.arange(60) // 2 if in_pairs else None
    monkeypatch.setattr("embstore.metrics.probe._classify", lambda *_: predicted)
    row = probe(Arrays(x), labels=labelled(codes, groups=groups), control=False, repeats=2)
    is_right = predicted == codes
    clusters = np.arange(60) if groups is None else groups
    drawn = [draw_folds(clusters, 5, seed) for seed in (0, [0, 4, 1])]
    shares = [is_right[folds == fold].mean() for folds in drawn for fold in range(5)]
    variance = (1 / 10 + 1 / 4) * np.var(shares, ddof=1)
    assert row["accuracy"] == is_right.mean()
    assert np.sum(row["scores"].errors ** 2) == pytest.approx(variance * (1.5 if in_pairs else 1))


@pytest.mark.slow
def test_the_control_task_is_learnt_where_types_are_told_apart():
    """Each type has its own place: a linear probe learns its random label by heart, and selectivity
    is low.
    """
    rng = np.random.default_rng(4)
    types = np.tile(np.arange(12), 20)
    x = np.eye(12)[types] * 3 + 0.1 * rng.normal(size=(240, 12))
    row = probe(Arrays(x), labels=labelled(types % 3, types=types))
    assert row["accuracy"] == row["control_accuracy"] == 1
    assert (row["selectivity"], row["control"]) == (0, "types")


def test_numbers_are_predicted_by_ridge_regression():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(90, 4))
    values = x @ [1.0, -2.0, 0, 0] + rng.normal(size=90)
    numbers = ItemLabels(np.arange(90), np.zeros(90, np.int64), (), values)
    row = probe(Arrays(x * [1, 100, 1, 1]), labels=numbers, folds=3)
    expected = predictivity(
        [Arrays(x / x.std(axis=0))], [Arrays(values[:, None])], np.arange(90), folds=3
    )
    assert row["r2"] == pytest.approx(expected[0]["r2"], abs=0.01), (
        "scaled on each fold, not on all items"
    )
    assert row["low"] < row["r2"] < row["high"] < 1
    assert (row["accuracy"], row["n_classes"]) == (None, None)
    equal = ItemLabels(np.arange(90), np.zeros(90, np.int64), (), np.ones(90))
    assert probe(Arrays(x), labels=equal)["reason"] == "the values of the column are all equal"


@pytest.mark.slow
def test_a_store_is_probed_by_columns_and_says_which_control_was_used(make_store):
    made = make_store(n=60, dim=4, n_blocks=1, index=False)
    columns = {
        "pos": ["N" if number % 3 else None for number in range(60)],
        "lemma": [n // 3 for n in range(60)],
        "source": [n // 4 for n in range(60)],
    }
    write_columns(
        made, columns | {"kind": ["AB"[number % 2] for number in range(60)], "freq": [*range(60)]}
    )
    table = made.store.query("probe", label="kind", group="lemma", control=False, versus="best")
    assert {(row["n"], row["n_groups"], row["grouped_by"]) for row in table.rows} == {
        (60, 20, "lemma")
    }
    assert [row["p"] is None for row in table.rows] == [row["best"] for row in table.rows]
    assert made.store.query("probe", label="freq", layers=0).rows[0]["r2"] < 1
    assert (
        made.store.query("probe", label="freq", label_bins="0,30,60", layers=0).rows[0]["n_classes"]
        == 2
    )
    assert (
        made.store.query("probe", label="pos", layers=0).rows[0]["reason"]
        == "fewer than two classes"
    )

    plain = made.store.query("probe", label="kind", layers=0)
    assert "5 × 5 folds drawn at random; control: shuffled labels (seed 0)" in plain.notes[0]
    assert {"control_accuracy", "selectivity"} <= {*plain.layout()[0]}
    grouped = made.store.query(
        "probe", label="kind", group="lemma", control=False, layers=0, repeats=1
    )
    assert "5 folds drawn at random, each lemma in one of them (seed 0)" in grouped.notes[0]
    few = made.store.query("probe", label="kind", group="source", control=False, versus="best")
    assert {*few["reason"]} == {"interval: fewer than 20 groups"}
    assert {*few["low"], *few["high"], *few["p"]} == {None}
    assert None not in few["accuracy"]
    with pytest.raises(UsageError, match=r"probe needs a column.*text, freq, kind, lem"):
        made.store.query("probe")
    row = {"folds": 5, "repeats": 1, "grouped_by": "sentence", "control": "types"}
    control = "control: the control task of Hewitt & Liang (2019): one random label for each word"
    assert (
        METRICS["probe"].drawn(row)
        == f"5 folds drawn at random, each sentence in one of them; {control}"
    )


def test_r2_of_layers_is_compared_on_the_same_items(make_store):
    x = np.random.default_rng(7).normal(size=(2, 160, 4)).astype(np.float32)
    made = make_store(n=160, dim=4, n_blocks=1, top_form=None, vectors=x, index=False)
    write_columns(made, {"freq": x[1, :, 0].astype(float).tolist()})
    table = made.store.query("probe", label="freq", versus="0")
    first, second = table.rows
    assert second["difference"] == pytest.approx(second["r2"] - first["r2"])
    assert second["difference_low"] < second["difference"] < second["difference_high"]
    assert second["p"] < 0.01
    assert table.layout()[0][:3] == ["layer", "r2", "difference"]


def test_a_layer_of_few_vectors_has_a_value_and_no_interval():
    """As that of a first token in layer 0, which is the same in every text."""
    codes = np.arange(60) % 3 > 0
    row = probe(Arrays(np.ones((60, 4))), labels=labelled(codes), control=False)
    assert row["accuracy"] == row["majority"] == pytest.approx(2 / 3)
    assert (row["low"], row["high"]) == (None, None)
    assert row["reason"].endswith("too; interval: fewer than 20 different vectors")
    assert "scores" not in row
