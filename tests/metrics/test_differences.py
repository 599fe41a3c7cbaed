"""Differences between layers of the same units, against scipy and plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_rel

from embstore.metrics.declaration import NotComputable
from embstore.metrics.numerics.estimates import common_units, compare_estimates
from embstore.metrics.numerics.statistics import holm
from embstore.metrics.numerics.units import Correlation, mean_of

UNITS = np.arange(40)


def correlation(x, y, kind, units=UNITS):
    return Correlation(units, x, y, kind, np.zeros(len(x)), ("units", "the values", "the scores"))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(10, 60))
def test_means_have_the_interval_of_t_and_their_differences_the_paired_t_test(seed, n):
    x, y = np.random.default_rng(seed).normal(size=(2, n))
    first, second = (mean_of(np.arange(n), values) for values in (x, y))
    assert first.interval() == pytest.approx([*ttest_1samp(x, 0).confidence_interval()])
    found, right = compare_estimates(first, second), ttest_rel(x, y)
    assert found.p == pytest.approx(right.pvalue)
    assert (found.low, found.high) == pytest.approx([*right.confidence_interval()])


def test_a_difference_of_shares_has_no_less_than_the_error_of_mcnemar():
    """Of 25 questions, four are answered rightly in one layer alone: by the exact test p = .125."""
    first, second = np.zeros((2, 25))
    first[:4] = 1
    found = compare_estimates(
        *(mean_of(np.arange(25), each, are_shares=True) for each in (first, second))
    )
    assert ttest_rel(first, second).pvalue < 0.05 < found.p


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_limits_of_differing_correlations_exclude_0_exactly_if_p_is_small(kind):
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(200):
        gold = rng.normal(size=40)
        layers = [gold * strength + rng.normal(size=40) for strength in (0.5, 1.5)]
        first, second = (correlation(x, gold, kind) for x in layers)
        found = compare_estimates(first.estimate(), second.estimate())
        assert found.value == pytest.approx(first.value - second.value)
        assert found.low < found.value < found.high
        assert (found.low > 0 or found.high < 0) == (found.p < 0.05)
        p_values.append(found.p)
    assert min(p_values) < 0.05 < max(p_values)


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_only_common_units_are_compared(kind):
    rng = np.random.default_rng(1)
    x, y, gold = rng.normal(size=(3, 40))
    odd, late = UNITS[1::2], UNITS[10:]
    first, second = common_units(
        [
            correlation(x[odd], gold[odd], kind, odd).estimate(),
            correlation(y[late], gold[late], kind, late).estimate(),
        ]
    )
    both = UNITS[11::2]
    for values, found in ((x, first), (y, second)):
        right = correlation(values[both], gold[both], kind, both).estimate()
        assert found.units.tolist() == both.tolist()
        assert (found.value, found.errors.tolist()) == (right.value, right.errors.tolist())
    constant = correlation(x, np.r_[0.0, np.ones(39)], kind).estimate()
    with pytest.raises(NotComputable, match="the scores are all equal"):
        constant.restricted(late)


def test_layers_that_are_equal_up_to_rounding_do_not_differ():
    x = np.random.default_rng(2).normal(size=40)
    found = compare_estimates(mean_of(UNITS, x), mean_of(UNITS, x + 1e-16))
    assert (found.p, found.detectable) == (1, 0)


def test_pearson_of_one_unit_that_has_all_spread():
    x = np.eye(40)[0]
    found = correlation(x, x + np.random.default_rng(3).normal(size=40) / 9, "pearson").estimate()
    assert np.isfinite(found.errors).all()


def test_holm():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx(
        [0.03, 0.06, 0.06, 0.02]
    )
    assert holm(np.array([0.5, 0.9])).tolist() == [1, 1]
    assert holm(np.empty(0)).tolist() == []
