"""What is shown besides: --verbose, EMBSTORE_DEBUG, the line of a plug-in, examples in the help."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from embstore_cli.main import COMMANDS, EXAMPLES, example_of
from synthetic import Synthetic

import embstore
from embstore.metrics import METRICS


@pytest.mark.slow
def test_the_package_is_a_program(made: Synthetic, tmp_path: Path) -> None:
    call = [sys.executable, "-m", "embstore"]
    done = subprocess.run([*call, "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"embstore {embstore.__version__}\n")
    assert subprocess.run([*call, "verify", "--store", str(made.root)], capture_output=True).returncode == 0


@pytest.mark.parametrize("call", [["--verbose", "info", "--store", "none"], ["info", "--verbose", "--store", "none"]])
def test_verbose_shows_versions_causes_and_time(process, call: list[str]) -> None:
    done = process(*call)
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert lines[0].startswith(f"embstore {embstore.__version__}, Python 3.")
    assert any(line.startswith("embstore: there is no store at") for line in lines)
    assert re.fullmatch(r"\d+\.\d s", lines[-1])
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(process) -> None:
    done = process("info", "--store", "none", env={"EMBSTORE_DEBUG": "1"})
    assert done.returncode == 2
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("embstore: there is no store at")
    assert "Traceback" not in process("info", "--store", "none", env={"EMBSTORE_DEBUG": "0"}).stderr


PATHS = [*EXAMPLES, *(f"query {metric}" for metric in METRICS)]


def test_every_command_has_an_example() -> None:
    assert {*COMMANDS} <= {*EXAMPLES}


@pytest.mark.parametrize("path", PATHS)
def test_help_has_an_example_that_is_read_and_the_page_of_the_docs(cli, path: str) -> None:
    shown = cli(*path.split(), "--help", env={"COLUMNS": "80"}).stdout
    metric = path.partition(" ")[2]
    example = example_of(path, METRICS[metric].needs if metric in METRICS else "")
    assert example is not None
    for line in example.lines:
        assert f"  {line}\n" in shown
        assert len(line) <= 78
        # With --help at its end it is read, options and all, and nothing is done.
        words = shlex.split(line.partition(" > ")[0])
        assert words[0] == "embstore"
        assert cli(*words[1:], "--help").exit_code == 0
    assert shown.endswith(f"More in {example.url}\n")
