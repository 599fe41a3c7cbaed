"""The tests pass wherever they are started, and whatever the user has set."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import synthetic_store

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[1]
PYTEST = [
    sys.executable,
    "-m",
    "pytest",
    "-n",
    "0",
    "-q",
    "-p",
    "no:cacheprovider",
    "-c",
    ROOT / "pyproject.toml",
]
SAMPLE = [
    "tests/cli/test_cli_datasets.py", "tests/sources/test_dataset_cache.py",
    "tests/cli/test_cli_cite.py",
    "tests/query/test_info.py",
]  # fmt: skip


def test_a_sample_passes_in_a_hostile_folder(tmp_path):
    """With a store, datasets, a hub cache and variables that would each change what some test
    finds.
    """
    synthetic_store(tmp_path / "store", n=7, model="hostile")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rg65.csv").write_text("these,are,not,the,data\n")
    (tmp_path / ".cache" / "huggingface" / "hub" / "models--gpt2" / "snapshots").mkdir(parents=True)
    hostile = {
        "EMBSTORE_STORE": str(tmp_path / "store"),
        "EMBSTORE_DATA": str(tmp_path / "data"),
        "HF_HOME": str(tmp_path / ".cache" / "huggingface"),
        "HF_HUB_CACHE": str(tmp_path / ".cache" / "huggingface" / "hub"),
        "HF_HUB_OFFLINE": "0",
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / ".cache"),
    }
    before = sorted(tmp_path.rglob("*"))
    command = [*PYTEST, *(ROOT / file for file in SAMPLE)]
    environment = os.environ | hostile
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert sorted(tmp_path.rglob("*")) == before
