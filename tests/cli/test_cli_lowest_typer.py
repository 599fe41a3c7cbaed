"""The command line on the lowest Typer that ``pyproject.toml`` allows."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import requires

import pytest

pytestmark = [pytest.mark.process, pytest.mark.slow]

CALL = [
    "query",
    "norms",
    "toy.word.last",
    "--layer",
    "0,1",
    "--where",
    "length(text) > 0",
    "--json",
]
PROGRAM = """
import sys
from importlib.metadata import version
print(version("typer"), file=sys.stderr)
from embstore_cli.entry import run
run()
"""


@pytest.fixture(scope="module")
def lowest(tmp_path_factory):
    """The version, and the environment variables of a process that imports it before others."""
    [version] = re.findall(r"^typer>=([\d.]+)$", "\n".join(requires("embstore")), re.MULTILINE)
    folder = tmp_path_factory.mktemp("lowest")
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", folder]
    done = subprocess.run([*install, f"typer=={version}"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"typer {version} cannot be installed: {done.stderr.strip()[-200:]}")
    return version, os.environ | {"PYTHONPATH": str(folder)}


def test_positional_arguments_and_groups_of_options(cli, made, lowest, tmp_path):
    version, environment = lowest
    call = [*CALL, "--store", str(made.root)]

    def on_lowest(*arguments):
        command = [sys.executable, "-c", PROGRAM, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=tmp_path
        )

    done = on_lowest(*call)
    assert (done.returncode, done.stderr.split()[0]) == (0, version)
    assert json.loads(done.stdout) == json.loads(cli(*call).stdout)
    shown = on_lowest("query", "norms", "--help").stdout
    assert all(option in shown for option in ("--space", "--where", "--store", "--format"))
    refused = on_lowest("query", "norms", "--layer", "0", "--unit", "wrod")
    assert refused.returncode == 2
    assert "--unit" in refused.stderr
