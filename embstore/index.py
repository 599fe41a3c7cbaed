"""Cosine indexes: FAISS over the unit vectors of one layer of a space, keyed by item id.

An index lives beside its card, which says which shards it covers. One that does not cover all of them is behind, and
is never searched as if it were whole: the caller scans the vectors instead, with :func:`search_exact`.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from embstore import atomic
from embstore.errors import DamagedError
from embstore.summary import in_float64

if TYPE_CHECKING:
    import faiss

INDEX_FORMAT = 1
KINDS = ("flat", "none")
_ANEW = "Delete it, and an exact scan answers; build the same sources again to make it anew."

Ids = NDArray[np.int64]
Vectors = NDArray[np.floating]
Blocks = Iterable[tuple[Ids, Vectors]]


@dataclass(frozen=True, slots=True)
class IndexCard:
    """What an index covers.

    Attributes:
        space: the space's name.
        layer: the layer's number.
        kind: ``flat`` (exact).
        metric: ``cosine``: inner products of unit vectors.
        n: the number of vectors in it.
        n_zero: the number of zero vectors, which have no direction and are left out.
        dim: components of a vector.
        shards: the names of the shards that it covers.
        sha256: of the index file.
        faiss: the version that wrote it.
        created: when, in UTC (ISO 8601).
    """

    space: str
    layer: int
    kind: str
    metric: str
    n: int
    n_zero: int
    dim: int
    shards: tuple[str, ...]
    sha256: str
    faiss: str
    created: str

    def covers(self, shards: Iterable[str]) -> bool:
        """Return whether the index was built from exactly these shards."""
        return set(self.shards) == set(shards)

    @classmethod
    def read(cls, index: Path) -> Self | None:
        """Return the card of the index at that path, or None if there is no index."""
        path = index.with_suffix(".json")
        if not index.is_file():
            return None
        try:
            document = atomic.read_document(path, _ANEW)
        except FileNotFoundError:
            return None
        try:
            values = {field.name: document[field.name] for field in fields(cls)}
        except KeyError as error:
            raise DamagedError(f"{path} is not an index card: it lacks {error}. {_ANEW}") from error
        return cls(**{**values, "shards": tuple(values["shards"])})


def unit_vectors(vectors: Vectors) -> NDArray[np.float32]:
    """Return x/‖x‖ for each row, float32 of shape (n, dim), the norm taken in float64; zero rows stay zero."""
    units = np.empty(vectors.shape, np.float32)
    done = 0
    for wide in in_float64(vectors):
        norms = np.sqrt(np.vecdot(wide, wide))
        inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
        np.multiply(wide, inverse[:, None], out=units[done : done + len(wide)], casting="same_kind")
        done += len(wide)
    return units


def write_index(path: Path, blocks: Blocks, *, space: str, layer: int, dim: int, shards: Iterable[str]) -> IndexCard:
    """Build a flat cosine index from blocks of vectors and store it with its card.

    The old card is removed before: a crash in between leaves an index without a card, which is not searched.

    Args:
        path: where the index goes; its card goes beside it.
        blocks: item ids (n,) and vectors (n, dim), block by block.
        space: the space's name, for the card.
        layer: the layer's number, for the card.
        dim: components of a vector.
        shards: the shards that the blocks come from.
    """
    import faiss

    with atomic.temporary(path.parent) as temp:
        n, n_zero = _fill(temp, blocks, dim)
        with temp.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        card = IndexCard(
            space=space, layer=layer, kind="flat", metric="cosine", n=n, n_zero=n_zero, dim=dim,
            shards=tuple(sorted(shards)), sha256=digest, faiss=faiss.__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )  # fmt: skip
        _publish(temp, path, card)
    return card


def _fill(path: Path, blocks: Blocks, dim: int) -> tuple[int, int]:
    """Write the index file, and return how many vectors are in it and how many were left out."""
    import faiss

    index = faiss.IndexIDMap(faiss.IndexFlatIP(dim))
    n_zero = 0
    for block_ids, block in blocks:
        ids, vectors = _with_direction(block_ids, block)
        n_zero += len(block_ids) - len(ids)
        index.add_with_ids(unit_vectors(vectors), ids)
    _save(index, path)
    return index.ntotal, n_zero


def _publish(temp: Path, path: Path, card: IndexCard) -> None:
    card_path = path.with_suffix(".json")
    card_path.unlink(missing_ok=True)
    try:
        atomic.publish(temp, path)
        atomic.write_document(card_path, {"format": INDEX_FORMAT, **asdict(card)})
    except BaseException:
        path.unlink(missing_ok=True)  # without its card it would look like damage
        raise


def remove_indexes(folder: Path) -> None:
    """Remove all indexes of a space."""
    for path in [*folder.glob("layer=*.json"), *folder.glob("layer=*.faiss")]:
        path.unlink()


def search(path: Path, shards: Iterable[str], queries: Vectors, k: int) -> tuple[Ids, NDArray[np.float32]] | None:
    """Search the index at a path, if it covers exactly these shards.

    Args:
        path: the index file, opened memory-mapped.
        shards: the names of the shards that the answer is about.
        queries: shape (n, dim), of any length.
        k: how many to return; the rest is filled with id -1 where the index holds fewer.

    Returns:
        Ids and cosines, each of shape (n, k), best first; ties by ascending id. None where there is no index, where it
        covers other shards, or where a build replaces it just now.

    Raises:
        DamagedError: FAISS cannot read the file.
    """
    card = IndexCard.read(path)
    if card is None or not card.covers(shards):
        return None
    try:
        index = _open(path)
    except DamagedError:
        if IndexCard.read(path) != card:
            return None
        raise
    if IndexCard.read(path) != card:  # the card is removed before the index is replaced
        return None
    cosines, ids = index.search(unit_vectors(queries), min(k, max(1, index.ntotal)))
    return _ordered(ids, cosines)


def stored_ids(path: Path) -> Ids:
    """Return the item ids of an index, ascending."""
    import faiss

    index = _open(path)  # held while its memory-mapped ids are copied
    ids: Ids = np.sort(faiss.vector_to_array(index.id_map))
    return ids


def disagreeing(path: Path, blocks: Blocks, tolerance: float = 1e-5) -> Iterator[int]:
    """Yield the items whose vector in an index is not the unit vector of the one that is given.

    Args:
        path: the index file.
        blocks: item ids (n,) and vectors (n, dim), block by block; zero vectors are in no index.
        tolerance: how far a component may be off.

    Raises:
        DamagedError: FAISS cannot read the file, or it lacks an item.
    """
    import faiss

    index = _open(path)
    ids = faiss.vector_to_array(index.id_map)
    order = np.argsort(ids)
    for all_ids, block in blocks:
        block_ids, vectors = _with_direction(all_ids, block)
        at = np.searchsorted(ids, block_ids, sorter=order)
        places = order[np.minimum(at, len(order) - 1)] if len(order) else at
        if len(lacking := block_ids[places >= len(ids)]) or len(lacking := block_ids[ids[places] != block_ids]):
            raise DamagedError(f"{path} is damaged: it lacks item {lacking[0]}. {_ANEW}")
        found = index.index.reconstruct_batch(places)
        with np.errstate(invalid="ignore"):
            off = ~(np.abs(found - unit_vectors(vectors)) <= tolerance).all(axis=1)
        yield from block_ids[off].tolist()


def search_exact(blocks: Blocks, queries: Vectors, k: int) -> tuple[Ids, NDArray[np.float32]]:
    """Search vectors block by block, without an index. Queries, k and result are those of :func:`search`."""
    units = unit_vectors(queries)
    ids = np.empty((len(units), 0), np.int64)
    cosines = np.empty((len(units), 0), np.float32)
    for all_ids, block in blocks:
        block_ids, vectors = _with_direction(all_ids, block)
        with np.errstate(invalid="ignore"):  # some BLAS kernels read past a small matrix and raise the flag for nothing
            found = units @ unit_vectors(vectors).T
        ids = np.concatenate([ids, np.broadcast_to(block_ids, found.shape)], axis=1)
        cosines = np.concatenate([cosines, found], axis=1)
        ids, cosines = _ordered(ids, cosines)
        ids, cosines = ids[:, :k], cosines[:, :k]
    return ids, cosines


def _with_direction(ids: Ids, vectors: Vectors) -> tuple[Ids, Vectors]:
    """Leave out the zero vectors, which are near nothing."""
    keep = vectors.any(axis=1)
    return (ids, vectors) if keep.all() else (ids[keep], vectors[keep])


def _ordered(ids: Ids, cosines: NDArray[np.float32]) -> tuple[Ids, NDArray[np.float32]]:
    order = np.lexsort((ids, -cosines), axis=1)
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(cosines, order, axis=1)


def _save(index: "faiss.Index", path: Path) -> None:
    import faiss

    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        # FAISS raises RuntimeError for a failed write; only the number in its text tells a full disk from the rest.
        raise OSError(_errno_in(str(error)), str(error).split(": ")[-1]) from error


def _errno_in(text: str) -> int:
    import errno

    return errno.ENOSPC if "No space" in text or "write error" in text else errno.EIO


def _open(path: Path) -> Any:
    import faiss

    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise DamagedError(f"{path} is damaged: {str(error).splitlines()[0][:200]}. {_ANEW}") from error
