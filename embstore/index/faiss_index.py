"""Build, save, load and search the three kinds of FAISS index; vectors are addressed by position.

All vectors are unit vectors, so that their inner products are cosines. An index of compressed vectors only finds
candidates, and :class:`FaissIndex` computes their cosines.
"""

import errno
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from zlib_ng.zlib_ng import crc32

from embstore.base import disk
from embstore.base.arrays import Positions, rounding_error_bound
from embstore.base.errors import FileAccessError, StoreError
from embstore.index import structure
from embstore.index.card import FLAT_BYTES, Design, IndexCard
from embstore.index.exact_search import Gather, Ids, Units, Vectors, candidates, ordered, unit_vectors
from embstore.index.flat import Index
from embstore.index.structure import check_positions, damage

if TYPE_CHECKING:
    import faiss

_SCANNED_NODES = 1 << 16  # nodes whose links are scanned at once
_COMPARED_BYTES = 16 << 20  # size of the vectors that are compared at once

Links = NDArray[np.int32]
Offsets = NDArray[np.int64]


def is_on_ground_level(graph: Any) -> NDArray[np.bool_]:
    """Return a mask (n,) of the vectors in the ground level only, without the entry point: most of them, at random."""
    import faiss

    levels = faiss.rev_swig_ptr(graph.levels.data(), graph.levels.size())
    is_ground: NDArray[np.bool_] = levels == 1
    is_ground[graph.entry_point] = False
    return is_ground


@contextmanager
def unlinked(graph: Any, units: Units, positions: Positions) -> Iterator[None]:
    """Temporarily unlink vectors of a graph, rerouting their incoming edges; restore the links at exit.

    A stored vector is easy to find, since its neighbours link to it. An unlinked one has no links, and a vector that
    linked to it links instead to that neighbour of the unlinked vector which is nearest to itself and not linked yet.
    This simplifies the deletion of Singh et al. (2021, FreshDiskANN, arXiv:2105.09613, Algorithm 4).

    Compared with queries that were never in the graph, the recall of unlinked vectors was the same within its standard
    error (about .002) for words of MiniLM in layers 0, 3 and 6, and for clustered vectors. Without clusters it is too
    high, near .99 by up to .007 (25,000 normally distributed vectors of 64 dimensions).
    """
    ground = _Ground(graph)
    is_out = np.zeros(len(units), bool)
    is_out[positions] = True
    own_offsets = ground.offsets(positions)
    incoming, replacements = ground.rerouted_links(units, is_out)
    changed = np.concatenate([own_offsets.ravel(), incoming])
    original = ground.links[changed]
    try:
        ground.links[incoming] = replacements
        ground.links[own_offsets] = -1
        yield
    finally:
        ground.links[changed] = original


class _Ground:
    """Links of the ground level of a graph."""

    def __init__(self, graph: Any) -> None:
        import faiss

        self.links: Links = faiss.rev_swig_ptr(graph.neighbors.data(), graph.neighbors.size())
        self._starts = faiss.rev_swig_ptr(graph.offsets.data(), graph.offsets.size())
        self._each = np.arange(graph.nb_neighbors(0))

    def offsets(self, nodes: Positions | Links) -> Offsets:
        """Return the offsets in ``links`` of the ground-level links of some nodes: (n, links per node)."""
        starts: Offsets = self._starts[nodes].astype(np.int64)
        return starts[:, None] + self._each

    def rerouted_links(self, units: Units, is_out: NDArray[np.bool_]) -> tuple[Offsets, Links]:
        """Return the offsets of the links that lead to unlinked vectors, and their replacements."""
        replaced, replacements = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
        for start in range(0, len(is_out), _SCANNED_NODES):
            nodes = np.arange(start, min(start + _SCANNED_NODES, len(is_out)))
            offsets = self.offsets(nodes)
            links = self.links[offsets]
            row, column = np.nonzero(is_out[links] & (links >= 0) & ~is_out[nodes][:, None])
            rows_at_once = max(1, _COMPARED_BYTES // (4 * units.shape[1] * len(self._each)))
            for first in range(0, len(row), rows_at_once):
                rows, columns = row[first : first + rows_at_once], column[first : first + rows_at_once]
                replaced.append(offsets[rows, columns])
                replacements.append(self._replace(units, is_out, nodes[rows], links[rows], links[rows, columns]))
        return np.concatenate(replaced), np.concatenate(replacements)

    def _replace(
        self, units: Units, is_out: NDArray[np.bool_], nodes: Positions, links: Links, removed: Links
    ) -> Links:
        """Return the new target of a removed link of each node (n,), the node itself if there is none."""
        candidates = self.links[self.offsets(removed)]
        is_linked = (candidates[:, :, None] == links[:, None, :]).any(axis=2)
        is_excluded = (candidates < 0) | is_out[candidates] | is_linked | (candidates == nodes[:, None])
        cosines = np.einsum("nkd,nd->nk", units[candidates], units[nodes])
        best = np.where(is_excluded, -np.inf, cosines).argmax(axis=1)
        rows = np.arange(len(nodes))
        return np.where(is_excluded[rows, best], nodes, candidates[rows, best]).astype(np.int32)


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
        Positions and inner products, each (n, k), best first; position -1 where fewer were found.
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

    def can_unlink(self, ids: Ids) -> NDArray[np.bool_]:
        """Return a mask (n,) of the items that :meth:`unlinking` accepts."""
        if self.kind != "hnsw" or not len(ids):
            return np.ones(len(ids), bool)
        return is_on_ground_level(self._inner.hnsw)[self._positions(ids)]

    @contextmanager
    def unlinking(self, ids: Ids) -> Iterator[None]:
        """Temporarily unlink items of a graph, as if they were not stored; other kinds are unchanged."""
        if self.kind != "hnsw":
            yield
            return
        with unlinked(self._inner.hnsw, units_of(self._inner), self._positions(ids)):
            yield

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
        if self.kind == "ivf" and gather is None:
            raise TypeError("an index of codes needs the vectors of its candidates")
        effort = self._effort(k, n)
        # Also those that were visited anyway: float32 may put some of the nearest behind others.
        visited = effort["ef_search" if self.kind == "hnsw" else "n_exact"] if gather is not None else k
        positions, products = self._candidates(units, k, min(max(k, visited), max(1, n)), effort, members)
        if gather is None:
            ids, cosines = ordered(self._ids_at(positions), products)
            return ids[:, :k], cosines[:, :k]
        self._ids_at(positions)  # of a damaged index some may be out of range
        near = []
        for row, query in enumerate(queries):
            found = positions[row, positions[row] >= 0]
            if self.kind == "hnsw":
                found = self._narrowed(found[candidates(products[row, : len(found)], k, self.dim)], query, k)
            near.append(found)
        return self._ranked(queries, near, k, gather)

    def _candidates(
        self, units: Units, k: int, width: int, effort: dict[str, int], members: NDArray[np.bool_] | None
    ) -> tuple[Ids, Units]:
        """Return the positions of the nearest items of each query and their inner products, (q, width) or more."""
        if members is None:
            return self._find(units, width, effort, members)
        n = int(members.sum())
        if self.kind == "ivf":  # lists without an allowed item are of no use, and their number is unknown
            wider = effort | {"n_probe": math.ceil(effort["n_probe"] * len(self.ids) / max(1, n))}
            return self._find(units, width, wider, members)
        if is_few(n, self.dim) or n <= _DISTANCES_PER_CANDIDATE * effort["ef_search"]:
            return self._scan(units, k, width, members)
        positions, products = self._find(units, width, effort, members)
        return (positions, products) if (positions[:, :k] >= 0).all() else self._scan(units, k, width, members)

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

    def _scan(self, units: Units, k: int, width: int, members: NDArray[np.bool_]) -> tuple[Ids, Units]:
        """Search all vectors, for as many as their float32 products let be among the k nearest."""
        storage, n = inner_storage(self._inner), int(members.sum())
        while True:
            positions, products = find(storage, "flat", units, width, {}, members)
            lowest = products[:, k - 1] - 2 * rounding_error_bound(self.dim, np.float32)
            if width >= n or (products[:, -1] < lowest).all():
                return positions, products
            width = min(n, 4 * width)

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
