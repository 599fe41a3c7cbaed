"""Columns of items in the life of a store: verify, repair, compact, merge, remove, push and
pull.
"""

import re

import pandas as pd
import pytest
from kept_columns import stored_columns, write_columns
from sound_stores import problems_of

from embstore import Store
from embstore.base.errors import StoreError, UnknownNameError, UsageError
from embstore.storage.catalog import Catalog


@pytest.fixture
def made(make_store):
    """A store of 20 items, half of them with two columns in one table, half in another, and a third
    column of all.
    """
    made = make_store(n=20, index=False)
    for first in (0, 10):
        write_columns(made, {"freq": [*range(first, first + 10)], "pos": [None, "NOUN"] * 5}, first)
    write_columns(made, {"share": [item / 7 for item in made.ids.tolist()]})
    return made


def test_compact_unites_the_tables(made):
    before = stored_columns(made.root)
    planned = made.store.compact(dry_run=True)
    assert ("columns", "3 tables into one") in [(row["file"], row["detail"]) for row in planned]
    made.store.compact()
    assert len(Catalog(made.root).column_files) == 1
    pd.testing.assert_frame_equal(stored_columns(made.root), before)
    assert problems_of(made.store) == []
    assert not [row for row in made.store.compact() if "columns" in row["file"]]


def test_merge_takes_the_values_that_are_new(made, make_store):
    before = stored_columns(made.root)
    other = make_store("other", n=30, index=False)
    write_columns(other, {"freq": [7] * 10, "late": [True] * 10}, first=20)
    write_columns(other, {"freq": [3, None], "pos": [None, "X"]}, first=3)
    with_other = pd.concat([before, stored_columns(other.root)]).groupby(level=0).first()
    done = made.store.merge(other.root)
    assert ("columns", 11) in [(row["file"], row["items"]) for row in done]
    after = stored_columns(made.root)
    pd.testing.assert_frame_equal(after, with_other[after.columns], check_dtype=False)
    assert problems_of(made.store) == []
    assert not [row for row in made.store.merge(other.root) if row["file"] == "columns"]


def test_merge_and_push_of_a_space_take_its_numbers_of_tokens_alone(made, make_store, tmp_path):
    other = make_store("other", n=30, index=False, space="new")
    make_store("other", n=20, index=False, space="same")
    make_store(made.root, n=20, index=False, space="same")
    write_columns(made, {"n_tokens.same": [1]})
    write_columns(other, {"n_tokens.same": [2], "n_tokens.new": [3]})
    made.store.merge(other.root, spaces="new")
    assert stored_columns(made.root).loc[
        made.ids[0], ["n_tokens.new", "n_tokens.same"]
    ].tolist() == [3, 1]
    other.store.push(tmp_path / "pushed", spaces="new")
    assert [*stored_columns(tmp_path / "pushed")] == ["n_tokens.new"]


def test_merge_refuses_other_values_and_types(made, make_store):
    before = stored_columns(made.root)
    other = make_store("other", n=20, index=False)
    write_columns(other, {"freq": [4]}, first=3)
    with pytest.raises(
        StoreError, match=r"has the value 3 of the column 'freq' in .*store, and 4 in .*other"
    ):
        made.store.merge(other.root)
    other = make_store("third", n=20, index=False)
    write_columns(other, {"freq": ["3"]}, first=3)
    with pytest.raises(StoreError, match=r"'freq' is of type int64 in .*, and of type string in"):
        made.store.merge(other.root)
    named = rf"'freq' is of type int64 in {re.escape(str(made.root))}, and of type string in"
    with pytest.raises(StoreError, match=named):
        other.store.push(made.root, spaces=other.space)
    pd.testing.assert_frame_equal(stored_columns(made.root), before)


def test_remove_takes_a_column_of_all_items(made):
    before = stored_columns(made.root)
    with pytest.raises(UnknownNameError, match=r"unknown column 'frek'. Did you mean 'freq'"):
        made.store.remove(columns="frek")
    with pytest.raises(UsageError, match="column"):
        made.store.remove()
    [planned] = made.store.remove(columns="freq", dry_run=True)
    assert (planned["action"], planned["items"], planned["detail"]) == (
        "would remove",
        20,
        "the column 'freq' (int64)",
    )
    made.store.remove(columns=["freq", "share"])
    after = stored_columns(made.root)
    pd.testing.assert_frame_equal(after, before[["pos"]].reindex(after.index))
    assert problems_of(made.store) == []
    assert len(Catalog(made.root).column_files) == 2


def test_push_and_pull_carry_columns(made, tmp_path):
    before = stored_columns(made.root)
    made.store.push(tmp_path / "copy")
    pd.testing.assert_frame_equal(stored_columns(tmp_path / "copy"), before)
    Store(tmp_path / "pulled").pull(tmp_path / "copy", spaces=[made.space])
    pulled = stored_columns(tmp_path / "pulled")
    pd.testing.assert_frame_equal(pulled, before)
    write_columns(made, {"late": [True]})
    Store(tmp_path / "pulled").pull(made.root, spaces=[made.space])
    pd.testing.assert_frame_equal(stored_columns(tmp_path / "pulled"), stored_columns(made.root))
    assert problems_of(Store(tmp_path / "pulled")) == []
