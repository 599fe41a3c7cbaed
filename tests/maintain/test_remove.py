"""remove: a space is gone at once, its files after it; what is left of a killed removal does not count."""

import weakref
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from store_writing import SkippedText, write_skipped

from embstore.base import disk
from embstore.base.errors import UnknownNameError, UsageError
from embstore.storage.tables import read_part
from embstore.storage.transaction.commit import rewrite_tables
from embstore.storage.transaction.manifest import list_parts


def test_nothing_of_the_space_is_left_and_all_of_the_others(make_store):
    make_store(n=9, space="other")
    made = make_store(n=20)
    write_skipped(made.paths, [SkippedText("a", "skipped", "why", space, 1) for space in ("other", made.space)])
    answer = made.store.query("norms", spaces="other").to_pylist()
    planned = made.store.remove(made.space, dry_run=True).to_pylist()
    [row] = made.store.remove(made.space).to_pylist()
    assert planned == [{**row, "action": "would remove"}]
    assert (row["action"], row["file"], row["items"]) == ("removed", f"spaces/{made.space}.json", 20)
    assert row["bytes"] > 0
    assert not [path for path in made.root.rglob("*") if made.space in str(path.relative_to(made.root))]
    assert made.store.info()["space"] == ["other"]
    assert made.store.query("norms").to_pylist() == answer
    assert made.store.skipped()["space"] == ["other"]
    assert made.store.verify(deep=True).problems == ()
    again = make_store(n=20, new_only=True)
    assert again.store.info()["items"] == [9, 20]
    assert again.store.verify(deep=True).problems == ()


def test_unknown_names_and_none(make_store):
    made = make_store(n=5)
    with pytest.raises(UnknownNameError, match=r"unknown space 'toy.word.lst'. Did you mean 'toy.word.last'"):
        made.store.remove(["toy.word.last", "toy.word.lst"])
    assert made.store.info()["items"] == [5]
    with pytest.raises(UsageError, match="spaces="):
        made.store.remove([])


def test_a_space_with_a_damaged_card_or_without_one_can_go(make_store):
    for damage in (lambda card: card.write_text("{"), Path.unlink):
        made = make_store(n=5)
        damage(made.paths.card(made.space))
        assert not made.store.verify().ok
        made.store.remove(made.space)
        assert made.store.verify().ok
        assert made.store.info()["space"] == []


@pytest.mark.parametrize("step", [1, 4, 12])
def test_what_is_left_of_a_killed_removal_does_not_count(make_store, step):
    make_store(n=9, space="other")
    made = make_store(n=20)

    def die(operation: str, *_: object) -> None:
        nonlocal step
        step -= operation == "remove" and committed
        if step == 0:
            raise KeyboardInterrupt

    committed = False

    def watch(operation: str, path: Path, source: Path | None) -> None:
        nonlocal committed
        die(operation)
        committed |= operation == "sync folder" and path == made.paths.manifests

    with pytest.raises(KeyboardInterrupt), disk.watched(watch):
        made.store.remove(made.space)
    assert made.store.verify(deep=True).problems == ()
    assert made.store.info()["space"] == ["other"]
    assert {row["action"] for row in made.store.repair(dry_run=True)} == {"would remove"}
    assert made.store.remove(made.space)["detail"] == ["what an earlier removal had left"]
    assert not [path for path in made.root.rglob("*") if made.space in str(path.relative_to(made.root))]


def test_tables_are_rewritten_one_at_a_time(make_store):
    """Those of a large store are not in memory together."""
    made = make_store(n=5)
    alive: list[weakref.ref[pa.Table]] = []
    n_alive = []

    def tables() -> Iterator[tuple[Path, pa.Table]]:
        for number in range(6):
            write_skipped(made.paths, [SkippedText(f"a{number}", "skipped", "why", made.space, number)])
            [path] = {*list_parts(made.paths, made.paths.skipped).files} - seen
            seen.add(path)
            table = read_part(path)
            alive.append(weakref.ref(table))
            n_alive.append(sum(each() is not None for each in alive))
            yield path, table

    seen: set[Path] = set()
    rewrite_tables(made.paths, made.paths.skipped, tables())
    assert max(n_alive) <= 2


def test_a_reader_from_before_is_told_that_it_is_gone(make_store):
    make_store(n=9, space="other")
    made = make_store(n=20)
    reader = made.store
    assert reader.catalog.shards[made.space]
    made.store.remove(made.space)
    with pytest.raises(UnknownNameError, match=f"unknown space '{made.space}'.* Known: other"):
        reader.vectors(made.space, 0)
