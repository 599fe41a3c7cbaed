"""Several processes on one store: readers see one state or another, and of two writers one at a time writes."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from unittest import mock

import fault_stores
import pytest
from fault_stores import WORDS, build, build_other, stored_ids, words, wrong_answers
from hanging import wait_until
from killing import CONTEXT, Work

from embstore import Store
from embstore.base.errors import LockedError, UnknownNameError
from embstore.storage.files.paths import StorePaths
from embstore.storage.transaction import lock

pytestmark = pytest.mark.fault

ROUNDS = 6


def grow_and_compact(n_reads: Synchronized, root: Path) -> None:
    """Add shards, compact, take in another store, remove a space and build it again, over and over.

    Args:
        n_reads: number of times that the reader has looked; each round goes on until it has done so once more.
        root: the store.
    """
    parent = os.getppid()
    for number in range(ROUNDS):
        n_before = n_reads.value
        words(root, [f"turn{number}-{place}" for place in range(20)], n_shards=5)
        Store(root).compact()
        Store(root).merge(root.parent / "other")
        Store(root).remove("theirs")
        while n_reads.value == n_before and os.getppid() == parent:
            time.sleep(0.01)


def test_readers_beside_all_commands(tmp_path):
    """Answers are right at every moment, though files come and go; no reader is told of damage."""
    root = tmp_path / "store"
    build(root)
    build_other(tmp_path / "other")
    for number in range(ROUNDS):
        words(tmp_path / "known", [f"turn{number}-{place}" for place in range(20)])
    n_reads, seen = CONTEXT.Value("i", 0), set()
    work = Work(partial(grow_and_compact, n_reads, root))
    try:
        lasting = Store(root)
        while work.is_alive:
            assert wrong_answers(lasting, _unless_removed) == []
            assert wrong_answers(Store(root), _unless_removed) == []
            if n_reads.value % 4 == 0:
                assert Store(root).verify().problems == ()
                lasting.refresh()
            seen.add(len(stored_ids(root)["toy.word.last"]))
            n_reads.value += 1
        assert not work.was_killed()
    finally:
        work.kill()
    assert n_reads.value >= 5
    assert len(seen) >= 3, "it looked at several states"
    assert min(seen) >= len(WORDS), "what was there stays"
    assert Store(root).verify(deep=True).problems == ()


def _unless_removed(question):
    """A space that is removed meanwhile is unknown, which is the truth."""
    try:
        return question()
    except UnknownNameError as error:
        assert "theirs" in str(error)  # noqa: PT017
        return None


def test_two_writers(tmp_path):
    """Of commands that are started at once some are refused, by name, and what is done is whole."""
    root = tmp_path / "store"
    build(root)
    build_other(tmp_path / "other")
    for _ in range(5):
        works = [Work(partial(command, root)) for command in (merge_or_not, compact_or_not, build_or_not)]
        for work in works:
            assert not work.was_killed()
    refused = sum(int(line) for line in (tmp_path / "refused").read_text().split())
    assert refused >= 1
    assert Store(root).verify(deep=True).problems == ()
    assert wrong_answers(Store(root)) == []


def _tried(command, root: Path) -> None:
    """Run a command, and note whether it is refused; the first that writes waits until another one is."""
    refused, recorded = root.parent / "refused", lock.owner_recorded

    @contextmanager
    def waiting(paths: StorePaths) -> Iterator[None]:
        with recorded(paths):
            wait_until(refused.exists, "the refusal of another command")
            yield

    try:
        with mock.patch.object(lock, "owner_recorded", waiting):
            command(root)
    except LockedError as error:
        assert "is being written by" in str(error)  # noqa: PT017
        with refused.open("a") as file:
            file.write("1\n")


def merge_or_not(root: Path) -> None:
    _tried(fault_stores.merge, root)


def compact_or_not(root: Path) -> None:
    _tried(fault_stores.compact, root)


def build_or_not(root: Path) -> None:
    _tried(build, root)
