"""The command line, run in this process or in one of its own."""

import os
import subprocess
import sys

import pytest
from synthetic import synthetic_store
from typer.testing import CliRunner


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A store of two spaces of words and one of occurrences; nothing may change it."""
    root = tmp_path_factory.mktemp("synthetic") / "store"
    synthetic_store(root, texts=["the bank of the river", "a bank lends"], unit="occurrence")
    synthetic_store(root, n=30, model="other", top_form=None, n_blocks=2)
    return synthetic_store(
        root, texts=["dog", "cat", "a|b", "line\nbreak", *(f"text{i}" for i in range(30))]
    )


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Run the command line in this process, in an empty folder; it must end with exit code 0, or
    with ``code``.
    """
    from embstore_cli.main import app

    monkeypatch.chdir(tmp_path)

    def run(*arguments, code=0, **options):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def refusal(cli):
    """Run a command that must be refused, with exit code 2 and no result; return what is said of
    it, as one line.
    """

    def run(*arguments, **options):
        result = cli(*arguments, code=2, **options)
        assert result.stdout == ""
        return " ".join(result.stderr.split())

    return run


@pytest.fixture
def process(tmp_path):
    """Run the command line in a process of its own, in an empty folder."""

    def run(*arguments, env=None, **options):
        environment = os.environ | (env or {})
        command = [sys.executable, "-m", "embstore", *map(str, arguments)]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            **{"capture_output": True, "text": True, **options},
        )

    return run
