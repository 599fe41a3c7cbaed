"""A set of ids that grows part by part is Python's own set, and its cost does not grow with the square of the parts."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from embstore.storage.maintenance import file_checks
from embstore.storage.check import IdSet

parts = st.lists(st.lists(st.integers(0, 50), max_size=8), max_size=20)


@settings(deadline=None)
@given(parts, st.lists(st.integers(0, 60)))
def test_it_is_pythons_own_set(parts, requested):
    ids, wanted = IdSet(), set()
    for part in parts:
        ids.add(np.array(part, np.int64))
        wanted |= set(part)
    assert ids.ids().tolist() == sorted(wanted)
    assert ids.missing(np.array(requested, np.int64)).tolist() == [each for each in requested if each not in wanted]


def test_each_id_is_sorted_a_logarithm_of_times(monkeypatch):
    n_sorted = {}
    real = np.union1d

    def noted(each: np.ndarray, other: np.ndarray) -> np.ndarray:
        n_sorted[n] += len(each) + len(other)
        return real(each, other)

    monkeypatch.setattr(file_checks.np, "union1d", noted)
    for n in (100, 1000):
        n_sorted[n] = 0
        ids = IdSet()
        for part in range(n):
            ids.add(np.arange(10 * part, 10 * part + 10))
        assert len(ids.ids()) == 10 * n
    assert n_sorted[1000] < 20 * n_sorted[100], "ten times the parts would be a hundred times the work"
