"""An export that is killed leaves its place as it was, or has written all of it; the same export
then completes it.
"""

import os
from functools import partial

import pytest
from killing import count_steps, kill_at
from synthetic import synthetic_store

from embstore import Store
from embstore.base import disk

pytestmark = pytest.mark.fault

SUFFIXES = {"safetensors": ".safetensors", "npy": "", "word2vec": ".vec"}
"""A file, a folder, and a file with its record beside it."""


def _export(root, dest, name):
    Store(root).export(dest, "toy.word.last", format=name, layers="top", force=True)


def _content(dest):
    files = [dest] if dest.is_file() else sorted(path for path in dest.rglob("*") if path.is_file())
    return {str(path.relative_to(dest)): path.read_bytes() for path in files}


@pytest.mark.parametrize("name", SUFFIXES)
def test_an_export_that_is_killed_is_not_to_be_seen(name, tmp_path):
    root = synthetic_store(tmp_path / "store", n=30, index=False).root
    whole = tmp_path / f"whole{SUFFIXES[name]}"
    n_steps = count_steps(partial(_export, root, whole, name))
    assert n_steps >= 1
    for step in range(1, n_steps + 1):
        dest = tmp_path / str(step) / f"whole{SUFFIXES[name]}"
        kill_at(partial(_export, root, dest, name), step)
        assert not dest.exists() or _content(dest) == _content(whole)
        _export(root, dest, name)
        assert _content(dest) == _content(whole)
        assert not list(dest.parent.glob(".*.tmp")), "what was left is gone"


@pytest.mark.parametrize("name", ["npy", "datasets"])
def test_an_exported_folder_is_flushed_before_its_name(name, tmp_path, monkeypatch):
    """After a loss of power a folder has all its files, or is not there."""
    root = synthetic_store(tmp_path / "store", n=30, index=False).root
    done = []
    for module, operation in ((disk, "sync"), (disk, "sync_folder"), (os, "replace")):
        real = getattr(module, operation)
        note = lambda *paths, kind=operation, real=real: (  # noqa: E731
            done.append((kind, paths[-1])),
            real(*paths),
        )
        monkeypatch.setattr(module, operation, note)
    _export(root, tmp_path / "out", name)
    renamed = done.index(("replace", tmp_path / "out"))
    synced = {path.name for operation, path in done[:renamed] if operation == "sync"}
    assert synced >= {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert tmp_path in {
        path.parent for operation, path in done[:renamed] if operation == "sync_folder"
    }
    assert ("sync_folder", tmp_path) in done[renamed:]
