"""Limit BLAS to one thread while several threads compute on blocks."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

_lock = Lock()
_users = 0
_limit: Any = None


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS to one thread, for the whole process, while any thread is in this context.

    Blocks are processed by as many threads as there are cores. If each of them calls a multi-threaded BLAS, the threads
    wait for each other, and a covariance takes twice as long.
    """
    global _users, _limit
    from threadpoolctl import threadpool_limits  # what reads only summaries does not need it

    with _lock:
        _users += 1
        if _users == 1:
            _limit = threadpool_limits(limits=1, user_api="blas")
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _limit.restore_original_limits()
