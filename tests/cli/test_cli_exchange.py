"""``embstore import``, ``export``, ``push`` and ``pull``."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_damage import flip
from web_server import serving


@pytest.fixture
def vectors(tmp_path):
    (tmp_path / "vectors.txt").write_text("3 2\ndog 1 0\ncat 1 1\nsun 0 1\n")
    return tmp_path / "vectors.txt"


def test_vectors_come_in_are_asked_and_go_out(cli, vectors):
    result = cli("import", vectors, "--name", "mine")
    assert result.stdout == ""
    assert "mine: 3 imported (word2vec, 1 layer, dimension 2), 0 already there" in result.stderr
    cli("query", "anisotropy", "--csv")
    assert "cat" in cli("neighbours", "dog", "-k", "1").stdout
    assert "@misc{vectors-mine" in cli("cite", "mine").stdout
    cli("query", "anisotropy", "--pooling", "imported")
    result = cli("export", "out.vec", "--space", "mine")
    assert result.stdout == ""
    assert "mine, layer 0: 3 items, dimension 2 (word2vec" in result.stderr
    assert Path("out.vec.card.json").is_file()
    assert sorted(Path("out.vec").read_text().splitlines()) == [
        "3 2",
        "cat 1 1",
        "dog 1 0",
        "sun 0 1",
    ]
    again = cli("import", vectors, "--name", "mine")
    assert "mine: 0 imported (word2vec, 1 layer, dimension 2), 3 already there" in again.stderr
    assert cli("import", vectors, "--name", "mine", "--quiet").stderr == ""


def test_mistakes_are_refused_with_the_place_and_the_remedy(cli, refusal, vectors):
    cli("import", vectors, "--name", "mine")
    Path("spaced.txt").write_text("1 2\nnew york 1 0\n")
    np.save("mine.npy", np.ones((3, 2)))
    Path("no name.txt").write_text("1 2\ndog 1 0\n")
    shutil.copy(vectors, "w.txt")
    assert "w: 3 imported" in cli("import", "w.txt").stderr
    calls = {
        ("import", vectors, vectors): "become: --name NAME",
        ("import", "mine.npy", "--layer", "3"): "--texts FILE",
        ("import", "no name.txt"): "--name NAME",
        ("export", "out.vec"): "the store has several spaces: mine, w. Name one",
        ("remove",): "(mine, w)",
        (
            "import",
            "spaced.txt",
            "--name",
            "b",
        ): "Row #2: Expected 3 columns, got 4: new york 1 0. Each line is a key in UTF-8, without spaces",
        ("import", vectors, "--name", "b", "--as", "wordvec"): "Did you mean 'word2vec'",
        ("import", vectors, "--name", "mine", "--layer", "3"): "layers is 0, not 3",
        ("import", "missing.txt", "--name", "b"): "missing.txt does not exist",
        ("neighbours", "fish", "--embed"): "its vectors were imported",
        ("export", "out.xyz", "--space", "mine"): "unknown file type '.xyz'",
        ("export", "out.npy", "--space", "mine"): "a folder, with ids and texts beside them",
        ("export", "out.vec", "--space", "mina"): "unknown space 'mina'",
        (
            "export",
            vectors,
            "--space",
            "mine",
        ): "exists. Name another place, or replace it with --force",
        (
            "export",
            "out.vec",
            "--space",
            "mine",
            "--where",
            "text = 'fish'",
        ): "no item of mine is selected",
        ("export", "out.vec", "--space", "mine", "--layer", "7"): "unknown layer '7'",
        (
            "export",
            "no/such/out.vec",
            "--space",
            "mine",
            "--transform",
            "centre:3",
        ): "takes no argument",
    }
    for call, message in calls.items():
        assert message in refusal(*call)
    assert not list(Path().glob("out*"))
    assert vectors.read_text().startswith("3 2\n")


def test_an_export_replaces_only_what_an_export_wrote(cli, refusal, vectors):
    cli("import", vectors, "--name", "mine")
    cli("export", "out", "--space", "mine", "--as", "npy")
    cli("export", "out", "--space", "mine", "--as", "npy", code=2)
    cli("export", "out", "--space", "mine", "--as", "npy", "--force")
    Path("own").mkdir()
    Path("own/thesis.txt").write_text("mine")
    refused = refusal("export", "own", "--space", "mine", "--as", "npy", "--force")
    assert "a folder that no export wrote" in refused
    assert Path("own/thesis.txt").read_text() == "mine"


def test_word2vec_has_no_room_for_texts_with_spaces_or_several_layers(cli, refusal, make_store):
    Path("texts.txt").write_text("a dog\na cat\n")
    np.save("a.npy", np.ones((2, 2, 3)))
    cli("import", "a.npy", "--texts", "texts.txt", "--name", "s", "--unit", "sentence")
    call = ["export", "out.vec", "--space", "s"]
    assert "has a space, which ends a key" in refusal(*call)
    assert "has room for one layer" in refusal(*call, "--layer", "all")
    root = make_store("o", texts=["bank"], unit="occurrence").root
    assert "several vectors" in refusal(*call[:2], "--store", root)
    assert not list(Path().glob("out*"))


def test_push_and_pull(cli, refusal, make_store, tmp_path):
    made = make_store()
    done = cli("push", str(tmp_path / "copy"), "--store", str(made.root), "--json")
    assert {row["action"] for row in json.loads(done.stdout)} == {"pushed"}
    copied = refusal("push", str(tmp_path / "no"), "--store", str(made.root), "--space", "no")
    assert "unknown space 'no'" in copied
    again = cli("pull", str(made.root), "--store", str(tmp_path / "copy"))
    assert again.stdout == ""
    assert "There is nothing new to copy." in again.stderr
    flip(made.shard_files[0])
    assert "is damaged" in refusal("push", str(tmp_path / "other"), "--store", str(made.root))


@pytest.mark.server
def test_a_store_on_a_web_server_is_asked_and_copied(
    cli, refusal, make_store, tmp_path, monkeypatch
):
    monkeypatch.setenv("EMBSTORE_CACHE", str(tmp_path / "cache"))
    cli("push", tmp_path / "served", "--store", make_store().root, "--quiet")
    with serving(tmp_path / "served") as server:
        shown = cli("info", "--store", server.url)
        assert shown.stderr == ""
        quiet = cli("push", tmp_path / "copy", "--store", server.url, "--quiet")
        assert quiet.stderr == ""
    assert "options are for stores at URLs" in refusal(
        "push", tmp_path / "other", "--store", tmp_path / "copy", "--store-option", "region=x"
    )


@pytest.mark.slow
def test_import_keeps_columns(cli, refusal, tmp_path):
    rows = {"text": ["dog", "cat"], "pos": ["N", "V"], "v": [[1.0, 2.0], [2.0, 1.0]]}
    pq.write_table(pa.table(rows), tmp_path / "vectors.parquet")
    arguments = ("import", "vectors.parquet", "--name", "mine")
    assert "Known: text, pos, v" in refusal(*arguments, "--keep", "pso")
    assert "'v' cannot be kept" in refusal(*arguments, "--keep", "v")
    assert not (tmp_path / "store").exists()
    assert "left out, and --keep stores them: pos." in cli(*arguments).stderr
    assert "column pos (string): 2 values stored" in cli(*arguments, "--keep", "pos").stderr
    found = cli("query", "norms", "--where", "pos = 'N'", "--csv")
    assert ",1," in found.stdout
