import pytest
from hypothesis import given
from hypothesis import strategies as st

from embstore.encode.records import default_batch_tokens, plan_batches


@given(st.lists(st.integers(0, 300), max_size=200), st.integers(1, 2000), st.booleans())
def test_batches_hold_every_text_once_alike_in_length_within_the_budget(lengths, budget, pad):
    batches = plan_batches(lengths, budget, pad=pad)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        inside = [lengths[row] for row in batch]
        assert lengths[batch[0]] == max(inside)
        assert max(inside) - min(inside) <= (min(inside) // 8 if pad else 0)
        assert len(batch) * max(inside) <= budget or len(batch) == 1
    widths = [lengths[batch[0]] for batch in batches]
    assert widths == sorted(widths, reverse=True), "the longest come first"


@pytest.mark.parametrize(("device", "budget"), [("cpu", 1024), ("cuda:0", 16384), ("mps", 16384)])
def test_default_budget(device, budget):
    assert default_batch_tokens(device) == budget
