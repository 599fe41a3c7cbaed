"""Make, reorder, save, load and search the FAISS indexes; vectors are addressed by position.

All vectors are unit vectors, so that their inner products are cosines. A graph is linked and
searched by Euclidean distances, which are in the same order: where a dimension dominates, all
cosines are nearly 1, and float32 products cannot tell them apart.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embstore.base import disk
from embstore.base.arrays import Float32Array, Ids, Mask, Positions
from embstore.index.card import Design, IndexCard
from embstore.index.exact_search import Units
from embstore.storage.cache import StoredFile

if TYPE_CHECKING:
    import faiss

# Groups of up to 64 vectors are not divided: they fill a few pages. A leader has at least 32
# followers on average.
_UNDIVIDED, _FOLLOWERS = 64, 32
_DEPTH = 4  # limit of the recursion, for vectors that cannot be divided well
_ASSIGNED_BYTES = 8 << 20  # size of the vectors that are assigned at once


def similarity_order(units: Units) -> Positions:
    """Return a permutation (n,) of the vectors in which similar ones are adjacent.

    Each vector is assigned to the nearest of √n leaders, which are vectors themselves; the groups
    are divided recursively in the same way, and the members of the last groups are sorted by their
    cosine to the leader. Cost: n √n products.
    """
    return np.concatenate([*_ordered(units, np.arange(len(units)), _DEPTH)])


def _ordered(units: Units, members: Positions, depth: int) -> Iterator[Positions]:
    """Yield groups of similar members, divided recursively down to a depth."""
    leaders = members[:: max(_FOLLOWERS, math.isqrt(len(members)))]
    leader, cosine = _nearest(units, members, leaders)
    order = np.lexsort((-cosine, leader))
    groups = np.split(members[order], np.flatnonzero(np.diff(leader[order])) + 1)
    for group in groups:
        if len(group) <= _UNDIVIDED or len(group) == len(members) or depth == 1:
            yield group
        else:
            yield from _ordered(units, group, depth - 1)


def _nearest(
    units: Units, members: Positions, leaders: Positions
) -> tuple[Positions, Float32Array]:
    """Return the index of the nearest leader of each member (n,), and the cosine with it."""
    import faiss

    leader = np.empty(len(members), np.int64)
    cosine = np.empty(len(members), np.float32)
    rows = max(256, _ASSIGNED_BYTES // (4 * units.shape[1]))
    for start in range(0, len(members), rows):
        part = slice(start, start + rows)
        found = faiss.knn(units[members[part]], units[leaders], 1, faiss.METRIC_INNER_PRODUCT)
        cosine[part], leader[part] = found[0][:, 0], found[1][:, 0]
    return leader, cosine


_COLUMNS = 16  # components that are permuted at once: a line of the processor's cache


def make(design: Design, dim: int, n: int = 0) -> "faiss.IndexIDMap":
    """Return an empty index with room for n vectors."""
    import faiss

    inner: Any = faiss.IndexFlatIP(dim)
    if design.kind == "hnsw":
        inner = faiss.IndexHNSWFlat(dim, design.parameters["m"], faiss.METRIC_L2)
    _reserve(storage_of(inner), n)
    index = faiss.IndexIDMap(inner)
    prepare(index, design)
    return index


def _reserve(flat: Any, n: int) -> None:
    """Reserve memory for n vectors: a buffer that grows by doubling takes up to three times its
    size meanwhile.
    """
    flat.codes.resize(n * flat.code_size)
    flat.codes.resize(0)


def prepare(index: "faiss.IndexIDMap", design: Design) -> None:
    """Set the construction parameters of a graph, which its file does not store."""
    if design.kind == "hnsw":
        inner_of(index).hnsw.efConstruction = design.parameters["ef_construction"]


def reorder(index: "faiss.IndexIDMap") -> None:
    """Reorder the vectors of a graph so that similar ones are adjacent in memory and on disk.

    The links between vectors, and so the results of a search, do not change.
    """
    import faiss

    graph = inner_of(index)
    units = units_of(graph)
    order = similarity_order(units)
    graph.hnsw.permute_entries(faiss.swig_ptr(order))
    # Column by column, since FAISS would copy all vectors.
    for start in range(0, graph.d, _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        units[:, columns] = units[order, columns]
    ids = ids_of(index)
    ids[:] = ids[order]


def save(index: "faiss.IndexIDMap", path: Path) -> None:
    """Write an index to a file."""
    import faiss as untyped  # its stubs lack what its Python layer adds

    faiss: Any = untyped
    with disk.writing(
        path
    ) as file:  # FAISS itself only prints a line where the closing of a file fails
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))


def load(file: StoredFile, card: IndexCard, *, mapped: bool = True) -> "faiss.IndexIDMap":
    """Return the index in a file: a flat index, or a graph over one, of as many vectors as its card
    says.

    FAISS reads whatever a file declares: any kind of index nested in any other, with lists in other
    files.
    """
    import faiss as untyped

    faiss: Any = untyped
    # The first flag maps the vectors. With it, the second makes FAISS refuse lists that are in
    # another file.
    flags = faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_ONDISK_SAME_DIR | faiss.IO_FLAG_READ_ONLY
    try:
        with file.opened() as path:
            index: untyped.IndexIDMap = faiss.read_index(str(path), flags)
            if not _is_sound(index, card):
                raise file.damage("it is no index of the kind and size in the manifest")
            return index if mapped else faiss.read_index(str(path))
    except RuntimeError as error:
        file.compare()  # a system error shows itself
        raise file.damage("FAISS cannot read it") from error


def _is_sound(index: Any, card: IndexCard) -> bool:
    """Return whether an index and its parts have the kinds and sizes in its card."""
    import faiss

    if type(index) is not faiss.IndexIDMap:
        return False
    inner = inner_of(index)
    storage = storage_of(inner)
    kinds = (type(inner), type(storage))
    if kinds != (
        (faiss.IndexHNSWFlat, faiss.IndexFlatL2)
        if card.kind == "hnsw"
        else (faiss.IndexFlatIP,) * 2
    ):
        return False
    parts = (index, inner, storage)
    sizes = {
        index.id_map.size(),
        storage.codes.size() // (4 * card.dim),
        *(part.ntotal for part in parts),
    }
    is_same_metric = inner.metric_type == storage.metric_type
    return is_same_metric and sizes == {card.n} and {part.d for part in parts} == {card.dim}


def inner_of(index: "faiss.IndexIDMap") -> Any:
    """Return the wrapped FAISS index, which addresses vectors by position rather than by id."""
    import faiss

    return faiss.downcast_index(index.index)


def ids_of(index: "faiss.IndexIDMap") -> Ids:
    """Return the item id of each position (n,) of an index, as a view."""
    import faiss

    ids: Ids = faiss.rev_swig_ptr(index.id_map.data(), index.id_map.size())
    return ids


def storage_of(inner: Any) -> Any:
    """Return the flat index that stores the vectors: itself, or that of a graph."""
    import faiss

    return faiss.downcast_index(inner.storage) if isinstance(inner, faiss.IndexHNSWFlat) else inner


def units_of(inner: Any) -> Units:
    """Return the vectors (n, dim) of an index, as a view; of one that is memory-mapped they may not
    be aligned.
    """
    import faiss

    codes = storage_of(inner).codes
    units: Units = (
        faiss.rev_swig_ptr(codes.data(), codes.size())
        .view(np.float32)
        .reshape(inner.ntotal, inner.d)
    )
    return units


def find(
    graph: Any, units: Units, k: int, effort: int, members: Mask | None = None
) -> tuple[Positions, Float32Array]:
    """Search a graph by position with a search width, among the members of a mask (n_total,) or
    all.

    Returns:
        Positions and squared distances, each (n, k), nearest first; position -1 where fewer were
        found.
    """
    import faiss as untyped  # its stubs lack what its Python layer adds

    faiss: Any = untyped
    selected = {}
    if members is not None:
        selected["sel"] = faiss.IDSelectorBitmap(np.packbits(members, bitorder="little"))
    squares, positions = graph.search(
        units, k, params=faiss.SearchParametersHNSW(efSearch=max(k, effort), **selected)
    )
    return positions, squares
