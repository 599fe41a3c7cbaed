"""CKA, RSA and neighbour overlap against their definitions: Gram matrices, triangles of distances,
sets.
"""

import operator
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from metric_data import Arrays, close, gram_cka, neighbour_sets, single_row, triangles
from scipy.spatial.distance import pdist
from scipy.stats import ortho_group, rankdata, spearmanr

from embstore.metrics import NotComputable
from embstore.metrics.comparison import (
    cka,
    draw_pairs,
    expected_jaccard,
    numbered_pairs,
    overlap,
    rsa,
)
from embstore.metrics.numerics import layer_pairs


def nearly_tied(distances):
    """Whether rounding decides the order of two of them."""
    return bool(np.diff(np.sort(distances)).min(initial=1) < 1e-12)


@st.composite
def two_layers(draw, n_min=4):
    """Layers of the same items, with something in common, isotropic or not, as they are stored."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, dim, dim_2 = draw(st.integers(n_min, 40)), draw(st.integers(2, 50)), draw(st.integers(2, 50))
    offset = draw(st.sampled_from([0.0, 0.5, 5.0, 30.0]))  # of 30, cosines of .999
    x = rng.normal(size=(n, dim))
    y = x @ rng.normal(size=(dim, dim_2)) * draw(st.sampled_from([0.0, 0.3])) + rng.normal(
        size=(n, dim_2)
    )
    dtype = draw(st.sampled_from(["float32", "float16"]))
    return tuple((layer + offset).astype(dtype).astype(np.float32) for layer in (x, y))


@settings(deadline=None, max_examples=60)
@given(layers=two_layers())
def test_cka_is_that_of_the_gram_matrices(layers):
    for variant in ("unbiased", "biased"):
        row = single_row(cka, *layers, variant=variant)
        assert (row["cka"], row["n"], row["reason"]) == (
            close(gram_cka(*layers, variant)),
            len(layers[0]),
            None,
        )


@settings(deadline=None, max_examples=60)
@given(layers=two_layers(n_min=3))
def test_rsa_is_that_of_the_triangles(layers):
    n = len(layers[0])
    counts = {
        "chance": 0,
        "n": n,
        "n_pairs": n * (n - 1) // 2,
        "n_zero": 0,
        "reason": None,
        "seed": None,
    }
    one_triangle, other = triangles(*layers)
    assert single_row(rsa, *layers) == counts | {
        "rsa": close(np.corrcoef(one_triangle, other)[0, 1])
    }
    if not (nearly_tied(one_triangle) or nearly_tied(other)):
        by_rank = single_row(rsa, *layers, correlation="spearman")
        assert by_rank == counts | {"rsa": close(spearmanr(one_triangle, other).statistic)}


@settings(deadline=None, max_examples=60)
@given(layers=two_layers(n_min=2), data=st.data())
def test_overlap_is_that_of_sets(layers, data):
    n = len(layers[0])
    assume(not any(map(nearly_tied, triangles(*layers))))
    k = data.draw(st.integers(1, n - 1))
    pairs = list(zip(*(neighbour_sets(x, k) for x in layers), strict=True))
    row = single_row(overlap, *layers, k=k)
    assert row["jaccard"] == close(np.mean([len(a & b) / len(a | b) for a, b in pairs]))
    assert row["overlap"] == close(np.mean([len(a & b) / k for a, b in pairs]))
    assert row["chance"] == close(k / (n - 1))
    assert (row["n"], row["n_zero"], row["reason"]) == (n, 0, None)


@pytest.mark.parametrize(("others", "k"), [(3, 1), (5, 2), (6, 3), (6, 4), (7, 5), (7, 7)])
def test_expected_jaccard_is_the_mean_over_all_pairs_of_lists(others, k):
    lists = [set(chosen) for chosen in combinations(range(others), k)]
    mean = np.mean([len(a & b) / len(a | b) for a in lists for b in lists])
    assert expected_jaccard(others + 1, k) == pytest.approx(mean, abs=1e-12)


METRICS_OF_TWO = [
    (cka, {"variant": "unbiased"}, "cka"),
    (cka, {"variant": "biased"}, "cka"),
    (rsa, {"correlation": "pearson"}, "rsa"),
    (rsa, {"correlation": "spearman"}, "rsa"),
    (overlap, {"k": 4}, "jaccard"),
]
CASES = pytest.mark.parametrize(("metric", "given_", "column"), METRICS_OF_TWO)


@CASES
def test_each_pair_of_layers_in_its_place(metric, given_, column):
    rng = np.random.default_rng(3)
    layers = [rng.normal(size=(25, dim)) for dim in (4, 7, 5)]
    others = [rng.normal(size=(25, dim)) for dim in (6, 3)]
    ids = np.sort(rng.choice(1000, 25, replace=False))

    def data(x):
        order = rng.permutation(25)  # as shards hold items: in any order
        return Arrays(x[order][:9], x[order][9:], ids=ids[order])

    square = metric([data(x) for x in layers], None, ids, **given_)
    assert [row[column] for row in square] == [
        pytest.approx(single_row(metric, x, y, **given_)[column], abs=1e-12)
        for x in layers
        for y in layers
    ]
    assert [square[place][column] for place in (0, 4, 8)] == pytest.approx([1, 1, 1], abs=1e-12)
    of_two = metric([data(x) for x in layers], [data(y) for y in others], ids, **given_)
    assert [row[column] for row in of_two] == [
        pytest.approx(single_row(metric, x, y, **given_)[column], abs=1e-12)
        for x in layers
        for y in others
    ]


@pytest.mark.parametrize(("product_bytes", "max_rows"), [(1, 4), (8 * 5 * 5 * 2, 7), (1 << 29, 1)])
def test_blocks_and_batches_change_nothing(monkeypatch, product_bytes, max_rows):
    rng = np.random.default_rng(4)
    layers = [rng.normal(size=(23, 5)) + 10 for _ in range(4)]
    expected = [[gram_cka(x, y) for x in layers] for y in layers]
    correlations = np.corrcoef([pdist(x, "cosine") for x in layers])
    monkeypatch.setattr(layer_pairs, "_PRODUCT_BYTES", product_bytes)
    monkeypatch.setattr(layer_pairs, "_MAX_ROWS", max_rows)
    data = [Arrays(x) for x in layers]
    found = [row["cka"] for row in cka(data, None, np.arange(23))]
    np.testing.assert_allclose(np.reshape(found, (4, 4)), expected, atol=1e-9, rtol=0)
    found = [row["rsa"] for row in rsa(data, None, np.arange(23))]
    np.testing.assert_allclose(np.reshape(found, (4, 4)), correlations, atol=1e-9, rtol=0)


def exact_cosine_distances(x):
    """The triangle of 1 − cosine in extended precision, as half the squares of the differences of
    unit vectors.
    """
    units = x.astype(np.longdouble)
    units /= np.sqrt((units**2).sum(axis=1))[:, None]
    return np.array(
        [((units[i] - units[j]) ** 2).sum() / 2 for i, j in combinations(range(len(x)), 2)]
    )


@pytest.mark.parametrize("dim", [6, 90])  # by sums of products, and by Gram matrices
@pytest.mark.parametrize("offset", [3e3, 3e6])
def test_cosines_that_differ_by_little_are_told_apart(dim, offset):
    """With an offset of 3,000,000 they differ by 1e-12, and as they are rounded by 1e-16."""
    rng = np.random.default_rng(dim)
    x = rng.normal(size=(40, dim)) * rng.uniform(0.2, 3, dim)
    y = x + rng.normal(size=x.shape)
    x[:, 0] += offset
    y[:, 1] += offset
    triangle, other = (exact_cosine_distances(each) for each in (x, y))
    assert 1e-14 < triangle.max() < 1e-3
    expected = np.corrcoef(
        triangle.astype(float) / triangle.max(), other.astype(float) / other.max()
    )[0, 1]
    row = single_row(rsa, x, y)
    assert (row["rsa"], row["reason"]) == (pytest.approx(expected, rel=1e-7), None)
    by_rank = single_row(rsa, x, y, correlation="spearman")
    ranks = [rankdata(each).astype(float) for each in (triangle, other)]  # for scipy from 1.18
    assert by_rank["rsa"] == pytest.approx(spearmanr(*ranks).statistic, abs=1e-4)


@pytest.mark.parametrize(("correlation", "constant"), [("pearson", 1e13), ("spearman", 1e17)])
@pytest.mark.parametrize("dim", [6, 90])
def test_cosines_that_differ_within_rounding_are_said_to(correlation, constant, dim):
    """A constant leaves no more than the last bits of the unit vectors."""
    x, y = np.random.default_rng(0).normal(size=(2, 40, dim))
    x[:, 0] = constant
    row = single_row(rsa, x, y, correlation=correlation)
    assert row["rsa"] is None
    assert row["reason"] == "layer: the differences of its cosines are within rounding"


def test_a_sample_of_pairs_is_seeded_and_said():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(80, 10))
    y = x + rng.normal(size=(80, 10))
    exact = spearmanr(*triangles(x, y)).statistic
    rows = [
        single_row(rsa, x, y, correlation="spearman", pairs=1500, seed=seed) for seed in (0, 0, 1)
    ]
    assert [(row["n_pairs"], row["seed"]) for row in rows] == [(1500, 0), (1500, 0), (1500, 1)]
    assert rows[0] == rows[1] != rows[2]
    for row, seed in zip(rows[1:], (0, 1), strict=True):
        assert row["rsa"] == pytest.approx(exact, abs=0.05)
        i, j = draw_pairs(80, 1500, seed)
        cosines = [
            np.array([z[a] @ z[b] / np.sqrt(z[a] @ z[a] * (z[b] @ z[b])) for a, b in zip(i, j)])  # noqa: B905
            for z in (x, y)
        ]
        assert row["rsa"] == close(np.corrcoef(*map(rankdata, cosines))[0, 1])


def exact_ranks(x):
    """Ranks of the cosines of vectors of whole numbers, by the sign and square of each cosine as a
    fraction.
    """
    squares = []
    for a, b in combinations(x.tolist(), 2):
        product = sum(map(operator.mul, a, b))
        squares.append(
            Fraction(product * abs(product), sum(v * v for v in a) * sum(v * v for v in b))
        )
    order = {value: place for place, value in enumerate(sorted(set(squares)))}
    return rankdata([order[value] for value in squares])


@pytest.mark.parametrize(("dim", "largest"), [(2, 2), (3, 1), (4, 2), (5, 3), (8, 1)])
def test_cosines_that_tie_exactly_share_a_rank(dim, largest):
    rng = np.random.default_rng(dim)
    lattices = [rng.integers(-largest, largest + 1, (40, dim)) for _ in range(2)]
    for x in lattices:
        x[~x.any(axis=1), 0] = 1
    exact = np.corrcoef(*map(exact_ranks, lattices))[0, 1]
    assert single_row(rsa, *lattices, correlation="spearman")["rsa"] == close(exact)
    turned = [x / 3 @ ortho_group.rvs(dim, random_state=rng) for x in lattices]
    assert single_row(rsa, *turned, correlation="spearman")["rsa"] == close(exact)


def test_pairs_are_drawn_without_replacement():
    everything = list(combinations(range(30), 2))
    assert (
        sorted(zip(*(part.tolist() for part in draw_pairs(30, 10**6, 0)), strict=True))
        == everything
    )
    drawn = list(zip(*(part.tolist() for part in draw_pairs(30, 200, 0)), strict=True))
    assert len(drawn) == len(set(drawn)) == 200
    assert set(drawn) < set(everything)
    # Each of the 10 pairs as often as the others.
    tens = [draw_pairs(5, 3, seed) for seed in range(2000)]
    counts = np.zeros((5, 5))
    for i, j in tens:
        np.add.at(counts, (i, j), 1)
    assert np.abs(counts[np.triu_indices(5, 1)] - 600).max() < 100  # 4.9 standard deviations


def test_pairs_of_any_number_are_told_apart():
    """Where the square root is rounded: at the first and last pair of a large second place."""
    for j in (2, 3, 1000, 94_906_267, 2**24 + 1, 2**25 - 1):
        first = j * (j - 1) // 2
        i, second = numbered_pairs(np.array([first - 1, first, first + j - 1, first + j]))
        assert i.tolist() == [j - 2, 0, j - 1, 0]
        assert second.tolist() == [j - 1, j, j, j + 1]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("variant", ["unbiased", "biased"])
def test_a_constant_layer_takes_no_value_from_the_others_by_gram_matrices(variant, place):
    """Fewer items than dimensions: one layer without a Gram matrix, wherever it stands."""
    rng = np.random.default_rng(place)
    layers = [rng.normal(size=(20, 50)) for _ in range(3)]
    layers[place] = np.full((20, 50), 0.3)
    assert layer_pairs.prefers_gram(20, [50] * 3, [(i, j) for i in range(3) for j in range(i, 3)])
    rows = cka([Arrays(x) for x in layers], None, np.arange(20), variant=variant)
    for row, (i, j) in zip(rows, np.ndindex(3, 3), strict=True):
        if place in (i, j):
            side = "layer" if i == place else "layer_2"
            assert (row["cka"], row["chance"]) == (None, None)
            assert str(row["reason"]).startswith(f"{side}: its vectors are all alike")
        else:
            assert (row["cka"], row["reason"]) == (
                close(gram_cka(layers[i], layers[j], variant)),
                None,
            )


def test_a_layer_that_lacks_items_is_never_a_smaller_sample():
    x = np.random.default_rng(0).normal(size=(10, 3))
    data = [Arrays(x), Arrays(x[:9])]
    for metric, settings_ in (
        (cka, {}),
        (rsa, {}),
        (rsa, {"correlation": "spearman"}),
        (overlap, {"k": 3}),
    ):
        with pytest.raises(
            NotComputable, match="lacks some of the items; embstore verify says which"
        ):
            metric(data, None, np.arange(10), **settings_)
