"""FAISS indexes and the exact scan against cosines by brute force in float64."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_search import search
from synthetic import Synthetic

from embstore.base.errors import DamagedError
from embstore.index import IndexCard, remove_index, search_exact, stored_ids, unit_vectors, write_index

Make = Callable[..., Synthetic]


def brute_force(ids: np.ndarray, x: np.ndarray, query: np.ndarray) -> list[tuple[int, float]]:
    """All items, best first, ties by id."""
    x, query = x.astype(np.float64), query.astype(np.float64)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(query)
    cosines = np.divide(x @ query, norms, out=np.zeros(len(x)), where=norms > 0)
    return sorted(zip(ids.tolist(), cosines.tolist(), strict=True), key=lambda hit: (-hit[1], hit[0]))


def assert_nearest(found: list[tuple[int, float]], wanted: list[tuple[int, float]]) -> None:
    """The same cosines, and the same ids wherever neighbouring cosines differ by more than float32's rounding."""
    assert [c for _, c in found] == pytest.approx([c for _, c in wanted], abs=2e-6)
    cosine_of = dict(wanted)
    for item, cosine in found:
        if item in cosine_of:
            assert cosine == pytest.approx(cosine_of[item], abs=2e-6)
        else:
            assert cosine == pytest.approx(wanted[-1][1], abs=2e-6), "only a tie at the end may be another item"


SHARDS = [f"part-{letter * 16}" for letter in "ab"]


def write(path: Path, *blocks: tuple[np.ndarray, np.ndarray]) -> IndexCard:
    return write_index(path, blocks, space="toy", layer=0, dim=blocks[0][1].shape[1], shards=SHARDS)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1), n=st.integers(1, 60), k=st.integers(1, 70), n_queries=st.sampled_from([1, 2, 25])
)
def test_both_searches_are_brute_force(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n: int, k: int, n_queries: int
) -> None:
    rng = np.random.default_rng(seed)
    dim = int(rng.integers(1, 20))
    x = (rng.normal(size=(n, dim)) + rng.choice([0, 3])).astype(np.float32) * rng.uniform(0.1, 10, (n, 1)).astype(
        np.float32
    )
    ids = rng.permutation(2**62 + np.arange(n))
    queries = rng.normal(size=(n_queries, dim)).astype(np.float32)
    blocks = [(ids[part], x[part]) for part in np.split(np.arange(n), sorted(rng.integers(0, n + 1, 2)))]
    path = tmp_path_factory.mktemp("index") / "space=toy" / "layer=00.faiss"
    write(path, *blocks)
    indexed = search(path, SHARDS, queries, k)
    assert indexed is not None
    for found_ids, cosines in (indexed, search_exact(blocks, queries, k)):
        assert cosines.dtype == np.float64
        for query, near, values in zip(queries, found_ids, cosines, strict=True):
            assert_nearest(list(zip(near.tolist(), values.tolist(), strict=True)), brute_force(ids, x, query)[:k])
    assert stored_ids(path).tolist() == sorted(ids.tolist())


def test_ties_are_in_order_of_ids(tmp_path: Path) -> None:
    ids = np.array([9, 3, 7, 1, 5])
    x = np.tile(np.array([[3.0, 4.0]], np.float32), (5, 1)) * np.array([[1], [2], [3], [4], [5]], np.float32)
    write(tmp_path / "space=toy" / "layer=00.faiss", (ids, x))
    query = np.array([[1.0, 1.0]], np.float32)
    indexed = search(tmp_path / "space=toy" / "layer=00.faiss", SHARDS, query, 5)
    assert indexed is not None
    for near, _ in (indexed, search_exact([(ids, x)], query, 5)):
        assert near.tolist() == [[1, 3, 5, 7, 9]]


def test_unit_vectors_of_any_size_and_of_none() -> None:
    x = np.array([[3e30, 4e30], [3e-30, 4e-30], [0, 0]], np.float32)
    np.testing.assert_allclose(unit_vectors(x), [[0.6, 0.8], [0.6, 0.8], [0, 0]], rtol=1e-6)
    assert unit_vectors(np.ones((1, 4), np.float16)).tolist() == [[0.5] * 4]


def test_the_card_says_what_the_index_covers(tmp_path: Path) -> None:
    path = tmp_path / "space=toy" / "layer=00.faiss"
    assert IndexCard.read(path) is None
    card = write(path, (np.arange(3), np.eye(3, dtype=np.float32)))
    assert IndexCard.read(path) == card
    assert (card.n, card.dim, card.kind, card.metric) == (3, 3, "flat", "cosine")
    assert card.covers(SHARDS[::-1])
    assert not card.covers(SHARDS[:1])
    assert not card.covers([*SHARDS, "part-" + "c" * 16])
    remove_index(path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 4, 50, 0.5])
def test_a_truncated_index_is_named_with_the_remedy(make_store: Make, keep: float) -> None:
    made = make_store(n=30)
    path = made.paths.index(made.space, made.card.layers.members[-1])
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(DamagedError, match=r"is damaged: .*Delete it, and an exact scan answers") as caught:
        made.store.neighbours("text1", layers="raw")
    assert str(path) in str(caught.value)
    path.unlink()
    found = made.store.neighbours("text1", layers="raw", k=3)
    assert len(found) == 3
    assert any("exact scan" in note for note in found.notes), "the remedy works"


def test_a_write_that_fails_leaves_no_index_that_looks_damaged(
    make_store: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from embstore.base import atomic

    made = make_store(n=10)
    path = made.paths.index(made.space, made.card.layers.members[1])

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(atomic, "write_document", fail)
    with pytest.raises(ZeroDivisionError):
        write(path, (np.arange(3), np.eye(3, dtype=np.float32)))
    monkeypatch.undo()
    assert not path.exists()
    assert made.store.verify().ok
    assert len(made.store.neighbours("text1", layers=1, k=3)) == 3
