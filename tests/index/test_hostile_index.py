"""Indexes made to do harm, with the hashes that belong to them: refused as damaged, within bounded memory."""

import hashlib
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from index_cache import close_cached_indexes
from synthetic import Synthetic

from embstore import Store
from embstore.base import atomic, checksum
from embstore.base.errors import DamagedError
from embstore.index.card import sample_hash

pytestmark = pytest.mark.fault

D, N, LISTS = 16, 50, 2
CARDS: dict[str, dict[str, Any]] = {
    "flat": {},
    "hnsw": {"parameters": {"m": 8, "ef_construction": 40}, "effort": {"ef_search": 16}},
    "ivf": {"parameters": {"n_lists": LISTS, "n_trained": N}, "effort": {"n_probe": LISTS, "n_exact": N}},
}
Parts = tuple[np.ndarray, np.ndarray, list[Any]]  # ids, unit vectors, and what FAISS does not own


def serialized(index: Any) -> bytes:
    return bytes(faiss.serialize_index(index))


def filled(index: Any, units: np.ndarray) -> Any:
    if not index.is_trained:
        index.train(units)
    index.add(units)
    return index


def with_ids(inner: Any, parts: Parts) -> bytes:
    ids, _, kept = parts
    empty = faiss.IndexFlatIP(D)
    index = faiss.IndexIDMap(empty)
    index.index = inner
    kept += [empty, inner, index]
    faiss.copy_array_to_vector(ids, index.id_map)
    index.ntotal = len(ids)
    return serialized(index)


def graph(parts: Parts, storage: Any = None) -> bytes:
    made = filled(faiss.IndexHNSWFlat(D, 8, faiss.METRIC_L2), parts[1])
    if storage is not None:
        made.own_fields, made.storage = False, storage
        parts[2].append(storage)
    return with_ids(made, parts)


def lists(parts: Parts, change: Callable[[Any], None] = lambda _: None, centres: Any = None) -> bytes:
    quantizer = faiss.IndexFlatIP(D)
    made = faiss.IndexIVFScalarQuantizer(quantizer, D, LISTS, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    made.cp.min_points_per_centroid = 1
    parts[2].append(quantizer)
    filled(made, parts[1])
    change(made)
    if centres is not None:
        made.own_fields, made.quantizer = False, centres
        parts[2].append(centres)
    return with_ids(made, parts)


def flat_of(n: int, dim: int, kind: Callable[[int], Any] = faiss.IndexFlatIP) -> Any:
    return filled(kind(dim), np.random.default_rng(2).standard_normal((n, dim)).astype(np.float32))


def null_storage(parts: Parts) -> bytes:
    data = graph(parts)
    return data[: data.rindex(b"IxF2")] + b"null" + data[-8 * N - 8 :]


def storage_with_ids(parts: Parts) -> bytes:
    flat = faiss.IndexFlatL2(D)
    parts[2].append(flat)
    storage = faiss.IndexIDMap(flat)
    storage.add_with_ids(parts[1], parts[0])
    return graph(parts, storage)


def lists_with_ids(number: int) -> Callable[[Any], None]:
    def change(made: Any) -> None:
        for place in range(LISTS):
            size = made.invlists.list_size(place)
            if size:
                faiss.rev_swig_ptr(made.invlists.get_ids(place), size)[:] = number

    return change


def other(**values: Any) -> Callable[[Any], None]:
    def change(made: Any) -> None:
        for name, value in values.items():
            setattr(made.sq if name.startswith("sq_") else made, name.removeprefix("sq_"), value)

    return change


def codes_of_another_kind(parts: Parts) -> bytes:
    quantizer = faiss.IndexFlatIP(D)
    made = faiss.IndexIVFScalarQuantizer(
        quantizer, D, LISTS, faiss.ScalarQuantizer.QT_8bit_uniform, faiss.METRIC_INNER_PRODUCT
    )
    made.cp.min_points_per_centroid = 1
    parts[2].append(quantizer)
    return with_ids(filled(made, parts[1]), parts)


def long_lists(parts: Parts, size: int = 1 << 40) -> bytes:
    data = lists(parts)
    at = data.index(b"ilar") + 4 + 8 + 8 + 4 + 8
    return data[:at] + struct.pack("<Q", size) + data[at + 8 :]


def many_ids(parts: Parts) -> bytes:
    data = with_ids(flat_of(N, D), parts)
    return data[: -8 * N - 8] + struct.pack("<Q", 120_000_000) + data[-8 * N :]


SOUND: dict[str, tuple[str, Callable[[Parts], bytes]]] = {
    "flat": ("flat", lambda parts: with_ids(filled(faiss.IndexFlatIP(D), parts[1]), parts)),
    "hnsw": ("hnsw", graph),
    "ivf": ("ivf", lists),
}
HOSTILE: dict[str, tuple[str, Callable[[Parts], bytes]]] = {
    "flat: more ids": ("flat", many_ids),
    "flat: lists": ("flat", lists),
    "hnsw: no graph": ("hnsw", SOUND["flat"][1]),
    "ivf: no lists": ("ivf", SOUND["flat"][1]),
    "flat: L2": ("flat", lambda parts: with_ids(flat_of(N, D, faiss.IndexFlatL2), parts)),
    "hnsw: ids in the storage": ("hnsw", storage_with_ids),
    "hnsw: no storage": ("hnsw", null_storage),
    "hnsw: storage of products": ("hnsw", lambda parts: graph(parts, flat_of(N, D))),
    "hnsw: storage of another dimension": ("hnsw", lambda parts: graph(parts, flat_of(N, 3, faiss.IndexFlatL2))),
    "hnsw: short storage": ("hnsw", lambda parts: graph(parts, flat_of(N - 1, D, faiss.IndexFlatL2))),
    "ivf: more centres": ("ivf", lambda parts: lists(parts, centres=flat_of(500, D))),
    "ivf: no centres": ("ivf", lambda parts: lists(parts, centres=faiss.IndexFlatIP(D))),
    "ivf: wide centres": ("ivf", lambda parts: lists(parts, centres=flat_of(LISTS, 10 * D))),
    "ivf: L2 centres": ("ivf", lambda parts: lists(parts, centres=flat_of(LISTS, D, faiss.IndexFlatL2))),
    "ivf: ids too large": ("ivf", lambda parts: lists(parts, lists_with_ids(10**9))),
    "ivf: ids negative": ("ivf", lambda parts: lists(parts, lists_with_ids(-7))),
    "ivf: dimension of the codes": ("ivf", lambda parts: lists(parts, other(sq_d=6000))),
    "ivf: kind of the codes": ("ivf", codes_of_another_kind),
    "ivf: a long list": ("ivf", long_lists),
    "ivf: a list longer than the others leave": ("ivf", lambda parts: long_lists(parts, N)),
}  # fmt: skip


def put(made: Synthetic, kind: str, make: Callable[[Parts], bytes]) -> Path:
    """Replace the index of layer 1, with a card that fits it."""
    path = made.paths.indexes(made.space) / "layer=01.faiss"
    flat = faiss.read_index(str(path))
    ids = faiss.vector_to_array(flat.id_map)
    path.write_bytes(make((ids, faiss.downcast_index(flat.index).reconstruct_n(0, N), [])))
    card = json.loads(path.with_suffix(".json").read_bytes())
    hashes = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "sample_sha256": sample_hash(path),
        "crc32": None,
    }
    card = {name: value for name, value in card.items() if name != checksum.KEY} | hashes | {"kind": kind}
    path.with_suffix(".json").write_bytes(atomic.document_bytes(card | CARDS[kind]))
    close_cached_indexes()
    return path


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_index_is_searched(make_store, name):
    made = make_store(n=N, dim=D)
    right = made.store.neighbours("text3", layers=1, k=5)
    put(made, *SOUND[name])
    found = Store(made.root).neighbours("text3", layers=1, k=5)
    assert [row["text"] for row in found] == [row["text"] for row in right]
    assert made.store.verify().ok


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_index_is_damaged(make_store, name):
    made = make_store(n=N, dim=D)
    path = put(made, *HOSTILE[name])
    store = Store(made.root)
    with pytest.raises(DamagedError) as caught:
        store.neighbours("text3", layers=1, k=5)
    assert f"{path} is damaged" in str(caught.value)
    assert "embstore index makes it anew" in str(caught.value)
    assert {problem.file for problem in store.verify().problems} == {path}
    assert str(made.space) in str(store.info())
    assert len(store.neighbours("text3", layers=1, k=5, exact=True)) == 5


_PEAK = """
import resource, sys
import faiss
from pathlib import Path
from embstore.base.errors import DamagedError
from embstore.index import IndexCard
from embstore.index.opening import open_file
path = Path(sys.argv[1])
card = IndexCard.read(path)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    open_file(path, card)
except DamagedError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is in KiB on Linux")
@pytest.mark.parametrize("name", ["flat: more ids", "ivf: a long list"])
def test_its_lengths_take_no_memory(make_store, name):
    path = put(make_store(n=N, dim=D), *HOSTILE[name])
    done = subprocess.run([sys.executable, "-c", _PEAK, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50 << 10  # 120 million ids are 940,000 KiB


def test_the_limits_of_others_stay(make_store):
    before = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
    made = make_store(n=N, dim=D)
    close_cached_indexes()
    made.store.neighbours("text3", layers=1)
    assert (faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()) == before
