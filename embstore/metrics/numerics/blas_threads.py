"""Use BLAS in several threads: limit each call to one thread, and ignore floating-point flags raised by mistake."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np

_lock = Lock()
_n_active = 0
_limit: Any = None


def ignore_spurious_flags() -> np.errstate:
    """Return a context in which matrix products do not warn of invalid values.

    Some BLAS kernels read past the end of a small matrix, and raise the flag for numbers that they do not use.
    """
    return np.errstate(invalid="ignore")


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS to one thread, for the whole process, while any thread is in this context.

    Blocks are processed by as many threads as there are cores. If each of them called a multi-threaded BLAS, the
    threads would wait for each other, and a covariance would take twice as long.
    """
    global _n_active, _limit
    from threadpoolctl import threadpool_limits  # slow to import, and not needed to read summaries

    with _lock:
        _n_active += 1
        if _n_active == 1:
            _limit = threadpool_limits(limits=1, user_api="blas")
    try:
        yield
    finally:
        with _lock:
            _n_active -= 1
            if _n_active == 0:
                _limit.restore_original_limits()
