"""The neighbours of all vectors among themselves, against brute force and scikit-learn."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embstore.base.arrays import distinct_rows, has_direction
from embstore.base.errors import UnknownNameError
from embstore.index import exact_knn
from embstore.index.exact_knn import DISTANCES, nearest_rows
from embstore.query.layer_data import StoredLayer, TransformedLayer

seeds = st.integers(0, 2**32 - 1)


def brute_force(x, distance):
    """All distances or cosines, (n, n), in float64, by differences."""
    wide = x.astype(np.float64)
    if distance == "euclidean":
        return np.array([np.sqrt(((wide - row) ** 2).sum(axis=1)) for row in wide]).reshape(
            len(x), len(x)
        )
    units = wide / np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    return np.array([1 - ((units - row) ** 2).sum(axis=1) / 2 for row in units]).reshape(
        len(x), len(x)
    )


def nearest(table, k, distance):
    """The first k of each row without itself, sorted by (value, position), one row after the
    other.
    """
    sign = -1 if distance == "cosine" else 1
    rows = []
    for i, row in enumerate(table):
        others = [(sign * value, j) for j, value in enumerate(row.tolist()) if j != i]
        rows.append([j for _, j in sorted(others)[:k]])
    return np.array(rows, np.int64).reshape(len(table), -1)


def assert_exact(x, k, distance):
    """The same values to 1e-12, and the same order wherever values differ by more than rounding, or
    not at all.
    """
    positions, values = nearest_rows(x, k, distance)
    table = brute_force(x, distance)
    wanted = nearest(table, k, distance)
    assert positions.shape == values.shape == (len(x), min(k, len(x) - 1))
    scale = max(1.0, np.abs(table).max()) if distance == "euclidean" else 1.0
    wanted_values = np.take_along_axis(table, wanted, axis=1)
    np.testing.assert_allclose(values, wanted_values, rtol=1e-9, atol=1e-13 * scale)
    np.testing.assert_allclose(
        np.take_along_axis(table, positions, axis=1), wanted_values, rtol=1e-9, atol=1e-13
    )
    assert not (positions == np.arange(len(x))[:, None]).any()
    assert all(len(set(row)) == len(row) for row in positions.tolist())
    same = (x[positions[:, 1:]] == x[positions[:, :-1]]).all(axis=2)
    assert (np.diff(positions, axis=1)[same] > 0).all(), (
        "equal vectors are in the order of their positions"
    )


@st.composite
def clouds(draw):
    """Gaussian clouds, some with a large mean, duplicates, near duplicates, or all of few different
    points.
    """
    rng = np.random.default_rng(draw(seeds))
    n, dim = draw(st.integers(1, 120)), draw(st.sampled_from([1, 2, 3, 17, 40]))
    x = rng.normal(size=(n, dim)) + draw(st.sampled_from([0.0, 1.0, 50.0]))
    kind = draw(st.sampled_from(["plain", "few", "one", "near", "outlier"]))
    if kind == "few":
        x = x[rng.integers(0, max(1, n // 10), n)]
    elif kind == "one":
        x = np.repeat(x[:1], n, axis=0)
    elif kind == "near":
        x = x[rng.integers(0, max(1, n // 10), n)] * (1 + 1e-6 * rng.normal(size=(n, dim)))
    elif kind == "outlier":
        x[0] *= 1e6
    x *= draw(st.sampled_from([1e-12, 1.0, 1e12]))
    return x.astype(draw(st.sampled_from([np.float32, np.float64])))


@settings(deadline=None, max_examples=150)
@given(clouds(), st.integers(1, 130), st.sampled_from(DISTANCES))
@pytest.mark.slow
def test_nearest_rows_are_brute_force(x, k, distance):
    assert_exact(x, k, distance)


def nearest_of_whole_numbers(x, k, distance):
    """The first k of each row by squared distance, or by the sign and square of the cosine as a
    fraction.
    """
    squares = (x * x).sum(axis=1).tolist()
    products = (x @ x.T).tolist()

    def key(i, j):
        if distance == "euclidean":
            return Fraction(squares[i] + squares[j] - 2 * products[i][j])
        return Fraction(-products[i][j] * abs(products[i][j]), squares[i] * squares[j])

    n = range(len(x))
    return [sorted((j for j in n if j != i), key=lambda j, i=i: (key(i, j), j))[:k] for i in n]


@pytest.mark.slow
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(("dim", "largest"), [(3, 2), (5, 1), (8, 1), (4, 3)])
def test_ties_up_to_rounding_are_in_order_of_positions(dim, largest, distance):
    """Vectors of whole numbers, as they are, divided by 3, and turned: their ties are the same."""
    rng = np.random.default_rng(dim)
    x = rng.integers(-largest, largest + 1, (120, dim))
    x[~x.any(axis=1), 0] = 1
    wanted = nearest_of_whole_numbers(x, 5, distance)
    turned = x / 3 @ np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    for same in (x.astype(np.float32), x / 3, turned):
        positions, values = nearest_rows(same, 5, distance)
        assert positions.tolist() == wanted
        assert (np.diff(values if distance == "euclidean" else -values, axis=1) >= 0).all()


@pytest.mark.parametrize("distance", DISTANCES)
def test_nearest_rows_are_those_of_scikit_learn(distance):
    from sklearn.neighbors import NearestNeighbors

    x = np.random.default_rng(1).normal(0.5, 1, (700, 48)).astype(np.float32)
    model = NearestNeighbors(n_neighbors=10, algorithm="brute", metric=distance).fit(
        x.astype(np.float64)
    )
    wanted, places = model.kneighbors()  # without an argument it leaves out the row itself
    positions, values = nearest_rows(x, 10, distance)
    assert (positions == places).all()
    np.testing.assert_allclose(values, 1 - wanted if distance == "cosine" else wanted, rtol=1e-9)


@pytest.fixture
def undecided(monkeypatch):
    """The rows that float32 does not decide, of each search."""
    found = []
    search = exact_knn._Search.in_float64

    def recorded(self, rows):
        found.append(rows.tolist())
        search(self, rows)

    monkeypatch.setattr(exact_knn._Search, "in_float64", recorded)
    return found


@pytest.mark.parametrize("distance", DISTANCES)
def test_few_rows_need_more_than_one_search(distance, undecided):
    x = np.random.default_rng(3).normal(100, 1, (3000, 64)).astype(np.float32)
    nearest_rows(x, 10, distance)
    assert sum(map(len, undecided)) < 30


@pytest.mark.slow
@pytest.mark.parametrize("distance", DISTANCES)
def test_a_knot_of_points_takes_float64(distance, undecided):
    x = np.random.default_rng(3).normal(5, 1, (900, 16))
    x[:200] = x[0] + 1e-7 * np.random.default_rng(4).normal(size=(200, 16))
    assert_exact(x, 5, distance)
    [rows] = undecided
    assert {*range(200)} <= {*rows}
    assert len(rows) < 230


@pytest.mark.parametrize("distance", DISTANCES)
def test_some_rows_have_the_neighbours_that_they_have_among_all(distance):
    x = np.random.default_rng(6).integers(-2, 3, (300, 4)) + 0.5
    rows = np.array([299, 4, 17, 4])
    found = nearest_rows(x, 7, distance, rows)
    for some, every in zip(found, nearest_rows(x, 7, distance), strict=True):
        assert (some == every[rows]).all()


@pytest.mark.slow
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("rounding", [0.001, 0.01, 0.02])
def test_a_rough_search_that_errs_within_its_bound_changes_nothing(distance, rounding, monkeypatch):
    """FAISS with the largest errors that the bound allows, which no machine need make by itself."""
    import faiss

    x = np.random.default_rng(4).normal(size=(400, 6)).astype(np.float32)
    wanted = nearest_rows(x, 10, distance)

    def knn(queries, base, width):
        q, b = queries.astype(np.float64), base.astype(np.float64)
        sizes = (np.linalg.norm(q, axis=1)[:, None] + np.linalg.norm(b, axis=1)) ** 2
        squares = ((q[:, None] - b) ** 2).sum(axis=2)
        ranks = np.argsort(np.argsort(squares, axis=1), axis=1)
        # All that is near seems far.
        squares += np.where(ranks <= 10, 0.99, -0.99) * rounding * sizes
        order = np.argsort(squares, axis=1)[:, :width]
        return np.take_along_axis(squares, order, axis=1).astype(np.float32), order

    right = exact_knn.rounding_error_bound

    def bound(dim, dtype):
        return rounding if dtype == np.float32 else right(dim, dtype)

    monkeypatch.setattr(exact_knn, "rounding_error_bound", bound)
    monkeypatch.setattr(faiss, "knn", knn)
    positions, values = nearest_rows(x, 10, distance)
    assert (positions == wanted[0]).all()
    np.testing.assert_allclose(values, wanted[1], rtol=1e-9)


def test_a_zero_vector_has_no_cosine():
    x = np.array([[1, 0], [0, 0], [0, 2]], np.float32)
    assert has_direction(x).tolist() == [True, False, True]
    with pytest.raises(ValueError, match="zero vector"):
        nearest_rows(x, 1, "cosine")
    with pytest.raises(UnknownNameError, match="euclidean"):
        nearest_rows(x, 1, "euclid")
    positions, values = nearest_rows(x, 1, "euclidean")
    assert positions.tolist() == [[1], [0], [1]]
    assert values.tolist() == [[1], [1], [2]]


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1.0, 1e30, 1e38])
def test_vectors_of_any_size(scale):
    x = (np.random.default_rng(7).normal(size=(50, 8)) * scale).astype(np.float32)
    for distance in DISTANCES:
        positions, _ = nearest_rows(x, 3, distance)
        assert (
            positions == nearest(brute_force(x.astype(np.float64) / scale, distance), 3, distance)
        ).all()


def test_distinct_rows_and_none():
    x = np.array([[1, 0], [2, 0], [1, -0.0], [2, 0], [0, 1]], np.float32)
    positions, values = nearest_rows(x[:0], 3, "euclidean")
    assert positions.shape == values.shape == (0, 0)
    first, label = distinct_rows(x)
    assert first.tolist() == [0, 1, 4]
    assert label.tolist() == [0, 1, 0, 1, 2]
    assert distinct_rows(np.empty((0, 3), np.float32))[0].tolist() == []
    assert distinct_rows(np.empty((4, 0), np.float32))[0].tolist() == [0]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_stored_layer_answers_by_id(make_store, dtype):
    rng = np.random.default_rng(8)
    vectors = rng.normal(size=(1, 30, 6))
    vectors[0, 4] = 0
    vectors[0, 9] = vectors[0, 21]
    made = make_store(
        n=30, dim=6, n_blocks=0, top_form=None, vectors=vectors, dtype=dtype, n_shards=3
    )
    order = np.argsort(made.ids)
    x, ids = made.vectors[0][order], made.ids[order]
    layer = StoredLayer(made.store.catalog, made.card, made.card.layers.members[0])
    keep = x.any(axis=1)
    doubled = TransformedLayer(layer, lambda block: block[:, :4] * 2.0, np.arange(4))
    for data, seen in ((layer, x), (doubled, x[:, :4] * 2.0)):
        found, positions, values = data.neighbours(3)
        assert found.tolist() == ids[keep].tolist(), "the zero vector is left out"
        assert (positions == nearest(brute_force(seen[keep], "cosine"), 3, "cosine")).all()
        assert values.dtype == np.float64
        found, positions, _ = data.neighbours(3, "euclidean")
        assert found.tolist() == ids.tolist()
        assert (positions == nearest(brute_force(seen, "euclidean"), 3, "euclidean")).all()
        found, _, values = data.neighbours(1, "euclidean", distinct=True)
        assert len(found) == 29
        assert set(made.ids[[9, 21]].tolist()) - set(found.tolist()) == {
            max(made.ids[[9, 21]].tolist())
        }
        assert (values > 0).all()
