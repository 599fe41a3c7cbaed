"""Reading the vectors of a layer: which, in what memory, and never wrong ones."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peak_memory import peak
from store_damage import damaged
from synthetic import Synthetic, synthetic_store

from embstore.base.errors import DamagedError
from embstore.base.summary import Summary
from embstore.storage.catalog import Catalog
from embstore.storage.files import vectors
from embstore.storage.vectors import LayerVectors
from embstore.storage.parquet import footer
from embstore.storage.transaction.manifest import committed_shards


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Three shards of two row groups a layer each."""
    return synthetic_store(tmp_path_factory.mktemp("many"), n=3 * 1500, dim=4, n_blocks=2, n_shards=3, index=False)


def reader(made: Synthetic, layer: int, only: np.ndarray | None = None) -> LayerVectors:
    return LayerVectors(committed_shards(made.paths, made.space), layer, made.card.dim, only)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    kept=st.sampled_from([0, 1, 2, 5, 700, 4000, 4500]),
    n_strangers=st.sampled_from([0, 3]),
    layer=st.integers(0, 3),
)
@pytest.mark.slow
def test_only_keeps_exactly_the_chosen_items(many, seed, kept, n_strangers, layer):
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(many.ids), kept, replace=False)
    strangers = rng.integers(0, 2**62, n_strangers)
    only = np.unique(np.concatenate([many.ids[chosen], strangers]))
    ids, vectors = reader(many, layer, only).gather()
    chosen = chosen[np.argsort(many.ids[chosen])]
    np.testing.assert_array_equal(ids, many.ids[chosen])
    np.testing.assert_array_equal(vectors, many.layer(layer)[chosen])
    assert reader(many, layer, only).summary.isclose(Summary.of(many.layer(layer)[chosen]))


def test_all_vectors_of_a_layer_and_damage_for_a_layer_that_is_not_there(many):
    order = np.argsort(many.ids)
    ids, vectors = reader(many, 1).gather()
    np.testing.assert_array_equal(ids, many.ids[order])
    np.testing.assert_array_equal(vectors, many.layer(1)[order])
    with pytest.raises(DamagedError, match="it has no layer 9"):
        reader(many, 9).gather()


def test_row_groups_without_a_chosen_item_are_not_read(many, monkeypatch):
    n_read = 0
    real = LayerVectors._read_group

    def read(*arguments: object) -> object:
        nonlocal n_read
        n_read += 1
        return real(*arguments)

    monkeypatch.setattr(LayerVectors, "_read_group", read)
    reader(many, 1, np.sort(many.ids[:1])).gather()
    assert n_read < 6


@pytest.mark.slow
def test_threads_that_share_a_file_do_not_disturb_each_other(make_store, monkeypatch):
    """Each gets its own rows, every time."""
    monkeypatch.setattr(vectors, "_THREADS", 8)
    made = make_store(n=20_000, dim=2, n_blocks=1, top_form=None, n_shards=1, index=False)
    expected = np.sort(made.layer(0), axis=0)
    for _ in range(100):
        blocks = list(reader(made, 0).map(np.array))
        assert np.array_equal(np.sort(np.concatenate(blocks), axis=0), expected)


def test_an_exception_of_the_function_comes_through(many):
    def fail(block: np.ndarray) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(reader(many, 1).map(fail))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_memory_does_not_grow_with_n(tmp_path):
    """Ten times the vectors (8 and 80 MB) at the same peak, but for 20 MB that a noisy allocator may keep."""
    used = []
    for n in (8_000, 80_000):
        rng = np.random.default_rng(0)
        vectors = rng.standard_normal((1, n, 256), np.float32)
        root = tmp_path / str(n)
        synthetic_store(
            root, n=n, dim=256, n_blocks=0, top_form=None, n_shards=n // 8_000, vectors=vectors, index=False
        )
        del vectors
        prepare = (
            f"import embstore.storage.vectors; from embstore import Store; store = Store({str(root)!r}); "
            "store.query('norms', layers='0', top=0)"
        )
        ask = f"[row] = store.query('anisotropy', layers='0', variant='centred'); assert row['n'] == {n}"
        used.append(peak(ask, prepare)[1])
    assert used[1] - used[0] < 20_000, f"{used} kB"


@pytest.mark.parametrize("keep", [0, 0.5, -1, -200])
def test_a_truncated_shard_is_named_by_every_query_that_reads_it(make_store, keep):
    made = make_store(n=60, n_shards=2)
    path = made.shard_files[0]
    data = path.read_bytes()
    end = int(keep * len(data)) if isinstance(keep, float) else keep
    exact = made.store.query("anisotropy").to_pylist()
    stored_in_it = np.unique(reader(made, 0).gather()[0])
    with damaged(path, data[:end]):
        store = made.store
        assert store.query("anisotropy").to_pylist() == exact, "summaries answer"
        questions = {
            "centred": lambda: store.query("anisotropy", variant="centred"),
            "shares": lambda: store.query("norms"),
            "filtered": lambda: store.query("anisotropy", where="true"),
            "sample": lambda: store.query("anisotropy", sample=3),
            "vectors": lambda: store.vectors(made.space, 1),
            "neighbours": lambda: store.neighbours(made.texts[0]),
            "sql": lambda: store.sql("SELECT sum(list_sum(vector)) FROM embeddings").fetchall(),
        }
        for name, ask in questions.items():
            with pytest.raises(DamagedError) as caught:
                ask()
            assert str(path) in str(caught.value), name
            assert "build the same sources again" in str(caught.value), name
        assert [problem.file for problem in store.verify().problems] == [path.resolve()]
    assert len(stored_in_it) == 60


def test_single_vectors_are_the_same_whoever_reads_the_footer(many, monkeypatch):
    """Footers that embstore's writer would not write are parsed as a whole."""
    places = [3, 40]
    items = many.ids[places].tolist()
    for reads_itself in (True, False):
        if not reads_itself:
            monkeypatch.setattr(footer, "_GROUP", re.compile(b"nothing like this"))
        found = Catalog(many.root).vectors_of(many.space, [0, 1], items)
        for place, item in zip(places, items, strict=True):
            for layer in (0, 1):
                np.testing.assert_array_equal(found[item][layer], many.layer(layer)[place])
