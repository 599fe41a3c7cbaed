"""Correlations of cosines with scores, and their bootstrap interval, against scipy and plain
loops.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_data import Arrays, pairs_of
from scipy import stats
from scipy.spatial.distance import cosine as cosine_distance

from embstore.metrics.data import Pairs
from embstore.metrics.judgements import similarity
from embstore.metrics.numerics import statistics
from embstore.metrics.numerics.statistics import percentile_interval, resampled_spearman


def made(
    seed: int = 0, n: int = 30, n_pairs: int = 60, offset: float = 0.5
) -> tuple[np.ndarray, Pairs]:
    """Vectors, and pairs of different ones with scores of one decimal, some of which are equal."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(n, 6)) + offset).astype(np.float32)
    left = rng.integers(0, n, n_pairs)
    right = (left + rng.integers(1, n, n_pairs)) % n
    return x, pairs_of(left, right, np.round(rng.uniform(0, 4, n_pairs), 1))


def cosines(x: np.ndarray, pairs: Pairs) -> np.ndarray:
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
        found = similarity(Arrays(x[:7], x[7:]), pairs=pairs, resamples=0)
        right = cosines(x, pairs)
        assert found["spearman"] == pytest.approx(
            stats.spearmanr(right, pairs.score).statistic, abs=1e-9
        )
        assert found["pearson"] == pytest.approx(
            stats.pearsonr(right, pairs.score).statistic, abs=1e-9
        )
        assert (found["n"], found["total"], found["coverage"], found["n_zero"]) == (60, 60, 1.0, 0)


def resampled(x: np.ndarray, y: np.ndarray, resamples: int, seed: int) -> list[float]:
    """Rho of each resample by scipy, of those that have one, from the same draws."""
    size = max(1, statistics._BATCH_VALUES // len(x))
    found = []
    for number, start in enumerate(range(0, resamples, size)):
        rng = np.random.default_rng([seed, number])
        for drawn in (rng.integers(0, len(x), len(x)) for _ in range(min(size, resamples - start))):
            if np.ptp(x[drawn]) and np.ptp(y[drawn]):
                found.append(float(stats.spearmanr(x[drawn], y[drawn]).statistic))
    return found


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 1000),
    n=st.integers(2, 40),
    x_values=st.sampled_from(
        [2, 3, 7, 10_000]
    ),  # few values: many ties, and resamples without a rho
    y_values=st.sampled_from([2, 5, 10_000]),
    block=st.sampled_from([1, 300, 1 << 22]),
)
def test_the_interval_is_that_of_resamples_ranked_one_by_one(seed, n, x_values, y_values, block):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, x_values, n) / 7, rng.integers(0, y_values, n) / 3
    if not (np.ptp(x) and np.ptp(y)):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "_BATCH_VALUES", block)
        found = percentile_interval(resampled_spearman(x, y, 40, seed))
        right = resampled(x, y, 40, seed)
    assert found == pytest.approx(
        np.quantile(right, [0.025, 0.975]) if right else (None, None), abs=1e-12
    )


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
    found = similarity(data, pairs=pairs, resamples=0)
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
    assert similarity(Arrays(x), pairs=pairs, resamples=0)["spearman"] == pytest.approx(
        1, abs=1e-12
    )
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert len({*np.einsum("nd,nd->n", units[:200], units[200:]).tolist()}) < 150, (
        "float32 is enough here"
    )
