"""Levels by chance in closed form, against all 5,040 ways to shuffle seven items."""

from itertools import permutations

import numpy as np
import pytest
from metric_data import Arrays, single_row

from embstore.metrics.arrangement import imbalance
from embstore.metrics.comparison import cka, overlap, rsa
from embstore.metrics.data import ItemLabels
from embstore.metrics.labels import knn
from embstore.metrics.predictivity import predictivity

ORDERS = np.array([*permutations(range(7))])


def centred_gram(x):
    x = x - x.mean(axis=0)
    return x @ x.T


def u_centred_gram(x):
    """Székely & Rizzo (2014), section 2: products of two of these sum to n(n − 3) HSIC_1."""
    n, gram = len(x), x @ x.T
    np.fill_diagonal(gram, 0)
    rows = gram.sum(axis=0)
    gram -= (rows + rows[:, None]) / (n - 2) - rows.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(gram, 0)
    return gram


@pytest.mark.parametrize("n_copies", [0, 3])
@pytest.mark.parametrize("variant", ["biased", "unbiased"])
def test_cka_by_chance(variant, n_copies):
    rng = np.random.default_rng(n_copies)
    x, y = rng.normal(size=(7, 3)) ** 3 + 2, rng.gamma(0.5, size=(7, 5))
    x[:n_copies] = x[0]
    k, l_ = map(centred_gram if variant == "biased" else u_centred_gram, (x, y))
    shuffled = [(k * l_[np.ix_(order, order)]).sum() for order in ORDERS] / (
        np.linalg.norm(k) * np.linalg.norm(l_)
    )
    row = single_row(cka, x, y, variant=variant)
    assert row["cka"] == pytest.approx(shuffled[0])
    assert row["chance"] == pytest.approx(shuffled.mean(), abs=1e-12)
    assert row["chance_deviation"] == pytest.approx(shuffled.std())


def test_rsa_by_chance_is_zero():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 7, 4)) + 1
    units = [each / np.sqrt((each * each).sum(axis=1))[:, None] for each in (x, y)]
    k, l_ = (each @ each.T for each in units)
    upper = np.triu_indices(7, 1)
    shuffled = np.array(
        [np.corrcoef(k[upper], l_[np.ix_(order, order)][upper])[0, 1] for order in ORDERS]
    )
    row = single_row(rsa, x, y)
    assert (row["rsa"], row["chance"]) == (pytest.approx(shuffled[0]), 0)
    assert abs(shuffled.mean()) < 1e-12


def test_predictivity_in_sample_by_chance_is_the_rank():
    """Of the projection on the source, whose share of the target has this mean over all orders."""
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(7, 3)) + 2, rng.gamma(0.5, size=(7, 4))
    basis = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[0]
    targets = (y - y.mean(axis=0))[ORDERS]
    shares = ((basis.T @ targets) ** 2).sum(axis=(1, 2)) / (targets[0] ** 2).sum()
    row = single_row(predictivity, x, y, folds=2)
    assert (row["r2_in_sample"], row["chance"]) == (pytest.approx(shares[0]), 3 / 6)
    assert shares.mean() == pytest.approx(3 / 6)


@pytest.mark.parametrize("k", [1, 3])
def test_neighbours_in_common_by_chance(k):
    """The mean of all orders, and the variance of an item's count: hypergeometric, as the paper has
    it.
    """
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 4))
    near, near_2 = (neighbour_matrix(each, k) for each in (x, y))
    counts = np.array([(near * near_2[np.ix_(order, order)]).sum(axis=1) for order in ORDERS])
    row = single_row(overlap, x, y, k=k)
    assert (row["overlap"], row["chance"]) == (pytest.approx(counts[0].mean() / k), k / 6)
    assert counts.mean() / k == pytest.approx(k / 6)
    assert counts.var(axis=0) == pytest.approx([k**2 * (6 - k) ** 2 / (6**2 * 5)] * 7)


def neighbour_matrix(x, k):
    """Which items are the k nearest of each by cosine, 0 or 1, (n, n)."""
    units = x / np.linalg.norm(x, axis=1)[:, None]
    cosines = units @ units.T
    np.fill_diagonal(cosines, -np.inf)
    matrix = np.zeros(cosines.shape)
    np.put_along_axis(matrix, np.argsort(-cosines, axis=1)[:, :k], 1, axis=1)
    return matrix


@pytest.mark.parametrize("k", [1, 2])
def test_imbalance_by_chance_is_one(k):
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    distances, distances_2 = (np.linalg.norm(each[:, None] - each, axis=2) for each in (x, y))
    np.fill_diagonal(distances, np.inf), np.fill_diagonal(distances_2, np.inf)
    nearest, ranks = np.argsort(distances)[:, :k], np.argsort(np.argsort(distances_2)) + 1
    shuffled = [
        2 / 7 * np.take_along_axis(ranks[np.ix_(order, order)], nearest, axis=1).mean()
        for order in ORDERS
    ]
    row = single_row(imbalance, x, y, k=k)
    assert (row["imbalance"], row["chance"]) == (pytest.approx(shuffled[0]), 1)
    assert np.mean(shuffled) == pytest.approx(1)


def test_share_of_neighbours_with_the_label_by_chance():
    """Of all orders of the labels; for one neighbour it is the accuracy, Σ m(m − 1) / (n(n −
    1)).
    """
    x, codes = np.random.default_rng(9).normal(size=(7, 3)), np.array([0, 0, 0, 1, 1, 2, 2])
    for k in (1, 3):
        near = neighbour_matrix(x, k)
        shares = [
            (near * (codes[order][:, None] == codes[order])).sum() / (7 * k) for order in ORDERS
        ]
        row = knn(Arrays(x), labels=ItemLabels(np.arange(7), codes, ("a", "b", "c")), k=k)
        assert (row["label_share"], row["chance"]) == (
            pytest.approx(shares[0]),
            pytest.approx(np.mean(shares)),
        )
