"""import --keep: columns of tables are stored as a build stores them."""

import json

import numpy as np
import pandas as pd
import pytest
from kept_columns import stored_columns
from sound_stores import problems_of

from embstore import Store
from embstore.base.errors import SourceError, UnknownNameError, UsageError
from embstore.base.space import Unit
from embstore.base.text import item_id

TEXTS = ["dog", "cat", "007", "sea, with a comma"]
COLUMNS = {
    "pos": ["N", "N", None, "N"],
    "freq": [1, 2, 3, 4],
    "share": [0.5, None, 2.0, 0.25],
    "rare": [True, False, None, True],
}
VECTORS = np.arange(12.0).reshape(4, 3) + 1


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def table(tmp_path):
    """A Parquet table of vectors with columns, of which one is nested."""
    values = {name: pd.array(column) for name, column in COLUMNS.items()}
    frame = pd.DataFrame({"word": TEXTS, **values, "vector": [*VECTORS], "tags": [["a"]] * 4})
    frame.to_parquet(tmp_path / "vectors.parquet")
    return tmp_path / "vectors.parquet"


def values_of(store, names=tuple(COLUMNS)):
    found = stored_columns(store.path)
    rows = found.reindex([item_id(Unit.WORD, text) for text in TEXTS])
    return {name: [None if pd.isna(x) else x for x in rows[name]] for name in names}


READ = {"vector_column": "vector"}


@pytest.mark.slow
def test_columns_are_those_of_a_build(store, table, tmp_path, checkpoint):
    report = store.import_vectors(table, "mine", keep=[*COLUMNS], **READ)
    assert values_of(store) == COLUMNS
    assert "These columns are left out, and `keep` stores them: tags." in report.notes
    assert "column freq (int64): 4 values stored" in report.notes
    built = Store(tmp_path / "built")
    built.build(str(table), models=str(checkpoint), columns="word", unit="word", keep=[*COLUMNS])
    assert stored_columns(built.path)[[*COLUMNS]].equals(stored_columns(store.path)[[*COLUMNS]])
    assert store.query("norms", where="freq > 2 AND rare", spaces="mine")["n"] == [1]
    assert store.query("norms", by="pos", spaces="mine")["n"] == [3, 1]
    assert store.sql("SELECT sum(freq) FROM columns").fetchall() == [(10,)]
    assert problems_of(store) == []


def test_a_note_ends_after_20_names(store, tmp_path):
    names = [f"column{number}" for number in range(25)]
    columns = {name: range(4) for name in names}
    frame = pd.DataFrame({"word": TEXTS, **columns, "vector": [*VECTORS]})
    frame.to_parquet(tmp_path / "vectors.parquet")
    report = store.import_vectors(tmp_path / "vectors.parquet", "mine", **READ)
    assert report.notes[-1] == (
        f"These columns are left out, and `keep` stores them: {', '.join(names[:20])} and 5 more."
    )


def test_a_note_names_what_is_left_out(store, table):
    report = store.import_vectors(table, "mine", **READ)
    assert report.notes[-1] == (
        "These columns are left out, and `keep` stores them: pos, freq, share, rare, tags."
    )
    assert store.columns()["origin"] == ["built-in"] * 2
    again = store.import_vectors(table, "mine", keep="freq", **READ)
    assert (again.imported, again.present) == (0, 4)
    assert values_of(store, ["freq"]) == {"freq": COLUMNS["freq"]}


def test_a_table_of_texts_without_a_header(store, tmp_path):
    np.save(tmp_path / "vectors.npy", VECTORS)
    (tmp_path / "texts.csv").write_text("dog,3\ncat,4\nowl,5\nant,6\n")
    report = store.import_vectors(
        tmp_path / "vectors.npy", "mine", texts=tmp_path / "texts.csv", keep="2"
    )
    assert report.imported == 4
    assert not any("left out" in note for note in report.notes)


def test_texts_without_any_row_are_refused_with_their_place(store, tmp_path):
    np.save(tmp_path / "vectors.npy", VECTORS)
    (tmp_path / "texts.jsonl").write_text("\n\n")
    with pytest.raises(SourceError, match=r"texts\.jsonl:1: not JSON"):
        store.import_vectors(tmp_path / "vectors.npy", "mine", texts=tmp_path / "texts.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("keep", [["pos", "freq", "share", "rare"], "all"])
def test_columns_of_the_texts_of_an_array(store, tmp_path, suffix, keep):
    np.save(tmp_path / "vectors.npy", VECTORS)
    frame = pd.DataFrame({"text": TEXTS, **{name: pd.array(COLUMNS[name]) for name in COLUMNS}})
    path = tmp_path / f"texts.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)
    elif suffix == "jsonl":
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]
        lines = (json.dumps({"text": text, **row}) for text, row in zip(TEXTS, rows, strict=True))
        path.write_text("".join(f"{line}\n" for line in lines))
    else:
        frame.to_csv(path, index=False, sep="," if suffix == "csv" else "\t")
    store.import_vectors(tmp_path / "vectors.npy", "mine", texts=path, keep=keep)
    assert values_of(store) == COLUMNS


def test_occurrences_have_columns(store, tmp_path):
    rows = [
        {"text": "bank", "context": f"the bank {word}", "start": 4, "end": 8, "sense": word}
        for word in "abcd"
    ]
    (tmp_path / "texts.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    np.save(tmp_path / "vectors.npy", VECTORS)
    options = {"texts": tmp_path / "texts.jsonl", "keep": "sense"}
    with pytest.raises(UsageError, match="`keep` is for words, sentences and occurrences"):
        store.import_vectors(tmp_path / "vectors.npy", "mine", unit="token", **options)
    store.import_vectors(tmp_path / "vectors.npy", "mine", unit="occurrence", **options)
    found = store.sql(
        "SELECT c.text, k.sense FROM items i JOIN columns k ON k.item_id = i.item_id"
        " JOIN items c ON c.item_id = i.context_id ORDER BY ALL"
    ).fetchall()
    assert found == [(f"the bank {word}", word) for word in "abcd"]


@pytest.mark.slow
@pytest.mark.parametrize("format", ["parquet", "datasets"])
def test_what_is_exported_comes_back(store, table, tmp_path, format):
    store.import_vectors(table, "mine", keep=[*COLUMNS], **READ)
    dest = tmp_path / f"out.{format}"
    store.export(dest, "mine", format=format, keep="all")
    other = Store(tmp_path / "other")
    other.import_vectors(dest, "mine", keep="all")
    assert stored_columns(other.path).equals(stored_columns(store.path))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"keep": "fre"}, UnknownNameError, r"'fre'\. Did you mean 'freq'.*Known: word, pos, freq"),
        ({"keep": "tags"}, SourceError, r"the column 'tags' cannot be kept: it is of type list"),
        ({"keep": ["freq", "freq"]}, UsageError, "was given twice"),
        ({"keep": ["freq", "all"]}, UsageError, "keeps every column"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_nothing_written(store, table, options, error, message):
    with pytest.raises(error, match=message) as caught:
        store.import_vectors(table, "mine", **READ, **options)
    assert "\n" not in str(caught.value)
    assert not store.path.exists()


def test_formats_without_columns(store, tmp_path):
    (tmp_path / "glove.txt").write_text("dog 1 2\ncat 2 3\n")
    (tmp_path / "words.txt").write_text("\n".join(TEXTS))
    np.save(tmp_path / "vectors.npy", VECTORS)
    for name, options in (("glove.txt", {}), ("vectors.npy", {"texts": tmp_path / "words.txt"})):
        with pytest.raises(UsageError, match=r"\bhas no columns"):
            store.import_vectors(tmp_path / name, "mine", keep="freq", **options)
    assert not store.path.exists()


def test_other_values_are_refused(store, table, tmp_path):
    store.import_vectors(table, "mine", keep="freq", **READ)
    frame = pd.DataFrame({"text": TEXTS, "freq": [1, 2, 3, 9], "vector": [*VECTORS]})
    frame.to_parquet(tmp_path / "other.parquet")
    with pytest.raises(SourceError, match="1 item of these sources has another value of the colum"):
        store.import_vectors(tmp_path / "other.parquet", "other", keep="freq")
    assert store.info()["space"] == ["mine"]
    assert values_of(store, ["freq"]) == {"freq": COLUMNS["freq"]}
