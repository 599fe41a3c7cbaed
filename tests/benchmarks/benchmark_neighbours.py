"""What is asked of the nearest neighbours of all items, to the search that it cannot do without."""

import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from benchmark_stores import Workspace
from benchmark_timing import Contender, Result, compare, interleave

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
    contenders = {
        "hubness": _query(path, "hubness", k=_K),
        "euclidean": _query(path, "hubness", k=_K, distance="euclidean"),
        "dimension": _query(path, "intrinsic-dimension"),
        "search": _search(units),
        "uniformity": _query(path, "uniformity"),
        "products": _products(units.astype(np.float64)),
    }
    seconds = interleave(contenders, space.size.reads)
    what = f"of {n:,} × {dim}, read from the store,"
    search, products = seconds["search"], seconds["products"]
    return [
        compare(f"hubness {what} to FAISS's search, in memory", seconds["hubness"], search, goal=1.5),
        compare("… by Euclidean distance, to the same", seconds["euclidean"], search, goal=1.5),
        compare("… intrinsic dimension, to the same", seconds["dimension"], search),
        compare(f"uniformity {what} to half the products in float64", seconds["uniformity"], products),
    ]


def _query(path: Path, metric: str, **parameters: Any) -> Contender:
    def run() -> float:
        began = time.perf_counter()
        Store(path).query(metric, cache=False, **parameters)
        return time.perf_counter() - began

    return run


def _search(units: np.ndarray) -> Contender:
    def run() -> float:
        began = time.perf_counter()
        faiss.knn(units, units, min(_K + 1, len(units)), faiss.METRIC_INNER_PRODUCT)
        return time.perf_counter() - began

    return run


def _products(units: np.ndarray) -> Contender:
    def run() -> float:
        began = time.perf_counter()
        units[: len(units) // 2] @ units.T
        return time.perf_counter() - began

    return run
