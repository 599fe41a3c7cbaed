"""remove: a space is gone at once for whoever opens the store, and its files when a day has
passed.
"""

import os
import time

import pytest
from sound_stores import problems_of
from store_writing import SkippedText, write_skipped
from tiny_checkpoint import named

from embstore import Store
from embstore.base.errors import LockedError, UnknownNameError, UsageError
from embstore.storage import keys
from embstore.storage.lock import write_lock
from embstore.storage.manifest import Change


def test_nothing_of_the_space_is_left_and_all_of_the_others(make_store):
    make_store(n=9, space="other")
    made = make_store(n=20)
    made.store.map(spaces=made.space, layers=0)
    write_skipped(
        made.files,
        [SkippedText("a", "skipped", "why", space, 1) for space in ("other", made.space)],
    )
    answer = made.store.query("norms", spaces="other").to_pylist()
    planned = made.store.remove(made.space, dry_run=True).to_pylist()
    [row] = made.store.remove(made.space).to_pylist()
    assert planned == [{**row, "action": "would remove"}]
    assert (row["action"], row["file"], row["items"]) == (
        "removed",
        f"vectors/space={made.space}",
        20,
    )
    assert row["bytes"] > 0
    assert not [key for key in named(made.root) if made.space in key]
    assert not list((made.root / "derived" / "maps").rglob("*.parquet"))
    assert made.store.info()["space"] == ["other"]
    assert made.store.query("norms").to_pylist() == answer
    assert made.store.skipped()["space"] == ["other"]
    assert problems_of(made.store) == []
    again = make_store(n=20, new_only=True)
    assert again.store.info()["items"] == [9, 20]
    assert problems_of(again.store) == []


def test_files_go_when_a_day_has_passed(make_store, monkeypatch):
    make_store(n=9, space="other")
    made = make_store(n=20)
    reader, paths = made.catalog, [*made.shard_files]
    made.store.remove(made.space)
    assert len(reader.vectors(made.space, 0).gather()[0]) == 20
    for path in made.root.rglob("*.*"):
        os.utime(path, (time.time() - 7200,) * 2)
    made.store.compact()
    assert all(path.exists() for path in paths)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 25 * 3600)
    made.store.compact()
    assert not any(path.exists() for path in paths)
    assert {
        path.relative_to(made.root).as_posix() for path in made.root.glob("[a-ln-z]*/**/*.*")
    } == {*named(made.root)}
    assert problems_of(made.store) == []


def test_unknown_names_and_none(make_store):
    made = make_store(n=5)
    with pytest.raises(
        UnknownNameError, match=r"unknown space 'toy.word.lst'. Did you mean 'toy.word.last'"
    ):
        made.store.remove(["toy.word.last", "toy.word.lst"])
    assert made.store.info()["items"] == [5]
    with pytest.raises(UsageError, match="name the space"):
        made.store.remove([])


@pytest.mark.parametrize("damage", ["altered", "missing", "not named"])
def test_a_space_with_a_damaged_card_or_without_one_can_go(make_store, damage):
    made = make_store(n=5)
    [card] = made.files.manifest().keys_of(keys.CARDS, made.space)
    if damage == "altered":
        (made.root / card).write_text("{")
    elif damage == "missing":
        (made.root / card).unlink()
    else:
        made.files.commit(Change(removed=[card]))
    assert made.store.verify().ok == (damage == "not named")
    made.store.remove(made.space)
    assert made.store.verify().ok
    assert made.store.info()["space"] == []


def test_a_reader_from_before_is_told_that_it_is_gone(make_store):
    make_store(n=9, space="other")
    made = make_store(n=20)
    reader = made.store
    assert reader.catalog.shards(made.space, 0)
    made.store.remove(made.space)
    with pytest.raises(UnknownNameError, match=f"unknown space '{made.space}'.* Known: other"):
        reader.vectors(made.space, 0)


@pytest.mark.parametrize("verb", ["remove", "compact", "repair", "merge"])
def test_a_dry_run_needs_no_lock(make_store, verb):
    made, other = make_store(n=20, n_shards=2), make_store("other", n=5, space="b")
    arguments = {"remove": [made.space], "merge": [other.root]}.get(verb, [])
    with write_lock(made.files):
        getattr(Store(made.root), verb)(*arguments, dry_run=True)
        with pytest.raises(LockedError, match="is being written by another"):
            getattr(Store(made.root), verb)(*arguments)
    getattr(Store(made.root), verb)(*arguments)
