"""Check the rows of files, and keep their texts and vectors on disk until they are written by item
id.

Vectors go to one of a few files by the first bits of their key, so that those of a range of keys
are together: a shard is read back from one or two of them, in memory that does not grow with their
number.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np

from embstore.base import atomic, disk
from embstore.base.arrays import Float32Array, Ids
from embstore.base.errors import SourceError
from embstore.base.progress import Progress, report_progress
from embstore.base.space import Unit
from embstore.base.text import Item, is_unicode, items_in
from embstore.interop.vector_file import Block, Marked, VectorFile
from embstore.storage.card import Card
from embstore.storage.staging.staging import Staging
from embstore.storage.vectors import FLOAT16_MAX

_SHOWN = 80
_N_BITS = 5  # 32 files: far below the least limit of open files (256, macOS)
_SHIFT = 63 - _N_BITS  # keys have 63 bits
_BLOCK_BYTES = 4 << 20


class Spool:
    """Vectors of items, in temporary files; a context manager that removes them."""

    def __init__(self, folder: Path, n_layers: int, dim: int) -> None:
        self._folder = atomic.temporary_path(folder)
        self._n_layers, self._dim = n_layers, dim
        self._files: dict[int, Any] = {}  # of vectors, by number
        self._ids: dict[int, list[Ids]] = {}  # of the items in each, in its order
        self._open = ExitStack()

    def __enter__(self) -> Self:
        disk.make_folder(self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._open.close()  # which writes what is buffered, and fails on a full disk
        finally:
            atomic.discard(self._folder)

    def add(self, keys: Ids, ids: Ids, vectors: Float32Array) -> None:
        """Add items.

        Args:
            keys: Keys (n,): of a word or sentence its id, of an occurrence the id of its sentence.
            ids: Item ids (n,).
            vectors: Vectors (layers, n, dim).
        """
        numbers = keys >> _SHIFT
        for number in np.unique(numbers).tolist():
            rows = np.flatnonzero(numbers == number)
            if number not in self._files:
                file = self._open.enter_context(disk.writing(self._vector_file(number)))
                self._files[number] = file
            self._ids.setdefault(number, []).append(ids[rows])
            of_rows = np.ascontiguousarray(vectors[:, rows].transpose(1, 0, 2))
            self._files[number].write(of_rows.data)

    def finish(self) -> None:
        """End the writing; called before the first :meth:`read`."""
        self._open.close()

    def read(self, keys: Ids, ids: Ids) -> Iterator[Float32Array]:
        """Yield for each layer the vectors (n, dim) of items that were added.

        Args:
            keys: Keys (n,), as in :meth:`add`.
            ids: Item ids (n,).
        """
        numbers, places = keys >> _SHIFT, np.empty(len(ids), np.int64)
        for number in np.unique(numbers).tolist():
            rows = np.flatnonzero(numbers == number)
            stored = np.concatenate(self._ids[number])
            order = np.argsort(stored)
            places[rows] = order[np.searchsorted(stored, ids[rows], sorter=order)]
        for layer in range(self._n_layers):
            yield self._read(layer, numbers, places)

    def _read(self, layer: int, numbers: Ids, places: Ids) -> Float32Array:
        """Return the vectors (n, dim) of a layer at some places of files.

        They are not mapped into memory, where whole files would count as used.
        """
        vectors, size = np.empty((len(places), self._dim), np.float32), 4 * self._dim
        target = vectors.view(np.uint8).reshape(-1).data
        for number in np.unique(numbers).tolist():
            rows, file = np.flatnonzero(numbers == number), self._vector_file(number)
            rows = rows[np.argsort(places[rows])]  # ascending places are read ahead by the system
            with disk.opening(file), file.open("rb", buffering=0) as stream:
                for row, place in zip(rows.tolist(), places[rows].tolist(), strict=True):
                    stream.seek((place * self._n_layers + layer) * size)
                    if stream.readinto(target[row * size : (row + 1) * size]) != size:
                        raise OSError(f"{file} is too short")
        return vectors

    def _vector_file(self, number: int) -> Path:
        return self._folder / f"{number:02d}.vectors"


class Stager:
    """Stages the rows of files; ``notes`` say what was converted."""

    def __init__(self, staging: Staging, spool: Spool, present: Ids, card: Card) -> None:
        self._staging, self._spool, self._present, self._card = staging, spool, present, card
        self._n = 0
        self.notes: list[str] = []

    def read(self, file: VectorFile) -> None:
        """Read a file to its end."""
        self.notes += [*file.notes, *_conversions(file)]
        for block in file.blocks():
            vectors = self._checked(block, file)
            ids, keys = self._stage(block, file)
            if len(self._present):
                new = ~np.isin(ids, self._present)
                ids, keys, vectors = ids[new], keys[new], vectors[:, new]
            if len(ids):
                self._spool.add(keys, ids, vectors)
            report_progress(Progress("read", file.name, self._n))

    def finish(self) -> None:
        """Check that there are rows, and none twice."""
        self._spool.finish()
        if not self._n:
            raise SourceError("there is no vector in the files. Give files with at least one.")
        duplicate = self._staging.first_duplicate()
        if duplicate is not None:
            text, first, second = duplicate
            raise SourceError(
                f"{second}: {text[:_SHOWN]!r} is there twice, first at {first}, and an item has one"
                " vector. Remove one of them."
            )
        self._staging.deduplicate(is_distinct=True)

    def _checked(self, block: Block, file: VectorFile) -> Float32Array:
        """Return the vectors of a block as float32; raise SourceError for the first that does not
        fit.

        All are of one shape, finite, and representable in the stored dtype.
        """
        original = block.vectors
        if original.shape != (file.n_layers, len(block.texts), file.dim):
            raise SourceError(
                f"{file.place(block.first)}: vectors of the shape {original.shape[2:]} where"
                f" {file.name} begins with ({file.dim},). All must have one dimension."
            )
        limit = FLOAT16_MAX if self._card.dtype == "float16" else np.finfo(np.float32).max
        with np.errstate(over="ignore", invalid="ignore"):
            vectors = original.astype(np.float32)
            bad = np.flatnonzero(~(np.abs(vectors) <= limit).all(axis=(0, 2)))
        if not len(bad):
            return vectors
        row = int(bad[0])
        largest = float(np.abs(original[:, row].astype(np.float64)).max())
        raise SourceError(
            f"{file.place(block.first + row)}: the vector of {_text(block.texts[row])[:_SHOWN]!r}"
            f" has a component of size {largest:.6g}, which is not finite, or above {limit:.6g},"
            f" the most of {self._card.dtype}. Correct or remove the row; or scale the vectors, or"
            " store dtype='float32'."
        )

    def _stage(self, block: Block, file: VectorFile) -> tuple[Ids, Ids]:
        """Stage the texts of a block, and return their ids and keys (n)."""
        unit = self._card.unit
        ids, keys = [], []
        for number, row in enumerate(block.texts, block.first):
            place, text = file.place(number), _text(row)
            if unit.has_context != isinstance(row, Marked):
                raise _wrong_unit(unit, file)
            if not text or text.isspace():
                raise SourceError(
                    f"{place}: the key is empty, and each vector needs its text. Remove the row, or"
                    " give it a text."
                )
            if not is_unicode(text):
                raise SourceError(f"{place}: the key {text[:_SHOWN]!r} is not valid Unicode.")
            if isinstance(row, Marked):
                item = _item(unit, row, place)
                keys.append(self._staging.add_occurrences(row.context, [item], place))
                ids.append(item.id)
            else:
                ids.append(self._staging.add(text, place))
        self._n += len(block.texts)
        return np.array(ids, np.int64), np.array(keys or ids, np.int64)


def _text(row: str | Marked) -> str:
    return row.text if isinstance(row, Marked) else row


def _item(unit: Unit, row: Marked, place: str) -> Item:
    """Return the occurrence of a text in its sentence, or a token; raise SourceError if it is not
    at the span.
    """
    text, context, span = row
    # The text of a token need not be its characters, of which it may have none.
    is_token = unit is Unit.TOKEN
    is_inside = 0 <= span.start < span.end + is_token <= len(context) + is_token
    if not is_inside or not (is_token or context[span.start : span.end] == text):
        raise SourceError(
            f"{place}: the characters {span.start} to {span.end} of its context are not"
            f" {text[:_SHOWN]!r}. Positions are counted from 0, in characters, without the last"
            " one."
        )
    if not is_unicode(context):
        raise SourceError(f"{place}: its context is not valid Unicode.")
    [item] = items_in(unit, context, [(text, span)])
    return item


def _wrong_unit(unit: Unit, file: VectorFile) -> SourceError:
    if unit.has_context:
        return SourceError(
            f"{file.name} has no sentences of its words, and an item of the unit {unit.value} is in"
            " its context: columns context, start and end. Give them, or import words: unit='word'"
        )
    return SourceError(
        f"{file.name} has words in their sentences (columns context, start and end), which are not"
        f" of the unit {unit.value}. Import them with unit='occurrence' or 'token'."
    )


def _conversions(file: VectorFile) -> list[str]:
    """Return a note if the numbers of a file are converted."""
    if file.dtype == "text":
        return []
    if file.dtype == "bfloat16":
        return [f"{file.name}: bfloat16 became float32."]
    dtype = np.dtype(file.dtype)
    if dtype.name in ("float32", "float16") and dtype.isnative:
        return []
    order = "" if dtype.isnative else "big-endian "
    return [f"{file.name}: {order}{dtype.name} became float32."]
