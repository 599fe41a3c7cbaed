"""The mean cosine against every pair, what leaves it unchanged, and what has none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_data import Arrays, centred, mean_cosine, seeds, split
from scipy.spatial.distance import pdist
from scipy.stats import ortho_group

from embstore.metrics.geometry import anisotropy, rogue_dims


@st.composite
def clouds(draw, min_dim=1):
    """Gaussian clouds with mean cosines from about 0 to .9999, over many scales; never a zero
    vector.
    """
    rng = np.random.default_rng(draw(seeds))
    n, dim = draw(st.integers(2, 30)), draw(st.integers(min_dim, 40))
    offset = draw(st.sampled_from([0.0, 0.3, 1.0, 3.0, 10.0, 100.0]))
    scale = draw(st.sampled_from([1e-3, 1.0, 1e3]))
    x = scale * (rng.normal(size=(n, dim)) + offset)
    return x.astype(draw(st.sampled_from([np.float32, np.float64])))


@given(clouds(), st.data(), st.sampled_from(["raw", "centred"]))
def test_the_mean_and_the_spread_are_those_of_all_pairs(x, data, variant):
    blocks = split(x, data)
    found = anisotropy(blocks, variant=variant, std=True)
    y = centred(x) if variant == "centred" else x.astype(np.float64)
    if variant == "raw" or found["n"] == len(x):
        assert found["anisotropy"] == pytest.approx(mean_cosine(y), abs=1e-9, rel=0)
        assert found["std"] == pytest.approx(np.std(1 - pdist(y, "cosine")), abs=1e-9, rel=0)
        assert (found["n"], found["n_zero"], found["reason"]) == (len(x), 0, None)
    assert found | {"std": None} == anisotropy(blocks, variant=variant)


@given(clouds(), st.integers(1, 60))
def test_a_contribution_is_the_mean_product_over_all_pairs(x, k):
    units = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    n, dim = x.shape
    products = np.einsum("id,jd->ijd", units, units)
    parts = (products.sum(axis=(0, 1)) - np.einsum("iid->d", products)) / (n * (n - 1))
    found = rogue_dims(Arrays(x), k=k)
    assert len({*found["dims"]}) == min(k, dim)
    assert found["contributions"] == pytest.approx(parts[found["dims"]], abs=1e-9)
    assert found["contributions"] == pytest.approx(np.sort(parts)[::-1][:k], abs=1e-9)
    assert found["contributions"] == sorted(found["contributions"], reverse=True)
    assert found["anisotropy"] == pytest.approx(mean_cosine(x), abs=1e-9)
    if k >= dim and found["shares"][0] is not None:
        assert sum(found["shares"]) == pytest.approx(1, abs=1e-6 / abs(found["anisotropy"]))


def test_summaries_suffice_unless_the_spread_is_asked_for():
    data = Arrays(np.eye(3, dtype=np.float32))
    assert anisotropy(data)["std"] is None
    rogue_dims(data)
    assert data.n_reads == 0


def test_a_large_mean_costs_no_digits():
    """Cosines of .99 and more, as in GPT-2's top layers: float32 sums would be 1e-6 off."""
    x = (np.random.default_rng(0).normal(size=(500, 768)) + 30).astype(np.float32)
    assert mean_cosine(x) > 0.99
    assert anisotropy(Arrays(x))["anisotropy"] == pytest.approx(mean_cosine(x), abs=1e-12, rel=0)
    wanted = mean_cosine(centred(x))
    assert anisotropy(Arrays(x), variant="centred")["anisotropy"] == pytest.approx(
        wanted, abs=1e-12, rel=0
    )


def test_a_zero_vector_has_a_direction_once_centred():
    x = np.concatenate([np.random.default_rng(1).normal(1, 1, (9, 5)), np.zeros((2, 5))]).astype(
        np.float32
    )
    found = anisotropy(Arrays(x), variant="centred")
    assert (found["n"], found["n_zero"]) == (11, 0)
    assert found["anisotropy"] == pytest.approx(mean_cosine(centred(x)), abs=1e-9)


@pytest.mark.parametrize("n", [2, 9, 10, 11, 40])
def test_a_small_spread_keeps_its_digits(n):
    """Cosines of .9999 that differ by 1e-5: the squared mean would leave none of the spread."""
    x = np.random.default_rng(n).normal(size=(n, 10)) + 100
    wanted = np.std(1 - pdist(x, "cosine"))
    assert n == 2 or 1e-6 < wanted < 1e-4
    assert anisotropy(Arrays(x[:1], x[1:]), std=True)["std"] == pytest.approx(
        wanted, abs=1e-14, rel=0
    )


@pytest.mark.parametrize(
    "x",
    [
        np.eye(5),
        np.eye(7) + 0.3,
        np.vstack([np.eye(4) - 0.25, np.zeros((3, 4))]),
        np.ones((20, 7)),
        np.outer(np.arange(1, 301), np.linspace(-1, 2, 7)),
    ],
)
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_vectors_at_equal_angles_have_no_spread(x, seed):
    turned = x if seed is None else x @ ortho_group.rvs(x.shape[1], random_state=seed)
    assert anisotropy(Arrays(turned[:3], turned[3:]), std=True)["std"] == 0
