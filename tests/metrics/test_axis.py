"""Semantic axes by hand, with SemAxis' neighbours, and as a value that a column is held against."""

import numpy as np
import pytest
from kept_columns import write_columns
from metric_data import Arrays, words
from scipy.spatial.distance import cosine
from scipy.stats import spearmanr

from embstore.base.errors import UsageError
from embstore.metrics.axis import axis

X = np.random.default_rng(0).normal(size=(30, 5)) + 0.5


def scores(x, **arguments):
    return {row["item_id"]: row["score"] for row in axis(Arrays(x), top=0, **arguments)}


def test_a_score_is_the_cosine_with_the_difference_of_the_poles():
    found = scores(X, positive=words(3, 4), negative=words(5))
    direction = (X[3] + X[4]) / 2 - X[5]
    assert found == {
        number: pytest.approx(1 - cosine(X[number], direction)) for number in range(30)
    }
    flipped = scores(X, positive=words(5), negative=words(3, 4))
    assert flipped == {number: pytest.approx(-score) for number, score in found.items()}
    pairs = scores(X, positive=words(1, 2), negative=words(8, 9))
    mean = ((X[1] - X[8]) + (X[2] - X[9])) / 2
    assert pairs[0] == pytest.approx(1 - cosine(X[0], mean))


def test_neighbours_are_added_to_each_word():
    """The mean of the seed and its three nearest, of raw vectors, as SemAxis' code has it."""

    def pole(number):
        nearest = np.argsort([cosine(X[number], other) for other in X])[:4]
        assert nearest[0] == number
        return X[nearest].mean(axis=0)

    found = scores(X, positive=words(3), negative=words(5), k=3)
    assert found[7] == pytest.approx(1 - cosine(X[7], pole(3) - pole(5)))


def test_both_ends_are_shown_in_order():
    rows = axis(Arrays(X), positive=words(3), negative=words(5), top=2)
    every = axis(Arrays(X), positive=words(3), negative=words(5), top=0)
    assert [row["rank"] for row in rows] == [1, 2, 29, 30]
    assert rows == [every[at] for at in (0, 1, 28, 29)]
    assert [row["score"] for row in every] == sorted((row["score"] for row in every), reverse=True)
    assert len(axis(Arrays(X), positive=words(3), negative=words(5), top=20)) == 30


def test_a_reason_ends_after_20_words():
    x = X.copy()
    x[5:27] = 0
    [row] = axis(Arrays(x), positive=words(3), negative=words(*range(5, 27)))
    named = ", ".join(f"word{number}" for number in range(5, 25))
    assert row["reason"] == f"no vector, or a zero vector, of {named} and 2 more (missing: error)"


def test_words_and_vectors_that_are_missing():
    x = X.copy()
    x[5] = 0
    [row] = axis(Arrays(x), positive=words(3), negative=words(5))
    assert row["reason"] == "no vector, or a zero vector, of word5 (missing: error)"
    [row] = axis(Arrays(x), positive=words(3), negative=words(5), missing="skip")
    assert row["reason"] == "a pole has no word left"
    rows = axis(Arrays(x), positive=words(3, 99), negative=words(4, 5), missing="skip")
    assert (rows[0]["n"], rows[0]["n_zero"], rows[0]["n_positive"], rows[0]["n_negative"]) == (
        29,
        1,
        1,
        1,
    )
    [row] = axis(Arrays(x), positive=words(3), negative=words(3))
    assert row["reason"] == "the two poles are the same"


def test_a_store_names_the_items_and_correlates_them(make_store):
    made = make_store(n=40, dim=4, n_blocks=1, top_form=None)
    write_columns(made, {"valence": [float(number) for number in range(40)]})
    poles = {"positive": "text1,text2", "negative": ["text3"]}
    table = made.store.query("axis", **poles, top=0, layers="1")
    x = {text: made.vectors[1][number].astype(float) for number, text in enumerate(made.texts)}
    direction = (x["text1"] + x["text2"]) / 2 - x["text3"]
    assert {row["text"]: row["score"] for row in table.rows} == {
        text: pytest.approx(1 - cosine(vector, direction)) for text, vector in x.items()
    }
    assert made.store.query("axis", **poles, top=0, layers="1").rows == table.rows
    by_text = {row["text"]: row["score"] for row in table.rows}
    held = made.store.query("correlate", column="valence", value="axis", **poles, layers="1")
    expected = spearmanr([by_text[f"text{number}"] for number in range(40)], range(40)).statistic
    assert held["spearman"] == [pytest.approx(expected)]
    with pytest.raises(UsageError, match="axis needs negative"):
        made.store.query("axis", positive="text1")
