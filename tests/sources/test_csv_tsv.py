"""Tables as sources: quoting, headers, carriage returns; no text and no part of one is lost in
silence.
"""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_files import texts

from embstore.base.errors import SourceError, UnknownNameError, UsageError
from embstore.sources import files as module
from embstore.sources.opening import open_source
from embstore.sources.rows import Blank, Row

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.fixture
def field_limit():
    before = csv.field_size_limit()
    yield before
    csv.field_size_limit(before)


def test_the_only_column_is_read(write):
    source = open_source(write("a.csv", "word\ncat\ndog\n"))
    assert list(source.rows()) == [Row("cat", "a.csv:2"), Row("dog", "a.csv:3")]
    assert list(source.rows()) == list(source.rows())


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize(
    ("content", "is_known_at_once", "message"),
    [
        (b"left,right\n1,2\n", True, r" has 2 columns: left, right\. Say which .* columns"),
        (b"\ncat\n", True, r":1: the header is missing\. The first line must name"),
        (b"t\xe9xt\ncat\n", True, ":1: byte 0xE9 at position 2"),
        (b"text\ncat\n\xff\n", False, ":3: byte 0xFF at position 1"),
        (b"text\n", False, " has no texts: it has columns, and no rows.*header=False"),
        (
            b"id,text\n1,Hello,world\n",
            False,
            r":2: 3 values, but the header names 2 columns\. Quote",
        ),
    ],
)
def test_a_table_that_cannot_be_read_is_named_with_the_place(
    write, name, content, is_known_at_once, message
):
    write(name, content.replace(b",", b"\t" if name == "a.tsv" else b","))
    source = None
    with pytest.raises((UsageError, SourceError), match=f"{name}{message}"):  # noqa: PT012
        source = open_source(name)
        list(source.rows())
    assert (source is None) == is_known_at_once


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_several_columns_come_in_the_order_asked_for(write, name):
    write(name, "left,right\ncat,dog\nsun,\nsea\n".replace(",", "\t" if name == "a.tsv" else ","))
    assert list(open_source(name, columns=["right", "left"]).rows()) == [
        Row("dog", f"{name}:2 (right)"),
        Row("cat", f"{name}:2 (left)"),
        Blank(f"{name}:3 (right)", "empty value"),
        Row("sun", f"{name}:3 (left)"),
        Blank(f"{name}:4 (right)", "missing value"),
        Row("sea", f"{name}:4 (left)"),
    ]


def test_an_unknown_column_and_one_that_is_there_or_asked_for_twice_are_errors(write):
    with pytest.raises(UnknownNameError, match=r"Name a column of a\.csv with `columns`") as caught:
        open_source(write("a.csv", "left,right\n1,2\n"), columns=["left", "rigth"])
    assert (caught.value.kind, caught.value.name, caught.value.known) == (
        "column",
        "rigth",
        ("left", "right"),
    )
    assert "Did you mean 'right'?" in str(caught.value)
    with pytest.raises(UsageError, match=r".a. was given twice for a\.csv, in `columns`"):
        open_source(write("a.csv", "a,b\n1,2\n"), columns=["a", "b", "a"])
    write("a.csv", "a,a,b\n1,2,3\n")
    with pytest.raises(SourceError, match=r"a\.csv has 2 columns named 'a'\. Rename"):
        open_source("a.csv", columns=["a"])
    assert texts(open_source("a.csv", columns=["b"])) == ["3"]


def test_blanks_are_given_with_their_reason(write):
    assert list(open_source(write("a.csv", 'id,text\n1\n\n2,\n3," "\n4,cat\n')).rows()) == [
        Blank("a.csv:2", "missing value"),
        Blank("a.csv:3", "empty line"),
        Blank("a.csv:4", "empty value"),
        Blank("a.csv:5", "empty value"),
        Row("cat", "a.csv:6"),
    ]


def test_quoting_is_rfc_4180_and_origins_are_lines_of_the_file(write):
    content = 'text,n\r\n"a ""quote"", a comma\r\nand a line",1\r\n  b " c  ,2\r\n'
    assert list(open_source(write("a.csv", content)).rows()) == [
        Row('a "quote", a comma\r\nand a line', "a.csv:2"),
        Row('  b " c  ', "a.csv:4"),
    ]


def test_a_byte_order_mark_is_not_part_of_the_first_column(write):
    assert texts(open_source(write("a.csv", '\ufeff"text",n\ncat,1\n'))) == ["cat"]
    assert texts(open_source(write("a.tsv", "\ufefftext\tn\ncat\t1\n"))) == ["cat"]


def test_a_field_of_a_million_characters_is_read_and_the_limit_never_lowered(write, field_limit):
    assert texts(open_source(write("a.csv", f"text\n{'x' * 10**6}\n"))) == ["x" * 10**6]
    csv.field_size_limit(2**30)
    assert texts(open_source(write("a.csv", "text\ncat\n"))) == ["cat"]
    assert csv.field_size_limit() == 2**30


@pytest.mark.parametrize("bad", ['"never closed\nmore\n', '"closed"too early\n'])
def test_bad_quoting_names_the_line_where_it_begins(write, bad):
    source = open_source(write("a.csv", f"text\ncat\n{bad}"))
    with pytest.raises(SourceError, match=r"a\.csv:3: .* not valid CSV: .* close every quote"):
        list(source.rows())


def test_empty_values_beyond_the_header_are_no_loss(write):
    assert texts(open_source(write("a.csv", "id,text\n1,cat,,\n"))) == ["cat"]


def test_tsv_has_no_quoting(write):
    content = 'text\tn\n"cat"\t1\n"open\t2\n a, b \t3\r\n\n\t4\n'
    assert list(open_source(write("a.tsv", content)).rows()) == [
        Row('"cat"', "a.tsv:2"),
        Row('"open', "a.tsv:3"),
        Row(" a, b ", "a.tsv:4"),
        Blank("a.tsv:5", "empty line"),
        Blank("a.tsv:6", "empty value"),
    ]


@given(rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1))
def test_what_csv_writes_comes_back(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "trip.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("left", "right"), *rows])
    source = open_source(str(path), columns=["left", "right"])
    wanted = [text for row in rows for text in row]
    # It may have no texts.
    got = [row.text if isinstance(row, Row) else row.reason for row in source.reader()]
    assert got == [text if text.strip() else "empty value" for text in wanted]


@given(
    rows=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\r\n")))
)
def test_what_tsv_holds_comes_back(tmp_path_factory, rows):
    path = Path(tmp_path_factory.getbasetemp()) / "trip.tsv"
    path.write_bytes(
        "".join(f"{line}\n" for line in ["n\ttext", *(f"1\t{text}" for text in rows)]).encode()
    )
    got = [
        row.text if isinstance(row, Row) else row.reason for row in open_source(str(path)).reader()
    ]
    assert got == [text if text.strip() else "empty value" for text in rows]


HEADERS = [("a.csv", ","), ("a.tsv", "\t")]


@pytest.mark.parametrize("name", [name for name, _ in HEADERS])
def test_the_name_of_an_only_column_is_reported_where_it_may_be_a_text(write, name):
    source = open_source(write(name, "cat\ndog\n"))
    assert texts(source) == ["dog"]
    assert source.remarks == [
        f"{name}:1: 'cat' was taken for the name of the column, not for a text. If the first line"
        " is no header, add header=False: the columns are then called 1, 2, 3 …"
    ]
    assert texts(source) == ["dog"]
    assert len(source.remarks) == 1, "read twice"


@pytest.mark.parametrize("header", ["text", "Word", "sentence"])
def test_plain_names_of_columns_and_chosen_columns_are_not_reported(write, header):
    source = open_source(write("a.csv", f"{header}\ndog\n"))
    assert (texts(source), source.remarks) == (["dog"], [])
    source = open_source(write("a.csv", "cat\ndog\n"), columns=["cat"])
    assert (texts(source), source.remarks) == (["dog"], [])
    source = open_source(write("a.csv", "id,text\n1,dog\n"))
    assert (texts(source), source.remarks) == (["dog"], [])


@pytest.mark.parametrize(("name", "separator"), HEADERS)
def test_without_a_header_the_first_line_is_a_row(write, name, separator):
    write(name, "\ncat\ndog\n")
    source = open_source(name, header=False)
    assert [row for row in source.rows() if isinstance(row, Row)] == [
        Row("cat", f"{name}:2"),
        Row("dog", f"{name}:3"),
    ]
    assert source.remarks == []
    write(name, "cat,1\ndog,2\n".replace(",", separator))
    assert texts(open_source(name, columns=["1"], header=False)) == ["cat", "dog"]
    assert texts(open_source(name, columns=["2", "1"], header=False)) == ["1", "cat", "2", "dog"]
    assert texts(open_source(name, header=False)) == ["cat", "dog"], "the column of texts"
    write(name, "cat,a,b\ndog,c,d\n".replace(",", separator))
    with pytest.raises(UsageError, match=rf"{name} has 3 columns: 1, 2, 3\. Say which"):
        open_source(name, header=False)
    write(name, "cat\ndog,2\n".replace(",", separator))
    with pytest.raises(SourceError, match=r":2: 2 values, but the first line has 1 columns"):
        texts(open_source(name, header=False))


@pytest.mark.parametrize(("name", "separator"), HEADERS)
def test_errors_about_columns_say_what_to_do_without_a_header(write, name, separator):
    write(name, "cat,dog\nsun,sea\n".replace(",", separator))
    for columns in ([], ["word"]):
        with pytest.raises(
            (UsageError, UnknownNameError),
            match=r"cat.*dog.*If the first line is no header, add header=False",
        ):
            open_source(name, columns=columns)
    write(name, "\ncat\n")
    with pytest.raises(SourceError, match=r"the header is missing.*header=False"):
        open_source(name)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "-", "words"])
def test_no_header_of_what_has_none_is_refused(write, name):
    write("a.txt", "cat\n")
    write("a.jsonl", '{"text": "cat"}\n')
    with pytest.raises(
        UsageError, match=rf"header=False does not fit '{name}': only \.csv and \.tsv"
    ):
        open_source(name, header=False)


def test_lines_may_end_in_three_ways_and_returns_in_quotes_or_json_are_kept(write):
    for end in ("\n", "\r\n", "\r"):
        for name, header in (("a.txt", ""), ("a.csv", f"text{end}"), ("a.tsv", f"text{end}")):
            source = open_source(write(name, f"{header}cat{end}dog{end}sea"))
            assert (texts(source), source.remarks) == (["cat", "dog", "sea"], [])
    source = open_source(write("a.csv", 'text\n"a\rb"\n"c\r\nd",\ne\n'.replace(",", "")))
    assert (texts(source), source.remarks) == (["a\rb", "c\r\nd", "e"], [])
    source = open_source(write("a.jsonl", '{"text": "a\\rb"}\n{"text":\r"c"}\r\n'))
    assert (texts(source), source.remarks) == (["a\rb", "c"], [])
    with pytest.raises(SourceError, match=r"a\.jsonl:1: not a JSON object"):
        texts(open_source(write("a.jsonl", '{"text": "a"}\r{"text": "b"}\r')))


@pytest.mark.parametrize(
    ("name", "place"), [("a.txt", 2), ("a.tsv", 3), ("a.csv", 3), ("a.jsonl", 2)]
)
def test_a_line_that_is_longer_than_any_text_is_an_error(write, monkeypatch, name, place):
    monkeypatch.setattr(module, "MAX_TEXT_CHARS", 100)
    before = {"a.txt": "cat\n", "a.jsonl": '{"text": "cat"}\n'}.get(name, "text\ncat\n")
    for n, n_rows in ((99, 2), (200, 1)):
        line = "x" * n if name != "a.jsonl" else '{"text": "' + "x" * (n - 12) + '"}'
        path = write(name, f"{before}{line}\n")
        if n_rows == 2:
            assert len(texts(open_source(path))) == 2
            continue
        with pytest.raises(
            SourceError, match=rf"{name}:{place}: the line has more than 100 characters\. Cut it"
        ):
            texts(open_source(path))
