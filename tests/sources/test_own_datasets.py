"""A user's own tables as datasets, by their path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_files import write_table

from embstore.base.errors import SourceError, UnknownNameError, UsageError
from embstore.base.space import Unit
from embstore.sources.opening import open_source
from embstore.sources.own import find_file
from embstore.sources.rows import number_value

ROWS = [("null", "nan", 1.5), ('say "hi", now', "café", -2.0), ("a", "a", 3.0)]
COLUMNS = ["left", "right", "gold"]


def read(name, kind="pairs", unit=Unit.WORD):
    file = find_file(str(name))
    assert file is not None
    return [(*row.texts, *row.values.values()) for row in file.rows(unit, kind)]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_pairs_from_every_kind_of_table(tmp_path, suffix):
    rows = [("noun", *row, 7) for row in ROWS]
    path = write_table(tmp_path / f"table{suffix}", rows, ["pos", *COLUMNS, "more"])
    assert read(f"{path}:left,right,gold") == ROWS
    assert read(f"{path}:right, left, more") == [(b, a, 7) for a, b, _ in ROWS]
    assert read(path) == [("noun", a, x, 7) for a, _, x in ROWS], "the first two of texts"
    assert read(f"{path}:left,gold", "lexicon") == [(a, x) for a, _, x in ROWS]
    line = 3 if suffix in (".csv", ".tsv") else 2
    bad = write_table(tmp_path / f"bad{suffix}", [("a", "1.5"), ("b", "high")], ["word", "v"])
    with pytest.raises(SourceError, match=rf"{bad}:{line} \(v\): 'high' is not a number"):
        read(f"{bad}:word,v", "lexicon")


@pytest.mark.parametrize(
    ("name", "text", "kind", "rows"),
    [
        ("a.csv", "gem;jewel;3.94\ncord;smile;0.02\n", "pairs", [("gem", "jewel", 3.94)]),
        ("a.tsv", "go\tmove\tV\t9\tSYN\nbe\tdo\tV\t1\tNONE\n", "pairs", [("go", "move", 9)]),
        ("a.csv", "w1,w2,score\ngem,jewel,3.94\n", "pairs", [("gem", "jewel", 3.94)]),
        ("a.csv", 'w1|w2|score\n"a|b"|c|1\n', "pairs", [("a|b", "c", 1)]),
        ("a.tsv", "word\tvalence\tarousal\nlove\t8\t6\n", "lexicon", [("love", 8, 6)]),
        ("a.csv", "# ratings\ndog,cat,3\n# more\nsea,shore,2\n", "pairs", [("dog", "cat", 3)]),
        ("a.csv", "# by\nw1,w2,score\ngem,jewel,3.94\n", "pairs", [("gem", "jewel", 3.94)]),
        ("a.csv:2,1,3", "gem;jewel;3.94\ncord;smile;0.02\n", "pairs", [("jewel", "gem", 3.94)]),
    ],
)
def test_headers_delimiters_and_columns_are_guessed(tmp_path, name, text, kind, rows):
    (tmp_path / name.partition(":")[0]).write_text(text)
    assert read(tmp_path / name, kind)[:1] == rows


@pytest.mark.parametrize(
    ("columns", "kind", "error", "message"),
    [
        ("", "pairs", SourceError, "has the columns word, v, of which 2 of texts"),
        (":word,v", "pairs", UsageError, "names 2 columns, and 3 are needed: both texts"),
        (":word,word,v", "pairs", UsageError, "'word' was given twice"),
        (":word,x", "lexicon", UnknownNameError, "unknown column 'x'"),
        ("", "analogies", SourceError, "analogies are a .txt file or a folder"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, columns, kind, error, message):
    (tmp_path / "table.csv").write_text("word,v\na,1\n")
    with pytest.raises(error, match=message):
        read(f"{tmp_path / 'table.csv'}{columns}", kind)
    for text, why in (
        ("", "it is empty"),
        ("a,b,score\n", "it has columns, and no rows"),
        ("a,b,score\ndog,cat,1\ncat,cow,nine\n", r"cannot be told; .*more\.csv:3: 'nine'\. Name"),
    ):
        (tmp_path / "more.csv").write_text(text)
        with pytest.raises(SourceError, match=why):
            read(str(tmp_path / "more.csv"), "pairs")
    assert find_file(str(tmp_path / "none.csv")) is None
    assert find_file("x" * 5000) is None


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("w1,w2,score\ngem,jewel,3.94\n", ["gem", "jewel"]),
        ("gem;jewel;3.94\ncord;smile;0.02\n", ["gem", "jewel", "cord", "smile"]),
        ("word,valence,arousal\nlove,8,6\n", ["love"]),
    ],
)
def test_a_build_reads_the_texts_of_pairs_and_lexicons(tmp_path, text, texts):
    (tmp_path / "table.csv").write_text(text)
    source = open_source(str(tmp_path / "table.csv"))
    assert [row.text for row in source.rows()] == texts
    assert any("it has no header" in remark for remark in source.remarks) == (";" in text)


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "nan", "-Infinity", "1e999", "1_000", "1,5", "½", "0x10", "true", None, True,
        float("nan"), [1], {"a": 1},
    ],
)  # fmt: skip
def test_no_number(value):
    with pytest.raises(SourceError, match=r"^here: .* is not a (finite )?number"):
        number_value(value, "here")


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["", " ", "\t ", "  "]))
def test_a_number_is_read_exactly(value, blanks):
    assert number_value(f"{blanks}{value!r}{blanks}", "here") == value
    assert number_value(value, "here") == value
