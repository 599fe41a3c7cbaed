"""A store for the command line, and the command line in a process of its own."""

import os
import subprocess
import sys

import pytest
from synthetic import synthetic_store


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
