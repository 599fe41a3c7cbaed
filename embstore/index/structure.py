"""Read the file of an index that may have been made to do harm: within its own size, and of the very structure written.

FAISS reads what a file says it is: any of its kinds within any other, with vectors and lists of any length. What
embstore writes is of three structures; all others are refused before they are searched.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore import disk
from embstore.errors import DamagedError
from embstore.index.card import ANEW, IndexCard

if TYPE_CHECKING:
    import faiss

_TYPES = {"flat": "IndexFlatIP", "hnsw": "IndexHNSWFlat", "ivf": "IndexIVFScalarQuantizer"}
_FLOAT_BYTES, _ID_BYTES = 4, 8
_limits = Lock()  # FAISS has one limit for the process


def read(path: Path, card: IndexCard, *, mapped: bool) -> "faiss.IndexIDMap":
    """Return the index in a file, after its structure was checked.

    Args:
        path: the file.
        card: of the index.
        mapped: memory-mapped; False reads all into memory.

    Raises:
        DamagedError: it is not of the structure that its card says.
        RuntimeError: FAISS cannot read it.
    """
    import faiss as untyped  # its stubs lack what its Python layer adds

    faiss: Any = untyped
    listed = card.kind == "ivf"
    # Lists in another file would be opened; those of this file would be reserved before they are known to be in it. As
    # FAISS does not know how to map lists by this reader, it refuses them in an index that should have none.
    apart = faiss.IO_FLAG_READ_ONLY | faiss.IO_FLAG_ONDISK_SAME_DIR
    without_lists = faiss.IO_FLAG_MMAP | apart | (0 if listed else faiss.IO_FLAG_MMAP_IFC)
    with _limited_to(path, card):
        index: untyped.IndexIDMap = faiss.read_index(str(path), without_lists)
        _check(path, index, card, faiss.OnDiskInvertedLists)
        if listed or not mapped:
            index = faiss.read_index(str(path), (faiss.IO_FLAG_MMAP_IFC if mapped else 0) | apart)
            _check(path, index, card, faiss.ArrayInvertedLists)
    return index


@contextmanager
def _limited_to(path: Path, card: IndexCard) -> Iterator[None]:
    """Have FAISS take no more memory for a vector than the file has bytes, nor read more lists than it has centres."""
    import faiss

    n_bytes = disk.size(path)
    with _limits:
        before = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
        faiss.set_deserialization_vector_byte_limit(n_bytes)
        faiss.set_deserialization_loop_limit(max(1, n_bytes // (_FLOAT_BYTES * max(1, card.dim))))
        try:
            yield
        finally:
            faiss.set_deserialization_vector_byte_limit(before[0])
            faiss.set_deserialization_loop_limit(before[1])


def _check(path: Path, index: Any, card: IndexCard, lists: type) -> None:
    """Check the kind and the size of an index and of all its parts; ids and vectors are not looked at.

    Args:
        path: its file.
        index: what FAISS read.
        card: of the index.
        lists: the type of the lists of codes, if its kind is ``ivf``.

    Raises:
        DamagedError: one is not what its card says.
    """
    import faiss as untyped

    faiss: Any = untyped
    if type(index) is not faiss.IndexIDMap:
        raise damage(path, "it does not say which items it holds")
    inner = faiss.downcast_index(index.index)
    if type(inner).__name__ != _TYPES.get(card.kind):
        raise damage(path, f"it is no index of the kind {card.kind!r}")
    if (index.d, inner.d, index.ntotal, inner.ntotal, index.id_map.size()) != (card.dim,) * 2 + (card.n,) * 3:
        raise damage(path, "it is not of the size that its card says")
    if inner.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise damage(path, "it does not compute cosines")
    if card.kind == "flat":
        _check_flat(path, inner, card.n, card.dim)
    elif card.kind == "hnsw":
        _check_flat(path, faiss.downcast_index(inner.storage), card.n, card.dim)
    else:
        _check_flat(path, faiss.downcast_index(inner.quantizer), card.parameters.get("n_lists", -1), card.dim)
        _check_lists(path, inner, card, lists)


def _check_flat(path: Path, flat: Any, n: int, dim: int) -> None:
    import faiss

    if type(flat) is not faiss.IndexFlatIP or flat.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise damage(path, "it does not hold its vectors as they are written")
    if (flat.d, flat.ntotal, flat.codes.size()) != (dim, n, _FLOAT_BYTES * n * dim):
        raise damage(path, "it is not of the size that its card says")


def _check_lists(path: Path, inner: Any, card: IndexCard, expected: type) -> None:
    import faiss as untyped

    faiss: Any = untyped
    if type(faiss.downcast_InvertedLists(inner.invlists)) is not expected:
        raise damage(path, "it has no lists of the kind that is written")
    lists, codes = faiss.downcast_InvertedLists(inner.invlists), inner.sq
    n_lists = card.parameters.get("n_lists", -1)
    sizes = (inner.nlist, lists.nlist, inner.code_size, lists.code_size, codes.code_size, codes.d, codes.trained.size())
    if sizes != (n_lists,) * 2 + (card.dim,) * 4 + (2 * card.dim,):
        raise damage(path, "its lists or codes are not of the size that its card says")
    if (codes.qtype, inner.by_residual, inner.direct_map.type) != (
        faiss.ScalarQuantizer.QT_8bit, True, faiss.DirectMap.NoMap,
    ):  # fmt: skip
        raise damage(path, "its codes are not of the kind that is written")
    n_bytes = card.n * (card.dim + _ID_BYTES)
    if sum(map(lists.list_size, range(n_lists))) != card.n or n_bytes > disk.size(path):
        raise damage(path, "its lists do not hold as many vectors as its card says")


def check_positions(path: Path, inner: Any, n: int) -> None:
    """Check that the lists of an index of the kind ``ivf`` hold each of n positions once: all of it is read.

    Raises:
        DamagedError: they do not.
    """
    import faiss

    lists = inner.invlists
    found = [faiss.rev_swig_ptr(lists.get_ids(i), lists.list_size(i)) for i in range(lists.nlist) if lists.list_size(i)]
    if not np.array_equal(np.sort(np.concatenate([np.empty(0, np.int64), *found])), np.arange(n)):
        raise damage(path, "its lists do not hold each vector once")


def damage(path: Path, what: str) -> DamagedError:
    """Return the error for an index that is not as it was written."""
    return DamagedError(f"{path} is damaged: {what}. {ANEW}")
