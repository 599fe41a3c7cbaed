"""What is asked of the nearest neighbours of all items, to the search that it cannot do without."""

import faiss
import numpy as np
from benchmark_stores import Workspace, query
from benchmark_timing import Result, compare, interleave, timed

from embstore import Store

_K = 10


def nearest(space: Workspace) -> list[Result]:
    """Ask what needs the neighbours of all items of a layer, or all pairs of them."""
    n, dim = space.size.short // 2, space.size.dim
    path = space.synthetic(n, 1)
    store = Store(path)
    [name] = store.catalog.cards
    units = store.vectors(name, 0)[2]
    faiss.normalize_L2(units)
    wide = units.astype(np.float64)
    contenders = {
        "hubness": query(path, "hubness", k=_K),
        "euclidean": query(path, "hubness", k=_K, distance="euclidean"),
        "dimension": query(path, "intrinsic-dimension"),
        "search": timed(
            lambda: faiss.knn(units, units, min(_K + 1, n), faiss.METRIC_INNER_PRODUCT)
        ),
        "uniformity": query(path, "uniformity"),
        "products": timed(lambda: wide[: n // 2] @ wide.T),
    }
    seconds = interleave(contenders, space.size.reads)
    what = f"of {n:,} × {dim}, read from the store,"
    search, products = seconds["search"], seconds["products"]
    return [
        compare(
            f"hubness {what} to FAISS's search, in memory", seconds["hubness"], search, goal=1.4
        ),
        compare("… by Euclidean distance, to the same", seconds["euclidean"], search, goal=1.4),
        compare("… intrinsic dimension, to the same", seconds["dimension"], search),
        compare(
            f"uniformity {what} to half the products in float64", seconds["uniformity"], products
        ),
    ]
