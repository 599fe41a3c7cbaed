"""Indexes made to do harm, with the hashes and facts that belong to them: refused as damaged."""

import math
import struct
from typing import Any

import faiss
import numpy as np
import pytest

from embstore.base.errors import DamagedError
from embstore.index import IndexCard, faiss_index, open_index, unit_vectors
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


def half_of(n=N, dim=D, kind="QT_fp16", metric=faiss.METRIC_L2):
    """A flat index of n vectors of the kind that embstore writes, or of another one."""
    vectors = np.random.default_rng(2).standard_normal((n, dim)).astype(np.float32)
    return filled(
        faiss.IndexScalarQuantizer(dim, getattr(faiss.ScalarQuantizer, kind), metric), vectors
    )


def centred(inner, parts):
    """An index from whose vectors the mean 0 is subtracted."""
    dim = inner.d
    centering = faiss.CenteringTransform(dim)
    faiss.copy_array_to_vector(np.zeros(dim, np.float32), centering.mean)
    centering.is_trained = True
    parts[2].extend([inner, centering])
    outer = faiss.IndexPreTransform(centering, inner)
    outer.ntotal = inner.ntotal
    return outer


def with_ids(inner, parts):
    ids, _, kept = parts
    empty = faiss.IndexFlatIP(D)
    index = faiss.IndexIDMap(empty)
    index.index = inner
    kept += [empty, inner, index]
    faiss.copy_array_to_vector(ids, index.id_map)
    index.ntotal = len(ids)
    return serialized(index)


def whole(inner, parts):
    return with_ids(centred(inner, parts), parts)


def flat(parts):
    made = faiss.IndexScalarQuantizer(D, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_L2)
    return whole(filled(made, parts[1]), parts)


def graph(parts, storage=None):
    made = filled(faiss.IndexHNSWSQ(D, faiss.ScalarQuantizer.QT_fp16, 8), parts[1])
    if storage is not None:
        made.own_fields, made.storage = False, storage
        parts[2].append(storage)
    return whole(made, parts)


def lists(parts, file=None):
    quantizer = faiss.IndexFlatIP(D)
    made = faiss.IndexIVFFlat(quantizer, D, LISTS, faiss.METRIC_INNER_PRODUCT)
    made.cp.min_points_per_centroid = 1
    parts[2].append(quantizer)
    if file is not None:
        parts[2].append(faiss.OnDiskInvertedLists(LISTS, made.code_size, str(file)))
        made.replace_invlists(parts[2][-1])
    return whole(filled(made, parts[1]), parts)


def storage_with_ids(parts):
    inner = faiss.IndexFlatL2(D)
    parts[2].append(inner)
    storage = faiss.IndexIDMap(inner)
    storage.add_with_ids(parts[1], parts[0])
    return graph(parts, storage)


def many_ids(parts):
    data = whole(half_of(), parts)
    return data[: -8 * N - 8] + struct.pack("<Q", 120_000_000) + data[-8 * N :]


def short_mean(parts):
    """A mean of three components, which would be read past its end."""
    data = flat(parts)
    whole_mean = struct.pack("<Q", D) + bytes(4 * D)
    assert data.count(whole_mean) == 1
    return data.replace(whole_mean, struct.pack("<Q", 3) + bytes(12))


SOUND = {"flat": ("flat", flat), "hnsw": ("hnsw", graph)}
HOSTILE = {
    "flat: more ids": ("flat", many_ids),
    "flat: lists": ("flat", lists),
    "flat: no mean": ("flat", lambda parts: with_ids(half_of(), parts)),
    "flat: short mean": ("flat", short_mean),
    "flat: two means": (
        "flat",
        lambda parts: with_ids(centred(centred(half_of(), parts), parts), parts),
    ),
    "flat: products": (
        "flat",
        lambda parts: whole(half_of(metric=faiss.METRIC_INNER_PRODUCT), parts),
    ),
    "flat: eight bits": ("flat", lambda parts: whole(half_of(kind="QT_8bit"), parts)),
    "flat: of another dimension": ("flat", lambda parts: whole(half_of(dim=3), parts)),
    "flat: short": ("flat", lambda parts: whole(half_of(N - 1), parts)),
    "hnsw: no graph": ("hnsw", flat),
    "hnsw: lists": ("hnsw", lists),
    "hnsw: ids in the storage": ("hnsw", storage_with_ids),
    "hnsw: storage of products": (
        "hnsw",
        lambda parts: graph(parts, half_of(metric=faiss.METRIC_INNER_PRODUCT)),
    ),
    "hnsw: storage of another dimension": ("hnsw", lambda parts: graph(parts, half_of(dim=3))),
    "hnsw: short storage": ("hnsw", lambda parts: graph(parts, half_of(N - 1))),
}


def put(made, kind, make, error=0.01):
    """Commit an index of layer 1 with facts that fit it, in place of the one that is there."""
    files, items = made.files, made.catalog.items_of(made.space)
    order = np.argsort(made.ids)
    with files.temporary() as temp:
        temp.write_bytes(make((made.ids[order], unit_vectors(made.layer(1)[order]), [])))
        card = IndexCard(
            items, kind, 0, D, faiss.__version__, "2025-01-01T00:00:00+00:00", error, **CARDS[kind]
        )
        facts = card.to_facts()
        if error == math.inf:
            del facts["index"]["error"]
        entry = entry_of(temp, **facts)
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
    assert len(open_index(made.catalog.index(made.space, 1)).ids) == N


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_index_is_damaged(make_store, name):
    made = make_store(n=N, dim=D)
    path = put(made, *HOSTILE[name])
    with pytest.raises(DamagedError) as caught:
        open_index(made.catalog.index(made.space, 1))
    assert f"{path} is damaged" in str(caught.value)
    assert "Indexes are built again" in str(caught.value)
    found = made.store.neighbours("text3", layers=1, k=5)
    assert f"{path} is damaged" in found.notes[0]
    assert len(found) == 5
    assert str(made.space) in str(made.store.info())


OLDER = {
    "flat": lambda parts: with_ids(filled(faiss.IndexFlatIP(D), parts[1]), parts),
    "hnsw": lambda parts: with_ids(
        filled(faiss.IndexHNSWFlat(D, 8, faiss.METRIC_L2), parts[1]), parts
    ),
}


@pytest.mark.parametrize("kind", OLDER)
def test_an_index_of_full_precision_is_not_used_and_built_anew(make_store, kind):
    made = make_store(n=N, dim=D)
    right = made.store.neighbours("text3", layers=1, k=5)
    older = put(made, kind, OLDER[kind], math.inf)
    found = made.store.neighbours("text3", layers=1, k=5)
    assert (found.rows, found.notes) == (right.rows, ())
    assert made.store.info()["index"] == ["behind"]
    assert made.store.verify().ok
    assert made.store.index(layers=1)["did"] == ["built"]
    assert not older.exists()
    assert made.store.info()["index"] != ["behind"]
    assert made.store.neighbours("text3", layers=1, k=5).rows == right.rows


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_lists_in_another_file_are_not_opened(make_store, tmp_path, kind, monkeypatch):
    made = make_store(n=N, dim=D)
    put(made, kind, lambda parts: lists(parts, tmp_path / "lists"))
    monkeypatch.setattr(faiss_index, "_is_sound", lambda *_: pytest.fail("FAISS has opened them"))
    with pytest.raises(DamagedError, match="FAISS cannot read it"):
        open_index(made.catalog.index(made.space, 1))
