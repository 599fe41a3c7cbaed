"""Read what gensim's ``save`` writes: KeyedVectors, or a model with them. It is a pickle, and gensim loads it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embstore.base.errors import SourceError, UsageError
from embstore.interop.files import check_regular
from embstore.interop.readers.npy import memory_blocks
from embstore.interop.vector_file import Block, ReadOptions, VectorFile, rows_per_block


def open_gensim(path: Path, options: ReadOptions) -> VectorFile:
    """Open a file of gensim's own format; the arrays that it has in files beside it are mapped into memory."""
    check_regular(path)
    if not options.allow_pickle:
        raise SourceError(
            f"{path} is a pickle, as gensim saves vectors, which can run code when it is loaded. Write it in a format "
            "without code (vectors.save_word2vec_format('vectors.bin', binary=True)), or add ⦃allow-pickle=True⦄ if "
            "you trust where it comes from."
        )
    try:
        from gensim.utils import SaveLoad  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise UsageError(f"{path} was saved by gensim, which is not installed: pip install gensim") from error
    try:
        loaded = SaveLoad.load(str(path), mmap="r")
    except Exception as error:  # a pickle may raise anything
        raise SourceError(f"{path} cannot be loaded by gensim: {error}. Save it again.") from error
    keyed: Any = getattr(loaded, "wv", loaded)
    texts, vectors = getattr(keyed, "index_to_key", None), getattr(keyed, "vectors", None)
    if texts is None or vectors is None:
        raise SourceError(
            f"{path} has no keyed vectors, but a {type(loaded).__name__}. Save its vectors: model.wv.save"
        )
    names = [str(text) for text in texts]
    rows = rows_per_block(1, vectors.shape[1])
    beside = sorted(file for file in path.parent.glob(f"{path.name}.*.npy") if file.is_file())
    return VectorFile(
        str(path), "gensim", 1, vectors.shape[1], vectors.dtype.str,
        lambda: memory_blocks(str(path), vectors, _text_blocks(names, rows)), hashed=(path, *beside),
        notes=(f"{path} was unpickled, as ⦃allow-pickle=True⦄ allows.",),
    )  # fmt: skip


def _text_blocks(texts: list[str], rows: int) -> Iterator[Block]:
    """Yield texts, some rows at a time, without vectors."""
    import numpy as np

    for start in range(0, len(texts), rows):
        yield Block(texts[start : start + rows], np.empty((1, 0, 0), np.float32), start + 1)
