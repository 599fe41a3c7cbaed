"""A summary against sums by brute force, and against itself over any split; distinct ids against
numpy.
"""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sound_stores import are_close

from embstore.base.arrays import distinct
from embstore.base.summary import Summary

dtypes = st.sampled_from([np.float16, np.float32, np.float64])


@st.composite
def matrices(draw, min_rows=0):
    """Vectors of any scale, some of them zero."""
    n, dim = draw(st.integers(min_rows, 12)), draw(st.integers(1, 6))
    x = draw(hnp.arrays(np.float64, (n, dim), elements=st.floats(-100, 100, width=16)))
    x[draw(hnp.arrays(bool, n))] = 0
    return x.astype(draw(dtypes))


def brute_force(x):
    """The sums, one vector at a time, with exact float64 addition (math.fsum)."""
    rows = [[float(value) for value in row] for row in x]
    norms = [math.hypot(*row) for row in rows]
    units = [
        [value / norm for value in row] for row, norm in zip(rows, norms, strict=True) if norm > 0
    ]
    dim = x.shape[1]
    return {
        "n": len(rows),
        "n_zero": sum(norm == 0 for norm in norms),
        "total": [math.fsum(row[i] for row in rows) for i in range(dim)],
        "unit_total": [math.fsum(unit[i] for unit in units) for i in range(dim)],
        "unit_square_total": [math.fsum(unit[i] ** 2 for unit in units) for i in range(dim)],
        "norm_total": math.fsum(norms),
        "norm_square_total": math.fsum(norm**2 for norm in norms),
        "norm_min": min(norms, default=math.inf),
        "norm_max": max(norms, default=0.0),
    }


@given(matrices())
def test_every_sum_is_the_brute_force_sum(x):
    summary = Summary.of(x)
    for name, value in brute_force(x).items():
        assert getattr(summary, name) == pytest.approx(value, rel=1e-12, abs=1e-12), name


def test_the_sums_of_many_chunks_are_those_of_the_whole():
    # More than one chunk of 1 MiB.
    x = np.random.default_rng(0).normal(3, 1, (5000, 96)).astype(np.float32)
    wide = x.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1)
    summary = Summary.of(x)
    np.testing.assert_allclose(summary.total, wide.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(summary.unit_total, (wide / norms[:, None]).sum(axis=0), rtol=1e-12)
    assert summary.norm_total == pytest.approx(norms.sum(), rel=1e-12)


@given(matrices(), st.data())
def test_summaries_of_any_parts_add_up_to_that_of_the_whole(x, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(x)), max_size=4)))
    merged = Summary.empty(x.shape[1])
    for part in np.split(x, cuts):
        merged = merged + Summary.of(part)
    assert are_close(merged, Summary.of(x))
    assert merged.n == len(x)


@given(matrices(min_rows=1), st.data())
def test_summaries_of_other_vectors_are_not_close(x, data):
    row, column = data.draw(st.integers(0, len(x) - 1)), data.draw(st.integers(0, x.shape[1] - 1))
    other = x.copy()
    other[row, column] += 1 + abs(other[row, column])
    assert not are_close(Summary.of(other), Summary.of(x))
    assert not are_close(Summary.of(x[:-1]), Summary.of(x))


def test_float16_does_not_overflow_in_the_sums():
    summary = Summary.of(np.full((3, 4), 60000, np.float16))
    assert summary.norm_square_total == 3 * 4 * float(np.float16(60000)) ** 2
    assert summary.is_finite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_seen_without_a_warning(bad):
    x = np.ones((5, 4), np.float32)
    x[3, 2] = bad
    assert not Summary.of(x).is_finite
    assert Summary.of(np.full((2, 4), 3e38, np.float32)).is_finite


def test_the_mean_of_nothing_is_zero_not_nan():
    assert Summary.empty(3).mean.tolist() == [0, 0, 0]
    assert are_close(Summary.of(np.zeros((0, 3), np.float32)), Summary.empty(3))


IDS = st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 5))


@given(IDS)
def test_distinct_ids_are_those_of_numpy(ids):
    array = np.asarray(ids, np.int64)
    found = distinct(array)
    assert found.dtype == np.int64
    assert np.array_equal(found, np.unique(array))


def test_distinct_does_not_load_masked_arrays():
    code = (
        "import sys; import numpy as np; from embstore.base.arrays import distinct;"
        " distinct(np.array([2, 1, 2]));print('numpy.ma' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "False\n"
    )
