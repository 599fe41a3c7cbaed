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
    """Return ids and cosines, each of shape (n, k), if the index at a path covers exactly these shards.

    Args:
        path: Index file.
        shards: Names of shards.
        queries: Vectors (n, dim).
        k: Number of neighbours.
        only: Ascending ids of the items that may be found; None for all.
        gather: Gives vectors to an index that has only codes of them (``ivf``).
    """
    if (found := open_index(path, shards)) is None:
        return None
    _, index = found
    return index.search(queries, k, members=None if only is None else index.members(only), gather=gather)
