"""Indexes made to do harm, with the hashes and facts that belong to them: refused as damaged."""

import struct
from typing import Any

import faiss
import numpy as np
import pytest

from embstore.base.errors import DamagedError
from embstore.index import IndexCard, faiss_index, stored_ids, unit_vectors
from embstore.storage import keys
from embstore.storage.cache import entry_of
from embstore.storage.manifest import Change

pytestmark = pytest.mark.fault

D, N, LISTS = 16, 50, 2
CARDS = {
    "flat": {},
    "hnsw": {"parameters": {"m": 8, "ef_construction": 40}, "effort": {"ef_search": 16}},
}
Parts = tuple[np.ndarray, np.ndarray, list[Any]]  # ids, unit vectors, and what FAISS does not own


def serialized(index):
    return bytes(faiss.serialize_index(index))


def filled(index, units):
    if not index.is_trained:
        index.train(units)
    index.add(units)
    return index


def with_ids(inner, parts):
    ids, _, kept = parts
    empty = faiss.IndexFlatIP(D)
    index = faiss.IndexIDMap(empty)
    index.index = inner
    kept += [empty, inner, index]
    faiss.copy_array_to_vector(ids, index.id_map)
    index.ntotal = len(ids)
    return serialized(index)


def graph(parts, storage=None):
    made = filled(faiss.IndexHNSWFlat(D, 8, faiss.METRIC_L2), parts[1])
    if storage is not None:
        made.own_fields, made.storage = False, storage
        parts[2].append(storage)
    return with_ids(made, parts)


def lists(parts, file=None):
    quantizer = faiss.IndexFlatIP(D)
    made = faiss.IndexIVFFlat(quantizer, D, LISTS, faiss.METRIC_INNER_PRODUCT)
    made.cp.min_points_per_centroid = 1
    parts[2].append(quantizer)
    if file is not None:
        parts[2].append(faiss.OnDiskInvertedLists(LISTS, made.code_size, str(file)))
        made.replace_invlists(parts[2][-1])
    return with_ids(filled(made, parts[1]), parts)


def flat_of(n, dim, kind=faiss.IndexFlatIP):
    return filled(kind(dim), np.random.default_rng(2).standard_normal((n, dim)).astype(np.float32))


def null_storage(parts):
    data = graph(parts)
    return data[: data.rindex(b"IxF2")] + b"null" + data[-8 * N - 8 :]


def storage_with_ids(parts):
    flat = faiss.IndexFlatL2(D)
    parts[2].append(flat)
    storage = faiss.IndexIDMap(flat)
    storage.add_with_ids(parts[1], parts[0])
    return graph(parts, storage)


def many_ids(parts):
    data = with_ids(flat_of(N, D), parts)
    return data[: -8 * N - 8] + struct.pack("<Q", 120_000_000) + data[-8 * N :]


SOUND = {
    "flat": ("flat", lambda parts: with_ids(filled(faiss.IndexFlatIP(D), parts[1]), parts)),
    "hnsw": ("hnsw", graph),
}
HOSTILE = {
    "flat: more ids": ("flat", many_ids),
    "flat: lists": ("flat", lists),
    "hnsw: no graph": ("hnsw", SOUND["flat"][1]),
    "hnsw: lists": ("hnsw", lists),
    "flat: L2": ("flat", lambda parts: with_ids(flat_of(N, D, faiss.IndexFlatL2), parts)),
    "hnsw: ids in the storage": ("hnsw", storage_with_ids),
    "hnsw: no storage": ("hnsw", null_storage),
    "hnsw: storage of products": ("hnsw", lambda parts: graph(parts, flat_of(N, D))),
    "hnsw: storage of another dimension": (
        "hnsw",
        lambda parts: graph(parts, flat_of(N, 3, faiss.IndexFlatL2)),
    ),
    "hnsw: short storage": (
        "hnsw",
        lambda parts: graph(parts, flat_of(N - 1, D, faiss.IndexFlatL2)),
    ),
}


def put(made, kind, make):
    """Commit an index of layer 1 with facts that fit it, in place of the one that is there."""
    files, items = made.files, made.catalog.items_of(made.space)
    order = np.argsort(made.ids)
    with files.temporary() as temp:
        temp.write_bytes(make((made.ids[order], unit_vectors(made.layer(1)[order]), [])))
        card = IndexCard(
            items, kind, 0, D, faiss.__version__, "2025-01-01T00:00:00+00:00", **CARDS[kind]
        )
        entry = entry_of(temp, **card.to_facts())
        key = keys.make(keys.INDEXES, entry["sha256"], name=made.space, layer=1)
        files.write({key: temp})
    files.commit(lambda base: Change({key: entry}, base.keys_of(keys.INDEXES, made.space, 1)))
    return made.index_file(1)


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_index_is_searched(make_store, name):
    made = make_store(n=N, dim=D)
    right = made.store.neighbours("text3", layers=1, k=5)
    put(made, *SOUND[name])
    found = made.store.neighbours("text3", layers=1, k=5)
    assert [row["text"] for row in found] == [row["text"] for row in right]
    assert len(stored_ids(made.catalog.index(made.space, 1))) == N


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_index_is_damaged(make_store, name):
    made = make_store(n=N, dim=D)
    path = put(made, *HOSTILE[name])
    with pytest.raises(DamagedError) as caught:
        stored_ids(made.catalog.index(made.space, 1))
    assert f"{path} is damaged" in str(caught.value)
    assert "Indexes are built again" in str(caught.value)
    if name.startswith("hnsw"):
        with pytest.raises(DamagedError, match="is damaged"):
            made.store.neighbours("text3", layers=1, k=5)
    assert str(made.space) in str(made.store.info())
    assert len(made.store.neighbours("text3", layers=1, k=5, exact=True)) == 5


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_lists_in_another_file_are_not_opened(make_store, tmp_path, kind, monkeypatch):
    made = make_store(n=N, dim=D)
    put(made, kind, lambda parts: lists(parts, tmp_path / "lists"))
    monkeypatch.setattr(faiss_index, "_is_sound", lambda *_: pytest.fail("FAISS has opened them"))
    with pytest.raises(DamagedError, match="FAISS cannot read it"):
        stored_ids(made.catalog.index(made.space, 1))
