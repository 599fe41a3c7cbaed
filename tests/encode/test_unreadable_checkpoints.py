"""What the system refuses while a checkpoint's files are read is said of the file, with the reason and the remedy."""

import errno
import json
import os
from pathlib import Path

import pytest

from embstore.base import disk
from embstore.base.errors import CheckpointAccessError, CheckpointError, FileAccessError
from embstore.encode.checkpoint import _suggestions, fingerprint, resolve

CODES = (errno.EACCES, errno.EIO, errno.EMFILE, errno.ESTALE)


@pytest.fixture
def folder(tmp_path):
    for name in ("config.json", "tokenizer.json", "model-1.safetensors"):
        (tmp_path / name).write_text("{}")
    write_index(tmp_path, "model-1.safetensors")
    return tmp_path


def write_index(folder: Path, *shards: str) -> None:
    index = {"weight_map": {str(n): shard for n, shard in enumerate(shards)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_each_operation_on_a_file(folder):
    def use() -> None:
        fingerprint(resolve(str(folder)))

    seen: list[tuple[str, str]] = []
    with disk.watched(lambda name, path, _: seen.append((name, path.name))):
        use()
    assert {name for kind, name in seen if kind == "read"} == {path.name for path in folder.iterdir()}
    for n, (_, name) in enumerate(seen):
        left, code = n, CODES[n % len(CODES)]

        def fail(*_: object, code: int = code) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(code, os.strerror(code))

        with disk.watched(fail), pytest.raises(CheckpointAccessError) as caught:
            use()
        assert isinstance(caught.value, CheckpointError)
        assert isinstance(caught.value, FileAccessError)
        assert str(caught.value).startswith(f"{folder / name} cannot be read: {os.strerror(code)}. ")
        assert not str(caught.value).endswith(f"{os.strerror(code)}. ")


def test_a_name_that_is_too_long_for_the_system(folder):
    shard = f"{'x' * 300}.safetensors"
    write_index(folder, shard)
    with pytest.raises(CheckpointAccessError, match=f"{shard} cannot be read: File name too long"):
        resolve(str(folder))


def test_links_without_an_end(folder):
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("config.json")
    with pytest.raises(CheckpointAccessError, match=r"config\.json cannot be read: .*links lead from one to the other"):
        resolve(str(folder))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file of Linux that gives EIO")
@pytest.mark.parametrize("name", ["model-1.safetensors", "model.safetensors.index.json"])
def test_an_error_that_the_system_gives(folder, name):
    (folder / name).unlink()
    (folder / name).symlink_to("/proc/self/mem")
    with pytest.raises(CheckpointAccessError, match=f"{name} cannot be read: Input/output error. The disk or the"):
        fingerprint(resolve(str(folder)))


def test_a_folder_that_is_not_listed_gives_no_near_names(folder, monkeypatch):
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert _suggestions(f"mine={folder / 'gone'}") == f" There is no folder {str(folder / 'gone')!r} either."
