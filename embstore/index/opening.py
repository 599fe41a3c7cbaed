"""Open an index and cache it until its file or card changes."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread

import numpy as np

from embstore.base import disk
from embstore.base.errors import DamagedError
from embstore.index.card import IndexCard
from embstore.index.exact_search import Blocks, Ids, unit_vectors, with_direction
from embstore.index.searching import UNIT_ERROR, Index

# Maximum number of cached indexes. They are memory-mapped; each has its ids in memory, and a graph also its levels.
_MAX_CACHED = 32

_Stamp = tuple[disk.Stamp, disk.Stamp]
_Opened = tuple[IndexCard, Index]
_opened: dict[Path, tuple[_Stamp, IndexCard, Index]] = {}
lock = Lock()


def open_index(path: Path, shards: Iterable[str]) -> tuple[IndexCard, Index] | None:
    """Return the card and the index at a path if the index covers exactly these shards; opened indexes are cached."""
    found = _cached(path)
    if found is None:
        with lock:  # else two threads would read the same index
            found = _cached(path) or _open(path, shards)
    return found if found is not None and found[0].covers(shards) else None


def open_in_background(candidates: Iterable[tuple[Path, Iterable[str]]]) -> None:
    """Open the first index that exists in a background thread, because a search will need it next.

    Loading FAISS and checking the links of a large graph take about as long as opening DuckDB and looking up a vector,
    and both release Python's global lock.
    """
    for path, shards in candidates:
        if disk.exists(path):
            if _cached(path) is None:
                Thread(target=_try_to_open, args=(path, shards), name="open an index").start()
            return


def _try_to_open(path: Path, shards: Iterable[str]) -> None:
    with suppress(Exception):  # the search opens the index too, and reports the error
        open_index(path, shards)


def _cached(path: Path) -> _Opened | None:
    """Return the cached card and index of a path, if the files are unchanged since."""
    cached = _opened.get(path)
    return cached[1:] if cached is not None and cached[0] == _stamp(path) else None


def _open(path: Path, shards: Iterable[str]) -> _Opened | None:
    """Open the index at a path and cache it; None if there is none, if it covers other shards or is being replaced."""
    stamp = _stamp(path)
    card = None if stamp is None else IndexCard.read(path)
    if stamp is None or card is None or not card.covers(shards):
        return None
    try:
        card.check_sample(path)
        opened = Index.open(path, card)
        opened.check(card)
    except (DamagedError, FileNotFoundError):
        if _stamp(path) != stamp:
            return None
        raise
    if _stamp(path) != stamp:  # the card is removed before the index is replaced
        return None
    _opened.pop(path, None)
    _opened[path] = stamp, card, opened  # the last of them
    if len(_opened) > _MAX_CACHED:
        del _opened[next(iter(_opened))]
    return card, opened


def _stamp(path: Path) -> _Stamp | None:
    """Return inode, size and modification time of an index and of its card; None if one of them is missing."""
    index = os.fspath(path)
    card = f"{index.removesuffix(path.suffix)}.json"  # the same as with_suffix, in half the time
    stamps = disk.stamp_of(index), disk.stamp_of(card)
    return None if stamps[0] is None or stamps[1] is None else (stamps[0], stamps[1])


def stored_ids(path: Path) -> Ids:
    """Return the item ids of an index, ascending."""
    card = IndexCard.read(path)
    if card is None:
        raise FileNotFoundError(path)
    index = Index.open(path, card)  # referenced until its ids are copied
    ids: Ids = np.sort(index.ids)
    return ids


def differing_items(path: Path, blocks: Blocks) -> Iterator[int]:
    """Yield the ids of items whose vector in an index differs from the unit vector of the given one."""
    card = IndexCard.read(path)
    if card is None:
        return
    index = Index.open(path, card)
    for all_ids, block in blocks:
        ids, vectors = with_direction(all_ids, block)
        with np.errstate(invalid="ignore"):
            off = ~(np.abs(index.units(ids) - unit_vectors(vectors)) <= UNIT_ERROR).all(axis=1)
        yield from ids[off].tolist()
