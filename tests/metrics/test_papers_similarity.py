"""Measures of similarity as the code of papers computes them, written down here from its formulas.

platonic-rep (Huh et al. 2024, ``metrics.py`` at dcd76ba) and ReSi (Klabunde et al.,
``repsim/measures/cca.py`` at 24ab9e5, which copies google/svcca).
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_data import Arrays, single_row
from scipy.stats import ortho_group
from synthetic import synthetic_store

from embstore.metrics.comparison import cka

N, K = 60, 20


def remove_outliers(feats, q):
    """As platonic-rep limits components, with the mean of the quantiles of the items."""
    limit = np.quantile(np.abs(feats), q, axis=1).mean()
    return feats.clip(-limit, limit)


def prepared(x):
    clamped = remove_outliers(x.astype(np.float64), 0.95)
    return clamped / np.linalg.norm(clamped, axis=1, keepdims=True)


def mutual_knn(a, b, k):
    def neighbours(x):
        products = x @ x.T
        np.fill_diagonal(products, -1e8)
        return np.argsort(-products, axis=1)[:, :k]

    pairs = zip(neighbours(a), neighbours(b), strict=True)
    return np.mean([len({*left} & {*right}) / k for left, right in pairs])


def hsic_unbiased(k, l):  # noqa: E741
    m = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    value = (k * l.T).sum() + k.sum() * l.sum() / ((m - 1) * (m - 2)) - 2 * (k @ l).sum() / (m - 2)
    return value / (m * (m - 3))


def unbiased_cka(a, b, _):
    k, l = a @ a.T, b @ b.T  # noqa: E741
    return hsic_unbiased(k, l) / (np.sqrt(hsic_unbiased(k, k) * hsic_unbiased(l, l)) + 1e-6)


def cknna(a, b, k_nearest):
    def mask(products):
        without = products.copy()
        np.fill_diagonal(without, -np.inf)
        found = np.zeros_like(products)
        np.put_along_axis(found, np.argsort(-without, axis=1)[:, :k_nearest], 1, axis=1)
        return found

    def similarity(k, l):  # noqa: E741
        both = mask(k) * mask(l)
        return hsic_unbiased(both * k, both * l)

    k, l = a @ a.T, b @ b.T  # noqa: E741
    return similarity(k, l) / (np.sqrt(similarity(k, k) * similarity(l, l)) + 1e-6)


@pytest.fixture
def two_spaces(tmp_path):
    """Two spaces of the same texts that have clusters in common, and some large components."""
    rng = np.random.default_rng(7)
    shared = rng.integers(0, 4, N)
    made = []
    for model, dim in (("one", 24), ("two", 40)):
        x = 3 * rng.normal(size=(4, dim))[shared] + rng.normal(size=(N, dim))
        x[:, 3] += 40
        x = x[None].astype(np.float32)
        made.append(
            synthetic_store(
                tmp_path / "store", n=N, dim=dim, vectors=x, model=model, n_blocks=1, top_form=None,
                layers="1", index=False,
            )
        )  # fmt: skip
    return made


@pytest.mark.parametrize(
    ("metric", "parameters", "theirs"),
    [
        ("overlap", {"k": K}, mutual_knn),
        ("cknna", {"k": K}, cknna),
        ("cka", {"variant": "unbiased"}, unbiased_cka),
    ],
)
def test_platonic_rep(two_spaces, metric, parameters, theirs):
    one, two = two_spaces
    table = one.store.query(
        metric, spaces=one.space, against=two.space, transforms=["clamp:.95", "normalize"],
        **parameters,
    )  # fmt: skip
    a, b = (prepared(made.vectors[0]) for made in two_spaces)
    [row] = table
    wanted = theirs(a, b, K)
    assert row[metric] == pytest.approx(wanted, abs=1e-5)
    assert wanted > 0.1  # else the 10⁻⁶ that they add would show
    raw = theirs(*(made.vectors[0].astype(np.float64) for made in two_spaces), K)
    assert abs(raw - wanted) > 1e-3  # the transforms make a difference


def resi_svcca(x, y):
    """``_svcca_original`` of ReSi, of activations with the rows as features."""

    def reduced(acts):
        centred = acts - acts.mean(axis=1, keepdims=True)
        _, s, v = np.linalg.svd(centred, full_matrices=False)
        total = np.sum(s**2)
        k = np.argmax(np.cumsum(s**2 / total) >= 0.99 * total) + 1
        return np.dot(s[:k] * np.eye(k), v[:k])

    one, two = reduced(x.T), reduced(y.T)
    assert len(one) < one.shape[1]
    covariance = np.cov(one, two)
    n = len(one)
    xx, xy, yy = covariance[:n, :n], covariance[:n, n:], covariance[n:, n:]
    x_max, y_max = np.abs(xx).max(), np.abs(yy).max()
    xx, xy, yy = xx / x_max, xy / np.sqrt(x_max * y_max), yy / y_max

    def inverse_root(matrix):
        values, vectors = np.linalg.eigh(np.linalg.pinv(matrix + 1e-10 * np.eye(len(matrix))))
        return vectors * np.sqrt(values) @ vectors.T

    return np.abs(np.linalg.svd(inverse_root(xx) @ xy @ inverse_root(yy))[1]).mean()


def of_variance_one(x):
    """Scaled so that ReSi's threshold, .99 of the total variance, is the share that it means."""
    return x / np.linalg.norm(x - x.mean(axis=0))


@pytest.mark.parametrize(("n", "dim", "dim_2"), [(300, 12, 20), (40, 64, 30), (90, 90, 5)])
def test_svcca_is_that_of_resi(n, dim, dim_2):
    rng = np.random.default_rng(n)
    base = rng.normal(size=(n, dim)) * np.geomspace(1, 0.01, dim) + 3
    other = base @ rng.normal(size=(dim, dim_2)) + 0.3 * rng.normal(size=(n, dim_2))
    found = single_row(cka, base, other, variant="svcca")["cka"]
    assert found == pytest.approx(
        resi_svcca(of_variance_one(base), of_variance_one(other)), abs=1e-5
    )
    assert single_row(cka, base, base, variant="svcca")["cka"] == pytest.approx(1)


@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-3, 1.0, 50.0]))
def test_svcca_ignores_rotation_scale_shift_and_order(seed, scale):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(30, 6)), rng.normal(size=(30, 9))
    expected = single_row(cka, x, y, variant="svcca")["cka"]
    order = rng.permutation(30)
    turned = scale * x[order] @ ortho_group(6, seed=seed).rvs() + 2
    assert single_row(cka, turned, y[order], variant="svcca")["cka"] == pytest.approx(expected)
    assert single_row(cka, y, x, variant="svcca")["cka"] == pytest.approx(expected)
    assert 0 < expected < 1


def test_svcca_of_all_pairs_at_once_and_where_it_is_undefined():
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=(25, 4 + place)) for place in range(3)]
    rows = cka.function([Arrays(x) for x in layers], None, np.arange(25), variant="svcca")
    values = np.array([row["cka"] for row in rows]).reshape(3, 3)
    assert values == pytest.approx(values.T)
    assert values[0, 2] == single_row(cka, layers[0], layers[2], variant="svcca")["cka"]
    equal = single_row(cka, np.ones((25, 4)), layers[0], variant="svcca")
    assert (equal["cka"], equal["reason"][:6]) == (None, "layer:")
