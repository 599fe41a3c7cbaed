"""List the pairs of a dataset whose similarity in a layer differs most from the human scores."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.errors import QueryError, UnknownNameError
from embstore.explore.items import layer_names
from embstore.explore.reading import Reading

_SHOWN = 100


def residuals(store: Reading, dataset: str, space: str, layer: str) -> dict[str, Any]:
    """Return the pairs with the largest difference between the rank of the cosine and the rank of the score.

    Args:
        store: Store to read.
        dataset: Name of a dataset of pairs in the store.
        space: Name of the space.
        layer: Name of the layer.

    Returns:
        ``rows`` with texts, score, cosine, and the difference of their ranks scaled to [-1, 1], largest first.
    """
    known = [name for name, kind in store.catalog.datasets().items() if kind.endswith("pairs")]
    if dataset not in known:
        raise UnknownNameError("dataset of pairs", dataset, known)
    layers = layer_names(store, space)
    if layer not in layers:
        raise UnknownNameError("layer", layer, layers)
    unit = store.catalog.cards[space].unit
    pairs = store.catalog.dataset(dataset, unit)
    ids = np.unique(np.concatenate([pairs["item_id"], pairs["item_id_2"]])) if pairs else np.empty(0, np.int64)
    if not len(ids):
        raise QueryError(f"{dataset} has no pairs of {unit.value}s, which {space} has.")
    stored, _, vectors = store.vectors(space, layer, where=f"item_id IN ({','.join(map(str, ids.tolist()))})")
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    directions = vectors / np.where(lengths == 0, 1, lengths)
    place = {item: at for at, item in enumerate(stored.tolist()) if lengths[at] > 0}
    left, right = ([place.get(item, -1) for item in pairs[name].tolist()] for name in ("item_id", "item_id_2"))
    used = np.array([a >= 0 and b >= 0 for a, b in zip(left, right, strict=True)], bool)
    cosines = np.einsum("ij,ij->i", directions[np.array(left)[used]], directions[np.array(right)[used]])
    scores = pairs["score"][used].astype(np.float64)
    difference = _ranks(cosines) - _ranks(scores)
    order = np.argsort(-np.abs(difference), kind="stable")[:_SHOWN]
    texts = [[str(text) for text in pairs[name][used][order]] for name in ("text", "text_2")]
    columns = [*texts, *(values[order].tolist() for values in (scores, cosines, difference))]
    names = ("text", "text_2", "score", "cosine", "residual")
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return {"rows": rows, "n": int(used.sum()), "total": len(used)}


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks of values scaled to [0, 1]; equal values share their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means = ends - (counts + 1) / 2
    ranks: NDArray[np.float64] = means[places] / max(1, len(values) - 1)
    return ranks
