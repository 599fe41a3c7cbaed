"""Which index a layer gets: a pure function of size and memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embstore.base.errors import UnknownNameError, UsageError
from embstore.index.card import FLAT_COMPONENTS, KINDS, STORED_KINDS, choose, memory_of

sizes = st.integers(0, 50_000_000)
dims = st.integers(1, 8192)
memories = st.integers(1, 1 << 44)
LARGE = 1 << 50


def kind_or_none(n, dim, memory):
    try:
        return choose("auto", n, dim, memory).kind
    except UsageError:
        return None


@given(n=sizes, dim=dims, memory=memories)
def test_what_is_chosen_fits_and_a_graph_is_of_many_vectors(n, dim, memory):
    kind = kind_or_none(n, dim, memory)
    assert memory_of(kind or "flat", n, dim) <= memory or kind is None
    assert kind is not None or memory_of("flat", n, dim) > memory
    assert kind != "hnsw" or n * dim > FLAT_COMPONENTS


@given(kind=st.sampled_from(STORED_KINDS), n=sizes, more=sizes, dim=dims)
def test_more_vectors_take_more_memory_and_never_less_than_the_index_itself(kind, n, more, dim):
    assert memory_of(kind, n, dim) <= memory_of(kind, n + more, dim)
    assert memory_of(kind, n, dim) >= 2 * n * dim


def test_small_layers_are_exact_large_ones_a_graph_unless_memory_is_scarce():
    assert choose("auto", 10_000, 384, LARGE).kind == "flat"
    assert choose("auto", FLAT_COMPONENTS // 384, 384, LARGE).kind == "flat"
    assert choose("auto", FLAT_COMPONENTS // 384 + 1, 384, LARGE).kind == "hnsw"
    assert choose("auto", 2_000_000, 384, 4 << 30).kind == "hnsw"
    assert choose("auto", 2_000_000, 384, 1_800_000_000).kind == "flat"
    assert choose("auto", 0, 384, LARGE).kind == "flat"


def test_a_kind_that_does_not_fit_says_what_it_takes():
    with pytest.raises(UsageError, match=r"'hnsw' of 1,000,000 vectors .* takes 1\.2 GB"):
        choose("hnsw", 1_000_000, 384, 1_100_000_000)


def test_an_unknown_kind_names_the_known_ones():
    with pytest.raises(
        UnknownNameError, match=r"unknown kind of index 'hnws'\. Did you mean 'hnsw'\?"
    ):
        choose("hnws", 10, 10, LARGE)
    assert KINDS == ("auto", "flat", "hnsw", "none")
