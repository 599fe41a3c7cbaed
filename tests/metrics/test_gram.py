"""CKA and RSA from Gram matrices against the same from sums of products, and against their
definitions.
"""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from metric_data import Arrays

from embstore.metrics.comparison import (
    biased_gram,
    biased_hsic,
    cka,
    cosine_gram,
    covariance_of_cosines,
    hsic1,
    hsic1_gram,
    normalise_rows,
    rsa,
)
from embstore.metrics.numerics import layer_pairs
from embstore.metrics.numerics.layer_pairs import gram_forms, normalise, reduce_pairs

PAIR = [(0, 0), (0, 1), (1, 1)]


def itself(block):
    return block


FORMS = {
    "unbiased cka": (hsic1, hsic1_gram, itself, 4),
    "biased cka": (biased_hsic, biased_gram, itself, 2),
    "rsa": (covariance_of_cosines, cosine_gram, normalise_rows, 3),
}
CASES = pytest.mark.parametrize("name", FORMS)


def by_both_routes(name, layers, n):
    """The value of two layers: from sums of products, and from Gram matrices."""
    form, kernel, prepare, _ = FORMS[name]
    ids = np.arange(n)
    found = (
        reduce_pairs(layers, PAIR, ids, form, prepare),
        gram_forms(layers, PAIR, ids, kernel, prepare),
    )
    products, matrices = (normalise(each, 0, 1, "alike")[0] for each in found)
    return products, matrices


def conditioning(name, x):
    """How many times larger what a form adds up is than the form of a layer with itself."""
    n, wide = len(x), x.astype(np.float64)
    if name == "rsa":
        wide = wide / np.linalg.norm(wide, axis=1, keepdims=True)
        pairs = (wide @ wide.T)[np.triu_indices(n, 1)]
        if pairs.std() < 1e-12:  # rounding of equal cosines
            return math.inf
        return (
            float(np.linalg.norm(wide - wide.mean(axis=0), axis=1).max() / max(pairs.std(), 1e-150))
            ** 2
        )
    wide = wide - wide.mean(axis=0)
    own = gram_forms([Arrays(x)], [(0, 0)], np.arange(n), FORMS[name][1])[0, 0]
    scale = n * (n - 3) if name == "unbiased cka" else (n - 1) ** 2
    return float(((wide @ wide.T) ** 2).sum() / (own * scale)) if own else math.inf


@st.composite
def layers_of_items(draw, n_min):
    """Two layers of the same items, with something in common, in which vectors may be equal, or
    zero.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, dim, dim_2 = draw(st.integers(n_min, 40)), draw(st.integers(2, 60)), draw(st.integers(2, 60))
    x = rng.normal(size=(n, dim))
    y = x @ rng.normal(size=(dim, dim_2)) * draw(st.sampled_from([0.0, 0.3])) + rng.normal(
        size=(n, dim_2)
    )
    offset = draw(st.sampled_from([0.0, 0.5, 30.0]))
    found = [
        (each + offset).astype(draw(st.sampled_from(["float16", "float32", "float64"])))
        for each in (x, y)
    ]
    n_repeated = draw(st.integers(0, n // 2))
    for each in found:
        each[:n_repeated] = each[-1]
    found[0][n_repeated : n_repeated + draw(st.integers(0, 2))] = 0
    return found


@CASES
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_both_routes_give_the_same_number(name, data):
    vectors = data.draw(layers_of_items(FORMS[name][3]))
    if name == "rsa":  # which leaves out items without a direction
        keep = vectors[0].any(axis=1)
        vectors = [each[keep] for each in vectors]
        assume(len(vectors[0]) >= 3)
    assume(max(conditioning(name, each) for each in vectors) < 1e3)
    products, matrices = by_both_routes(name, [Arrays(each) for each in vectors], len(vectors[0]))
    assert products is not None
    assert matrices == pytest.approx(products, rel=1e-12, abs=1e-12)


@CASES
@pytest.mark.parametrize("rows_bytes", [1, 8 * 3 * 23 * 5, 8 * 3 * 23 * 12, 1 << 30])
def test_blocks_of_rows_change_nothing(monkeypatch, name, rows_bytes):
    rng = np.random.default_rng(4)
    layers = [Arrays(rng.normal(size=(23, dim)) + 10) for dim in (30, 41, 35)]
    form, kernel, prepare, _ = FORMS[name]
    pairs = [(0, 0), (0, 2), (2, 2), (1, 2), (1, 1)]
    expected = reduce_pairs(layers, pairs, np.arange(23), form, prepare)
    monkeypatch.setattr(layer_pairs, "_ROWS_BYTES", rows_bytes)
    found = gram_forms(layers, pairs, np.arange(23), kernel, prepare)
    assert list(found) == pairs
    assert found == pytest.approx(expected, rel=1e-12)


def test_memory_is_that_of_a_block_of_rows_and_of_a_layer(monkeypatch):
    """Six layers of 300 × 300: 4 MB of Gram matrices, of which one is in memory at a time."""
    rng = np.random.default_rng(0)
    layers = [Arrays(rng.normal(size=(300, 300))) for _ in range(6)]
    monkeypatch.setattr(layer_pairs, "_ROWS_BYTES", 500_000)
    tracemalloc.start()
    gram_forms(layers, [(i, j) for i in range(6) for j in range(i, 6)], np.arange(300), hsic1_gram)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    layer = 8 * 300 * 300
    assert peak < 500_000 + 4 * layer, (
        "a block, and a layer as it is gathered, copied and multiplied"
    )


@pytest.mark.parametrize(("metric", "column"), [(cka, "cka"), (rsa, "rsa")])
def test_metrics_take_the_route(monkeypatch, metric, column):
    rng = np.random.default_rng(1)
    layers = [Arrays(rng.normal(size=(12, 30)) + 1) for _ in range(3)]
    few = [row[column] for row in metric(layers, None, np.arange(12))]
    monkeypatch.setattr(layer_pairs, "prefers_gram", lambda *_: False)
    assert few == pytest.approx(
        [row[column] for row in metric(layers, None, np.arange(12))], rel=1e-12, abs=1e-12
    )
    monkeypatch.setattr(layer_pairs, "prefers_gram", lambda *_: True)
    monkeypatch.setattr(layer_pairs, "reduce_pairs", None)
    assert few == [row[column] for row in metric(layers, None, np.arange(12))]
