"""What an index is made of: blocks of ids and vectors, and the unit vectors of those that have a direction."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from embstore.summary import in_float64

Ids = NDArray[np.int64]
Vectors = NDArray[np.floating]
Units = NDArray[np.float32]
Blocks = Iterable[tuple[Ids, Vectors]]
Gather = Callable[[Ids], tuple[Ids, Vectors]]
"""Gives the ids, ascending, and the vectors of the items with some ids."""

_NO_BOUND = np.uint64(np.iinfo(np.uint64).max)


def unit_vectors(vectors: Vectors) -> Units:
    """Return x/‖x‖ for each row, float32 of shape (n, dim), the norm taken in float64; zero rows stay zero."""
    units = np.empty(vectors.shape, np.float32)
    done = 0
    for wide in in_float64(vectors):
        norms = np.sqrt(np.vecdot(wide, wide))
        inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
        np.multiply(wide, inverse[:, None], out=units[done : done + len(wide)], casting="same_kind")
        done += len(wide)
    return units


def with_direction(ids: Ids, vectors: Vectors) -> tuple[Ids, Vectors]:
    """Leave out the zero vectors, which are near nothing."""
    keep = vectors.any(axis=1)
    return (ids, vectors) if keep.all() else (ids[keep], vectors[keep])


def batches(blocks: Blocks, rows: int) -> Iterator[tuple[Ids, Units, int]]:
    """Yield ids (n,), unit vectors (n, dim) and the count of zero vectors left out, for at least ``rows`` at a time."""
    ids: list[Ids] = []
    units: list[Units] = []
    n_zero = 0
    for all_ids, all_vectors in blocks:
        some, vectors = with_direction(all_ids, all_vectors)
        n_zero += len(all_ids) - len(some)
        ids.append(some)
        units.append(unit_vectors(vectors))
        if sum(map(len, ids)) >= rows:
            yield *_together(ids, units), n_zero
            ids, units, n_zero = [], [], 0
    if ids:
        yield *_together(ids, units), n_zero


def _together(ids: list[Ids], units: list[Units]) -> tuple[Ids, Units]:
    return (ids[0], units[0]) if len(ids) == 1 else (np.concatenate(ids), np.concatenate(units))


def ordered(ids: Ids, cosines: Units) -> tuple[Ids, Units]:
    """Return ids and cosines (n, k), best first; ties by ascending id."""
    if (cosines[:, :-1] > cosines[:, 1:]).all():
        return ids, cosines
    order = np.lexsort((ids, -cosines), axis=1)
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(cosines, order, axis=1)


def sample(blocks: Blocks, n: int, dim: int) -> tuple[Ids, Units]:
    """Return ids (m,) and unit vectors (m, dim) of n items drawn at random, all where there are fewer.

    The draw is by a hash of the ids: it does not depend on how the items lie in blocks. No more than n and a quarter
    are held, and for a moment n beside them.
    """
    ids, units, n_held = [np.empty(0, np.int64)], [np.empty((0, dim), np.float32)], 0
    bound = _NO_BOUND
    for all_ids, all_vectors in blocks:
        few = _mixed(all_ids) <= bound
        some, vectors = with_direction(all_ids[few], all_vectors[few])
        ids.append(some)
        units.append(unit_vectors(vectors))
        n_held += len(some)
        if n_held > n + max(1024, n // 4):
            found, its_units, bound = _lowest(ids, units, n)
            ids, units, n_held = [found], [its_units], n
    found, its_units, _ = _lowest(ids, units, n)
    return found, its_units


def _lowest(ids: list[Ids], units: list[Units], n: int) -> tuple[Ids, Units, np.uint64]:
    """Return the n items of the lowest hashes, ascending by these, and the highest of them."""
    together = np.concatenate(ids)
    mixed = _mixed(together)
    order = np.argsort(mixed)[:n]
    kept = np.empty((len(order), units[0].shape[1]), np.float32)
    place = np.empty(len(together), np.int64)
    place.fill(-1)
    place[order] = np.arange(len(order))
    start = 0
    for part in units:
        to = place[start : start + len(part)]
        kept[to[to >= 0]] = part[to >= 0]
        start += len(part)
    return together[order], kept, np.uint64(mixed[order[-1]]) if len(order) else _NO_BOUND


def _mixed(ids: Ids) -> NDArray[np.uint64]:
    """Return SplitMix64 of the ids (Steele, Lea & Flood, 2014, OOPSLA)."""
    z = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
