"""BLAS has one thread while blocks are read, and as many as before afterwards."""

import pytest
import threadpoolctl

from embstore.metrics.numerics.blas_threads import one_thread


def threads() -> list[int]:
    return [one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]


def test_one_thread_until_the_last_has_left() -> None:
    before = threads()
    first, second = one_thread(), one_thread()
    first.__enter__()
    second.__enter__()
    assert set(threads()) == {1}
    first.__exit__(None, None, None)
    assert set(threads()) == {1}
    second.__exit__(None, None, None)
    assert threads() == before
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert threads() == before
