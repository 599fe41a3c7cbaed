"""Differences between layers: against resamples by hand, and what holds where nothing differs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from embstore.metrics.numerics import statistics
from embstore.metrics.numerics.differences import Scores, common_units, compare_resamples, holm

UNITS = np.arange(40)


def counts(n: int, resamples: int, seed: int) -> np.ndarray:
    """How often each unit is in each resample, (resamples, n), as it was drawn."""
    return np.concatenate(
        [statistics._draw_counts(n, *batch).T for batch in statistics._batches(n, resamples, seed)]
    )


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), statistic=st.sampled_from(["mean", "pearson", "spearman"]))
def test_a_statistic_of_a_resample_is_that_of_the_repeated_units(seed, statistic):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=40), rng.integers(0, 12, 40).astype(np.float64)
    gold = None if statistic == "mean" else y
    found = Scores(UNITS, x, statistic, gold).resampled(20, 7)
    drawn = counts(40, 20, 7)
    assert drawn.sum(axis=1).tolist() == [40] * 20
    for value, count in zip(found, drawn, strict=True):
        repeated = np.repeat(UNITS, count.astype(int))
        function = {"mean": None, "pearson": pearsonr, "spearman": spearmanr}[statistic]
        expected = (
            x[repeated].mean() if function is None else function(x[repeated], y[repeated]).statistic
        )
        assert value == pytest.approx(expected, abs=1e-9)


def test_only_common_units_are_compared():
    x = Scores(
        np.array([1, 3, 5, 7]),
        np.array([0.1, np.nan, 0.3, 0.4]),
        "pearson",
        np.array([1.0, 2, 3, np.nan]),
    )
    y = Scores(
        np.array([1, 2, 5, 7]),
        np.array([0.5, 0.6, 0.7, 0.8]),
        "pearson",
        np.array([1.0, 2, 3, 4]),
        0.1,
    )
    first, second = common_units([x, y])
    assert first.units.tolist() == second.units.tolist() == [1, 5]
    assert (first.values.tolist(), second.values.tolist(), second.gold.tolist()) == (
        [0.1, 0.3],
        [0.5, 0.7],
        [1, 3],
    )  # type: ignore[union-attr]


def test_equal_scores_are_equal_whatever_their_rounding():
    """Of few units many resamples differ as the layers do, or not at all; processors round these
    otherwise.
    """
    rng = np.random.default_rng(0)
    right, drawn = rng.integers(0, 2, (4, 12)), counts(12, 500, 1).T
    exact = right.sum(axis=1), right @ drawn  # of 12 units each: integers
    for reference in (0, None):
        expected = compare_resamples(*(value.astype(float) for value in exact), reference)
        rounded = [value / 12 + rng.uniform(-1e-15, 1e-15, value.shape) for value in exact]
        found = compare_resamples(*rounded, reference)
        for layer in range(4):
            assert (found[layer].p, found[layer].best_share) == (
                expected[layer].p,
                expected[layer].best_share,
            )


@pytest.mark.parametrize("reference", [0, None])
def test_without_a_finite_resample_there_are_differences_and_no_test(reference):
    scores = np.array([0.2, 0.5, 0.4])
    resampled = np.array([[np.nan, 0.1], [0.3, np.nan], [0.2, 0.6]])
    found = compare_resamples(scores, resampled, reference)
    target = 0.2 if reference == 0 else 0.5
    assert [each.value for each in found] == pytest.approx(
        [0.2 - target, 0.5 - target, 0.4 - target]
    )
    for each in found:
        assert (each.low, each.high, each.p, each.detectable, each.best_share) == (None,) * 5


def test_holm():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx(
        [0.03, 0.06, 0.06, 0.02]
    )
    assert holm(np.array([0.5, 0.9])).tolist() == [1, 1]
    assert holm(np.empty(0)).tolist() == []
