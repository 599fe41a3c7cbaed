"""The targets of sentences: in brackets, or given by columns of a table; and what is refused."""

from io import StringIO

import pytest
from source_files import write_table

from embstore.base.errors import SourceError, UnknownNameError, UsageError
from embstore.sources.opening import open_source
from embstore.sources.rows import Keep, Row, Targets

RIVER = "the bank of the river"
ROWS = [(RIVER, 4, 8), ("Zoë's café, the bank", 16, 20), (RIVER, 4, 15), ("I 😀 New York", 4, 12)]
FOUND = ["bank", "bank", "bank of the", "New York"]


def read(path, columns=(), **options):
    """Return text and target of each row of a source."""
    targets = Targets.parse(options.pop("targets", None), options.pop("span", ()))
    rows = [*open_source(str(path), columns=columns, targets=targets, **options).rows()]
    assert all(isinstance(row, Row) and len(row.spans) == 1 for row in rows)
    return [(row.text, row.text[slice(*row.spans[0])]) for row in rows]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_spans_are_slices_of_python_in_every_format(tmp_path, suffix):
    path = write_table(tmp_path / f"spans{suffix}", ROWS, ("text", "start", "end"))
    expected = [(text, text[start:end]) for text, start, end in ROWS]
    assert [target for _, target in expected] == FOUND
    assert read(path, span="start,end") == expected
    assert read(path, span=("start", "end"), columns=["text"]) == expected


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_one_column_may_have_start_and_end_as_in_dwug(tmp_path, suffix):
    rows = [("bank_nn", text, f"{start}:{end}") for text, start, end in ROWS]
    path = write_table(
        tmp_path / f"uses{suffix}", rows, ("lemma", "context", "indexes_target_token")
    )
    found = read(path, columns=["context"], span="indexes_target_token")
    assert [target for _, target in found] == FOUND


def test_a_column_may_name_the_target_that_occurs_once(tmp_path):
    rows = [
        ("The banker left the bank.", "bank"),
        ("a New York bank", "New York"),
        ("C++ is old", "C++"),
        ("x", "x"),
    ]
    path = write_table(tmp_path / "words.csv", rows, ("text", "word"))
    assert read(path, targets="word") == rows
    assert open_source(str(path), targets=Targets.parse("word", ())).rows().__next__().spans == (
        (20, 24),
    )


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl"])
def test_the_columns_of_the_targets_may_be_kept_too(tmp_path, suffix):
    names = ("text", "sense", "word", "begin", "stop")
    path = write_table(
        tmp_path / f"uses{suffix}", [("a New York bank", "place", "New York", 2, 10)], names
    )
    for targets, kept in (
        (Targets(column="word"), ("word", "sense")),
        (Targets(span=("begin", "stop")), ("stop", "word")),
    ):
        [row] = open_source(str(path), targets=targets, keep=Keep(kept)).rows()
        assert row.spans == ((2, 10),)
        assert {name: str(value) for name, value in row.values.items()} == {
            name: {"sense": "place", "word": "New York", "stop": "10"}[name] for name in kept
        }
    with pytest.raises(
        UsageError, match=r"keep=.sense. does not fit .*: the column holds the texts"
    ):
        open_source(
            str(path), columns=["sense"], targets=Targets(column="word"), keep=Keep(("sense",))
        )


def test_brackets_are_removed_only_on_request(tmp_path):
    path = tmp_path / "marked.txt"
    path.write_text("the [bank] of the river\n[New York] sleeps\nit is [mine]\n", "utf-8")
    expected = [(RIVER, "bank"), ("New York sleeps", "New York"), ("it is mine", "mine")]
    assert read(path, targets="brackets") == expected
    assert [row.text for row in open_source(str(path)).rows()] == path.read_text(
        "utf-8"
    ).splitlines()
    assert read("-", targets="brackets", stdin=StringIO(path.read_text("utf-8"))) == expected
    table = write_table(
        tmp_path / "marked.csv", [("the [bank] of the river", 1)], ("text", "stars")
    )
    assert read(table, targets="brackets") == expected[:1]


def test_columns_without_a_header_are_numbered(tmp_path):
    path = tmp_path / "plain.csv"
    path.write_text(f"{RIVER},4,8\n{RIVER},16,21\n", "utf-8")
    assert read(path, columns=["1"], span="2,3", header=False) == [
        (RIVER, "bank"),
        (RIVER, "river"),
    ]


def test_an_empty_text_is_a_blank_row(tmp_path):
    path = write_table(
        tmp_path / "some.csv", [("", "", ""), (RIVER, "4.0", " 8 ")], ("text", "start", "end")
    )
    blank, row = open_source(str(path), targets=Targets.parse(None, "start,end")).rows()
    assert (blank.origin, blank.reason) == (f"{path}:2", "empty value")
    assert row.spans == ((4, 8),)


REFUSED = [
    (RIVER, 4, 22, "4:22 is outside the text, which has 21 characters"),
    (RIVER, -4, 3, "-4:3 is outside the text"),
    (RIVER, 4, 4, "4:4 is empty"),
    (RIVER, 8, 4, "8:4 is empty"),
    (RIVER, 4.5, 8, "(start): the offset is '4.5', not a whole number"),
    (RIVER, "four", 8, "(start): the offset is 'four', not a whole number"),
    (RIVER, 4, "", "(end): the offset is missing"),
    (RIVER, "True", 8, "(start): the offset is 'True'"),
    ("naïve café bank", 13, 17, "outside the text, which has 15 characters. Offsets are counted in characters (code "
     "points), from 0, as in a slice of Python."),
    ("cafe\u0301 bank", 0, 4, "inside the character at 4"),
    ("cafe\u0301 bank", 4, 10, "inside the character at 4"),
    ("👩\u200d👧 walk", 1, 3, "inside the character at 1"),
]  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize(("text", "start", "end", "reason"), REFUSED)
def test_what_is_no_span_is_refused_with_file_and_row(tmp_path, suffix, text, start, end, reason):
    path = write_table(
        tmp_path / f"bad{suffix}", [(RIVER, 4, 8), (text, start, end)], ("text", "start", "end")
    )
    with pytest.raises(SourceError) as refused:
        read(path, span="start,end")
    row = 3 if suffix == ".csv" else 2
    assert f"{path}:{row}" in str(refused.value)
    assert reason.replace("'4.5'", "4.5" if suffix == ".jsonl" else "'4.5'") in str(refused.value)


@pytest.mark.parametrize(
    ("text", "word", "reason"),
    [
        ("no target here", "", "no brackets in 'no target here'"),
        ("[two] of [them]", "", "other brackets than one pair"),
        ("[open", "", "other brackets than one pair"),
        ("an [] empty one", "", "empty brackets"),
        ("a [b[c]] nested", "", "other brackets than one pair"),
        ("a bank is a bank", "bank", "occurs 2 times"),
        ("the bankers", "bank", "is only a part of a word"),
        (RIVER, "money", "does not occur"),
    ],
)
def test_a_text_without_its_one_target_is_refused_with_its_row(tmp_path, text, word, reason):
    path = write_table(tmp_path / "words.csv", [(text, word)], ("text", "word"))
    with pytest.raises(
        SourceError, match=rf"words\.csv:2.*{'span=.start,end' if word else ''}"
    ) as refused:
        read(path, targets="word" if word else "brackets")
    assert reason in str(refused.value)


def test_spans_that_part_words_are_remarked_on(tmp_path):
    rows = [("naïve bank", 7, 11), ("Zoë's bank", 7, 10), ("銀行員", 0, 2)]
    path = write_table(
        tmp_path / "bytes.csv", [("naïve bank!", 7, 11), *rows[1:]], ("text", "start", "end")
    )
    source = open_source(str(path), targets=Targets.parse(None, "start,end"))
    assert len([*source.rows()]) == 3
    [remark] = source.remarks
    assert "inside a word in 2 rows; the first is 'ank!' in" in remark


@pytest.mark.parametrize(
    ("error", "options", "reason"),
    [
        (UsageError, {"span": "a,b,c"}, "columns of start and end"),
        (UsageError, {"span": "start,"}, "columns of start and end"),
        (UsageError, {"span": "start,start"}, "columns of start and end"),
        (UsageError, {"span": "start,end", "targets": "brackets"}, "give one of them"),
        (UnknownNameError, {"span": "start,stop"}, "unknown column 'stop'"),
        (UnknownNameError, {"targets": "bracket"}, "unknown column 'bracket'"),
        (
            UsageError,
            {"span": "start,end", "columns": ["text", "start"]},
            "in one column of sentences",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, error, options, reason):
    path = write_table(tmp_path / "spans.csv", ROWS, ("text", "start", "end"))
    with pytest.raises(error, match=reason):
        read(path, **options)


def test_columns_of_targets_are_for_tables_and_none_holds_the_sentences(tmp_path):
    path = tmp_path / "plain.txt"
    path.write_text(RIVER, "utf-8")
    for source in (path, "-"):
        with pytest.raises(UsageError, match="has no column 'start' of targets"):
            read(source, span="start,end")
    with pytest.raises(UsageError, match="'words' have no targets"):
        read("words", targets="brackets")
    for suffix in (".csv", ".jsonl", ".parquet"):
        path = write_table(tmp_path / f"twice{suffix}", [(RIVER, "bank")], ("text", "word"))
        for options in ({"targets": "text"}, {"columns": ["word"], "targets": "word"}):
            with pytest.raises(UsageError, match="was given twice"):
                read(path, **options)
