"""Manifests: what they name is the store, a commit is the creation of the next one, and two writers lose nothing."""

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embstore.base import atomic, checksum, disk
from embstore.base.errors import DamagedError, FileAccessError, StoreError
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.maintenance.compaction import Sized, plan_groups
from embstore.storage.transaction import commit as commits
from embstore.storage.transaction import manifest as manifests
from embstore.storage.transaction.commit import Change, commit, committing, create_store
from embstore.storage.transaction.manifest import is_outdated, read_snapshot


@pytest.fixture
def paths(tmp_path):
    paths = StorePaths(tmp_path.resolve() / "store")
    paths.root.mkdir()
    create_store(paths)
    return paths


def part(paths: StorePaths, number: int) -> Path:
    """A part file of items; only its name and size matter here."""
    path = paths.items / f"part-{number:016x}.parquet"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * number)
    return path


def numbers(paths: StorePaths) -> set[int]:
    return {int(key[-24:-8], 16) for key in read_snapshot(paths).files}


def forget_what_was_read() -> None:
    manifests._newest.clear()


def chain_limits(patch: pytest.MonkeyPatch, few: int = 0, changes: int = 3) -> None:
    patch.setattr(commits, "_FEW_FILES", few)
    patch.setattr(commits, "_MAX_CHANGES", changes)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9))), max_size=12), st.integers(0, 5))
@pytest.mark.slow
def test_a_store_is_what_its_commits_make_it(tmp_path_factory, turns, changes):
    """However many manifests are changes of others, and whether or not those were read before."""
    paths = StorePaths(tmp_path_factory.mktemp("chain").resolve() / "store")
    paths.root.mkdir()
    create_store(paths)
    expected: set[int] = set()
    with pytest.MonkeyPatch.context() as patch:
        chain_limits(patch, changes=changes)
        for added, removed in turns:
            old = read_snapshot(paths)
            change = Change(tuple(part(paths, n) for n in added), tuple(part(paths, n) for n in removed))
            commit(paths, change)
            before, expected = expected, (expected - removed) | added
            assert numbers(paths) == expected
            assert is_outdated(paths, old) == bool(before - expected)
            forget_what_was_read()
            assert numbers(paths) == expected
            assert read_snapshot(paths).n_changes <= changes
            assert all(
                properties == {"bytes": int(key[-24:-8], 16)} for key, properties in read_snapshot(paths).files.items()
            )
    n_manifests = len(paths.manifest_numbers())
    assert n_manifests <= 2 * changes + 2


def test_a_small_store_is_one_manifest_and_a_commit_to_a_large_one_is_small(paths, monkeypatch):
    read: list[Path] = []
    for number in range(60):
        commit(paths, Change((part(paths, number),)))
    forget_what_was_read()
    with disk.watched(lambda operation, path, _: read.append(path) if operation == "open" else None):
        assert len(numbers(paths)) == 60
    assert [path.parent.name for path in read] == ["manifests"]
    monkeypatch.setattr(commits, "_MAX_CHANGES", 8)
    commit(paths, Change(tuple(part(paths, number) for number in range(1000, 2000))))
    sizes = []
    for number in range(2000, 2016):
        commit(paths, Change((part(paths, number),)))
        sizes.append(paths.manifest(paths.manifest_numbers()[-1]).stat().st_size)
    assert sorted(sizes)[-2] < 1000, "a change"
    assert [size > 50_000 for size in sizes].index(True) == 7, "a complete one"
    forget_what_was_read()
    assert len(numbers(paths)) == 60 + 1000 + 16


def test_nothing_is_written_where_nothing_changes(paths):
    commit(paths, Change((part(paths, 1),)))
    before = paths.manifest_numbers()
    commit(paths, Change((part(paths, 1),), (part(paths, 2),)))
    assert paths.manifest_numbers() == before


def test_rivals_lose_nothing(paths, monkeypatch):
    """Each takes a number of its own, and changes what those before it made."""
    chain_limits(monkeypatch)

    def add(writer: int) -> None:
        for step in range(10):
            commit(paths, Change((part(paths, 100 * writer + step),)))

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(add, range(1, 13)))
    expected = {100 * writer + step for writer in range(1, 13) for step in range(10)}
    assert numbers(paths) == expected
    assert read_snapshot(paths).number == 121
    forget_what_was_read()
    assert numbers(paths) == expected


def test_a_writer_that_slept_while_others_committed(paths, monkeypatch):
    """The number that it meant to take is free again, as old manifests are deleted."""
    real, slept = atomic.create, []

    def create(path: Path, data: bytes) -> bool:
        if not slept:
            slept.append(path)
            for number in range(10, 20):
                commit(paths, Change((part(paths, number),)))
            assert not path.exists()
        return real(path, data)

    monkeypatch.setattr(atomic, "create", create)
    commit(paths, Change((part(paths, 1),)))
    assert numbers(paths) == {1, *range(10, 20)}
    forget_what_was_read()
    assert numbers(paths) == {1, *range(10, 20)}


def test_a_reader_that_slept_while_others_committed(paths, monkeypatch):
    """The parent of the manifest that it reads was deleted, and a writer that slept took its number."""
    chain_limits(monkeypatch)
    commit(paths, Change((part(paths, 1),)))
    commit(paths, Change((part(paths, 2),)))
    forget_what_was_read()
    real, slept = manifests.read_manifest, []

    def read(path: Path) -> dict[str, Any]:
        found = real(path)
        if not slept:
            slept.append(path)
            assert not found["complete"]
            parent = paths.manifest(found["parent"]["number"])
            other = {**real(parent), "writer": "0" * 16}
            for number in range(10, 20):
                commit(paths, Change((part(paths, number),)))
            assert not parent.exists()
            other.pop(checksum.KEY)
            assert atomic.create(parent, atomic.document_bytes(other, indent=None))
        return found

    monkeypatch.setattr(manifests, "read_manifest", read)
    assert numbers(paths) == {1, 2, *range(10, 20)}


def test_what_another_writer_has_replaced_is_not_replaced_twice(paths):
    first, second, third, fourth = (part(paths, number) for number in range(1, 5))
    commit(paths, Change((first, second)))
    commit(paths, Change((third,), (first, second), {third: (first, second)}))
    with (
        pytest.raises(StoreError, match="replaced or removed by another process"),
        committing(paths, Change((fourth,), (first, second), {fourth: (first, second)})),
    ):
        pass
    assert numbers(paths) == {3}
    assert not fourth.exists()


def test_one_that_is_not_needed_is_skipped(paths):
    for number in (1, 2, 3):
        commit(paths, Change((part(paths, number),)))
    paths.manifest(paths.manifest_numbers()[0]).write_bytes(b"torn")
    forget_what_was_read()
    assert numbers(paths) == {1, 2, 3}


def test_a_change_of_another_manifest_is_damage(paths, monkeypatch):
    chain_limits(monkeypatch, changes=9)
    for number in (1, 2, 3):
        commit(paths, Change((part(paths, number),)))
    forget_what_was_read()
    *_, before, newest = paths.manifest_numbers()
    other = {"removed": [f"items/part-{0:016x}.parquet"]}
    seal(paths.manifest(before), json.loads(paths.manifest(before).read_bytes()) | other)
    with pytest.raises(DamagedError, match=f"it is not the manifest that {newest:020d}.json is a change of"):
        read_snapshot(paths)
    paths.manifest(before).unlink()
    with pytest.raises(DamagedError, match=f"{before:020d}.json is missing"):
        read_snapshot(paths)


EVIL = [
    "../victim", "/etc/passwd", "items/../../x", "items/part-0.parquet", "items/part-0123456789abcdef.parquet/",
    "items",
    "embeddings/part-0123456789abcdef.parquet", "embeddings/space=../part-0123456789abcdef.parquet", "spaces/.json",
    "embeddings/space=a/../part-0123456789abcdef.parquet", "answers/" + "0" * 32 + ".json", "spaces/a\n.json",
    "store.json",
    "items\\part-0123456789abcdef.parquet", "", "manifests/00000000000000000001.json", "datasets/..parquet",
]  # fmt: skip


@pytest.mark.parametrize("key", EVIL)
@pytest.mark.parametrize("place", ["added", "removed", "replaced", "replaced old"])
def test_no_other_name_becomes_a_path(paths, key, place):
    path = paths.manifest(1)
    document = json.loads(path.read_bytes())
    good = "items/part-0123456789abcdef.parquet"
    document |= {
        "added": {"added": {key: {}}}, "removed": {"removed": [key]}, "replaced": {"replaced": {key: []}},
        "replaced old": {"replaced": {good: [key]}},
    }[place]  # fmt: skip
    seal(path, document)
    forget_what_was_read()
    with pytest.raises(DamagedError, match="is no file of a store"):
        read_snapshot(paths)


def seal(path: Path, document: dict[str, object]) -> None:
    path.write_bytes(atomic.document_bytes({key: each for key, each in document.items() if key != checksum.KEY}))


def test_a_file_system_without_hard_links(paths, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: commit(paths, Change((part(paths, number),))), range(20)))
    assert numbers(paths) == {*range(20)}
    assert not list(paths.manifests.glob("*.tmp"))


def test_a_commit_whose_reply_was_lost_is_done_once(paths, monkeypatch):
    """As on a network file system that repeats a request: the link exists, and is this commit's own."""
    real = os.link

    def twice(source: Path, target: Path) -> None:
        real(source, target)
        real(source, target)

    monkeypatch.setattr(os, "link", twice)
    commit(paths, Change((part(paths, 1),)))
    assert numbers(paths) == {1}
    assert read_snapshot(paths).number == 2


def test_files_of_a_commit_that_is_there_are_kept(paths):
    """The folder cannot be flushed after the manifest was created: readers may have seen it."""

    def fail(operation: str, path: Path, _: Path | None) -> None:
        if operation == "sync folder" and path == paths.manifests:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    new = part(paths, 1)
    with (
        pytest.raises(FileAccessError, match=os.strerror(errno.EIO)),
        disk.watched(fail),
        committing(paths, Change((new,))),
    ):
        pass
    assert new.exists()
    assert numbers(paths) == {1}


def test_new_files_are_deleted_if_they_cannot_be_committed(paths):
    def full(operation: str, path: Path, _: Path | None) -> None:
        if operation == "write" and path.parent == paths.manifests:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    old, new = part(paths, 1), part(paths, 2)
    shard = paths.embeddings("space") / new.name
    for path in (shard, Shard(shard).summary_path):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    commit(paths, Change((old,)))
    with (
        pytest.raises(FileAccessError, match="no space left"),
        disk.watched(full),
        committing(paths, Change((old, new, shard))),
    ):
        pass
    assert [path.exists() for path in (old, new, shard, Shard(shard).summary_path)] == [True, False, False, False]
    assert numbers(paths) == {1}


SIZES = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 120)), max_size=30)


@given(SIZES)
def test_the_plan_of_a_compaction(sizes):
    """Groups fit, hold neighbours, and of what comes out nothing fits together any more."""
    target = 100
    parts = [Sized(f"p{place:02d}", first, n_bytes) for place, (first, n_bytes) in enumerate(sizes)]
    groups = plan_groups(parts, target)
    by_name = {part.name: part for part in parts}
    order = sorted(by_name, key=lambda name: (by_name[name].first, name))
    for group in groups:
        assert len(group) > 1
        assert sum(by_name[name].n_bytes for name in group) <= target
        at = order.index(group[0])
        assert list(group) == order[at : at + len(group)]
    grouped = {name for group in groups for name in group}
    after = [part for part in parts if part.name not in grouped]
    for group in groups:
        members = [by_name[name] for name in group]
        after.append(Sized(group[0], members[0].first, sum(part.n_bytes for part in members)))
    assert plan_groups(after, target) == []
