"""Read an array in the plain bytes of a file block by block, in memory that does not grow with the file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import SourceError
from embstore.interop.vector_file import Block, rows_per_block

_KINDS = "fiu"  # floats, signed and unsigned integers


@dataclass(frozen=True, slots=True)
class RawArray:
    """An array in a file: one layer (n, dim), or all of them (layers, n, dim).

    Attributes:
        path: File.
        name: Name in messages.
        shape: Shape as stored.
        dtype: Type of its numbers, with their byte order.
        offset: Position of its first byte in the file.
        fortran: Whether the first index varies fastest.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    offset: int = 0
    fortran: bool = False

    def check(self) -> None:
        """Raise SourceError unless the array is of vectors, at least one."""
        check_vectors(self.name, self.shape, self.dtype)

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return self.shape[0] if len(self.shape) == 3 else 1

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.shape[-2]

    @property
    def dim(self) -> int:
        """Number of components of a vector."""
        return self.shape[-1]

    def rows(self, start: int, end: int) -> NDArray[np.generic]:
        """Return the vectors of some rows (layers, end - start, dim)."""
        # Mapped anew for each block: the pages of a mapping that is gone do not count as memory.
        order: Literal["C", "F"] = "F" if self.fortran else "C"
        try:
            mapped: NDArray[Any] = np.memmap(self.path, self.dtype, "r", self.offset, self.shape, order)
        except ValueError as error:
            raise SourceError(f"{self.name} ends too early, or is damaged: {error}. Copy it again.") from error
        found = np.array(mapped[..., start:end, :])
        return found if found.ndim == 3 else found[None]


def check_vectors(name: str, shape: Sequence[int], dtype: np.dtype[np.generic]) -> None:
    """Raise SourceError unless an array has vectors of one layer (n, dim) or of all (layers, n, dim), at least one."""
    if dtype.kind not in _KINDS:
        raise SourceError(f"{name} has values of type {dtype}, and vectors are real numbers. Convert it to float32.")
    if len(shape) not in (2, 3):
        raise SourceError(
            f"{name} has {len(shape)} axes, {tuple(shape)}. Vectors of one layer have 2, (n, dim), and of all layers "
            "3, (layers, n, dim)."
        )
    if 0 in shape:
        raise SourceError(f"{name} has no vectors: its shape is {tuple(shape)}. Give a file with at least one vector.")


def array_blocks(array: RawArray, texts: Iterator[Block]) -> Iterator[Block]:
    """Yield the rows of an array with their texts.

    Args:
        array: Vectors.
        texts: Blocks with the texts of the rows in their order, without vectors.

    Raises:
        SourceError: There are more or fewer texts than rows.
    """
    start = 0
    for block in texts:
        end = start + len(block.texts)
        if end > array.n:
            raise SourceError(
                f"{array.name} has {array.n:,} vectors, and there are more texts. Give one for each vector."
            )
        yield Block(block.texts, array.rows(start, end), start + 1, block.contexts, block.spans)
        start = end
    if start < array.n:
        raise SourceError(
            f"{array.name} has {array.n:,} vectors, and there are {start:,} texts. Give one for each vector."
        )


def block_rows(array: RawArray) -> int:
    """Return the number of rows of a block."""
    return rows_per_block(array.n_layers, array.dim, array.dtype.itemsize)
