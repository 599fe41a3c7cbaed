"""Layers against layers: to the matrix products and the searches that they cannot do without, and
by two routes.
"""

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from benchmark_stores import Workspace, query
from benchmark_timing import Contender, Result, compare, interleave, timed

from embstore import Store
from embstore.metrics.comparison import (
    cosine_gram,
    covariance_of_cosines,
    hsic1,
    hsic1_gram,
    normalise_rows,
)
from embstore.metrics.numerics.layer_pairs import Grid, gram_forms, reduce_pairs
from embstore.query.layer_data import StoredLayer

_ROUTES: dict[str, tuple[Callable[..., Any], ...]] = {
    "CKA": (hsic1, hsic1_gram, lambda block: block),
    "RSA": (covariance_of_cosines, cosine_gram, normalise_rows),
}
_LAYERS = 13
_SEARCHED = 3  # layers, each of which takes as long as any other
_K = 10


def comparison(space: Workspace) -> list[Result]:
    """Compare all layers of a space with each other."""
    return [*_products(space), *_searches(space)]


def _products(space: Workspace) -> list[Result]:
    n, dim = space.size.short // 2, space.size.dim
    path = space.synthetic(n, _LAYERS)
    seconds = interleave(
        {
            "cka": query(path, "cka"),
            "rsa": query(path, "rsa"),
            "spearman": query(path, "rsa", correlation="spearman"),
            "products": _all_products(n, dim),
        },
        space.size.builds,
        warmups=0,
    )
    what = f"of all pairs of {_LAYERS} layers of {n:,} × {dim}, read from the store,"
    return [
        compare(
            f"CKA {what} to the products XᵀY in float64, in memory",
            seconds["cka"],
            seconds["products"],
            goal=3,
        ),
        compare(
            f"RSA (Pearson, exact) {what} to these", seconds["rsa"], seconds["products"], goal=3
        ),
        compare(
            "… Spearman of 100,000 pairs of items, to these",
            seconds["spearman"],
            seconds["products"],
        ),
    ]


def routes(space: Workspace) -> list[Result]:
    """Compare Gram matrices with sums of products where items are few: times, and how far apart the
    numbers are.
    """
    n_layers, n, dim = space.size.deep
    catalog = Store(space.synthetic(n, n_layers, dim)).catalog
    [card] = catalog.cards.values()
    layers = [StoredLayer(catalog, card, layer) for layer in card.layers.members]
    grid, ids = Grid.of(layers, None), layers[0].gather()[0]
    lines = []
    for name, (form, kernel, prepare) in _ROUTES.items():
        forms: dict[str, dict[tuple[int, int], float]] = {}
        seconds = interleave(
            {
                "matrices": timed(
                    lambda: forms.update(m=gram_forms(layers, grid.pairs, ids, kernel, prepare))  # noqa: B023
                ),
                "products": timed(
                    lambda: forms.update(p=reduce_pairs(layers, grid.pairs, ids, form, prepare))  # noqa: B023
                ),
            },
            1,
            warmups=0,
        )
        apart = max(
            abs(_value(forms["m"], *pair) - _value(forms["p"], *pair)) for pair in grid.pairs
        )
        what = f"{name} of all pairs of {n_layers} layers of {n:,} × {dim}, read from the store,"
        lines += [
            compare(
                f"{what} from Gram matrices to sums of products",
                seconds["matrices"],
                seconds["products"],
                goal=1,
            ),
            Result(
                "… largest difference of the two, to 1e-12",
                f"{apart:.1e}",
                "1.0e-12",
                apart / 1e-12,
                1,
            ),
        ]
    return lines


def _value(forms: dict[tuple[int, int], float], i: int, j: int) -> float:
    return forms[i, j] / float(np.sqrt(forms[i, i] * forms[j, j]))


def _searches(space: Workspace) -> list[Result]:
    n, dim = space.size.short // 2, space.size.dim
    path = space.synthetic(n, _LAYERS)
    store = Store(path)
    [name] = store.catalog.cards
    units = [store.vectors(name, layer)[2] for layer in range(_SEARCHED)]
    for vectors in units:
        faiss.normalize_L2(vectors)
    seconds = interleave(
        {
            "overlap": query(path, "overlap", layers=f"0-{_SEARCHED - 1}", k=_K),
            "search": _all_searches(units),
        },
        space.size.builds,
    )
    what = (
        f"overlap of the {_K} nearest of {n:,} × {dim} in {_SEARCHED} layers, read from the store,"
    )
    return [
        compare(
            f"{what} to FAISS's search, in memory", seconds["overlap"], seconds["search"], goal=1.5
        )
    ]


def _all_products(n: int, dim: int) -> Contender:
    """The product of each layer with itself, which numpy does in half the time, and of each two."""
    x, y = np.random.default_rng(0).normal(size=(2, n, dim))

    def work() -> None:
        for _ in range(_LAYERS):
            x.T @ x
        for _ in range(_LAYERS * (_LAYERS - 1) // 2):
            x.T @ y

    return timed(work)


def _all_searches(layers: list[np.ndarray]) -> Contender:
    def work() -> None:
        for units in layers:
            index = faiss.IndexFlatIP(units.shape[1])
            index.add(units)
            index.search(units, min(_K + 1, len(units)))

    return timed(work)
