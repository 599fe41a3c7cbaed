"""Dimension over scales, by GRIDE and Levina & Bickel: published values, known dimensions, and the unbiased TwoNN."""

import numpy as np
import pytest
from metric_data import Arrays
from scipy.spatial.distance import cdist

from embstore.metrics.neighbourhood import _maximise, gride, intrinsic_dimension, levina_bickel


def nearest(x: np.ndarray, k: int) -> np.ndarray:
    return np.sort(cdist(x, x), axis=1)[:, 1 : k + 1]


def test_the_root_of_the_likelihood():
    """Computed by hand from the score."""
    assert _maximise(np.log([1.2, 1.35, 1.5, 1.15, 1.28]), 1, 3) == pytest.approx(2.904630, abs=1e-6)
    assert _maximise(np.log([1.1, 1.3, 1.25, 2, 1.05]), 0, 1) == pytest.approx(3.023991, abs=1e-6)
    assert levina_bickel(np.array([[1, 1.5, 1.8, 2.2, 2.5]]))[0] == pytest.approx(2.123758, abs=1e-6)


def test_the_likelihood_is_highest_there():
    """The log density of each ratio, summed, against the dimension, with n instead of n − 1."""
    rng = np.random.default_rng(0)
    distances = nearest(rng.normal(size=(400, 3)), 16)
    for scale in gride(distances):
        n_2, n_1 = scale.neighbour, scale.neighbour // 2
        logs = np.log(distances[:, n_2 - 1] / distances[:, n_1 - 1])

        def likelihood(d: float, logs: np.ndarray = logs, a: int = n_2 - n_1 - 1, b: int = n_2 - 1) -> float:
            return float((np.log(d) + a * np.log(np.expm1(d * logs)) - (b * d + 1) * logs).sum())

        grid = np.linspace(1, 6, 5001)
        best = grid[np.argmax([likelihood(d) for d in grid])]
        assert scale.dimension == pytest.approx(best, rel=0.006)
        step = 1e-3
        curvature = -(likelihood(best + step) - 2 * likelihood(best) + likelihood(best - step)) / step**2
        assert scale.standard_error == pytest.approx(1 / np.sqrt(curvature), rel=0.02)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_a_uniform_torus_has_its_dimension_at_each_scale(dim):
    """Without an edge, by distances around the circle: within four standard errors, at every scale."""
    x = np.random.default_rng(dim).random((1500, dim))
    apart = np.abs(x[:, None] - x[None])
    distances = np.sort(np.sqrt((np.minimum(apart, 1 - apart) ** 2).sum(axis=2)), axis=1)[:, 1:33]
    for scale in gride(distances):
        assert scale.standard_error is not None
        assert scale.dimension == pytest.approx(dim, abs=4 * np.sqrt(scale.neighbour) * scale.standard_error)
    mean = 1 / (1 / levina_bickel(distances)).mean()
    assert mean == pytest.approx(dim * 30 / 31, rel=0.05)


def test_the_first_scale_is_the_unbiased_twonn_and_duplicates_count_once():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(100, 4))
    twice = np.concatenate([x, x[:30]])
    first, *others = intrinsic_dimension(Arrays(twice), estimator="gride")
    twonn = intrinsic_dimension(Arrays(twice))
    assert first["dimension"] == pytest.approx(twonn["twonn_mle_unbiased"])  # type: ignore[call-overload,index]
    assert (first["n"], first["n_duplicates"], first["scale"]) == (100, 30, 2)
    assert [row["scale"] for row in others] == [4, 8, 16, 32, 64]
    [row] = intrinsic_dimension(Arrays(twice), estimator="mle")
    assert row["dimension"] == pytest.approx(1 / (1 / levina_bickel(nearest(x, 20))).mean())
    assert 0 < row["standard_error"] < 1  # type: ignore[operator]


def test_points_that_are_equally_far_have_none():
    rows = intrinsic_dimension(Arrays(np.eye(8)), estimator="gride")
    assert [row["dimension"] for row in rows] == [None, None]
    assert {row["reason"] for row in rows} == {"dimension: the two nearest neighbours are equally far, everywhere"}
    [row] = intrinsic_dimension(Arrays(np.eye(8)), estimator="mle")
    assert row["dimension"] is None


def test_a_store_has_a_row_for_each_scale(make_store):
    store = make_store(n=50, n_blocks=1, top_form=None).store
    table = store.query("intrinsic-dimension", estimator="gride", neighbours=8)
    assert [(row["layer"], row["scale"]) for row in table.rows] == [(layer, k) for layer in (0, 1) for k in (2, 4, 8)]
    assert store.query("intrinsic-dimension", estimator="gride", neighbours=8).rows == table.rows
    assert "scale" not in store.query("intrinsic-dimension").columns
