"""The limit of memory that SECURITY.md recommends: it holds, and pictures are drawn under it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import synthetic_store

resource = pytest.importorskip("resource", reason="limits of a process are POSIX's")
[KILOBYTES] = map(int, re.findall(r"`ulimit -d (\d+)`", (Path(__file__).parents[2] / "SECURITY.md").read_text("utf-8")))

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(sys.platform != "linux", reason="the limit counts mapped memory on Linux alone"),
]


def run_limited(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python under the limit."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (KILOBYTES << 10, KILOBYTES << 10))

    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit)


def test_pictures_are_drawn_under_the_recommended_limit(tmp_path):
    pytest.importorskip("vl_convert", reason="pictures need vl-convert-python (extra plot)")
    root, file = synthetic_store(tmp_path / "store", n=30, n_blocks=1).root, tmp_path / "drawn.html"
    done = run_limited("-m", "embstore", "report", "--store", str(root), "-o", str(file))
    assert done.returncode == 0, done.stderr
    assert "data:image/svg+xml" in file.read_text("utf-8")


def test_the_recommended_limit_holds():
    done = run_limited("-c", f"bytearray({KILOBYTES << 10})")
    assert "MemoryError" in done.stderr
