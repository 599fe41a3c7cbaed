"""What brings the indexes of a space up to date: built, extended or kept, by what was asked for."""

import numpy as np
import pytest
from store_damage import flip
from synthetic import index_space

from embstore.base.errors import QueryError, UnknownNameError, UsageError
from embstore.index import card as index_card
from embstore.index import readable_card, updating
from embstore.index.building import RecallQueries
from embstore.index.updating import update_indexes

KINDS = ("flat", "hnsw")


def cards(made):
    manifest = made.files.manifest()
    return [readable_card(manifest, made.space, layer) for layer in made.card.layers.ids]


def more(make_store, **options):
    """Add texts to the store, without an index of them."""
    return make_store(
        texts=[f"more{number}" for number in range(40)], index=False, seed=7, **options
    )


def nearest(made, text, **options):
    return made.store.neighbours(text, layers=2, **options)["text"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_answers_is_extended_and_verifies(make_store, kind):
    made = make_store(n=300, index=False)
    update_indexes(made.files, made.card, kind)
    assert {card and (card.kind, card.requested_kind, card.n) for card in cards(made)} == {
        (kind, kind, 300)
    }
    exact = nearest(made, "text7", exact=True)
    assert len({*nearest(made, "text7")} & {*exact}) >= 9
    more(make_store)
    assert made.store.info()["index"] == ["behind"]
    table = made.store.index()
    assert {(row["did"], row["index"], row["n"]) for row in table} == {("extended", kind, 340)}
    assert len({*nearest(made, "more7")} & {*nearest(made, "more7", exact=True)}) >= 9
    assert made.store.info()["index"] == [kind]
    assert made.store.verify().ok
    assert {row["did"] for row in made.store.index()} == {"kept"}
    assert {row["did"] for row in made.store.index(force=True)} == {"built"}


def test_a_kind_that_was_chosen_stays_until_another_is(make_store):
    made = make_store(n=60)
    assert made.store.index(kind="hnsw", layers=2)["did"] == ["built"]
    assert made.store.info()["index"] == ["flat+hnsw"]
    more(make_store)
    update_indexes(made.files, made.card, "auto")
    assert [card and card.kind for card in cards(made)] == ["flat", "flat", "hnsw", "flat", "flat"]
    assert made.store.index(kind="auto", layers=2)["index"] == ["flat"]
    assert made.store.index(kind="flat", layers=2)["did"] == ["kept"]
    assert [card and card.requested_kind for card in cards(made)][1:3] == ["flat", "flat"]


def test_few_new_vectors_leave_the_recall_as_it_was_measured_until_a_graph_has_outgrown_it(
    make_store, monkeypatch
):
    monkeypatch.setattr(updating, "_OUTGROWN", 1.05)
    made = make_store(n=300, index=False)
    made.store.index(kind="hnsw", layers=2)
    start = 300
    for stop, did, n_queries, n_measured in (
        (310, "extended", 15, 300),
        (320, "built", 16, 320),
        (360, "extended", 18, 360),
        (361, "extended", 18, 360),
    ):
        make_store(texts=[f"more{number}" for number in range(start, stop)], index=False, seed=stop)
        assert made.store.index(layers=2)["did"] == [did]
        card, start = cards(made)[2], stop
        assert card is not None
        assert (card.n, card.n_queries, card.n_measured) == (stop, n_queries, n_measured)


def test_auto_goes_over_to_a_graph_when_a_layer_has_grown(make_store, monkeypatch):
    monkeypatch.setattr(index_card, "FLAT_COMPONENTS", 100 * 8)
    made = make_store(n=80, index=False)
    update_indexes(made.files, made.card, "auto")
    assert {card and (card.kind, card.requested_kind) for card in cards(made)} == {("flat", "auto")}
    more(make_store)
    update_indexes(made.files, made.card, "auto")
    assert {card and (card.kind, card.requested_kind) for card in cards(made)} == {("hnsw", "auto")}


def test_an_altered_index_is_made_anew_when_it_would_be_extended(make_store):
    made = make_store(n=60, index=False)
    made.store.index(kind="hnsw")
    flip(made.index_file(2))
    more(make_store)
    assert made.store.index()["did"] == ["extended", "extended", "built", "extended", "extended"]
    assert made.store.verify().ok


def test_too_little_memory_for_an_index_says_what_answers_without(make_store, monkeypatch):
    made = make_store(n=300, index=False)
    monkeypatch.setattr(updating, "machine_memory", lambda: 1000)
    with pytest.raises(UsageError, match=r"of memory to build, .* \(kind 'none'\) an exact"):
        made.store.index()
    assert made.store.info()["index"] == ["none"]
    assert made.store.neighbours("text7", layers=2), "an exact scan answers"


def test_a_recall_that_cannot_be_reached_is_said_and_the_best_kept(make_store, monkeypatch):
    monkeypatch.setattr(RecallQueries, "recall", lambda self, searched, gather: (0.5, 0.0))
    made = make_store(n=300, index=False)
    table = made.store.index(kind="hnsw", layers=2)
    assert (table["recall"], table["wanted_recall"]) == ([0.5], [0.99])
    assert table.notes == (
        (
            "toy.word.last layer 2: the best hnsw index (ef_search 16) has recall@10 0.5000; 0.99"
            " was wanted. It is kept. For exact answers: embstore neighbours TEXT --exact, or"
            " embstore index --kind flat."
        ),
    )
    notes = made.store.neighbours("text7", layers=2).notes
    assert notes == (
        (
            "toy.word.last layer 2: an hnsw index answered, whose recall@10 is 0.500 (wanted:"
            " 0.99). For all: exact=True"
        ),
    )
    assert made.store.info()["index_recall"] == [0.5]
    monkeypatch.undo()
    assert made.store.index(layers=2)["did"] == ["kept"], "the same is not tried again"
    assert made.store.index(layers=2, recall=0.9)["did"] == ["built"]
    assert (
        made.store.neighbours("text7", layers=2)
        .notes[0]
        .startswith("toy.word.last layer 2: an hnsw index answered")
    )


def test_a_long_build_tells_its_progress_within_a_layer(make_store):
    made = make_store(n=300, index=False)
    observed = []
    made.store.index(kind="hnsw", layers="1,2", progress=observed.append)
    assert [progress.done for progress in observed].count(0) > 2
    assert (observed[-1].done, observed[-1].total) == (2, 2)


def test_none_removes_the_indexes_of_the_layers(make_store):
    made = make_store(n=20)
    assert {row["did"] for row in made.store.index(kind="none", layers="0,1")} == {"removed"}
    assert made.store.info()["index"] == ["behind"]
    update_indexes(made.files, made.card, "none")
    assert made.store.info()["index"] == ["none"]
    assert len(made.store.index(kind="none")) == 0


def test_what_is_asked_wrongly(make_store):
    made = make_store(n=5)
    for options, error, message in (
        ({"spaces": "toy.wrd.last"}, UnknownNameError, r"Did you mean 'toy\.word\.last'"),
        ({"layers": 9}, UnknownNameError, "unknown layer '9'"),
        ({"unit": "sentence"}, QueryError, "no space matches"),
    ):
        with pytest.raises(error, match=message):
            made.store.index(**options)


def test_an_index_of_another_recall_keeps_it(make_store):
    made = make_store(n=300, index=False)
    made.store.index(kind="hnsw", recall=0.8)
    more(make_store)
    made.store.index()
    assert {card and card.wanted_recall for card in cards(made)} == {0.8}


def test_zero_vectors_alone_have_an_index_that_finds_nothing(make_store):
    made = make_store(n=6, vectors=np.zeros((5, 6, 8)), index=False)
    for kind in KINDS:
        made.store.index(kind=kind, force=True)
        assert {card and (card.n, card.n_zero) for card in cards(made)} == {(0, 6)}
        assert len(made.store.neighbours("text1", layers=2)) == 0
    index_space(made.root, made.card)
