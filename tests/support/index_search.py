"""Search an index by its path."""

from collections.abc import Iterable
from pathlib import Path

from embstore.index.exact_search import Gather, Ids, Units, Vectors
from embstore.index.opening import open_index


def search(
    path: Path,
    shards: Iterable[str],
    queries: Vectors,
    k: int,
    *,
    only: Ids | None = None,
    gather: Gather | None = None,
) -> tuple[Ids, Units] | None:
    """Search the index at a path, if it covers exactly these shards.

    Args:
        path: the index file, opened memory-mapped.
        shards: the names of the shards that the answer is about.
        queries: shape (n, dim), of any length.
        k: how many to return; the rest is filled with id -1 where the index holds fewer.
        only: ascending ids of the items that may be found; None for all.
        gather: gives the vectors of candidates to an index that has only codes of them (``ivf``).

    Returns:
        Ids and cosines, each of shape (n, k), best first; ties by ascending id. None where there is no index, where it
        covers other shards, or where a build replaces it just now.

    Raises:
        DamagedError: FAISS cannot read the file, or it was altered and is exact.
    """
    found = open_index(path, shards)
    if found is None:
        return None
    _, index = found
    return index.search(queries, k, members=None if only is None else index.members(only), gather=gather)
