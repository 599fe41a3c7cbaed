"""Several processes on one store: readers see one state or another, and what writers commit is
there once.
"""

import os
import time
from functools import partial

import fault_stores
import numpy as np
import pytest
from fault_figures import LOST, UNSOUND, WRONG, share
from fault_stores import (
    DIM,
    N_BLOCKS,
    TRUTH,
    WORDS,
    build,
    build_other,
    stored_ids,
    vectors_of,
    words,
    wrong_answers,
)
from killing import CONTEXT, Work
from sound_stores import problems_of
from store_writing import NewItems
from synthetic import synthetic_card, synthetic_items
from tiny_checkpoint import content, texts

from embstore import Store
from embstore.base.errors import LockedError, StoreError, UnknownNameError
from embstore.storage import manifest
from embstore.storage.cache import StoreFiles
from embstore.storage.lock import write_lock
from embstore.storage.writer import StoreWriter, write_batch

pytestmark = pytest.mark.fault

ROUNDS = 6


def grow_and_compact(n_reads, root):
    """Add shards, compact, take in another store, remove a space and build it again; delete garbage
    at once.

    Args:
        n_reads: Number of times that the reader has looked; each round goes on until it has done so
            once more.
        root: The store.
    """
    manifest.GARBAGE_SECONDS = -60
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
    assert problems_of(Store(root)) == []


def _unless_removed(question):
    """A space that is removed meanwhile is unknown, which is the truth."""
    try:
        return question()
    except UnknownNameError as error:
        assert "theirs" in str(error)  # noqa: PT017
        return None


def compact_over_and_over(root):
    manifest.GARBAGE_SECONDS = -60
    for number in range(4 * ROUNDS):
        words(root, [f"compacted{number}-{place}" for place in range(4)], n_shards=2)
        Store(root).compact()


def test_verify_beside_compact(tmp_path):
    """Files and indexes vanish while they are checked: that is no damage."""
    root = tmp_path / "store"
    build(root)
    work = Work(partial(compact_over_and_over, root))
    n_checks = 0
    try:
        while work.is_alive:
            assert Store(root).verify().problems == ()
            n_checks += 1
        assert not work.was_killed()
    finally:
        work.kill()
    assert n_checks >= 3


def until_free(command, root):
    """Run a command again and again until no other one writes to the store."""
    while True:
        try:
            return getattr(fault_stores, command)(root)
        except LockedError as error:
            assert "is being written by" in str(error)  # noqa: PT017
            (root.parent / f"refused {command}").touch()
            time.sleep(0.05)


def test_of_several_commands_one_writes_and_the_others_are_refused(tmp_path):
    root = tmp_path / "store"
    build(root)
    build_other(tmp_path / "other")
    commands = ("merge", "compact", "build", "repair")
    with write_lock(StoreFiles.of_folder(root)):
        works = [Work(partial(until_free, command, root)) for command in commands]
        while not all((tmp_path / f"refused {command}").exists() for command in commands):
            assert all(work.is_alive for work in works)
            time.sleep(0.05)
    for work in works:
        assert not work.was_killed()
    assert problems_of(Store(root)) == []
    assert wrong_answers(Store(root)) == []
    assert len(stored_ids(root)["toy.word.last"]) == len({*WORDS, *fault_stores.MORE})


N_RIVALS, N_PARTS, PART = 6, 4, 5


def write(root, reports, space, first):
    """Write the missing parts of a space as a worker without a common lock, and report those that
    were committed.
    """
    card = synthetic_card(space=space, n_blocks=N_BLOCKS, dim=DIM)
    with StoreWriter(root, is_shared=True) as store:
        stored = stored_ids(root).get(space, set())
        for start in range(first, first + N_PARTS * PART, PART):
            items = synthetic_items("word", _texts(start))
            if items[0].id in stored:
                continue
            vectors = np.stack([vectors_of(item.text) for item in items], axis=1)
            ids = np.array([item.id for item in items])
            try:
                texts_of = NewItems(store.files, {item.id: item for item in items})
                store.commit([(write_batch(store.files, card, ids, vectors), texts_of)])
            except StoreError as error:
                assert "of the same items" in str(error)  # noqa: PT017
            else:
                with reports.open("a") as file:
                    file.write(f"{space} {start}\n")


def _texts(start):
    return [f"rival{number}" for number in range(start, start + PART)]


def test_rivals_without_a_lock(tmp_path, tally):
    """Rivals write spaces of their own, other items of one space, and the same ones; some are
    killed.
    """
    counts = tally("rivals", "six writers")
    rng = np.random.default_rng(0)
    for text in (text for start in range(0, 2 * N_PARTS * PART, PART) for text in _texts(start)):
        [item] = synthetic_items("word", [text])
        TRUTH.texts[item.id] = text
        for space in ("own0", "own1", "shared"):
            TRUTH.vectors.setdefault(space, {})[item.id] = vectors_of(text)
    plans = [
        ("own0", 0),
        ("own1", 0),
        ("shared", 0),
        ("shared", 0),
        ("shared", N_PARTS * PART),
        ("shared", 0),
    ]
    for number in range(share(13)):
        root, reports = tmp_path / f"store{number}", tmp_path / f"reports{number}"
        reports.touch()
        StoreFiles.of_folder(root).commit(manifest.Change())
        steps = {
            int(rival): int(rng.integers(5, 120))
            for rival in rng.choice(N_RIVALS, number % 3, replace=False)
        }
        works = [
            Work(partial(write, root, reports, space, first), at_step=steps.get(rival, 1 << 30))
            for rival, (space, first) in enumerate(plans)
        ]
        killed = [work.was_killed() for work in works]
        counts["faults"] += N_RIVALS
        stored, known = content(root), texts(root)  # which fails if an item is there twice
        reported = [line.split() for line in reports.read_text().splitlines()]
        wanted = [
            (space, item.id)
            for space, start in reported
            for item in synthetic_items("word", _texts(int(start)))
        ]
        counts[LOST] += sum(
            item not in stored[space][layer] for space, item in wanted for layer in range(3)
        )
        counts[LOST] += sum(item not in known for _, item in wanted)
        wrong = wrong_answers(Store(root))
        counts[WRONG] += len(wrong)
        problems = problems_of(Store(root))
        counts[UNSOUND] += len(problems)
        assert not [*wrong, *problems]
        if not any(killed):
            assert {space: len(of_space[0]) for space, of_space in stored.items()} == {
                "own0": N_PARTS * PART,
                "own1": N_PARTS * PART,
                "shared": 2 * N_PARTS * PART,
            }
    assert not counts.harm
