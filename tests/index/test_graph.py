"""Graphs against brute force by numpy, on clustered vectors."""

from dataclasses import dataclass

import faiss
import numpy as np
import pytest
from index_search import Clustered, close_indexes, recall

from embstore.base.errors import DamagedError
from embstore.index import IndexCard, faiss_index, open_index
from embstore.storage.cache import StoredFile

pytestmark = pytest.mark.slow

N, DIM = 12_000, 64


@dataclass
class Made:
    data: Clustered
    file: StoredFile
    card: IndexCard


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    data = Clustered(N, DIM)
    file = data.build(tmp_path_factory.mktemp("graph"), "hnsw")
    return Made(data, file, IndexCard.from_entry(file.entry))


def test_the_card_says_how_it_was_made_and_what_it_finds(made):
    data, card = made.data, made.card
    assert (card.kind, card.requested_kind, card.n, card.dim, card.n_zero) == (
        "hnsw",
        "hnsw",
        N,
        DIM,
        0,
    )
    assert card.build_seconds > 0
    assert ([*card.parameters], [*card.effort]) == (["m", "ef_construction"], ["ef_search"])
    assert (card.n_queries, card.n_measured) == (600, N)
    assert 0.99 <= card.recall < 1
    assert sorted(open_index(made.file).ids.tolist()) == sorted(data.ids.tolist())
    found = data.search(made.file, data.queries, 10)
    measured = recall(found[0], list(data.exact(data.queries, 10)))
    assert measured >= 0.98
    assert measured == pytest.approx(card.recall, abs=0.015), "of queries that are not stored"


@pytest.mark.parametrize("k", [1, 10, 100])
def test_scores_are_cosines(made, k):
    data = made.data
    queries = np.concatenate([data.queries[:20], 3 * data.vectors[:20]])
    ids, cosines = data.search(made.file, queries, k)
    assert ids.shape == cosines.shape == (40, k)
    order = np.argsort(data.ids)
    places = order[np.searchsorted(data.ids[order], ids)]
    np.testing.assert_allclose(
        cosines, np.take_along_axis(data.cosines(queries), places, axis=1), atol=2e-6
    )
    assert (np.diff(cosines, axis=1) <= 0).all()
    assert (ids[20:, 0] == data.ids[:20]).all(), "a stored vector is its own nearest"
    assert recall(ids, list(data.exact(queries, k))) >= 0.97


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_a_filter_is_applied_inside_the_search(made, share):
    data = made.data
    keep = np.random.default_rng(1).random(N) < share
    # Ids that the index does not hold do not matter.
    only = np.concatenate([data.ids[keep], [1, 2**62]])
    found = data.search(made.file, data.queries, 10, only)
    assert {*found[0].ravel().tolist()} <= {*only.tolist()}
    assert recall(found[0], list(data.exact(data.queries, 10, keep))) >= 0.97


@pytest.mark.parametrize("n_kept", [0, 1, 100])
def test_few_items_that_a_filter_keeps_are_left_to_a_search_of_all(made, n_kept):
    data, graph = made.data, open_index(made.file)
    members = np.isin(graph.ids, data.ids[:n_kept])
    assert graph.search(data.queries, 10, data.gather, members, exact=False) is None


def test_adding_is_as_good_as_making_anew(made, tmp_path):
    data = made.data
    old = data.build(tmp_path, "hnsw", stop=9_000)
    file = data.build(tmp_path, "hnsw", old=old)
    card = IndexCard.from_entry(file.entry)
    assert (card.n, card.parameters) == (N, made.card.parameters)
    assert sorted(open_index(file).ids.tolist()) == sorted(data.ids.tolist())
    assert card.recall >= 0.99
    found = data.search(file, data.vectors[9_000:9_200], 10)
    assert (found[0][:, 0] == data.ids[9_000:9_200]).mean() >= 0.995
    found = data.search(file, data.queries, 10)
    assert recall(found[0], list(data.exact(data.queries, 10))) >= 0.98


def test_an_index_is_opened_memory_mapped_and_once(made, monkeypatch):
    close_indexes()
    flags = []
    read = faiss.read_index
    monkeypatch.setattr(
        faiss, "read_index", lambda path, flag: flags.append(flag) or read(path, flag)
    )
    for _ in range(3):
        made.data.search(made.file, made.data.queries[:2], 3)
    assert len(flags) == 1
    assert flags[0] & faiss.IO_FLAG_MMAP_IFC


@pytest.mark.parametrize("n", [1, 2, 11, 300])
def test_small_layers(tmp_path, n):
    data = Clustered(n, 5, n_queries=3)
    file = data.build(tmp_path, "hnsw")
    assert not IndexCard.from_entry(file.entry).is_below_target
    ids, _ = data.search(file, data.queries, 1000)
    assert ids.shape == (3, n)
    assert recall(ids, list(data.exact(data.queries, n))) >= (0.95 if n > 11 else 1)


def test_duplicates_are_found_and_zero_vectors_are_left_out(tmp_path):
    data = Clustered(2000, 16)
    data.vectors[:] = data.vectors[np.random.default_rng(0).integers(40, size=2000)]
    data.vectors[::5] = 0
    file = data.build(tmp_path, "hnsw")
    card = IndexCard.from_entry(file.entry)
    assert (card.n, card.n_zero) == (1600, 400)
    queries = data.vectors[:50][data.vectors[:50].any(axis=1)]
    ids, _ = data.search(file, queries, 10)
    assert not {*ids.ravel().tolist()} & {*data.ids[::5].tolist()}


def test_a_link_that_leads_nowhere_is_damage_not_a_crash(made, tmp_path):
    index = faiss_index.load(made.file, made.card, mapped=False)
    links = faiss.rev_swig_ptr(faiss_index.inner_of(index).hnsw.neighbors.data(), 40).tobytes()
    file = made.data.build(tmp_path, "hnsw")
    wrong = made.file.path.read_bytes().replace(
        links[:40], (2_000_000_000).to_bytes(4, "little") + links[4:40], 1
    )
    assert len(wrong) == file.entry["bytes"]
    file.path.write_bytes(wrong)
    with pytest.raises(
        DamagedError, match=r"layer=03-[0-9a-f]{32}\.faiss is damaged: .*built again"
    ):
        made.data.search(file, made.data.queries[:1], 5)
