"""Uniformity and alignment against their definitions written out, and where there is none."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_data import Arrays, clouds, pairs_of, seeds
from scipy.spatial.distance import pdist

from embstore.metrics import geometry as family
from embstore.metrics.geometry import alignment, uniformity
from embstore.query.layer_data import StoredLayer


def units(x):
    wide = x.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def plain_uniformity(x, t):
    """The official code: torch.pdist(x).pow(2).mul(-t).exp().mean().log(), in float64 by scipy."""
    return float(np.log(np.exp(-t * pdist(units(x)) ** 2).mean()))


@settings(deadline=None, max_examples=60)
@given(clouds(), st.sampled_from([0.1, 2.0, 5.0]), st.tuples(*[st.integers(1, 60)] * 3), st.data())
@pytest.mark.slow
def test_uniformity_is_its_definition_in_blocks_of_any_size(x, t, sizes, data):
    rows, columns, block_bytes = sizes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(family, "_ROWS", rows)
        patch.setattr(family, "_COLUMNS", columns)
        patch.setattr(family, "_LOADED_BYTES", 8 * x.shape[1] * block_bytes)
        found = uniformity(Arrays(x[:1], x[1:], ids=data.draw(st.permutations(range(len(x))))), t=t)
    assert found["uniformity"] == pytest.approx(plain_uniformity(x, t), abs=1e-9)
    assert (found["n"], found["n_zero"], found["reason"]) == (len(x), 0, None)


@pytest.mark.parametrize("transforms", [(), ("center",), ("abtt:1", "standardize")])
def test_uniformity_holds_no_more_vectors_than_it_may(make_store, monkeypatch, transforms):
    made = make_store(n=200, dim=8, n_shards=3, n_blocks=0, top_form=None, index=False)
    wanted = made.store.query("uniformity", transforms=transforms, cache=False)["uniformity"]
    monkeypatch.setattr(family, "_LOADED_BYTES", 8 * 8 * 30)
    gathered = []
    gather = StoredLayer.gather

    def counted(layer, ids=None):
        found = gather(layer, ids)
        gathered.append(len(found[0]))
        return found

    monkeypatch.setattr(StoredLayer, "gather", counted)
    found = made.store.query("uniformity", transforms=transforms, cache=False)
    assert gathered == [30] * 6 + [20]
    assert found["uniformity"] == pytest.approx(wanted, abs=1e-12)
    assert found["n"] == [200]


def test_terms_that_vanish_in_float64_have_a_logarithm():
    x = np.array([[1.0, 0], [0, 1], [-1, 0]])
    # Two pairs at a squared distance of 2, one at 4.
    found = uniformity(Arrays(x), t=1e4)["uniformity"]
    assert found == pytest.approx(-2e4 + math.log(2 / 3), abs=1e-8)


@settings(deadline=None, max_examples=60)
@given(clouds(), seeds, st.sampled_from([1.0, 2.0, 3.5]))
def test_alignment_is_its_definition(x, seed, alpha):
    rng = np.random.default_rng(seed)
    ids = rng.permutation(1000)[: len(x)]
    left, right = rng.integers(0, len(x), (2, 30))
    score = rng.integers(0, 6, 30).astype(float)
    score[0] = 5
    found = alignment(
        Arrays(x, ids=ids),
        pairs=pairs_of(ids[left].tolist(), ids[right].tolist(), score),
        alpha=alpha,
    )
    u = units(x)
    powers = [
        math.dist(u[a], u[b]) ** alpha
        for a, b, value in zip(left, right, score, strict=True)
        if value >= 4
    ]
    assert found["alignment"] == pytest.approx(sum(powers) / len(powers), abs=1e-12)
    n = len(powers)
    assert found == {
        "dataset": None,
        "alignment": found["alignment"],
        "n": n,
        "total": n,
        "coverage": 1,
        "n_zero": 0,
        "reason": None,
    }


def test_pairs_without_vectors_are_counted():
    x = np.array([[1.0, 0], [0, 2], [0, 0]])
    pairs = pairs_of([0, 0, 0, 7, 0, 0], [1, 2, 9, 8, 0, 1], [5, 5, 5, 4, 3.9, math.nan])
    found = alignment(Arrays(x), pairs=pairs)
    assert found == {
        "dataset": None,
        "alignment": pytest.approx(2),
        "n": 1,
        "total": 4,
        "coverage": 0.25,
        "n_zero": 1,
        "reason": None,
    }
    found = alignment(Arrays(x), pairs=pairs, missing="error")
    assert (found["alignment"], found["reason"]) == (
        None,
        "3 of 4 pairs have no distance (missing: error)",
    )
