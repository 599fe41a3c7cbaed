"""A build that is killed, or stopped by the user, and then run again."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from build_worker import Kill, finish_build, start_build
from hanging import HUNG_SECONDS
from tiny_checkpoint import assert_same_content, content

from embstore import Store

pytestmark = pytest.mark.slow

N_WORDS = 192
N_KILLS = 10


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "words.txt"
    path.write_text("".join(f"w{i} {'sea' * (i % 5)}\n" for i in range(N_WORDS)))
    return path


@pytest.fixture(scope="module")
def whole(source: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was built without interruption."""
    root = tmp_path_factory.mktemp("whole") / "store"
    assert finish_build(source, checkpoint, root) == {"embedded": N_WORDS, "present": 0}
    return root


def test_a_build_killed_at_any_moment_goes_on(whole: Path, source: Path, checkpoint: Path, tmp_path: Path) -> None:
    rng = random.Random(20)
    n_kept = []
    for trial in range(N_KILLS):
        root = tmp_path / f"store{trial}"
        kill = Kill(0.9 * (trial + rng.random()) / N_KILLS, rng.uniform(0, 0.02))
        process = start_build(source, checkpoint, root, kill=kill)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        # Of what was committed, everything can be read. (verify may ask to build again: of a shard whose summary
        # is there it cannot tell whether it was not yet named, or lost.)
        for space in Store(root).info().to_pylist():
            assert space["items"] == len(Store(root).vectors(space["space"], "top")[0])
        done = finish_build(source, checkpoint, root)
        assert done["embedded"] + done["present"] == N_WORDS
        n_kept.append(done["present"])
        assert Store(root).verify().ok
        assert not list(root.rglob(".*.tmp"))
        assert Store(root).info()["index"] == ["flat", "flat"]
        assert_same_content(whole, root)
    assert n_kept[-1] == N_WORDS, "the last is killed while it indexes"
    assert len(set(n_kept)) >= 6, f"many were killed at the same stage: {n_kept}"


def test_ctrl_c_keeps_what_was_embedded(checkpoint: Path, tmp_path: Path) -> None:
    n = 6000
    (tmp_path / "words.txt").write_text("".join(f"w{i}\n" for i in range(n)))
    command = [sys.executable, "-m", "embstore_cli", "build", "words.txt", "--model", f"tiny={checkpoint}"]
    options = {"cwd": tmp_path, "stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores it
    with subprocess.Popen([*command, "--batch-tokens", "8"], **options) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("embedding"):
                process.send_signal(signal.SIGINT)
                break
        out, rest = process.communicate(timeout=HUNG_SECONDS)
    assert process.returncode == 130, rest
    assert out == ""
    assert "run the same command again and it goes on from there" in rest
    assert "Traceback" not in rest
    kept = len(content(tmp_path / "store")["tiny.word.last"][0])
    assert 0 < kept < n
    assert not list(tmp_path.rglob(".*.tmp"))
    assert Store(tmp_path / "store").verify().ok
    again = subprocess.run([*command, "--batch-tokens", "4096"], **options, check=False)
    assert again.returncode == 0
    assert f"tiny.word.last: {n - kept:,} embedded, {kept:,} already there" in again.stderr
    assert Store(tmp_path / "store").verify().ok
