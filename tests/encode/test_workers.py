"""Batches of texts alike in length; side by side, the same vectors in the same order whatever the
number of workers.
"""

import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from encode_texts import items, passages
from hanging import HUNG_SECONDS
from hypothesis import given
from hypothesis import strategies as st

from embstore.base.space import Pooling, Unit
from embstore.encode.forward import Forward, run
from embstore.encode.records import Encoded, Skipped, default_batch_tokens, plan_batches
from embstore.encode.spans import Text


@contextmanager
def threads(n):
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def text(n_tokens, item=0):
    return Text([5 + item % 7] * n_tokens, None, [item], [[n_tokens - 1]], None, None)


def forward_of(encoder):
    poolings = [Pooling.LAST, Pooling.MEAN]
    return Forward(
        encoder._model, encoder._contract, 0, poolings, encoder.layers.ids, encoder._reference
    )


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_vectors_and_order_do_not_depend_on_the_workers(tiny, name):
    encoder = tiny(name)
    given = passages(items(Unit.OCCURRENCE), encoder)
    runs = []
    for n in (1, 2, 5):
        with threads(n):
            runs.append(list(encoder.encode([given], poolings=[Pooling.LAST], batch_tokens=40)))
            assert torch.get_num_threads() == n
    assert len(runs[0]) > 5
    for passage, *others in zip(*runs, strict=True):
        assert isinstance(passage, Encoded)
        for other in others:
            assert np.array_equal(passage.item_ids, other.item_ids)
            np.testing.assert_allclose(
                passage.vectors[Pooling.LAST], other.vectors[Pooling.LAST], rtol=1e-4, atol=1e-5
            )


def test_several_batches_are_in_the_model_at_once(tiny, monkeypatch):
    forward = forward_of(tiny("gpt2"))
    together = threading.Barrier(3, timeout=HUNG_SECONDS)
    call = Forward.__call__

    def met(self, texts):
        together.wait()
        return call(self, texts)

    monkeypatch.setattr(Forward, "__call__", met)
    with threads(3):
        results = list(run(forward, [[text(4, n)] for n in range(6)], 8))
    assert [result.item_ids.tolist() for result in results] == [[n] for n in range(6)]


def test_a_twin_has_modules_of_its_own_and_the_same_weights(tiny):
    forward = forward_of(tiny("llama"))
    twin = forward.thread_copy()
    assert not set(forward.model.modules()) & set(twin.model.modules())
    assert [w.data_ptr() for w in twin.model.parameters()] == [
        w.data_ptr() for w in forward.model.parameters()
    ]
    assert all(
        mine.data_ptr() != its.data_ptr()
        for mine, its in zip(forward.model.buffers(), twin.model.buffers(), strict=True)
    )


def test_what_is_skipped_is_passed_on(tiny):
    gone = Skipped(7, "no tokens", "skipped")
    results = list(run(forward_of(tiny("gpt2")), [gone, [text(3, 1)], gone], 8))
    assert len(results) == 3
    assert results.count(gone) == 2
    assert list(run(forward_of(tiny("gpt2")), [gone], 8)) == [gone]
    assert list(run(forward_of(tiny("gpt2")), [], 8)) == []


@pytest.mark.parametrize("n_workers", [1, 4])
def test_every_text_comes_once_when_the_memory_is_short(tiny, monkeypatch, n_workers):
    sizes = []
    call = Forward.__call__

    def limited(self, texts):
        sizes.append(len(texts))
        return call(self, texts) if len(texts) <= 2 else None

    monkeypatch.setattr(Forward, "__call__", limited)
    batches = [[text(2, 10 * batch + row) for row in range(8)] for batch in range(6)]
    with threads(n_workers):
        results = list(run(forward_of(tiny("gpt2")), batches, 16))
    assert sorted(item for result in results for item in result.item_ids.tolist()) == sorted(
        passage.item_ids[0] for batch in batches for passage in batch
    )
    # At each of the two sizes that do not fit, only those that were under way before the first of
    # them failed.
    assert sum(size > 2 for size in sizes) <= 2 * (2 * n_workers)


def test_leaving_early_stops_the_workers_and_gives_torch_its_threads_back(tiny):
    with threads(3):
        results = run(forward_of(tiny("gpt2")), ([text(4, n)] for n in range(1000)), 8)
        next(results)
        results.close()
        assert torch.get_num_threads() == 3
    assert not any(thread.name.startswith("embstore-encoder") for thread in threading.enumerate())


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
