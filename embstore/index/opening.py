"""Open the index at a path, once: opened indexes are kept until their file or card is another."""

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread

import numpy as np

from embstore import disk
from embstore.errors import DamagedError
from embstore.index.card import IndexCard
from embstore.index.searching import UNIT_ERROR, Index
from embstore.index.vectors import Blocks, Ids, unit_vectors, with_direction

# So many opened indexes are kept. They are memory-mapped; what each holds is its ids and, of a graph, its levels.
_KEPT = 32

_Stamp = tuple[tuple[int, int, int], ...]
_Opened = tuple[IndexCard, Index]
_opened: OrderedDict[Path, tuple[_Stamp, IndexCard, Index]] = OrderedDict()
_lock, _opening = Lock(), Lock()


def open_index(path: Path, shards: Iterable[str]) -> tuple[IndexCard, Index] | None:
    """Return the index at a path and its card, if it covers exactly these shards; opened ones are kept and used again.

    Returns:
        None where there is no index, where it covers other shards, or where a build replaces it just now.

    Raises:
        DamagedError: the index or its card cannot be read, they do not belong together or are of another layer, or an
            exact index was altered.
    """
    found = _kept(path)
    if found is None:
        with _opening:  # else what another thread is opening would be read twice
            found = _kept(path) or _open(path, shards)
    return found if found is not None and found[0].covers(shards) else None


def open_soon(wanted: Iterable[tuple[Path, Iterable[str]]]) -> None:
    """Open the first index that there is in the background, since it will be asked for next.

    To load FAISS, and to have it check the links of a large graph, takes about as long as to open DuckDB and to look up
    a vector, and both leave Python to others meanwhile.

    Args:
        wanted: paths and the names of the shards that the index at each must cover.
    """
    for path, shards in wanted:
        if disk.exists(path):
            if _kept(path) is None:
                Thread(target=_try_to_open, args=(path, shards), name="open an index").start()
            return


def _try_to_open(path: Path, shards: Iterable[str]) -> None:
    with suppress(Exception):  # who opens the index will meet it too
        open_index(path, shards)


def _kept(path: Path) -> _Opened | None:
    stamp = _stamp(path)
    with _lock:
        kept = _opened.get(path)
        if kept is None or kept[0] != stamp:
            return None
        _opened.move_to_end(path)
        return kept[1:]


def _open(path: Path, shards: Iterable[str]) -> _Opened | None:
    """Open the index at a path, and keep it; None if there is none, it covers other shards or is replaced just now."""
    stamp = _stamp(path)
    card = None if stamp is None else IndexCard.read(path)
    if stamp is None or card is None or not card.covers(shards):
        return None
    try:
        card.check_sample(path)
        opened = Index.open(path, card)
        opened.check(path, card)
    except (DamagedError, FileNotFoundError):
        if _stamp(path) != stamp:
            return None
        raise
    if _stamp(path) != stamp:  # the card is removed before the index is replaced
        return None
    with _lock:
        _opened[path] = stamp, card, opened
        while len(_opened) > _KEPT:
            _opened.popitem(last=False)
    return card, opened


def forget() -> None:
    """Close the indexes that are kept."""
    with _opening, _lock:
        _opened.clear()


def _renew_locks() -> None:
    global _lock, _opening
    _lock, _opening = Lock(), Lock()


if hasattr(os, "register_at_fork"):  # what another thread holds would stay locked in the child
    os.register_at_fork(after_in_child=_renew_locks)


def _stamp(path: Path) -> _Stamp | None:
    """Return what tells an index and its card from those that replace them; None if there are not both."""
    index = os.fspath(path)
    try:
        found = (
            disk.status(index),
            disk.status(f"{index.removesuffix(path.suffix)}.json"),
        )  # as with_suffix, in half the time
    except FileNotFoundError:
        return None
    return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)


def stored_ids(path: Path) -> Ids:
    """Return the item ids of an index, ascending.

    Raises:
        DamagedError: it cannot be read, or is not what its card says.
    """
    card = IndexCard.read(path)
    if card is None:
        raise FileNotFoundError(path)
    index = Index.open(path, card)  # held while its ids are copied
    index.check_positions()
    ids: Ids = np.sort(index.ids)
    return ids


def disagreeing(path: Path, blocks: Blocks, tolerance: float = UNIT_ERROR) -> Iterator[int]:
    """Yield the items whose vector in an index is not the unit vector of the one that is given.

    An index of the kind ``ivf`` has codes and no vectors: of it none is compared.

    Args:
        path: the index file.
        blocks: item ids (n,) and vectors (n, dim), block by block, of items that are in it; zero vectors are in none.
        tolerance: how far a component may be off.

    Raises:
        DamagedError: it cannot be read, or is not what its card says.
    """
    card = IndexCard.read(path)
    if card is None or card.kind == "ivf":
        return
    index = Index.open(path, card)
    for all_ids, block in blocks:
        ids, vectors = with_direction(all_ids, block)
        with np.errstate(invalid="ignore"):
            off = ~(np.abs(index.units(ids) - unit_vectors(vectors)) <= tolerance).all(axis=1)
        yield from ids[off].tolist()
