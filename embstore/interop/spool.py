"""Keep vectors on disk between reading and writing: they are read in the order of a file and written by item id.

Vectors go to one of a few files by the first bits of their key, so that those of a range of keys are together: a shard
is read back from one or two of them, in memory that does not grow with their number.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embstore import atomic, disk

_N_BITS = 6  # 64 files: far below the least limit of open files (256, macOS)
_SHIFT = 63 - _N_BITS  # keys have 63 bits

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
        self._record = np.dtype([("id", "<i8"), ("vectors", "<f4", (n_layers, dim))])
        self._files: dict[int, Any] = {}
        self._open = ExitStack()
        self._sorted: tuple[int, Ids, NDArray[np.intp]] | None = None

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
        order = np.argsort(numbers, kind="stable")
        records = np.empty(len(ids), self._record)
        records["id"] = ids[order]
        records["vectors"] = vectors[:, order].transpose(1, 0, 2)
        present, starts = np.unique(numbers[order], return_index=True)
        for number, part in zip(present.tolist(), np.split(records, starts[1:]), strict=True):
            if number not in self._files:
                self._files[number] = self._open.enter_context(disk.writing(self._path(number)))
            self._files[number].write(part.view(np.uint8))

    def finish(self) -> None:
        """End the writing; called before the first :meth:`take`."""
        self._open.close()

    def take(self, keys: Ids, ids: Ids) -> NDArray[np.float32]:
        """Return the vectors (layers, n, dim) of items that were added.

        Args:
            keys: Keys (n,), as in :meth:`add`.
            ids: Item ids (n,).
        """
        n_layers, dim = self._record["vectors"].shape
        vectors = np.empty((n_layers, len(ids), dim), np.float32)
        numbers = keys >> _SHIFT
        for number in np.unique(numbers).tolist():
            rows = np.flatnonzero(numbers == number)
            sorted_ids, order = self._order(number)
            places = order[np.searchsorted(sorted_ids, ids[rows])]
            in_file = np.argsort(places)  # ascending places are read ahead by the system
            records = self._records(number)[places[in_file]]
            vectors[:, rows[in_file]] = records["vectors"].transpose(1, 0, 2)
        return vectors

    def _order(self, number: int) -> tuple[Ids, NDArray[np.intp]]:
        """Return the ids in a file, ascending, and their positions; those of the last file are kept."""
        if self._sorted is None or self._sorted[0] != number:
            ids = self._records(number)["id"]
            order = np.argsort(ids)
            self._sorted = (number, np.asarray(ids)[order], order)
        return self._sorted[1:]

    def _records(self, number: int) -> Any:
        """Map a file into memory; unmapped with the last reference, so that its pages do not count as used."""
        with disk.opening(self._path(number)):
            return np.memmap(self._path(number), self._record, "r")

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:02d}"
