"""Folders in folders, deeper than Python may recurse."""

import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from embstore import Store
from embstore.base import disk
from embstore.base.errors import DamagedError

DEPTH = 1500  # more than Python's limit of recursion, and less than the longest path


@pytest.fixture
def deep(tmp_path):
    """A folder with folders in folders, a file at the bottom; pytest itself could not remove it."""
    os.chdir(tmp_path)  # the test's fixture of the working directory restores it
    for _ in range(DEPTH):
        os.mkdir("d")
        os.chdir("d")
    Path("file").write_bytes(b"")
    os.chdir(tmp_path)
    yield tmp_path / "d"
    subprocess.run(["rm", "-rf", tmp_path], check=True)
    tmp_path.mkdir()


@pytest.fixture(autouse=True)
def working_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_folders_in_folders_are_listed_and_removed(deep):
    assert sum(1 for _ in disk.entries_below(deep)) == DEPTH
    disk.remove_tree(deep)
    assert not deep.exists()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["damaged", ".1-ab.tmp"])
def test_a_store_with_folders_in_folders_can_be_put_right(deep, place, make_store):
    store = Store(make_store().root)
    os.rename(deep, store.path / place)
    os.utime(store.path / place, (time.time() - 25 * 3600,) * 2)
    store.verify()
    store.repair()
    assert store.verify().ok
    assert (store.path / place).exists() == (place == "damaged")


def test_a_device_in_place_of_a_file_is_never_opened(make_store):
    made = make_store()
    path = made.shards_of(0)[0]
    path.unlink()
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero, which never ends
    except PermissionError:
        pytest.skip("making a device needs rights that this system does not give")
    for ask in (
        lambda store: store.vectors(made.space, 0),
        lambda store: store.query("norms", where="true"),
    ):
        with pytest.raises(DamagedError, match=path.name):
            ask(Store(made.root))
    assert not Store(made.root).verify().ok
