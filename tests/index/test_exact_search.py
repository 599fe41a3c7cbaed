"""Exact searches: what is found depends on the vectors alone, down to the last bit."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_search import search
from numpy.typing import NDArray
from synthetic import Synthetic

from embstore.index import flat, search_exact, unit_vectors, write_index

Make = Callable[..., Synthetic]
SHARDS = ["part-" + "a" * 16]


def by_definition(ids: NDArray[np.int64], x: NDArray[np.float32], query: NDArray[np.float32], k: int) -> list[tuple]:
    """The k best of all cosines in float64 of float32 unit vectors, rounded to float32; ties by id."""
    units, unit = unit_vectors(x).astype(np.float64), unit_vectors(query[None])[0].astype(np.float64)
    cosines = np.array([np.vecdot(row, unit) for row in units]).astype(np.float32)
    return sorted(zip(ids.tolist(), cosines.tolist(), strict=True), key=lambda hit: (-hit[1], hit[0]))[:k]


def hits(found: tuple[NDArray[np.int64], NDArray[np.float32]], row: int) -> list[tuple]:
    return list(zip(found[0][row].tolist(), found[1][row].tolist(), strict=True))


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 300),
    k=st.integers(1, 30),
    n_queries=st.integers(1, 5),
    n_distinct=st.integers(1, 40),
    block=st.integers(1, 400),
    many=st.sampled_from([0, 20]),
)
def test_index_and_scan_are_the_definition_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    n: int,
    k: int,
    n_queries: int,
    n_distinct: int,
    block: int,
    many: int,
) -> None:
    rng = np.random.default_rng(seed)
    distinct = rng.normal(size=(n_distinct, 48)).astype(np.float32) + 3  # many are near each other, and many are equal
    x = distinct[rng.integers(0, n_distinct, n)]
    ids = rng.permutation(2**62 + np.arange(n))
    queries = x[rng.integers(0, n, n_queries)] + rng.choice([0, 1e-4])
    path = tmp_path_factory.mktemp("index") / "space=toy" / "layer=00.faiss"
    write_index(path, [(ids, x)], space="toy", layer=0, dim=48, shards=SHARDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flat, "_MANY", many)  # 0: never by FAISS
        patch.setattr(flat, "_BLOCK_BYTES", 4 * 48 * block)
        patch.setattr(flat, "_PRODUCT_BYTES", 4 * n * min(2, n_queries))
        indexed = search(path, SHARDS, queries, k)
    assert indexed is not None
    scanned = search_exact(((ids[at : at + block], x[at : at + block]) for at in range(0, n, block)), queries, k)
    for row, query in enumerate(queries):
        right = by_definition(ids, x, query, min(k, n))
        assert hits(indexed, row) == right
        assert hits(scanned, row) == right
        alone = search(path, SHARDS, queries[row : row + 1], k)
        assert alone is not None
        assert hits(alone, 0) == right


def test_members_alone_are_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, ids = rng.normal(size=(50, 8)).astype(np.float32), np.arange(50) * 3
    path = tmp_path / "space=toy" / "layer=00.faiss"
    write_index(path, [(ids, x)], space="toy", layer=0, dim=8, shards=SHARDS)
    only = ids[[4, 9, 40]]
    found = search(path, SHARDS, x[:2], 5, only=only)
    assert found is not None
    for row in range(2):
        assert hits(found, row) == by_definition(only, x[[4, 9, 40]], x[row], 3)


def test_neighbours_of_a_flat_index_load_no_faiss(make_store: Make) -> None:
    made = make_store(n=50)
    code = "import sys; from embstore import Store; print(len(Store(sys.argv[1]).neighbours(sys.argv[2]))); " + (
        "sys.exit('faiss' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(made.root), made.texts[0]], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "10\n"), done.stderr
