"""How the items of a build are cut into parts, and what is taken together."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embstore.base.errors import UsageError
from embstore.base.sharding import KEYS, SHARD_ITEMS, Parts, ShardSpec

sizes = st.integers(0, 10**9)
keys = st.integers(0, KEYS - 1)


def _plan(n_items, item_bytes=40_000, worker=None, n_chars=None):
    return Parts.plan(
        n_items,
        8 * n_items if n_chars is None else n_chars,
        item_bytes,
        128 << 20,
        worker or ShardSpec(),
    )


@settings(deadline=None, max_examples=60)
@given(sizes, st.integers(1, 10**6), st.integers(0, 10**10), st.lists(keys, max_size=20))
def test_every_key_is_in_one_window_of_one_part(n_items, item_bytes, n_chars, some):
    parts = _plan(min(n_items, 10**15 // item_bytes), item_bytes, n_chars=n_chars)
    for key in [0, KEYS - 1, *some]:
        part = key * parts.n // KEYS
        windows = list(parts.windows(part))
        assert [each.end for each in windows[:-1]] == [each.first for each in windows[1:]]
        assert sum(each.first <= key < each.end for each in windows) == 1
        for other in {max(0, part - 1), min(parts.n - 1, part + 1)} - {part}:
            assert not any(each.first <= key < each.end for each in parts.windows(other))
    assert next(parts.windows(0)).first == 0
    assert list(parts.windows(parts.n - 1))[-1].end == KEYS


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**7), st.integers(1, 10**6))
def test_a_part_is_about_a_shard(n_items, item_bytes):
    parts = _plan(n_items, item_bytes)
    n_bytes = n_items * item_bytes
    assert n_bytes / parts.n <= 128 << 20
    assert n_items / parts.n <= SHARD_ITEMS
    is_full = n_items / parts.n >= SHARD_ITEMS / 2
    assert parts.n == 1 or n_bytes / parts.n >= 10 << 20 or is_full
    assert parts.n <= 4 or n_bytes / parts.n >= 96 << 20 or is_full
    assert n_items / (parts.n * parts.n_windows) <= 12_288


def test_long_texts_make_small_windows():
    parts = _plan(1000, n_chars=10**9)
    assert 10**9 / (parts.n * parts.n_windows) <= 8 << 20


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 10**7), st.integers(1, 9))
def test_a_worker_cuts_its_share_of_the_items_like_a_build_of_as_many(n_items, of):
    shared, alone = _plan(n_items * of, worker=ShardSpec(1, of)), _plan(n_items)
    assert (shared.n, shared.n_windows) == (alone.n, alone.n_windows)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 60), st.integers(1, 3), st.data())
@pytest.mark.slow
def test_packing_keeps_every_missing_item_once(n, n_windows, data):
    parts = Parts(n, n_windows, ShardSpec())
    counts = {}
    for window in range(n * n_windows):
        wanted = data.draw(st.integers(0, 5))
        counts[window] = (wanted, data.draw(st.integers(0, wanted)))
    shards = list(parts.pack(counts))
    ranges = [each for shard in shards for each in shard]
    for part in range(n):
        for at, window in enumerate(parts.windows(part)):
            missing = counts[part * n_windows + at][1]
            covering = [
                each for each in ranges if each.first <= window.first and window.end <= each.end
            ]
            assert len(covering) == 1 if missing else len(covering) <= 1


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 60), st.integers(1, 3))
def test_where_all_is_missing_packing_changes_nothing(n, n_windows):
    parts = Parts(n, n_windows, ShardSpec())
    counts = dict.fromkeys(range(n * n_windows), (7, 7))
    assert list(parts.pack(counts)) == [list(parts.windows(part)) for part in range(n)]


def test_a_little_more_text_makes_one_shard():
    parts = Parts(1000, 2, ShardSpec())
    counts = {window: (100, int(window % 50 == 0)) for window in range(2000)}
    assert [len(shard) for shard in parts.pack(counts)] == [1]
    assert list(parts.pack(dict.fromkeys(range(2000), (100, 0)))) == []


def test_a_turn_is_written_as_a_fraction():
    assert ShardSpec.parse(" 2/3 ") == ShardSpec(2, 3)
    assert str(ShardSpec(2, 3)) == "2/3"
    for text in ("5/3", "0/3", "1/0", "-1/3", "1", "1/2/3", "a/b", "", "1.0/2", "١/٢"):
        with pytest.raises(UsageError, match=r"write i/n with 1 ≤ i ≤ n"):
            ShardSpec.parse(text)
