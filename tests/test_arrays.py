"""Arithmetic on arrays against numpy."""

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from embstore.base.arrays import distinct

IDS = st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 5))


@given(IDS)
def test_distinct_ids_are_those_of_numpy(ids):
    array = np.asarray(ids, np.int64)
    found = distinct(array)
    assert found.dtype == np.int64
    assert np.array_equal(found, np.unique(array))


def test_distinct_does_not_load_masked_arrays():
    code = (
        "import sys; import numpy as np; from embstore.base.arrays import distinct; distinct(np.array([2, 1, 2]));"
        "print('numpy.ma' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
