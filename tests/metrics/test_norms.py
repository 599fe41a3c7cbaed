"""Norms and the shares of the largest components, against numpy in float64."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from metric_data import Arrays
from scipy.stats import ortho_group

from embstore.metrics.geometry import norms

matrices = st.tuples(st.integers(1, 8), st.integers(1, 6)).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=st.floats(-100, 100, width=16))
)


def share(x, top):
    """Of the largest components by their own order: each vector sorted, its last ``top`` taken."""
    largest = np.sort(x.astype(np.float64), axis=1)[:, x.shape[1] - top :]
    return float(np.linalg.norm(largest, axis=1).mean())


@given(matrices, st.data())
def test_norms_are_numpys(x, data):
    cut, top = data.draw(st.integers(0, len(x))), data.draw(st.integers(1, x.shape[1]))
    found = norms(Arrays(x[:cut], x[cut:]), top=top)
    lengths = np.linalg.norm(x.astype(np.float64), axis=1)
    assert found["mean"] == pytest.approx(lengths.mean(), rel=1e-12)
    assert found["std"] == pytest.approx(lengths.std(), rel=1e-9, abs=1e-15 * lengths.mean())
    assert (found["min"], found["max"]) == pytest.approx((lengths.min(), lengths.max()), rel=1e-12)
    assert (found["n"], found["n_zero"]) == (len(x), int((lengths == 0).sum()))
    if lengths.any():
        assert found["top_share"] == pytest.approx(share(x, top) / lengths.mean(), abs=1e-9)
        assert found["top_share_abs"] == pytest.approx(
            share(np.abs(x), top) / lengths.mean(), abs=1e-9
        )
    else:
        assert (found["top_share"], found["reason"]) == (None, "shares: all vectors are zero")


@pytest.mark.parametrize("spread", [1e-4, 0.1, 9.9, 10.1, 100])
@pytest.mark.parametrize("top", [0, 2])
def test_the_spread_of_norms_survives_a_large_mean(spread, top):
    """Norms of 1000 and a little, which is all that differs: on both sides of where the vectors are
    read.
    """
    x = np.zeros((1000, 4), np.float32)
    x[:, 0] = 1000 + spread * np.random.default_rng(0).normal(size=1000)
    exact = [Fraction(float(value)) for value in x[:, 0]]
    mean = sum(exact) / 1000
    variance = float(sum((value - mean) ** 2 for value in exact) / 1000)
    found = norms(Arrays(x[:300], x[300:]), top=top)
    assert found["std"] == pytest.approx(variance**0.5, rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("kind", ["equal", "the same components in another order", "turned"])
def test_equal_norms_have_no_spread(kind, dtype):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = np.repeat(rng.normal(size=(1, 7)).astype(dtype).astype(np.float64) * 0.1, 300, axis=0)
        if kind != "equal":
            x = rng.permuted(x, axis=1)
        if kind == "turned":
            x = x @ ortho_group.rvs(7, random_state=seed)
        data = Arrays(x[:100], x[100:])
        assert (norms(data, top=0)["std"], data.n_reads) == (0, 0)


@pytest.mark.parametrize(("top", "reason"), [(0, "not asked for"), (6, "6 components of 5")])
def test_shares_that_cannot_be_are_null_and_the_norms_stay(top, reason):
    data = Arrays(np.ones((3, 5), np.float32))
    found = norms(data, top=top)
    assert (found["top_share"], found["top_share_abs"]) == (None, None)
    assert reason in found["reason"]
    assert found["mean"] == pytest.approx(5**0.5)
    assert data.n_reads == 0
