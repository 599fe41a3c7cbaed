"""Accuracy of nearest neighbours and agreement of clusters, against scikit-learn and by
shuffling.
"""

import numpy as np
import pytest
from kept_columns import write_columns
from metric_data import Arrays, labelled
from scipy.stats import binomtest
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    balanced_accuracy_score,
    v_measure_score,
)
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from embstore.base.errors import QueryError, UnknownNameError, UsageError
from embstore.metrics.data import ItemLabels
from embstore.metrics.labels import clusters, knn
from embstore.metrics.numerics import neighbours
from embstore.metrics.numerics.neighbours import spherical_clusters


@pytest.fixture(scope="module")
def three():
    """Vectors of three overlapping classes of different sizes."""
    rng = np.random.default_rng(0)
    codes = rng.choice(3, 150, p=[0.6, 0.3, 0.1])
    return rng.normal(size=(150, 6)) + 1.2 * np.eye(3, 6)[codes], codes


def test_knn_is_scikit_learns_leave_one_out(three):
    x, codes = three
    row = knn(Arrays(x), labels=labelled(codes), k=1)
    found = cross_val_predict(
        KNeighborsClassifier(1, metric="cosine", algorithm="brute"), x, codes, cv=LeaveOneOut()
    )
    accuracy = (found == codes).mean()
    assert row["accuracy"] == row["label_share"] == pytest.approx(accuracy)
    assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(codes, found))
    assert row["majority"] == np.bincount(codes).max() / 150
    assert (row["n"], row["n_classes"], row["n_zero"], row["null_left_out"], row["reason"]) == (
        150,
        3,
        0,
        0,
        None,
    )
    interval = binomtest(round(accuracy * 150), 150).proportion_ci(method="exact")
    assert row["low"] <= interval.low < interval.high <= row["high"], (
        "items that are neighbours err together"
    )


def test_the_nearest_of_equally_frequent_labels_wins():
    """The neighbours of the first item are b, c, c, b, a: two b and two c, of which b is nearer."""
    angles = np.array([0, 1, 2, 3, 4, 5]) * 0.1
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    row = knn(Arrays(x), labels=labelled([1, 1, 2, 2, 1, 0]), k=5)
    votes = [1, 1, 1, 1, 2, 1]  # by hand; all others vote, and of two as near the first comes first
    assert row["accuracy"] == np.mean(np.array(votes) == [1, 1, 2, 2, 1, 0])


def test_items_without_a_label_and_zero_vectors_are_left_out(three):
    x, codes = three
    x = x.copy()
    x[[0, 149]] = 0
    labels = ItemLabels(np.arange(100), codes[:100], ("a", "b", "c"))
    row = knn(Arrays(x), labels=labels, k=3)
    assert (row["n"], row["n_zero"], row["null_left_out"]) == (99, 1, 50)
    assert row["accuracy"] == knn(Arrays(x[1:100]), labels=labelled(codes[1:100]), k=3)["accuracy"]
    grouped = clusters(Arrays(x), labels=labels, runs=1)
    assert (grouped["n"], grouped["n_zero"], grouped["null_left_out"]) == (99, 1, 50)


def test_clusters_are_those_of_scikit_learn(three):
    x, codes = three
    units = x / np.sqrt((x * x).sum(axis=1))[:, None]
    seeds = np.random.SeedSequence(5).generate_state(4).tolist()
    runs = [KMeans(3, n_init=1, random_state=seed).fit_predict(units) for seed in seeds]
    row = clusters(Arrays(x), labels=labelled(codes), runs=4, seed=5)
    assert row["ami"] == pytest.approx(
        np.mean([adjusted_mutual_info_score(codes, run) for run in runs])
    )
    assert row["ari"] == pytest.approx(np.mean([adjusted_rand_score(codes, run) for run in runs]))
    assert row["v_measure"] == pytest.approx(np.mean([v_measure_score(codes, run) for run in runs]))
    rng = np.random.default_rng(2)
    by_chance = [v_measure_score(rng.permutation(codes), run) for run in runs for _ in range(100)]
    assert row["v_chance"] == pytest.approx(np.mean(by_chance), abs=0.003)
    assert row["seed"] == 5


@pytest.mark.parametrize(("k", "most"), [(9, None), (10, 9), (29, 9), (59, 9)])
def test_as_many_neighbours_as_a_class_has_items_are_said_to_be_too_many(k, most):
    """Of seven clear classes of ten items and more, each is right; from 20 neighbours on, others
    outvote it.
    """
    codes = np.repeat(np.arange(7), [10, 10, 10, 12, 12, 12, 12])
    x = np.eye(7)[codes] + 0.01 * np.random.default_rng(0).normal(size=(78, 7))
    row = knn(Arrays(x), labels=labelled(codes, 7), k=k)
    expected = (
        f"accuracy: 3 of 7 classes have no more than k = {k} items, so that some neighbours are of other"
        " classes"
    )
    if k > 12:
        expected = expected.replace("3 of 7", "7 of 7")
    assert row["reason"] == (None if most is None else f"{expected}: take a k of at most {most}")
    assert row["accuracy"] == 1 or k > 19
    alone = knn(Arrays(x), labels=labelled([1, *[0] * 77]), k=3)
    assert alone["reason"] is None, (
        "an item that is a class of its own has no neighbours of it, whatever k"
    )


@pytest.fixture
def made(make_store):
    made = make_store(n=60, dim=6, index=False)
    columns = {
        "pos": [
            None if number % 10 == 9 else "NOUN" if number % 2 else "VERB" for number in range(60)
        ],
        "long": [number % 3 == 0 for number in range(60)],
        "freq": [number / 7 for number in range(60)],
        "one": ["x"] * 60,
    }
    write_columns(made, columns)
    return made


def test_a_store_is_asked_by_the_name_of_a_column(made):
    table = made.store.query("knn", label="pos", k=3)
    assert table["label"] == ["pos"] * len(table.rows)
    assert table.rows[0]["null_left_out"] == 6
    assert made.store.query("knn", label="pos", k=3).rows == table.rows, "from the cache"
    assert [row["best"] for row in table.rows].count(True) == 1
    some = made.store.query("knn", label="long", k=3, where="pos = 'NOUN'", by="pos")
    assert [row["n_classes"] for row in some.rows] == [2] * len(some.rows)
    cut = made.store.query("knn", label="freq", label_bins="4", k=3)
    assert cut.rows[0]["n_classes"] == 4
    assert made.store.query("clusters", label="pos", runs=2).rows[0]["n"] == 54


@pytest.mark.parametrize(
    ("error", "text", "asked"),
    [
        (UnknownNameError, "Did you mean 'pos'", {"label": "poss"}),
        (
            UsageError,
            "label_bins must be a number from 1 to 1,000",
            {"label": "freq", "label_bins": "nan,2"},
        ),
        (QueryError, "text has 1,001 values, and 1,000", {"label": "text"}),
    ],
)
def test_labels_that_cannot_be(make_store, error, text, asked):
    made = make_store(n=1001, dim=2, index=False)
    write_columns(made, {"pos": ["X"] * 1001, "freq": [0.5] * 1001})
    with pytest.raises(error) as caught:
        made.store.query("knn", **asked)
    assert text in str(caught.value)


def test_vectors_come_with_columns_for_scikit_learn(made):
    """Two lines from a store to a fitted model; missing values are NaN or None."""
    ids, texts, x, y, freq, pos = made.store.vectors(made.space, 0, columns=["long", "freq", "pos"])
    assert 0.5 < LogisticRegression().fit(x, y).score(x, y) <= 1
    at = [int(text.removeprefix("text")) for text in texts]
    assert (y.dtype, y.tolist()) == (np.dtype(bool), [number % 3 == 0 for number in at])
    assert freq.tolist() == [number / 7 for number in at]
    assert pos.tolist() == [
        None if number % 10 == 9 else "NOUN" if number % 2 else "VERB" for number in at
    ]
    assert ids.tolist() == sorted(ids)
    assert len(made.store.vectors(made.space, 0)) == 3
    with pytest.raises(UnknownNameError, match="Did you mean 'freq'"):
        made.store.vectors(made.space, 0, columns=["frek"])


def directions(sizes, dim=16):
    """Return unit vectors close to one axis each, in a random order, and the number of their
    axis.
    """
    rng = np.random.default_rng(3)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    vectors = np.eye(dim)[labels] + 0.02 * rng.standard_normal((len(labels), dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("fitted", [10_000, 60])
def test_separate_directions_are_found_and_numbered_by_size(monkeypatch, fitted):
    monkeypatch.setattr(neighbours, "_FITTED", fitted)
    vectors, labels = directions([10, 80, 40])
    found = spherical_clusters(vectors, 3)
    assert np.bincount(found).tolist() == [80, 40, 10]
    for number in range(3):
        assert len(set(found[labels == number])) == 1
