"""``versus``: layers, spaces and the best layer compared on the same pairs and items, through a
store.
"""

import numpy as np
import pytest
from datasets_written import write_pairs
from kept_columns import write_columns
from scipy.stats import spearmanr

from embstore import Store
from embstore.base.errors import NotStoredError, QueryError
from embstore.metrics.numerics.statistics import holm

COLUMNS = [
    "versus", "difference", "difference_low", "difference_high", "p", "p_holm", "detectable",
    "n_common",
]  # fmt: skip


@pytest.fixture
def made(make_store):
    made = make_store(n=60, dim=6, n_blocks=2, top_form=None, index=False)
    write_pairs(made)
    return made


def test_differences_are_of_the_numbers_shown_and_fit_into_80_columns(made):
    plain, table = (
        made.store.query("similarity", dataset="rg65", **more) for more in ({}, {"versus": "1"})
    )
    assert not {*COLUMNS} & {*plain.columns}
    assert [name for name in table.columns if name in COLUMNS] == COLUMNS
    rho = plain["spearman"]
    assert table["spearman"] == rho
    assert table["difference"][::2] == pytest.approx([rho[0] - rho[1], rho[2] - rho[1]])
    assert table["difference"][1] is None
    assert table["versus"] == ["1", None, "1"]
    tested = [row for row in table.rows if row["difference"] is not None]
    assert all(row["difference_low"] < row["difference"] < row["difference_high"] for row in tested)
    assert [row["p_holm"] for row in tested] == holm(
        np.array([row["p"] for row in tested])
    ).tolist()
    assert {row["n_common"] for row in table.rows} == {60}
    assert made.store.query("similarity", dataset="rg65", versus="1").rows == table.rows
    assert "over 60 units in common, by Student's t" in table.notes[0]

    table = made.store.query("similarity", dataset="rg65", versus="1")
    shown = ["layer", "spearman", "difference", "low", "high", "p_holm"]
    assert table.layout()[0] == shown
    assert max(map(len, repr(table).splitlines()[: 1 + len(table)])) <= 80
    assert {"low", "high", "coverage"} <= {*table.columns}


def test_the_best_layer(made):
    table = made.store.query("similarity", dataset="rg65", versus="best")
    assert [row["difference"] is None for row in table.rows] == table["best"]
    assert [row["versus"] for row in table.rows if not row["best"]] == ["best", "best"]
    assert all(row["difference"] is None or row["difference"] < 0 for row in table.rows)
    named = [made.store.query("similarity", dataset="rg65", versus=str(at)) for at in range(3)]
    pairs = [named[0]["p"][1], named[0]["p"][2], named[1]["p"][2]]
    adjusted = dict(zip([(0, 1), (0, 2), (1, 2)], holm(np.array(pairs)), strict=True))
    best = table["best"].index(True)
    assert [row["p_holm"] for row in table.rows if not row["best"]] == pytest.approx(
        [p for pair, p in adjusted.items() if best in pair]
    )


def test_a_correlation_of_one_is_not_compared(make_store):
    made = make_store(n=60, dim=6, n_blocks=2, top_form=None, index=False)
    norms = np.linalg.norm(made.vectors[0].astype(float), axis=1)
    write_columns(made, {"x": norms.tolist()})
    table = made.store.query("correlate", column="x", versus="1")
    assert table["difference"][0] is None
    assert table["p"][2] == table["p_holm"][2]
    assert table["reason"] == ["interval: the correlation is 1 or -1", None, None]
    none = made.store.query("correlate", column="x", versus="0")
    assert set(none["p"]) == {None}
    assert "no test: the correlations are 1 or -1" in none.notes[0]


def test_few_units_are_not_compared(make_store):
    made = make_store(n=9, dim=6, n_blocks=1, top_form=None, index=False)
    write_columns(made, {"x": [float(number) for number in range(9)]})
    table = made.store.query("correlate", column="x", versus="0")
    assert set(table["p"]) == {None}
    assert "no test: 9 units in common, fewer than 10" in table.notes[0]


def test_two_spaces_are_compared_on_common_items(make_store):
    """Layer by layer, on the items that both have; without what only one of them has."""
    rng = np.random.default_rng(0)
    first = make_store(n=40, dim=4, n_blocks=1, top_form=None, index=False)
    texts = [f"text{number}" for number in range(10, 50)]
    second = make_store(
        texts=texts, dim=4, n_blocks=1, top_form=None, model="other", seed=1, index=False
    )
    values = rng.normal(size=50).tolist()
    write_columns(first, {"x": values[:40]})
    store = first.store
    table = store.query("correlate", column="x", versus=second.space)
    rows = {(row["space"], row["layer"]): row for row in table.rows}
    for layer in (0, 1):
        row, other = rows[first.space, layer], rows[second.space, layer]
        assert other["difference"] is None
        assert (row["versus"], other["versus"]) == (second.space, None)
        assert row["n_common"] == 30
        norms = [
            np.linalg.norm(made.vectors[layer].astype(float), axis=1) for made in (first, second)
        ]
        rho = [spearmanr(norm, values[10:40]).statistic for norm in (norms[0][10:], norms[1][:30])]
        assert row["difference"] == pytest.approx(rho[0] - rho[1])


def test_shares_of_items(make_store):
    made = make_store(n=60, dim=6, n_blocks=1, index=False)
    write_columns(made, {"pos": ["NV"[number % 2] for number in range(60)]})
    table = made.store.query("knn", label="pos", k=3, versus="best", layers="0,1")
    [row] = [row for row in table.rows if row["difference"] is not None]
    assert row["difference"] == pytest.approx(min(table["accuracy"]) - max(table["accuracy"]))


def test_differences_of_classifiers_have_errors_from_parts_of_the_items(make_store):
    """Each layer against the best: p of the pair, and p_holm over all pairs, since the best is
    chosen among them.
    """
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, 80, 4)).astype(np.float32)
    codes = np.arange(80) % 2
    vectors[:, :, 0] += np.array([2.5, 1, 0])[:, None] * codes
    made = make_store(n=80, dim=4, n_blocks=2, top_form=None, vectors=vectors, index=False)
    write_columns(made, {"pos": ["NV"[code] for code in codes]})
    asked = {"label": "pos", "k": 5}
    first, second, best = (
        made.store.query("knn", versus=versus, **asked) for versus in ("0", "1", "best")
    )
    assert best["best"] == [True, False, False]
    pairs = np.array([*first["p"][1:], second["p"][2]])
    assert best["p"] == [None, *first["p"][1:]]
    assert best["p_holm"] == [None, *holm(pairs)[:2]]
    assert first["p_holm"][1:] == holm(pairs[:2]).tolist()
    assert (
        second["difference"][0]
        == -first["difference"][1]
        == pytest.approx(np.subtract(*best["accuracy"][:2]))
    )
    assert all(
        low < value < high
        for low, value, high in zip(
            first["difference_low"][1:],
            first["difference"][1:],
            first["difference_high"][1:],
            strict=True,
        )
    )
    assert "p_holm over all 3 pairs, since the best was chosen among them" in best.notes[0]
    assert made.store.query("knn", versus="best", seed=1, **asked)["p"] != best["p"]


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "more"), [("knn", {"k": 3}), ("probe", {"control": False})])
def test_spaces_are_compared_by_the_items_of_both_in_both(make_store, metric, more):
    """The same vectors in two spaces, of which one has more items, do not differ."""
    rng = np.random.default_rng(1)
    texts = [f"text{number}" for number in range(150)]
    x = (rng.normal(size=(1, 150, 4)) + 1.5 * np.eye(2, 4)[np.arange(150) % 2]).astype(np.float32)
    small = make_store(
        texts=texts[:60], dim=4, n_blocks=0, top_form=None, vectors=x[:, :60], index=False
    )
    large = make_store(
        texts=texts, dim=4, n_blocks=0, top_form=None, model="other", vectors=x, index=False
    )
    write_columns(large, {"pos": ["NV"[number % 2] for number in range(150)]})
    table = large.store.query(metric, label="pos", versus=small.space, **more)
    rows = {row["space"]: row for row in table.rows}
    row, other = rows[large.space], rows[small.space]
    assert (row["n"], other["n"], row["n_common"]) == (60, 60, 60)
    assert row["accuracy"] == other["accuracy"]
    assert (row["difference"], row["p"], row["p_holm"], other["difference"]) == (0, 1, 1, None)
    assert row["common"] == f"{large.space},{small.space}"
    assert "over 60 items in common" in table.notes[0]
    assert "none of which differs" in table.notes[0]
    alone = large.store.query(metric, label="pos", spaces=large.space, **more).rows[0]
    assert (alone["n"], alone["accuracy"] == row["accuracy"]) == (150, False)


def test_spaces_without_common_items_cannot_be_compared(make_store):
    first = make_store(
        texts=[f"a{n}" for n in range(30)], dim=4, n_blocks=0, top_form=None, index=False
    )
    second = make_store(
        texts=[f"b{n}" for n in range(20)],
        dim=4,
        n_blocks=0,
        top_form=None,
        model="other",
        index=False,
    )
    write_columns(first, {"pos": ["NV"[number % 2] for number in range(30)]})
    write_columns(second, {"pos": ["NV"[number % 2] for number in range(20)]})
    with pytest.raises(QueryError) as caught:
        first.store.query("knn", label="pos", versus=second.space)
    expected = (
        f"no item is in all of the spaces {second.space} (20), {first.space} (30). Choose spaces"
        " that have"
    )
    assert str(caught.value).startswith(expected)


def test_what_cannot_be_compared(made):
    with pytest.raises(
        QueryError, match="must be one layer, a space, SPACE:LAYER or best, not '0-1'"
    ):
        made.store.query("correlate", column="text", versus="0-1")


def test_a_space_without_what_is_compared_is_named(made, make_store):
    other = make_store(
        unit="occurrence", texts=["a b", "c d"], dim=6, n_blocks=2, top_form=None, index=False
    )
    with pytest.raises(QueryError, match=rf"^{other.space} has nothing that similarity could"):
        made.store.query("similarity", dataset="rg65", versus=other.space)


def test_the_layer_that_others_are_compared_with_is_added_to_them(made):
    found = made.store.query("similarity", dataset="rg65", layers="0,1", versus="2")
    assert (
        found.rows == made.store.query("similarity", dataset="rg65", layers="0-2", versus="2").rows
    )
    assert found["versus"] == ["2", "2", None]


def test_the_same_layer_twice_does_not_differ(make_store):
    x = np.random.default_rng(0).normal(size=(1, 40, 4)).astype(np.float32)
    made = make_store(
        n=40, dim=4, n_blocks=1, top_form=None, vectors=np.concatenate([x, 2 * x]), index=False
    )
    write_pairs(made)
    [row, _] = made.store.query("similarity", dataset="rg65", versus="1").rows
    assert (row["difference"], row["p"], row["p_holm"]) == (0, 1, 1)


def test_the_remedy_for_words_that_an_axis_lacks_is_one_that_correlate_has(made):
    write_columns(made, {"x": [float(number) for number in range(60)]})
    poles = {"positive": ["text1", "nowhere"], "negative": ["text2"]}
    with pytest.raises(NotStoredError, match=r"Embed what is missing.*; choose other") as raised:
        made.store.query("correlate", column="x", value="axis", **poles)
    assert "missing=" not in str(raised.value)
    with pytest.raises(NotStoredError, match="missing='skip'"):
        made.store.query("axis", **poles)


def test_an_axis_is_placed_anew_if_its_file_changes(make_store, tmp_path):
    made = make_store(n=40, dim=4, n_blocks=1, top_form=None, index=False)
    write_columns(made, {"x": [*range(40)]})
    file = tmp_path / "good.txt"
    found = []
    for text in ("text1", "text2"):
        file.write_text(text, "utf-8")
        given = {"column": "x", "value": "axis", "positive": str(file), "negative": ["text3"]}
        found.append(made.store.query("correlate", **given)["spearman"])
    assert found[0] != found[1]


def test_rows_say_how_shuffles_were_made(made):
    write_columns(made, {"lemma": [number // 4 for number in range(60)]})
    shuffled = made.store.query("cka", permutations=19, block="lemma")
    assert {(row["permutations"], row["over"], row["block"]) for row in shuffled} == {
        (19, "pair", "lemma")
    }
    assert "block" not in made.store.query("cka").columns


def test_an_explanation_has_the_columns_of_options():
    from embstore import Store

    columns = {column["name"] for column in Store.explain("cka").to_dict()["columns"]}
    assert {"cka", "calibrated", "n_shuffled"} <= columns


@pytest.mark.parametrize("versus", ["0", "1"])
def test_a_constant_layer_is_compared_with_nothing(tmp_path, versus):
    """Its dimension is of no scale, so that no row of it is of the scale of the others."""
    vectors = np.random.default_rng(0).normal(size=(3, 40, 6)).astype(np.float32)
    vectors[0] = 1
    store = Store(tmp_path / "other")
    store.add_vectors("flat", [f"word{number}" for number in range(40)], vectors)
    table = store.query("intrinsic-dimension", estimator="mle", versus=versus)
    assert [row["dimension"] is None for row in table.rows] == [True, False, False]
    assert [row["difference"] is None for row in table.rows[:2]] == [True, True]
    assert (table["difference"][2] is None) == (versus == "0")
    assert "fewer than two layers have a value" in " ".join(table.notes)
