"""Search the neighbours of all items of a layer once for several metrics, as a report computes them one after another.

hubness, overlap and drift are of the same lists, which take nearly all of their time.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embstore.storage.catalog import Ids

Lists = tuple[NDArray[np.int64], NDArray[np.float64]]
Search = Callable[[int], Lists]

_LEAST = 11  # what all three need for k = 10: one more neighbour shows whether the choice of ten is arbitrary


@dataclass(eq=False)
class _Kept:
    """Lists of neighbours, by layer and items, at most so many bytes of them: the oldest are forgotten."""

    most_bytes: int
    lists: dict[tuple[str, int, bytes], Lists] = field(default_factory=dict)

    def add(self, key: tuple[str, int, bytes], found: Lists) -> None:
        self.lists.pop(key, None)
        self.lists[key] = found
        while len(self.lists) > 1 and sum(_size(each) for each in self.lists.values()) > self.most_bytes:
            del self.lists[next(iter(self.lists))]


_kept: ContextVar[_Kept | None] = ContextVar("kept", default=None)


@contextmanager
def sharing_neighbours(most_bytes: int = 1 << 28) -> Iterator[None]:
    """Keep the lists of neighbours by cosine that are searched within a ``with`` block, for other metrics in it.

    The store must stay the same within it.

    Args:
        most_bytes: Memory for the lists, in bytes.
    """
    token = _kept.set(_Kept(most_bytes))
    try:
        yield
    finally:
        _kept.reset(token)


def found_once(space: str, layer: int, ids: Ids, k: int, search: Search) -> Lists:
    """Return the k nearest other items of each item by cosine, from an earlier search or a new one.

    Args:
        space: Name of the space.
        layer: Id of the layer.
        ids: Ids of the items that are searched, int64 (n,), ascending.
        k: Number of neighbours.
        search: Function from a number of neighbours to their positions and cosines, (n, k) each, where fewer neighbours
            are the first of more.
    """
    kept = _kept.get()
    if kept is None:
        return search(k)
    key = (space, layer, hashlib.sha256(ids.tobytes()).digest())
    found = kept.lists.get(key)
    if found is None or found[0].shape[1] < min(k, len(ids) - 1):
        positions, cosines = search(max(k, _LEAST))
        found = positions.astype(np.int32), cosines
        kept.add(key, found)
    return found[0][:, :k].astype(np.int64), found[1][:, :k]


def _size(found: Lists) -> int:
    return sum(each.nbytes for each in found)
