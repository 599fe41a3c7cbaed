"""Matrix products in the threads that read blocks: one thread each."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

_lock = Lock()
_users = 0
_limit: Any = None


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep BLAS from starting threads of its own, in the whole process, for as long as anyone is in this context.

    Blocks are worked on by as many threads as there are cores. Where each calls a BLAS with threads of its own, they
    wait for each other: a covariance takes twice the time.
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
