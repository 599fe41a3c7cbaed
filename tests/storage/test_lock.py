"""One writer at a time, read-only stores and full disks."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from store_damage import snapshot

from embstore.base.errors import LockedError
from embstore.storage.writer import StoreWriter

pytestmark = pytest.mark.process

TESTS = Path(__file__).parents[1] / "support"

_HOLD = """
import sys
from pathlib import Path
from embstore.storage.writer import StoreWriter
with StoreWriter(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_second_writer_is_refused_and_a_killed_one_holds_nothing(make_store):
    made = make_store(index=False)
    with _start(_HOLD, made.root) as holder:
        with (
            pytest.raises(LockedError, match=r"is being written by another process\. Wait"),
            StoreWriter(made.root),
        ):
            pass
        assert made.store.query("anisotropy")["n"] == [40] * 5, "readers need no lock"
        assert made.store.verify().ok
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with StoreWriter(made.root):
        pass
    assert made.store.verify().ok


def _start(script, root):
    holder = subprocess.Popen(
        [sys.executable, "-c", script, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_workers_that_share_a_build_take_no_lock(make_store):
    made = make_store(index=False)
    with _start(_HOLD, made.root) as holder:
        with StoreWriter(made.root, is_shared=True):
            pass
        holder.kill()


def run_privately(script, *arguments):
    """Run a shell script with mounts of its own, or skip where the system forbids that."""
    probe = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True, check=False
    )
    if probe.returncode:
        pytest.skip("mounting a file system needs rights that this system does not give")
    return subprocess.run(
        ["unshare", "-m", "bash", "-euc", script, "bash", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(TESTS)},
    )


_READ_ONLY = """
import sys
from embstore import Store
from embstore.storage.writer import StoreWriter
from pathlib import Path
root = Path(sys.argv[1])
try:
    (root / "x").touch()
    sys.exit("the store can be written")
except OSError:
    pass
store = Store(root)
store.query("anisotropy"); store.query("anisotropy", variant="centred", sample=5); store.query("norms", where="true")
assert store.query("hubness").rows == store.query("hubness", cache=False).rows, "one of its answers is stored"
store.query("rogue-dims"); store.neighbours("text1"); store.vectors("toy.word.last", 0)
store.neighbours("text1", spaces="plain"); store.info(); store.skipped()
store.sql("SELECT count(*) FROM embeddings").fetchall()
assert store.verify().ok
assert len(store.repair(dry_run=True)) == 0
assert store.compact(dry_run=True) is not None
assert len(store.remove("plain", dry_run=True)) == 1
for write in (StoreWriter(root).__enter__, store.repair, store.compact, lambda: store.merge(root.parent / "other"),
              lambda: store.remove("plain")):
    try:
        write()
        sys.exit("the store can be written")
    except OSError as error:
        print(error)
"""


def test_every_query_works_on_a_store_that_cannot_be_written(make_store):
    made = make_store(n=20)
    make_store(n=20, space="plain", index=False)
    make_store("other", n=3)
    made.store.query("hubness", layers=1)
    script = 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; exec "$2" -c "$3" "$1"'
    done = run_privately(script, made.root, sys.executable, _READ_ONLY)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Read-only file system") == 5


def test_queries_write_nothing_but_their_answers(make_store):
    made = make_store(n=20)
    make_store(n=20, space="plain", index=False)
    before = snapshot(made.root)
    store = made.store
    store.query("anisotropy", variant="centred", sample=5)
    store.query("norms", where="text LIKE '%1'")
    store.neighbours("text1", k=3)
    store.vectors(made.space, 0)
    store.info()
    store.sql("SELECT * FROM embeddings").fetchall()
    store.verify()
    after = snapshot(made.root)
    assert {name: what for name, what in after.items() if not name.startswith("derived/")} == before
    assert len(after) - len(before) == 4 * 5, "an answer for each space, layer and question"
