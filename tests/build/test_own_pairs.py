"""Pairs of a user's own, stored as a dataset: they give the numbers that their file gives."""

import pytest

from embstore.base.errors import EmbstoreError, QueryError, SourceError, StoreError, UsageError

PAIRS = "left,right,score\ntext1,text2,3.5\ntext3,text4,1\ntext5,text6,2\ntext7,text8,0\n"


def rows_of(table):
    return [{key: value for key, value in row.items() if key != "dataset"} for row in table]


def test_stored_pairs_give_what_their_file_gives(make_store, tmp_path):
    made = make_store(n=10)
    path = tmp_path / "pairs.csv"
    path.write_text(PAIRS)
    with pytest.raises(QueryError, match=r"own, with a score: embstore datasets add NAME FILE"):
        made.store.query("similarity")
    [row] = made.store.add_pairs("mine", path)
    assert row == {"dataset": "mine", "kind": "word pairs", "unit": "word", "rows": 4}
    expected = made.store.query("similarity", dataset=str(path))
    stored = made.store.query("similarity")
    assert rows_of(stored) == rows_of(expected)
    assert {row["dataset"] for row in stored} == {"mine"}
    assert made.store.verify().ok


def test_the_same_name_again_replaces_the_pairs(make_store, tmp_path):
    made = make_store(n=10)
    path = tmp_path / "pairs.csv"
    for text, n in ((PAIRS, 4), (PAIRS + "text8,text9,4\n", 5)):
        path.write_text(text)
        made.store.add_pairs("mine", f"{path}:left,right,score")
        assert {row["n"] for row in made.store.query("similarity")} == {n}


def test_the_command(make_store, cli, tmp_path):
    make_store(n=10)
    (tmp_path / "pairs.csv").write_text(PAIRS)
    result = cli("datasets", "add", "mine", "pairs.csv")
    assert (result.stdout, result.stderr) == ("", "mine: 4 word pairs stored.\n")
    result = cli("query", "similarity", "--layer", "0", "--format", "json")
    assert '"dataset": "mine"' in result.stdout


@pytest.mark.parametrize(
    ("name", "text", "error", "message"),
    [
        ("rg65", PAIRS, UsageError, "'rg65' is the name of a published dataset"),
        ("../x", PAIRS, UsageError, r"'\.\./x' cannot name"),
        ("mine", "a,b,s\ntext1,a b,1\ntext2,text3,2\n", UsageError, r"of the 4 texts .* 1 have"),
        ("mine", "a,s\ntext1,1\n", SourceError, r"columns a, s, of which 2 of texts"),
        ("mine", "", SourceError, "no text"),
        ("mine", None, EmbstoreError, r"pairs\.csv"),
    ],
)
def test_what_is_no_file_of_pairs(make_store, tmp_path, name, text, error, message):
    made = make_store(n=5)
    path = tmp_path / "pairs.csv"
    if text is not None:
        path.write_text(text)
    before = made.store.info()
    with pytest.raises(error, match=message):
        made.store.add_pairs(name, path)
    assert made.store.info() == before


def test_a_store_is_needed(tmp_path):
    from embstore import Store

    (tmp_path / "pairs.csv").write_text(PAIRS)
    with pytest.raises(StoreError):
        Store(tmp_path / "none").add_pairs("mine", tmp_path / "pairs.csv")
    assert not (tmp_path / "none").exists()
