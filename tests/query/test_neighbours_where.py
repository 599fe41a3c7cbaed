"""Neighbours among the items that a filter keeps, from indexes of every kind, and --exact, against
brute force.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nearest import assert_same, hits, nearest

from embstore import Store
from embstore.base.errors import DamagedError, EmbstoreError
from embstore.index import searching
from embstore.index.searching import SearchedIndex
from embstore.storage.catalog import Catalog

KINDS = ("flat", "hnsw", "none")
N = 240


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store for each kind of index, with the same vectors."""
    from synthetic import synthetic_store

    stores = {}
    for kind in KINDS:
        stores[kind] = synthetic_store(
            tmp_path_factory.mktemp("stores") / kind, n=N, n_blocks=1, index=False
        )
        if kind != "none":
            stores[kind].store.index(kind=kind)
    return stores


def right(made, text, k, keep):
    return nearest(made.texts, made.layer(1), text, k, keep)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=6)
@given(digit=st.integers(0, 9), text=st.integers(0, N - 1), k=st.integers(1, 30))
def test_only_what_the_filter_keeps_is_found(made, kind, digit, text, k):
    query, where = f"text{text}", f"text LIKE '%{digit}'"
    found = made[kind].store.neighbours(query, layers=1, k=k, where=where)
    assert_same(hits(found), right(made[kind], query, k, lambda each: each.endswith(str(digit))))
    assert set(found["where"]) <= {where}


def test_a_graph_that_searches_many_says_that_its_recall_is_without_the_filter(made, monkeypatch):
    monkeypatch.setattr(searching, "_DISTANCES_PER_CANDIDATE", 0)
    found = made["hnsw"].store.neighbours("text5", layers=1, where="text LIKE '%1%'")
    assert found.notes[0].startswith(
        "toy.word.last layer 1: an hnsw index answered, whose recall@10 is "
    )
    assert found.notes[0].endswith(" without a filter. For all: exact=True")
    assert_same(hits(found), right(made["hnsw"], "text5", 10, lambda text: "1" in text))


def test_filters_of_several_texts_and_filters_that_keep_nothing(made):
    for kind in KINDS:
        found = made[kind].store.neighbours(
            ["text5", "text6"], layers=1, k=300, where="text LIKE '%7'"
        )
        assert {*found["text"]} == {text for text in made[kind].texts if text.endswith("7")}
        assert len(found) == 48

    for kind in KINDS:
        assert len(made[kind].store.neighbours("text5", layers=1, where="text = 'nothing'")) == 0
        assert len(made[kind].store.neighbours("text5", layers=1, where="text = 'text5'")) == 0


def test_a_transform_is_fitted_on_what_the_filter_keeps(made):
    where, keep = (
        "text LIKE '%3' OR text LIKE '%4'",
        [text[-1] in "34" for text in made["hnsw"].texts],
    )
    found = made["hnsw"].store.neighbours("text3", layers=1, k=5, where=where, transforms="center")
    x = made["hnsw"].layer(1).astype(np.float64)
    x -= x[keep].mean(axis=0)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    cosines = np.where(keep, x @ x[3], -2)
    cosines[3] = -2
    assert found["text"] == [made["hnsw"].texts[place] for place in np.argsort(-cosines)[:5]]


def test_an_approximate_answer_says_so_and_exact_compares_all(made):
    notes = made["hnsw"].store.neighbours("text5", layers=1).notes
    assert len(notes) == 1
    assert notes[0].startswith("toy.word.last layer 1: an hnsw index answered, whose recall@10 is ")
    assert notes[0].endswith(". For all: exact=True")

    wanted = right(made["hnsw"], "text5", 40, lambda _: True)
    found = made["hnsw"].store.neighbours("text5", layers=1, k=40, exact=True)
    assert_same(hits(found), wanted)
    assert found.notes == ()


def test_an_item_that_the_index_misses_is_no_damage_and_a_damaged_vector_is(
    make_store, monkeypatch
):
    made = make_store(n=200, dim=16, n_shards=1, index=False)
    made.store.index(kind="hnsw", layers=2)
    search = SearchedIndex.search

    def miss(self, *arguments, **options):
        ids, cosines = search(self, *arguments, **options)
        return ids[:, 1:], cosines[:, 1:]

    monkeypatch.setattr(SearchedIndex, "search", miss)
    assert len(made.store.neighbours("text5", layers=2, k=5)) == 5
    made.overwrite_vector(2, 5, np.nan)
    with pytest.raises(DamagedError, match="damaged"):
        made.store.neighbours("text5", layers=2, k=5)


def test_a_store_that_is_asked_often_opens_its_index_once(made, monkeypatch):
    import faiss

    monkeypatch.setattr(searching, "_open", {})
    opened = []
    read = faiss.read_index
    monkeypatch.setattr(
        faiss, "read_index", lambda path, flags: opened.append(path) or read(path, flags)
    )
    store = made["hnsw"].store
    for number in range(5):
        store.neighbours(f"text{number}", layers=1)
    Store(made["hnsw"].root).neighbours("text9", layers=1)
    assert len(opened) == 1


def test_conditions_read_the_items_only(make_store):
    made = make_store(n=30, index=False)
    conditions = [
        "length(text) > 4",
        "item_id % 2 = 0",
        "text IN (SELECT max(text) FROM items)",
        "unit = 'sentence'",
    ]
    found = [Catalog(made.root).select(condition).tolist() for condition in conditions]
    assert found[0] == sorted(item.id for item in made.items if len(item.text) > 4)
    assert found[1] == sorted(item.id for item in made.items if item.id % 2 == 0)
    assert found[2:] == [[item.id for item in made.items if item.text == "text9"], []]
    for wrong in (
        "rowid < 3",
        "txt = 'a'",
        "text = (FROM spaces)",
        "vec('a', 0, text) IS NULL",
        "error('x')",
    ):
        with pytest.raises(EmbstoreError):
            Catalog(made.root).select(wrong)
