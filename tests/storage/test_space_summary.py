"""The merged summary of a space: the same sums from one file, and never those of other shards."""

from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_damage import flipped
from synthetic import synthetic_card

from embstore.base.errors import DamagedError
from embstore.base.summary import Summary
from embstore.storage.catalog import Catalog
from embstore.storage.answers import read_merged
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.vectors import ShardContent
from embstore.storage.maintenance.compaction import write_all_merged, write_merged
from embstore.storage.transaction.commit import create_store, write_card, write_shard
from embstore.storage.transaction.manifest import committed_shards

CARD = synthetic_card(n_blocks=1, top_form=None, dim=3)


def sums(root: Path, space: str = CARD.space) -> dict[int, Summary]:
    return Catalog(root).summaries(space)


def same(mine: Summary, its: Summary) -> bool:
    """Whether two summaries are the same to the last bit."""
    return all(np.array_equal(getattr(mine, name), getattr(its, name)) for name in Summary.__slots__)


@pytest.fixture
def made(make_store):
    made = make_store(n=30, n_shards=5, index=False)
    write_all_merged(made.paths)
    return made


@settings(max_examples=12, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=6),
    merged_after=st.integers(0, 6),
    scale=st.sampled_from([1e-30, 1.0, 1e15]),
    seed=st.integers(0, 99),
)
@pytest.mark.slow
def test_the_sums_are_those_of_all_vectors_however_they_are_split_and_merged(
    tmp_path_factory, sizes, merged_after, scale, seed
):
    root = tmp_path_factory.mktemp("split")
    paths = StorePaths(root)
    create_store(paths)
    write_card(paths, CARD)
    vectors = (np.random.default_rng(seed).normal(size=(2, sum(sizes), 3)) * scale).astype(np.float32)
    parts: dict[str, tuple[Shard, slice]] = {}
    for place, size in enumerate(sizes):
        if place == merged_after:
            write_merged(paths, CARD)
        begin = sum(sizes[:place])
        part = slice(begin, begin + size)
        shard = write_shard(paths, ShardContent(CARD, np.arange(begin, begin + size), vectors[:, part]))
        parts[shard.name] = (shard, part)
    before = sums(root)
    write_merged(paths, CARD)
    for shard, _ in parts.values():
        shard.summary_path.unlink()  # so that only the merged summary can answer
    found = sums(root)
    for layer in (0, 1):
        assert before[layer].isclose(Summary.of(vectors[layer]), rtol=1e-12)
        assert same(before[layer], found[layer])
        in_order = [Summary.of(vectors[layer, parts[name][1]]) for name in sorted(parts)]
        assert same(found[layer], reduce(add, in_order, Summary.empty(3)))


def test_its_size_does_not_depend_on_the_number_of_shards(made, make_store):
    more = make_store("more", n=30, n_shards=9, index=False)
    write_all_merged(more.paths)
    assert len({each.paths.merged(each.space).stat().st_size for each in (made, more)}) == 1


def test_a_merged_summary_of_shards_that_are_gone_is_not_used(made):
    gone = committed_shards(made.paths, made.space)[2]
    gone.path.unlink()
    n = Catalog(made.root).count(made.space)
    assert n < 30
    assert [each.n for each in sums(made.root).values()] == [n] * 5
    write_merged(made.paths, made.card)
    merged = read_merged(made.paths, made.card)
    assert merged is not None
    assert merged.is_of(committed_shards(made.paths, made.space))
    assert merged.sums[0].n == n


def test_the_merged_summary_of_another_space_is_not_used(made, make_store):
    other = make_store("other", n=30, dim=4, n_shards=5, index=False)
    other.paths.merged(other.space).parent.mkdir()
    other.paths.merged(other.space).write_bytes(made.paths.merged(made.space).read_bytes())
    assert sums(other.root, other.space)[0].isclose(Summary.of(other.layer(0)))
    assert read_merged(other.paths, other.card) is None, "it has other dimensions"


def test_it_is_written_only_where_something_has_changed(made):
    path = made.paths.merged(made.space)
    before = path.stat()
    write_all_merged(made.paths)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino


def test_one_shard_needs_no_merged_summary(make_store):
    made = make_store(n_shards=1, index=False)
    write_all_merged(made.paths)
    assert not made.paths.merged(made.space).exists()


def test_a_damaged_summary_is_merged_into_nothing_and_named_by_a_question(make_store):
    made = make_store(n_shards=3, index=False)
    summary = committed_shards(made.paths, made.space)[1].summary_path
    summary.write_bytes(flipped(summary.read_bytes(), 5000))
    write_all_merged(made.paths)
    assert not made.paths.merged(made.space).exists()
    with pytest.raises(DamagedError, match=summary.name):
        sums(made.root)


def test_a_build_writes_it_and_questions_need_nothing_else(tmp_path, checkpoint):
    from embstore import Store

    store = Store(tmp_path / "store")
    for name, words in (("a.txt", "one\ntwo\nthree\n"), ("b.txt", "four\nfive\n")):
        (tmp_path / name).write_text(words)
        store.build(str(tmp_path / name), models=str(checkpoint))
    expected = store.query("anisotropy").to_pylist()
    assert expected[0]["n"] == 5
    for path in (tmp_path / "store" / "summaries").rglob("*.parquet"):
        path.unlink()
    assert Store(tmp_path / "store").query("anisotropy").to_pylist() == expected
