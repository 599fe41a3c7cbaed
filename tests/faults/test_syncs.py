"""A commit, by the calls that the system gets from its process: what a loss of power leaves after
any of them is whole.

Other tests call no fsync, or watch embstore's calls of it; this one would notice if none reached
the system.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fault_stores import build, stored_ids, words
from file_operations import CREATE, LINK, MAKE_FOLDER, REMOVE, REMOVE_FOLDER, REPLACE, SYNC
from power_loss import WRITE, Recorder, names_below
from sound_stores import problems_of
from tiny_checkpoint import named

from embstore import Store
from embstore.storage.cache import StoreFiles

pytestmark = [pytest.mark.fault, pytest.mark.process]

_OPERATIONS = {
    "fsync": SYNC, "fdatasync": SYNC, "rename": REPLACE, "renameat": REPLACE, "renameat2": REPLACE,
    "link": LINK,
    "linkat": LINK, "unlink": REMOVE, "unlinkat": REMOVE, "mkdir": MAKE_FOLDER,
    "mkdirat": MAKE_FOLDER,
    "rmdir": REMOVE_FOLDER, "openat": CREATE, "write": WRITE, "pwrite64": WRITE, "writev": WRITE,
}  # fmt: skip
_NEW = [f"new{number}" for number in range(12)]
_CODE = (
    "import sys; from pathlib import Path; from test_syncs import commit; commit(Path(sys.argv[1]))"
)


def commit(root):
    words(root, _NEW, n_shards=2)


@pytest.fixture(scope="module")
def strace():
    found = shutil.which("strace")
    if (
        found is None
        or subprocess.run([found, "-qq", "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("strace is not installed, or may not trace")
    return found


@pytest.mark.parametrize("begin", ["nothing", "a store"])
def test_a_loss_of_power_after_any_call_leaves_a_whole_store(strace, begin, tmp_path):
    root, trace = tmp_path / "store", tmp_path / "trace"
    if begin == "a store":
        build(root)
    before, old = names_below(root), _state(root)
    command = [
        strace,
        "-f",
        "-y",
        "-qq",
        "-s",
        "0",
        "-o",
        trace,
        "-e",
        f"trace={','.join(_OPERATIONS)}",
    ]
    folders = [str(Path(__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    subprocess.run(
        [*command, sys.executable, "-c", _CODE, root],
        check=True,
        env=environment,
        capture_output=True,
    )
    new, files = _state(root), [root / key for key in named(root, "")]
    recorder = Recorder(root, before, is_trace=True)
    synced = set()
    for operation, path, source in operations(trace.read_text(), root.parent):
        recorder(operation, path, source)
        synced |= {(operation, path)} if operation == SYNC else set()
    recorder.end()
    committed = [path for path in files if path not in before]
    assert len([path for operation, path in synced if path.suffix == ".tmp"]) >= len(committed)
    assert {path.parent for path in committed} <= {path for _, path in synced}
    states = [_after(moment, root) for moment in _distinct(recorder.moments)]
    changes = [
        states[0],
        *(state for state, last in zip(states[1:], states, strict=False) if state != last),
    ]
    assert changes[0] == old
    assert changes[-1] == new
    assert _is_ascending([len(state.get("toy.word.last", ())) for state in changes])


def operations(trace, root):
    """Yield the operations below a folder that were done: kind, path, and of links and renames the
    path before.
    """
    begun = {}
    for line in trace.splitlines():
        process, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            begun[process] = text.removesuffix("<unfinished ...>")
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>", text):
            text = begun.pop(process) + text[resumed.end() :]
        call = re.match(r"(\w+)\((.*)\) += \d", text)
        if call is None or (call[1] == "openat" and "O_CREAT" not in call[2]):
            continue
        descriptor = re.match(r"\d+<(.*?)>", call[2])
        paths = (
            [Path(descriptor[1])]
            if descriptor
            else [Path(quoted) for quoted in re.findall(r'"(.*?)"', call[2])]
        )
        if paths[-1].is_relative_to(root):
            yield _OPERATIONS[call[1]], paths[-1], paths[0] if len(paths) > 1 else None


def _distinct(moments):
    """Yield the moments, without those after which the disk has nothing new."""
    last = None
    for moment in moments:
        synced = {path for path, file in moment.durable.items() if file in moment.synced}
        if (moment.durable, synced) != last:
            yield moment
        last = (moment.durable, synced)


def _after(moment, root):
    """Return what a store holds after a loss of power, which may have left what was not synced or
    not.
    """
    states = []
    for variant in ("some of each", "names and no bytes", "nothing unsynced"):
        moment.make(root, variant)
        states.append(_state(root))
    return states[-1]


def _state(root):
    """Return the items of a store, which must be sound; none if there is none."""
    if StoreFiles.of_folder(root).find_manifest() is None:
        return {}
    assert problems_of(Store(root)) == []
    return stored_ids(root)


def _is_ascending(numbers):
    return numbers == sorted(numbers)
