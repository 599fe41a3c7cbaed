"""Correlations of columns with values of items, against scipy and values computed item by item."""

import numpy as np
import pytest
from kept_columns import write_columns
from metric_data import Arrays
from scipy import stats
from synthetic import Synthetic, synthetic_store

from embstore.base.errors import QueryError, UnknownNameError, UsageError
from embstore.metrics import correlate as module
from embstore.metrics.correlate import correlate
from embstore.metrics.data import ItemColumn
from embstore.metrics.numerics.units import Correlation

SENTENCES = [
    "the dog of the sea and a a", "the cat of the sea and a b", "the dog of the sky and a sea",
    "the fox of the sea and a dog", "the cat of the sky and a the", "the dog of the fox and a of",
]  # fmt: skip
VALUES = ("norm", "self-similarity", "hubness", "cosine-to-mean")


def value_of_each(made, layer, value, k):
    """The value of each item, one at a time; NaN where it is undefined."""
    x = made.layer(layer).astype(np.float64)
    if value == "norm":
        return np.linalg.norm(x, axis=1)
    cosine = np.array(
        [
            [
                a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) if a.any() and b.any() else np.nan
                for b in x
            ]
            for a in x
        ]
    )
    if value == "cosine-to-mean":
        mean = x.mean(axis=0)
        return np.array(
            [
                a @ mean / (np.linalg.norm(a) * np.linalg.norm(mean)) if a.any() else np.nan
                for a in x
            ]
        )
    if value == "hubness":
        has_direction = x.any(axis=1)
        counts = np.where(has_direction, 0.0, np.nan)
        for row in np.flatnonzero(has_direction):
            others = [
                (-cosine[row, other], other)
                for other in np.flatnonzero(has_direction)
                if other != row
            ]
            for _, other in sorted(others)[:k]:
                counts[other] += 1
        return counts
    found = np.full(len(x), np.nan)
    for row, item in enumerate(made.items):
        others = [
            cosine[row, at]
            for at, other in enumerate(made.items)
            if other.text == item.text and at != row and x[at].any()
        ]
        if others and x[row].any():
            found[row] = np.mean(others)
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store of occurrences with a zero vector, and a column of theirs that is null for every
    fifth.
    """
    root = tmp_path_factory.mktemp("store") / "store"
    n = len(
        synthetic_store(
            root.with_name("other"), texts=SENTENCES, unit="occurrence", index=False
        ).items
    )
    vectors = np.random.default_rng(0).normal(size=(3, n, 6)) + 0.4
    vectors[:, 3] = 0
    made = synthetic_store(
        root, texts=SENTENCES, unit="occurrence", n_blocks=1, dim=6, vectors=vectors, index=False
    )
    column = np.random.default_rng(1).integers(0, 12, n) / 2
    column[::5] = np.nan
    write_columns(
        made, {"freq": [None if np.isnan(value) else value for value in column], "pos": ["X"] * n}
    )
    return made, column


@pytest.mark.parametrize("value", VALUES)
def test_the_correlations_are_those_of_scipy(made, value):
    store, column = made
    found = store.store.query(
        "correlate", column="freq", value=value, **({"k": 3} if value == "hubness" else {})
    )
    for row in found:
        each = value_of_each(store, row["layer"], value, 3)
        used = np.isfinite(each) & np.isfinite(column)
        assert row["spearman"] == pytest.approx(
            stats.spearmanr(each[used], column[used]).statistic, abs=1e-9
        )
        assert row["pearson"] == pytest.approx(
            stats.pearsonr(each[used], column[used]).statistic, abs=1e-9
        )
        assert (row["n"], row["total"]) == (used.sum(), len(column))
        assert row["null_left_out"] == np.isnan(column).sum()
        assert row["undefined_left_out"] == (np.isnan(each) & np.isfinite(column)).sum()
        x, y = each[used], column[used]
        rounding, nouns = np.full(len(x), 1e-12), ("", "", "")
        found_alone = Correlation(np.arange(len(x)), x, y, "spearman", rounding, nouns)
        assert (row["low"], row["high"]) == pytest.approx(found_alone.estimate().interval())
        assert row["low"] < row["spearman"] < row["high"]
        assert (row["column"], row["value"], row["reason"]) == ("freq", value, None)
    assert any("null_left_out = " in note for note in found.notes)


@pytest.mark.parametrize("value", VALUES)
def test_selected_and_transformed_items(made, value):
    store, column = made
    kept = [at for at, item in enumerate(store.items) if item.text in ("the", "dog", "sea", "of")]
    found = store.store.query(
        "correlate",
        column="freq",
        value=value,
        words=["the", "dog", "sea", "of"],
        transforms="standardize",
        layers=1,
        **({"k": 2} if value == "hubness" else {}),
    )
    x = store.layer(1)[kept].astype(np.float64)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    if value == "cosine-to-mean":
        assert found["reason"] == ["the mean vector is zero, and has no direction"]
        return
    part = Synthetic(
        store.root, store.card, tuple(store.items[at] for at in kept), np.stack([x] * 3)
    )
    each = value_of_each(part, 1, value, 2)
    used = np.isfinite(each) & np.isfinite(column[kept])
    assert found["n"] == [used.sum()]
    assert found["spearman"] == pytest.approx(
        [stats.spearmanr(each[used], column[kept][used]).statistic], abs=1e-9
    )


def test_groups_correlate_within_themselves(made):
    store, column = made
    found = store.store.query("correlate", column="freq", by="freq", bins=2, layers=0)
    norms = value_of_each(store, 0, "norm", 1)
    median = np.nanmedian(column)
    for group, used in zip(found, (column < median, column >= median), strict=False):
        assert group["spearman"] == pytest.approx(
            stats.spearmanr(norms[used], column[used]).statistic
        )
    assert (found["group"][2], found["n"][2], found["reason"][2]) == (
        None,
        0,
        "fewer than two items have both values",
    )


@pytest.mark.parametrize("batch_bytes", [1, 1 << 25])
def test_self_similarity_is_the_mean_over_the_items_of_a_word(made, monkeypatch, batch_bytes):
    monkeypatch.setattr(module, "BATCH_BYTES", batch_bytes)
    store, column = made
    [row] = store.store.query(
        "correlate", column="freq", value="self-similarity", layers=0, cache=False
    )
    each = value_of_each(store, 0, "self-similarity", 1)
    used = np.isfinite(each) & np.isfinite(column)
    assert row["pearson"] == pytest.approx(stats.pearsonr(each[used], column[used]).statistic)
    [word] = store.store.query("self-similarity", word="the", min_contexts=2, layers=0)
    of_word = [value for value, item in zip(each, store.items, strict=True) if item.text == "the"]
    assert word["self_similarity"] == pytest.approx(np.nanmean(of_word))


def test_columns_that_cannot_be_correlated(made, make_store):
    store = made[0].store
    for error, message, options in [
        (UsageError, r"correlate needs a column of the items.*freq", {}),
        (
            UsageError,
            r"needs a column of numbers, and 'pos' has .*freq, position",
            {"column": "pos"},
        ),
        (
            UnknownNameError,
            r"unknown column of toy\.occurrence\.last 'frek'\. Did you mean 'freq'",
            {"column": "frek"},
        ),
        (
            UnknownNameError,
            r"unknown value 'norms'\. Did you mean 'norm'",
            {"column": "freq", "value": "norms"},
        ),
    ]:
        with pytest.raises(error, match=message):
            store.query("correlate", **options)
    words = make_store(n=5, index=False)
    write_columns(words, {"freq": [1, 2, 3, 4, 5]})
    with pytest.raises(
        QueryError, match=r"toy\.word\.last is a space of words\. Choose another `value`"
    ):
        words.store.query("correlate", column="freq", value="self-similarity")


def test_norms_are_tied_by_their_own_rounding_whatever_the_largest():
    x = np.zeros((9, 3), np.float32)
    x[:, 1] = [*range(1, 8), 7 * (1 + 2**-20), 1e14]
    found = correlate(Arrays(x), column=ItemColumn(np.arange(9), np.arange(9.0)))
    right = stats.spearmanr(np.linalg.norm(x.astype(np.float64), axis=1), np.arange(9.0)).statistic
    assert (found["spearman"], right) == (pytest.approx(1), pytest.approx(1))
