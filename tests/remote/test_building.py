"""A build into a bucket is the build into a folder: the same shards, committed as they are made."""

import json
from dataclasses import replace

import pytest
from embstore_cli.main import app
from fault_proxy import FAULTS, FaultProxy
from tiny_checkpoint import assert_same_content
from typer.testing import CliRunner

from embstore import Store

pytestmark = pytest.mark.server


def run(bucket, *words):
    return CliRunner().invoke(app, [*map(str, words), "--store", bucket.url, *bucket.arguments])


def test_a_build_makes_the_shards_of_a_local_one(bucket, tmp_path, checkpoint):
    source = tmp_path / "words.txt"
    source.write_text("".join(f"word{number}\n" for number in range(40)))
    estimate = run(bucket, "build", source, "--model", checkpoint, "--dry-run")
    assert estimate.exit_code == 0, estimate.output
    assert bucket.objects().newest_manifest() is None, "a dry run writes nothing"
    built = run(bucket, "build", source, "--model", checkpoint)
    assert built.exit_code == 0, built.output
    again = run(bucket, "build", source, "--model", checkpoint)
    assert again.exit_code == 0, again.output
    assert f"Nothing to embed: all of it is in {bucket.url}" in again.output
    Store(tmp_path / "local").build([str(source)], models=[str(checkpoint)])
    Store(tmp_path / "pulled").pull(bucket.url, options=bucket.options)
    assert_same_content(tmp_path / "pulled", tmp_path / "local")
    info = json.loads(run(bucket, "info", "--json").stdout)
    rows = Store(tmp_path / "local").info().rows
    own = {"index_seconds": None, "bytes": None}
    assert [row | own for row in info] == [row | own for row in rows]


def test_builds_and_queries_through_a_failing_network(bucket, tmp_path, checkpoint):
    """Errors are said, and the same command goes on; what is answered is right."""
    source = tmp_path / "words.txt"
    source.write_text("".join(f"word{number}\n" for number in range(40)))
    Store(tmp_path / "local").build([str(source)], models=[str(checkpoint)])
    with FaultProxy(bucket.endpoint, dict.fromkeys(FAULTS, 0.05), seed=3) as proxy:
        failing = replace(bucket, endpoint=proxy.endpoint)
        for _ in range(20):
            if (built := run(failing, "build", source, "--model", checkpoint)).exit_code == 0:
                break
            assert "Traceback" not in built.output
        assert built.exit_code == 0, built.output
        answered = run(failing, "query", "isoscore", "--layer", "all", "--json")
    assert sum(proxy.counts[fault] for fault in FAULTS) > 3
    Store(tmp_path / "pulled").pull(bucket.url, options=bucket.options)
    assert_same_content(tmp_path / "pulled", tmp_path / "local")
    expected = Store(tmp_path / "local").query("isoscore", layers="all")["isoscore"]
    assert (
        answered.exit_code != 0
        or [row["isoscore"] for row in json.loads(answered.stdout)] == expected
    )
