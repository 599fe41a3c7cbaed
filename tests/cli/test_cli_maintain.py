"""verify --deep, repair, compact, merge and remove on the command line: what they print, and their exit codes."""

import json
from pathlib import Path

import pytest
from embstore.storage.transaction.commit import Change, commit
from embstore.storage.transaction.manifest import committed_shards
from store_damage import flip
from synthetic import synthetic_store

from embstore import Store
from embstore.storage.writer import StoreWriter


@pytest.fixture
def store(tmp_path):
    return synthetic_store(tmp_path / "store", n=30, n_shards=5)


def test_deep_finds_what_the_files_alone_do_not_tell(cli, store):
    """Tables and an index that are sound files, and say what is not so."""
    from embstore.base.space import Unit
    from embstore.index import write_index
    from embstore.storage.writer import write_dataset

    ids = store.ids.tolist()
    write_dataset(store.paths, "words", "word list", Unit.WORD, {"item_id": [*ids[1:], ids[0]], "text": store.texts})
    layer = store.card.layers.members[1]
    path = store.paths.index(store.space, layer)
    names = [shard.name for shard in committed_shards(store.paths, store.space)]
    vectors = store.layer(1)[::-1].copy()
    write_index(path, [(store.ids, vectors)], space=store.space, layer=1, dim=8, shards=names)
    assert cli("verify").exit_code == 0
    found = cli("verify", "--deep", "--format", "json")
    assert found.exit_code == 1
    problems = {Path(row["file"]).name: row["problem"] for row in json.loads(found.stdout)}
    assert problems.keys() == {"words.parquet", path.name}
    assert "is not the hash of its unit and text (word 'text0')" in problems["words.parquet"]
    assert "is not the one in the shard" in problems[path.name]


def test_a_text_that_is_not_its_items(cli, store):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from embstore.base import disk

    path = sorted((store.root / "items").glob("*.parquet"))[0]
    rows = pq.read_table(path, partitioning=None)
    texts = ["other", *rows["text"].to_pylist()[1:]]
    at = rows.schema.get_field_index("text")
    pq.write_table(rows.set_column(at, rows.schema.field(at), pa.array(texts)), path)
    renamed = path.rename(path.with_name(f"part-{disk.sha256(path)[:16]}.parquet"))
    commit(store.paths, Change((store.paths.items / renamed.name,), (store.paths.items / path.name,)))
    assert cli("verify").exit_code == 0
    found = cli("verify", "--deep")
    assert found.exit_code == 1
    assert "(word 'other')" in found.stdout


def test_compact(cli, store):
    planned = cli("compact", "--dry-run")
    assert "5 shards into one" in planned.stdout
    done = cli("compact", "--format", "json", "--quiet")
    assert [(row["action"], row["detail"]) for row in json.loads(done.stdout)] == [
        ("merged", "from 5 tables"),
        ("merged", "from 5 shards"),
    ]
    assert done.stderr == ""
    again = cli("compact")
    assert (again.exit_code, again.stdout, again.stderr) == (0, "", "There is nothing to merge.\n")
    assert json.loads(cli("compact", "--format", "json").stdout) == []


@pytest.mark.slow
def test_repair(cli, store):
    nothing = cli("repair")
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (0, "", "There is nothing to repair.\n")
    flip(store.shard_files[0])
    assert cli("verify").exit_code == 1
    planned = cli("repair", "--dry-run")
    assert "would take out" in planned.stdout
    assert cli("verify").exit_code == 1, "a dry run mends nothing"
    done = cli("repair", "--quiet").stdout.replace("taken out", "would take out").replace("rebuilt", "would rebuild")
    assert [line.split() for line in done.splitlines()] == [line.split() for line in planned.stdout.splitlines()]
    assert cli("verify", "--deep").exit_code == 0
    store.paths.card(store.space).write_text("{}")
    left = cli("repair", "--format", "json")
    assert left.exit_code == 1
    assert [row["action"] for row in json.loads(left.stdout)] == ["left"]


@pytest.mark.slow
def test_merge(cli, store, tmp_path):
    other = synthetic_store(tmp_path / "other", n=40, space="more")
    done = cli("merge", "other", "--quiet")
    assert done.exit_code == 0
    assert "2 of 2 shards, a new space" in done.stdout
    assert store.store.info()["items"] == [40, 30]
    assert cli("merge", "other").stderr == "There is nothing new to take in.\n"
    synthetic_store(tmp_path / "third", n=4, weights="7")
    assert "http://example.org/store is not encrypted" in cli("merge", "http://example.org/store").stderr
    refused = cli("merge", "third")
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1
    assert "its weights_sha256 is" in refused.stderr
    with StoreWriter(store.root):
        locked = cli("merge", "other")
    assert locked.exit_code == 2
    assert "is being written by process" in locked.stderr
    assert other.store.verify().ok


def test_remove_asks_or_must_be_told(cli, refusal, store):
    assert "cannot be brought back: add --yes, or see what it is with --dry-run" in refusal(
        "remove", "--space", store.space
    )
    planned = cli("remove", "--space", store.space, "--dry-run")
    assert (planned.exit_code, "would remove" in planned.stdout) == (0, True)
    assert store.store.info()["items"] == [30]
    done = cli("remove", "--space", store.space, "--yes", "--format", "json")
    [row] = json.loads(done.stdout)
    assert (row["action"], row["items"]) == ("removed", 30)
    assert Store(store.root).info()["space"] == []
    assert cli("remove").exit_code == 2


@pytest.mark.parametrize(("answer", "items", "code"), [("y\n", [], 0), ("n\n", [30], 1), ("\n", [30], 1)])
def test_the_answer_of_a_terminal(cli, store, monkeypatch, answer, items, code):
    from embstore_cli import maintenance

    class Terminal:
        """A standard input that says it is one."""

        @staticmethod
        def isatty() -> bool:
            return True

    monkeypatch.setattr(maintenance, "sys", type("sys", (), {"stdin": Terminal}))
    done = cli("remove", "--space", store.space, input=answer)
    assert done.exit_code == code
    assert f"spaces/{store.space}.json: 30 items, " in done.stderr
    assert Store(store.root).info()["items"] == items


def test_where_there_is_no_store(cli):
    for command in (["repair"], ["compact"], ["merge", "store"], ["remove", "--space", "x", "--yes"]):
        result = cli(*command, "--store", "nowhere")
        assert (result.exit_code, result.stdout, Path("nowhere").exists()) == (2, "", False)
        assert "there is no store at" in result.stderr
