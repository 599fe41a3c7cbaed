"""The cache of opened indexes."""

from embstore.index import opening


def close_cached_indexes() -> None:
    """So that the next search opens its index file anew, as a new process does."""
    with opening.lock:
        opening._opened.clear()
