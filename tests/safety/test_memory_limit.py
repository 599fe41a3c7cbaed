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


@pytest.mark.parametrize(
    ("command", "file", "picture"),
    [(["plot", "anisotropy"], "drawn.svg", "<svg"), (["report"], "drawn.html", "data:image/svg+xml")],
    ids=["plot", "report"],
)
def test_pictures_are_drawn_under_the_recommended_limit(
    tmp_path: Path, command: list[str], file: str, picture: str
) -> None:
    pytest.importorskip("vl_convert", reason="pictures need vl-convert-python (extra plot)")
    root = synthetic_store(tmp_path / "store", n=30, n_blocks=1).root
    done = run_limited("-m", "embstore", *command, "--store", str(root), "-o", str(tmp_path / file))
    assert done.returncode == 0, done.stderr
    assert picture in (tmp_path / file).read_text("utf-8")


def test_the_recommended_limit_holds() -> None:
    done = run_limited("-c", f"bytearray({KILOBYTES << 10})")
    assert "MemoryError" in done.stderr
