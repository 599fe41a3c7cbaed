"""Define what a reader of a format returns: a file of vectors, read block by block."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embstore.base.space import Layers
from embstore.base.text import Span

BLOCK_BYTES = 8 << 20
"""Approximate bytes of the vectors of a block."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a file.

    Attributes:
        texts: Texts of the rows (n).
        vectors: Vectors (layers, n, dim), of the type that the file has.
        first: Number of the first row, from 1: a line of text formats.
        contexts: Sentences of occurrences (n); None for words and sentences.
        spans: Spans of occurrences in their sentences (n).
    """

    texts: Sequence[str]
    vectors: NDArray[np.generic]
    first: int
    contexts: Sequence[str] | None = None
    spans: Sequence[Span] | None = None


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options of reading.

    Attributes:
        texts: File with the texts of an array; None if the array's own file has them.
        column: Column with the texts; None for ``text``, ``word``, ``token`` or ``key``.
        vector_column: Column or array with the vectors; None for the only one that fits.
        allow_pickle: Whether pickles, which can run code, may be loaded.
    """

    texts: Path | None = None
    column: str | None = None
    vector_column: str | None = None
    allow_pickle: bool = False


@dataclass(frozen=True, slots=True)
class VectorFile:
    """An opened file of vectors.

    Attributes:
        name: Name in messages: the path as the user gave it.
        format: Name of the format in :data:`embstore.interop.formats.READERS`.
        n_layers: Number of layers.
        dim: Number of components of a vector.
        dtype: NumPy's name of the type of its numbers: ``float32``, ``>f8`` …; ``text`` for decimal digits.
        blocks: Function that yields the rows from the beginning.
        row: What a row is called in messages: ``line``, ``row``.
        layers: Layers that the file itself names; None if it names none.
        origin: Card of the space that the file was exported from; None if it names none.
        hashed: Files that its vectors and texts are read from.
        notes: Notes for the user about how it is read.
        n: Number of its vectors, if the file says so at its beginning; else None.
    """

    name: str
    format: str
    n_layers: int
    dim: int
    dtype: str
    blocks: Callable[[], Iterator[Block]]
    row: str = "row"
    layers: Layers | None = None
    origin: dict[str, object] | None = None
    hashed: tuple[Path, ...] = ()
    notes: tuple[str, ...] = field(default=())
    n: int | None = None

    def place(self, number: int) -> str:
        """Return the place of a row in messages: ``glove.txt:12``."""
        return f"{self.name}:{number}"


def rows_per_block(n_layers: int, dim: int, item_bytes: int = 4) -> int:
    """Return the number of rows of a block of about :data:`BLOCK_BYTES`, at least 1."""
    return max(1, BLOCK_BYTES // max(1, n_layers * dim * item_bytes))
