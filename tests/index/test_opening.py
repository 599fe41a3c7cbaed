"""An index is opened once, by whichever thread is first."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
from hanging import HUNG_SECONDS, wait_until

from embstore.base.errors import DamagedError
from embstore.index import IndexOptions, choose, open_in_background, open_index, opening, structure, write_index

SHARDS = ["part-" + "a" * 16]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "space=toy" / "layer=00.faiss"
    write_index(path, [(np.arange(3), np.eye(3, dtype=np.float32))], space="toy", layer=0, dim=3, shards=SHARDS)
    return path


@pytest.fixture
def reads(monkeypatch):
    """The threads that have begun to read an index, which takes a while."""
    begun: list[threading.Thread] = []
    read = opening.open_file

    def slowly(*arguments: object) -> object:
        begun.append(threading.current_thread())
        time.sleep(0.3)
        return read(*arguments)

    monkeypatch.setattr(opening, "open_file", slowly)
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
    monkeypatch.setattr(opening, "open_file", None)
    assert open_index(path, ["part-" + "b" * 16]) is None
    assert open_index(path.with_name("none"), SHARDS) is None


def test_damage_that_the_background_meets_is_told_to_who_asks(path):
    path.write_bytes(path.read_bytes()[:40])
    open_in_background([(path, SHARDS)])
    with pytest.raises(DamagedError, match=r"layer=00\.faiss is damaged"):
        open_index(path, SHARDS)


def test_an_index_is_written_while_a_smaller_one_is_opened(tmp_path, monkeypatch):
    """FAISS has one limit on the size of vectors for the process, which belongs to the index that is being opened."""
    begun, may_go_on = threading.Event(), threading.Event()
    check = structure._check

    def waiting(*arguments: object) -> None:
        begun.set()
        may_go_on.wait(HUNG_SECONDS)
        check(*arguments)

    def write(name: str, n: int) -> Path:
        path = tmp_path / name / "space=toy" / "layer=00.faiss"
        vectors = np.random.default_rng(n).normal(size=(n, 8)).astype(np.float32)
        write_index(
            path, [(np.arange(n), vectors)], space="toy", layer=0, dim=8, shards=SHARDS,
            options=IndexOptions(choose("hnsw", n, 8, 1 << 30)),
        )  # fmt: skip
        return path

    small = write("small", 3)
    monkeypatch.setattr(structure, "_check", waiting)
    with ThreadPoolExecutor(2) as pool:
        opens = pool.submit(open_index, small, SHARDS)
        assert begun.wait(HUNG_SECONDS)
        writes = pool.submit(write, "large", 500)
        assert not wait([writes], timeout=0.5).done
        may_go_on.set()
        assert writes.result(HUNG_SECONDS).exists()
        assert opens.result(HUNG_SECONDS) is not None
