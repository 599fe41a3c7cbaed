"""A store needs locks that exclude and renames that replace: said at once where the file system has neither."""

import errno
import os
from pathlib import Path

import pytest
from filelock import FileLock
from synthetic import synthetic_store

from embstore import Store
from embstore.errors import StoreError
from embstore.parts import Turn
from embstore.storage import lock
from embstore.storage.writer import StoreWriter


def refused(root: Path, turn: Turn | None = None) -> str:
    with pytest.raises(StoreError) as caught, StoreWriter(root, turn):
        pytest.fail("it was opened for writing")
    assert str(root) in str(caught.value)
    assert "local disk" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("turn", [None, Turn(1, 2)])
def test_locks_that_exclude_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn: Turn | None) -> None:
    """As on a share that accepts flock and ignores it."""
    made = synthetic_store(tmp_path / "store", n=5)
    monkeypatch.setattr(FileLock, "acquire", lambda *_, **__: None)
    assert "no locks that work" in refused(made.root, turn)
    monkeypatch.undo()
    assert Store(made.root).verify().ok


@pytest.mark.parametrize(
    "error", [NotImplementedError("flock"), OSError(errno.ENOLCK, "no locks"), OSError(errno.ENOSYS, "not implemented")]
)
def test_locks_that_cannot_be_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(lock.FileLock, "acquire", acquire)
    assert "no locks that work" in refused(tmp_path / "store")


def test_renames_that_do_not_replace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "replace", refuse)
    assert "does not replace a file" in refused(tmp_path / "one")

    def copy(source: Path, target: Path) -> None:
        Path(target).write_bytes(Path(source).read_bytes())

    monkeypatch.setattr(os, "replace", copy)
    assert "does not replace a file" in refused(tmp_path / "two")


def test_a_sound_file_system_is_left_as_it_was(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store"):
        pass
    assert sorted(os.listdir(tmp_path / "store")) == [".lock", "store.json"]
