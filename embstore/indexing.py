"""Bring the indexes of a space up to date: each layer's covers all shards, or there is none."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from embstore import index
from embstore.errors import DamagedError
from embstore.report import Observer, Progress
from embstore.space import Layer
from embstore.storage.card import Card
from embstore.storage.paths import Shard, StorePaths
from embstore.storage.vectors import LayerVectors

_INDEX_BYTES = 1 << 30
"""How much the indexes that are built at once may take."""


def update_indexes(paths: StorePaths, card: Card, kind: str, observe: Observer = lambda _: None) -> int:
    """Build the index of each layer that is behind, or remove the indexes where none are wanted.

    Only the holder of the store's lock may call this.

    Args:
        paths: the store.
        card: of the space.
        kind: one of :data:`embstore.index.KINDS`.
        observe: told how many layers are done.

    Returns:
        The bytes of the indexes that were written.
    """
    if kind == "none":
        index.remove_indexes(paths.indexes(card.space))
        return 0
    shards = paths.shards(card.space)
    names = [shard.name for shard in shards]
    behind = [layer for layer in card.layers if shards and not _covers(paths.index(card.space, layer), names)]
    if not behind:
        return 0
    observe(Progress("index", card.space, 0, len(behind), 0.0))
    n_bytes = 0
    with ThreadPoolExecutor(_at_once(card, shards)) as pool:
        for done, path in enumerate(pool.map(partial(_index, paths, card, shards), behind), 1):
            n_bytes += path.stat().st_size
            observe(Progress("index", card.space, done, len(behind), done / len(behind)))
    return n_bytes


def _index(paths: StorePaths, card: Card, shards: Sequence[Shard], layer: Layer) -> Path:
    path = paths.index(card.space, layer)
    vectors = LayerVectors(shards, layer.id, card.dim)
    index.write_index(
        path, vectors.blocks(),
        space=card.space, layer=layer.id, dim=card.dim, shards=[shard.name for shard in shards],
    )  # fmt: skip
    return path


def _at_once(card: Card, shards: Sequence[Shard]) -> int:
    """Return how many indexes to build side by side: one more than there are cores, since each waits for the disk."""
    n_bytes = sum(shard.path.stat().st_size for shard in shards) // len(card.layers)
    return max(1, min((os.cpu_count() or 1) + 1, _INDEX_BYTES // max(1, n_bytes)))


def _covers(path: Path, shards: Sequence[str]) -> bool:
    try:
        stored = index.IndexCard.read(path)
    except DamagedError:  # it is made anew
        return False
    return stored is not None and stored.covers(shards)
