"""Indexes of every kind against brute force by numpy, on clustered vectors."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from index_cache import close_cached_indexes
from index_search import Clustered, recall, search

from embstore.base.errors import DamagedError
from embstore.index import IndexCard, IndexOptions, choose, open_index, searching, stored_ids, write_index
from embstore.index import faiss_index as faiss_side

pytestmark = pytest.mark.slow

KINDS = ("flat", "hnsw")
SHARDS = tuple(f"part-{letter * 16}" for letter in "ab")
N, DIM = 12_000, 64


@dataclass
class Made:
    data: Clustered
    path: Path
    card: IndexCard


def write(path: Path, data: Clustered, kind: str, *, stop: int | None = None, wanted_recall: float = 0.99) -> IndexCard:
    n = len(data.ids) if stop is None else stop
    options = IndexOptions(choose(kind, n, data.dim, 1 << 40), kind, wanted_recall, n)
    return write_index(
        path, data.blocks(0, stop), space="toy", layer=3, dim=data.dim, shards=SHARDS[: 2 if stop is None else 1],
        options=options, gather=data.gather,
    )  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return Clustered(N, DIM)


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    paths = {kind: tmp_path_factory.mktemp("indexes") / kind / "space=toy" / "layer=03.faiss" for kind in KINDS}
    return {kind: Made(data, path, write(path, data, kind)) for kind, path in paths.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_card_says_how_it_was_made_and_what_it_finds(made, kind):
    card = made[kind].card
    assert IndexCard.read(made[kind].path) == card
    assert (card.kind, card.asked, card.n, card.dim, card.n_zero) == (kind, kind, N, DIM, 0)
    assert card.build_seconds is not None
    assert card.build_seconds > 0
    names = {"flat": ([], []), "hnsw": (["m", "ef_construction"], ["ef_search"])}[kind]
    assert ([*card.parameters], [*card.effort]) == names
    assert (card.recall == 1, card.n_queries == 0) == (kind == "flat", kind == "flat")
    assert card.recall >= 0.99
    data = made[kind].data
    assert stored_ids(made[kind].path).tolist() == sorted(data.ids.tolist())
    found = search(made[kind].path, SHARDS, data.queries, 10, gather=data.gather)
    assert found is not None
    measured = recall(found[0], list(data.exact(data.queries, 10)))
    assert measured >= 0.98
    assert measured == pytest.approx(card.recall, abs=0.015), "of queries that are not stored"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 10, 100])
def test_scores_are_cosines_whatever_the_kind(made, kind, k):
    data = made[kind].data
    queries = np.concatenate([data.queries[:20], 3 * data.vectors[:20]])
    found = search(made[kind].path, SHARDS, queries, k, gather=data.gather)
    assert found is not None
    ids, cosines = found
    assert ids.shape == cosines.shape == (40, k)
    order = np.argsort(data.ids)
    places = order[np.searchsorted(data.ids[order], ids)]
    np.testing.assert_allclose(cosines, np.take_along_axis(data.cosines(queries), places, axis=1), atol=2e-6)
    assert (np.diff(cosines, axis=1) <= 0).all()
    assert (ids[20:, 0] == data.ids[:20]).all(), "a stored vector is its own nearest"
    assert recall(ids, list(data.exact(queries, k))) >= 0.97


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("share", "scans"), [(0, True), *((share, scans) for share in (0.5, 0.01, 0.0001) for scans in (True, False))]
)
def test_a_filter_is_applied_inside_the_search(made, kind, share, scans, monkeypatch):
    if not scans:  # as if what is left were too much for an exact scan
        monkeypatch.setattr(searching, "is_few", lambda *_: False)
    data = made[kind].data
    keep = np.random.default_rng(1).random(N) < share
    only = np.sort(np.concatenate([data.ids[keep], [1, 2**62]]))  # ids that the index does not hold do not matter
    found = search(made[kind].path, SHARDS, data.queries, 10, only=only, gather=data.gather)
    assert found is not None
    assert set(found[0].ravel().tolist()) - {-1} <= set(only.tolist())
    if not share:
        assert (found[0] == -1).all()
        return
    wanted = list(data.exact(data.queries, 10, keep))
    exact = kind == "flat" or (kind == "hnsw" and (scans or share < 0.1))
    assert recall(found[0], wanted) >= (1 - 1e-9 if exact else 0.97)
    if exact:
        assert found[0].shape[1] == min(10, int(keep.sum()))


@pytest.mark.parametrize("kind", KINDS)
def test_adding_is_as_good_as_making_anew(made, tmp_path, kind):
    data, path = made[kind].data, tmp_path / "space=toy" / "layer=03.faiss"
    old = write(path, data, kind, stop=9_000)
    assert open_index(path, [SHARDS[0]]) is not None
    assert search(path, SHARDS, data.queries, 5, gather=data.gather) is None, "it is behind"
    card = write_index(
        path, data.blocks(), space=old.space, layer=old.layer, dim=old.dim, shards=SHARDS, gather=data.gather,
        options=IndexOptions(requested_kind=kind, n=N), old=old, new=data.blocks(9_000),
    )  # fmt: skip
    assert (card.n, card.shards, card.parameters) == (N, SHARDS, old.parameters)
    assert stored_ids(path).tolist() == stored_ids(made[kind].path).tolist()
    assert kind == "flat" or card.recall >= 0.99
    new = data.vectors[9_000:9_200]
    found = search(path, SHARDS, new, 10, gather=data.gather)
    assert found is not None
    assert (found[0][:, 0] == data.ids[9_000:9_200]).mean() >= 0.995
    found = search(path, SHARDS, data.queries, 10, gather=data.gather)
    assert found is not None
    assert recall(found[0], list(data.exact(data.queries, 10))) >= 0.98


def test_a_graph_has_all_its_links_after_tuning(made):
    import faiss

    index = faiss_side.load(made["hnsw"].path, made["hnsw"].card, mapped=False)
    graph = faiss_side.inner_of(index).hnsw
    offsets = faiss.rev_swig_ptr(graph.offsets.data(), graph.offsets.size())
    links = faiss.rev_swig_ptr(graph.neighbors.data(), graph.neighbors.size())
    linked = np.maximum.reduceat(links, offsets[:-1].astype(np.int64)) >= 0
    assert linked.all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_is_opened_memory_mapped_and_once(made, kind, monkeypatch):
    import faiss

    close_cached_indexes()
    flags = []
    read = faiss.read_index
    monkeypatch.setattr(faiss, "read_index", lambda path, flag: flags.append(flag) or read(path, flag))
    for _ in range(3):
        assert search(made[kind].path, SHARDS, made[kind].data.queries[:2], 3, gather=made[kind].data.gather)
    assert len(flags) == 1
    assert flags[0] & faiss.IO_FLAG_MMAP_IFC


def test_a_replaced_index_is_opened_anew(tmp_path):
    path, small, large = tmp_path / "space=toy" / "layer=03.faiss", Clustered(30, 8), Clustered(40, 8)
    for data in (small, large):
        write(path, data, "flat")
        found = search(path, SHARDS, data.queries[:1], 50)
        assert found is not None
        assert sorted(found[0][0].tolist()) == sorted(data.ids.tolist())
    path.with_suffix(".json").unlink()
    assert search(path, SHARDS, large.queries[:1], 5) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 11, 300])
def test_small_layers_of_any_kind(tmp_path, kind, n):
    data = Clustered(n, 5, n_queries=3)
    card = write(tmp_path / "space=toy" / "layer=03.faiss", data, kind)
    assert not card.is_below_target
    found = search(tmp_path / "space=toy" / "layer=03.faiss", SHARDS, data.queries, 1000, gather=data.gather)
    assert found is not None
    assert found[0].shape == (3, n)
    assert recall(found[0], list(data.exact(data.queries, n))) >= (0.95 if n > 11 else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_duplicates_count_as_what_they_are_and_zero_vectors_are_left_out(tmp_path, kind):
    data, path = Clustered(2000, 16), tmp_path / "space=toy" / "layer=03.faiss"
    data.vectors[:] = data.vectors[np.random.default_rng(0).integers(40, size=2000)]
    data.vectors[::5] = 0
    card = write(path, data, kind)
    assert (card.n, card.n_zero) == (1600, 400)
    queries = data.vectors[:50][data.vectors[:50].any(axis=1)]
    found = search(path, SHARDS, queries, 10, gather=data.gather)
    assert found is not None
    assert not {*found[0].ravel().tolist()} & {*data.ids[::5].tolist()}
    if kind != "hnsw":
        assert not card.is_below_target
        np.testing.assert_allclose(found[1], 1, atol=1e-5)


def test_a_link_that_leads_nowhere_is_damage_not_a_crash(made, tmp_path):
    import faiss

    path = tmp_path / "space=toy" / "layer=03.faiss"
    path.parent.mkdir()
    shutil.copy(made["hnsw"].path, path)
    replace(made["hnsw"].card, sample_sha256=None).write(path)
    index = faiss_side.load(path, made["hnsw"].card, mapped=False)
    links = faiss.rev_swig_ptr(faiss_side.inner_of(index).hnsw.neighbors.data(), 40).tobytes()
    path.write_bytes(path.read_bytes().replace(links[:40], (2_000_000_000).to_bytes(4, "little") + links[4:40], 1))
    with pytest.raises(DamagedError, match=r"layer=03\.faiss is damaged: .*Delete it, and an exact scan answers"):
        search(path, SHARDS, made["hnsw"].data.queries[:1], 5)
