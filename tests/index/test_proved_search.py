"""Answers of indexes in half precision against a scan of all vectors in float64: the same, whatever
the vectors.
"""

from itertools import product

import numpy as np
import pytest
from index_search import VectorsInMemory

from embstore.index import faiss_index, open_index, search_exact, with_squares
from embstore.index.card import IndexCard

N, DIM = 1500, 24


class Drawn(VectorsInMemory):
    def __init__(self, vectors, rng):
        self.vectors = vectors.astype(np.float32)
        self.ids = rng.permutation(2**40 + 7919 * np.arange(len(vectors)))


def vectors_of(kind, rng):
    x = rng.standard_normal((N, DIM))
    centres = rng.standard_normal((20, DIM))[rng.integers(20, size=N)]
    massive = np.where(np.arange(DIM) == 3, 300, 0)
    return {
        "normal": lambda: x,
        "clusters": lambda: centres + 0.2 * x,
        "one massive dimension": lambda: x + massive,
        "copies": lambda: np.where(np.arange(N)[:, None] < 700, x[rng.integers(9, size=N)], x),
        "nearly equal": lambda: x[:1] + 1e-4 * x,
        "three directions": lambda: np.repeat(x[:3], N // 3, axis=0),
        "tiny": lambda: 1e-30 * x,
        "huge": lambda: 1e18 * x,
        "of many sizes": lambda: x * np.exp(8 * rng.standard_normal((N, 1))),
        "half precision": lambda: x.astype(np.float16),
        "some zero": lambda: np.where(np.arange(N)[:, None] % 3, x, 0),
    }[kind]()


KINDS = (
    "normal", "clusters", "one massive dimension", "copies", "nearly equal", "three directions",
    "tiny", "huge", "of many sizes", "half precision", "some zero",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("index", ["flat", "hnsw"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_search_of_all_finds_what_a_scan_finds(tmp_path, kind, index):
    rng = np.random.default_rng(len(kind))
    data = Drawn(vectors_of(kind, rng), rng)
    file = data.build(tmp_path, index)
    opened = open_index(file)
    queries = np.concatenate([data.vectors[1:20], -data.vectors[1:4], rng.normal(size=(5, DIM))])
    queries = queries[queries.any(axis=1)].astype(np.float32)
    n_scans = n_searches = 0
    for only in (None, np.sort(data.ids[rng.random(N) < 0.3]), np.sort(data.ids[:7])):
        members = None if only is None else np.isin(opened.ids, only)
        for k, some in product((1, 10, 200, 2 * N), np.array_split(queries, 4)):
            found = opened.search(some, k, data.gather, members)
            n_searches += 1
            n_scans += found is None
            if found is not None:
                ids, cosines = search_exact(with_squares(data.read(only)), some, k)
                assert (found[0] == ids).all()
                assert (found[1] == cosines).all()
    assert n_scans <= (n_searches / 2 if kind == "nearly equal" else 0)


def test_half_precision_errs_by_no_more_than_the_card_says(tmp_path):
    rng = np.random.default_rng(0)
    data = Drawn(vectors_of("clusters", rng), rng)
    file = data.build(tmp_path, "flat")
    card = IndexCard.from_entry(file.entry)
    mean = faiss_index.mean_of(faiss_index.load(file, card))
    wide = data.vectors.astype(np.float64)
    units = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    assert np.abs(mean - units.mean(axis=0)).max() < 0.02
    residuals = units - mean
    halved = np.linalg.norm(residuals - residuals.astype(np.float16), axis=1).max()
    assert halved < card.error < 1.01 * halved


def test_few_candidates_prove_an_answer(tmp_path, monkeypatch):
    """Subtracting the mean tells vectors apart that half precision would make equal."""
    rng = np.random.default_rng(1)
    data = Drawn(vectors_of("one massive dimension", rng), rng)
    opened = open_index(data.build(tmp_path, "flat"))
    n_read = []

    def counted(ids):
        n_read.append(len(ids))
        return data.gather(ids)

    for query in data.vectors[:50]:
        opened.search(query[None], 10, counted)
    assert np.median(n_read) < 100
