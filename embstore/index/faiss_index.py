"""Build, save, load and search the three kinds of FAISS index; vectors are addressed by position.

All vectors are unit vectors, so that their inner products are cosines. A graph is linked and searched by Euclidean
distances, which are in the same order: where a dimension dominates, all cosines are nearly 1, and float32 products
cannot tell them apart. An index of compressed vectors only finds candidates, and :class:`FaissIndex` computes their
cosines.
"""

import errno
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from zlib_ng.zlib_ng import crc32

from embstore.base import disk
from embstore.base.arrays import Positions, slices
from embstore.base.errors import FileAccessError, StoreError
from embstore.index import structure
from embstore.index.card import FLAT_BYTES, Design, IndexCard
from embstore.index.exact_search import (
    Gather,
    Ids,
    Units,
    Vectors,
    candidates,
    candidates_by_distance,
    inner_products,
    ordered,
    unit_vectors,
)
from embstore.index.flat import Index
from embstore.index.structure import check_positions, damage

if TYPE_CHECKING:
    import faiss


# Groups of up to 64 vectors are not divided: they fill a few pages. A leader has at least 32 followers on average.
_UNDIVIDED, _FOLLOWERS = 64, 32
_DEPTH = 4  # limit of the recursion, for vectors that cannot be divided well
_ASSIGNED_BYTES = 8 << 20  # size of the vectors that are assigned at once


def similarity_order(units: Units) -> Positions:
    """Return a permutation (n,) of the vectors in which similar ones are adjacent.

    Each vector is assigned to the nearest of √n leaders, which are vectors themselves; the groups are divided
    recursively in the same way, and the members of the last groups are sorted by their cosine to the leader. Cost: n √n
    products.
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


def _nearest(units: Units, members: Positions, leaders: Positions) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
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


def make(design: Design, dim: int, trained_on: Units, n: int = 0) -> "faiss.IndexIDMap":
    """Return an empty index."""
    import faiss

    if design.kind == "flat":
        flat = faiss.IndexFlatIP(dim)
        _reserve(flat, n)
        return faiss.IndexIDMap(flat)
    if design.kind == "hnsw":
        graph = faiss.IndexHNSWFlat(dim, design.parameters["m"], faiss.METRIC_L2)
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
    """Reorder the vectors of a graph so that similar ones are adjacent in memory and on disk.

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
    """Write an index to a file."""
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
    """Return the index stored in a file."""
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


def find(
    inner: Any, kind: str, units: Units, k: int, effort: dict[str, int], members: NDArray[np.bool_] | None = None
) -> tuple[Ids, Units]:
    """Search an index by position, with the effort of its card, among the members of a mask (n_total,) or all.

    Returns:
        Positions and squared distances (of a graph) or inner products, each (n, k), best first; position -1 where
        fewer were found.
    """
    import faiss as untyped  # its stubs lack what its Python layer adds

    faiss: Any = untyped
    selected = {}
    if members is not None:
        selected["sel"] = faiss.IDSelectorBitmap(np.packbits(members, bitorder="little"))
    parameters = None
    if kind == "hnsw":
        parameters = faiss.SearchParametersHNSW(efSearch=max(k, effort["ef_search"]), **selected)
    elif kind == "ivf":
        parameters = faiss.SearchParametersIVF(nprobe=effort["n_probe"], **selected)
    elif members is not None:
        parameters = faiss.SearchParameters(**selected)
    products, positions = inner.search(units, k, params=parameters)
    return positions, products


def _unread(path: Path, card: IndexCard, error: Exception) -> StoreError:
    """Return the error for a file that FAISS cannot read: damaged, or too large for memory if its SHA-256 is right."""
    if isinstance(error, MemoryError) and disk.sha256(path) == card.sha256:
        return FileAccessError(path, errno.ENOMEM)
    return structure.damage(path, "FAISS cannot read it")


TUNED_K = 10
_SCANNED_BYTES = 256 << 10  # size of the vectors that are compared at once: they stay in the processor's cache
# A graph search computes about 16 distances per candidate; scanning all members may need fewer.
_DISTANCES_PER_CANDIDATE = 16


@dataclass(eq=False)
class FaissIndex(Index):
    """Searchable index of one layer, approximate: a graph, or codes in lists."""

    _index: "faiss.IndexIDMap"
    kind: str
    dim: int
    effort: dict[str, int]
    layer: int
    path: Path | None = None

    @classmethod
    def open(cls, path: Path, card: IndexCard) -> Self:
        """Open an index file, memory-mapped, and check it against its card."""
        return cls(load(path, card), card.kind, card.dim, card.effort, card.layer, path)

    def check_positions(self) -> None:
        """Raise DamagedError unless the lists of an ``ivf`` index contain each of its vectors exactly once."""
        if self.kind == "ivf" and self.path is not None:
            check_positions(self.path, self._inner, len(self.ids))

    @cached_property
    def ids(self) -> Ids:
        """Item id of each position (n,)."""
        import faiss

        ids: Ids = faiss.rev_swig_ptr(self._index.id_map.data(), self._index.id_map.size())
        return ids

    @cached_property
    def _inner(self) -> Any:
        return inner_of(self._index)

    @property
    def n_lists(self) -> int:
        """Number of lists of an ``ivf`` index."""
        return int(self._inner.nlist)

    def _units_at(self, positions: Positions) -> Units:
        units: Units = inner_storage(self._inner).reconstruct_batch(positions)
        return units

    def agrees(self, item: int, vector: Vectors) -> bool:
        """Return whether the indexed vector of an item has the direction of the given vector (dim,).

        Always True for ``ivf``, which stores no vectors: its cosines are computed from the shards.
        """
        return self.kind == "ivf" or super().agrees(item, vector)

    def search(
        self, queries: Vectors, k: int, *, members: NDArray[np.bool_] | None = None, gather: Gather | None = None
    ) -> tuple[Ids, NDArray[np.floating]]:
        """Return the nearest items of each query; see :meth:`Index.search`."""
        units = unit_vectors(queries)
        n = len(self.ids) if members is None else int(members.sum())
        k = min(k, max(1, n))
        effort = self._effort(k, n)
        if self.kind == "ivf":
            if gather is None:
                raise TypeError("an index of codes needs the vectors of its candidates")
            if members is not None:  # lists without an allowed item are of no use, and their number is unknown
                effort["n_probe"] = math.ceil(effort["n_probe"] * len(self.ids) / max(1, n))
            positions, _ = self._find(units, min(max(k, effort["n_exact"]), max(1, n)), effort, members)
            self._ids_at(positions)  # of a damaged index some may be out of range
            return self._ranked(queries, [row[row >= 0] for row in positions], k, gather)
        if members is not None and (is_few(n, self.dim) or n <= _DISTANCES_PER_CANDIDATE * effort["ef_search"]):
            return self._ranked(queries, self._scan(queries, units, k, members), k, gather)
        # Also those that were visited anyway: float32 may put some of the nearest behind others.
        width = k if gather is None else min(max(k, effort["ef_search"]), max(1, n))
        positions, squares = self._find(units, width, effort, members)
        ids = self._ids_at(positions)
        if members is not None and (ids[:, :k] < 0).any():
            return self._ranked(queries, self._scan(queries, units, k, members), k, gather)
        if gather is None:
            ids, negative = ordered(ids, -squares)
            return ids, 1 + negative / 2
        n_found = (positions >= 0).sum(axis=1)
        rows = zip(positions, squares, n_found, strict=True)
        near = [found[candidates_by_distance(square[:count], k, self.dim)] for found, square, count in rows]
        return self._ranked(queries, near, k, gather)

    def _find(
        self, units: Units, k: int, effort: dict[str, int], members: NDArray[np.bool_] | None
    ) -> tuple[Ids, Units]:
        """Search by position as in :func:`.find`; an error of FAISS means that the file is damaged."""
        try:
            return find(self._inner, self.kind, units, k, effort, members)
        except RuntimeError as error:
            if self.path is None:
                raise
            raise disk.quoted_error(str(error), self.path) or damage(self.path, "FAISS cannot search it") from error

    def _scan(self, queries: Vectors, units: Units, k: int, members: NDArray[np.bool_]) -> list[Positions]:
        """Return the positions of all members that can be among the k nearest of each query."""
        positions, near = np.flatnonzero(members), []
        products = np.empty((len(units), len(positions)), np.float32)
        for part in slices(len(positions), max(1, _SCANNED_BYTES // (4 * self.dim))):
            products[:, part] = inner_products(self._units_at(positions[part]), units)
        for row, query in enumerate(queries):
            found = positions[candidates(products[row], k, self.dim)]
            near.append(self._narrowed(found, query, k))
        return near

    def _effort(self, k: int, n: int) -> dict[str, int]:
        """Return the search parameters for k of n allowed items: in proportion, since other items are visited too."""
        scale = max(1.0, k / (TUNED_K + 1))
        if self.kind == "hnsw":
            return {"ef_search": math.ceil(self.effort["ef_search"] * scale * len(self.ids) / max(1, n))}
        return {
            "n_probe": math.ceil(self.effort["n_probe"] * scale),
            "n_exact": math.ceil(self.effort["n_exact"] * scale),
        }

    def _ids_at(self, positions: Ids) -> Ids:
        """Return the item ids at positions of any shape; -1 where the position is -1."""
        if not len(self.ids):
            return np.full_like(positions, -1)
        lowest = positions.min(initial=0)
        try:
            ids: Ids = self.ids[positions]
        except IndexError:
            lowest = -2
        if lowest < -1:
            raise damage(self.path or Path("the index"), "it names positions that it does not have")
        return ids if lowest == 0 else np.where(positions >= 0, ids, -1)


def is_few(n: int, dim: int) -> bool:
    """Return whether n vectors are few enough for an exact scan, which then takes about 50 ms."""
    return 4 * n * dim <= FLAT_BYTES
