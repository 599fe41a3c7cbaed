"""``embstore reproduce``: what it prints, and how it ends."""

import json

import pytest
from dataset_files import put_wolfe2022


@pytest.fixture
def run(cli, checkpoint, data, monkeypatch):
    put_wolfe2022(data, monkeypatch)
    model = f"gpt2={checkpoint}"
    call = ["reproduce", "wolfe2022", "--model", model, "--quick"]
    return lambda *options, **more: cli(*call, *options, **more)


@pytest.mark.slow
def test_rows_in_json_a_table_and_the_end_of_a_strict_run(run):
    rows = json.loads(run("--json", "--quiet").stdout)
    assert {row["verdict"] for row in rows} == {"hit", "miss", "not published", "not measured"}
    printed = run("--strict", code=1)
    assert "verdict" in printed.stdout.splitlines()[0]
    assert len(printed.stdout.splitlines()) >= len(rows)
    assert "beside published numbers: " in printed.stderr


def test_a_dry_run_shows_builds_and_queries_and_writes_nothing(run, tmp_path):
    result = run("--dry-run", "--strict", "--csv")
    steps = [line.partition(",")[0] for line in result.stdout.splitlines()[1:]]
    assert {*steps} == {"build", "query"}
    assert not (tmp_path / "store").exists()


def test_a_mistake_is_named(refusal):
    for arguments, message in (
        (["wolfe2023"], "unknown paper 'wolfe2023'. Did you mean 'wolfe2022'?"),
        (["wolfe2022", "--model", "./gone"], "gone"),
        (["wolfe2022", "--model", "x=gone/y/z"], "gone/y/z"),
    ):
        assert message in refusal("reproduce", *arguments)
