"""A disk that is full at 20 moments: nothing half-written is left, and with more room the same command goes through."""

import ctypes
import os
import random
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import fault_worker
import pytest
from fault_stores import (
    TRUTH,
    Truth,
    build,
    build_behind,
    build_damaged,
    build_other,
    copy,
    held,
    naming,
    wrong_answers,
)
from fault_worker import CONTEXT
from tiny_checkpoint import assert_same_content

from embstore import Store
from embstore.errors import StoreError

pytestmark = pytest.mark.slow

FULL = {"build": 5, "compact": 5, "merge": 5, "repair": 5}
BEGINS = {"build": "other", "compact": "built", "merge": "built", "repair": "damaged"}
_NEW_MOUNTS = 0x00020000
_PAGE = 4096


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disks")
    for name, make in (("built", build), ("other", build_other), ("behind", build_behind), ("damaged", build_damaged)):
        make(folder / name)
    return folder


def can_mount() -> bool:
    probe = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True, check=False)
    return probe.returncode == 0


@pytest.mark.parametrize("name", FULL)
def test_a_full_disk(stores: Path, name: str, tmp_path: Path) -> None:
    work = _on_a_small_disk if can_mount() else _with_small_files
    process = CONTEXT.Process(target=work, args=(name, stores, tmp_path, TRUTH))
    process.start()
    process.join()
    assert process.exitcode == 0, "see the captured standard error"


def _on_a_small_disk(name: str, stores: Path, folder: Path, truth: Truth) -> None:
    """In a process with mounts of its own: fill a small file system in memory at some moments."""
    TRUTH.learn(truth)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(_NEW_MOUNTS) == 0, os.strerror(ctypes.get_errno())
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "x", disk], check=True)
    needed = _run(name, stores, disk)
    shutil.rmtree(disk / "store")
    rng = random.Random(name)
    for _ in range(FULL[name]):
        root = _begin(name, stores, disk)
        size = _used(disk) + max(_PAGE, int(rng.uniform(0.02, 0.9) * needed))
        subprocess.run(["mount", "-o", f"remount,size={size // 1024}k", disk], check=True)
        _must_fail(name, root)
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        _must_go_through(name, root, stores)
        shutil.rmtree(root)


def _with_small_files(name: str, stores: Path, folder: Path, truth: Truth) -> None:
    """Where no file system can be mounted: files may not grow beyond some size."""
    TRUTH.learn(truth)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (300, 700, 1300, 1500, 1700)[: FULL[name]]:
        root = _begin(name, stores, folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            _must_fail(name, root)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        _must_go_through(name, root, stores)
        shutil.rmtree(root)


def _begin(name: str, stores: Path, folder: Path) -> Path:
    copy(stores / "other", folder / "other")
    return copy(stores / BEGINS[name], folder / "store")


def _run(name: str, stores: Path, disk: Path) -> int:
    """Run a command with all the room that it needs, and return how much more there is used at the most, about."""
    root = _begin(name, stores, disk)
    before = _used(disk)
    command = build if name == "build" else getattr(fault_worker, name)
    real, most = Path.replace, [0]

    def replace(self: Path, target: Path) -> Path:
        most[0] = max(most[0], _used(disk) - before)
        return real(self, target)

    Path.replace = replace  # type: ignore[method-assign]
    try:
        command(root)
    finally:
        Path.replace = real  # type: ignore[method-assign]
    assert most[0] >= 4 * _PAGE
    return most[0]


def _used(disk: Path) -> int:
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def _must_fail(name: str, root: Path) -> None:
    before = naming(lambda: held(root)) or {}
    command = build if name == "build" else getattr(fault_worker, name)
    with pytest.raises(StoreError, match="no space left"):
        command(root)
    assert not [path for path in root.rglob("*") if path.name.endswith(".tmp") and path.name != ".1-left.tmp"]
    store = Store(root)
    if name == "repair":
        assert wrong_answers(store, naming) == []
        return
    assert wrong_answers(store) == []
    problems = store.verify(deep=True).problems
    assert problems == (), problems
    after = held(root)
    assert all(ids <= after[space] for space, ids in before.items())
    if name == "compact":
        assert after == before
    if name == "merge":  # space by space, all or nothing
        other = held(root.parent / "other")
        assert all(
            ids in (before.get(space), before.get(space, set()) | other.get(space, set()))
            for space, ids in after.items()
        )


def _must_go_through(name: str, root: Path, stores: Path) -> None:
    command = build if name == "build" else getattr(fault_worker, name)
    command(root)
    build(root)
    assert Store(root).verify(deep=True).problems == ()
    if name in ("compact", "repair"):
        assert_same_content(root, stores / "built")
