"""Read NumPy's .npy: vectors of one layer (n, dim) or of all (layers, n, dim), with the texts in another file."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from embstore.base.errors import SourceError, UsageError
from embstore.interop.files import check_regular
from embstore.interop.readers.raw_array import RawArray, array_blocks, block_rows, check_vectors
from embstore.interop.texts import text_blocks
from embstore.interop.vector_file import Block, ReadOptions, VectorFile, rows_per_block
from embstore.sources.files import open_binary

NO_TEXTS = "An array has no texts. Name the file that has them, one a line in the order of the rows: ⦃texts=FILE⦄"
PICKLED = (
    "holds pickled objects, which can run code when they are loaded. Save it as numbers (array.astype('float32')), or "
    "add ⦃allow-pickle=True⦄ if you trust where it comes from."
)


def open_npy(path: Path, options: ReadOptions) -> VectorFile:
    """Open a .npy file, whose texts are in the file of ``--texts``."""
    check_regular(path)
    if options.texts is None:
        raise UsageError(f"{path}: {NO_TEXTS}")
    texts = options.texts
    header = _header(path)
    if header.dtype.hasobject:
        if not options.allow_pickle:
            raise SourceError(f"{path} {PICKLED}")
        return _from_memory(path, _unpickled(path), texts, options.column)
    header.check()
    return VectorFile(
        str(path), "npy", header.n_layers, header.dim, header.dtype.str,
        lambda: array_blocks(header, text_blocks(texts, options.column, block_rows(header))), hashed=(path, texts),
        n=header.n,
    )  # fmt: skip


def _header(path: Path) -> RawArray:
    """Read the header of a .npy file."""
    with open_binary(path, str(path)) as file:
        return read_header(file, path)


def read_header(file: IO[bytes], path: Path) -> RawArray:
    """Read the header of a .npy file at the position of an open file."""
    try:
        version = npy_format.read_magic(file)
        read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (ValueError, EOFError) as error:
        raise SourceError(f"{path} is not a .npy file: {error}. Save it again with numpy.save.") from error
    return RawArray(path, str(path), shape, dtype, file.tell(), fortran)


def _unpickled(path: Path) -> NDArray[Any]:
    """Return the vectors in a pickled .npy file, whose rows must have one length."""
    with open_binary(path, str(path)) as file:
        loaded = np.load(file, allow_pickle=True)
    try:
        return np.array([np.asarray(row, np.float64) for row in loaded])
    except (ValueError, TypeError) as error:
        raise SourceError(f"{path}: its rows are not vectors of one length ({error}). Give one length.") from error


def _from_memory(path: Path, vectors: NDArray[Any], texts: Path, column: str | None) -> VectorFile:
    """Return a file whose vectors are in memory."""
    check_vectors(str(path), vectors.shape, vectors.dtype)
    n_layers = vectors.shape[0] if vectors.ndim == 3 else 1
    rows = rows_per_block(n_layers, vectors.shape[-1])
    return VectorFile(
        str(path), "npy", n_layers, vectors.shape[-1], vectors.dtype.str,
        lambda: memory_blocks(str(path), vectors, text_blocks(texts, column, rows)), hashed=(path, texts),
        notes=(f"{path} was unpickled, as ⦃allow-pickle=True⦄ allows.",),
    )  # fmt: skip


def memory_blocks(name: str, vectors: NDArray[Any], texts: Iterator[Block]) -> Iterator[Block]:
    """Yield the rows of an array in memory, (n, dim) or (layers, n, dim), with their texts.

    Raises:
        SourceError: There are more or fewer texts than rows.
    """
    layered = vectors if vectors.ndim == 3 else vectors[None]
    n, start = layered.shape[1], 0
    for block in texts:
        end = start + len(block.texts)
        if end > n:
            raise SourceError(f"{name} has {n:,} vectors, and there are more texts. Give one for each vector.")
        yield Block(block.texts, layered[:, start:end], start + 1, block.contexts, block.spans)
        start = end
    if start < n:
        raise SourceError(f"{name} has {n:,} vectors, and there are {start:,} texts. Give one for each vector.")
