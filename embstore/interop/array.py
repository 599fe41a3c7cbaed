"""Import an array in memory with its texts."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import SourceError
from embstore.base.space import Unit
from embstore.base.text import parse_marked
from embstore.interop.readers.npy import memory_blocks
from embstore.interop.readers.raw_array import check_vectors
from embstore.interop.vector_file import Block, VectorFile, rows_per_block

_NAME = "the array"


def array_file(texts: Sequence[str], array: NDArray[Any], unit: Unit) -> VectorFile:
    """Return an array (n, dim) or (layers, n, dim) with its texts (n) as a file of vectors.

    Raises:
        SourceError: It is not an array of vectors.
    """
    check_vectors(_NAME, array.shape, array.dtype)
    n_layers = array.shape[0] if array.ndim == 3 else 1
    rows = rows_per_block(n_layers, array.shape[-1])
    return VectorFile(
        _NAME, "array", n_layers, array.shape[-1], array.dtype.str,
        lambda: memory_blocks(_NAME, array, _text_blocks(texts, unit, rows)),
    )  # fmt: skip


def array_digest(texts: Sequence[str], array: NDArray[Any]) -> str:
    """Return the SHA-256 of an array, and of its texts."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}\n".encode())
    for row in array:
        digest.update(np.ascontiguousarray(row).data)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def _text_blocks(texts: Sequence[str], unit: Unit, rows: int) -> Iterator[Block]:
    """Yield texts, some rows at a time; of occurrences with their sentences."""
    empty = np.empty((1, 0, 0), np.float32)
    first = 1
    for part in _batched(texts, rows):
        for text in part:
            if not isinstance(text, str):
                raise SourceError(f"texts are strings, and one is {type(text).__name__}: {text!r}.")
        if unit is Unit.OCCURRENCE:
            items = [parse_marked(text) for text in part]
            spans = [item.span for item in items if item.span is not None]
            yield Block([item.text for item in items], empty, first, [item.context or "" for item in items], spans)
        else:
            yield Block(part, empty, first)
        first += len(part)


def _batched(texts: Sequence[str], rows: int) -> Iterator[list[str]]:
    for start in range(0, len(texts), rows):
        yield list(texts[start : start + rows])
