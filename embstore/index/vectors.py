"""Normalise, batch, order and sample the ids and vectors that an index is built from."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from embstore.base.summary import in_float64

Ids = NDArray[np.int64]
Vectors = NDArray[np.floating]
Units = NDArray[np.float32]
Blocks = Iterable[tuple[Ids, Vectors]]
Gather = Callable[[Ids], tuple[Ids, Vectors]]
"""Function that returns the ids, ascending, and the vectors of the items with the given ids."""

_NO_BOUND = np.uint64(np.iinfo(np.uint64).max)


def unit_vectors(vectors: Vectors) -> Units:
    """Return x/‖x‖ for each row, float32 of shape (n, dim), with norms computed in float64; zero rows stay zero."""
    units = np.empty(vectors.shape, np.float32)
    n_done = 0
    for wide in in_float64(vectors):
        norms = np.sqrt(np.vecdot(wide, wide))
        inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
        np.multiply(wide, inverse[:, None], out=units[n_done : n_done + len(wide)], casting="same_kind")
        n_done += len(wide)
    return units


def with_direction(ids: Ids, vectors: Vectors) -> tuple[Ids, Vectors]:
    """Return ids and vectors without the zero vectors, which have no cosine."""
    keep = vectors.any(axis=1)
    return (ids, vectors) if keep.all() else (ids[keep], vectors[keep])


def batches(blocks: Blocks, rows: int) -> Iterator[tuple[Ids, Units, int]]:
    """Yield ids (n,), unit vectors (n, dim) and the number of skipped zero vectors, in batches of at least ``rows``."""
    ids: list[Ids] = []
    units: list[Units] = []
    n_zero = 0
    for all_ids, all_vectors in blocks:
        kept_ids, vectors = with_direction(all_ids, all_vectors)
        n_zero += len(all_ids) - len(kept_ids)
        ids.append(kept_ids)
        units.append(unit_vectors(vectors))
        if sum(map(len, ids)) >= rows:
            yield *_concatenated(ids, units), n_zero
            ids, units, n_zero = [], [], 0
    if ids:
        yield *_concatenated(ids, units), n_zero


def _concatenated(ids: list[Ids], units: list[Units]) -> tuple[Ids, Units]:
    return (ids[0], units[0]) if len(ids) == 1 else (np.concatenate(ids), np.concatenate(units))


def ordered(ids: Ids, cosines: Units) -> tuple[Ids, Units]:
    """Sort ids and cosines (n, k) of each row, best first, ties by ascending id."""
    if (cosines[:, :-1] > cosines[:, 1:]).all():
        return ids, cosines
    order = np.lexsort((ids, -cosines), axis=1)
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(cosines, order, axis=1)


def sample(blocks: Blocks, n: int, dim: int) -> tuple[Ids, Units]:
    """Return ids (m,) and unit vectors (m, dim) of a random sample of n items, or of all if there are fewer.

    The sample is the n items with the lowest hash of their id, so that it does not depend on the blocks. Memory: at
    most 2.25 n vectors.
    """
    ids, units, n_kept = [np.empty(0, np.int64)], [np.empty((0, dim), np.float32)], 0
    bound = _NO_BOUND
    for all_ids, all_vectors in blocks:
        is_candidate = _hashes(all_ids) <= bound
        kept_ids, vectors = with_direction(all_ids[is_candidate], all_vectors[is_candidate])
        ids.append(kept_ids)
        units.append(unit_vectors(vectors))
        n_kept += len(kept_ids)
        if n_kept > n + max(1024, n // 4):
            kept_ids, kept_units, bound = _lowest(ids, units, n)
            ids, units, n_kept = [kept_ids], [kept_units], n
    kept_ids, kept_units, _ = _lowest(ids, units, n)
    return kept_ids, kept_units


def _lowest(ids: list[Ids], units: list[Units], n: int) -> tuple[Ids, Units, np.uint64]:
    """Return the n items with the lowest hashes, ascending by hash, and the largest hash among them."""
    all_ids = np.concatenate(ids)
    hashes = _hashes(all_ids)
    order = np.argsort(hashes)[:n]
    kept = np.empty((len(order), units[0].shape[1]), np.float32)
    target_row = np.full(len(all_ids), -1)
    target_row[order] = np.arange(len(order))
    start = 0
    for part in units:
        target = target_row[start : start + len(part)]
        kept[target[target >= 0]] = part[target >= 0]
        start += len(part)
    return all_ids[order], kept, np.uint64(hashes[order[-1]]) if len(order) else _NO_BOUND


def _hashes(ids: Ids) -> NDArray[np.uint64]:
    """Return the SplitMix64 hash of each id (Steele, Lea & Flood, 2014, OOPSLA)."""
    z = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashes: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return hashes
