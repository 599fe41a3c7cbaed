"""Build, save, load and search the three kinds of FAISS index; vectors are addressed by position.

All vectors are unit vectors, so that their inner products are cosines. An index of compressed vectors only finds
candidates, and :class:`.searching.Index` computes their cosines.
"""

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from zlib_ng.zlib_ng import crc32

from embstore.base import disk
from embstore.base.errors import FileAccessError, StoreError
from embstore.index import structure
from embstore.index.card import IndexCard
from embstore.index.hnsw_layout import similarity_order
from embstore.index.policy import Design
from embstore.index.vectors import Ids, Units

if TYPE_CHECKING:
    import faiss

_COLUMNS = 16  # components that are permuted at once: a line of the processor's cache


def make(design: Design, dim: int, trained_on: Units, n: int = 0) -> "faiss.IndexIDMap":
    """Return an empty index.

    Args:
        design: Kind and parameters of the index.
        dim: Dimension of the vectors.
        trained_on: Unit vectors (n, dim) on which ``ivf`` is trained.
        n: Expected number of vectors, or 0 if unknown.
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
    """Reserve memory for n vectors: a buffer that grows by doubling takes up to three times its size meanwhile."""
    flat.codes.resize(n * flat.code_size)
    flat.codes.resize(0)


def prepare(graph: Any, parameters: dict[str, int]) -> None:
    """Set the construction parameters of a graph, which its file does not store."""
    graph.hnsw.efConstruction = parameters["ef_construction"]


def reorder(index: "faiss.IndexIDMap") -> None:
    """Reorder the vectors of a graph so that similar ones are adjacent in memory and on disk; see :mod:`.hnsw_layout`.

    The links between vectors, and so the results of a search, do not change.
    """
    import faiss

    graph = inner_of(index)
    units = units_of(graph)
    order = similarity_order(units)
    graph.hnsw.permute_entries(faiss.swig_ptr(order))
    for start in range(0, graph.d, _COLUMNS):  # column by column, since FAISS would copy all vectors
        columns = slice(start, start + _COLUMNS)
        units[:, columns] = units[order, columns]
    ids = faiss.rev_swig_ptr(index.id_map.data(), index.id_map.size())
    ids[:] = ids[order]


def save(index: "faiss.IndexIDMap", path: Path) -> None:
    """Write an index to a file.

    Raises:
        FileAccessError: The disk is full, or the file cannot be written.
    """
    import faiss

    try:
        with disk.opening(path, "create"):
            faiss.write_index(index, str(path))
    except RuntimeError as error:
        # FAISS raises RuntimeError for a failed write; only the words in its text tell a full disk from the rest.
        code = errno.ENOSPC if "write error" in str(error) else errno.EIO
        raise disk.quoted_error(str(error), path, writing=True) or FileAccessError(path, code, writing=True) from error
    try:  # read back: where a full disk makes the closing of the file fail, FAISS only prints a line
        with disk.opening(path):
            structure.read_back(path)
    except (RuntimeError, MemoryError) as error:
        raise disk.quoted_error(str(error), path) or FileAccessError(path, errno.ENOSPC, writing=True) from error


def load(path: Path, card: IndexCard, *, mapped: bool = True) -> "faiss.IndexIDMap":
    """Return the index stored in a file.

    Args:
        path: Index file.
        card: Card of the index.
        mapped: Whether to memory-map the file, so that only the searched parts are read; False reads all of it, so that
            vectors can be added.

    Raises:
        DamagedError: FAISS cannot read the file, or it does not match the card.
    """
    try:
        with disk.opening(path):
            return structure.read(path, card, mapped=mapped)
    except (RuntimeError, MemoryError) as error:
        raise disk.quoted_error(str(error), path) or _unread(path, card, error) from error


def crc32_of(index: "faiss.IndexIDMap") -> int:
    """Return the CRC-32 of the vectors and ids of a flat index, which is all that its results depend on."""
    import faiss

    flat = inner_of(index)
    codes = faiss.rev_swig_ptr(flat.codes.data(), flat.codes.size())
    ids = faiss.rev_swig_ptr(index.id_map.data(), index.id_map.size())
    return int(crc32(ids.view(np.uint8), crc32(codes)))


def inner_of(index: "faiss.IndexIDMap") -> Any:
    """Return the wrapped FAISS index, which addresses vectors by position rather than by id."""
    import faiss

    return faiss.downcast_index(index.index)


def inner_storage(graph: Any) -> Any:
    """Return the flat index that stores the vectors of a graph."""
    import faiss

    return faiss.downcast_index(graph.storage)


def units_of(graph: Any) -> Units:
    """Return the vectors (n, dim) of a graph in memory, as a view."""
    import faiss

    codes = inner_storage(graph).codes
    units: Units = faiss.rev_swig_ptr(codes.data(), codes.size()).view(np.float32).reshape(graph.ntotal, graph.d)
    return units


def inner_products(codes: NDArray[np.uint8], queries: Units, products: Units) -> None:
    """Compute the inner products of vectors, as the bytes of a flat index, with some queries.

    Args:
        codes: Float32 vectors (n, dim) as bytes, not necessarily aligned.
        queries: Unit vectors (q, dim).
        products: Result (q, n).
    """
    import faiss as untyped  # its stubs lack what its Python layer adds

    faiss: Any = untyped
    for query, row in zip(queries, products, strict=True):
        faiss.fvec_inner_products_ny(
            faiss.swig_ptr(row), faiss.swig_ptr(query), faiss.cast_integer_to_float_ptr(codes.ctypes.data),
            len(query), len(row),
        )  # fmt: skip


def find(
    inner: Any, kind: str, units: Units, k: int, effort: dict[str, int], members: NDArray[np.bool_] | None = None
) -> tuple[Ids, Units]:
    """Search an index by position.

    Args:
        inner: FAISS index (:func:`inner_of`).
        kind: Kind of the index.
        units: Query unit vectors (n, dim).
        k: Number of neighbours.
        effort: Search parameters; see :class:`.card.IndexCard`.
        members: Mask (n_total,) of the positions that may be returned; None for all.

    Returns:
        Positions and inner products, each (n, k), best first; position -1 where fewer were found.
    """
    parameters = None if members is None and kind == "flat" else _parameters(kind, k, effort, members)
    products, positions = inner.search(units, k, params=parameters)
    return positions, products


def _parameters(kind: str, k: int, effort: dict[str, int], members: NDArray[np.bool_] | None) -> Any:
    """Return FAISS's search parameters for an effort, restricted to the members if given."""
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
    """Return the error for a file that FAISS cannot read: damaged, or too large for memory if its SHA-256 is right."""
    if isinstance(error, MemoryError) and disk.sha256(path) == card.sha256:
        return FileAccessError(path, errno.ENOMEM)
    return structure.damage(path, "FAISS cannot read it")
