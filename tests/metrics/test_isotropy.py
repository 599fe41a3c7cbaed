"""IsoScore, the partition function, effective dimensions and the spectrum against their
definitions.
"""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_data import Arrays, centred, clouds, split
from scipy.special import logsumexp
from scipy.stats import entropy

from embstore.metrics.isotropy import (
    effective_rank,
    isoscore,
    participation_ratio,
    partition,
    spectrum,
)
from embstore.metrics.numerics.linear_algebra import moments


def isoscore_by_definition(covariance):
    """Algorithm 1 of Rudman et al. (2022), step by step, from singular values."""
    d = len(covariance)
    values = np.linalg.svd(covariance, compute_uv=False)
    normalised = np.sqrt(d) * values / np.linalg.norm(values)
    defect = np.linalg.norm(normalised - np.ones(d)) / np.sqrt(2 * (d - np.sqrt(d)))
    return ((d - defect**2 * (d - np.sqrt(d))) ** 2 - d) / (d * (d - 1))


@settings(deadline=None)
@given(clouds(), st.sampled_from([0.0, 0.2, 1.0]), st.data())
def test_isoscore_is_its_definition_by_singular_values(x, zeta, data):
    covariance = np.cov(x.astype(np.float64), rowvar=False)
    wanted = isoscore_by_definition((1 - zeta) * covariance + zeta * np.eye(x.shape[1]))
    found = isoscore(split(x, data), zeta=zeta)
    assert found["isoscore"] == pytest.approx(wanted, abs=1e-9, rel=0)
    assert (found["n"], found["reason"]) == (len(x), None)
    assert 0 <= found["isoscore"] <= 1


def test_a_large_mean_costs_no_digits():
    x = np.random.default_rng(0).normal(size=(300, 50)) + 1e6
    wanted = isoscore_by_definition(np.cov(x - 1e6, rowvar=False))
    assert isoscore(Arrays(x[:100], x[100:]))["isoscore"] == pytest.approx(wanted, abs=1e-9)


def plain_partition(x):
    """Every direction and both signs in a loop; the directions by the singular values of the matrix
    itself.
    """
    wide = x.astype(np.float64)
    _, values, directions = np.linalg.svd(wide, full_matrices=True)
    values = np.concatenate([values, np.zeros(x.shape[1] - len(values))])
    logs = [logsumexp([sign * (w @ c) for w in wide]) for c in directions for sign in (1, -1)]
    n, size = len(x), np.linalg.norm(wide.sum(axis=0))
    second = (n - size + values[-1] ** 2 / 2) / (n + size + values[0] ** 2 / 2)
    return min(logs) - max(logs), (n - size) / (n + size), second


@settings(deadline=None)
@given(clouds(min_dim=1), st.data())
@pytest.mark.slow
def test_partition_is_the_loop_over_directions(x, data):
    found = partition(split(x, data))
    log_ratio, first, second = plain_partition(x)
    assert found["log_partition"] == pytest.approx(log_ratio, abs=1e-9 * max(1, abs(log_ratio)))
    assert found["partition"] == pytest.approx(np.exp(log_ratio), abs=1e-9)
    assert found["first_order"] == pytest.approx(first, abs=1e-9)
    assert found["second_order"] == pytest.approx(second, abs=1e-9)
    assert found["n"] == len(x)


def test_partition_of_long_vectors_has_a_logarithm():
    """exp(c·w) is past float64 here: GPT-2's norms are in the thousands."""
    x = np.random.default_rng(1).normal(size=(50, 8)) * 100 + 1000
    found = partition(Arrays(x))
    assert found["log_partition"] == pytest.approx(plain_partition(x)[0], rel=1e-9)
    assert found["log_partition"] < -1000
    assert found["partition"] == 0


@settings(deadline=None)
@given(clouds(min_dim=1), st.data())
def test_moments_are_numpys(x, data):
    found = moments(split(x, data))
    wide = x.astype(np.float64)
    scale = np.abs(wide).max() ** 2 * len(x)
    np.testing.assert_allclose(found.mean, wide.mean(axis=0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.scatter, centred(x).T @ centred(x), rtol=0, atol=1e-13 * scale)
    np.testing.assert_allclose(found.uncentred, wide.T @ wide, rtol=0, atol=1e-13 * scale)
    assert found.square_total == pytest.approx((wide**2).sum(), rel=1e-12)


VARIANTS = ("uncentred", "centred", "eigenvalues", "rankme")


def singular_values(x):
    return np.linalg.svd(x.astype(np.float64), compute_uv=False)


def plain_rank(x, variant):
    values = singular_values(centred(x) if variant in ("centred", "eigenvalues") else x)
    if variant == "eigenvalues":
        values = values**2
    if variant == "rankme":
        shares = values / np.abs(values).sum() + 1e-7
        return float(np.exp(-sum(p * np.log(p) for p in shares)))
    return float(np.exp(entropy(values)))


@settings(deadline=None)
@given(clouds(min_dim=1), st.sampled_from(VARIANTS), st.data())
def test_effective_rank_is_the_entropy_of_the_singular_values(x, variant, data):
    found = effective_rank(split(x, data), variant=variant)
    assert found["effective_rank"] == pytest.approx(plain_rank(x, variant), rel=1e-9)
    assert (found["n"], found["reason"]) == (len(x), None)
    assert found["effective_rank"] >= (1 if variant != "rankme" else 1 - 2e-7)


@settings(deadline=None)
@given(clouds(min_dim=1), st.data())
def test_participation_ratio_is_that_of_the_eigenvalues(x, data):
    values = singular_values(centred(x)) ** 2
    found = participation_ratio(split(x, data))
    assert found["participation_ratio"] == pytest.approx(
        values.sum() ** 2 / (values**2).sum(), rel=1e-9
    )
    assert 1 <= found["participation_ratio"] <= min(x.shape[1], len(x) - 1) + 1e-9


@settings(deadline=None)
@given(clouds(min_dim=1), st.integers(1, 50), st.booleans(), st.data())
def test_spectrum_is_the_squared_singular_values(x, k, middle, data):
    values = singular_values(centred(x) if middle else x) ** 2
    found = spectrum(split(x, data), k=k, variant="centred" if middle else "uncentred")
    shares = values / values.sum()
    assert found["shares"] == pytest.approx(shares[:k], abs=1e-9)
    assert found["top_share"] == pytest.approx(shares[:k].sum(), abs=1e-9)
    divisor = len(x) - 1 if middle else len(x)
    assert found["variances"] == pytest.approx(values[:k] / divisor, rel=1e-9, abs=1e-9 * values[0])
    assert found["shares"] == sorted(found["shares"], reverse=True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_dimensions_without_variance_add_nothing(variant):
    """From second moments their singular values come as sqrt(eps), which would add 1e-4 and more to
    the entropy.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 100))  # rank 4 in 100 dimensions
    assert effective_rank(Arrays(x), variant=variant)["effective_rank"] == pytest.approx(
        plain_rank(x, variant), rel=1e-9
    )
    few = rng.normal(size=(7, 300)) + 2
    assert effective_rank(Arrays(few), variant=variant)["effective_rank"] == pytest.approx(
        plain_rank(few, variant), rel=1e-9
    )


@pytest.mark.parametrize(("n", "dim"), [(6, 3), (6, 9), (7, 7), (4, 2)])
def test_the_population_ratio_is_of_unbiased_estimates(n, dim):
    """Both are means over all four different items: of (½‖x₁ − x₂‖²)(½‖x₃ − x₄‖²), whose
    expectation is tr(Σ)², and of ¼((x₁ − x₂)·(x₃ − x₄))², whose expectation is tr(Σ²).
    """
    x = np.random.default_rng(n + dim).gamma(2, size=(n, dim)) * np.arange(1, dim + 1)
    traces, squares = [], []
    for a, b, c, d in permutations(range(n), 4):
        first, second = x[a] - x[b], x[c] - x[d]
        traces.append((first @ first) * (second @ second) / 4)
        squares.append((first @ second) ** 2 / 4)
    wanted = np.mean(traces) / np.mean(squares)
    found = participation_ratio(Arrays(x[: n // 2], x[n // 2 :]))
    assert found["population"] == pytest.approx(wanted, rel=1e-9)


def test_the_population_ratio_does_not_grow_with_n():
    """In 300 samples of 30 items from a covariance of 40 dimensions, with a ratio of 37."""
    variances = np.linspace(0.5, 1.5, 40)
    rng = np.random.default_rng(0)
    rows = [
        participation_ratio(Arrays(rng.normal(size=(30, 40)) * np.sqrt(variances)))
        for _ in range(300)
    ]
    plain, population = (
        np.array([row[name] for row in rows]) for name in ("participation_ratio", "population")
    )
    true = variances.sum() ** 2 / (variances**2).sum()
    assert np.median(population) == pytest.approx(true, rel=0.06)
    assert plain.mean() < 0.5 * true


@pytest.mark.parametrize("n", [2, 3])
def test_too_few_items_have_no_population_ratio(n):
    found = participation_ratio(Arrays(np.eye(n, 4)))
    assert found["population"] is None
    assert found["participation_ratio"] >= 1
    assert found["reason"] == "population: too few items to estimate it"
