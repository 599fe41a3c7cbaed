"""Read an index file that may be malicious: accept only the two structures that embstore writes.

FAISS reads whatever a file declares: any kind of index nested in any other, with lists in other files. All but a flat
index and a graph over one are refused before they are searched.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from embstore.base.errors import DamagedError
from embstore.index.card import REMEDY, IndexCard

if TYPE_CHECKING:
    import faiss

_FLOAT_BYTES = 4


def read(path: Path, card: IndexCard, *, mapped: bool) -> "faiss.IndexIDMap":
    """Return the index in a file after a check of its structure."""
    import faiss as untyped  # its stubs lack what its Python layer adds

    faiss: Any = untyped
    # The first flag maps the vectors. With it, the second makes FAISS refuse lists that are in another file.
    flags = faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_ONDISK_SAME_DIR | faiss.IO_FLAG_READ_ONLY
    index: untyped.IndexIDMap = faiss.read_index(str(path), flags)
    _check(path, index, card)
    return index if mapped else faiss.read_index(str(path))


def _check(path: Path, index: Any, card: IndexCard) -> None:
    """Check the kind and the size of an index and of all its parts; ids and vectors are not checked."""
    import faiss as untyped

    faiss: Any = untyped
    if type(index) is not faiss.IndexIDMap:
        raise damage(path, "it does not say which items it holds")
    inner = storage = faiss.downcast_index(index.index)
    inner_type, storage_type = faiss.IndexFlatIP, faiss.IndexFlatIP
    if card.kind == "hnsw":
        inner_type, storage_type = faiss.IndexHNSWFlat, faiss.IndexFlatL2
    if type(inner) is not inner_type:
        raise damage(path, f"it is no index of the kind {card.kind!r}")
    if card.kind == "hnsw":
        storage = faiss.downcast_index(inner.storage)
    if type(storage) is not storage_type or inner.metric_type != storage.metric_type:
        raise damage(path, "it does not hold its vectors as they are written")
    sizes = (index.d, index.ntotal, index.id_map.size(), inner.d, inner.ntotal, storage.d, storage.ntotal)
    n_bytes = _FLOAT_BYTES * card.n * card.dim
    if sizes != (card.dim, card.n, card.n, *(card.dim, card.n) * 2) or storage.codes.size() != n_bytes:
        raise damage(path, "it is not of the size that its card says")


def damage(path: Path, what: str) -> DamagedError:
    """Return the error for an index file that is damaged."""
    return DamagedError(f"{path} is damaged: {what}. {REMEDY}")
