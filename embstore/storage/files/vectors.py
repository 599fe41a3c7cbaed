"""Read vectors from shards: all of a layer, block by block, in memory that does not grow with their number; or a few.

Footers are checked against their hash and pages against their CRC, so that an altered file is reported, never used.
pyarrow, which takes longer to load than a few vectors to read, is not needed.
"""

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore.base import supply
from embstore.base.summary import Summary
from embstore.storage.files.paths import Shard
from embstore.storage.parquet.footer import Chunk, RowGroup, fetch_footers, read_row_groups
from embstore.storage.parquet.reader import read_rows, read_values

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

Ids = NDArray[np.int64]
Block = NDArray[np.float32]
T = TypeVar("T")

_THREADS = min(8, os.cpu_count() or 1)


class LayerVectors:
    """Vectors of one layer of a space, optionally only of items with some ids, ascending."""

    def __init__(self, shards: Sequence[Shard], layer_id: int, dim: int, only: Ids | None = None) -> None:
        self._shards, self._layer_id, self._only, self.dim = shards, layer_id, only, dim

    @cached_property
    def summary(self) -> Summary:
        """Sums over these vectors, computed by reading them once."""
        return Summary.sum_of(self.map(Summary.of), self.dim)

    def map(self, function: Callable[[Block], T]) -> Iterator[T]:
        """Yield ``function(block)`` for every block, in the order on disk.

        The blocks (float32, shape (n, dim), read-only) are read and worked on by a few threads; no more than two
        blocks per thread are held at a time.
        """
        return self.map_with_ids(lambda _, block: function(block))

    def map_with_ids(self, function: Callable[[Ids, Block], T]) -> Iterator[T]:
        """Yield ``function(item_ids, block)`` for every block that contains a selected item."""
        from concurrent.futures import ThreadPoolExecutor  # and logging, which reading a few vectors does not need

        def work(shard: Shard, group: RowGroup) -> T | None:
            ids, block = self._read_group(shard, group)
            return function(ids, block) if len(ids) else None

        with ThreadPoolExecutor(_THREADS) as pool:
            pending: deque[Future[T | None]] = deque()
            for task in self._groups():
                pending.append(pool.submit(work, *task))
                if len(pending) >= 2 * _THREADS:
                    yield from _result(pending.popleft())
            while pending:
                yield from _result(pending.popleft())

    def __iter__(self) -> Iterator[tuple[Ids, Block]]:
        """Yield the item ids and vectors of each block, read lazily and each time again."""
        for task in self._groups():
            ids, block = self._read_group(*task)
            if len(ids):
                yield ids, block

    def count(self) -> int:
        """Return the number of vectors of the layer, from the footers alone."""
        fetch_footers([shard.path for shard in self._shards])
        return sum(group.item_ids.num_values for _, group in self._listed_groups())

    def ids(self) -> Ids:
        """Return the item ids, ascending, without reading the vectors."""
        parts = [np.empty(0, np.int64)]
        fetch_footers([shard.path for shard in self._shards])
        groups = [*self._listed_groups()]
        _fetch((shard, group.item_ids) for shard, group in groups)
        for shard, group in groups:
            parts.append(_read(shard, partial(read_values, shard.path, group.item_ids)))
        found = np.sort(np.concatenate(parts))
        return found if self._only is None else np.intersect1d(found, self._only, assume_unique=True)

    def gather(self) -> tuple[Ids, Block]:
        """Return all item ids (n,), ascending, and their vectors (n, dim)."""
        parts = list(self.map_with_ids(lambda ids, block: (ids, block)))
        if not parts:
            return np.empty(0, np.int64), np.empty((0, self.dim), np.float32)
        ids = np.concatenate([part[0] for part in parts])
        vectors = np.concatenate([part[1] for part in parts])
        if (ids[1:] > ids[:-1]).all():  # as in a store of one build: no copy
            return ids, vectors
        order = np.argsort(ids)
        return ids[order], vectors[order]

    def fetch(self) -> None:
        """Fetch what will be read of shards that are only partly on this machine, from all of them at the same time."""
        if self._shards and supply.supplier_of(self._shards[0].path) is not None:
            fetch_footers([shard.path for shard in self._shards])
            _fetch(
                (shard, chunk) for shard, group in self._listed_groups() for chunk in (group.item_ids, group.vectors)
            )

    def _groups(self) -> Iterator[tuple[Shard, RowGroup]]:
        """Yield the row groups that contain selected vectors of the layer, with their shards."""
        self.fetch()
        yield from self._listed_groups()

    def _listed_groups(self) -> Iterator[tuple[Shard, RowGroup]]:
        for shard in self._shards:
            of_layer: dict[int, dict[tuple[int, int, int], RowGroup]] = {}
            for group in shard_row_groups(shard):
                of_layer.setdefault(group.layer, {})[group.first, group.last, group.item_ids.num_values] = group
            if self._layer_id not in of_layer:
                raise shard.damage(f"it has no layer {self._layer_id}")
            known = min(of_layer)
            for layer, groups in of_layer.items():
                if groups.keys() != of_layer[known].keys():
                    raise shard.damage(f"layer {layer} does not have the ids of layer {known}")
            for group in of_layer[self._layer_id].values():
                place = 0 if self._only is None else np.searchsorted(self._only, group.first)
                if self._only is None or (place < len(self._only) and self._only[place] <= group.last):
                    yield shard, group

    def _read_group(self, shard: Shard, group: RowGroup) -> tuple[Ids, Block]:
        """Return the ids (n,) and vectors (n, dim) of the selected items in a row group."""
        ids: Ids = _read(shard, partial(read_values, shard.path, group.item_ids))
        values = _read(shard, partial(read_values, shard.path, group.vectors))
        if len(values) != len(ids) * self.dim:
            raise shard.damage(f"a row group has {len(values)} components for {len(ids)} vectors")
        block = values.reshape(len(ids), self.dim).astype(np.float32, copy=False)
        shard.check_finite(self._layer_id, block)
        if self._only is None:
            return ids, block
        positions = np.searchsorted(self._only, ids)
        positions = np.minimum(positions, len(self._only) - 1)
        is_kept = self._only[positions] == ids if len(self._only) else np.zeros(len(ids), bool)
        return (ids, block) if is_kept.all() else (ids[is_kept], block[is_kept])


def _result(future: "Future[T | None]") -> Iterator[T]:
    result = future.result()
    if result is not None:
        yield result


def shard_row_groups(shard: Shard, layers: Collection[int] | None = None, ids: Ids | None = None) -> list[RowGroup]:
    """Return the row groups of a shard; see :func:`.read_row_groups`."""
    return _read(shard, partial(read_row_groups, shard.path, layers, ids))


def read_items(
    shards: Sequence[Shard], layers: Collection[int], ids: Ids, dim: int
) -> Iterator[tuple[int, Ids, Block]]:
    """Yield the layer, the ids (m,) and the vectors (m, dim) of some items, row group by row group.

    Ids are ascending. Of the vectors only the pages are read.
    """
    if not len(ids):
        return
    fetch_footers([shard.path for shard in shards])
    groups = [(shard, group) for shard in shards for group in shard_row_groups(shard, layers, ids)]
    _fetch((shard, group.item_ids) for shard, group in groups)
    found: list[tuple[Shard, RowGroup, Ids, NDArray[np.int64]]] = []
    for shard, group in groups:
        n_items, n_values = group.item_ids.num_values, group.vectors.num_values
        if n_values != n_items * dim:
            raise shard.damage(f"layer {group.layer} has {n_values} components for {n_items} vectors of {dim}")
        stored = _read(shard, partial(read_values, shard.path, group.item_ids))
        is_wanted = ids[np.searchsorted(ids, stored).clip(max=len(ids) - 1)] == stored
        if is_wanted.any():
            found.append((shard, group, stored[is_wanted], np.flatnonzero(is_wanted)))
    _fetch((shard, group.vectors) for shard, group, _, _ in found)
    for shard, group, found_ids, rows in found:
        vectors = _read(shard, partial(read_rows, shard.path, group.vectors, rows, dim))
        shard.check_finite(group.layer, vectors)
        yield group.layer, found_ids, vectors


def _read(shard: Shard, read: Callable[[], T]) -> T:
    """Read from a shard; raise DamagedError if it is found wrong."""
    try:
        return read()
    except (FileNotFoundError, ValueError) as error:
        raise shard.damage(error) from error


def _fetch(chunks: Iterable[tuple[Shard, Chunk]]) -> None:
    """Fetch column chunks of shards that are only partly on this machine, all at the same time."""
    parts: dict[Path, list[supply.Range]] = {}
    for shard, chunk in chunks:
        start = chunk.data_page_offset
        parts.setdefault(shard.path, []).append((start, start + chunk.total_compressed_size))
    supply.fetch(parts)
