"""Correlations of cosines with scores, and their interval, against scipy and plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_data import Arrays, pairs_of
from scipy import stats
from scipy.spatial.distance import cosine as cosine_distance

from embstore.metrics.judgements import similarity
from embstore.metrics.numerics.units import Correlation


def made(seed=0, n=30, n_pairs=60, offset=0.5):
    """Vectors, and pairs of different ones with scores of one decimal, some of which are equal."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(n, 6)) + offset).astype(np.float32)
    left = rng.integers(0, n, n_pairs)
    right = (left + rng.integers(1, n, n_pairs)) % n
    return x, pairs_of(left, right, np.round(rng.uniform(0, 4, n_pairs), 1))


def cosines(x, pairs):
    """Pair by pair, by scipy, in float64."""
    wide = x.astype(np.float64)
    return np.array(
        [
            1 - cosine_distance(wide[a], wide[b])
            for a, b in zip(pairs.left, pairs.right, strict=True)
        ]
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("offset", [0, 1, 30])  # mean cosines of 0 to .999
def test_the_correlations_are_scipys(dtype, offset):
    for seed in range(8):
        x, pairs = made(seed, offset=offset)
        x = x.astype(dtype).astype(np.float32)
        found = similarity(Arrays(x[:7], x[7:]), pairs=pairs)
        right = cosines(x, pairs)
        assert found["spearman"] == pytest.approx(
            stats.spearmanr(right, pairs.score).statistic, abs=1e-9
        )
        assert found["pearson"] == pytest.approx(
            stats.pearsonr(right, pairs.score).statistic, abs=1e-9
        )
        assert (found["n"], found["total"], found["coverage"], found["n_zero"]) == (60, 60, 1.0, 0)


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 1000),
    values=st.sampled_from([3, 7, 10_000]),  # few values: many ties
    scores=st.sampled_from([3, 5, 10_000]),
)
def test_the_error_of_spearman_is_that_of_weights_of_the_pairs(seed, values, scores):
    """What a pair adds is the derivative of Fisher's z by its weight: here that of weighted ranks,
    computed plainly.
    """
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, values, 30) / 7, rng.integers(0, scores, 30) / 3

    def z(weights):
        ranks = [
            (weights * ((value[:, None] > value) + (value[:, None] == value) / 2)).sum(axis=1)
            for value in (x, y)
        ]
        left, right = (rank - weights @ rank for rank in ranks)
        covariance, spread = weights @ (left * right), (weights @ left**2) * (weights @ right**2)
        return float(np.arctanh(covariance / np.sqrt(spread)))

    equal, step = np.full(30, 1 / 30), 1e-5
    towards = [(1 - step) * equal + step * np.eye(30)[pair] for pair in range(30)]
    added = np.array([(z(weights) - z(equal)) / step for weights in towards])
    estimate = Correlation(np.arange(30), x, y, "spearman", np.zeros(30), ("", "", "")).estimate()
    assert estimate.value == pytest.approx(np.arctanh(stats.spearmanr(x, y).statistic))
    assert estimate.errors == pytest.approx(added / np.sqrt(30 * 29), abs=1e-4)
    half = stats.t.ppf(0.975, 29) * np.sqrt((added @ added) / (30 * 29))
    limits = np.tanh(estimate.value + half * np.array([-1, 1]))
    assert estimate.interval() == pytest.approx(limits, abs=1e-3)


@pytest.mark.parametrize(
    ("n", "reason"),
    [(9, "interval: fewer than 10 pairs"), (10, "interval: the correlation is 1 or -1")],
)
def test_without_an_interval_there_is_a_reason(n, reason):
    x, pairs = made(n_pairs=n)
    pairs.score[:] = -cosines(x, pairs) if n == 10 else pairs.score
    found = similarity(Arrays(x), pairs=pairs)
    assert (found["low"], found["high"], found["reason"]) == (None, None, reason)
    assert found["spearman"] is not None


@pytest.mark.parametrize("there", [range(25), [3, 9, 17, 28], [5], []])
def test_pairs_without_a_vector_are_counted_and_left_out(there):
    x, pairs = made(n_pairs=200)
    there = np.array(there, np.int64)
    kept = np.isin(pairs.left, there) & np.isin(pairs.right, there)
    found = similarity(Arrays(x[there], ids=there), pairs=pairs)
    assert (found["n"], found["total"], found["coverage"]) == (kept.sum(), 200, kept.mean())
    if kept.sum() > 2:
        right = stats.spearmanr(cosines(x, pairs)[kept], pairs.score[kept]).statistic
        assert found["spearman"] == pytest.approx(right, abs=1e-9)
    else:
        assert (found["spearman"], found["reason"]) == (
            None,
            "fewer than two pairs with a cosine and a score",
        )
    refused = similarity(Arrays(x[there], ids=there), pairs=pairs, missing="error")
    assert {refused[name] for name in ("spearman", "pearson", "low", "high")} == {None}
    assert (
        refused["reason"]
        == f"{200 - kept.sum()} of 200 pairs have no cosine or no score (missing: error)"
    )
    assert refused["n"] == kept.sum()


def test_pairs_without_a_score_are_left_out_and_counted():
    x, pairs = made()
    pairs.score[:5] = np.nan
    found = similarity(Arrays(x), pairs=pairs)
    assert found["spearman"] == pytest.approx(
        stats.spearmanr(cosines(x, pairs)[5:], pairs.score[5:]).statistic, abs=1e-9
    )
    assert (found["n"], found["total"]) == (55, 60)


def test_pairs_of_equal_vectors_share_a_rank():
    """Their cosines are 1 exactly, and not 1 but for rounding, which would rank them by chance."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 7)).astype(np.float32)
    data = Arrays(np.concatenate([x, x]))
    same = np.arange(50)
    pairs = pairs_of(
        np.concatenate([same, same[:49]]),
        np.concatenate([same + 50, same[1:]]),
        rng.permutation(99),
    )
    right = cosines(np.concatenate([x, x]), pairs)
    right[:50] = 1
    found = similarity(data, pairs=pairs)
    assert found["spearman"] == pytest.approx(
        stats.spearmanr(right, pairs.score).statistic, abs=1e-12
    )


def test_cosines_near_one_keep_their_order():
    """Of vectors like those of GPT-2's top layers: cosines of 1 - 1e-6, which float32 could not
    tell apart.
    """
    rng = np.random.default_rng(0)
    x = (10 + 0.01 * rng.normal(size=(400, 64))).astype(np.float32)
    pairs = pairs_of(np.arange(200), np.arange(200, 400), np.zeros(200))
    right = cosines(x, pairs)
    pairs.score[:] = right.argsort().argsort()
    assert similarity(Arrays(x), pairs=pairs)["spearman"] == pytest.approx(1, abs=1e-12)
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert len({*np.einsum("nd,nd->n", units[:200], units[200:]).tolist()}) < 150, (
        "float32 is enough here"
    )
