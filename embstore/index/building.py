"""Build an index from blocks of vectors, or add vectors to one.

Vectors are streamed: memory holds the index itself, a sample, and one batch.
"""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from embstore.base.arrays import Float64Array, Ids, Vectors, cosine_error, slices
from embstore.index import faiss_index
from embstore.index.card import Design, IndexCard
from embstore.index.exact_search import (
    Blocks,
    Gather,
    batches,
    sample,
    unit_vectors,
    with_direction,
)
from embstore.index.searching import TUNED_K, SearchedIndex
from embstore.storage.manifest import ItemSet
from embstore.storage.vectors import LayerVectors

if TYPE_CHECKING:
    import faiss

TARGET_RECALL = 0.99
_Z_95 = 1.645  # standard errors: the 95th percentile of the normal distribution
_MAX_QUERIES, _MIN_QUERIES, _ONE_IN = 1000, 100, 20
# Size of the vectors that are compared with the queries at once, and of their cosines.
_COMPARED_BYTES = 8 << 20
_NEIGHBOUR_BYTES = 32 << 20  # size of the exact neighbours of all queries
_MIN_EF_SEARCH, _MAX_EF_SEARCH = 16, 4096
_EFFORT_STEP = 1.2


Read = Callable[[Ids | None], LayerVectors]
"""Function that returns the vectors of a layer, optionally only of items with some ids,
ascending.
"""

FLAT = Design("flat", {})
_BATCH_BYTES = 32 << 20
_FLAT_BATCH_BYTES = 1 << 20  # smaller, because adding to a flat index copies the batch
# Vectors whose mean is subtracted: that of all would make what is left shorter by a thousandth.
_MEAN_OF = 1000


class IndexOptions(NamedTuple):
    """Options of an index build."""

    design: Design = FLAT
    requested_kind: str = "flat"
    recall: float = TARGET_RECALL
    report: Callable[[], None] = lambda: None


def build_index(
    read: Read,
    items: ItemSet,
    options: IndexOptions,
    old: tuple["faiss.IndexIDMap", IndexCard] | None = None,
) -> tuple["faiss.IndexIDMap", IndexCard]:
    """Build a cosine index of the vectors of a layer, or add those to an old index that it does not
    have.

    Some of the vectors that are added to a graph are held out until its recall is measured with
    them.

    Args:
        read: Function that returns the vectors of the layer.
        items: Their items.
        options: Kind, parameters and wanted recall.
        old: Index of some of the items, and its card.
    """
    import faiss

    start_time = time.perf_counter()
    if old is None:
        design, new_ids = options.design, None
        some = read(sample(read(None).ids(), _MEAN_OF)).gather()[1]
        index, error = faiss_index.make(design, unit_vectors(some).mean(axis=0), items.n), 0.0
    else:
        index, card = old
        error = card.error
        design = Design(card.kind, card.parameters)
        new_ids = np.setdiff1d(read(None).ids(), faiss_index.ids_of(index), assume_unique=True)
        faiss_index.prepare(index, design)
    measured: dict[str, Any] = {}
    if design.kind == "flat":
        error = _add(index, read(new_ids), options, error, _FLAT_BATCH_BYTES)
    else:
        new_ids = read(None).ids() if new_ids is None else new_ids
        held_out = with_direction(*read(sample(new_ids, n_queries(items.n, index.d))).gather())
        others = read(np.setdiff1d(new_ids, held_out[0], assume_unique=True))
        error = _add(index, others, options, error)
        if old is not None and len(held_out[0]) < n_needed(items.n, index.d):
            measured = {
                name: getattr(old[1], name)
                for name in ("effort", "recall", "n_queries", "n_measured")
            }
        else:
            graph = SearchedIndex(index, {}, error)
            recall = tune(
                graph,
                recall_queries(*held_out, read(None)),
                options.recall,
                lambda ids: read(ids).gather(),
            )
            measured = {
                "effort": graph.effort,
                "recall": recall,
                "n_queries": len(held_out[0]),
                "n_measured": items.n,
            }
        measured["wanted_recall"] = options.recall
        error = _add(index, [held_out], options, error)
    return index, IndexCard(
        items,
        design.kind,
        items.n - index.ntotal,
        index.d,
        faiss.__version__,
        datetime.now(UTC).isoformat(timespec="seconds"),
        error,
        options.requested_kind,
        design.parameters,
        build_seconds=round(time.perf_counter() - start_time, 3),
        **measured,
    )


def _add(
    index: "faiss.IndexIDMap",
    blocks: Blocks,
    options: IndexOptions,
    error: float,
    n_bytes: int = _BATCH_BYTES,
) -> float:
    """Add vectors to an index, in batches of a size, and return the error of its
    distances, given that of those before; zero vectors are skipped.
    """
    for ids, units in batches(blocks, max(256, n_bytes // (4 * index.d))):
        error = max(error, faiss_index.add(index, ids, units))
        options.report()
    return error


class RecallQueries(NamedTuple):
    """Queries with their exact answers."""

    vectors: Vectors  # vectors of the queries (n, dim), which the index does not contain
    # cosine of the tenth exact neighbour (n,), or of the last where there are fewer
    tenth_cosine: Float64Array
    n_nearest: int  # number of exact neighbours of each query: 10, or fewer

    def recall(self, graph: SearchedIndex, gather: Gather) -> tuple[float, float]:
        """Return the recall@10 of a graph at its current effort, and the standard error.

        A found item is a hit if its cosine is that of the tenth exact neighbour or higher, up to
        rounding errors, so that any of several equally near items counts.
        """
        if not len(self.vectors) or not self.n_nearest:
            return 1.0, 0.0
        answer = graph.search(self.vectors, self.n_nearest, gather, exact=False)
        assert answer is not None  # all items may be found
        recalls = (answer[1] >= self.tenth_cosine[:, None] - 2 * cosine_error(graph.dim)).mean(
            axis=1
        )
        return float(recalls.mean()), float(recalls.std() / np.sqrt(len(recalls)))


def n_queries(n: int, dim: int) -> int:
    """Return the number of queries to measure recall with: 1,000, or fewer if there are few vectors
    or long ones.
    """
    return min(
        n // _ONE_IN, _MAX_QUERIES, max(_MIN_QUERIES, _NEIGHBOUR_BYTES // (4 * dim * TUNED_K))
    )


def n_needed(n: int, dim: int) -> int:
    """Return the least number of new vectors with which the recall of an extended index is measured
    again.
    """
    return min(_MIN_QUERIES, n_queries(n, dim))


def recall_queries(ids: Ids, vectors: Vectors, blocks: Blocks) -> RecallQueries:
    """Compute the exact neighbours of queries in one pass over the vectors, to measure recall
    against.

    Args:
        ids: Item ids of the queries (n,), which are excluded from the neighbours of each.
        vectors: Vectors of the queries (n, dim).
        blocks: All vectors, in blocks.
    """
    queries, best = _normalized(vectors), np.empty((len(ids), 0))
    rows = max(1, _COMPARED_BYTES // (8 * max(1, *vectors.shape)))
    for all_ids, block in blocks if len(ids) else ():
        others = block[~np.isin(all_ids, ids) & block.any(axis=1)]
        for part in slices(len(others), rows):
            cosines = np.concatenate([best, queries @ _normalized(others[part]).T], axis=1)
            best = np.partition(cosines, -min(TUNED_K, cosines.shape[1]), axis=1)[:, -TUNED_K:]
    n_nearest = best.shape[1]
    return RecallQueries(vectors, best.min(axis=1, initial=1.0), n_nearest)


def _normalized(vectors: Vectors) -> Float64Array:
    """Return the unit vectors (n, dim) of vectors that are not zero, in float64."""
    wide: Float64Array = vectors.astype(np.float64)
    wide /= np.sqrt(np.vecdot(wide, wide))[:, None]
    return wide


def tune(
    graph: SearchedIndex, queries: RecallQueries, target_recall: float, gather: Gather
) -> float:
    """Set the least search effort that reaches a recall, or the best one tried, and return its
    measured recall.

    The queries are vectors of the layer that were held out: a stored vector is easier to find,
    since its neighbours link to it. An effort is enough if the lower end of a one-sided 95 %
    confidence interval reaches the requested recall.
    """
    # At the largest effort a search is as slow as an exact scan.
    most = min(_MAX_EF_SEARCH, max(_MIN_EF_SEARCH, len(graph.ids)))
    effort, recalls = _MIN_EF_SEARCH, dict[int, float]()
    while effort not in recalls:
        graph.effort = {"ef_search": effort}
        recalls[effort], error = queries.recall(graph, gather)
        if recalls[effort] - _Z_95 * error >= target_recall:
            return recalls[effort]
        effort = min(most, math.ceil(_EFFORT_STEP * effort))
    best = max(recalls, key=lambda effort: (recalls[effort], -effort))
    graph.effort = {"ef_search": best}
    return recalls[best]
