import pytest
from hypothesis import given
from hypothesis import strategies as st

from embstore.encode.records import default_batch_tokens, plan_batches

LENGTHS = st.lists(st.integers(0, 300), max_size=200)
BUDGETS = st.integers(1, 2000)


@given(LENGTHS, BUDGETS, st.booleans())
def test_every_text_is_in_exactly_one_batch(lengths: list[int], budget: int, pad: bool) -> None:
    batches = plan_batches(lengths, budget, pad=pad)
    assert sorted(row for batch in batches for row in batch.rows) == list(range(len(lengths)))


@given(LENGTHS, BUDGETS)
def test_lengths_in_a_batch_differ_by_an_eighth_at_most(lengths: list[int], budget: int) -> None:
    for batch in plan_batches(lengths, budget):
        inside = [lengths[row] for row in batch.rows]
        assert batch.width == max(inside)
        assert max(inside) - min(inside) <= min(inside) // 8


@given(LENGTHS, BUDGETS)
def test_lengths_are_equal_where_padding_is_forbidden(lengths: list[int], budget: int) -> None:
    for batch in plan_batches(lengths, budget, pad=False):
        assert {lengths[row] for row in batch.rows} == {batch.width}


@given(LENGTHS, BUDGETS)
def test_the_budget_holds_but_for_single_texts(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, budget)
    assert all(len(batch.rows) * batch.width <= budget or len(batch.rows) == 1 for batch in batches)


@given(LENGTHS, BUDGETS)
def test_the_longest_come_first(lengths: list[int], budget: int) -> None:
    widths = [batch.width for batch in plan_batches(lengths, budget)]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize(("device", "budget"), [("cpu", 1024), ("cuda:0", 16384), ("mps", 16384)])
def test_default_budget(device: str, budget: int) -> None:
    assert default_batch_tokens(device) == budget
