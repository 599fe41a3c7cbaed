"""No first text and no part of a text is lost in silence: headers, and carriage returns."""

from io import BytesIO

import pytest
from source_files import texts

from embstore.base.errors import SourceError, UnknownNameError, UsageError
from embstore.sources import Row, open_source
from embstore.sources import files as module

HEADERS = [("a.csv", ","), ("a.tsv", "\t")]


@pytest.mark.parametrize(("name", "separator"), HEADERS)
def test_the_name_of_an_only_column_is_reported_where_it_may_be_a_text(write, name, separator):
    source = open_source(write(name, "cat\ndog\n"))
    assert texts(source) == ["dog"]
    assert source.remarks == [
        f"{name}:1: 'cat' was taken for the name of the column, not for a text. If the first line is no header, add "
        "⦃header=False⦄: the columns are then called 1, 2, 3 …"
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
    assert [row for row in source.rows() if isinstance(row, Row)] == [Row("cat", f"{name}:2"), Row("dog", f"{name}:3")]
    assert source.remarks == []
    write(name, "cat,1\ndog,2\n".replace(",", separator))
    assert texts(open_source(name, columns=["1"], header=False)) == ["cat", "dog"]
    assert texts(open_source(name, columns=["2", "1"], header=False)) == ["1", "cat", "2", "dog"]
    with pytest.raises(UsageError, match=rf"{name} has 2 columns: 1, 2\. Say which hold the texts, with columns=\.$"):
        open_source(name, header=False)
    write(name, "cat\ndog,2\n".replace(",", separator))
    with pytest.raises(SourceError, match=r":2: 2 values, but the first line has 1 columns"):
        texts(open_source(name, header=False))


@pytest.mark.parametrize(("name", "separator"), HEADERS)
def test_errors_about_columns_say_what_to_do_without_a_header(write, name, separator):
    write(name, "cat,dog\nsun,sea\n".replace(",", separator))
    for columns in ([], ["word"]):
        with pytest.raises(
            (UsageError, UnknownNameError), match=r"cat.*dog.*If the first line is no header, add header=False"
        ):
            open_source(name, columns=columns)
    write(name, "\ncat\n")
    with pytest.raises(SourceError, match=r"the header is missing.*header=False"):
        open_source(name)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "-", "words"])
def test_no_header_of_what_has_none_is_refused(write, name):
    write("a.txt", "cat\n")
    write("a.jsonl", '{"text": "cat"}\n')
    with pytest.raises(UsageError, match=rf"header=False does not fit '{name}': only \.csv and \.tsv"):
        open_source(name, header=False)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(("name", "header"), [("a.txt", ""), ("a.csv", "text{end}"), ("a.tsv", "text{end}")])
def test_a_lone_carriage_return_among_line_feeds_is_reported(write, name, header, end):
    head = header.format(end=end)
    source = open_source(write(name, f"{head}cat{end}a\rb{end}c\rd{end}"))
    assert texts(source) == ["cat", "a", "b", "c", "d"]
    [remark] = source.remarks
    assert remark.startswith(f"{name}:{2 + bool(head)}: a carriage return without a line feed was taken for the end")
    assert "(2 in all)" in remark
    assert remark.endswith("give the texts as .jsonl, or in quotes as .csv.")


def test_lines_that_all_end_alike_are_not_reported_nor_returns_in_quotes_or_json(write):
    for end in ("\n", "\r\n", "\r"):
        for name, header in (("a.txt", ""), ("a.csv", f"text{end}"), ("a.tsv", f"text{end}")):
            source = open_source(write(name, f"{header}cat{end}dog{end}sea"))
            assert (texts(source), source.remarks) == (["cat", "dog", "sea"], [])
    source = open_source(write("a.csv", 'text\n"a\rb"\n"c\r\nd",\ne\n'.replace(",", "")))
    assert (texts(source), source.remarks) == (["a\rb", "c\r\nd", "e"], [])
    source = open_source(write("a.jsonl", '{"text": "a\\rb"}\n{"text":\r"c"}\r\n'))
    assert (texts(source), source.remarks) == (["a\rb", "c"], [])
    with pytest.raises(SourceError, match="a carriage return without a line feed does not end a line"):
        texts(open_source(write("a.jsonl", '{"text": "a"}\r{"text": "b"}\r')))


def test_standard_input_is_reported_too():
    source = open_source("-", stdin=BytesIO(b"a\rb\nc\n"))
    assert texts(source) == ["a", "b", "c"]
    assert source.remarks[0].startswith("standard input:1: a carriage return")


@pytest.mark.parametrize(("name", "place"), [("a.txt", 2), ("a.tsv", 3), ("a.csv", 3), ("a.jsonl", 2)])
def test_a_line_that_is_longer_than_any_text_is_an_error(write, monkeypatch, name, place):
    monkeypatch.setattr(module, "MAX_TEXT_CHARS", 100)
    before = {"a.txt": "cat\n", "a.jsonl": '{"text": "cat"}\n'}.get(name, "text\ncat\n")
    for n, n_rows in ((99, 2), (200, 1)):
        line = "x" * n if name != "a.jsonl" else '{"text": "' + "x" * (n - 12) + '"}'
        source = open_source(write(name, f"{before}{line}\n"))
        if n_rows == 2:
            assert len(texts(source)) == 2
            continue
        with pytest.raises(SourceError, match=rf"{name}:{place}: the line has more than 100 characters\. Cut it"):
            texts(source)
