"""Read what other packages load: gensim's own format, which is a pickle, and AnnData (.h5ad)."""

from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from embstore.base.errors import SourceError, UnknownNameError, UsageError
from embstore.interop.read_arrays import check_vectors, memory_file, unpickled_note
from embstore.interop.texts import batched
from embstore.interop.vector_file import Block, ReadOptions, VectorFile, check_regular, rows_per_block


def open_gensim(path: Path, options: ReadOptions) -> VectorFile:
    """Open what gensim's ``save`` writes: KeyedVectors, or a model with them; arrays in files beside it are mapped."""
    check_regular(path)
    if not options.allow_pickle:
        raise SourceError(
            f"{path} is a pickle, as gensim saves vectors, which can run code when it is loaded. Write it in a format "
            "without code (vectors.save_word2vec_format('vectors.bin', binary=True)), or add ⦃allow-pickle=True⦄ if "
            "you trust where it comes from."
        )
    utils = _package("gensim.utils", f"{path} was saved by gensim, which is not installed: pip install gensim")
    try:
        loaded = utils.SaveLoad.load(str(path), mmap="r")
    except Exception as error:  # a pickle may raise anything
        raise SourceError(f"{path} cannot be loaded by gensim: {error}. Save it again.") from error
    keyed: Any = getattr(loaded, "wv", loaded)
    texts, vectors = getattr(keyed, "index_to_key", None), getattr(keyed, "vectors", None)
    if texts is None or vectors is None:
        raise SourceError(
            f"{path} has no keyed vectors, but a {type(loaded).__name__}. Save its vectors: model.wv.save"
        )
    beside = sorted(file for file in path.parent.glob(f"{path.name}.*.npy") if file.is_file())
    names = partial(batched, [str(text) for text in texts])
    return memory_file(str(path), "gensim", vectors, names, (path, *beside), (unpickled_note(path),))


def open_anndata(path: Path, options: ReadOptions) -> VectorFile:
    """Open a .h5ad file: X, or a matrix of obsm or layers, with the names of the observations.

    A dense matrix is read block by block.
    """
    check_regular(path)
    anndata = _package("anndata", f"{path} is read by anndata, which is not installed: pip install anndata")
    try:
        opened = anndata.read_h5ad(path, backed="r")
    except (OSError, ValueError, KeyError) as error:
        raise SourceError(f"{path} is damaged, or is not AnnData: {error}. Write it again.") from error
    name = options.vector_column or "X"
    known = {"X": opened.X, **opened.obsm, **opened.layers}
    if known.get(name) is None:
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


def _package(module: str, missing: str) -> Any:
    """Import a module of a package that embstore does not require; raise UsageError if it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(missing) from error
