"""Make, save, load and search the FAISS indexes; vectors are addressed by position.

An index holds the unit vectors of a layer, less their mean, in half precision. Their Euclidean
distances are in the order of the cosines, and do not depend on what is subtracted; what is left of
vectors that are nearly parallel is small, and so is its rounding error.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embstore.base import disk
from embstore.base.arrays import Float32Array, Ids, Mask, Positions, rounding_error_bound
from embstore.index.card import Design, IndexCard
from embstore.index.exact_search import UNIT_ROUNDING, Units
from embstore.storage.cache import StoredFile

if TYPE_CHECKING:
    from faiss import IndexIDMap

# Bound on the norm of the error of a vector less the mean, before it is halved: that of the unit
# vector, and that of the difference, whose norm is at most 2.
_ROUNDING = 3 * UNIT_ROUNDING

Residuals = NDArray[np.float16]
"""Unit vectors less their mean."""


def make(design: Design, mean: Float32Array, n: int = 0) -> "IndexIDMap":
    """Return an empty index with room for n vectors, from which a mean (dim,) is subtracted."""
    faiss = _library()
    dim, half = len(mean), faiss.ScalarQuantizer.QT_fp16
    inner = faiss.IndexScalarQuantizer(dim, half, faiss.METRIC_L2)
    if design.kind == "hnsw":
        inner = faiss.IndexHNSWSQ(dim, half, design.parameters["m"], faiss.METRIC_L2)
    # A buffer that grows by doubling takes up to three times its size meanwhile.
    codes = storage_of(inner).codes
    codes.resize(2 * dim * n)
    codes.resize(0)
    centering = faiss.CenteringTransform(dim)
    faiss.copy_array_to_vector(mean, centering.mean)
    centering.is_trained = True  # which training on vectors would set
    index: IndexIDMap = faiss.IndexIDMap(faiss.IndexPreTransform(centering, inner))
    prepare(index, design)
    return index


def _library() -> Any:
    """Return FAISS, whose stubs lack what its Python layer adds."""
    import faiss

    return faiss


def add(index: "IndexIDMap", ids: Ids, units: Units) -> float:
    """Add unit vectors (n, dim) to an index, and return a bound on the error of distances between
    them and queries.
    """
    n = index.ntotal
    index.add_with_ids(units, ids)
    errors = units - mean_of(index) - residuals_of(inner_of(index))[n:]
    largest = float(np.vecdot(errors, errors).max(initial=0.0))
    return math.sqrt(largest) * (1 + rounding_error_bound(index.d, np.float32)) + 2 * _ROUNDING


def prepare(index: "IndexIDMap", design: Design) -> None:
    """Set the construction parameters of a graph, which its file does not store."""
    if design.kind == "hnsw":
        inner_of(index).hnsw.efConstruction = design.parameters["ef_construction"]


def save(index: "IndexIDMap", path: Path) -> None:
    """Write an index to a file."""
    faiss = _library()
    # FAISS itself only prints a line where the closing of a file fails.
    with disk.writing(path) as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))


def load(file: StoredFile, card: IndexCard, *, mapped: bool = True) -> "IndexIDMap":
    """Return the index in a file: a flat index, or a graph over one, of as many vectors as its card
    says.

    FAISS reads whatever a file declares: any kind of index nested in any other, with lists in other
    files.
    """
    faiss = _library()
    # The first flag maps the vectors. With it, the second makes FAISS refuse lists that are in
    # another file.
    flags = faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_ONDISK_SAME_DIR | faiss.IO_FLAG_READ_ONLY
    try:
        with file.opened() as path:
            index: IndexIDMap = faiss.read_index(str(path), flags)
            if not _is_sound(index, card):
                raise file.damage("it is no index of the kind and size in the manifest")
            return index if mapped else faiss.read_index(str(path))
    except RuntimeError as error:
        file.compare()  # a system error shows itself
        raise file.damage("FAISS cannot read it") from error


def _is_sound(index: Any, card: IndexCard) -> bool:
    """Return whether an index and its parts have the kinds and sizes in its card."""
    faiss = _library()
    if type(index) is not faiss.IndexIDMap:
        return False
    outer = faiss.downcast_index(index.index)
    if type(outer) is not faiss.IndexPreTransform or outer.chain.size() != 1:
        return False
    centering, inner = _centering(outer), faiss.downcast_index(outer.index)
    storage = storage_of(inner)
    quantizer = faiss.IndexScalarQuantizer
    kind = faiss.IndexHNSWSQ if card.kind == "hnsw" else quantizer
    if (type(centering), type(inner), type(storage)) != (faiss.CenteringTransform, kind, quantizer):
        return False
    parts = index, outer, inner, storage
    dims = centering.d_in, centering.d_out, centering.mean.size(), *(part.d for part in parts)
    return (
        {*dims, storage.sq.d} == {card.dim}
        and {index.id_map.size(), *(part.ntotal for part in parts)} == {card.n}
        and {inner.metric_type, storage.metric_type} == {faiss.METRIC_L2}
        and storage.sq.qtype == faiss.ScalarQuantizer.QT_fp16
        and {storage.sq.code_size, storage.code_size} == {2 * card.dim}
        and storage.codes.size() == 2 * card.dim * card.n
    )


def inner_of(index: "IndexIDMap") -> Any:
    """Return the FAISS index that addresses what is left of the vectors by position."""
    faiss = _library()
    return faiss.downcast_index(faiss.downcast_index(index.index).index)


def mean_of(index: "IndexIDMap") -> Float32Array:
    """Return the mean (dim,) that is subtracted from the vectors of an index."""
    faiss = _library()
    mean: Float32Array = faiss.vector_to_array(_centering(faiss.downcast_index(index.index)).mean)
    return mean


def _centering(outer: Any) -> Any:
    """Return the transform that subtracts the mean."""
    return _library().downcast_VectorTransform(outer.chain.at(0))


def ids_of(index: "IndexIDMap") -> Ids:
    """Return the item id of each position (n,) of an index, as a view."""
    import faiss

    ids: Ids = faiss.rev_swig_ptr(index.id_map.data(), index.id_map.size())
    return ids


def storage_of(inner: Any) -> Any:
    """Return the index that stores the vectors: itself, or that of a graph."""
    import faiss

    return faiss.downcast_index(inner.storage) if isinstance(inner, faiss.IndexHNSW) else inner


def residuals_of(inner: Any) -> Residuals:
    """Return the vectors less their mean (n, dim), as a view; of an index that is memory-mapped
    they may not be aligned.
    """
    import faiss

    codes = storage_of(inner).codes
    residuals: Residuals = (
        faiss.rev_swig_ptr(codes.data(), codes.size())
        .view(np.float16)
        .reshape(inner.ntotal, inner.d)
    )
    return residuals


def find(
    inner: Any, residuals: Units, k: int, effort: int = 0, members: Mask | None = None
) -> tuple[Positions, Float32Array]:
    """Search by position, among the members of a mask (n_total,) or all: all vectors, or a graph if
    its search width is given.

    Returns:
        Positions and squared distances, each (n, k), nearest first; position -1 where fewer were
        found.
    """
    parameters = _library().SearchParametersHNSW(efSearch=max(k, effort), sel=_selector(members))
    searched = inner if effort else storage_of(inner)
    with _threads(len(residuals)):
        squares, positions = searched.search(residuals, k, params=parameters)
    return positions, squares


def find_within(
    inner: Any, residual: Float32Array, square: float, members: Mask | None = None
) -> Positions:
    """Return the positions of all vectors, or members, whose squared distance is below a number."""
    parameters = _library().SearchParameters(sel=_selector(members))
    with _threads(1):
        answer = storage_of(inner).range_search(residual[None], square, params=parameters)
    positions: Positions = answer[2]
    return positions


@contextmanager
def _threads(n_queries: int) -> Iterator[None]:
    """Let the searches of this thread use no more threads than there are queries.

    FAISS divides queries among threads, not vectors: the others would have nothing to do, and it
    would wait for each to say so, several times as long as the search takes on a busy machine.
    """
    faiss = _library()
    n_threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(min(n_queries, n_threads))
    try:
        yield
    finally:
        faiss.omp_set_num_threads(n_threads)


def _selector(members: Mask | None) -> Any:
    """Return what lets FAISS search the members of a mask only; None for all."""
    if members is None:
        return None
    return _library().IDSelectorBitmap(np.packbits(members, bitorder="little"))
