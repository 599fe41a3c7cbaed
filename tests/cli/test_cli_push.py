"""push and pull through the command line."""

import json
from pathlib import Path

from store_damage import flip


def test_push_and_pull(cli, make_store, tmp_path: Path) -> None:
    made = make_store()
    done = cli("push", str(tmp_path / "copy"), "--store", str(made.root), "--json")
    assert done.exit_code == 0
    assert {row["action"] for row in json.loads(done.stdout)} == {"pushed"}
    again = cli("pull", str(made.root), "--store", str(tmp_path / "copy"))
    assert (again.exit_code, again.stdout) == (0, "")
    assert "There is nothing new to copy." in again.stderr
    flip(next((made.root / "embeddings").rglob("*.parquet")))
    refused = cli("push", str(tmp_path / "other"), "--store", str(made.root))
    assert refused.exit_code == 2
    assert "is damaged" in refused.stderr
