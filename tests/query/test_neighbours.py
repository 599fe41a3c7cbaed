"""The neighbours of a text through a store, against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nearest import assert_same, hits, nearest
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import DamagedError, NotStoredError, UsageError
from embstore.query import neighbours as module
from embstore.query.lookup import parse_queries
from embstore.storage.card import SpaceFilter


@settings(deadline=None, max_examples=10)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=3),
    k=st.integers(1, 40),
)
@pytest.mark.slow
def test_neighbours_are_brute_force_after_any_builds(tmp_path_factory, seed, sizes, k):
    root = tmp_path_factory.mktemp("store")
    parts = []
    for number, size in enumerate(sizes):
        texts = [f"{number}.{place}" for place in range(size)]
        index = number == len(sizes) - 1 or number % 2 == 0
        parts.append(
            synthetic_store(
                root, texts=texts, n_shards=2, seed=seed + number, index=index, dtype="float16"
            )
        )
    texts = [text for part in parts for text in part.texts]
    for layer in parts[0].card.layers:
        x = np.concatenate([part.layer(layer.id) for part in parts])
        found = Store(root).neighbours("0.0", layers=layer.name, k=k)
        assert bool(found.notes) == (len(texts) == 1)  # there is no other item
        assert_same(hits(found), nearest(texts, x, "0.0", k))
        assert found["rank"] == list(range(1, min(k, len(texts) - 1) + 1))


def test_rows_have_the_columns_of_the_format_and_wrong_questions_are_refused(make_store):
    made = make_store(n=5)
    rows = made.store.neighbours("text1", k=2, layers="2").to_pylist()
    assert (
        " ".join(rows[0]) == "space model layer layer_name query rank item_id text context cosine"
    )
    by_id = {item.id: item.text for item in made.items}
    for row in rows:
        assert (row["space"], row["model"], row["layer"], row["query"]) == (
            made.space,
            "toy",
            2,
            "text1",
        )
        assert by_id[row["item_id"]] == row["text"]

    store = make_store(n=5).store
    with pytest.raises(UsageError, match="k must be at least 1"):
        store.neighbours("text1", k=0)
    with pytest.raises(UsageError, match="give at least one text"):
        store.neighbours([])


def test_a_space_of_one_item_says_that_there_is_no_other(make_store):
    found = make_store(n=1, index=False).store.neighbours("text0")
    assert (len(found), found.notes[-1]) == (
        0,
        "toy.word.last: there is no other item to compare with.",
    )


def test_the_default_layer_is_the_top_and_all_layers_are_in_numeric_order(make_store):
    made = make_store(n=5, n_blocks=11)
    assert made.store.neighbours("text1")["layer"] == [11] * 4
    layers = made.store.neighbours("text1", layers="all", k=1)["layer_name"]
    assert layers == [*map(str, range(12)), "raw"]


def test_several_texts_spaces_and_layers_stand_side_by_side(make_store):
    made = make_store(n=10)
    other = make_store(n=10, model="other", n_blocks=1, seed=5)
    found = made.store.neighbours(["text1", "text2"], layers="0,1", k=3)
    assert len(found) == 2 * 2 * 2 * 3
    for each in (made, other):
        for layer in (0, 1):
            for text in ("text1", "text2"):
                part = [
                    row
                    for row in found
                    if (row["space"], row["layer"], row["query"]) == (each.space, layer, text)
                ]
                assert_same(
                    [(r["text"], r["cosine"]) for r in part],
                    nearest(each.texts, each.layer(layer), text, 3),
                )
    header, lines = found.layout()
    assert header == [
        "query",
        "rank",
        "other.word.last 0",
        "other.word.last 1",
        "toy.word.last 0",
        "toy.word.last 1",
    ]
    assert [line[:2] for line in lines] == [
        [text, str(rank)] for text in ("text1", "text2") for rank in (1, 2, 3)
    ]


def test_equal_vectors_are_in_order_of_ids_and_the_item_itself_is_left_out(make_store):
    for index in (True, False):
        made = make_store(f"store-{index}", n=9, vectors=np.ones((5, 9, 8)), index=index)
        found = made.store.neighbours("text4", k=20)
        assert found["item_id"] == sorted(item.id for item in made.items if item.text != "text4")
        assert found["cosine"] == pytest.approx([1.0] * 8)
        assert len(made.store.neighbours("text4", k=3)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flat", "hnsw", "none"])
def test_neighbours_cosine_and_sql_give_the_same_number_to_the_last_bit(make_store, kind):
    vectors = np.random.default_rng(0).normal(size=(5, 60, 24))
    vectors[:, :, 3] += 300
    made = make_store(n=60, dim=24, vectors=vectors)
    if kind != "none":
        made.store.index(kind=kind)
    found = made.store.neighbours("text4", k=5, layers=2, exact=kind == "none").to_pylist()
    for row in found:
        [pair] = made.store.cosine(["text4", row["text"]], layers=2).to_pylist()
        vec = f"vec('{made.space}', 2, '{{}}')"
        [(in_sql,)] = made.store.sql(
            f"SELECT cosine({vec.format('text4')}, {vec.format(row['text'])})"
        ).fetchall()
        assert row["cosine"] == pair["cosine"] == in_sql
    right = nearest(made.texts, made.layer(2), "text4", 5)
    assert [row["text"] for row in found] == [text for text, _ in right]
    assert [row["cosine"] for row in found] == pytest.approx([c for _, c in right], abs=1e-14)


def test_a_zero_vector_has_no_neighbours_and_says_so(make_store):
    vectors = np.random.default_rng(0).normal(size=(5, 6, 8))
    vectors[2, 1] = 0
    made = make_store(n=6, vectors=vectors)
    found = made.store.neighbours(["text1", "text2"], layers="1,2", k=10)
    assert "'text1' is the zero vector in toy.word.last layer 2: no direction." in found.notes
    assert {(row["query"], row["layer"]) for row in found} == {
        ("text1", 1),
        ("text2", 1),
        ("text2", 2),
    }
    assert len(made.store.neighbours("text1", layers=2)) == 0
    # Nor is it a neighbour: a cosine of 0 would stand before those that really point away.
    assert [row["text"] for row in found if row["layer"] == 2].count("text1") == 0
    assert {row["text"] for row in found if row["query"] == "text2" and row["layer"] == 1} == set(
        made.texts
    ) - {"text2"}
    assert made.store.verify().ok
    scanned = make_store("scanned", n=6, vectors=vectors, index=False).store.neighbours(
        "text2", layers=2, k=10
    )
    assert scanned["text"] == [
        row["text"] for row in found if (row["query"], row["layer"]) == ("text2", 2)
    ]


def test_a_text_that_is_not_stored_names_the_nearest_and_the_remedy(make_store):
    store = make_store(texts=["house", "horse", "zebra"]).store
    with pytest.raises(NotStoredError):
        store.neighbours("hause")
    with pytest.raises(NotStoredError, match=r"is not in .*Several texts are separate arguments, "):
        store.neighbours("house, horse")
    store.add_vectors("own", ["house"], np.eye(1))
    with pytest.raises(NotStoredError, match=r"Several texts are .* Their vectors were imported"):
        store.neighbours("house,horse", spaces="own")
    store = make_store(texts=["duo", "ago", "ego", "do", "dog", "god"]).store
    with pytest.raises(NotStoredError, match="Nearest stored texts: 'dog', "):
        store.neighbours("dgo")


SENTENCES = ["the bank of the river", "a bank for money", "the river runs"]


def test_a_marked_word_is_found_in_its_sentence_and_a_word_of_one_sentence_needs_no_mark(
    make_store,
):
    made = make_store(unit="occurrence", texts=SENTENCES)
    found = made.store.neighbours(marked="the [bank] of the river", k=20)
    assert len(found) == len(made.items) - 1
    shown = [item.shown for item in made.items]
    x = made.layer(3)
    right = nearest(shown, x, "the [bank] of the river", 20)
    assert_same(hits(found, "context"), right)
    assert {row["query"] for row in found} == {"the [bank] of the river"}

    assert len(made.store.neighbours("money", k=3)) == 3
    with pytest.raises(UsageError) as caught:
        made.store.neighbours("bank")
    assert "the [bank] of the river" in str(caught.value)
    make_store(texts=["bank", "river", "money"])
    found = Store(made.root).neighbours("bank", k=2)
    assert set(found["space"]) == {"toy.word.last"}
    assert not any("'bank' occurs in 2 sentences" in note for note in found.notes)


def test_sentences_of_another_space_do_not_make_a_word_ambiguous(make_store):
    make_store(unit="occurrence", texts=SENTENCES[:1], model="one")
    made = make_store(unit="occurrence", texts=SENTENCES[1:2], model="two")
    assert len(made.store.neighbours("bank", models="two", k=2)) == 2


def test_a_mark_needs_a_space_of_words_in_sentences(make_store):
    made = make_store(texts=["bank", "river"])
    with pytest.raises(NotStoredError):
        made.store.neighbours(marked="the [bank] of the river")
    with pytest.raises(UsageError, match="exactly one word with brackets"):
        made.store.neighbours(marked="the bank")
    occurrences = make_store(unit="occurrence", texts=SENTENCES)
    near = (
        r"Nearest stored texts: 'a \[bank\] for money', 'the \[bank\] of the river', '\[a\] bank"
        r" for money'\."
    )
    with pytest.raises(NotStoredError, match=rf"is not in toy\.occurrence\.last\. {near}"):
        occurrences.store.neighbours(marked="a [bank] of money", unit="occurrence")
    occurrences.store.neighbours(marked="a [bank] for money", unit="occurrence")


def test_a_text_that_is_no_unicode_is_not_stored_and_harms_nothing(make_store):
    """What a shell passes on that is not UTF-8 has lone surrogates in it, which DuckDB does not
    take.
    """
    make_store(texts=["bank", "river"])
    made = make_store(unit="occurrence", texts=SENTENCES)
    with pytest.raises(NotStoredError, match=r"is not in .*Nearest stored texts: 'bank'"):
        made.store.neighbours("bank\udcff")
    for marked in ("a [bank\udcff] for money", "\udcff a [bank] for money"):
        with pytest.raises(NotStoredError, match=r"Nearest stored texts: 'a \[bank\] for money'"):
            made.store.neighbours(marked=marked, unit="occurrence")


def test_a_text_that_is_embedded_now_keeps_all_neighbours(make_store):
    made = make_store(n=8)
    searched = []

    def embed(card, item):
        searched.append((card.space, item.text))
        return {layer.id: made.layer(layer.id)[3] for layer in card.layers}

    def find(text):
        return module.neighbours(
            made.store.catalog, parse_queries([text], []), SpaceFilter(), "2", 20, embed
        )

    found = find("new")
    assert searched == [(made.space, "new")]
    assert found["text"][0] == "text3"
    assert found["cosine"][0] == pytest.approx(1)
    assert len(found) == 8
    assert len(find("text3")) == 7
    assert len(searched) == 1, "what is stored is not encoded again"


@pytest.mark.parametrize("indexed", [True, False])
def test_a_damaged_vector_of_the_query_is_never_searched_for(make_store, indexed):
    made = make_store(n=200, dim=16, n_shards=1, index=indexed)
    assert len(made.store.neighbours("text5", layers=2, k=3)) == 3
    made.overwrite_vector(2, 5, np.nan)
    with pytest.raises(
        DamagedError, match=r"is damaged: it has a value that is not finite.*embstore repair"
    ):
        made.store.neighbours("text5", layers=2, k=3)
    assert made.store.neighbours("text5", layers=3, k=3), "other layers still answer"


@settings(deadline=None, max_examples=5)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_text_can_be_asked_for(make_store, text):
    store = make_store(f"store{abs(hash(text))}", texts=sorted({text, "other", "third"})).store
    assert set(store.neighbours(text, k=5)["text"]) == {text, "other", "third"} - {text}


@pytest.mark.parametrize(
    ("text", "has_hint"), [("dog - cat + cow", True), ("well - known", True), ("a dog", False)]
)
def test_an_unknown_sum_of_words_is_answered_with_the_arguments_for_one(make_store, text, has_hint):
    store = make_store(texts=["dog", "cat", "cow"]).store
    with pytest.raises(NotStoredError, match=r"is not in toy\.word\.last") as caught:
        store.neighbours(text)
    assert ("positive=" in str(caught.value)) == has_hint
    assert "embstore build" in str(caught.value)
