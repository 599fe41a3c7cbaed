"""Write and read shards: immutable Parquet files with the vectors of one layer of one batch of
items.

pyarrow writes each column as one page, uncompressed, whose last bytes are the values. So a shard is
read by mapping it: the manifest says at which bytes the ids and the components begin. Each value is
checked to be finite when it is first read; that the bytes are those that were written is checked by
``verify``, which computes their SHA-256.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from embstore.base import disk
from embstore.base.arrays import Float32Array, Ids, Mask, Vectors, concatenated, distinct
from embstore.base.errors import EncodeError
from embstore.base.summary import Summary
from embstore.storage.cache import StoredFile, fetch
from embstore.storage.manifest import ItemSet

if TYPE_CHECKING:
    from concurrent.futures import Future

    import pyarrow as pa
    import pyarrow.parquet as pq

Block = NDArray[np.float32]
T = TypeVar("T")

SHARD_BYTES = 16 << 20
"""Approximate size of a shard's vectors in bytes."""
BLOCK_ROWS = 1024
"""Largest number of vectors in the blocks that a layer is read in."""
_ALIGNMENT = 64
"""Multiple of bytes at which the vectors of a shard begin, so that a mapped file is read without a
copy.
"""
FLOAT16_MAX = float(np.finfo(np.float16).max)
_NOT_FINITE = "is not finite"
_THREADS = min(8, os.cpu_count() or 1)


class InvalidVectorError(EncodeError):
    """A vector of an item has a component that is NaN, infinite, or too large for float16."""

    def __init__(self, item_id: int, layer: str, problem: str) -> None:
        super().__init__(f"the vector of item {item_id} at layer {layer} {problem}.")
        self.item_id = item_id
        self.layer = layer


def vectors_schema(dim: int, dtype: str) -> "pa.Schema":
    """Return the Parquet schema of a shard; no column is nullable."""
    import pyarrow as pa

    element = pa.field("element", pa.type_for_alias(dtype), nullable=False)
    return pa.schema(
        [
            pa.field("item_id", pa.int64(), nullable=False),
            pa.field("vector", pa.list_(element, dim), nullable=False),
        ]
    )


def write_shard(path: Path, item_ids: Ids, vectors: Vectors) -> dict[str, Any]:
    """Write a shard to a file, and return what a manifest says of it beside size and SHA-256.

    Args:
        path: New file.
        item_ids: Item ids (n,), ascending.
        vectors: Finite vectors (n, dim) of the stored dtype, float32 or float16.
    """
    import pyarrow as pa

    with disk.writing(path) as file:
        padding = _padding(*vectors.shape, vectors.dtype.name)
        offsets = _write_parquet(pa.PythonFile(file, "w"), item_ids, vectors, padding)
    return {
        **items_with(item_ids).facts,
        "first": int(item_ids[0]),
        "last": int(item_ids[-1]),
        "offsets": offsets,
    }


def _write_parquet(
    sink: "pa.NativeFile", item_ids: Ids, vectors: NDArray[np.floating], padding: int
) -> list[int]:
    """Write ids and vectors after some bytes of padding, and return where the values of both
    columns begin.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    n, dim = vectors.shape
    schema = vectors_schema(dim, vectors.dtype.name)
    vectors = np.ascontiguousarray(vectors)
    values = pa.Array.from_buffers(
        schema.field("vector").type.value_type, vectors.size, [None, pa.py_buffer(vectors)]
    )
    ids = pa.Array.from_buffers(pa.int64(), n, [None, pa.py_buffer(np.ascontiguousarray(item_ids))])
    rows = pa.FixedSizeListArray.from_arrays(values, type=schema.field("vector").type)
    metadata: list[pq.FileMetaData] = []
    writer = pq.ParquetWriter(
        sink,
        schema,
        compression="NONE",
        use_dictionary=False,
        write_statistics=["item_id"],
        data_page_size=1 << 30,
        max_rows_per_page=max(1, n),
        write_batch_size=max(1, n),
        metadata_collector=metadata,
    )
    with writer:  # which has written the magic number that a Parquet file begins with
        sink.write(bytes(padding))
        writer.write_table(pa.table([ids, rows], schema=schema), row_group_size=max(1, n))
    return offsets_of(metadata[0], item_ids.nbytes, vectors.nbytes)


@lru_cache(maxsize=64)
def _padding(n: int, dim: int, dtype: str) -> int:
    """Return how many bytes before the pages align the vectors; where they begin depends on their
    shape alone.
    """
    import pyarrow as pa

    ids, vectors = np.zeros(n, np.int64), np.zeros((n, dim), dtype)
    _, begin = _write_parquet(pa.MockOutputStream(), ids, vectors, 0)
    return -begin % _ALIGNMENT


def offsets_of(metadata: "pq.FileMetaData", *n_bytes: int) -> list[int]:
    """Return at which bytes of a shard the ids and the components begin, given how many bytes they
    take.
    """
    columns = [metadata.row_group(0).column(number) for number in range(len(n_bytes))]
    ends = [column.data_page_offset + column.total_compressed_size for column in columns]
    return [end - size for end, size in zip(ends, n_bytes, strict=True)]


def items_with(item_ids: Ids) -> ItemSet:
    """Return the set of the items with some distinct ids."""
    return ItemSet(
        len(item_ids), int(np.ascontiguousarray(item_ids).view(np.uint64).sum(dtype=np.uint64))
    )


def as_stored(rows: Float32Array, item_ids: Ids, layer: str, dtype: str) -> Vectors:
    """Return vectors (n, dim) in the stored dtype.

    Raises:
        InvalidVectorError: A component is NaN, infinite, or too large for float16.
    """
    if is_finite(rows):
        if dtype == "float32":
            return rows
        with np.errstate(over="ignore"):
            cast = rows.astype(np.float16)
        over = np.flatnonzero(np.isinf(cast).any(axis=1))
        if not len(over):
            return cast
        largest = np.abs(rows[over[0]]).max()
        problem = f"has a component of size {largest:.6g}; float16 ends at {FLOAT16_MAX:.0f}"
        raise InvalidVectorError(
            int(item_ids[over[0]]), layer, f"{problem}. Build this space with dtype='float32'"
        )
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    raise InvalidVectorError(int(item_ids[bad[0]]), layer, _NOT_FINITE)


def is_finite(vectors: Vectors) -> bool:
    """Return whether all components are finite."""
    values = vectors.reshape(-1)
    # The product of finite values is quick, and may overflow.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.dot(values, values)) or np.isfinite(values).all())


class Shard:
    """A shard of a layer, mapped into memory when it is first read."""

    def __init__(self, file: StoredFile, dim: int, dtype: str) -> None:
        self.file, self.dim, self.dtype = file, dim, np.dtype(dtype).newbyteorder("<")
        self.n: int = file.entry["n"]
        self.first: int = file.entry["first"]
        self.last: int = file.entry["last"]

    @cached_property
    def _bytes(self) -> NDArray[np.uint8]:
        with self.file.opened() as path:
            return np.memmap(path, np.uint8, "r")

    @property
    def is_mapped(self) -> bool:
        """Whether the file is mapped into memory."""
        return "_bytes" in self.__dict__

    @cached_property
    def _columns(self) -> tuple[Ids, Vectors]:
        """Item ids (n,) and vectors (n, dim), as views; the vectors end where the footer begins."""
        ids_start, start = self.file.entry["offsets"]
        end = start + self.n * self.dim * self.dtype.itemsize
        footer_bytes = int.from_bytes(self._bytes[-8:-4], "little")
        if ids_start + 8 * self.n > start or end != len(self._bytes) - 8 - footer_bytes:
            raise self.file.damage(
                "its values are not where the manifest says, or of another shape or type"
            )
        ids = np.frombuffer(self._bytes, "<i8", self.n, ids_start)
        vectors = np.frombuffer(self._bytes, self.dtype, self.n * self.dim, start)
        return ids, vectors.reshape(self.n, self.dim)

    @cached_property
    def ids(self) -> Ids:
        """Item ids, int64 (n,), ascending."""
        ids: Ids = self._columns[0].copy()  # aligned, as searches need them
        is_range = not self.n or (ids[0], ids[-1]) == (self.first, self.last)
        if (
            not is_range
            or not (ids[1:] > ids[:-1]).all()
            or items_with(ids) != ItemSet.of_entry(self.file.entry)
        ):
            raise self.file.damage("its item ids are not those in the manifest, ascending")
        return ids

    def block(self, start: int, n_rows: int = BLOCK_ROWS) -> tuple[Ids, Block]:
        """Return the item ids (m,) and vectors, float32 (m, dim), of some rows from one on."""
        rows = slice(start, start + n_rows)
        vectors = self._columns[1][rows]
        if vectors.dtype != np.float32 or not vectors.flags.aligned:
            vectors = vectors.astype(np.float32)
        if np.isnan(self.squares[rows]).any():
            with np.errstate(over="ignore", invalid="ignore"):
                squares = np.vecdot(vectors, vectors)
            if not np.isfinite(squares).all():  # or they are too large for float32
                self._check_finite(vectors)
            self.squares[rows] = squares
        return self.ids[rows], vectors

    @cached_property
    def squares(self) -> Float32Array:
        """Squared norms, float32 (n,), of the vectors in the blocks that were read, NaN of the
        others.
        """
        return np.full(self.n, np.nan, np.float32)

    def rows(self, places: Ids) -> Block:
        """Return the vectors of some rows, float32 (m, dim)."""
        vectors = self._columns[1][places].astype(np.float32, copy=False)
        self._check_finite(vectors)
        return vectors

    def copy(self, rows: slice | Ids, target: Block, places: slice | Ids) -> None:
        """Copy the vectors of some rows, or of all, to places in an array: a slice, or numbers
        (m,).
        """
        if not isinstance(rows, slice):
            target[places] = self.rows(rows)
            return
        for start in range(0, self.n, BLOCK_ROWS):
            block = self.block(start)[1]
            if isinstance(places, slice):
                target[places][start : start + BLOCK_ROWS] = block
            else:
                target[places[start : start + BLOCK_ROWS]] = block

    def _check_finite(self, vectors: Block) -> None:
        if not is_finite(vectors):
            raise self.file.damage("it has a value that is not finite")


class LayerVectors:
    """Vectors of one layer of a space, optionally only of items with some ids, ascending."""

    def __init__(self, shards: Sequence[Shard], dim: int, only: Ids | None = None) -> None:
        self.dim, self._only = dim, only
        self._shards = sorted(shards, key=lambda shard: shard.first)
        if only is not None:
            self._shards = [
                shard for shard in self._shards if _has_any(only, shard.first, shard.last)
            ]

    @cached_property
    def summary(self) -> Summary:
        """Sums over these vectors, computed by reading them once."""
        return Summary.sum_of(self.map(Summary.of), self.dim)

    def map(self, function: Callable[[Block], T]) -> Iterator[T]:
        """Yield ``function(block)`` for every block, in the order on disk.

        The blocks (float32, shape (n, dim), read-only) are read and worked on by a few threads; no
        more than two blocks per thread are held at a time.
        """
        return self.map_with_ids(lambda _, block: function(block))

    def map_with_ids(self, function: Callable[[Ids, Block], T]) -> Iterator[T]:
        """Yield ``function(item_ids, block)`` for every block that contains a selected item."""
        # And logging, which reading a few vectors does not need.
        from concurrent.futures import ThreadPoolExecutor

        def work(shard: Shard, start: int) -> T | None:
            ids, block, _ = self._selected(shard, start, BLOCK_ROWS)
            return function(ids, block) if len(ids) else None

        with ThreadPoolExecutor(_THREADS) as pool:
            pending: deque[Future[T | None]] = deque()
            for shard, start in self._starts(BLOCK_ROWS):
                pending.append(pool.submit(work, shard, start))
                if len(pending) >= 2 * _THREADS:
                    yield from _result(pending.popleft())
            while pending:
                yield from _result(pending.popleft())

    def __iter__(self) -> Iterator[tuple[Ids, Block]]:
        """Yield the item ids and vectors of each block, read lazily and each time again."""
        return ((ids, block) for ids, block, _ in self._blocks(BLOCK_ROWS))

    def with_squares(self) -> Iterator[tuple[Ids, Block, Float32Array]]:
        """Yield the item ids, vectors and squared norms, float32 (n,), of blocks as large as a
        shard of a build; norms are computed only once.
        """
        return self._blocks(max(1, SHARD_BYTES // (4 * self.dim)))

    def _blocks(self, n_rows: int) -> Iterator[tuple[Ids, Block, Float32Array]]:
        """Yield the ids, vectors and squared norms of the selected items, by blocks of rows."""
        for shard, start in self._starts(n_rows):
            ids, block, squares = self._selected(shard, start, n_rows)
            if len(ids):
                yield ids, block, squares

    def count(self) -> int:
        """Return the number of vectors of the layer; nothing is read."""
        return sum(shard.n for shard in self._shards)

    def ids(self) -> Ids:
        """Return the item ids, ascending, without reading the vectors."""
        self.fetch()
        ids = np.sort(concatenated(shard.ids for shard in self._shards))
        return ids if self._only is None else np.intersect1d(ids, self._only, assume_unique=True)

    def gather(self) -> tuple[Ids, Block]:
        """Return all item ids (n,), ascending, and their vectors (n, dim)."""
        from concurrent.futures import ThreadPoolExecutor

        self.fetch()
        rows_of = zip(self._shards, map(self._rows, self._shards), strict=True)
        tasks = [(shard, rows) for shard, rows in rows_of if isinstance(rows, slice) or len(rows)]
        parts = [shard.ids[rows] for shard, rows in tasks]
        ids = concatenated(parts)
        ends = np.cumsum([len(part) for part in parts]).tolist()
        places: list[slice | Ids] = [*map(slice, [0, *ends], ends)]
        if not (ids[1:] > ids[:-1]).all():  # as of several builds, or of words in contexts
            order = np.argsort(ids)
            ids, places_of = ids[order], np.empty_like(order)
            places_of[order] = np.arange(len(ids))
            places = [places_of[place] for place in places]
        vectors = np.empty((len(ids), self.dim), np.float32)

        def copy(task: tuple[Shard, slice | Ids], to: slice | Ids) -> None:
            shard, rows = task
            shard.copy(rows, vectors, to)

        if len(tasks) < 2 or len(ids) <= BLOCK_ROWS:
            deque(map(copy, tasks, places), maxlen=0)
        else:
            with ThreadPoolExecutor(_THREADS) as pool:
                deque(pool.map(copy, tasks, places), maxlen=0)
        return ids, vectors

    def fetch(self) -> None:
        """Fetch the shards of a store at a URL, all at the same time."""
        _fetch(self._shards)

    def _rows(self, shard: Shard) -> slice | Ids:
        """Return the rows of a shard that are selected: all as a slice, or their numbers."""
        if self._only is None:
            return slice(None)
        if len(self._only) > shard.n:
            places = np.flatnonzero(is_among(shard.ids, self._only))
        else:
            places = np.searchsorted(shard.ids, self._only)
            places = places[np.take(shard.ids, places, mode="clip") == self._only]
        return slice(None) if len(places) == shard.n else places

    def _starts(self, n_rows: int) -> Iterator[tuple[Shard, int]]:
        """Yield the blocks that may contain selected items: shard and first row."""
        self.fetch()
        for shard in self._shards:
            for start in range(0, shard.n, n_rows):
                if self._only is None:
                    yield shard, start
                else:
                    ids = shard.ids[start : start + n_rows]
                    if _has_any(self._only, int(ids[0]), int(ids[-1])):
                        yield shard, start

    def _selected(self, shard: Shard, start: int, n_rows: int) -> tuple[Ids, Block, Float32Array]:
        """Return the ids, vectors and squared norms of the selected items of a block."""
        ids, block = shard.block(start, n_rows)
        squares = shard.squares[start : start + n_rows]
        if self._only is None:
            return ids, block, squares
        is_kept = is_among(ids, self._only)
        return (
            (ids, block, squares)
            if is_kept.all()
            else (ids[is_kept], block[is_kept], squares[is_kept])
        )


def _fetch(shards: Iterable[Shard]) -> None:
    """Fetch those shards that are not mapped yet, all at the same time."""
    fetch([shard.file for shard in shards if not shard.is_mapped])


def is_among(ids: Ids, ascending: Ids) -> Mask:
    """Return which of some ids (n,) are among others, ascending, bool (n,)."""
    if not len(ascending):
        return np.zeros(len(ids), np.bool_)
    is_member: Mask = ascending[np.searchsorted(ascending, ids).clip(max=len(ascending) - 1)] == ids
    return is_member


def _has_any(ascending: Ids, first: int, last: int) -> bool:
    """Return whether one of some ids, ascending, is in a range."""
    place = int(ascending.searchsorted(first))
    return place < len(ascending) and int(ascending[place]) <= last


def _result(future: "Future[T | None]") -> Iterator[T]:
    result = future.result()
    if result is not None:
        yield result


class Places:
    """The shard and the row of each item of a layer; shards of other layers with the same ids, in
    the same order, have the same places.

    Attributes:
        ids: Item ids, int64 (n,), ascending.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        _fetch(shards)
        ids = concatenated(shard.ids for shard in shards)
        self._order = np.argsort(ids, kind="stable")  # merges ids that ascend in each shard
        self._starts = np.cumsum([0, *(shard.n for shard in shards)])
        self.ids: Ids = ids[self._order]
        self.ids.flags.writeable = False

    def read(self, shards: Sequence[Shard], ids: Ids) -> Iterator[tuple[Ids, Block]]:
        """Yield the ids (m,) and the vectors (m, dim) of some items, given by ascending ids, shard
        by shard.
        """
        positions = self._order[self.ids.searchsorted(ids[is_among(ids, self.ids)])]
        numbers = self._starts.searchsorted(positions, side="right") - 1
        _fetch([shards[number] for number in distinct(numbers)])
        for number in distinct(numbers):
            shard, rows = shards[number], positions[numbers == number] - self._starts[number]
            yield shard.ids[rows], shard.rows(rows)
