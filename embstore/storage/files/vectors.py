"""Read the vectors of one layer in bulk, block by block, in memory that does not grow with their number."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embstore.base import disk, supply
from embstore.base.summary import Summary
from embstore.storage.files.paths import Shard
from embstore.storage.parquet.footer import RowGroup, fetch_footers, is_footer_sound
from embstore.storage.parquet.reader import read_values

if TYPE_CHECKING:
    from pathlib import Path

Ids = NDArray[np.int64]
Block = NDArray[np.float32]
T = TypeVar("T")

_LAYER, _ITEM_ID, _VECTOR = range(3)  # columns of a shard
_NARROW_TYPES, _VECTOR_TYPES = ["INT32", "INT64"], (["FLOAT"], ["FIXED_LEN_BYTE_ARRAY"])
_THREADS = min(8, os.cpu_count() or 1)


class LayerVectors:
    """Vectors of one layer of a space, optionally of selected items only.

    Footers are checked against their hash and pages against their CRC, so that an altered file is reported, never used.

    Args:
        shards: Shards of the space.
        layer_id: Id of the layer.
        dim: Dimension of the vectors.
        only: Ascending ids of the items to keep; None for all.
    """

    def __init__(self, shards: Sequence[Shard], layer_id: int, dim: int, only: Ids | None = None) -> None:
        self._shards = shards
        self._layer_id = layer_id
        self._only = only
        self.dim = dim

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

        def work(shard: Shard, file: pq.ParquetFile, group: int) -> T | None:
            ids, block = self._read_group(shard, file, group)
            return function(ids, block) if len(ids) else None

        with ThreadPoolExecutor(_THREADS) as pool:
            pending: deque[Future[T | None]] = deque()
            for task in self._groups():
                pending.append(pool.submit(work, *task))
                if len(pending) >= 2 * _THREADS:
                    yield from _result(pending.popleft())
            while pending:
                yield from _result(pending.popleft())

    def blocks(self) -> Iterator[tuple[Ids, Block]]:
        """Yield the item ids and vectors of each block, read lazily."""
        for task in self._groups():
            ids, block = self._read_group(*task)
            if len(ids):
                yield ids, block

    def count(self) -> int:
        """Return the number of vectors of the layer, from the footers alone."""
        groups = self._groups([])
        return sum(file.metadata.row_group(group).column(_ITEM_ID).num_values for _, file, group in groups)

    def check_dim(self) -> None:
        """Check the dimension of the first shard against the card by its footer, before memory is allocated."""
        for shard in self._shards[:1]:
            file = open_shard(shard)
            for group in range(min(1, file.num_row_groups)):
                try:
                    chunks = file.metadata.row_group(group)
                    n, n_values = (chunks.column(column).num_values for column in (_ITEM_ID, _VECTOR))
                except (LookupError, pa.ArrowException) as error:
                    raise shard.damage(error) from error
                if n_values != n * self.dim or n_values > disk.size(shard.path):
                    expected = f"its card says {self.dim:,} components for each of {n:,} vectors"
                    raise shard.damage(f"{expected}, and there are {n_values:,} in {disk.size(shard.path):,} bytes")

    def ids(self) -> Ids:
        """Return the item ids, ascending, without reading the vectors."""
        parts = [np.empty(0, np.int64)]
        for shard, file, group in self._groups([_ITEM_ID]):
            parts.append(_column_values(shard, file, group, _ITEM_ID))
        found = np.sort(np.concatenate(parts))
        return found if self._only is None else np.intersect1d(found, self._only, assume_unique=True)

    def gather(self) -> tuple[Ids, Block]:
        """Return all item ids (n,), ascending, and their vectors (n, dim)."""
        parts = list(self.map_with_ids(lambda ids, block: (ids, block)))
        if not parts:
            return np.empty(0, np.int64), np.empty((0, self.dim), np.float32)
        ids = np.concatenate([part[0] for part in parts])
        vectors = np.concatenate([part[1] for part in parts])
        order = np.argsort(ids)
        return ids[order], vectors[order]

    def row_groups(self) -> list[RowGroup]:
        """Return the row groups that may contain a selected item."""
        groups = [file.metadata.row_group(group) for _, file, group in self._listed_groups()]
        return [RowGroup(self._layer_id, group.column(_ITEM_ID), group.column(_VECTOR)) for group in groups]

    def fetch(self, columns: Sequence[int] = (_ITEM_ID, _VECTOR)) -> None:
        """Fetch what will be read of shards that are only partly on this machine, from all of them at the same time."""
        if not self._shards or supply.supplier_of(self._shards[0].path) is None:
            return
        fetch_footers([shard.path for shard in self._shards])
        parts: dict[Path, list[supply.Range]] = {}
        for shard, file, group in self._listed_groups():
            for column in columns:
                chunk = file.metadata.row_group(group).column(column)
                start = chunk.data_page_offset
                parts.setdefault(shard.path, []).append((start, start + chunk.total_compressed_size))
        supply.fetch(parts)

    def _groups(self, columns: Sequence[int] = (_ITEM_ID, _VECTOR)) -> Iterator[tuple[Shard, pq.ParquetFile, int]]:
        """Yield the row groups that contain selected vectors of the layer: shard, open file and number of the group."""
        self.fetch(columns)
        yield from self._listed_groups()

    def _listed_groups(self) -> Iterator[tuple[Shard, pq.ParquetFile, int]]:
        for shard in self._shards:
            file = open_shard(shard)
            of_layer = _groups_of_layers(shard, file)
            if self._layer_id not in of_layer:
                raise shard.damage(f"it has no layer {self._layer_id}")
            known = min(of_layer)
            for layer, groups in of_layer.items():
                if groups.keys() != of_layer[known].keys():
                    raise shard.damage(f"layer {layer} does not have the ids of layer {known}")
            for (first, last, _), group in of_layer[self._layer_id].items():
                if self._is_selected(first, last):
                    yield shard, file, group

    def _is_selected(self, first: int, last: int) -> bool:
        """Return whether a selected item may be in a row group with these first and last ids."""
        if self._only is None:
            return True
        place = np.searchsorted(self._only, first)
        return bool(place < len(self._only) and self._only[place] <= last)

    def _read_group(self, shard: Shard, file: pq.ParquetFile, group: int) -> tuple[Ids, Block]:
        """Return the ids (n,) and vectors (n, dim) of the selected items in a row group."""
        ids: Ids = _column_values(shard, file, group, _ITEM_ID)
        values = _column_values(shard, file, group, _VECTOR)
        if len(values) != len(ids) * self.dim:
            raise shard.damage(f"row group {group} has {len(values)} components for {len(ids)} vectors")
        block = values.reshape(len(ids), self.dim).astype(np.float32, copy=False)
        shard.check_finite(self._layer_id, block)
        if self._only is None:
            return ids, block
        positions = np.searchsorted(self._only, ids)
        positions = np.minimum(positions, len(self._only) - 1)
        is_kept = self._only[positions] == ids if len(self._only) else np.zeros(len(ids), bool)
        return (ids, block) if is_kept.all() else (ids[is_kept], block[is_kept])


def _result(future: Future[T | None]) -> Iterator[T]:
    result = future.result()
    if result is not None:
        yield result


def open_shard(shard: Shard) -> pq.ParquetFile:
    """Open a shard, and check its footer against the hash in it."""
    try:
        with disk.opening(shard.path, ranges=[]):  # of the footer, which is read here
            if not is_footer_sound(shard.path):
                raise shard.damage("its footer does not agree with the SHA-256 in it")
            # A file that buffers ahead keeps what it buffered last: the threads that share it take it from each other.
            file = pq.ParquetFile(shard.path, memory_map=True, pre_buffer=False, page_checksum_verification=True)
        types = [file.schema.column(column).physical_type for column in range(len(file.schema))]
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise shard.damage(error) from error
    if types[:_VECTOR] != _NARROW_TYPES or types[_VECTOR:] not in _VECTOR_TYPES:
        raise shard.damage("its columns are not those of a shard")
    return file


def statistics(shard: Shard, file: pq.ParquetFile, group: int) -> tuple[pq.Statistics, pq.Statistics]:
    """Return the statistics of the layer and of the item ids of a row group."""
    try:
        row_group = file.metadata.row_group(group)
        chunks = [row_group.column(column) for column in (_LAYER, _ITEM_ID)]
        if [chunk.physical_type for chunk in chunks] != _NARROW_TYPES:  # their statistics would end the process
            raise shard.damage(f"the columns of row group {group} are not those of a shard")
        layer, item = (chunk.statistics for chunk in chunks)
    except (LookupError, pa.ArrowException) as error:
        raise shard.damage(error) from error
    if layer is None or item is None or not (layer.has_min_max and item.has_min_max):
        raise shard.damage("its statistics are missing")
    return layer, item


def _groups_of_layers(shard: Shard, file: pq.ParquetFile) -> dict[int, dict[tuple[int, int, int], int]]:
    """Return the row groups of each layer: first id, last id and number of the items → number of the row group."""
    found: dict[int, dict[tuple[int, int, int], int]] = {}
    for group in range(file.num_row_groups):
        try:
            layer, item = statistics(shard, file, group)
            if layer.min != layer.max:
                raise shard.damage(f"row group {group} mixes layers")
            n_items = file.metadata.row_group(group).num_rows
            found.setdefault(layer.min, {})[item.min, item.max, n_items] = group
        except (LookupError, TypeError, ValueError, pa.ArrowException) as error:
            raise shard.damage(f"row group {group} is not as shards are written ({error})") from error
    return found


def _column_values(shard: Shard, file: pq.ParquetFile, group: int, column: int) -> NDArray[Any]:
    """Return the values of a column in a row group; raise DamagedError if a page is damaged."""
    try:
        return read_values(shard.path, file.metadata.row_group(group).column(column))
    except (FileNotFoundError, ValueError) as error:
        raise shard.damage(error) from error
