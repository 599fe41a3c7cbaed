"""List the pairs of a dataset whose similarity in a layer differs most from the human scores."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import QueryError, UnknownNameError
from embstore.explore.commands import command, python
from embstore.explore.items import layer_names
from embstore.explore.reading import Reading
from embstore.storage.files.card import Card

_SHOWN = 100
_SELECT = """\
WITH pairs AS (
  SELECT p.text, p.text_2, p.score, cosine(a.vector, b.vector) AS cosine
  FROM datasets."{dataset}" p
  JOIN embeddings a ON a.space = '{space}' AND a.layer = {layer} AND a.item_id = p.item_id
  JOIN embeddings b ON b.space = '{space}' AND b.layer = {layer} AND b.item_id = p.item_id_2
  WHERE p.unit = '{unit}'
), used AS (SELECT * FROM pairs WHERE cosine IS NOT NULL)
SELECT *, {of_cosine} - {of_score} AS residual FROM used ORDER BY abs(residual) DESC, text, text_2 LIMIT {n}"""
_RANK = (
    "(rank() OVER (ORDER BY {0}) - 1 + (count(*) OVER (PARTITION BY {0}) - 1) / 2) / greatest(count(*) OVER () - 1, 1)"
)
"""The rank of a column scaled to [0, 1], as :func:`_ranks` has it."""


def residuals(store: Reading, dataset: str, space: str, layer: str) -> dict[str, Any]:
    """Return the pairs with the largest difference between the rank of the cosine and the rank of the score.

    Args:
        store: Store to read.
        dataset: Name of a dataset of pairs in the store.
        space: Name of the space.
        layer: Name of the layer.

    Returns:
        ``rows`` with texts, score, cosine, and the difference of their ranks scaled to [-1, 1], largest first; and the
        command and the line of Python that compute them by SQL.
    """
    known = [name for name, kind in store.catalog.datasets().items() if kind.endswith("pairs")]
    if dataset not in known:
        raise UnknownNameError("dataset of pairs", dataset, known)
    layers = layer_names(store, space)
    if layer not in layers:
        raise UnknownNameError("layer", layer, layers)
    card = store.catalog.cards[space]
    unit = card.unit
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
    texts = [pairs[name][used].astype(object) for name in ("text", "text_2")]
    order = np.lexsort((*texts[::-1], -np.abs(difference)))[:_SHOWN]
    texts = [text[order].tolist() for text in texts]
    columns = [*texts, *(values[order].tolist() for values in (scores, cosines, difference))]
    names = ("text", "text_2", "score", "cosine", "residual")
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    select = _select(dataset, card, layer)
    return {
        "rows": rows, "n": int(used.sum()), "total": len(used), "command": command("sql", store.path, {}, (select,)),
        "python": python("sql", store.path, {}, select),
    }  # fmt: skip


def _select(dataset: str, card: Card, layer: str) -> str:
    """Return the SELECT over the views of the store that lists the same pairs."""
    [member] = card.layers.select(layer)
    return _SELECT.format(
        dataset=dataset.replace('"', '""'), space=card.space.replace("'", "''"), layer=member.id, unit=card.unit.value,
        of_cosine=_RANK.format("cosine"), of_score=_RANK.format("score"), n=_SHOWN,
    )  # fmt: skip


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks of values scaled to [0, 1]; equal values share their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means = ends - (counts + 1) / 2
    ranks: NDArray[np.float64] = means[places] / max(1, len(values) - 1)
    return ranks
