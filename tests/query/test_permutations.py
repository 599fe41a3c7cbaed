"""Similarities against shuffled items: as the package of the method's authors has them, and where
nothing is alike.
"""

import numpy as np
import pytest
from kept_columns import write_columns
from scipy import stats

from embstore.base.errors import QueryError
from embstore.metrics import METRICS
from embstore.metrics.numerics.statistics import (
    calibrate,
    cyclic_products,
    draw_cycle,
    draw_permutations,
    permuted_products,
)
from embstore.query.group_layers import GroupLayer
from embstore.query.permutations import ShuffledLayer


def centred_gram(x):
    x = x - x.mean(axis=0)
    gram = x @ x.T
    return np.asarray(gram / np.linalg.norm(gram))


@pytest.fixture(scope="module")
def layers():
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(50, 5)) for _ in range(3)]
    return x, [x[0][:, :3] + rng.normal(size=(50, 3)), rng.normal(size=(50, 20))]


def test_the_authors_package_gives_the_same(layers):
    """Their code in float32, for the same permutations: each pair of layers, and the highest of
    all.
    """
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("calibrated_similarity")
    left, right = layers
    orders = list(draw_permutations(50, 99, 0))
    observed, shuffled = permuted_products(
        [*map(centred_gram, left)], [*map(centred_gram, right)], iter(orders)
    )
    ours = calibrate(observed, shuffled)

    def cka(x, y):
        x, y = x - x.mean(0), y - y.mean(0)
        return (x @ x.T * (y @ y.T)).sum() / (x @ x.T).norm() / (y @ y.T).norm()

    def options():
        given = iter(orders)
        return {"K": 99, "perm_fn": lambda n, device: torch.tensor(next(given))}

    x, y = ([*map(torch.tensor, side)] for side in (left, right))
    for i, j in np.ndindex(3, 2):
        expected = [float(value) for value in theirs.calibrate(x[i], y[j], cka, **options())]
        assert [ours.calibrated[i, j], ours.p[i, j], ours.threshold[i, j]] == pytest.approx(
            expected, abs=1e-5
        )
    best = np.unravel_index(observed.argmax(), observed.shape)
    grid = calibrate(observed, shuffled, np.ones((3, 2), bool))
    expected = [float(value) for value in theirs.calibrate_layers(x, y, cka, **options())]
    assert [grid.calibrated[best], grid.p[best], grid.threshold[best]] == pytest.approx(
        expected, abs=1e-5
    )


@pytest.mark.parametrize("n", [20, 21])
def test_the_shifts_of_a_cycle_are_permutations_that_are_all_computed_at_once(n):
    rng = np.random.default_rng(n)
    left = [centred_gram(rng.normal(size=(n, 3))) for _ in range(2)]
    right = [left[1], rng.normal(size=(n, n)) / n, left[0]]  # one is not symmetric
    orders = [*draw_permutations(n, n - 1, 5)]
    assert len({tuple(order) for order in orders}) == n - 1
    assert all(sorted(order) == [*range(n)] and (order != np.arange(n)).all() for order in orders)
    one_by_one = permuted_products(left, right, iter(orders))
    at_once = cyclic_products(left, right, *draw_cycle(n, n - 1, 5))
    for found, expected in zip(at_once, one_by_one, strict=True):
        assert found == pytest.approx(expected, abs=1e-6)
    # The shifts are a group: one after the other is a third, or none.
    composed = orders[3][orders[4]]
    assert any((composed == each).all() for each in (*orders, np.arange(n)))


def test_p_of_a_cycle_is_uniform_if_nothing_is_alike():
    rng = np.random.default_rng(8)
    p_values = []
    for number in range(1000):
        left, right = ([centred_gram(rng.normal(size=(24, 2)))] for _ in range(2))
        found = calibrate(*cyclic_products(left, right, *draw_cycle(24, 19, number)))
        p_values.append(found.p[0, 0])
    assert np.isin(np.round(np.array(p_values) * 20), np.arange(1, 21)).all()
    assert stats.kstest(np.array(p_values) - rng.uniform(0, 0.05, 1000), "uniform").pvalue > 0.01


def test_shuffled_blocks_stay_whole():
    """Blocks of equal size take each other's place, and others stay where they are; each item is
    there once.
    """
    blocks = np.array([2, 0, 1, 0, 2, 1])
    members = {tuple(np.flatnonzero(blocks == block)) for block in range(3)}
    for order in draw_permutations(6, 20, 1, blocks):
        assert sorted(order) == [*range(6)]
        assert {tuple(order[blocks == block]) for block in range(3)} == members
    blocks = np.repeat([0, 1, 2, 3, 4], [1, 2, 4, 2, 1])
    members = {tuple(np.flatnonzero(blocks == block)) for block in range(5)}
    orders = [*draw_permutations(10, 20, 1, blocks)]
    assert len({tuple(order) for order in orders}) == 4
    for order in orders:
        assert {tuple(order[blocks == block]) for block in range(5)} == members
        assert order[3:7].tolist() == [3, 4, 5, 6]


@pytest.mark.slow
def test_p_is_valid_for_items_that_depend_within_blocks_of_any_size():
    rng = np.random.default_rng(5)
    n_found = 0
    for number in range(200):
        blocks = np.repeat(np.arange(20), np.tile([2, 3, 4, 5], 5))
        left, right = (
            [centred_gram(rng.normal(size=(20, 4))[blocks] + rng.normal(size=(70, 4)) / 2)]
            for _ in range(2)
        )
        products = permuted_products(left, right, draw_permutations(70, 39, number, blocks))
        n_found += calibrate(*products).p[0, 0] <= 0.05
    assert 1 <= n_found <= 10 + 4 * np.sqrt(200 * 0.05 * 0.95)


OPTIONS = {"overlap": {"k": 4}, "cknna": {"k": 4}}


@pytest.mark.parametrize(
    "metric", ["cka", "rsa", "overlap", "procrustes", "cknna", "imbalance", "predictivity"]
)
def test_each_similarity_is_held_against_shuffles(make_store, metric):
    """A layer with itself is more alike than with all shuffles; two unrelated layers are not above
    the threshold.
    """
    made = make_store(n=40, dim=4, n_blocks=1, top_form=None, index=False)
    table = made.store.query(metric, permutations=19, **OPTIONS.get(metric, {}))
    own, other, back, last = table.rows
    assert own["p"] == last["p"] == 0.05
    assert own["calibrated"] == pytest.approx(1, abs=0.07)
    assert other["p"] > 0.05 or other["calibrated"] > 0
    assert (other["calibrated"] == 0) is (other["p"] > 0.05)
    assert back["p"] > 0
    again = made.store.query(metric, permutations=19, cache=False, **OPTIONS.get(metric, {}))
    assert again.rows == table.rows
    assert "p" not in made.store.query(metric, **OPTIONS.get(metric, {})).columns


PRINTED = {
    "cka": ["cka", "chance"], "rsa": ["rsa", "chance"], "overlap": ["overlap", "chance"],
    "imbalance": ["imbalance", "chance"], "cknna": ["cknna", "shuffled"], "predictivity": ["r2",
    "shuffled"],
    "procrustes": ["procrustes", "similarity", "shuffled"],
}  # fmt: skip


@pytest.mark.parametrize("metric", [*PRINTED])
def test_the_printed_table_has_value_chance_and_p_of_each_pair(make_store, metric):
    """A row for each pair of layers, in 80 columns, with the numbers of the rows; a matrix without
    permutations.
    """
    made = make_store(n=40, dim=4, n_blocks=1, top_form=None, index=False)
    table = made.store.query(metric, permutations=19, **OPTIONS.get(metric, {}))
    header, lines = table.layout()
    columns = [*PRINTED[metric], "p", "calibrated"]
    assert header == ["layer", "layer_2", *columns]
    for line, row in zip(lines, table.rows, strict=True):
        assert line[:2] == [row["layer_name"], row["layer_name_2"]]
        assert [float(cell) for cell in line[2:]] == pytest.approx(
            [row[name] for name in columns], abs=1e-4
        )
    assert max(map(len, str(table).splitlines()[:5])) <= 80
    assert not [note for note in table.notes if "format=json" in note or "--format" in note]
    plain = made.store.query(metric, **OPTIONS.get(metric, {}))
    assert plain.layout()[0] == ["layer", "0", "1"]


def test_pairs_of_several_spaces_and_groups_are_printed_with_their_names(make_store):
    made = make_store(n=40, dim=4, n_blocks=1, top_form=None, index=False)
    write_columns(made, {"pos": ["NV"[number % 2] for number in range(40)]})
    header, lines = made.store.query("cka", permutations=19, by="pos").layout()
    assert header == ["pos", "layer", "layer_2", "cka", "chance", "p", "calibrated"]
    assert [line[:3] for line in lines] == [
        [pos, *pair] for pos in "NV" for pair in ("00", "01", "10", "11")
    ]


@pytest.mark.slow
def test_the_mean_of_the_shuffles_is_the_level_of_chance(make_store):
    """Of unbiased CKA it is 0, and its mean over 2,000 shuffles is near that; of R² it is below
    0.
    """
    made = make_store(n=40, dim=4, n_blocks=1, top_form=None, index=False)
    rows = made.store.query("cka", permutations=2000).rows
    assert [row["shuffled"] for row in rows] == pytest.approx([0] * 4, abs=0.01)
    assert all(
        row["shuffled"] < 0 for row in made.store.query("predictivity", permutations=19).rows
    )
    for row in made.store.query("imbalance", permutations=200).rows:
        assert row["shuffled"] == pytest.approx(1, abs=0.05)


def test_blocks_groups_and_what_cannot_be(make_store):
    made = make_store(n=40, dim=4, n_blocks=1, top_form=None, index=False)
    columns = {"lemma": [number // 4 for number in range(40)], "some": [None, *[1] * 39]}
    write_columns(made, columns | {"pos": ["NV"[number % 2] for number in range(40)]})
    query = made.store.query
    assert query("cka", permutations=19, block="lemma")["p"] != query("cka", permutations=19)["p"]
    grouped = query("cka", permutations=19, by="pos")
    assert [row["n"] for row in grouped.rows] == [20] * 8
    # An item without a value is a block.
    with pytest.raises(QueryError, match="1 orders of 2 blocks"):
        query("cka", permutations=19, block="some")
    flat = make_store(
        "flat", n=8, dim=2, n_blocks=1, top_form=None, vectors=np.ones((2, 8, 2), np.float32)
    )
    rows = flat.store.query("cka", permutations=7).rows
    assert [(row["cka"], row["p"], row["calibrated"]) for row in rows] == [(None, None, None)] * 4


def test_permutations_that_do_not_fit_into_memory_name_how_many_do(make_store):
    made = make_store(n=13_378, dim=2, n_blocks=1, top_form=None, index=False)
    with pytest.raises(
        QueryError,
        match=r"^permutations of 13,378 items in 2 layers need 4 GiB\. Draw some: sample=2000$",
    ):
        made.store.query("cka", permutations=19)
    [*_, last] = made.store.query("cka", permutations=19, sample=40, layers=1).rows
    assert last["n"] == 40


def test_a_layer_without_similarity_does_not_hide_the_highest():
    """NaN in the shuffles of another pair, and NaN counts as high for the pair itself."""
    observed = np.array([[np.nan, 0.3]])
    shuffled = np.stack([np.array([[np.nan, value]]) for value in np.linspace(0, 0.9, 19)])
    alone, together = (
        calibrate(observed, shuffled, mask) for mask in (None, np.ones((1, 2), bool))
    )
    assert alone.p[0, 1] == together.p[0, 1] == (1 + 13) / 20
    assert alone.p[0, 0] == 1


@pytest.mark.parametrize("metric", ["procrustes", "predictivity", "imbalance", "cka"])
def test_a_constant_layer_has_no_p_and_takes_none_from_others(make_store, metric):
    x = np.random.default_rng(1).normal(size=(3, 20, 4)).astype(np.float32)
    x[0] = 1
    made = make_store(n=20, dim=4, n_blocks=2, top_form=None, vectors=x, index=False)
    rows = made.store.query(metric, permutations=19, over="max").rows
    alone = made.store.query(metric, permutations=19, over="max", layers="1,2").rows
    assert [row["p"] for row in rows if 0 in (row["layer"], row["layer_2"])] == [None] * 5
    assert [row["p"] for row in rows if 0 not in (row["layer"], row["layer_2"])] == [
        row["p"] for row in alone
    ]
    assert alone[1]["p"] > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("over", ["pair", "max"])
@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("metric", [each.name for each in METRICS.values() if each.similarity])
def test_a_layer_of_zero_or_equal_vectors_has_nulls_with_reasons(make_store, metric, value, over):
    x = np.random.default_rng(0).normal(size=(3, 20, 4)).astype(np.float32)
    x[0] = value
    made = make_store(n=20, dim=4, n_blocks=2, top_form=None, vectors=x, index=False)
    options = {"k": 4} if metric in ("overlap", "cknna") else {}
    rows = made.store.query(metric, permutations=19, over=over, **options).rows
    column = METRICS[metric].similarity.column
    leaves_no_direction = value == 0 and over == "max" and metric in ("rsa", "overlap", "cknna")
    for row in rows:
        is_degenerate = 0 in (row["layer"], row["layer_2"])
        assert (row[column] is None) == is_degenerate
        assert (row["p"] is None) == (is_degenerate or leaves_no_direction)
        assert (row["reason"] is None) == (row["p"] is not None)
    if leaves_no_direction:
        assert {row["n_shuffled"] for row in rows} == {0}


@pytest.mark.parametrize("metric", ["rsa", "overlap", "cknna"])
def test_zero_vectors_are_left_out_of_shuffles_too(make_store, metric):
    x = np.random.default_rng(0).normal(size=(2, 20, 4)).astype(np.float32)
    x[1] = x[0] + 0.1 * x[1]
    x[0, 3] = 0
    made = make_store(n=20, dim=4, n_blocks=1, top_form=None, vectors=x, index=False)
    rows = made.store.query(metric, permutations=19, **({} if metric == "rsa" else {"k": 4})).rows
    assert [(row["n"], row["p"]) for row in rows] == [
        (19, 0.05),
        (19, 0.05),
        (19, 0.05),
        (20, 0.05),
    ]


SHUFFLED = ("n", "shuffled", "p", "threshold", "calibrated")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "options"),
    [
        ("rsa", {}),
        ("rsa", {"correlation": "spearman"}),
        ("overlap", {"k": 4}),
        ("cknna", {"k": 4}),
        ("imbalance", {"distance": "cosine"}),
    ],
)
def test_zero_vectors_of_another_layer_change_nothing_of_a_pair(make_store, metric, options):
    """Each pair of layers is of its own items, as in a query of these two alone."""
    x = np.random.default_rng(0).normal(size=(3, 24, 4)).astype(np.float32)
    x[1] = x[0] + 0.7 * x[1]
    x[2, :5] = 0
    x[0, 3] = 0
    made = make_store(n=24, dim=4, n_blocks=2, top_form=None, vectors=x, index=False)
    rows = made.store.query(metric, permutations=39, **options).rows
    for pair in ("0,1", "1,2", "0,2"):
        alone = made.store.query(metric, permutations=39, layers=pair, **options).rows
        beside = {(row["layer"], row["layer_2"]): [row[name] for name in SHUFFLED] for row in rows}
        for row in alone:
            expected = [row[name] for name in SHUFFLED]
            assert beside[row["layer"], row["layer_2"]] == pytest.approx(expected, abs=1e-6)
    assert {row["n_shuffled"] for row in rows} == {None}


def test_the_highest_pair_is_of_the_items_that_all_pairs_have_and_says_how_many(make_store):
    x = np.random.default_rng(0).normal(size=(3, 24, 4)).astype(np.float32)
    x[2, :5] = 0
    x[0, 4:7] = 0
    made = make_store(n=24, dim=4, n_blocks=2, top_form=None, vectors=x, index=False)
    table = made.store.query("rsa", permutations=39, over="max")
    assert {row["n_shuffled"] for row in table.rows} == {17}
    assert "39 permutations of the 17 items, without those that are zero" in table.notes[0]
    ids = [item.id for item in made.items]
    common = made.store.query(
        "rsa", permutations=39, over="max", where=f"item_id NOT IN ({', '.join(map(str, ids[:7]))})"
    )
    assert [row["p"] for row in table.rows] == [row["p"] for row in common.rows]


def test_euclidean_imbalance_leaves_no_zero_vector_out_of_the_shuffles(make_store):
    x = np.random.default_rng(0).normal(size=(2, 24, 4)).astype(np.float32)
    x[:, :6] = 0
    x[1, :6, 0] = np.arange(6)
    made = make_store(n=24, dim=4, n_blocks=1, top_form=None, vectors=x, index=False)
    euclidean, cosine = (
        made.store.query("imbalance", permutations=39, over="max", distance=distance).rows
        for distance in ("euclidean", "cosine")
    )
    assert {row["n_shuffled"] for row in euclidean} == {24}
    assert {row["n_shuffled"] for row in cosine} == {18}


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_neighbours_in_another_order_are_those_of_a_new_search(distance):
    rng = np.random.default_rng(4)
    ids, order = np.arange(80) * 3, rng.permutation(80)
    vectors = rng.standard_normal((80, 6)).astype(np.float32)
    for zeros in ([], [5, 9]):
        vectors[zeros] = 0
        shuffled = ShuffledLayer.of(GroupLayer(ids, vectors, np.arange(6)), ids).in_order(order)
        anew = GroupLayer(ids, vectors[order], np.arange(6))
        for only in (None, ids, ids[:50]):
            found = shuffled.neighbours(4, distance, only=only)
            assert all(map(np.array_equal, found[:2], anew.neighbours(4, distance, only=only)[:2]))
            assert np.allclose(found[2], anew.neighbours(4, distance, only=only)[2])
