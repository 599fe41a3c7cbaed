"""push and pull through the command line."""

import json

import pytest
from store_damage import flip
from web_server import serving


def test_push_and_pull(cli, refusal, make_store, tmp_path):
    made = make_store()
    done = cli("push", str(tmp_path / "copy"), "--store", str(made.root), "--json")
    assert done.exit_code == 0
    assert {row["action"] for row in json.loads(done.stdout)} == {"pushed"}
    again = cli("pull", str(made.root), "--store", str(tmp_path / "copy"))
    assert (again.exit_code, again.stdout) == (0, "")
    assert "There is nothing new to copy." in again.stderr
    flip(next((made.root / "embeddings").rglob("*.parquet")))
    assert "is damaged" in refusal("push", str(tmp_path / "other"), "--store", str(made.root))


@pytest.mark.server
@pytest.mark.parametrize("with_ranges", [True, False])
def test_a_server_of_whole_files_is_named(cli, refusal, make_store, tmp_path, monkeypatch, with_ranges):
    monkeypatch.setenv("EMBSTORE_CACHE", str(tmp_path / "cache"))
    assert cli("push", tmp_path / "served", "--store", make_store().root, "--quiet").exit_code == 0
    with serving(tmp_path / "served", with_ranges=with_ranges) as server:
        shown = cli("info", "--store", server.url)
        assert shown.exit_code == 0
        assert ("does not send parts of files" in shown.stderr) is not with_ranges
        quiet = cli("push", tmp_path / "copy", "--store", server.url, "--quiet")
        assert (quiet.exit_code, quiet.stderr) == (0, "")
    assert "options are for stores at URLs" in refusal(
        "push", tmp_path / "other", "--store", tmp_path / "copy", "--store-option", "region=x"
    )
