"""Drift: overlap and turnover of neighbourhoods, against brute force, and what does not change
them.
"""

from collections.abc import Iterable
from itertools import combinations, pairwise

import numpy as np
import pytest
from synthetic import Synthetic, synthetic_store

from embstore import Store
from embstore.base.errors import NotStoredError, QueryError, UnknownNameError, UsageError
from embstore.base.progress import Progress, observing
from embstore.index import exact_knn
from embstore.storage.answers import stored_answers


@pytest.fixture
def made(make_store):
    return make_store(n=40, n_blocks=2, top_form=None)


def brute(first: np.ndarray, second: np.ndarray, row: int, k: int) -> tuple[float, float]:
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


def by_id(made: Synthetic, layer: int) -> tuple[list[int], np.ndarray]:
    order = np.argsort(made.ids)
    return made.ids[order].tolist(), made.layer(layer)[order]


def lists_by_id(made: Synthetic, layer: int, k: int) -> dict[int, list[int]]:
    """The k nearest of each item by cosine in 12 digits, then by id."""
    ids, vectors = by_id(made, layer)
    units = vectors.astype(np.float64) / np.linalg.norm(
        vectors.astype(np.float64), axis=1, keepdims=True
    )
    order = [np.lexsort((ids, -np.round(units @ row, 12))) for row in units]
    return {
        item: [ids[at] for at in near if ids[at] != item][:k]
        for item, near in zip(ids, order, strict=True)
    }


def check(made: Synthetic, table: Iterable[dict], k: int) -> None:
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
    assert len(made.store.drift()) == 2 * 2 * 10, "ten of each by default"
    assert len({row["item_id"] for row in made.store.drift(most=30, k=5)}) == 40, (
        "no item is in both lists"
    )


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
    with pytest.raises(UsageError, match=r"2 layers of .* and 4 of .*pairs=\'all\'"):
        Store(made.root).drift("text12", spaces=made.space, against=third.space)
    ends = Store(made.root).drift(
        "text12", spaces=made.space, against=third.space, layers="0,top", k=4
    )
    assert [(row["layer"], row["layer_2"]) for row in ends] == [(0, 0), (1, 3)]
    with pytest.raises(NotStoredError, match="'text99' is not in"):
        store.drift("text99", against=other.space)


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


def test_only_selected_items_are_neighbours(made):
    where = "text LIKE '%1%' OR text LIKE '%2%'"
    table = made.store.drift("text3", where=where, k=3)
    assert "1 of the words are not among the selected items, and are added" in " ".join(table.notes)
    chosen = {text for text in made.texts if "1" in text or "2" in text}
    for row in table:
        assert {*row["lost"], *row["gained"]} <= chosen
        assert (row["n"], row["where"]) == (len(chosen) + 1, where)
    sampled = made.store.drift(sample=20, seed=3, most=2, k=3)
    assert {(row["n"], row["sample"], row["seed"]) for row in sampled} == {(20, 20, 3)}
    assert any("n = 20, a random sample (seed 3); lists" in note for note in sampled.notes)
    notes = made.store.drift(sample=60, most=2, k=3).notes
    assert f"{made.space}: the sample of 60 is all 40 items." in notes
    assert not any("random sample" in note for note in notes)
    assert [row["item_id"] for row in made.store.drift(sample=20, seed=4, most=2, k=3)] != sampled[
        "item_id"
    ]


def test_zero_vectors_are_left_out(make_store):
    vectors = np.random.default_rng(0).normal(size=(2, 20, 6))
    vectors[1, 4] = 0
    made = make_store(n=20, dim=6, n_blocks=1, top_form=None, vectors=vectors)
    table = made.store.drift(["text4", "text5"], k=3)
    assert [(row["text"], row["n"]) for row in table] == [("text5", 19)]
    assert "n_zero = 1" in " ".join(table.notes)
    keep = np.array([at for at in range(20) if at != 4])
    order = keep[np.argsort(made.ids[keep])]
    overlap, turnover = brute(
        made.layer(0)[order], made.layer(1)[order], order.tolist().index(5), 3
    )
    assert (table["overlap"], table["turnover"]) == (
        [pytest.approx(overlap)],
        [pytest.approx(turnover)],
    )


def test_equal_items_have_no_drift(make_store):
    vectors = np.random.default_rng(0).normal(size=(2, 1, 6)).repeat(20, axis=1)
    vectors[1] = np.random.default_rng(1).normal(size=(20, 6))
    made = make_store(n=20, dim=6, n_blocks=1, top_form=None, vectors=vectors)
    [row] = made.store.drift("text4", k=3)
    assert (row["overlap"], row["turnover"]) == (None, None)
    assert row["reason"].startswith(
        "in one of the layers all nearest neighbours of the item are equally near"
    )
    ranking = made.store.drift(k=3)
    assert len(ranking) == 0
    assert "n_tied = 20 (items left out of the ranking: in one of the layers" in " ".join(
        ranking.notes
    )
    orthogonal = np.stack([np.eye(6), np.eye(6)[::-1]])
    made = make_store("orthogonal", n=6, dim=6, n_blocks=1, top_form=None, vectors=orthogonal)
    [row] = made.store.drift("text4", k=5)
    assert (row["overlap"], row["turnover"]) == (1, None), (
        "all others are neighbours, and no cosine differs from 0"
    )
    assert "all cosines of a layer are zero" in row["reason"]


def test_a_tie_of_some_items_is_theirs_alone_whichever_others_are_requested(make_store):
    # As occurrences in layer 0: the same word at the same position has the same vector in every
    # sentence.
    vectors = np.random.default_rng(0).normal(size=(2, 20, 6))
    vectors[0, :8] = vectors[0, 0]
    made = make_store(n=20, dim=6, n_blocks=1, top_form=None, vectors=vectors)
    together = made.store.drift(made.texts, k=5)
    units = vectors[0] / np.linalg.norm(vectors[0], axis=1, keepdims=True)
    cosines = np.sort(units @ units.T - 9 * np.eye(20), axis=1)[:, -6:]
    tied = {text for text, row in zip(made.texts, cosines, strict=True) if np.ptp(row) < 1e-12}
    assert {f"text{at}" for at in range(8)} < tied, "and an item whose nearest are the equal ones"
    assert len(tied) < 15
    assert {row["text"] for row in together if row["overlap"] is None} == tied
    assert {row["text"] for row in together if row["reason"]} == tied
    check(made, [row for row in together if row["text"] not in tied], 5)
    are_last_tied = cosines[:, 1] - cosines[:, 0] < 1e-12
    assert len(tied) <= are_last_tied.sum() < 20
    assert f"n_tied_last = {are_last_tied.sum()} (items that have, in some layer" in " ".join(
        together.notes
    )
    chosen = lists_by_id(made, 0, 5)
    other = lists_by_id(made, 1, 5)
    for row in together:
        assert [made.ids[made.texts.index(text)] for text in row["lost"]] == [
            item for item in chosen[row["item_id"]] if item not in other[row["item_id"]]
        ], "the lowest ids of equally near items"
    [note] = [note for note in together.notes if "equally near" in note]
    assert note.startswith("toy.word.last layer 0 and toy.word.last layer 1, 'text")
    for row in (together.to_pylist()[0], next(row for row in together if row["text"] not in tied)):
        assert made.store.drift(row["text"], k=5).to_pylist() == [row]
    ranked = made.store.drift(most=20, k=5)
    assert {row["text"] for row in ranked} == {*made.texts} - tied
    assert any(f"n_tied = {len(tied)} " in note for note in ranked.notes)


def test_items_are_tied_by_the_rounding_of_their_cosines_as_for_overlap(make_store):
    vectors = np.random.default_rng(0).normal(size=(2, 20, 6))
    vectors[:, :, 0] += 2e5
    made = make_store(n=20, dim=6, n_blocks=1, top_form=None, vectors=vectors)
    x = made.vectors.astype(np.longdouble)
    units = x / np.sqrt((x**2).sum(axis=2, keepdims=True))
    cosines = np.einsum("lnd,lmd->lnm", units, units) - 9 * np.eye(20)
    assert cosines.max() - cosines[cosines > 0].min() < 1e-9
    first, second = np.argsort(-cosines, axis=2)[:, :, :3]
    overlap = [len({*a} & {*b}) / 3 for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    assert made.store.drift(made.texts, k=3)["overlap"] == pytest.approx(overlap)
    shared = made.store.query("overlap", layers="0,1", k=3).to_pylist()
    assert next(
        row["overlap"] for row in shared if row["layer"] != row["layer_2"]
    ) == pytest.approx(np.mean(overlap))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k": 0}, UsageError, "k must be at least 1"),
        ({"k": 40}, QueryError, "40 neighbours of 39 other items: take a smaller k"),
        ({"most": 0}, UsageError, "most must be at least 1"),
        ({"most": 2, "texts": "text3"}, UsageError, "not both"),
        ({"pairs": "al"}, UnknownNameError, "all"),
        ({"where": "text = 'nothing'"}, QueryError, "10 neighbours of 0 other items"),
    ],
)
def test_mistakes(made, arguments, error, message):
    with pytest.raises(error, match=message):
        made.store.drift(**arguments)


def test_a_space_of_one_layer_has_no_drift_by_itself(tmp_path):
    store = Store(tmp_path)
    store.add_vectors("mine", ["a", "b", "c"], np.eye(3, dtype=np.float32))
    with pytest.raises(
        UsageError, match=r"mine has a single one\. .* another space: against=\'SPACE\'"
    ):
        store.drift("a")


def test_a_word_of_several_sentences_is_ambiguous(make_store):
    sentences = ["the bank of the river", "a bank lends money to a river"]
    made = make_store(texts=sentences, unit="occurrence", n_blocks=1, top_form=None)
    with pytest.raises(
        UsageError, match=r"occurs in 2 sentences.*marked=\'the \[bank\] of the river\'"
    ):
        made.store.drift("bank", k=2)
    table = made.store.drift(marked="the [bank] of the river", k=2)
    assert [(row["text"], row["context"]) for row in table] == [("bank", "the [bank] of the river")]
    assert all("[" in text for text in (*table["lost"][0], *table["gained"][0]))


@pytest.mark.slow
def test_answers_are_kept_as_those_of_metrics(made):
    first = made.store.drift(most=3)
    [answer] = stored_answers(made.root)
    seen: list[Progress] = []
    with observing(seen.append):
        assert made.store.drift(most=3) == first
    assert not seen, "nothing is computed"
    assert made.store.drift(most=3, cache=False) == first
    made.store.drift("text3")
    made.store.drift(most=3, k=4)
    made.store.drift(most=3, where="random() < 2")  # is not kept
    assert len(stored_answers(made.root)) == 3
    answer.write_bytes(answer.read_bytes()[:-30])
    assert made.store.drift(most=3) == first, "a damaged one is computed again"
    synthetic_store(made.root, texts=["more"], n_blocks=2, top_form=None, new_only=True, seed=5)
    assert {row["n"] for row in Store(made.root).drift(most=3)} == {41}
    assert Store(made.root).verify(deep=True).ok


def test_drift_is_cited(made):
    made.store.drift("text3")
    for found in (made.store.cite("drift"), made.store.cite()):
        text = str(found)
        assert (
            "Simple, Interpretable and Stable Method for Detecting Words with Usage Change" in text
        )
        assert "Cultural Shift or Linguistic Drift" in text
        assert not [note for note in found.notes if "drift" in note]


def test_progress_and_memory(made, monkeypatch):
    monkeypatch.setattr(exact_knn, "_QUERIES", -(-len(made.ids) // 2))
    seen: list[Progress] = []
    with observing(seen.append):
        made.store.drift(most=2)
    shares = [each.share for each in seen]
    assert shares == sorted(shares)
    assert shares[1] == pytest.approx(0.5 / 3), "half of the search in the first layer"
    assert {each.stage for each in seen} == {"compute"}
    assert (seen[-1].done, seen[-1].total) == (3, 3), "layers, as the terminal counts them"
