"""One query and a thousand, in a store with an index or without one, against a comparison of all
pairs.
"""

import numpy as np
import pytest

from embstore.index import exact_search

N, DIM = 60, 6
WHERE = {
    "": lambda texts: [True] * N,
    "text LIKE '%7'": lambda texts: [text.endswith("7") for text in texts],
    "text = 'none'": lambda texts: [False] * N,
}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("k", [1, 10, N + 5])
@pytest.mark.parametrize("n_queries", [1, 1000])
@pytest.mark.parametrize("index", ["flat", "hnsw", "none"])
def test_filters_and_any_k(make_store, monkeypatch, index, n_queries, k, where):
    monkeypatch.setattr(exact_search, "_PRODUCTS", 7 * n_queries)  # seven vectors at once
    made = make_store(n=N, dim=DIM, n_blocks=1, top_form=None, index=False)
    made.store.index(kind=index)
    queries = np.random.default_rng(3).normal(size=(n_queries, DIM)).astype(np.float32)
    x = made.layer(1).astype(np.float64)
    cosines = queries.astype(np.float64) @ x.T
    cosines /= np.linalg.norm(queries.astype(np.float64), axis=1)[:, None]
    cosines /= np.linalg.norm(x, axis=1)
    kept = np.flatnonzero(WHERE[where](made.texts))
    places = kept[np.argsort(-cosines[:, kept], axis=1)[:, :k]]
    found = made.store.neighbours(
        vector=queries, layers=1, k=k, where=where or None, exact=index == "hnsw"
    )
    assert found["text"] == [made.texts[place] for row in places for place in row]
    np.testing.assert_allclose(
        found["cosine"], np.take_along_axis(cosines, places, axis=1).ravel(), atol=1e-12
    )
