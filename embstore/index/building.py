"""Build an index from blocks of vectors, or add vectors to one, and store it with its card.

Vectors are streamed: memory holds the index itself, a sample, and one batch. The old card is removed before the index
is replaced, so that a crash in between leaves an index without a card, which is not searched.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from embstore.base import atomic, disk
from embstore.base.arrays import Float64Array, cosine_error, slices
from embstore.base.errors import DamagedError
from embstore.index import faiss_index
from embstore.index.card import REMEDY, Design, IndexCard, card_path, sample_hash
from embstore.index.exact_search import Blocks, Gather, Ids, Vectors, batches, sample
from embstore.index.searching import TUNED_K, Index

if TYPE_CHECKING:
    import faiss

TARGET_RECALL = 0.99
_Z_95 = 1.645  # standard errors: the 95th percentile of the normal distribution
_MAX_QUERIES, _MIN_QUERIES, _ONE_IN = 1000, 100, 20
_COMPARED_BYTES = 8 << 20  # size of the vectors that are compared with the queries at once, and of their cosines
_NEIGHBOUR_BYTES = 32 << 20  # size of the exact neighbours of all queries
_MIN_EF_SEARCH, _MAX_EF_SEARCH = 16, 4096


FLAT = Design("flat", {})
_BATCH_BYTES = 32 << 20
_FLAT_BATCH_BYTES = 1 << 20  # smaller, because adding to a flat index copies the batch
_ADDING_SHARE = 0.9


class IndexOptions(NamedTuple):
    """Options of an index build."""

    design: Design = FLAT
    requested_kind: str = "flat"
    recall: float = TARGET_RECALL
    n: int = 0  # number of vectors, which determines the number of queries to measure recall with
    progress: Callable[[float], None] = lambda _: None


def write_index(
    path: Path,
    blocks: Blocks,
    *,
    space: str,
    layer: int,
    dim: int,
    shards: Iterable[str],
    options: IndexOptions | None = None,
    gather: Gather | None = None,
    old: IndexCard | None = None,
    new: Blocks = (),
) -> IndexCard:
    """Build a cosine index from blocks of vectors, or add new ones of them to an old index; store it with its card.

    Some of the vectors that are added to a graph are held out until its recall is measured with them.
    """
    options = options or IndexOptions()
    start_time = time.perf_counter()
    design = options.design if old is None else Design(old.kind, old.parameters)
    if old is None:
        new, index = blocks, faiss_index.make(design, dim, options.n)
    elif disk.sha256(path) != old.sha256:
        raise DamagedError(f"{path} is damaged: its SHA-256 is not the one in its card. {REMEDY}")
    else:
        index = faiss_index.load(path, old, mapped=False)
        if design.kind == "hnsw":
            faiss_index.prepare(faiss_index.inner_of(index), design.parameters)
    card = IndexCard(
        space=space, layer=layer, kind=design.kind, metric="cosine", n=0, n_zero=0 if old is None else old.n_zero,
        dim=dim, shards=tuple(sorted(shards)), sha256="", faiss="", created="", asked=options.requested_kind,
        parameters=design.parameters,
    )  # fmt: skip
    if card.is_exact:
        n_zero = _add(index, new, options, _FLAT_BATCH_BYTES)
    else:
        held_out = sample(new, n_queries(options.n, dim), dim)
        n_zero = _add(index, new, options, excluded=held_out[0])
        if old is not None and len(held_out[0]) < n_needed(options.n, dim):
            measured = {name: getattr(old, name) for name in ("effort", "recall", "n_queries", "n_measured")}
        else:
            measured = _measured(index, held_out, blocks, options, gather)
        card = replace(card, wanted_recall=options.recall, **measured)
        _add(index, [held_out], options)
        faiss_index.reorder(index)
    options.progress(1.0)
    return _store(path, index, replace(card, n=index.ntotal, n_zero=card.n_zero + n_zero), start_time)


def _add(
    index: "faiss.IndexIDMap",
    blocks: Blocks,
    options: IndexOptions,
    n_bytes: int = _BATCH_BYTES,
    excluded: Ids | None = None,
) -> int:
    """Add vectors to an index in batches of a size; return the number of zero vectors, which are skipped."""
    n_zero = 0
    for ids, units, n_skipped in batches(blocks, max(256, n_bytes // (4 * index.d))):
        is_added = slice(None) if excluded is None else ~np.isin(ids, excluded)
        index.add_with_ids(units[is_added], ids[is_added])
        n_zero += n_skipped
        options.progress(_ADDING_SHARE * index.ntotal / max(1, options.n, index.ntotal))
    return n_zero


def _measured(
    index: "faiss.IndexIDMap",
    held_out: tuple[Ids, Vectors],
    blocks: Blocks,
    options: IndexOptions,
    gather: Gather | None,
) -> dict[str, Any]:
    """Tune the search effort of a graph; return that effort and the measured recall, as fields of its card."""
    if gather is None and len(held_out[0]):
        raise TypeError("the recall of a graph is measured by the cosines of the stored vectors")
    searched = Index(index, "hnsw", index.d, {}, -1)
    recall = tune(searched, recall_queries(*held_out, blocks), options.recall, gather)
    return {"effort": searched.effort, "recall": recall, "n_queries": len(held_out[0]), "n_measured": options.n}


def _store(path: Path, index: "faiss.IndexIDMap", card: IndexCard, start_time: float) -> IndexCard:
    """Write an index and its card, completed with hashes, versions and times; return the completed card."""
    import faiss

    with atomic.temporary(path.parent) as temp:
        faiss_index.save(index, temp)
        stored = replace(
            card, sha256=disk.sha256(temp), faiss=faiss.__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            build_seconds=round(time.perf_counter() - start_time, 3),
            crc32=faiss_index.crc32_of(index) if card.is_exact else None, sample_sha256=sample_hash(temp),
        )  # fmt: skip
        if disk.exists(card_path(path)):
            disk.remove(card_path(path))
            disk.sync_folder(path.parent)  # else a power loss could leave the old card beside the new index
        try:
            atomic.publish(temp, path)
            stored.write(path)
        except BaseException:
            disk.remove(path, missing_ok=True)  # an index without its card would be reported as damaged
            raise
    return stored


def remove_index(path: Path) -> None:
    """Delete an index and its card, where they exist."""
    disk.remove(card_path(path), missing_ok=True)
    disk.remove(path, missing_ok=True)


class RecallQueries(NamedTuple):
    """Queries with their exact answers."""

    vectors: Vectors  # vectors of the queries (n, dim), which the index does not contain
    tenth_cosine: Float64Array  # cosine of the tenth exact neighbour (n,), or of the last where there are fewer
    n_nearest: int  # number of exact neighbours of each query: 10, or fewer

    def recall(self, index: Index, gather: Gather | None) -> tuple[float, float]:
        """Return the recall@10 of an index at its current effort, and the standard error.

        A found item is a hit if its cosine is that of the tenth exact neighbour or higher, up to rounding errors, so
        that any of several equally near items counts.
        """
        if not len(self.vectors) or not self.n_nearest:
            return 1.0, 0.0
        _, cosines = index.search(self.vectors, self.n_nearest, gather=gather)
        recalls = (cosines >= self.tenth_cosine[:, None] - 2 * cosine_error(index.dim)).mean(axis=1)
        return float(recalls.mean()), float(recalls.std() / np.sqrt(len(recalls)))


def n_queries(n: int, dim: int) -> int:
    """Return the number of queries to measure recall with: 1,000, or fewer if there are few vectors or long ones."""
    return min(n // _ONE_IN, _MAX_QUERIES, max(_MIN_QUERIES, _NEIGHBOUR_BYTES // (4 * dim * TUNED_K)))


def n_needed(n: int, dim: int) -> int:
    """Return the least number of new vectors with which the recall of an extended index is measured again."""
    return min(_MIN_QUERIES, n_queries(n, dim))


def recall_queries(ids: Ids, vectors: Vectors, blocks: Blocks) -> RecallQueries:
    """Compute the exact neighbours of queries in one pass over the vectors, to measure recall against.

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


def tune(index: Index, queries: RecallQueries, target_recall: float, gather: Gather | None) -> float:
    """Set the least search effort that reaches a recall, or the best one tried, and return its measured recall.

    The queries are vectors of the layer that were held out: a stored vector is easier to find, since its neighbours
    link to it. An effort is enough if the lower end of a one-sided 95 % confidence interval reaches the requested
    recall.
    """

    def measure(value: int) -> tuple[float, bool]:
        index.effort = {"ef_search": value}
        recall, error = queries.recall(index, gather)
        return recall, recall - _Z_95 * error >= target_recall

    # At the largest effort a search is as slow as an exact scan.
    most = min(_MAX_EF_SEARCH, max(_MIN_EF_SEARCH, len(index.ids)))
    value, recall = least_sufficient(measure, effort_steps(_MIN_EF_SEARCH, most))
    index.effort = {"ef_search": value}
    return recall


def effort_steps(first: int, last: int) -> list[int]:
    """Return the efforts to try, ascending from the first to the last, each about 3 % above the one before."""
    steps = [first]
    while steps[-1] < last:
        steps.append(min(last, steps[-1] + max(1, steps[-1] // 32)))
    return steps


def least_sufficient(measure: Callable[[int], tuple[float, bool]], values: list[int]) -> tuple[int, float]:
    """Return the smallest value with a sufficient recall, and that recall; if none is, the value of the best recall.

    Recall grows with effort, so the search doubles the value and then bisects. If recall dips by chance, the returned
    value is still one that was measured.

    Args:
        measure: Function that returns the recall at a value, and whether it is sufficient.
        values: Values to try, ascending.
    """
    tried: dict[int, float] = {}

    def try_value(index: int) -> bool:
        tried[index], is_enough = measure(values[index])
        return is_enough

    low, index = -1, 0
    while not try_value(index):
        if index == len(values) - 1:
            best = max(tried, key=lambda i: (tried[i], -i))
            return values[best], tried[best]
        low, index = index, min(len(values) - 1, bisect_left(values, 2 * values[index]))
    while index - low > 1:
        middle = (low + index) // 2
        if try_value(middle):
            index = middle
        else:
            low = middle
    return values[index], tried[index]
