"""Use BLAS in several threads: limit each call to one thread, and ignore floating-point flags raised by mistake."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

_lock = Lock()
_n_active = 0
_limit: Any = None
_libraries: Any = None
_n_modules = 0


def ignore_spurious_flags() -> np.errstate:
    """Return a context in which matrix products do not warn of invalid values.

    Some BLAS kernels read past the end of a small matrix, and raise the flag for numbers that they do not use.
    """
    return np.errstate(invalid="ignore")


_FEW = 1_024


def eigenvalues_of(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the eigenvalues of a symmetric matrix (dim, dim), ascending."""
    with _threads_for(len(matrix)):
        return np.linalg.eigvalsh(matrix).astype(np.float64, copy=False)


def eigenvectors_of(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the eigenvalues of a symmetric matrix (dim, dim), ascending, and its eigenvectors as columns."""
    with _threads_for(len(matrix)):
        eigenvalues, vectors = np.linalg.eigh(matrix)
    return eigenvalues.astype(np.float64, copy=False), vectors.astype(np.float64, copy=False)


def _threads_for(dim: int) -> AbstractContextManager[None]:
    """Return a context with one thread for small matrices.

    Their decomposition is a long row of small products. Where other programs use the cores too, threads would wait for
    each other at each of them: a tenth of a second becomes seconds.
    """
    return one_thread() if dim <= _FEW else nullcontext()


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS to one thread, for the whole process, while any thread is in this context.

    Blocks are processed by as many threads as there are cores. If each of them called a multi-threaded BLAS, the
    threads would wait for each other, and a covariance would take twice as long.
    """
    global _n_active, _limit
    with _lock:
        _n_active += 1
        if _n_active == 1:
            _limit = _loaded_libraries().limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        with _lock:
            _n_active -= 1
            if _n_active == 0:
                _limit.restore_original_limits()


def _loaded_libraries() -> Any:
    """Return threadpoolctl's controller of the libraries that the process has loaded.

    To find them takes milliseconds, as much as a small decomposition: they are looked for again only after an import.
    """
    global _libraries, _n_modules
    if _libraries is None or len(sys.modules) != _n_modules:
        from threadpoolctl import ThreadpoolController  # slow to import, and not needed to read summaries

        _libraries, _n_modules = ThreadpoolController(), len(sys.modules)
    return _libraries
