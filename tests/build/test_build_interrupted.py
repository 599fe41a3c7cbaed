"""A build that the user stops, and then runs again; tests/faults kills builds."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hanging import HUNG_SECONDS
from tiny_checkpoint import content

from embstore import Store

pytestmark = pytest.mark.fault


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
