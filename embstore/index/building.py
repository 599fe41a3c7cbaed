"""Build an index from blocks of vectors, or add vectors to one, and store it with its card.

Vectors are streamed: memory holds the index itself, a sample, and one batch. The old card is removed before the index
is replaced, so that a crash in between leaves an index without a card, which is not searched.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError
from embstore.index import faiss_index
from embstore.index.card import REMEDY, IndexCard, card_path, sample_hash
from embstore.index.policy import Design
from embstore.index.searching import FaissIndex
from embstore.index.tuning import TARGET_RECALL, n_queries, recall_queries, tune
from embstore.index.vectors import Blocks, Gather, batches, sample

if TYPE_CHECKING:
    import faiss

FLAT = Design("flat", {})
_BATCH_BYTES = 32 << 20
_FLAT_BATCH_BYTES = 1 << 20  # smaller, because adding to a flat index copies the batch
_ADDING_SHARE = 0.9


class IndexOptions(NamedTuple):
    """Options of an index build.

    Attributes:
        design: Kind and parameters of the index.
        requested_kind: ``auto``, or the kind of the design.
        recall: Recall@10 in [0, 1] that the search effort is tuned to reach.
        n: Total number of vectors, for the progress report.
        progress: Callback called with the completed share in [0, 1].
    """

    design: Design = FLAT
    requested_kind: str = "flat"
    recall: float = TARGET_RECALL
    n: int = 0
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
) -> IndexCard:
    """Build a cosine index from blocks of vectors and store it with its card.

    Args:
        path: Index file; the card is written beside it.
        blocks: Pairs of item ids (n,) and vectors (n, dim); iterated several times, or once for a flat index.
        space: Name of the space, for the card.
        layer: Number of the layer, for the card.
        dim: Dimension of the vectors.
        shards: Names of the shards that the blocks come from.
        options: Build options; a flat index by default.
        gather: Function that returns vectors by item id; required for ``ivf``.

    Returns:
        The card that was stored.
    """
    options = options or IndexOptions()
    start_time = time.perf_counter()
    design = options.design
    training = np.empty((0, dim), np.float32)
    if design.kind == "ivf":
        _, training = sample(blocks, design.parameters["n_trained"], dim)
        if len(training) < design.parameters["n_lists"]:  # most vectors are zero
            training = training if len(training) else np.full((1, dim), dim**-0.5, np.float32)
            design = Design("ivf", {"n_lists": len(training), "n_trained": len(training)})
    index = faiss_index.make(design, dim, training, options.n)
    n_zero = _add(index, design.kind, blocks, options)
    card = IndexCard(
        space=space, layer=layer, kind=design.kind, metric="cosine", n=index.ntotal, n_zero=n_zero, dim=dim,
        shards=tuple(sorted(shards)), sha256="", faiss="", created="", asked=options.requested_kind,
        parameters=design.parameters,
    )  # fmt: skip
    return _store(path, index, _tuned(index, card, blocks, options, gather), start_time)


def extend_index(
    path: Path,
    card: IndexCard,
    new: Blocks,
    blocks: Blocks,
    *,
    shards: Iterable[str],
    options: IndexOptions | None = None,
    gather: Gather | None = None,
) -> IndexCard:
    """Add blocks of vectors to an index and tune its search effort again.

    Args:
        path: Index file.
        card: Card of the index.
        new: Blocks that are not in the index yet.
        blocks: All blocks, including the new ones.
        shards: Names of the shards that all blocks come from.
        options: Build options; their ``design`` is ignored, since the kind and parameters of the index stay.
        gather: Function that returns vectors by item id; required for ``ivf``.

    Returns:
        The card that was stored.

    Raises:
        DamagedError: The index cannot be read, or its SHA-256 is not the card's.
    """
    options = options or IndexOptions(requested_kind=card.asked)
    start_time = time.perf_counter()
    if disk.sha256(path) != card.sha256:
        raise DamagedError(f"{path} is damaged: its SHA-256 is not the one in its card. {REMEDY}")
    index = faiss_index.load(path, card, mapped=False)
    if card.kind == "hnsw":
        faiss_index.prepare(faiss_index.inner_of(index), card.parameters)
    n_zero = card.n_zero + _add(index, card.kind, new, options)
    shard_names = tuple(sorted(shards))
    grown = replace(card, n=index.ntotal, n_zero=n_zero, shards=shard_names, asked=options.requested_kind)
    return _store(path, index, _tuned(index, grown, blocks, options, gather), start_time)


def _add(index: "faiss.IndexIDMap", kind: str, blocks: Blocks, options: IndexOptions) -> int:
    """Add vectors to an index, and return the number of zero vectors that were skipped."""
    n_zero = 0
    n_bytes = _FLAT_BATCH_BYTES if kind == "flat" else _BATCH_BYTES
    for ids, units, n_skipped in batches(blocks, _batch_rows(index.d, n_bytes)):
        index.add_with_ids(units, ids)
        n_zero += n_skipped
        options.progress(_ADDING_SHARE * index.ntotal / max(1, options.n, index.ntotal))
    if kind == "hnsw":
        faiss_index.reorder(index)
    return n_zero


def _tuned(
    index: "faiss.IndexIDMap", card: IndexCard, blocks: Blocks, options: IndexOptions, gather: Gather | None
) -> IndexCard:
    """Tune the search effort of an index, and return the card with that effort and its measured recall."""
    if card.is_exact:
        return card
    searched = FaissIndex(index, card.kind, card.dim, {}, card.layer)
    ids, units = sample(blocks, n_queries(card.kind, card.n, card.dim), card.dim)
    usable = searched.can_unlink(ids)
    ids, units = ids[usable], units[usable]
    queries = recall_queries(ids, units, blocks, _batch_rows(card.dim), exclude_queries=card.kind == "hnsw")
    recall = tune(searched, queries, options.recall, gather)
    options.progress(1.0)
    return replace(card, effort=searched.effort, recall=recall, wanted_recall=options.recall, n_queries=len(ids))


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
        _publish(temp, path, stored)
    return stored


def _publish(temp: Path, path: Path, card: IndexCard) -> None:
    """Rename a temporary index file to its final path, and write its card."""
    if disk.exists(card_path(path)):
        disk.remove(card_path(path))
        disk.sync_folder(path.parent)  # else a power loss could leave the old card beside the new index
    try:
        atomic.publish(temp, path)
        card.write(path)
    except BaseException:
        disk.remove(path, missing_ok=True)  # an index without its card would be reported as damaged
        raise


def remove_index(path: Path) -> None:
    """Delete an index and its card, where they exist."""
    disk.remove(card_path(path), missing_ok=True)
    disk.remove(path, missing_ok=True)


def _batch_rows(dim: int, n_bytes: int = _BATCH_BYTES) -> int:
    """Return the number of float32 vectors that fit in some bytes, at least 256."""
    return max(256, n_bytes // (4 * dim))
