"""Read AnnData (.h5ad): the matrix X, or one of obsm or layers, with the names of the observations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from embstore.base.errors import SourceError, UnknownNameError, UsageError
from embstore.interop.files import check_regular
from embstore.interop.readers.raw_array import check_vectors
from embstore.interop.vector_file import Block, ReadOptions, VectorFile, rows_per_block


def open_anndata(path: Path, options: ReadOptions) -> VectorFile:
    """Open a .h5ad file; a dense matrix is read block by block."""
    check_regular(path)
    try:
        import anndata  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise UsageError(f"{path} is read by anndata, which is not installed: pip install anndata") from error
    try:
        opened = anndata.read_h5ad(path, backed="r")
    except (OSError, ValueError, KeyError) as error:
        raise SourceError(f"{path} is damaged, or is not AnnData: {error}. Write it again.") from error
    name = options.vector_column or "X"
    known = {"X": opened.X}
    for group in (opened.obsm, opened.layers):
        known |= {key: group[key] for key in group}
    if name not in known or known[name] is None:
        raise UnknownNameError("matrix", name, [key for key, matrix in known.items() if matrix is not None])
    matrix: Any = known[name]
    check_vectors(str(path), matrix.shape, np.dtype(matrix.dtype))
    if options.column is not None and options.column not in opened.obs:
        raise UnknownNameError("column", options.column, opened.obs.columns)
    texts = [str(text) for text in (opened.obs_names if options.column is None else opened.obs[options.column])]
    rows = rows_per_block(1, matrix.shape[1])

    def blocks() -> Iterator[Block]:
        for start in range(0, len(texts), rows):
            part = matrix[start : start + rows]
            dense = part.toarray() if hasattr(part, "toarray") else np.asarray(part)
            yield Block(texts[start : start + rows], dense[None], start + 1)

    return VectorFile(str(path), "anndata", 1, matrix.shape[1], np.dtype(matrix.dtype).str, blocks, hashed=(path,))
