"""Drift: overlap and turnover of neighbourhoods, against brute force, and what does not change
them.
"""

from itertools import combinations, pairwise

import numpy as np
import pytest
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import NotStoredError, QueryError, UnknownNameError, UsageError


@pytest.fixture
def made(make_store):
    return make_store(n=40, n_blocks=2, top_form=None)


def brute(first, second, row, k):
    """Overlap and turnover of one row, by the definitions, in plain loops."""
    cosines, lists = [], []
    for vectors in (first, second):
        wide = vectors.astype(np.float64)
        all_cosines = wide @ wide[row] / np.linalg.norm(wide, axis=1) / np.linalg.norm(wide[row])
        order = [
            other for other in np.argsort(-all_cosines, kind="stable").tolist() if other != row
        ]
        cosines.append(all_cosines)
        lists.append(order[:k])
    union = sorted({*lists[0]} | {*lists[1]})
    s, t = cosines[0][union], cosines[1][union]
    shared = len({*lists[0]} & {*lists[1]})
    return shared / k, 1 - float(s @ t) / float(np.linalg.norm(s) * np.linalg.norm(t))


def by_id(made, layer):
    order = np.argsort(made.ids)
    return made.ids[order].tolist(), made.layer(layer)[order]


def check(made, table, k):
    for row in table:
        ids, first = by_id(made, row["layer"])
        overlap, turnover = brute(
            first, by_id(made, row["layer_2"])[1], ids.index(row["item_id"]), k
        )
        assert row["overlap"] == pytest.approx(overlap, abs=1e-12)
        assert row["turnover"] == pytest.approx(turnover, abs=1e-9)


@pytest.mark.parametrize("pairs", ["adjacent", "all"])
@pytest.mark.parametrize("k", [1, 5])
def test_words_have_the_values_of_brute_force(made, pairs, k):
    table = made.store.drift(["text3", "text11", "text3"], k=k, pairs=pairs)
    choose = pairwise if pairs == "adjacent" else lambda layers: combinations(layers, 2)
    expected = [(text, *pair) for text in ("text3", "text11") for pair in choose((0, 1, 2))]
    assert [(row["text"], row["layer"], row["layer_2"]) for row in table] == expected
    assert {row["n"] for row in table} == {40}
    check(made, table, k)
    for row in table:
        assert len(row["lost"]) == len(row["gained"]) == round((1 - row["overlap"]) * k)
        assert row["change"] is row["rank"] is None
        of_item = [each for each in table if each["item_id"] == row["item_id"]]
        for name in ("overlap", "turnover"):
            assert row[f"mean_{name}"] == pytest.approx(np.mean([each[name] for each in of_item]))


def test_lost_and_gained_are_the_neighbours_that_differ(made):
    [row] = made.store.drift("text3", layers="0-1", k=5)
    below, above = (
        made.store.neighbours("text3", layers=layer, k=5, exact=True)["text"] for layer in (0, 1)
    )
    assert row["lost"] == [text for text in below if text not in above]
    assert row["gained"] == [text for text in above if text not in below]


def test_most_and_least_are_those_of_all_items(made):
    table = made.store.drift(most=4, k=5)
    check(made, table, 5)
    every = made.store.drift(made.texts, k=5)
    means = {
        row["item_id"]: (row["mean_overlap"], -row["mean_turnover"], row["item_id"])
        for row in every
    }
    order = sorted(means, key=means.__getitem__)
    found = {
        kind: [row["item_id"] for row in table if row["change"] == kind][::2]
        for kind in ("most", "least")
    }
    assert found == {"most": order[:4], "least": order[::-1][:4]}
    assert [row["rank"] for row in table if row["change"] == "least"] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert len(made.store.drift()) == 2 * 2 * 5, "five of each by default"
    assert len({row["item_id"] for row in made.store.drift(most=30, k=5)}) == 40, (
        "no item is in both lists"
    )


def test_equal_means_are_ordered_by_turnover_though_their_sums_are_rounded(make_store):
    """.3 + .3 + .5 and .5 + .4 + .2 are 11 shared neighbours of 30, and differ in floating point."""
    made = make_store(n=60, n_blocks=3, top_form=None)
    table = made.store.drift(most=30, k=10)
    means = {}
    rounded = set()
    for item in dict.fromkeys(table["item_id"]):
        rows = [row for row in table if row["item_id"] == item]
        n_shared = sum(10 - len(row["lost"]) for row in rows)
        assert {row["mean_overlap"] for row in rows} == {n_shared / 30}
        rounded.add((n_shared, float(np.mean([row["overlap"] for row in rows]))))
        means[item] = (n_shared, -rows[0]["mean_turnover"], item)
    assert len(means) == 60
    assert len(rounded) > len({n_shared for n_shared, _ in rounded})  # so that it matters
    order = sorted(means, key=means.__getitem__)
    assert [*means] == [*order[:30], *order[:29:-1]]


def test_nothing_changes_between_equal_layers(make_store):
    vectors = np.random.default_rng(0).normal(size=(1, 30, 8)).repeat(2, axis=0)
    made = make_store(n=30, n_blocks=1, top_form=None, vectors=vectors)
    for row in made.store.drift(most=3):
        assert row["overlap"] == 1
        assert 0 <= row["turnover"] < 1e-15
        assert row["lost"] == row["gained"] == []
    table = made.store.drift(most=30)
    assert [row["item_id"] for row in table if row["change"] == "most"] == np.sort(
        made.ids
    ).tolist()[:15], "by id"


def test_another_space_is_compared_by_items(make_store):
    made = make_store(n=40, n_blocks=1, top_form=None)
    texts = [f"text{number}" for number in range(60, 9, -1)]  # 30 of them common, in another order
    other = synthetic_store(
        made.root, texts=texts, model="other", n_blocks=1, top_form=None, dim=5, seed=1
    )
    store = Store(made.root)
    table = store.drift(["text12", "text30"], spaces=made.space, against=other.space, k=4)
    assert f"from {made.space} to {other.space}" in table.notes[0]
    assert [(row["layer"], row["layer_2"], row["space_2"], row["n"]) for row in table] == [
        (layer, layer, other.space, 30) for _ in range(2) for layer in (0, 1)
    ]
    common = [text for text in made.texts if text in texts]
    common.sort(key=lambda text: made.ids[made.texts.index(text)])
    for row in table:
        first = made.layer(row["layer"])[[made.texts.index(text) for text in common]]
        second = other.layer(row["layer_2"])[[texts.index(text) for text in common]]
        overlap, turnover = brute(first, second, common.index(row["text"]), 4)
        assert (row["overlap"], row["turnover"]) == (
            pytest.approx(overlap),
            pytest.approx(turnover, abs=1e-9),
        )
    every = store.drift("text12", spaces=made.space, against=other.space, pairs="all", k=4)
    assert [(row["layer"], row["layer_2"]) for row in every] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    third = synthetic_store(made.root, texts=texts, model="third", n_blocks=3, top_form=None)
    with pytest.raises(UsageError):
        Store(made.root).drift("text12", spaces=made.space, against=third.space)
    ends = Store(made.root).drift(
        "text12", spaces=made.space, against=third.space, layers="0,top", k=4
    )
    assert [(row["layer"], row["layer_2"]) for row in ends] == [(0, 0), (1, 3)]
    with pytest.raises(NotStoredError, match="'text99' is not in"):
        store.drift("text99", against=other.space)


def test_a_space_of_one_layer_is_passed_over_among_others(made, make_store):
    single = make_store(n=12, n_blocks=0, top_form=None, model="flat")
    assert len(single.store.catalog.cards[single.space].layers) == 1
    found = single.store.drift(most=2)
    assert set(found["space"]) == {made.space}
    named = single.store.drift(most=2, spaces=[made.space, single.space])
    assert named.to_pylist() == found.to_pylist()
    assert any(note.startswith(f"{single.space} is left out: ") for note in named.notes)
    for metric in ("rsa", "cka"):
        assert {*single.store.query(metric)["space"]} == {made.space, single.space}
    with pytest.raises(UsageError, match="drift is between layers"):
        single.store.drift(most=2, spaces=single.space)


def test_a_word_in_several_sentences_is_asked_for_in_spaces_of_words(make_store):
    made = make_store(texts=["bank", "river", "money", "boat"], n_blocks=1, index=False)
    sentences = ["bank of a river", "bank has money", "sea of green", "sea and sun"]
    other = make_store(texts=sentences, unit="occurrence", n_blocks=1, index=False)
    found = other.store.drift("bank", k=2)
    assert set(found["space"]) == {made.space}
    with pytest.raises(UsageError, match=r"^'bank' occurs in 2 sentences"):
        other.store.drift("bank", k=1, spaces=other.space)
    with pytest.raises(UsageError, match=r"'sea' is not by itself in toy\.word\.last\. 'sea' occ"):
        other.store.drift("sea", k=1)


def test_spaces_without_common_items_are_refused(make_store):
    made = make_store(n=12, n_blocks=1, top_form=None)
    synthetic_store(made.root, texts=["a", "b"], model="other", n_blocks=1, top_form=None)
    synthetic_store(
        made.root, texts=["a b"], unit="sentence", model="third", n_blocks=1, top_form=None
    )
    store = Store(made.root)
    with pytest.raises(QueryError, match="no item in common"):
        store.drift(spaces=made.space, against="other.word.last", k=1)
    with pytest.raises(QueryError, match="no item in common"):
        store.drift(spaces=made.space, against="third.sentence.last", k=1)
    with pytest.raises(UnknownNameError, match=r"other\.word\.last"):
        store.drift(spaces=made.space, against="other.word.lst")
    with pytest.raises(UsageError, match="names another space than other"):
        store.drift(spaces="other.word.last", against="other.word.last")


def test_the_selected_items_are_the_only_neighbours(made):
    where = "text LIKE '%1%' OR text LIKE '%2%'"
    rows = made.store.drift("text3", where=where, k=3).to_pylist()
    kept = [text for text in made.texts if "1" in text or "2" in text]
    assert {row["n"] for row in rows} == {len(kept) + 1}, "with the item itself"
    assert {text for row in rows for text in row["lost"] + row["gained"]} <= {*kept}
    sampled = made.store.drift(sample=20, seed=3, most=2, k=3)
    assert set(sampled["n"]) == {20}
    assert sampled["item_id"] != made.store.drift(sample=20, seed=4, most=2, k=3)["item_id"]


def test_zero_vectors_are_left_out_of_all_layers(make_store):
    vectors = np.random.default_rng(0).normal(size=(3, 12, 4))
    vectors[1, 5] = 0
    made = make_store(n=12, dim=4, n_blocks=2, top_form=None, vectors=vectors)
    table = made.store.drift(["text4", "text5"], k=3)
    assert set(table["text"]) == {"text4"}
    assert {(row["n"], row["n_zero"]) for row in table} == {(11, 1)}
    [row] = made.store.drift("text5", k=3)
    assert (row["overlap"], row["layer"], row["layer_2"]) == (None, 0, 2)
    assert row["reason"] == "none of these items has a direction in all layers"


def test_items_that_are_all_equally_near_do_not_change(make_store):
    vectors = np.random.default_rng(0).normal(size=(2, 12, 12))
    vectors[1] = np.eye(12)
    made = make_store(n=12, dim=12, n_blocks=1, top_form=None, vectors=vectors)
    [row] = made.store.drift(k=3)
    assert row["overlap"] is None
    assert "equally near" in row["reason"]


def test_a_layer_that_cannot_be_transformed_is_named_in_one_row(make_store):
    vectors = np.random.default_rng(0).normal(size=(4, 12, 4))
    vectors[0] = 1
    made = make_store(n=12, dim=4, n_blocks=3, top_form=None, vectors=vectors)
    options = {"k": 3, "transforms": "standardize"}
    for cache in (True, True, False):
        [row] = made.store.query("drift", cache=cache, **options)
        assert (row["overlap"], row["layer"], row["layer_2"]) == (None, 0, 3)
        assert row["reason"].startswith("standardize removes everything")
    named = [
        (row["layer"], row["layer_2"]) for row in made.store.query("drift", layers="1-3", **options)
    ]
    assert {*named} == {(1, 2), (2, 3)}


def test_drift_is_a_metric_whose_answers_are_stored(made):
    table = made.store.query("drift", text=["text3"], k=3)
    assert table.to_pylist() == made.store.drift("text3", k=3).to_pylist()
    assert all(lookup.is_stored for lookup in made.store.cache_state("drift", text="text3", k=3)[0])
    [row] = made.store.query("drift", k=40, layers="0,1", most=1).to_pylist()[:1]
    assert (row["overlap"], "40 neighbours of 39" in row["reason"]) == (None, True)
