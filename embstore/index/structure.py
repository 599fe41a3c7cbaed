"""Read an index file that may be malicious: limit the memory that it takes, and accept only the structures written.

FAISS reads whatever a file declares: any kind of index nested in any other, with vectors and lists of any length.
embstore writes three structures, and all others are refused before they are searched.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore.base import disk
from embstore.base.errors import DamagedError
from embstore.index.card import REMEDY, IndexCard

if TYPE_CHECKING:
    import faiss

_TYPES = {"flat": "IndexFlatIP", "hnsw": "IndexHNSWFlat", "ivf": "IndexIVFScalarQuantizer"}
_FLOAT_BYTES = 4
reading = RLock()  # FAISS has one limit for the process, which must be that of the index that is read


def read(path: Path, card: IndexCard, *, mapped: bool) -> "faiss.IndexIDMap":
    """Return the index in a file after a check of its structure."""
    import faiss as untyped  # its stubs lack what its Python layer adds

    faiss: Any = untyped
    listed = card.kind == "ivf"
    # The first read maps the lists: FAISS would open lists in another file, and would allocate those of this file
    # before it knows whether the file contains them. IO_FLAG_MMAP_IFC makes FAISS refuse lists in an index that should
    # have none.
    read_only = faiss.IO_FLAG_READ_ONLY | faiss.IO_FLAG_ONDISK_SAME_DIR
    without_lists = faiss.IO_FLAG_MMAP | read_only | (0 if listed else faiss.IO_FLAG_MMAP_IFC)
    with _limited_to(path, card):
        index: untyped.IndexIDMap = faiss.read_index(str(path), without_lists)
        _check(path, index, card, faiss.OnDiskInvertedLists)
        if listed or not mapped:
            index = faiss.read_index(str(path), (faiss.IO_FLAG_MMAP_IFC if mapped else 0) | read_only)
            _check(path, index, card, faiss.ArrayInvertedLists)
    return index


def read_back(path: Path) -> None:
    """Read an index that this process has just written, without a limit, to find out whether the file is whole."""
    import faiss

    with reading:
        faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)


if hasattr(os, "register_at_fork"):  # a lock of another thread would stay locked in the child
    os.register_at_fork(before=reading.acquire, after_in_parent=reading.release, after_in_child=reading.release)


@contextmanager
def _limited_to(path: Path, card: IndexCard) -> Iterator[None]:
    """Limit FAISS to vectors no larger than the file, and to no more lists than the file has room for centroids."""
    import faiss

    n_bytes = disk.size(path)
    with reading:
        before = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
        faiss.set_deserialization_vector_byte_limit(n_bytes)
        faiss.set_deserialization_loop_limit(max(1, n_bytes // (_FLOAT_BYTES * max(1, card.dim))))
        try:
            yield
        finally:
            faiss.set_deserialization_vector_byte_limit(before[0])
            faiss.set_deserialization_loop_limit(before[1])


def _check(path: Path, index: Any, card: IndexCard, lists: type) -> None:
    """Check the kind and the size of an index and of all its parts; ids and vectors are not checked."""
    import faiss as untyped

    faiss: Any = untyped
    if type(index) is not faiss.IndexIDMap:
        raise damage(path, "it does not say which items it holds")
    inner = faiss.downcast_index(index.index)
    if type(inner).__name__ != _TYPES.get(card.kind):
        raise damage(path, f"it is no index of the kind {card.kind!r}")
    if (index.d, inner.d, index.ntotal, inner.ntotal, index.id_map.size()) != (card.dim,) * 2 + (card.n,) * 3:
        raise damage(path, "it is not of the size that its card says")
    if inner.metric_type != (faiss.METRIC_L2 if card.kind == "hnsw" else faiss.METRIC_INNER_PRODUCT):
        raise damage(path, "it does not order vectors by their cosines")
    if card.kind == "flat":
        _check_flat(path, inner, faiss.IndexFlatIP, card.n, card.dim)
    elif card.kind == "hnsw":
        _check_flat(path, faiss.downcast_index(inner.storage), faiss.IndexFlatL2, card.n, card.dim)
    else:
        n_lists = card.parameters.get("n_lists", -1)
        _check_flat(path, faiss.downcast_index(inner.quantizer), faiss.IndexFlatIP, n_lists, card.dim)
        _check_lists(path, inner, card, lists)


def _check_flat(path: Path, flat: Any, expected: type, n: int, dim: int) -> None:
    """Raise DamagedError unless a part is a flat index of n float32 vectors."""
    if type(flat) is not expected:
        raise damage(path, "it does not hold its vectors as they are written")
    if (flat.d, flat.ntotal, flat.codes.size()) != (dim, n, _FLOAT_BYTES * n * dim):
        raise damage(path, "it is not of the size that its card says")


def _check_lists(path: Path, inner: Any, card: IndexCard, expected: type) -> None:
    """Raise DamagedError unless the inverted lists and codes have the expected types and sizes."""
    import faiss as untyped

    faiss: Any = untyped
    if type(faiss.downcast_InvertedLists(inner.invlists)) is not expected:
        raise damage(path, "it has no lists of the kind that is written")
    lists, codes = faiss.downcast_InvertedLists(inner.invlists), inner.sq
    n_lists = card.parameters.get("n_lists", -1)
    sizes = (inner.nlist, lists.nlist, inner.code_size, lists.code_size, codes.code_size, codes.d, codes.trained.size())
    if sizes != (n_lists,) * 2 + (card.dim,) * 4 + (2 * card.dim,):
        raise damage(path, "its lists or codes are not of the size that its card says")


def check_positions(path: Path, inner: Any, n: int) -> None:
    """Check that the lists of an ``ivf`` index contain each of n positions exactly once; this reads the whole file."""
    import faiss

    lists = inner.invlists
    found = [faiss.rev_swig_ptr(lists.get_ids(i), lists.list_size(i)) for i in range(lists.nlist) if lists.list_size(i)]
    if not np.array_equal(np.sort(np.concatenate([np.empty(0, np.int64), *found])), np.arange(n)):
        raise damage(path, "its lists do not hold each vector once")


def damage(path: Path, what: str) -> DamagedError:
    """Return the error for an index file that is damaged."""
    return DamagedError(f"{path} is damaged: {what}. {REMEDY}")
