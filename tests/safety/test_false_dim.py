"""A card with more components than its vectors have: a metric asks no memory for them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import synthetic_store
from tampered_stores import seal

pytestmark = pytest.mark.fault

_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
from embstore_cli.main import app
app(sys.argv[1:])
"""


def test_a_false_dim_is_damage_before_room_is_made(tmp_path: Path) -> None:
    root = tmp_path / "store"
    made = synthetic_store(root, n=30, dim=6, n_blocks=1, index=False)
    card = root / "spaces" / f"{made.space}.json"
    seal(card, json.loads(card.read_bytes()) | {"dim": 40_000})  # a matrix of dim² takes 12.8 GB
    command = ["query", "partition", "--where", "true", "--no-cache", "--store", str(root)]
    done = subprocess.run([sys.executable, "-c", _LIMITED, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "40,000 components" in " ".join(done.stderr.split())
