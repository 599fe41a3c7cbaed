"""Indexes of a store: what the manifest says of them, how they follow its items, and what is said
of damage.
"""

import os
import re
import threading
import time

import faiss
import numpy as np
import pytest
from index_search import Clustered, close_indexes
from nearest import assert_same, hits, nearest

from embstore.base.errors import RemoteError
from embstore.index import IndexCard, faiss_index, open_index, readable_card, unit_vectors
from embstore.index.updating import Choice, index_layers, remove_indexes, update_indexes
from embstore.storage import keys
from embstore.storage.catalog import Catalog
from embstore.storage.manifest import Change
from embstore.storage.objects import Folder

DIM = 6


@pytest.fixture
def made(make_store):
    return make_store(n=120, dim=DIM, n_blocks=1, top_form=None, index=False)


def index(made, kind="hnsw", **settings):
    """Update all indexes, and return what was done."""
    results = index_layers(made.root, made.card, made.card.layers.members, Choice(kind, **settings))
    return [result.action for result in results]


def cards(made):
    return [
        readable_card(made.files.manifest(), made.space, layer) for layer in made.card.layers.ids
    ]


def test_unit_vectors_of_any_size_and_of_none():
    x = np.array([[3e30, 4e30], [3e-30, 4e-30], [0, 0]], np.float32)
    np.testing.assert_allclose(unit_vectors(x), [[0.6, 0.8], [0.6, 0.8], [0, 0]], rtol=1e-6)
    assert unit_vectors(np.ones((1, 4), np.float16)).tolist() == [[0.5] * 4]


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_the_manifest_has_the_facts_of_an_index_that_faiss_reads(made, kind):
    before = made.files.manifest().number
    assert index(made, kind) == ["built", "built"]
    catalog = made.catalog
    assert catalog.manifest.number == before + 1, "all layers are committed at once"
    for layer in made.card.layers.ids:
        file = catalog.index(made.space, layer)
        card = IndexCard.from_entry(file.entry)
        assert IndexCard.from_entry({**file.entry, **card.to_facts()}) == card
        assert (card.kind, card.n, card.n_zero, card.dim) == (kind, 120, 0, DIM)
        assert card.covers(catalog.items_of(made.space))
        assert (
            file.key
            == f"indexes/space={made.space}/layer={layer:02d}-{file.entry['sha256'][:32]}.faiss"
        )
        stored = faiss.read_index(str(made.index_file(layer)))
        query = unit_vectors(made.layer(layer)[3:4])
        assert stored.search(query, 1)[1].tolist() == [[made.ids[3]]]


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_zero_vectors_are_covered_and_left_out(make_store, kind):
    vectors = np.random.default_rng(0).normal(size=(1, 60, DIM))
    vectors[0, ::4] = 0
    made = make_store(n=60, dim=DIM, n_blocks=0, top_form=None, vectors=vectors, index=False)
    index(made, kind)
    [card] = cards(made)
    assert (card.n, card.n_zero) == (45, 15)
    assert card.covers(made.catalog.items_of(made.space))
    assert index(made, None) == ["kept"]
    assert {*made.store.neighbours("text1", k=100)["text"]} == {
        t for i, t in enumerate(made.texts) if i % 4 and i != 1
    }


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_an_index_is_extended_by_the_items_that_it_does_not_have(make_store, made, kind):
    index(made, kind)
    old = [made.index_file(layer) for layer in made.card.layers.ids]
    more = make_store(
        texts=["a", "b", "c"], dim=DIM, n_blocks=1, top_form=None, index=False, seed=5
    )
    assert index(made, None) == ["extended", "extended"]
    assert [card.n for card in cards(made)] == [123, 123]
    for layer, path in zip(made.card.layers.ids, old, strict=True):
        assert made.index_file(layer) != path, "the only index of the layer"
        assert not path.exists()
        texts = [*made.texts, *more.texts]
        vectors = np.concatenate([made.layer(layer), more.layer(layer)])
        for text in ("a", "text7"):
            found = hits(made.store.neighbours(text, layers=layer, k=5))
            assert_same(found, nearest(texts, vectors, text, 5))


def test_an_index_of_items_that_are_gone_or_that_is_damaged_is_built_anew(make_store, made):
    index(made, "flat")
    before = made.files.manifest()
    batch = before.files[before.keys_of(keys.VECTORS, made.space, 0)[0]]["ids"]
    shards = [
        key
        for key, entry in before.files.items()
        if key.startswith("vectors/") and entry["ids"] == batch
    ]
    make_store(texts=["a", "b"], dim=DIM, n_blocks=1, top_form=None, index=False)
    index_file = made.index_file(1)
    index_file.write_bytes(index_file.read_bytes()[:-9] + b"x" * 9)
    assert index(made, None) == ["extended", "built"], "of the second only the content is wrong"
    made.files.commit(Change(removed=shards))
    assert index(made, None) == ["built", "built"]
    n = made.catalog.count(made.space)
    assert [card.n for card in cards(made)] == [n, n]


def test_the_requested_kind_is_kept_and_changed_without_a_build(made):
    index(made, "auto")
    before = [made.index_file(layer) for layer in made.card.layers.ids]
    assert index(made, "flat") == ["kept", "kept"]
    assert [card.requested_kind for card in cards(made)] == ["flat", "flat"]
    assert before == [made.index_file(layer) for layer in made.card.layers.ids]
    assert index(made, None, force=True) == ["built", "built"]
    assert index(made, "hnsw", recall=0.9) == ["built", "built"]
    assert [card.wanted_recall for card in cards(made)] == [0.9, 0.9]
    assert update_indexes(made.root, made.card, "none") == []
    assert cards(made) == [None, None]


def test_indexes_of_some_layers_are_removed_with_their_files(made):
    index(made, "flat")
    path = made.index_file(1)
    remove_indexes(made.root, made.space, [1])
    assert [card is None for card in cards(made)] == [False, True]
    assert not path.exists()
    assert not made.files.manifest().removed


def test_an_index_that_a_rival_has_made_of_newer_items_is_kept(make_store, made, monkeypatch):
    index(made, "flat")
    rival = threading.Event()
    commit = type(made.files).commit

    def commit_after_rival(files, change):
        if not rival.is_set():
            rival.set()
            make_store(texts=["newer"], dim=DIM, n_blocks=1, top_form=None)
        return commit(files, change)

    monkeypatch.setattr(type(made.files), "commit", commit_after_rival)
    assert index(made, None, force=True) == ["built", "built"]
    assert [card.n for card in cards(made)] == [121, 121]
    assert "newer" in made.store.neighbours("text1", k=200)["text"]


def test_indexes_of_a_space_that_a_rival_has_removed_are_not_committed(made, monkeypatch):
    commit = type(made.files).commit

    def commit_after_rival(files, change):
        commit(files, lambda base: Change(removed=base.keys_of_space(made.space)))
        return commit(files, change)

    monkeypatch.setattr(type(made.files), "commit", commit_after_rival)
    index(made, "flat")
    assert not made.files.manifest().names_of(keys.INDEXES)
    monkeypatch.undo()
    assert index(made, "flat") == []


def test_a_flat_index_and_none_give_the_exact_answer(made):
    index(made, "flat")
    indexed = made.store.neighbours("text5", k=7)
    remove_indexes(made.root, made.space)
    scanned = made.store.neighbours("text5", k=7)
    assert [*map(dict, indexed)] == [*map(dict, scanned)]
    assert_same(hits(indexed), nearest(made.texts, made.layer(1), "text5", 7))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda path: path.write_bytes(path.read_bytes()[:-200]),
            "it does not have the size in the manifest",
        ),
        (lambda path: path.unlink(), "it is missing, and the manifest names it"),
        (
            lambda path: path.write_bytes(b"nonsense".ljust(path.stat().st_size)),
            "its SHA-256 is not the one in the manifest",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_an_index_that_is_damaged_is_named_and_all_vectors_are_compared(
    made, change, problem, kind
):
    index(made, kind)
    path = made.index_file(1)
    change(path)
    close_indexes()
    found = made.store.neighbours("text1", layers=1, k=7)
    [note] = found.notes
    assert note.startswith(f"toy.word.last layer 1: all vectors are compared, since {path} is")
    assert f"is damaged: {problem}" in note
    assert "embstore repair. Indexes are built again" in note
    assert_same(hits(found), nearest(made.texts, made.layer(1), "text1", 7))


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_an_open_index_that_is_cut_is_not_searched(made, kind):
    index(made, kind)
    made.store.neighbours("text1", layers=1)
    os.truncate(made.index_file(1), 100)
    found = made.store.neighbours("text1", layers=1, k=7)
    assert "does not have the size in the manifest" in found.notes[0]
    assert_same(hits(found), nearest(made.texts, made.layer(1), "text1", 7))


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_an_index_of_other_items_than_its_layer_is_damaged(made, tmp_path, kind):
    index(made, kind)
    file = made.catalog.index(made.space, 1)
    other = Clustered(120, DIM).build(tmp_path / "other", kind)
    made.index_file(1).write_bytes(
        other.path.read_bytes().ljust(file.entry["bytes"])[: file.entry["bytes"]]
    )
    close_indexes()
    found = made.store.neighbours("text1", layers=1, k=7)
    assert re.search(r"is damaged|names items that its layer does not have", found.notes[0])
    assert_same(hits(found), nearest(made.texts, made.layer(1), "text1", 7))


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_a_reader_that_has_an_index_open_reads_on_when_it_is_replaced(make_store, made, kind):
    index(made, kind)
    close_indexes()
    opened = open_index(made.catalog.index(made.space, 1))
    make_store(texts=["newer"], dim=DIM, n_blocks=1, top_form=None, index=False)
    assert index(made, None) == ["extended", "extended"]
    ids, _ = opened.search(
        made.layer(1)[5:6], 1, lambda ids: made.catalog.vectors(made.space, 1, ids).gather()
    )
    assert ids == [[made.ids[5]]]


@pytest.mark.parametrize("error", [PermissionError("no"), RemoteError("no")])
def test_an_index_that_cannot_be_deleted_is_replaced_all_the_same(
    make_store, made, monkeypatch, error
):
    index(made, "flat")
    older = made.index_file(1)
    make_store(texts=["newer"], dim=DIM, n_blocks=1, top_form=None, index=False)

    def refuse(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "delete", refuse)
        assert index(made, None) == ["extended", "extended"]
    assert older.exists()
    assert [card.items.n for card in cards(made)] == [121, 121]


def test_two_threads_open_a_graph_once(made, monkeypatch):
    index(made)
    close_indexes()
    begun = []
    load = faiss_index.load

    def slowly(*arguments):
        begun.append(threading.current_thread())
        time.sleep(0.1)
        return load(*arguments)

    monkeypatch.setattr(faiss_index, "load", slowly)
    file = Catalog(made.root).index(made.space, 1)
    other = threading.Thread(target=open_index, args=(file,))
    other.start()
    graph = open_index(file)
    other.join()
    assert len(begun) == 1
    assert open_index(Catalog(made.root).index(made.space, 1)) is graph
