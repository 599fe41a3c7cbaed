"""Intrinsic dimension: TwoNN by its definition, others by published values, on shapes of known
dimension.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_data import Arrays, seeds
from scipy.spatial.distance import cdist

from embstore.metrics.neighbourhood import TOO_EQUAL, gride, intrinsic_dimension, levina_bickel


def twonn(x, **options):
    """The dimension by least squares, by maximum likelihood, and unbiased."""
    data = Arrays(x[: len(x) // 2], x[len(x) // 2 :])
    [likelihood] = intrinsic_dimension(data, estimator="mle", neighbours=2)
    [unbiased] = intrinsic_dimension(data, estimator="gride", neighbours=2)
    rows = [intrinsic_dimension(data, **options), likelihood, unbiased]
    return [row["dimension"] for row in rows]


def ratios(x):
    """r₂/r₁ of each different row, ascending, by sorting all of its distances."""
    wide = np.unique(x.astype(np.float64), axis=0)
    found = []
    for row in wide:
        distances = sorted(math.dist(row, other) for other in wide)
        found.append(distances[2] / distances[1])
    return sorted(found)


def defined(x, n_kept=None):
    mu = ratios(x)
    n = len(mu)
    n_kept = math.floor(0.9 * n) if n_kept is None else n_kept
    points = [(math.log(mu[i - 1]), -math.log(1 - i / n)) for i in range(1, n_kept + 1)]
    slope = sum(a * b for a, b in points) / sum(a * a for a, _ in points)
    total = sum(math.log(value) for value in mu)
    return slope, n / total, (n - 1) / total


@st.composite
def clouds(draw):
    rng = np.random.default_rng(draw(seeds))
    x = rng.normal(size=(draw(st.integers(3, 60)), draw(st.integers(2, 12)))) + draw(
        st.sampled_from([0.0, 10.0])
    )
    x *= draw(st.sampled_from([1e-6, 1.0, 1e6]))
    x = np.concatenate([x, x[rng.integers(0, len(x), draw(st.integers(0, 10)))]])
    return rng.permutation(x.astype(draw(st.sampled_from([np.float32, np.float64]))))


@settings(deadline=None, max_examples=60)
@given(clouds())
def test_both_estimators_are_their_definitions(x):
    found = intrinsic_dimension(Arrays(x[: len(x) // 2], x[len(x) // 2 :]))
    assert twonn(x) == pytest.approx(defined(x), rel=1e-7)
    n = len(np.unique(x, axis=0))
    assert (found["n"], found["n_duplicates"], found["reason"]) == (n, len(x) - n, None)


def test_duplicates_change_nothing_but_their_count():
    x = np.random.default_rng(1).normal(size=(40, 5))
    found = intrinsic_dimension(Arrays(x, x[:7], x[:7]))
    assert found == intrinsic_dimension(Arrays(x)) | {"n_duplicates": 14}


@pytest.mark.parametrize(
    ("n", "discard", "n_kept"), [(10, 0.3, 7), (40, 0.1, 36), (12, 0.1, 10), (40, 0.0, 39)]
)
def test_least_squares_leaves_out_the_largest(n, discard, n_kept):
    x = np.random.default_rng(5).normal(size=(n, 4))
    assert twonn(x, discard=discard) == pytest.approx(defined(x, n_kept), rel=1e-9)


def test_least_squares_alone_may_have_none():
    """Nine corners of a simplex are equally far from each other; only a point beside one of them
    has a ratio.
    """
    x = np.concatenate([np.eye(20), [np.eye(20)[0] * 1.5]])
    found = intrinsic_dimension(Arrays(x), discard=0.9)
    assert (found["dimension"], found["reason"]) == (None, TOO_EQUAL)
    [likelihood] = intrinsic_dimension(Arrays(x), estimator="mle", neighbours=2)
    assert likelihood["dimension"] > 0


def nearest(x, k):
    return np.sort(cdist(x, x), axis=1)[:, 1 : k + 1]


def test_the_likelihood_is_highest_there():
    """The log density of each ratio, summed, against the dimension, with n instead of n − 1."""
    rng = np.random.default_rng(0)
    distances = nearest(rng.normal(size=(400, 3)), 16)
    for scale in gride(distances):
        n_2, n_1 = scale["scale"], scale["scale"] // 2
        logs = np.log(distances[:, n_2 - 1] / distances[:, n_1 - 1])

        def likelihood(d, logs=logs, a=n_2 - n_1 - 1, b=n_2 - 1):
            return float((np.log(d) + a * np.log(np.expm1(d * logs)) - (b * d + 1) * logs).sum())

        grid = np.linspace(1, 6, 5001)
        best = grid[np.argmax([likelihood(d) for d in grid])]
        assert scale["dimension"] == pytest.approx(best, rel=0.006)
        step = 1e-3
        curvature = (
            -(likelihood(best + step) - 2 * likelihood(best) + likelihood(best - step)) / step**2
        )
        assert scale["standard_error"] == pytest.approx(1 / np.sqrt(curvature), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_a_uniform_torus_has_its_dimension_at_each_scale(dim):
    """Without an edge, by distances around the circle: within four standard errors, at every
    scale.
    """
    x = np.random.default_rng(dim).random((1500, dim))
    apart = np.abs(x[:, None] - x[None])
    distances = np.sort(np.sqrt((np.minimum(apart, 1 - apart) ** 2).sum(axis=2)), axis=1)[:, 1:33]
    for scale in gride(distances):
        assert scale["standard_error"] is not None
        assert scale["dimension"] == pytest.approx(
            dim, abs=4 * np.sqrt(scale["scale"]) * scale["standard_error"]
        )
    mean = 1 / (1 / levina_bickel(distances)).mean()
    assert mean == pytest.approx(dim * 30 / 31, rel=0.05)


def test_the_first_scale_is_the_unbiased_twonn_and_duplicates_count_once():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(100, 4))
    twice = np.concatenate([x, x[:30]])
    first, *others = intrinsic_dimension(Arrays(twice), estimator="gride")
    assert first["dimension"] == pytest.approx(defined(twice)[2])
    assert (first["n"], first["n_duplicates"], first["scale"]) == (100, 30, 2)
    assert [row["scale"] for row in others] == [4, 8, 16, 32, 64]
    [row] = intrinsic_dimension(Arrays(twice), estimator="mle")
    assert row["dimension"] == pytest.approx(1 / (1 / levina_bickel(nearest(x, 20))).mean())
    assert 0 < row["standard_error"] < 1
