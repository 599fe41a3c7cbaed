"""FAISS indexes and their cards: what they cover, what is said of damage; each is opened once, by the first thread."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hanging import wait_until
from index_cache import close_cached_indexes

from embstore.base.errors import DamagedError
from embstore.index import (
    IndexCard,
    faiss_index,
    open_in_background,
    open_index,
    opening,
    remove_index,
    unit_vectors,
    write_index,
)
from embstore.index.searching import Index

SHARDS = [f"part-{letter * 16}" for letter in "ab"]


def write(path: Path, *blocks: tuple[np.ndarray, np.ndarray]) -> IndexCard:
    return write_index(path, blocks, space="toy", layer=0, dim=blocks[0][1].shape[1], shards=SHARDS)


def test_unit_vectors_of_any_size_and_of_none():
    x = np.array([[3e30, 4e30], [3e-30, 4e-30], [0, 0]], np.float32)
    np.testing.assert_allclose(unit_vectors(x), [[0.6, 0.8], [0.6, 0.8], [0, 0]], rtol=1e-6)
    assert unit_vectors(np.ones((1, 4), np.float16)).tolist() == [[0.5] * 4]


def test_the_card_says_what_the_index_covers(tmp_path):
    path = tmp_path / "space=toy" / "layer=00.faiss"
    assert IndexCard.read(path) is None
    card = write(path, (np.arange(3), np.eye(3, dtype=np.float32)))
    assert IndexCard.read(path) == card
    assert (card.n, card.dim, card.kind, card.metric) == (3, 3, "flat", "cosine")
    assert card.covers(SHARDS[::-1])
    assert not card.covers(SHARDS[:1])
    assert not card.covers([*SHARDS, "part-" + "c" * 16])
    remove_index(path)
    assert list(path.parent.iterdir()) == []


def test_a_truncated_index_is_named_with_the_remedy(make_store):
    made = make_store(n=30)
    path = made.paths.index(made.space, made.card.layers.members[-1])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DamagedError, match=r"is damaged: .*Delete it, and an exact scan answers") as caught:
        made.store.neighbours("text1", layers="raw")
    assert str(path) in str(caught.value)
    path.unlink()
    found = made.store.neighbours("text1", layers="raw", k=3)
    assert len(found) == 3
    assert any("exact scan" in note for note in found.notes), "the remedy works"


def test_a_write_that_fails_leaves_no_index_that_looks_damaged(make_store, monkeypatch):
    from embstore.base import atomic

    made = make_store(n=10)
    path = made.paths.index(made.space, made.card.layers.members[1])

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(atomic, "write_document", fail)
    with pytest.raises(ZeroDivisionError):
        write(path, (np.arange(3), np.eye(3, dtype=np.float32)))
    monkeypatch.undo()
    assert not path.exists()
    assert made.store.verify().ok
    assert len(made.store.neighbours("text1", layers=1, k=3)) == 3


def test_a_flat_index_is_checked_once_while_it_is_open(make_store, monkeypatch):
    made = make_store(n=50)
    close_cached_indexes()
    checked: list[Path] = []
    check = Index.check
    monkeypatch.setattr(Index, "check", lambda index, card: checked.append(index.path) or check(index, card))
    for text in made.texts[:5]:
        made.store.neighbours(text, layers=1)
    assert len(checked) == 1


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "space=toy" / "layer=00.faiss"
    write_index(path, [(np.arange(3), np.eye(3, dtype=np.float32))], space="toy", layer=0, dim=3, shards=SHARDS)
    return path


@pytest.fixture
def reads(monkeypatch):
    """The threads that have begun to read an index, which takes a while."""
    begun: list[threading.Thread] = []
    read = faiss_index.load

    def slowly(*arguments: Any) -> Any:
        begun.append(threading.current_thread())
        time.sleep(0.3)
        return read(*arguments)

    monkeypatch.setattr(faiss_index, "load", slowly)
    return begun


def test_what_is_being_opened_is_waited_for(path, reads):
    open_in_background([(path.with_name("none"), SHARDS), (path, SHARDS)])
    wait_until(lambda: reads, "the thread that opens it")
    opened = open_index(path, SHARDS)
    assert opened is not None
    assert opened[1].ids.tolist() == [0, 1, 2]
    assert len(reads) == 1
    assert reads[0] is not threading.main_thread()
    assert open_index(path, SHARDS) == opened


def test_what_is_open_is_not_opened_again(path, monkeypatch):
    assert open_index(path, SHARDS) is not None
    monkeypatch.setattr(opening, "Thread", None)
    open_in_background([(path, SHARDS)])
    open_in_background([(path.with_name("none"), SHARDS)])
    open_in_background([])


def test_what_covers_other_shards_is_not_opened(path, monkeypatch):
    monkeypatch.setattr(faiss_index, "load", None)
    assert open_index(path, ["part-" + "b" * 16]) is None
    assert open_index(path.with_name("none"), SHARDS) is None


def test_damage_that_the_background_meets_is_told_to_who_asks(path):
    path.write_bytes(path.read_bytes()[:40])
    open_in_background([(path, SHARDS)])
    with pytest.raises(DamagedError, match=r"layer=00\.faiss is damaged"):
        open_index(path, SHARDS)
