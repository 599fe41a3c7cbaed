"""Differences, chance levels and labels: what they cost beyond the numbers that they are about."""

from pathlib import Path

import numpy as np
from benchmark_geometry import layer_of
from benchmark_passes import words_of
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

# Of a word's number of characters.
_LENGTHS = ("short",) * 4 + ("middle",) * 2 + ("long",) * 2 + ("longest",)


def claims(space: Workspace) -> list[Result]:
    """Measure tests between layers, permutations, nearest neighbours' labels, probes and dimension
    over scales.
    """
    return [*_versus(space), *_permutations(space), *_labels(space), *_scales(space)]


def _versus(space: Workspace) -> list[Result]:
    path, _ = people_store(space)
    file = str(space.root / "pairs.csv")
    contenders = {
        "versus": query(path, "similarity", dataset=file, versus="best"),
        "plain": query(path, "similarity", dataset=file),
    }
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
    path, n = _labelled_store(space), space.size.probed
    layer, store = layer_of(path), Store(path)
    [(name, card)] = store.catalog.cards.items()
    layers = len(card.layers)
    found = interleave(
        {
            "knn": query(path, "knn", label="length", layers=0),
            "search": timed(lambda: layer.neighbours(10)),
        },
        3 * space.size.reads,  # they differ by less than the rounds do
    )
    chosen = f"item_id IN (SELECT item_id FROM items ORDER BY item_id LIMIT {n})"
    arrays = [
        store.vectors(name, layer, where=chosen, columns=["length"]) for layer in range(layers)
    ]
    tasks = [(vectors.astype(np.float64), classes) for _, _, vectors, classes in arrays]
    probe = query(path, "probe", where=chosen, label="length", control=False, repeats=1)
    alone = timed(lambda: [_with_scikit_learn(*task) for task in tasks])
    seconds = interleave({"probe": probe, "alone": alone}, 1, warmups=0)
    of_knn = (
        f"knn of {space.size.words:,} words × 384, one layer, with its interval, to the search"
        " alone"
    )
    of_probe = (
        f"probe of {n:,} words × 384 × {layers} layers, to scikit-learn alone, on arrays in memory"
    )
    return [
        compare(of_knn, found["knn"], found["search"], goal=1.5),
        compare(of_probe, seconds["probe"], seconds["alone"], goal=1.2),
    ]


def _labelled_store(space: Workspace) -> Path:
    """Return a store of frequent words in MiniLM, with a class of length for each, of four."""
    path = space.new("labelled")
    source = space.root / "lengths.csv"
    words = [item.text for item in words_of(f"words:{space.size.words}")]
    source.write_text(
        "word,length\n" + "".join(f"{word},{_LENGTHS[min(len(word), 8)]}\n" for word in words)
    )
    Store(path).build(source, columns=["word"], keep=["length"], models="minilm")
    return path


def _with_scikit_learn(vectors: NDArray[np.float64], classes: NDArray[np.int64]) -> None:
    """Predict classes in five folds, with the strength of the regularisation from three inner
    folds, as probe does.
    """
    steps = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, solver="newton-cg"))
    chosen = GridSearchCV(
        steps, {"logisticregression__C": STRENGTHS}, cv=KFold(3, shuffle=True, random_state=0)
    )
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
    what = (
        f"intrinsic dimension of {n:,} × {space.size.dim} at 6 scales (GRIDE), to a search of 64"
        " neighbours"
    )
    return [compare(what, seconds["gride"], seconds["search"], goal=1.1)]
