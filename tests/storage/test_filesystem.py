"""A store needs locks that exclude and renames that replace: said at once where the file system has neither."""

import errno
import os
import stat
from pathlib import Path
from unittest.mock import Mock

import pytest
from filelock import FileLock
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import LockedError, StoreError
from embstore.base.sharding import ShardSpec
from embstore.storage.transaction import lock
from embstore.storage.writer import StoreWriter


def refused(root: Path, worker: ShardSpec | None = None) -> str:
    with pytest.raises(StoreError) as caught, StoreWriter(root, worker):
        pytest.fail("it was opened for writing")
    assert str(root) in str(caught.value)
    assert "local disk" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("worker", [None, ShardSpec(1, 2)])
def test_locks_that_exclude_nobody(tmp_path, monkeypatch, worker):
    """As on a share that accepts flock and ignores it."""
    made = synthetic_store(tmp_path / "store", n=5)
    monkeypatch.setattr(FileLock, "acquire", lambda *_, **__: None)
    assert "no locks that work" in refused(made.root, worker)
    monkeypatch.undo()
    assert Store(made.root).verify().ok


def test_while_one_writes_every_other_command_that_writes_is_refused(make_store):
    made, other = make_store(n=5, n_blocks=0), make_store("other", n=6, n_blocks=0)
    commands = [
        lambda store: StoreWriter(store.path).__enter__(), Store.compact, Store.index, Store.repair,
        lambda store: store.repair(dry_run=True), lambda store: store.remove(made.space),
        lambda store: store.merge(other.root), lambda store: StoreWriter(store.path).__enter__(),
    ]  # fmt: skip
    with StoreWriter(made.root):
        for command in commands:  # the last again: the refused ones have not taken the lock away
            with pytest.raises(LockedError, match=rf"is being written by process {os.getpid()} on"):
                command(made.store)
        assert made.store.info()["items"] == [5], "readers need no lock"
    with StoreWriter(other.root):  # it is only read
        made.store.merge(other.root)
    assert made.store.info()["items"] == [6]


def test_locks_that_cannot_be_taken(tmp_path, monkeypatch):
    """Where flock does not exist, filelock would take the existence of a file for one, which two hosts may not see."""
    fcntl = pytest.importorskip("fcntl")
    cases = [(lock.FileLock, "acquire", NotImplementedError("flock")), (lock.FileLock, "acquire", _error(errno.ENOLCK))]
    cases += [(fcntl, "flock", _error(code)) for code in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)]
    for place, name, error in cases:
        monkeypatch.setattr(place, name, Mock(side_effect=error))
        for worker in (None, ShardSpec(1, 2)):
            assert "no locks that work" in refused(tmp_path / "store", worker)
        monkeypatch.undo()


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


@pytest.mark.parametrize("code", [errno.EBADF, errno.EINVAL])
def test_a_file_system_that_locks_files_and_no_folders(tmp_path, monkeypatch, code):
    """As NFS."""
    fcntl = pytest.importorskip("fcntl")
    real = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise _error(code)
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with StoreWriter(tmp_path / "store"), pytest.raises(LockedError), StoreWriter(tmp_path / "store"):
        pytest.fail("it was opened for writing")


@pytest.mark.parametrize(
    ("name", "act", "message"),
    [
        ("replace", Mock(side_effect=_error(errno.EEXIST)), "does not replace a file"),
        ("replace", lambda source, target: Path(target).write_bytes(Path(source).read_bytes()), "not replace a file"),
        ("link", lambda source, target: Path(target).write_bytes(Path(source).read_bytes()), "replaces one by a link"),
    ],
)
def test_renames_that_do_not_replace_and_links_that_do(tmp_path, monkeypatch, name, act, message):
    monkeypatch.setattr(os, name, act)
    assert message in refused(tmp_path / "store")


def test_a_sound_file_system_is_left_as_it_was(tmp_path):
    with StoreWriter(tmp_path / "store"):
        pass
    assert sorted(os.listdir(tmp_path / "store")) == [".lock", "manifests", "store.json"]
