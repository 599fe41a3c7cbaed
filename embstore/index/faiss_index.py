"""FAISS behind three kinds of index: made, filled, opened and searched, by position.

Vectors are unit vectors and products of them cosines. What compresses the vectors finds candidates only: their cosines
are computed by :class:`.searching.Index`.
"""

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from zlib_ng.zlib_ng import crc32

from embstore import disk
from embstore.errors import FileAccessError, StoreError
from embstore.index import structure
from embstore.index.card import IndexCard
from embstore.index.hnsw_layout import near_together
from embstore.index.policy import Design
from embstore.index.vectors import Ids, Units

if TYPE_CHECKING:
    import faiss

_COLUMNS = 16  # floats of a vector that are moved at once: a line of the processor's cache


def make(design: Design, dim: int, trained_on: Units, n: int = 0) -> "faiss.IndexIDMap":
    """Return an empty index.

    Args:
        design: of it.
        dim: components of a vector.
        trained_on: unit vectors (n, dim) on which ``ivf`` is trained.
        n: how many vectors will be added, as far as that is known.
    """
    import faiss

    if design.kind == "flat":
        flat = faiss.IndexFlatIP(dim)
        _reserve(flat, n)
        return faiss.IndexIDMap(flat)
    if design.kind == "hnsw":
        graph = faiss.IndexHNSWFlat(dim, design.parameters["m"], faiss.METRIC_INNER_PRODUCT)
        prepare(graph, design.parameters)
        _reserve(inner_storage(graph), n)
        return faiss.IndexIDMap(graph)
    centres = faiss.IndexFlatIP(dim)
    lists = faiss.IndexIVFScalarQuantizer(
        centres, dim, design.parameters["n_lists"], faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    lists.cp.spherical = True
    lists.cp.min_points_per_centroid, lists.cp.max_points_per_centroid = 1, len(trained_on)  # else FAISS warns
    lists.train(trained_on)
    return faiss.IndexIDMap(lists)


def _reserve(flat: Any, n: int) -> None:
    """Take the memory of n vectors: else it grows by doubling, and takes up to three times what it holds meanwhile."""
    flat.codes.resize(n * flat.code_size)
    flat.codes.resize(0)


def prepare(graph: Any, parameters: dict[str, int]) -> None:
    """Set how vectors are added to a graph, which its file does not say."""
    graph.hnsw.efConstruction = parameters["ef_construction"]


def bring_together(index: "faiss.IndexIDMap") -> None:
    """Lay near vectors of a graph near each other in memory, and so in its file: see :mod:`.order`.

    Which vectors are linked, and so what a search finds, stays the same.
    """
    import faiss

    graph = inner_of(index)
    units = units_of(graph)
    order = near_together(units)
    graph.hnsw.permute_entries(faiss.swig_ptr(order))
    for start in range(0, graph.d, _COLUMNS):  # FAISS would copy all vectors
        some = slice(start, start + _COLUMNS)
        units[:, some] = units[order, some]
    ids = faiss.rev_swig_ptr(index.id_map.data(), index.id_map.size())
    ids[:] = ids[order]


def save(index: "faiss.IndexIDMap", path: Path) -> None:
    """Write an index to a file.

    Raises:
        FileAccessError: the disk is full, or cannot be written.
    """
    import faiss

    try:
        with disk.opening(path, "create"):
            faiss.write_index(index, str(path))
    except RuntimeError as error:
        # FAISS raises RuntimeError for a failed write; only the words in its text tell a full disk from the rest.
        code = errno.ENOSPC if "write error" in str(error) else errno.EIO
        raise disk.quoted(str(error), path, writing=True) or FileAccessError(path, code, writing=True) from error
    try:  # of what a full disk does not take when the file is closed FAISS only prints a line
        with disk.opening(path):
            faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except (RuntimeError, MemoryError) as error:
        raise disk.quoted(str(error), path) or FileAccessError(path, errno.ENOSPC, writing=True) from error


def load(path: Path, card: IndexCard, *, mapped: bool = True) -> "faiss.IndexIDMap":
    """Return the index in a file.

    Args:
        path: the file.
        card: of the index.
        mapped: memory-mapped: what is not searched is not read. False reads all, to add to it.

    Raises:
        DamagedError: FAISS cannot read it, or it is not what its card says.
    """
    try:
        with disk.opening(path):
            return structure.read(path, card, mapped=mapped)
    except (RuntimeError, MemoryError) as error:
        raise disk.quoted(str(error), path) or _unread(path, card, error) from error


def crc32_of(index: "faiss.IndexIDMap") -> int:
    """Return the CRC-32 of the vectors and ids of a flat index: of all of it that an answer depends on."""
    import faiss

    flat = inner_of(index)
    codes = faiss.rev_swig_ptr(flat.codes.data(), flat.codes.size())
    ids = faiss.rev_swig_ptr(index.id_map.data(), index.id_map.size())
    return int(crc32(ids.view(np.uint8), crc32(codes)))


def check_crc32(path: Path, index: "faiss.IndexIDMap", card: IndexCard) -> None:
    """Raise DamagedError if a flat index is not the one of its card, as far as that says.

    It is read whole, which its first search does too: what is memory-mapped comes from the disk once.
    """
    if card.crc32 is not None and card.is_exact and crc32_of(index) != card.crc32:
        raise structure.damage(path, "its CRC-32 is not the one in its card")


def inner_of(index: "faiss.IndexIDMap") -> Any:
    """Return the index that knows positions, not ids."""
    import faiss

    return faiss.downcast_index(index.index)


def inner_storage(graph: Any) -> Any:
    """Return the flat index of the vectors that a graph links."""
    import faiss

    return faiss.downcast_index(graph.storage)


def units_of(graph: Any) -> Units:
    """Return the vectors (n, dim) of a graph in memory, not a copy of them."""
    import faiss

    codes = inner_storage(graph).codes
    units: Units = faiss.rev_swig_ptr(codes.data(), codes.size()).view(np.float32).reshape(graph.ntotal, graph.d)
    return units


def find(
    inner: Any, kind: str, units: Units, k: int, effort: dict[str, int], members: NDArray[np.bool_] | None = None
) -> tuple[Ids, Units]:
    """Search by position.

    Args:
        inner: the index.
        kind: of it.
        units: unit vectors (n, dim).
        k: how many.
        effort: what to spend: see :class:`.card.IndexCard`.
        members: which positions may be found (n_total,); None for all.

    Returns:
        Positions and products, each (n, k), best first; position -1 where fewer were found.
    """
    parameters = None if members is None and kind == "flat" else _parameters(kind, k, effort, members)
    products, positions = inner.search(units, k, params=parameters)
    return positions, products


def _parameters(kind: str, k: int, effort: dict[str, int], members: NDArray[np.bool_] | None) -> Any:
    import faiss as untyped  # its stubs lack what its Python layer adds

    faiss: Any = untyped
    selected = {}
    if members is not None:
        selected["sel"] = faiss.IDSelectorBitmap(np.packbits(members, bitorder="little"))
    if kind == "hnsw":
        return faiss.SearchParametersHNSW(efSearch=max(k, effort["ef_search"]), **selected)
    if kind == "ivf":
        return faiss.SearchParametersIVF(nprobe=effort["n_probe"], **selected)
    return faiss.SearchParameters(**selected)


def _unread(path: Path, card: IndexCard, error: Exception) -> StoreError:
    """Return the error for a file that FAISS does not read: it is damaged, unless memory lacks for one as written."""
    if isinstance(error, MemoryError) and disk.sha256(path) == card.sha256:
        return FileAccessError(path, errno.ENOMEM)
    return structure.damage(path, "FAISS cannot read it")
