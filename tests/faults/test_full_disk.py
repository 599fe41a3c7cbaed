"""A disk that is full at a random moment: nothing half-written is left, and with more room the
command goes through.
"""

import ctypes
import json
import os
import random
import resource
import shutil
import signal
import subprocess
from functools import cache

import fault_stores
import pytest
from fault_figures import COLUMNS, LOST, UNSOUND, WRONG, Tally, share
from fault_stores import (
    LEFT_BEHIND,
    TRUTH,
    build,
    build_damaged,
    build_other,
    copy,
    naming,
    stored_ids,
    wrong_answers,
)
from file_operations import LINK, REPLACE, watched
from killing import CONTEXT
from sound_stores import problems_of
from tiny_checkpoint import assert_same_content

from embstore import Store
from embstore.base.errors import StoreError

pytest.importorskip("transformers")
import real_builds

pytestmark = pytest.mark.fault

TABLE = {"build": 5, "index flat": 3, "index hnsw": 3, "compact": 4, "merge": 4, "repair": 4}
FULL = {name: share(n) for name, n in TABLE.items()}
REAL = {name for name in FULL if name.startswith(("build", "index"))}
BEGINS = {"compact": "built", "merge": "built", "repair": "damaged"} | {
    name: "first" if name == "build" else f"before {name}" for name in REAL
}
_NEW_MOUNTS = 0x00020000
_PAGE = 4096
_LEAST_LIMIT = 300


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disks")
    for name, make in (("built", build), ("other", build_other), ("damaged", build_damaged)):
        make(folder / name)
    real_builds.set_up(folder)
    real_builds.build_behind(folder)
    return folder


def can_mount():
    if shutil.which("unshare") is None:  # on macOS
        return False
    probe = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True, check=False
    )
    return probe.returncode == 0


@pytest.mark.parametrize("name", FULL)
def test_a_full_disk(stores, name, tmp_path, tally):
    counts = tally("full disk", name)
    process = CONTEXT.Process(target=_work, args=(name, stores, tmp_path, TRUTH))
    process.start()
    process.join()
    counts.update(json.loads((tmp_path / "tally.json").read_text()))
    assert process.exitcode == 0, "see the captured standard error"
    assert counts["faults"] == FULL[name]
    assert not counts.harm


def _work(name, stores, folder, truth):
    TRUTH.learn(truth)
    tally = Tally("full disk", name)
    try:
        (_on_a_small_disk if can_mount() else _with_small_files)(name, stores, folder, tally)
    finally:
        (folder / "tally.json").write_text(
            json.dumps({column: tally[column] for column in COLUMNS})
        )


def _command(name):
    if name == "build":
        return real_builds.build_one_space
    return getattr(real_builds if name in REAL else fault_stores, name.replace(" ", "_"))


def _on_a_small_disk(name, stores, folder, tally):
    """In a process with mounts of its own: fill a small file system in memory at some moments."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(_NEW_MOUNTS) == 0, os.strerror(ctypes.get_errno())
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    mounted = folder / "disk"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "x", mounted], check=True)
    needed = _run(name, stores, mounted)
    shutil.rmtree(mounted / "store")
    rng = random.Random(name)
    for _ in range(FULL[name]):
        root = _begin(name, stores, mounted)
        size = _used(mounted) + max(_PAGE, int(rng.uniform(0.02, 0.9) * needed))
        subprocess.run(["mount", "-o", f"remount,size={size // 1024}k", mounted], check=True)
        _must_fail(name, root, stores, tally)
        subprocess.run(["mount", "-o", "remount,size=64m", mounted], check=True)
        _must_go_through(name, root, stores, tally)
        shutil.rmtree(root)


def _with_small_files(name, stores, folder, tally):
    """Where no file system can be mounted: files may not grow beyond some size, below that of one
    that is written.
    """
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    root = _begin(name, stores, folder)
    before = _files(root)
    _command(name)(root)
    sizes = sorted(
        size for (_, size) in _files(root).items() - before.items() if size > _LEAST_LIMIT
    )
    rng = random.Random(name)
    for _ in range(FULL[name]):
        root = _begin(name, stores, folder)
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (rng.randrange(_LEAST_LIMIT, rng.choice(sizes)), hard)
        )
        try:
            _must_fail(name, root, stores, tally)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        _must_go_through(name, root, stores, tally)
        shutil.rmtree(root)


def _files(root):
    """Return the sizes of files, by path and inode: a file that was replaced is another one."""
    found = [(path, path.stat()) for path in root.rglob("*") if path.is_file()]
    return {(path, stat.st_ino): stat.st_size for path, stat in found}


def _begin(name, stores, folder):
    if name in REAL:
        real_builds.take_along(stores, folder)
    else:
        copy(stores / "other", folder / "other")
    return copy(stores / BEGINS[name], folder / "store")


def _run(name, stores, folder):
    """Run a command with all the room that it needs, and return how much more there is used at the
    most, about.
    """
    root = _begin(name, stores, folder)
    before = _used(folder)
    command = _command(name)
    most = 0

    def look(operation, *_):
        nonlocal most
        if operation in (REPLACE, LINK):
            most = max(most, _used(folder) - before)

    with watched(look, root):
        command(root)
    assert most >= 3 * _PAGE
    return most


def _used(folder):
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


@cache
def _whole(stores):
    return real_builds.Whole.of(stores / "both", is_exact=False)


def _must_fail(name, root, stores, tally):
    before = naming(lambda: stored_ids(root)) or {}
    with pytest.raises((StoreError, OSError), match=r"No space left|File too large|no space left"):
        _command(name)(root)
    tally["faults"] += 1
    assert not [
        path for path in root.rglob("*") if path.name.endswith(".tmp") and path.name != LEFT_BEHIND
    ]
    store = Store(root)
    if name in REAL:
        wrong = _whole(stores).wrong_answers(root, tally["faults"] % 4)
    else:
        wrong = wrong_answers(store, naming) if name == "repair" else wrong_answers(store)
    tally[WRONG] += len(wrong)
    assert not wrong
    if name == "repair":  # which takes out what is damaged
        return
    problems = problems_of(store)
    assert problems == [], problems
    after = stored_ids(root)
    tally[LOST] += sum(len(ids - after.get(space, set())) for space, ids in before.items())
    if name == "compact":
        assert after == before
    if name == "merge":  # space by space, all or nothing
        other = stored_ids(root.parent / "other")
        assert all(
            ids in (before.get(space), before.get(space, set()) | other.get(space, set()))
            for space, ids in after.items()
        )


def _must_go_through(name, root, stores, tally):
    _command(name)(root)
    (real_builds.build_one_space if name in REAL else build)(root)
    problems = problems_of(Store(root))
    tally[UNSOUND] += bool(problems)
    assert problems == []
    if name in REAL:
        changed = _whole(stores).is_again(root)
        tally[UNSOUND] += bool(changed)
        assert not changed
    if name in ("compact", "repair"):
        assert_same_content(root, stores / "built")
