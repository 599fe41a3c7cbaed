"""Calls that mean another option or file: what is done, or how the message names it."""

import re
from pathlib import Path

import numpy as np
import pytest
from synthetic import synthetic_store

from embstore import Store
from embstore.base.errors import QueryError

WORDS = ["dog", "cat", "fox"]


@pytest.fixture
def own(tmp_path):
    """Vectors as .npy and as word2vec, with a table of their words."""
    x = np.arange(1.0, 7).reshape(3, 2)
    np.save(tmp_path / "own.npy", x)
    lines = (f"{word} {a} {b}" for word, (a, b) in zip(WORDS, x.tolist(), strict=True))
    (tmp_path / "own.vec").write_text("3 2\n" + "\n".join(lines) + "\n")
    rows = (f"{number},{word},n" for number, word in enumerate(WORDS))
    (tmp_path / "own.csv").write_text("freq,word,class\n" + "\n".join(rows) + "\n")
    return tmp_path


def test_a_table_has_its_texts_in_the_column_word(cli, refusal, own):
    arguments = ("import", "own.npy", "--texts", "own.csv", "--keep", "freq,class")
    said = refusal(*arguments, "--column", "wrod")
    assert "own.csv has the columns freq, word, class. Name the one with the texts: --col" in said
    said = refusal(*arguments, "--column", "word", "--keep", "frek")
    assert "Did you mean 'freq'?" in said
    assert said.endswith("Name a column of own.csv with --keep.")
    cli(*arguments)
    found = Store(own / "store").sql("SELECT text, freq, class FROM items ORDER BY freq").fetchall()
    assert found == [(word, number, "n") for number, word in enumerate(WORDS)]
    (own / "other.csv").write_text((own / "own.csv").read_text().replace("word", "w"))
    said = refusal("import", "own.npy", "--texts", "other.csv", "--name", "other")
    assert "other.csv has the columns freq, w, class. Name the one with the texts: --column" in said


def test_the_column_word_is_no_default_beside_targets(refusal, tmp_path):
    (tmp_path / "uses.csv").write_text("word,sentence\nbank,the bank lends\n")
    said = refusal("build", "uses.csv", "--targets", "word", "--model", "x=gone")
    assert "uses.csv has 2 columns: word, sentence. Say which hold the texts, with --column" in said


def test_how_to_keep_columns_of_a_text_format(refusal, own):
    way = "columns to keep come with .parquet, or with .npy and a table as --texts."
    said = refusal("import", "own.vec", "--keep", "freq,class")
    assert f"own.vec (word2vec) has no columns: {way}" in said
    assert way in refusal("import", "own.vec", "--texts", "own.csv", "--keep", "freq")
    assert not (own / "store").exists()


def test_a_dataset_whose_file_is_misspelt(refusal, tmp_path):
    synthetic_store(tmp_path / "store", n=5, index=False)
    (tmp_path / "sim.csv").write_text("a,b,score\ntext1,text2,3\ntext3,text4,1\n")
    for name in ("simm.csv", "simm.csv:a,b,score"):
        said = refusal("query", "similarity", "--dataset", name)
        assert said == "embstore: simm.csv does not exist. Did you mean sim.csv?"
    said = refusal("query", "similarity", "--dataset", "sim.csv:a,b,scor")
    assert (
        "Did you mean 'score'? Known: a, b, score. Name a column of sim.csv with its path" in said
    )
    assert "`" not in said
    assert "header=" not in said


def test_what_is_combined_is_named_as_options(refusal, made):
    said = refusal("neighbours", "king - man + o'hara", "--store", made.root)
    assert """combined by --positive "king,o'hara" and --negative man in place of a text""" in said
    said = refusal("neighbours", "king + woman", "--store", made.root)
    assert "combined by --positive king,woman in place of a text" in said


def test_sql_elsewhere_names_the_option_of_the_store(refusal, made, monkeypatch):
    def refuse(*_, **__):
        raise QueryError("embstore pull s3://b/s --store FOLDER; then ask with path='FOLDER'.")

    monkeypatch.setattr("embstore.Store.sql", refuse)
    said = refusal("sql", "SELECT 1", "--store", made.root)
    assert said.endswith("--store FOLDER; then ask with --store FOLDER.")


def test_a_column_is_no_sql(refusal, made):
    options = ("--store", made.root, "--space", made.space, "--by", "substr(text,1,1)")
    said = refusal("query", "anisotropy", *options)
    assert "unknown column of toy.word.last 'substr(text'. Known: text, " in said
    assert "A column is given by its name, not as SQL" in said
    assert said.endswith("embstore build TABLE.csv --keep NAME")


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_a_stored_result_is_cited_as_its_rows_are(cli, refusal, made, tmp_path, suffix):
    result = f"result.{suffix}"
    query = ("query", "anisotropy", "--store", made.root, "--space", made.space, "--no-cache", "-o")
    cli(*query, result)
    said = cli("cite", result, "rg65", "--store", made.root).stdout
    expected = made.store.cite("rg65", result=made.store.query("anisotropy", spaces=made.space))
    assert said == str(expected)
    assert "ethayarajh2019" in said
    assert "is a paper. To check a stored" in refusal("reproduce", result)
    (tmp_path / "other.csv").write_text("a\n")
    assert "other.csv is a file: name the metrics" in refusal("cite", "other.csv")
    assert "gone.json cannot be read" in refusal("cite", "gone.json")


def test_a_model_without_training_that_is_not_stored(refusal):
    said = refusal("build", "--model", "minilm-untrained-3")
    assert said.endswith("Make it by its checkpoint and seed: --model minilm, --untrained 3")


def test_the_nearest_stored_name_comes_first(refusal, made):
    said = refusal("query", "anisotropy", "--model", "othre", "--store", made.root)
    assert said.startswith("embstore: unknown model 'othre'. Did you mean 'other'? Known: ")


@pytest.mark.slow
def test_a_space_beside_a_metric_is_the_one_to_draw(cli, refusal, made):
    picture = ("--store", made.root, "-q", "-o", "own.svg")
    for name in ("other", "other.word.last"):
        assert cli("plot", "norms", name, "isoscore", *picture).output == ""
        cli("plot", "norms", "isoscore", "--space", name, *picture[:2], "-o", "named.svg")
        own, named = (Path(f"{file}.svg").read_text() for file in ("own", "named"))
        assert ("toy" in own, own.count("isoscore") > 0) == (False, True)
        assert re.findall(r"<!-- .* -->", own) == re.findall(r"<!-- .* -->", named)
    said = refusal("plot", "norms", "othre", *picture)
    assert said.startswith(
        "embstore: unknown metric or space 'othre'. Did you mean 'other'? Known: "
    )


def test_a_name_of_a_space_is_no_text(refusal, made):
    for name in ("toy", made.space):
        said = refusal("neighbours", "dog", name, "--store", made.root)
        assert f"It is the name of a model or space: --model {name}." in said
    assert "It is the name" not in refusal("neighbours", "dogs", "--store", made.root)


def test_one_text_to_remove_needs_a_comma(cli, refusal, tmp_path):
    store = synthetic_store(tmp_path / "store", texts=["she", "he", "it"], index=False).store
    said = refusal("remove", "--items", "she", "--yes")
    assert said.startswith("embstore: a single word needs a comma after it: 'she,'. As a file: ")
    assert "she.csv does not exist" in refusal("remove", "--items", "she.csv", "--yes")
    (tmp_path / "own.csv").write_text("id,word\n1,it\n")
    for items, left in (("she,", {"he", "it"}), ("own.csv", {"he"})):
        cli("remove", "--items", items, "--yes")
        assert {text for (text,) in store.sql("SELECT text FROM items").fetchall()} == left


def test_quiet_and_space_have_one_meaning_in_all_commands(cli, made):
    store = ("--store", made.root)
    for call in (("query", "norms"), ("sql", "SELECT 1 AS a"), ("info",)):
        short, long = (cli(*call, *store, option) for option in ("-q", "--quiet"))
        assert (short.stderr, short.stdout) == ("", long.stdout)
    named = cli("info", "--space", made.space, *store)
    assert named.stdout == cli("info", made.space, *store).stdout
