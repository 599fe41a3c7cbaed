from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_files import texts

from embstore.base.errors import SourceError, UsageError
from embstore.sources.opening import open_source
from embstore.sources.rows import Blank, Row

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"))


def test_each_line_is_one_text_with_its_origin(write):
    source = open_source(write("words.txt", "cat\n  two words \n\n \t\ndog"))
    assert list(source.rows()) == [
        Row("cat", "words.txt:1"),
        Row("  two words ", "words.txt:2"),
        Blank("words.txt:3", "empty line"),
        Blank("words.txt:4", "empty line"),
        Row("dog", "words.txt:5"),
    ]
    assert (source.name, source.dataset, source.stored_name) == ("words.txt", None, None)


def test_lines_end_at_the_three_terminators_alone(write):
    for end in ("\n", "\r\n", "\r"):
        assert texts(open_source(write("a.txt", f"one{end}two{end}"))) == ["one", "two"]
    for n_before in range(8189, 8194):  # across the edge of a buffer
        assert texts(open_source(write("a.txt", "x" * n_before + "\r\ny"))) == ["x" * n_before, "y"]
    for inner in ("\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x00", "\ufeff"):
        assert texts(open_source(write("a.txt", f"one{inner}two\n"))) == [f"one{inner}two"]
    assert texts(open_source(write("a.txt", "\ufeffone\n\ufefftwo\n"))) == ["one", "\ufefftwo"], (
        "a byte order mark"
    )


def test_a_table_among_text_files_is_refused_with_the_remedy(write):
    for lines in (["a\t1"], ["dog\t3"] * 9 + ["cat"], ["dog\t3\t"] * 2000, ["", "a\t"]):
        source = open_source(write("words.txt", "\n".join(lines)))
        with pytest.raises(
            SourceError, match=r"words\.txt: .* tabs? each, as in a table\. Rename it"
        ):
            list(source.rows())
    rows = open_source(write("words.txt", "dog\t3\n" * 1500)).rows()
    with pytest.raises(SourceError, match=r"1,000 of 1,000 lines have 1 tab each, "):
        list(zip(range(1000), rows, strict=False))
    assert texts(open_source("-", stdin=BytesIO(b"dog\t3\ncat\t4\n"))) == ["dog\t3", "cat\t4"]


def test_few_tabs_are_parts_of_texts(write):
    lines = [f"word{number}" for number in range(10_000)]
    lines[5212] += "\tx"
    source = open_source(write("words.txt", "\n".join(lines)))
    assert texts(source) == lines
    source = open_source(write("words.txt", "a\tb\nc\td\te\nf\n"))
    assert texts(source) == ["a\tb", "c\td\te", "f"]


@given(lines=st.lists(TEXTS), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_every_text_without_newlines_comes_back(lines, end):
    kept = [line for line in lines if line.strip()]
    data = "".join(line + end for line in ["\ufefffirst", *lines]).encode()
    rows = list(open_source("-", stdin=BytesIO(data)).rows())
    assert [row.text for row in rows if isinstance(row, Row)] == ["first", *kept]
    assert [row.origin for row in rows] == [f"standard input:{i}" for i in range(1, len(lines) + 2)]


@given(data=st.binary())
def test_any_bytes_are_read_whole_or_refused(data):
    source = open_source("-", stdin=BytesIO(data))
    try:
        rows = list(source.rows())
    except SourceError as error:
        assert "standard input" in str(error)  # noqa: PT017
        assert "no texts" in str(error) or "not valid UTF-8" in str(error)  # noqa: PT017
    else:
        lines = (
            data.decode()
            .removeprefix("\ufeff")
            .replace("\r\n", "\n")
            .replace("\r", "\n")
            .split("\n")
        )
        assert [row.text for row in rows if isinstance(row, Row)] == [
            line for line in lines if line.strip()
        ]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["words.txt", "words.csv", "words.jsonl"])
def test_utf_16_is_named(name, encoding, tmp_path):
    path = tmp_path / name
    path.write_bytes("\ufeffcaf\u00e9\n".encode(encoding))
    with pytest.raises(
        SourceError, match=rf"{name}:1: .* begins a text in UTF-16.* iconv -f UTF-16"
    ):
        list(open_source(str(path)).rows())


@pytest.mark.parametrize(
    ("data", "place", "byte", "position"),
    [
        (b"caf\xe9\n", "a.txt:1", "0xE9", 4),
        ("ok\n\u00e9\u00e9".encode() + b"\xff\n", "a.txt:2", "0xFF", 5),
        (b"\n" * 20000 + b"\xc3", "a.txt:20001", "0xC3", 1),
        (b"x\xed\xb2\x80", "a.txt:1", "0xED", 2),
        ("cat\n".encode("utf-16"), "a.txt:1", "0xFF", 1),
    ],
)
def test_invalid_utf8_names_line_and_byte(write, data, place, byte, position):
    with pytest.raises(SourceError, match="Convert it to UTF-8") as caught:
        list(open_source(write("a.txt", data)).rows())
    assert f"{place}: byte {byte} at position {position} of the line" in str(caught.value)


def test_a_file_of_blanks_is_an_error_after_its_last_row(write):
    rows = open_source(write("words.txt", "\n \n\n")).rows()
    assert [next(rows) for _ in range(3)] == [
        Blank(f"words.txt:{i}", "empty line") for i in (1, 2, 3)
    ]
    with pytest.raises(SourceError, match=r"words\.txt has no texts: all 3 of its rows are empty"):
        next(rows)


@pytest.mark.slow
def test_a_large_file_is_not_held_in_memory(folder):
    import tracemalloc

    with Path("big.txt").open("w") as file:
        for _ in range(10):
            file.write("a text of some length\n" * 10_000)
    tracemalloc.start()
    n_rows = sum(1 for _ in open_source("big.txt").rows())
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n_rows == 100_000
    assert peak_bytes < 1_000_000


@pytest.mark.parametrize(
    "stream",
    [
        BytesIO(b"caf\xc3\xa9\r\ntea"),
        StringIO("caf\u00e9\rtea"),
        TextIOWrapper(BytesIO(b"caf\xc3\xa9\ntea"), encoding="latin-1"),
    ],
)
def test_standard_input_may_be_text_or_bytes(stream):
    source = open_source("-", stdin=stream)
    assert source.name == "standard input"
    assert list(source.rows()) == [
        Row("caf\u00e9", "standard input:1"),
        Row("tea", "standard input:2"),
    ]
    assert not stream.closed


def test_standard_input_is_read_once_and_text_that_is_no_unicode_is_refused():
    with pytest.raises(SourceError, match="standard input:2: byte 0xED at position 2"):
        list(open_source("-", stdin=StringIO("cat\nx\ud800")).rows())
    source = open_source("-", stdin=BytesIO(b"cat\n"))
    assert texts(source) == ["cat"]
    with pytest.raises(SourceError, match=r"standard input can be read only once\. Save it"):
        list(source.rows())


def test_empty_or_closed_standard_input_is_an_error(monkeypatch):
    for data in (b"", b"\n\n", b"\xef\xbb\xbf"):
        with pytest.raises(SourceError, match="standard input has no texts"):
            list(open_source("-", stdin=BytesIO(data)).rows())
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(SourceError, match="standard input is closed"):
        list(open_source("-").rows())


def test_columns_do_not_fit_lines(write):
    write("words.txt", "cat\n")
    for spec, what in [
        ("words.txt", r"words\.txt"),
        ("-", "standard input"),
        ("words", "dataset 'words'"),
    ]:
        with pytest.raises(
            UsageError, match=rf"columns=.text. does not fit .*{what}.*\.csv, \.tsv"
        ):
            open_source(spec, columns=["text"])
