"""Errors of numbers that items make together: against plain definitions, and how often they err."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_data import Arrays, labelled
from scipy import stats
from sklearn.neighbors import KNeighborsClassifier

from embstore.metrics.data import ItemLabels
from embstore.metrics.labels import knn
from embstore.metrics.numerics.estimates import (
    GROUPS,
    Estimate,
    compare_estimates,
    fold_estimate,
    half_errors,
    limited_df,
    whole_copies,
)
from embstore.metrics.numerics.statistics import draw_folds
from embstore.metrics.probe import probe

IDS = np.arange(60)


def estimate(contributions, errors, df=20):
    def refuse(_):
        raise AssertionError("all items are common")

    return Estimate(
        np.arange(len(contributions)),
        float(contributions.mean()),
        contributions,
        errors,
        df,
        refuse,
    )


def split(n_groups, n_splits, seed):
    rng = np.random.default_rng([seed, 3])
    return [rng.permutation(n_groups) < n_groups // 2 for _ in range(n_splits)]


@pytest.mark.parametrize(("n", "n_splits"), [(60, 100), (99, 100), (100, 50), (420, 50)])
def test_halves_of_independent_items_have_the_error_of_their_mean(n, n_splits):
    x = np.random.default_rng(n).normal(size=n)
    errors, df = half_errors(lambda half: (x[half].mean(), x[~half].mean()), np.arange(n), 7)
    differences = [x[half].mean() - x[~half].mean() for half in split(n, n_splits, 7)]
    assert np.sum(errors**2) == pytest.approx(np.mean(np.square(differences)) / 4)
    assert np.linalg.norm(errors) == pytest.approx(x.std(ddof=1) / np.sqrt(n), rel=0.25)
    assert df == pytest.approx(1 / (1 / n_splits + 1 / (n - 1)))


@pytest.mark.parametrize("k", [1, 3, 4, 10])
def test_the_interval_of_knn_is_from_scikit_learns_halves(k):
    rng = np.random.default_rng(k)
    codes = np.arange(120) % 3
    x = rng.normal(size=(120, 6)) + 0.8 * np.eye(3, 6)[codes]
    row = knn(Arrays(x), labels=labelled(codes), k=k, seed=5)
    in_half = min(k, max(3, k // 2))

    def accuracy(half):
        """Leave one out: the item itself is the first of its neighbours; of tied votes the nearest
        has it.
        """
        near = KNeighborsClassifier(in_half, metric="cosine", algorithm="brute").fit(
            x[half], codes[half]
        )
        labels = codes[half][near.kneighbors(x[half], in_half + 1, return_distance=False)[:, 1:]]
        votes = (labels[:, :, None] == labels[:, None, :]).sum(axis=2)
        return float((labels[np.arange(len(labels)), votes.argmax(axis=1)] == codes[half]).mean())

    squares = [(accuracy(half) - accuracy(~half)) ** 2 for half in split(120, 50, 5)]
    share, n = row["accuracy"], 120
    error = max(np.sqrt(np.mean(squares) / 4), np.sqrt(share * (1 - share) / n))
    smooth = (n * share + 1) / (n + 2)
    t = stats.t.ppf(0.975, 1 / (1 / 50 + 1 / 119))
    n_effective = min(n, smooth * (1 - smooth) / error**2) * (stats.norm.ppf(0.975) / t) ** 2
    right, wrong = share * n_effective, (1 - share) * n_effective
    low, high = stats.beta.ppf(0.025, right, wrong + 1), stats.beta.ppf(0.975, right + 1, wrong)
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert row["low"] < share < row["high"]


@pytest.mark.parametrize("n_right", [0, 1, 30, 60])
def test_a_share_of_independent_items_has_the_exact_interval(n_right):
    """Of as many degrees of freedom as the normal distribution has, and no error of the parts."""
    found = estimate(np.arange(60.0) < n_right, np.zeros(5), df=np.inf)
    smooth = (n_right + 1) / 62
    found = replace(found, errors=np.full(1, np.sqrt(smooth * (1 - smooth) / 60)))
    exact = stats.binomtest(n_right, 60).proportion_ci()
    assert found.share_interval() == pytest.approx((exact.low, exact.high), abs=1e-12)


def test_few_items_that_carry_an_error_leave_few_degrees_of_freedom():
    alike, alone = np.ones(60), np.append(np.full(59, 1e-6), 1.0)
    assert limited_df(19, alike, GROUPS / 60) == 19
    assert limited_df(19, alike, 1 / 5) == pytest.approx(12)
    assert limited_df(19, np.repeat([1.0, 0], 30), GROUPS / 60) == pytest.approx(10)
    assert limited_df(19, alone, GROUPS / 60) == 1
    assert limited_df(19, np.zeros(60), 1 / 5) == 19


def test_a_difference_has_the_lower_degrees_of_freedom_of_both():
    rng = np.random.default_rng(0)
    first, second = (estimate(rng.normal(size=60), rng.normal(size=50) / 20, df) for df in (30, 4))
    gap = first.contributions - second.contributions
    error = max(np.linalg.norm(first.errors - second.errors), np.linalg.norm(gap) / 60)
    assert compare_estimates(first, second).p == pytest.approx(
        2 * stats.t.sf(abs(gap.mean()) / error, 4)
    )


def test_many_copies_are_one_cluster_and_few_are_not():
    items = np.arange(60)
    few, many = np.minimum(items, 58), np.minimum(items, 50)
    assert whole_copies(items, few)[0] is items
    clusters, why = whole_copies(items, many)
    assert clusters.tolist() == many.tolist()
    assert why == "interval: 10 items have a vector that others have too"
    sentences = items // 3
    assert whole_copies(sentences, many)[0] is sentences


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["knn", "probe"])
def test_copies_are_on_one_side_of_each_half_and_fold(metric):
    """Copies classify each other: divided, they would leave as little error as new items."""
    rng = np.random.default_rng(8)
    codes = np.arange(40) % 2
    x = rng.normal(size=(40, 3)) + np.eye(2, 3)[codes]
    three = np.tile(np.arange(40), 3)
    options = {"k": 3} if metric == "knn" else {"control": False}
    compute = {"knn": knn, "probe": probe}[metric]
    rows = [
        compute(Arrays(x[three] + noise), labels=labelled(codes[three], groups=groups), **options)
        for noise, groups in ((0, None), (1e-9 * rng.normal(size=(120, 3)), three))
    ]
    assert rows[0]["reason"] == "interval: 120 items have a vector that others have too"
    assert rows[1]["reason"] is None
    for name in ("accuracy", "low", "high"):
        assert rows[0][name] == pytest.approx(rows[1][name], abs=1e-6)


def test_the_error_of_r2_has_half_the_items_that_carry_it():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(90, 4))
    values = x[:, 0] + rng.standard_t(2, 90)
    numbers = ItemLabels(np.arange(90), np.zeros(90, np.int64), (), values)
    row = probe(Arrays(x), labels=numbers)
    found = row["scores"]
    deviations = found.contributions - found.value
    carrying = (deviations**2).sum() ** 2 / (deviations**4).sum()
    assert found.df == pytest.approx(carrying / 2)
    assert 1 < found.df < 24
    error = max(found.standard_error(found.value), 2 / 90)
    low, high = stats.t.interval(0.95, carrying / 2, row["r2"], error)
    assert (row["low"], row["high"]) == pytest.approx((low, min(1, high)))


def test_repeated_folds_have_the_error_of_nadeau_and_bengio():
    rng = np.random.default_rng(3)
    folds = np.stack([draw_folds(IDS, 5, [1, repeat]) for repeat in range(4)])
    right = rng.integers(0, 2, (4, 60)).astype(np.float64)
    found = fold_estimate(IDS, right, np.ones_like(right), folds, lambda _: found)
    shares = [
        right[repeat][folds[repeat] == fold].mean() for repeat in range(4) for fold in range(5)
    ]
    assert (
        found.value == pytest.approx(np.mean(shares)) == pytest.approx(found.contributions.mean())
    )
    assert np.sum(found.errors**2) == pytest.approx((1 / 20 + 1 / 4) * np.var(shares, ddof=1))
    assert found.df == 19
    error = max(
        np.sqrt((1 / 20 + 1 / 4) * np.var(shares, ddof=1)), right.mean(axis=0).std() / np.sqrt(60)
    )
    assert found.standard_error(found.value) == pytest.approx(error)


def test_a_ratio_of_folds_is_that_of_all_items():
    """R² is of all left-out items together, and its error by a first-order expansion in the folds'
    sums.
    """
    rng = np.random.default_rng(4)
    folds = draw_folds(IDS, 5, 0)[None]
    totals = rng.gamma(2, size=(1, 60))
    gains = totals - rng.gamma(1, size=(1, 60))
    found = fold_estimate(IDS, gains, totals, folds, lambda _: found)
    assert found.value == pytest.approx(gains.sum() / totals.sum())
    sums = [[x[folds == fold].sum() for fold in range(5)] for x in (gains, totals)]
    linear = (np.array(sums[0]) - found.value * np.array(sums[1])) / np.mean(sums[1])
    assert np.sum(found.errors**2) == pytest.approx((1 / 5 + 1 / 4) * np.var(linear, ddof=1))
    wider = fold_estimate(IDS, gains, totals, folds, lambda _: wider, inflation=2.25)
    assert wider.errors == pytest.approx(1.5 * found.errors)
    low, high = stats.t.interval(0.95, 4, found.value, wider.standard_error(found.value))
    assert wider.r2_interval() == pytest.approx((low, min(1, high)))


def test_the_interval_of_r2_is_not_narrower_than_chance_makes_it():
    """Where nothing is predicted, all folds may have an R² of 0."""
    nothing = estimate(np.zeros(60), np.zeros(25), 24)
    assert nothing.r2_interval() == pytest.approx(stats.t.interval(0.95, 24, 0, 2 / 60))
    assert estimate(np.ones(60), np.zeros(25), 24).r2_interval()[1] == 1


seeds = st.integers(0, 2**32 - 1)


@settings(deadline=None, max_examples=50)
@given(seed=seeds)
def test_a_difference_is_students_t_of_the_paired_errors(seed):
    rng = np.random.default_rng(seed)
    first, second = (estimate(rng.normal(size=60), rng.normal(size=50) / 20, 30) for _ in range(2))
    found, mirrored = compare_estimates(first, second), compare_estimates(second, first)
    gap = first.contributions - second.contributions
    error = max(np.linalg.norm(first.errors - second.errors), np.linalg.norm(gap) / 60)
    assert found.value == pytest.approx(gap.mean())
    assert found.p == pytest.approx(2 * stats.t.sf(abs(gap.mean()) / error, 30))
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 30, gap.mean(), error))
    assert (mirrored.p, mirrored.value, mirrored.low) == pytest.approx(
        (found.p, -found.value, -found.high)
    )
    detectable = stats.t.ppf(0.975, 30) + stats.t.ppf(0.8, 30)
    assert found.detectable == pytest.approx(detectable * error)


def test_what_is_the_same_does_not_differ_and_what_always_differs_does():
    same = estimate(np.arange(60.0), np.ones(5))
    found = compare_estimates(same, same)
    assert (found.value, found.low, found.high, found.p, found.detectable) == (0, 0, 0, 1, 0)
    right, wrong = (estimate(np.full(60, value), np.zeros(5)) for value in (1.0, 0.0))
    assert 0 < compare_estimates(right, wrong).p < 1e-6, "as McNemar's test: 60 of 60 items differ"


def test_knn_is_computed_anew_for_the_items_that_two_layers_have():
    """A zero vector of one layer is no neighbour in the other either."""
    rng = np.random.default_rng(1)
    codes = np.arange(40) % 2
    x = rng.normal(size=(40, 3)) + np.eye(2, 3)[codes]
    whole = knn(Arrays(x), labels=labelled(codes), k=3)["scores"]
    kept = np.arange(5, 40)
    some = knn(Arrays(x[5:], ids=kept), labels=labelled(codes).restricted(kept), k=3)["scores"]
    restricted = whole.restricted(kept)
    assert restricted.value == some.value
    assert restricted.errors.tolist() == some.errors.tolist()


@pytest.mark.slow
def test_probes_are_repeated_in_the_same_folds_of_each_layer():
    rng = np.random.default_rng(2)
    codes = np.arange(40) % 2
    x = rng.normal(size=(40, 3)) + np.eye(2, 3)[codes]
    once, twice = (
        probe(Arrays(x), labels=labelled(codes), repeats=r, control=False) for r in (1, 2)
    )
    assert once["accuracy"] != twice["accuracy"]
    found, moved = (probe(Arrays(y), labels=labelled(codes), control=False) for y in (x, x + 3))
    assert compare_estimates(found["scores"], moved["scores"]).p == 1, "standardised in each fold"


def test_the_error_of_items_in_clusters_is_no_smaller_than_that_of_the_clusters():
    hits = np.random.default_rng(0).integers(0, 2, 12).astype(float)
    alone = estimate(hits, np.zeros(5))
    alike = replace(estimate(np.repeat(hits, 5), np.zeros(5)), clusters=np.repeat(np.arange(12), 5))
    assert alike.standard_error(alike.value) == pytest.approx(alone.standard_error(alone.value))
    none = estimate(np.zeros(60), np.zeros(5))
    expected = np.sqrt(5**2 * hits.sum()) / 60  # as McNemar's test, of clusters
    assert 1 < hits.sum() < 11
    t = stats.t.ppf(0.975, 20)
    assert compare_estimates(alike, none).high - hits.mean() == pytest.approx(t * expected)
    assert compare_estimates(none, alike).high + hits.mean() == pytest.approx(t * expected)
