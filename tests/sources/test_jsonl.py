import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_files import texts

from embstore.base.errors import SourceError, UnknownNameError
from embstore.sources.opening import open_source
from embstore.sources.rows import Blank, Keep, Row


def test_the_only_key_or_text_is_read(write):
    assert list(open_source(write("a.jsonl", '{"w": "cat"}\n{"w": "dog"}')).rows()) == [
        Row("cat", "a.jsonl:1"),
        Row("dog", "a.jsonl:2"),
    ]
    assert texts(open_source(write("a.jsonl", '{"id": 1, "text": "null"}\n'))) == ["null"]


def test_blanks_are_given_with_their_reason(write):
    content = '\n{"a": null, "b": "x"}\n{"b": ""}\n{"a": "cat\\nsat", "b": " "}\n'
    assert list(open_source(write("a.jsonl", content), columns=["a", "b"]).rows()) == [
        Blank("a.jsonl:1", "empty line"),
        Blank("a.jsonl:2 (a)", "missing value"),
        Row("x", "a.jsonl:2 (b)"),
        Blank("a.jsonl:3 (a)", "missing value"),
        Blank("a.jsonl:3 (b)", "empty value"),
        Row("cat\nsat", "a.jsonl:4 (a)"),
        Blank("a.jsonl:4 (b)", "empty value"),
    ]


def test_a_column_may_begin_in_a_later_row(write):
    source = open_source(write("a.jsonl", '{"a": "x"}\n{"b": "cat"}\n'), columns=["b"])
    assert list(source.rows()) == [Blank("a.jsonl:1", "missing value"), Row("cat", "a.jsonl:2")]


def test_a_column_of_arrays_cannot_be_kept_and_missing_values_are_none(write):
    path = write("a.jsonl", '{"text": "x", "n": 1}\n{"text": "y", "tags": ["z"]}\n')
    with pytest.raises(
        SourceError, match=r"'tags' cannot be kept: it has an array \(a\.jsonl:2\)\. Leave it out"
    ):
        open_source(path, keep=Keep(("tags",)))
    rows = open_source(path, keep=Keep(("n",))).rows()
    assert [row.values for row in rows] == [{"n": 1}, {"n": None}]


def test_a_column_that_is_in_no_row_is_unknown(write):
    path = write("a.jsonl", '{"text": "x"}\n{"title": "y"}\n')
    with pytest.raises(UnknownNameError, match=r"Name a column of a\.jsonl") as caught:
        open_source(path, columns=["text", "titel"])
    assert (caught.value.kind, caught.value.name, caught.value.known) == (
        "column",
        "titel",
        ("text", "title"),
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Expecting property name"),
        ('{"text": "a"} x', "Extra data at character 15"),
        ("[1]", "the line is an array, not an object"),
        ('"cat"', "the line is a string"),
        ("null", "the line is null"),
        ("true", "the line is a boolean"),
        ('{"text": ' + "9" * 5000 + "}", "4300"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_bad_json_names_the_line(write, line, reason):
    path = write("a.jsonl", f'{{"text": "a"}}\n{line}\n')
    with pytest.raises(
        SourceError, match=r"a\.jsonl:2: not a JSON object: .*Each line must be"
    ) as caught:
        open_source(path)
    assert reason in str(caught.value)


def test_bad_json_in_the_first_line_is_known_at_once(write):
    with pytest.raises(SourceError, match=r"a\.jsonl:1: not a JSON object"):
        open_source(write("a.jsonl", "text\ncat\n"))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("1", "a number"),
        ("1.5", "a number"),
        ("NaN", "a number"),
        ("true", "a boolean"),
        ("[]", "an array"),
    ],
)
def test_a_value_that_is_no_string_is_an_error(write, value, kind):
    source = open_source(write("a.jsonl", f'{{"text": "a"}}\n{{"text": {value}}}\n'))
    with pytest.raises(
        SourceError, match=rf"a\.jsonl:2: the value of 'text' is {kind}, not a string\. Put it"
    ):
        list(source.rows())


def test_a_lone_surrogate_passes_for_the_encoder_to_skip_and_a_lone_carriage_return_is_white_space(
    write,
):
    source = open_source(write("a.jsonl", '{"text":\r"cat"}\r\n{"text": "dog"}\r\n'))
    assert list(source.rows()) == [Row("cat", "a.jsonl:1"), Row("dog", "a.jsonl:2")]
    source = open_source(write("a.jsonl", '{"text": "\\ud83d\\ude00"}\n{"text": "x\\ud83d"}\n'))
    assert [row.text for row in source.rows()] == ["😀", "x\ud83d"]


def test_empty_objects_have_no_column(write):
    with pytest.raises(UnknownNameError, match=r"unknown column 'text'\. There are none"):
        list(open_source(write("a.jsonl", "{}\n{}\n")).rows())


@given(
    rows=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip), min_size=1
    ),
    ascii_only=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_json_writes_comes_back(tmp_path_factory, rows, ascii_only, end):
    path = tmp_path_factory.getbasetemp() / "trip.jsonl"
    path.write_bytes(
        "".join(
            json.dumps({"n": 1, "text": t}, ensure_ascii=ascii_only) + end for t in rows
        ).encode()
    )
    assert texts(open_source(str(path))) == rows
