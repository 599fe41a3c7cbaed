"""Keep vectors on disk between reading and writing: they are read in the order of a file and written by item id.

Vectors go to one of a few files by the first bits of their key, so that those of a range of keys are together: a shard
is read back from one or two of them, in memory that does not grow with their number.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embstore.base import atomic, disk
from embstore.storage.parquet.writer import ROW_GROUP_ROWS

_N_BITS = 5  # 32 times two files: far below the least limit of open files (256, macOS)
_SHIFT = 63 - _N_BITS  # keys have 63 bits
_BLOCK_BYTES = 4 << 20

Ids = NDArray[np.int64]


class Spool:
    """Vectors of items, in temporary files; a context manager that removes them.

    Args:
        folder: Folder in which the temporary folder is created.
        n_layers: Number of layers.
        dim: Number of components of a vector.
    """

    def __init__(self, folder: Path, n_layers: int, dim: int) -> None:
        self._folder = atomic.temporary_path(folder)
        self._n_layers, self._dim = n_layers, dim
        self._files: dict[Path, Any] = {}
        self._open = ExitStack()
        self._orders: dict[int, tuple[Ids, NDArray[np.intp]]] = {}

    def __enter__(self) -> Self:
        disk.make_folder(self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        atomic.discard(self._folder)

    def add(self, keys: Ids, ids: Ids, vectors: NDArray[np.float32]) -> None:
        """Add items.

        Args:
            keys: Keys (n,): of a word or sentence its id, of an occurrence the id of its sentence.
            ids: Item ids (n,).
            vectors: Vectors (layers, n, dim).
        """
        numbers = keys >> _SHIFT
        for number in np.unique(numbers).tolist():
            rows = np.flatnonzero(numbers == number)
            self._write(self._id_file(number), ids[rows])
            self._write(self._vector_file(number), vectors[:, rows].transpose(1, 0, 2))

    def finish(self) -> None:
        """End the writing; called before the first :meth:`read`."""
        self._open.close()

    def read(self, layer: int, keys: Ids, ids: Ids) -> Iterator[NDArray[np.float32]]:
        """Yield the vectors (n, dim) of a layer of items that were added, some thousands at a time.

        Args:
            layer: Number of the layer, from 0.
            keys: Keys (n,), as in :meth:`add`.
            ids: Item ids (n,).
        """
        rows = max(1, _BLOCK_BYTES // (4 * self._dim) // ROW_GROUP_ROWS) * ROW_GROUP_ROWS
        for start in range(0, len(ids), rows):
            yield self._read(layer, keys[start : start + rows], ids[start : start + rows])

    def _read(self, layer: int, keys: Ids, ids: Ids) -> NDArray[np.float32]:
        """Return the vectors (n, dim) of a layer."""
        vectors = np.empty((len(ids), self._dim), np.float32)
        numbers = keys >> _SHIFT
        present = np.unique(numbers).tolist()
        self._orders = {number: order for number, order in self._orders.items() if number in present}
        for number in present:
            rows = np.flatnonzero(numbers == number)
            sorted_ids, order = self._order(number)
            places = order[np.searchsorted(sorted_ids, ids[rows])]
            in_file = np.argsort(places)  # ascending places are read ahead by the system
            self._read_rows(number, layer, places[in_file].tolist(), rows[in_file].tolist(), vectors)
        return vectors

    def _read_rows(
        self, number: int, layer: int, places: list[int], rows: list[int], vectors: NDArray[np.float32]
    ) -> None:
        """Read vectors at some places of a file into some rows.

        They are not mapped into memory, where whole files would count as used.
        """
        file = self._vector_file(number)
        size = 4 * self._dim
        target = vectors.view(np.uint8).reshape(-1).data
        with disk.opening(file), file.open("rb", buffering=0) as stream:
            for place, row in zip(places, rows, strict=True):
                stream.seek((place * self._n_layers + layer) * size)
                if stream.readinto(target[row * size : (row + 1) * size]) != size:
                    raise OSError(f"{file} is too short")

    def _order(self, number: int) -> tuple[Ids, NDArray[np.intp]]:
        """Return the ids in a file, ascending, and their positions; those of the files of the last block are kept."""
        if number not in self._orders:
            ids = np.frombuffer(disk.read(self._id_file(number)), np.int64)
            order = np.argsort(ids)
            self._orders[number] = ids[order], order
        return self._orders[number]

    def _write(self, file: Path, values: NDArray[Any]) -> None:
        """Append values to a file."""
        if file not in self._files:
            self._files[file] = self._open.enter_context(disk.writing(file))
        self._files[file].write(np.ascontiguousarray(values).view(np.uint8).reshape(-1).data)

    def _id_file(self, number: int) -> Path:
        return self._folder / f"{number:02d}.ids"

    def _vector_file(self, number: int) -> Path:
        return self._folder / f"{number:02d}.vectors"
