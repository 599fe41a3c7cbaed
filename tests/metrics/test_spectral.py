"""Effective dimensions and the spectrum against singular values of the matrix itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_data import Arrays, centred, clouds, split
from scipy.stats import entropy

from embstore.metrics.declaration import NotComputable
from embstore.metrics.isotropy import effective_rank, participation_ratio, spectrum
from embstore.metrics.numerics.linear_algebra import ALL_EQUAL

VARIANTS = ("uncentred", "centred", "eigenvalues", "rankme")


def singular_values(x: np.ndarray) -> np.ndarray:
    return np.linalg.svd(x.astype(np.float64), compute_uv=False)


def plain_rank(x: np.ndarray, variant: str) -> float:
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
    assert found["participation_ratio"] == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-9)
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
    """From second moments their singular values come as sqrt(eps), which would add 1e-4 and more to the entropy."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 100))  # rank 4 in 100 dimensions
    assert effective_rank(Arrays(x), variant=variant)["effective_rank"] == pytest.approx(
        plain_rank(x, variant), rel=1e-9
    )
    few = rng.normal(size=(7, 300)) + 2
    assert effective_rank(Arrays(few), variant=variant)["effective_rank"] == pytest.approx(
        plain_rank(few, variant), rel=1e-9
    )


def test_equal_vectors_have_no_variance():
    x = np.full((9, 4), 0.1, np.float32)
    for metric, options in ((participation_ratio, {}), (spectrum, {}), (effective_rank, {"variant": "centred"}),
                             (effective_rank, {"variant": "eigenvalues"})):  # fmt: skip
        with pytest.raises(NotComputable, match=ALL_EQUAL):
            metric(Arrays(x[:4], x[4:]), **options)
    assert effective_rank(Arrays(x))["effective_rank"] == pytest.approx(1)
    for options in ({"variant": "uncentred"}, {"variant": "rankme"}):
        with pytest.raises(NotComputable, match="all vectors are zero"):
            effective_rank(Arrays(np.zeros((3, 4))), **options)
    with pytest.raises(NotComputable, match="all vectors are zero"):
        spectrum(Arrays(np.zeros((3, 4))), variant="uncentred")
