"""``embstore build`` as a user sees it: what it says, where, and with which exit code."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from embstore import Store
from embstore.build.report import BuildReport


@pytest.fixture
def model(checkpoint):
    return ["--model", f"tiny={checkpoint}"]


@pytest.mark.slow
def test_the_summary_says_what_was_done_and_where_and_that_nothing_is_left(
    cli, refusal, model, tmp_path
):
    Path("a.txt").write_text("dog\n\ncat\nfish\ndog\n")
    result = cli("build", "a.txt", *model)
    assert result.stdout == ""
    *_, texts, space, blank, listed, work = result.stderr.splitlines()
    assert texts == "4 texts, 3 items: equal texts are one item."
    assert space == "tiny.word.last: 3 embedded, 0 already there"
    assert blank == "1 row of the sources skipped: empty line"
    assert listed == "Each of them is listed by: embstore info --skipped"
    assert re.fullmatch(
        r"\d+ tokens in [\d.]+ s \([\d,.]+ tokens/s\), [\d.]+ s with loading; [\d.]+ kB written to"
        rf" {tmp_path}/store",
        work,
    )
    assert "a.txt:2" in cli("info", "--skipped").stdout
    assert cli("build", "a.txt", "--quiet", *model).output == ""
    Path("a.txt").write_text("dog\ncat\n")
    again = cli("build", "a.txt", *model)
    assert again.stderr.splitlines() == [
        "tiny.word.last: 0 embedded, 2 already there",
        f"Nothing to embed: all of it is in {tmp_path}/store",
    ]
    refused = refusal("neighbours", "bird")
    assert "'bird' is not in tiny.word.last. Nearest stored texts: " in refused
    assert "add --embed;" in refused
    found = cli("neighbours", "bird", "--embed", "-k", "2", "--format", "json")
    assert len(json.loads(found.stdout)) == 2


@pytest.mark.slow
def test_names_may_stand_in_one_value_with_commas(cli, checkpoint):
    shutil.copytree(checkpoint, "other")
    Path("a.csv").write_text("text,pos,freq\ndog,N,2\ngo,V,3\n")
    models = ("--model", f"{checkpoint},other", "--pooling", "last,mean")
    planned = cli("build", "a.csv", *models, "--dry-run").stderr
    assert re.findall(r"(\w+)\.word\.(\w+): 2 to embed", planned) == [
        (name, pooling) for name in (checkpoint.name, "other") for pooling in ("last", "mean")
    ]
    cli("build", "a.csv", "--model", "other", "--keep", "pos,freq")
    removed = cli("remove", "--column", "pos,freq", "--yes", "--json")
    assert [row["items"] for row in json.loads(removed.stdout)] == [2, 2]


@pytest.mark.slow
def test_the_summary_of_a_part_says_what_is_left_to_the_others(cli, model):
    first = cli("build", "words:40", *model, "--shard", "1/2").stderr
    [(embedded, left)] = re.findall(
        r"(\d+) embedded, 0 already there, (\d+) left to the other parts", first
    )
    assert int(embedded) + int(left) == 40
    second = cli("build", "words:40", *model, "--shard", "2/2").stderr
    assert f"{left} embedded, {embedded} already there" in second
    again = cli("build", "words:40", *model, "--shard", "2/2").stderr
    assert "0 embedded, 40 already there" in again
    assert "Nothing to embed" in again
    for printed in (first, second, again):
        assert re.search(
            r"\nA part makes no index\. .* embstore index --store \S+$", printed.strip()
        )


@pytest.mark.slow
def test_strict_exits_with_1_whenever_something_is_skipped(cli, model):
    Path("a.txt").write_text("dog\n" + "far " * 90 + "\n")
    call = ["build", "a.txt", "--unit", "sentence", *model]
    cli(*call)
    strict = cli(*call, "--strict", "--store", "other", code=1)
    assert "  1 skipped: longer than the context" in strict.stderr
    assert "embstore info --skipped" in strict.stderr
    cli(*call, "--strict", code=1)
    cli(*call, "--strict", "--long", "truncate")


def test_a_dry_run_writes_nothing_at_all(cli, model, tmp_path):
    Path("a.txt").write_text("dog\n\ncat\n")
    dry = cli("build", "a.txt", "--dry-run", *model)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert "Dry run: nothing is written. 2 texts, 2 items." in dry.stderr
    assert "tiny.word.last: 2 to embed, 0 already there" in dry.stderr
    assert re.search(
        r"\d+ tokens in \d forward pass(es)?; about [\d.]+ kB on disk and [\d.]+ s on this",
        dry.stderr,
    )


@pytest.mark.slow
def test_standard_input_columns_of_tables_and_by_default_the_first_words_are_sources(cli, model):
    Path("pairs.csv").write_text("left,right,score\ndog,cat,1\ncat,fish,2\n")
    cli("build", "-", *model, input="dog\ncow\n")
    cli("build", "pairs.csv", "--column", "left", "--column", "right", *model)
    assert sorted(Store().vectors("tiny.word.last", 0)[1]) == ["cat", "cow", "dog", "fish"]
    cli("build", *model, "--limit", "20", "-q")
    assert "the" in Store().vectors("tiny.word.last", 0)[1]
    assert Store().info()["items"] == [24]


@pytest.mark.slow
def test_a_checkpoint_of_the_hub_stays_at_its_revision(
    cli, refusal, checkpoint, tmp_path, monkeypatch
):
    from huggingface_hub import constants
    from tiny_checkpoint import make_checkpoint

    from embstore.query import embed

    cache = tmp_path / "hub" / "models--org--tiny"
    old, new = "a" * 40, "b" * 40
    shutil.copytree(checkpoint, cache / "snapshots" / old)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(old)
    (tmp_path / "a.txt").write_text("dog\ncat\nfish\n")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    cli("build", "a.txt", "--model", "org/tiny")
    call = ["neighbours", "bird", "--embed", "--layer", "all", "--format", "json"]
    before = cli(*call)
    assert len(json.loads(before.stdout)) == 4 * 3
    make_checkpoint(cache / "snapshots" / new, seed=9)
    (cache / "refs" / "main").write_text(new)
    embed._load.cache_clear()
    assert cli(*call).stdout == before.stdout
    assert f'revision is "{old}", not "{new}"' in refusal("build", "a.txt", "--model", "org/tiny")


@pytest.mark.slow
def test_a_first_line_that_may_be_a_text_is_reported_and_read_with_no_header(
    cli, refusal, checkpoint
):
    model = ("--model", f"tiny={checkpoint}", "--index", "none")
    Path("words.csv").write_text("cat\ndog\n")
    for more in ((), ("--dry-run",)):
        done = cli("build", "words.csv", *model, *more)
        assert (
            "words.csv:1: 'cat' was taken for the name of the column, not for a text."
            in done.stderr
        )
    missing = cli("datasets", "missing", "words.csv")
    assert "words.csv:1: 'cat' was taken for the name of the column" in missing.stderr
    done = cli("build", "words.csv", "--no-header", *model)
    assert "1 embedded, 1 already there" in done.stderr
    assert "was taken for" not in done.stderr
    assert "--no-header does not fit 'words'" in refusal(
        "build", "words.csv", "words", "--no-header", *model
    )


@pytest.mark.parametrize(
    ("n", "seconds", "rate"), [(27, 195, "0.138"), (123456, 10, "12,300"), (250, 100, "2.5")]
)
def test_a_slow_build_has_a_rate(n, seconds, rate):
    report = BuildReport("store", (), 1, 1, Counter(), n, 1, 1, seconds, seconds)
    assert f"({rate} tokens/s)" in report.lines()[-1]
