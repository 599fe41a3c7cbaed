"""What is shown besides: --verbose and EMBSTORE_DEBUG."""

import re
import subprocess
import sys

import pytest

import embstore


@pytest.mark.slow
def test_the_package_is_a_program(made, tmp_path):
    call = [sys.executable, "-m", "embstore"]
    done = subprocess.run([*call, "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"embstore {embstore.__version__}\n")
    assert subprocess.run([*call, "verify", "--store", str(made.root)], capture_output=True).returncode == 0


@pytest.mark.parametrize("call", [["--verbose", "info", "--store", "none"], ["info", "--verbose", "--store", "none"]])
def test_verbose_shows_versions_causes_and_time(process, call):
    done = process(*call)
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert lines[0].startswith(f"embstore {embstore.__version__}, Python 3.")
    assert any(line.startswith("embstore: there is no store at") for line in lines)
    assert re.fullmatch(r"\d+\.\d s", lines[-1])
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(process):
    done = process("info", "--store", "none", env={"EMBSTORE_DEBUG": "1"})
    assert done.returncode == 2
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("embstore: there is no store at")
    assert "Traceback" not in process("info", "--store", "none", env={"EMBSTORE_DEBUG": "0"}).stderr
