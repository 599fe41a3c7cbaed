"""Differences, chance levels and labels: what they cost beyond the numbers that they are about."""

import numpy as np
from benchmark_geometry import layer_of
from benchmark_people import people_store
from benchmark_stores import Workspace, query
from benchmark_timing import Result, compare, interleave, timed
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embstore import Store
from embstore.metrics.probe import STRENGTHS


def claims(space: Workspace) -> list[Result]:
    """Measure tests between layers, permutations, nearest neighbours' labels, probes and dimension over scales."""
    return [*_versus(space), *_permutations(space), *_labels(space), *_scales(space)]


def _versus(space: Workspace) -> list[Result]:
    path, _ = people_store(space)
    contenders = {"versus": query(path, "similarity", versus="best"), "plain": query(path, "similarity")}
    seconds = interleave(contenders, space.size.reads)
    what = "similarity of 3,500 pairs in 7 layers, --versus best, to without"
    return [compare(what, seconds["versus"], seconds["plain"], goal=1.1)]


def _permutations(space: Workspace) -> list[Result]:
    n = max(20, space.size.short // 10)
    path = space.synthetic(n, 13)
    contenders = {"permutations": query(path, "cka", permutations=200), "plain": query(path, "cka")}
    seconds = interleave(contenders, max(1, space.size.reads // 2))
    what = f"CKA of 13 × 13 layers of {n:,} × {space.size.dim}, 200 permutations, to without"
    return [compare(what, seconds["permutations"], seconds["plain"], goal=4)]


def _labels(space: Workspace) -> list[Result]:
    path = space.words()
    layer, n, store = layer_of(path), min(2_000, space.size.words), Store(path)
    [name] = store.catalog.cards
    chosen = f"item_id IN (SELECT item_id FROM items ORDER BY item_id LIMIT {n})"
    _, _, vectors, frequency = store.vectors(name, 0, where=chosen, columns=["zipf_frequency"])
    edges = np.quantile(frequency, [0.25, 0.5, 0.75])  # of four classes
    labels = {"label": "zipf_frequency", "label_bins": ",".join(map(repr, [0.0, *edges.tolist(), 9.0])), "layers": 0}
    found = interleave(
        {"knn": query(path, "knn", **labels), "search": timed(lambda: layer.neighbours(10))}, space.size.reads
    )
    classes = np.digitize(frequency, edges)
    seconds = interleave(
        {
            "probe": query(path, "probe", where=chosen, control=False, **labels),
            "alone": timed(lambda: _with_scikit_learn(vectors.astype(np.float64), classes)),
        },
        1,
        warmups=0,
    )
    words = f"{space.size.words:,} words × 384"
    return [
        compare(f"knn of {words}, one layer, to the search alone", found["knn"], found["search"], goal=1.05),
        compare(f"probe of {n:,} words × 384, one layer, to scikit-learn alone, on arrays in memory", seconds["probe"],
                seconds["alone"], goal=1.2),
    ]  # fmt: skip


def _with_scikit_learn(vectors: NDArray[np.float64], classes: NDArray[np.int64]) -> None:
    """Predict classes in five folds, with the strength of the regularisation from three inner folds, as probe does."""
    steps = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    chosen = GridSearchCV(steps, {"logisticregression__C": STRENGTHS}, cv=KFold(3, shuffle=True, random_state=0))
    cross_val_predict(chosen, vectors, classes, cv=KFold(5, shuffle=True, random_state=0))


def _scales(space: Workspace) -> list[Result]:
    n = space.size.short // 2
    path = space.synthetic(n, 1)
    layer = layer_of(path)
    contenders = {
        "gride": query(path, "intrinsic-dimension", estimator="gride"),
        "search": timed(lambda: layer.neighbours(64, "euclidean")),
    }
    seconds = interleave(contenders, max(1, space.size.reads // 2))
    what = f"intrinsic dimension of {n:,} × {space.size.dim} at 6 scales (GRIDE), to a search of 64 neighbours"
    return [compare(what, seconds["gride"], seconds["search"], goal=1.1)]
