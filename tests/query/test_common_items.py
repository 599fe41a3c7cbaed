"""Spaces that are measured over the same items, and what results say of the items that they are
over.
"""

from typing import Any

import numpy as np
import pytest
from datasets_written import write_lexicon, write_pairs
from kept_columns import write_columns
from tiny_checkpoint import stored_files

from embstore import Store
from embstore.base.errors import QueryError
from embstore.query import common

TEXTS = [f"text{number}" for number in range(30)]


@pytest.fixture
def store(make_store):
    """Two spaces of 30 and 20 words, of which 15 are in both, with a dataset of pairs and a space
    of sentences.
    """
    first = make_store(texts=TEXTS, index=False)
    make_store(
        texts=[*TEXTS[15:], *(f"own{number}" for number in range(5))],
        model="other",
        seed=1,
        index=False,
    )
    make_store(texts=["one sentence", "another one"], unit="sentence", index=False)
    write_pairs(first, texts=TEXTS)
    return first.store


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("anisotropy", {}), ("hubness", {"k": 3, "transforms": "center"}), ("cka", {"sample": 12,
    "seed": 3}),
    ("similarity", {"resamples": 0}), ("isoscore", {"where": "length(text) = 6"}),
]  # fmt: skip


@pytest.mark.parametrize(("metric", "options"), ASKED, ids=[metric for metric, _ in ASKED])
def test_common_items_are_those_of_a_list_of_them(store, metric, options):
    found = store.query(metric, unit="word", layers=[0, 2], common=True, **options)
    listed = store.query(metric, unit="word", layers=[0, 2], words=TEXTS[15:], **options)
    assert {*found["common"]} == {"other.word.last,toy.word.last"}
    own = ("words", "words_sha256", "words_missing", "common")
    rows = [
        [{key: value for key, value in row.items() if key not in own} for row in table]
        for table in (found, listed)
    ]
    assert rows[0] == rows[1]
    assert len({row["n"] for row in found}) == 1
    assert not any("not measured over the same" in note for note in found.notes)
    assert (
        found.rows == store.query(metric, unit="word", layers=[0, 2], common=True, **options).rows
    ), "as it is stored"


def test_an_answer_over_common_items_is_computed_again_when_they_change(store, make_store):
    before = store.query("hubness", k=3, unit="word", common=True)["n"]
    make_store(texts=["own5"], model="toy", seed=4, index=False)
    make_store(texts=["own5"], model="other", seed=5, index=False)
    assert [n + 1 for n in before] == store.query("hubness", k=3, unit="word", common=True)["n"]


def test_a_space_without_the_layer_does_not_restrict_the_others(store, make_store):
    make_store(texts=TEXTS[:2], model="low", n_blocks=0, index=False)
    assert {*store.query("anisotropy", unit="word", layers=2, common=True)["n"]} == {15}


def test_spaces_over_different_items_are_noted(store):
    note = (
        "The 2 spaces of words are not measured over the same: n is {} to {}. To take what all of"
        " them have: "
    )
    note += "common=True unit='word'"  # with the space of sentences there is no common item
    assert note.format(20, 30) in store.query("anisotropy", layers=0).notes
    sampled = store.query("norms", layers=0, sample=10, unit="word").notes
    equal = note.replace("n is {} to {}", "n is equal, but the items differ")
    assert equal in sampled
    assert (
        equal
        in store.query("norms", layers=0, words=[*TEXTS[:6], "own1", *TEXTS[20:25]], sample=6).notes
    )
    assert (
        equal not in store.query("norms", layers=0, words=TEXTS[15:], sample=6, unit="word").notes
    )
    pairs = store.query("similarity", resamples=0, layers=0)
    assert note.format(*sorted({*pairs["n"]})) in pairs.notes
    same = store.query(
        "norms", layers=0, unit="word", where="text LIKE 'text2%' AND length(text) = 6"
    )
    assert not any("not measured" in note for note in same.notes)


def test_as_many_items_that_differ_are_noted(make_store, monkeypatch):
    store = make_store(texts=TEXTS[:20], index=False).store
    make_store(texts=TEXTS[10:], model="other", index=False)
    with monkeypatch.context() as few:
        few.setattr(common, "_MOST_COMPARED", 19)
        assert not any("not measured" in each for each in store.query("norms", layers=0).notes)
        assert any(
            "not measured" in each for each in store.query("norms", layers=0, sample=9).notes
        )
    note = (
        "The 2 spaces of words are not measured over the same: n is equal, but the items differ. To"
        " take"
    )
    for metric in ("norms", "cka"):
        for _ in range(2):  # computed, and stored
            assert any(each.startswith(note) for each in store.query(metric, layers=0).notes)
        assert not any(
            "not measured" in each for each in store.query(metric, layers=0, common=True).notes
        )
    make_store(texts=TEXTS[:10], model="other", index=False)
    make_store(texts=TEXTS[20:], index=False)
    assert not any("not measured" in each for each in store.query("norms", layers=0).notes)
    for shard in stored_files(store.path, "vectors/space=other"):
        shard.write_bytes(shard.read_bytes()[:-99])
    assert len(Store(store.path).query("anisotropy", layers=0)) == 2, (
        "an answer from summaries needs no vectors"
    )


def test_a_column_that_each_space_has_of_its_own_selects_what_all_of_them_select(make_store):
    made = make_store(texts=TEXTS, index=False)
    other = make_store(texts=TEXTS, model="other", index=False)
    write_columns(made, {f"n_tokens.{made.space}": [1] * 20 + [2] * 10})
    write_columns(other, {f"n_tokens.{other.space}": [2] * 5 + [1] * 25})
    found = made.store.query("norms", layers=0, where="n_tokens = 1", common=True)
    assert found["n"] == [15, 15]
    assert found["mean"] == made.store.query("norms", layers=0, words=TEXTS[5:20])["mean"]
    grouped = made.store.query("norms", layers=0, by="n_tokens", common=True)
    assert (
        "The 2 spaces of words have the same items, but differ in their n_tokens: n is 5 to 25."
        in grouped.notes
    )


def test_spaces_without_common_items_are_refused_with_their_sizes(store, make_store):
    sizes = r"toy\.word\.last \(30\)"
    with pytest.raises(
        QueryError,
        match=rf"no item is in all of the spaces (?=.*{sizes}).*toy\.sentence\.last \(2\)",
    ):
        store.query("anisotropy", common=True)


def test_results_and_info_name_the_datasets_that_a_space_has_items_of(make_store):
    made = make_store(texts=TEXTS, index=False)
    assert made.store.query("norms", layers=0).notes == ("toy.word.last: n = 30",)
    write_lexicon(made, TEXTS[:7])
    store = Store(made.root)
    assert store.query("isoscore", layers=0).notes == ("toy.word.last: n = 30",), (
        "there is one dataset"
    )
    assert any(
        note.startswith("toy.word.last: 7 of bellezza, 23 of no dataset")
        for note in store.info().notes
    )
    write_lexicon(made, TEXTS, name="words_30")
    store = Store(made.root)
    assert any(
        note.startswith("toy.word.last: 7 of bellezza, 30 of words:30, 0 of no")
        for note in store.info().notes
    )
    source = (
        "n is of all items, of whatever source. The store has bellezza, words:30; embstore info"
        " counts the items "
    )
    source += "of each. To measure those of one: words='SOURCE'"
    for _ in range(2):  # computed, and stored
        assert source in store.query("isoscore", layers=0).notes
        assert source in store.query("cka", layers=0).notes
    assert source not in store.query("isoscore", layers=0, words=TEXTS[:9]).notes
    [file] = made.root.glob("datasets/bellezza*")
    file.write_bytes(file.read_bytes()[:-9])
    assert Store(made.root).info()["items"] == [30], "a damaged dataset is not counted"


def test_the_baseline_of_selected_words_is_noted_and_that_of_the_word_itself_not_subtracted(
    make_store,
):
    made = make_store(texts=[f"the bank {n}" for n in range(4)], unit="occurrence", index=False)
    found = made.store.query(
        "self-similarity", word="the", words="the,", adjusted=True, min_contexts=2, layers=0
    )
    [row] = found
    assert row["self_similarity"] == pytest.approx(row["baseline"])
    assert row["adjusted"] is None
    assert (
        row["reason"] == "adjusted: the baseline is of the word itself, since no other is selected"
    )
    assert "baseline: of the items that `words` selects alone; without it, of all." in found.notes
    whole = made.store.query("self-similarity", word="the", adjusted=True, min_contexts=2, layers=0)
    assert np.isfinite(whole["adjusted"][0])
    assert not any(note.startswith("baseline") for note in whole.notes)
