"""BLAS has one thread while blocks are read, and as many as before afterwards."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg
import threadpoolctl

from embstore.metrics.numerics.linear_algebra import eigenvalues_of, eigenvectors_of, one_thread


def threads():
    return [
        pool["num_threads"]
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas"
    ]


def test_one_thread_until_the_last_has_left():
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


def test_a_library_that_is_loaded_later_is_limited_too():
    code = """
import sys, threadpoolctl
from embstore.metrics.numerics.linear_algebra import one_thread
with one_thread():
    n_before = len(threadpoolctl.threadpool_info())
import scipy.linalg
with one_thread():
    found = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    assert len(found) > n_before and set(found) == {1}, (n_before, found)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_libraries_are_looked_for_once(monkeypatch):
    searches = []
    real = threadpoolctl.ThreadpoolController
    monkeypatch.setattr(
        threadpoolctl, "ThreadpoolController", lambda: searches.append(None) or real()
    )
    for _ in range(5):
        with one_thread():
            assert {
                pool["num_threads"] for pool in real().info() if pool["user_api"] == "blas"
            } == {1}
    assert len(searches) <= 1


def test_small_matrices_are_decomposed_in_one_thread(monkeypatch):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(50, 30)).T @ rng.normal(size=(50, 30))
    matrix += matrix.T
    used = []
    decompose = np.linalg.eigh

    def noted(given):
        used.append({*threads()})
        return decompose(given)

    monkeypatch.setattr(np.linalg, "eigh", noted)
    before = threads()
    eigenvalues, vectors = eigenvectors_of(matrix)
    assert used == [{1}]
    assert threads() == before
    np.testing.assert_allclose(eigenvalues, scipy.linalg.eigvalsh(matrix), atol=1e-10)
    np.testing.assert_allclose(eigenvalues_of(matrix), eigenvalues, atol=1e-10)
    np.testing.assert_allclose(matrix @ vectors, vectors * eigenvalues, atol=1e-10)
