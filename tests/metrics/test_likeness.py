"""Procrustes, predictivity, CKNNA and information imbalance against scipy, scikit-learn and their
definitions.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_data import Arrays, close, single_row
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import cdist
from scipy.stats import ortho_group
from sklearn.linear_model import LinearRegression, Ridge

from embstore.metrics.arrangement import cknna, imbalance, procrustes
from embstore.metrics.numerics.statistics import draw_folds
from embstore.metrics.predictivity import _STRENGTHS, predictivity


@st.composite
def two_layers(draw, n_min=5):
    """Layers of the same items, with something in common or not, with a mean or not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, dim, dim_2 = draw(st.integers(n_min, 30)), draw(st.integers(2, 40)), draw(st.integers(2, 40))
    x = rng.normal(size=(n, dim)) + draw(st.sampled_from([0.0, 5.0]))
    return x, x @ rng.normal(size=(dim, dim_2)) * draw(st.sampled_from([0.0, 0.3])) + rng.normal(
        size=(n, dim_2)
    )


@settings(deadline=None, max_examples=40)
@given(layers=two_layers(2))
def test_procrustes_is_that_of_scipys_rotation_of_padded_layers(layers):
    width = max(x.shape[1] for x in layers)
    x, y = (
        np.pad(each - each.mean(axis=0), ((0, 0), (0, width - each.shape[1]))) for each in layers
    )
    cosine = min(1.0, orthogonal_procrustes(x, y)[1] / (np.linalg.norm(x) * np.linalg.norm(y)))
    row = single_row(procrustes, *layers)
    assert row["similarity"] == close(cosine)
    assert np.cos(row["procrustes"]) == close(cosine)
    assert single_row(procrustes, *layers[::-1]) == pytest.approx(row, abs=1e-9)


def test_angles_near_zero_keep_their_digits():
    """Noise of ten times the size makes ten times the angle, down to where arccos only has
    zeros.
    """
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(300, 16)), rng.normal(size=(300, 20))
    turned = np.pad(x, ((0, 0), (0, 4))) @ ortho_group(20, seed=1).rvs() * 3 + 5
    angles = [
        single_row(procrustes, x, turned + size * noise)["procrustes"]
        for size in (1e-4, 1e-7, 1e-10)
    ]
    assert angles == pytest.approx([angles[0], angles[0] / 1e3, angles[0] / 1e6], rel=1e-3)
    assert single_row(procrustes, x, turned)["procrustes"] < 1e-14
    assert single_row(procrustes, turned, x)["procrustes"] < 1e-14


def plain_imbalance(x, y, k, distance):
    a, b = cdist(x, x, distance), cdist(y, y, distance)
    np.fill_diagonal(a, np.inf), np.fill_diagonal(b, np.inf)
    ranks = np.argsort(np.argsort(b, axis=1, kind="stable"), axis=1) + 1
    nearest = np.argsort(a, axis=1, kind="stable")[:, :k]
    return float(2 / len(x) * np.take_along_axis(ranks, nearest, axis=1).mean())


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@settings(deadline=None, max_examples=25)
@given(layers=two_layers(), data=st.data())
def test_imbalance_is_the_mean_rank(distance, layers, data):
    k = data.draw(st.integers(1, len(layers[0]) - 1))
    row = single_row(imbalance, *layers, k=k, distance=distance)
    assert row["imbalance"] == close(plain_imbalance(*layers, k, distance))
    assert row["imbalance_back"] == close(plain_imbalance(*layers[::-1], k, distance))
    assert (row["chance"], row["n"], row["reason"]) == (1, len(layers[0]), None)


def exact_imbalance(x, y, distance):
    """The mean rank of each item's neighbour from differences in extended precision, ties by
    position.
    """
    orders = []
    for each in (x, y):
        wide = each.astype(np.longdouble)
        if distance == "cosine":
            wide /= np.sqrt((wide**2).sum(axis=1))[:, None]
        squares = np.array([((wide - row) ** 2).sum(axis=1) for row in wide])
        np.fill_diagonal(squares, np.inf)
        orders.append(np.argsort(squares, axis=1, kind="stable"))
    ranks = [
        np.flatnonzero(order_2 == order[0])[0] + 1 for order, order_2 in zip(*orders, strict=True)
    ]
    return float(2 / len(x) * np.mean(ranks))


@pytest.mark.parametrize("far", [1e4, 1e9])
def test_one_item_far_away_does_not_change_the_ranks_of_the_others(make_store, far):
    """The mean that it moves is no centre, and products with it have no digits left."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 10)).astype(np.float32)
    y = (x + 0.3 * rng.normal(size=x.shape)).astype(np.float32)
    x[7, 2], y[7, 3] = far, -far
    made = make_store(
        n=200, dim=10, n_blocks=1, top_form=None, index=False, vectors=np.stack([x, y])
    )
    [_, row, *_] = made.store.query("imbalance").rows
    assert row["imbalance"] == close(exact_imbalance(x, y, "euclidean"))
    assert row["imbalance_back"] == close(exact_imbalance(y, x, "euclidean"))
    assert row["imbalance"] < 0.2


def test_imbalance_by_cosine_orders_nearly_parallel_vectors(make_store):
    """Cosines that differ by less than float64 distinguishes near 1."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(80, 6)).astype(np.float32)
    y = (x + 0.3 * rng.normal(size=x.shape)).astype(np.float32)
    x[:, 0], y[:, 0] = 1e7, 1e7
    made = make_store(n=80, dim=6, n_blocks=1, top_form=None, index=False, vectors=np.stack([x, y]))
    [_, row, *_] = made.store.query("imbalance", distance="cosine").rows
    expected = exact_imbalance(x, y, "cosine")
    assert expected < 0.5
    assert row["imbalance"] == close(expected)


@pytest.mark.parametrize("dim", [6, 90])
@pytest.mark.parametrize("offset", [0, 3e3, 3e6])
def test_cknna_of_all_neighbours_is_unbiased_cka_of_unit_vectors_whatever_their_mean(dim, offset):
    """HSIC_1 of the U-centred matrices of Székely & Rizzo, in extended precision."""
    rng = np.random.default_rng(dim)
    n = 40
    x = rng.normal(size=(n, dim)) * rng.uniform(0.2, 3, dim)
    y = x + rng.normal(size=x.shape)
    x[:, 0] += offset
    y[:, 1] += offset
    matrices = []
    for each in (x, y):
        units = each.astype(np.longdouble)
        units /= np.sqrt((units**2).sum(axis=1))[:, None]
        units -= units.mean(axis=0)
        gram = units @ units.T
        np.fill_diagonal(gram, 0)
        sums = gram.sum(axis=1) / (n - 2)
        gram += -sums[:, None] - sums + gram.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(gram, 0)
        matrices.append(gram / np.sqrt((gram**2).sum()))
    row = single_row(cknna, x, y, k=n - 1)
    assert (row["cknna"], row["reason"]) == (
        pytest.approx(float((matrices[0] * matrices[1]).sum()), abs=1e-8),
        None,
    )


def test_cknna_of_directions_that_differ_within_rounding_has_no_value():
    x, y = np.random.default_rng(0).normal(size=(2, 40, 6))
    x[:, 0] = 1e13
    row = single_row(cknna, x, y, k=39)
    assert (row["cknna"], row["reason"]) == (
        None,
        "layer: the differences of its cosines are within rounding",
    )
    rows = cknna([Arrays(x), Arrays(y)], None, np.arange(40), k=39)
    sides = [row["reason"] and row["reason"].partition(":")[0] for row in rows]
    assert sides == ["layer", "layer", "layer_2", None]


def plain_cknna(x, y, k):
    """As platonic-rep's code has it, without its clipping and its 10⁻⁶."""

    def hsic(a, b):
        n = len(a)
        total = (
            (a * b.T).sum() + a.sum() * b.sum() / ((n - 1) * (n - 2)) - 2 * (a @ b).sum() / (n - 2)
        )
        return float(total / (n * (n - 3)))

    def cosines(x):
        units = x / np.linalg.norm(x, axis=1)[:, None]
        gram = units @ units.T
        np.fill_diagonal(gram, -np.inf)
        mask = np.zeros_like(gram)
        np.put_along_axis(mask, np.argsort(-gram, axis=1)[:, :k], 1, axis=1)
        np.fill_diagonal(gram, 0)
        return gram, mask

    (a, mask), (b, mask_2) = cosines(x), cosines(y)
    both = mask * mask_2
    return hsic(both * a, both * b) / np.sqrt(
        hsic(mask * a, mask * a) * hsic(mask_2 * b, mask_2 * b)
    )


@settings(deadline=None, max_examples=40)
@given(layers=two_layers(), data=st.data())
def test_cknna_is_that_of_masked_gram_matrices(layers, data):
    k = data.draw(st.integers(2, len(layers[0]) - 1))
    row = single_row(cknna, *layers, k=k)
    if row["reason"] is None:
        assert row["cknna"] == pytest.approx(plain_cknna(*layers, k), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("is_one_space", [True, False])
def test_each_cell_of_cknna_has_the_layer_on_the_left_first(is_one_space):
    """Neighbours are directed, so that the two cells of a pair differ."""
    rng = np.random.default_rng(5)
    shared = rng.normal(size=(40, 4)) * rng.lognormal(size=(40, 1))
    layers = [
        np.hstack([shared, scale * rng.lognormal(size=(40, 6))]) for scale in (0.2, 0.5, 1.0, 2.0)
    ]
    left, right = (layers, layers) if is_one_space else (layers[:2], layers[2:])
    sides = [Arrays(x) for x in left], None if is_one_space else [Arrays(x) for x in right]
    found = [row["cknna"] for row in cknna(*sides, np.arange(40), k=6)]
    assert found == pytest.approx([plain_cknna(x, y, 6) for x in left for y in right], rel=1e-9)
    if is_one_space:
        matrix = np.reshape(found, (4, 4))
        assert np.abs(matrix - matrix.T).max() > 0.001


@pytest.mark.parametrize(
    ("n", "dim", "dim_2", "n_groups"), [(60, 5, 4, 60), (40, 60, 7, 40), (80, 6, 3, 11)]
)
def test_predictivity_is_that_of_scikit_learn(n, dim, dim_2, n_groups):
    """Ridge on each fold at the strength with the least generalised cross-validation, by hat
    matrices.
    """
    rng = np.random.default_rng(6)
    x = rng.normal(size=(n, dim)) + 3
    y = x[:, :1] * rng.normal(size=dim_2) + rng.normal(size=(n, dim_2)) + 1
    groups = rng.permutation(np.arange(n) % n_groups)
    folds, error, total = draw_folds(groups, 5, 0), 0.0, 0.0
    assert all(len(set(folds[groups == group])) == 1 for group in range(n_groups))
    for fold in range(5):
        train, test = folds != fold, folds == fold
        centred, deviations = x[train] - x[train].mean(axis=0), y[train] - y[train].mean(axis=0)
        squares = np.linalg.svd(centred, compute_uv=False) ** 2
        penalties = _STRENGTHS * squares[squares > 1e-10].mean()
        hats = [
            centred @ np.linalg.solve(centred.T @ centred + a * np.eye(dim), centred.T)
            for a in penalties
        ]
        scores = [
            ((deviations - hat @ deviations) ** 2).sum() / (train.sum() - 1 - np.trace(hat)) ** 2
            for hat in hats
        ]
        model = Ridge(alpha=penalties[np.argmin(scores)]).fit(x[train], y[train])
        error += ((y[test] - model.predict(x[test])) ** 2).sum()
        total += ((y[test] - y[train].mean(axis=0)) ** 2).sum()
    row = single_row(predictivity, x, y, groups=groups)
    assert row["r2"] == close(1 - error / total)
    in_sample = LinearRegression().fit(x, y).predict(x)
    assert row["r2_in_sample"] == close(
        1 - ((y - in_sample) ** 2).sum() / ((y - y.mean(axis=0)) ** 2).sum()
    )
    assert row["chance"] == min(dim, n - 1) / (n - 1)
    turned = single_row(
        predictivity, x @ ortho_group(dim, seed=7).rvs() * 4 + 1, y * 2 - 9, groups=groups
    )
    assert turned["r2"] == close(row["r2"])
