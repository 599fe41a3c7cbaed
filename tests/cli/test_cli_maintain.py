"""verify, repair, compact, merge and remove on the command line: what they print, and their
exit codes.
"""

import json
import re
from pathlib import Path

import pytest
from store_damage import flip
from synthetic import synthetic_store
from tiny_checkpoint import stored_files

from embstore import Store
from embstore.storage.writer import StoreWriter


@pytest.fixture
def store(tmp_path):
    return synthetic_store(tmp_path / "store", n=30, n_shards=5)


def test_compact(cli, store):
    planned = cli("compact", "--dry-run")
    assert "5 shards into one" in planned.stdout
    done = cli("compact", "--format", "json", "--quiet")
    assert [(row["action"], row["detail"]) for row in json.loads(done.stdout)] == [
        ("merged", "5 tables into one"),
        ("merged", "5 shards into one, in each of 5 layers"),
    ]
    assert done.stderr == ""
    again = cli("compact")
    assert (again.stdout, again.stderr) == ("", "There is nothing to merge.\n")
    assert json.loads(cli("compact", "--format", "json").stdout) == []


@pytest.mark.slow
def test_repair(cli, store):
    nothing = cli("repair")
    assert (nothing.stdout, nothing.stderr) == ("", "There is nothing to repair.\n")
    flip(store.shard_files[0])
    cli("verify", code=1)
    planned = cli("repair", "--dry-run")
    assert "would take out" in planned.stdout
    cli("verify", code=1)
    done = cli("repair", "--quiet").stdout
    for verb, planned_verb in (
        ("taken out", "would take out"),
        ("rebuilt", "would rebuild"),
        ("removed", "would remove"),
    ):
        done = done.replace(verb, planned_verb)
    assert [line.split() for line in done.splitlines()] == [
        line.split() for line in planned.stdout.splitlines()
    ]
    cli("verify")
    stored_files(store.root, "spaces/")[0].write_text("{}")
    left = cli("repair", "--format", "json", code=1)
    assert [row["action"] for row in json.loads(left.stdout)] == ["left"]


@pytest.mark.slow
def test_merge(cli, refusal, store, tmp_path):
    other = synthetic_store(tmp_path / "other", n=40, space="more")
    done = cli("merge", "other", "--quiet")
    assert "10 shards" in done.stdout
    assert store.store.info()["items"] == [40, 30]
    assert cli("merge", "other").stderr == "There is nothing new to merge.\n"
    synthetic_store(tmp_path / "third", n=4, weights="7")
    url = "http://example.org/store"
    assert f"{url} is not encrypted" in refusal("merge", url)
    refused = cli("merge", "third", code=2)
    assert refused.stderr.count("\n") == 1
    assert "its weights_sha256 is" in refused.stderr
    with StoreWriter(store.root):
        assert "is being written by another" in refusal("merge", "other")
    assert other.store.verify().ok


def test_remove_asks_or_must_be_told(cli, refusal, store):
    assert "cannot be brought back: add --yes, or see what it is with --dry-run" in refusal(
        "remove", "--space", store.space
    )
    planned = cli("remove", "--space", store.space, "--dry-run")
    assert "would remove" in planned.stdout
    assert store.store.info()["items"] == [30]
    done = cli("remove", "--space", store.space, "--yes", "--format", "json")
    [row] = json.loads(done.stdout)
    assert (row["action"], row["items"]) == ("removed", 30)
    assert Store(store.root).info()["space"] == []
    cli("remove", code=2)


def test_remove_items_and_datasets(cli, refusal, store, tmp_path):
    assert "Nearest stored texts: 'text3'" in refusal("remove", "--items", "textt3,", "--yes")
    assert "these are all items of" in refusal("remove", "--where", "true", "--yes")
    assert "unknown dataset 'rg56'" in refusal("remove", "--dataset", "rg56", "--yes")
    assert "one SQL expression" in refusal("remove", "--where", "text =", "--yes")
    assert "no.txt does not exist" in refusal("remove", "--items", "no.txt", "--yes")
    with StoreWriter(store.root):
        assert "is being written by another" in refusal("remove", "--items", "text3,", "--yes")
    (tmp_path / "bad.txt").write_text("text3\ntext4\n")
    arguments = ("remove", "--items", "bad.txt", "--space", store.space)
    planned = cli(*arguments, "--dry-run")
    assert "would remove" in planned.stdout
    assert store.store.info()["items"] == [30]
    said = cli(*arguments, "--yes", "--json")
    done = json.loads(said.stdout)
    assert re.match(r"Old files \([\d.]+ kB\) stay on the disk for a day, for those", said.stderr)
    [row] = done
    assert (row["action"], row["items"], row["detail"]) == ("removed", 2, "28 left")
    assert planned.stdout.splitlines()[1].split("\t") == [
        store.space,
        "would remove",
        "2",
        "28 left",
    ]
    cli("sql", "SELECT item_id FROM items WHERE text = 'text5'", "-o", "ids.csv")
    cli("remove", "--items", "ids.csv", "--yes")
    cli("remove", "--items", "-", "--yes", input="text6\n")
    assert store.store.info()["items"] == [26]
    cli("verify")


@pytest.mark.parametrize(
    ("answer", "items", "code"), [("y\n", [], 0), ("n\n", [30], 1), ("\n", [30], 1)]
)
def test_the_answer_of_a_terminal(cli, store, monkeypatch, answer, items, code):
    from embstore_cli import maintenance

    class Terminal:
        """A standard input that says it is one."""

        @staticmethod
        def isatty():
            return True

    monkeypatch.setattr(maintenance, "sys", type("sys", (), {"stdin": Terminal}))
    done = cli("remove", "--space", store.space, input=answer, code=code)
    assert f"{store.space}  would remove  30 " in done.stderr
    assert Store(store.root).info()["items"] == items


def test_the_question_names_what_is_not_there(cli, store, monkeypatch):
    from embstore_cli import maintenance

    stdin = type("Terminal", (), {"isatty": staticmethod(lambda: True)})
    monkeypatch.setattr(maintenance, "sys", type("sys", (), {"stdin": stdin}))
    done = cli("remove", "--items", "text3,nothere", input="n\n", code=1)
    assert done.stderr.index("texts and ids: 'nothere'.") < done.stderr.index("Remove this")


def test_where_there_is_no_store(refusal):
    for command in (
        ["repair"],
        ["compact"],
        ["merge", "store"],
        ["remove", "--space", "x", "--yes"],
    ):
        assert "there is no store at" in refusal(*command, "--store", "nowhere")
        assert not Path("nowhere").exists()
