"""Parquet files as sources, and small ones that unpack to far more, read in bounded memory."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_files import texts

from embstore.base.errors import SourceError, UnknownNameError, UsageError
from embstore.sources.opening import open_source
from embstore.sources.rows import Blank, Row


def save(columns, name="a.parquet"):
    pq.write_table(pa.table(columns), name)
    return name


def test_columns_are_chosen_as_in_other_tables():
    assert texts(open_source(save({"w": ["cat", "nan"]}))) == ["cat", "nan"]
    assert texts(open_source(save({"n": pa.array([1, 2]), "text": ["cat", "dog"]}))) == [
        "cat",
        "dog",
    ]
    save({"left": ["a"], "right": ["b"]})
    with pytest.raises(UsageError, match=r"a\.parquet has 2 columns: left, right"):
        open_source("a.parquet")
    with pytest.raises(UnknownNameError, match=r"'rihgt'\. Did you mean 'right'\?.*of a\.parquet"):
        open_source("a.parquet", columns=["rihgt"])


def test_rows_are_numbered_and_blanks_given():
    source = open_source(save({"a": ["x", None], "b": [" ", "y\nz"]}), columns=["b", "a"])
    assert list(source.rows()) == [
        Blank("a.parquet:1 (b)", "empty value"),
        Row("x", "a.parquet:1 (a)"),
        Row("y\nz", "a.parquet:2 (b)"),
        Blank("a.parquet:2 (a)", "missing value"),
    ]
    assert list(source.rows()) == list(source.rows())


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
)
def test_every_type_of_string_is_read(kind):
    assert texts(open_source(save({"w": pa.array(["cat", "dog", "cat"]).cast(kind)}))) == [
        "cat",
        "dog",
        "cat",
    ]


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (pa.array([1]), "int64"),
        (pa.array([b"x"]), "binary"),
        (pa.array([["x"]]), "list<"),
        (pa.array([{"a": "x"}]), "struct<"),
        (pa.nulls(1), "null"),
    ],
)
def test_other_types_are_an_error_that_names_them(array, kind):
    save({"w": array, "text": ["x"]})
    with pytest.raises(
        SourceError, match=rf"a\.parquet: the column 'w' is of type {kind}.*Name another"
    ):
        open_source("a.parquet", columns=["w"])


def test_names_with_dots_are_columns():
    save({"a": pa.array([{"b": "inner"}]), "a.b": ["outer"]})
    assert texts(open_source("a.parquet", columns=["a.b"])) == ["outer"]


def test_batches_and_row_groups_are_one_sequence():
    words = [f"w{i}" for i in range(10_000)]
    pq.write_table(pa.table({"w": words}), "a.parquet", row_group_size=3_000)
    rows = list(open_source("a.parquet").rows())
    assert rows == [Row(word, f"a.parquet:{i}") for i, word in enumerate(words, 1)]


def test_no_rows_are_an_error_at_once_and_nulls_alone_in_the_end():
    with pytest.raises(SourceError, match=r"a\.parquet has no texts: it has columns, and no rows"):
        open_source(save({"w": pa.array([], pa.string())}))
    with pytest.raises(SourceError, match=r"a\.parquet has no texts: all 2 of its rows"):
        list(open_source(save({"w": pa.array([None, None], pa.string())})).rows())


def test_a_file_that_is_not_parquet_is_an_error(write):
    with pytest.raises(
        SourceError, match=r"a\.parquet is not a Parquet file, or is damaged: .* Write or copy"
    ):
        open_source(write("a.parquet", "text\ncat\n"))


def test_damage_inside_is_an_error_while_reading():
    path = Path(save({"w": [f"word {i}" for i in range(1000)]}))
    data = bytearray(path.read_bytes())
    data[4:2000] = b"\xff" * 1996
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"a\.parquet .*is damaged"):
        list(open_source("a.parquet").rows())


def test_invalid_utf8_is_an_error():
    bad = pa.array([b"cat", b"x\xff"]).view(pa.string())
    with pytest.raises(
        SourceError, match=r"a\.parquet:1: in the rows from here on, a value is not valid UTF-8"
    ):
        list(open_source(save({"w": bad})).rows())


@given(rows=st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_what_pyarrow_writes_comes_back(tmp_path_factory, rows):
    path = str(tmp_path_factory.getbasetemp() / "trip.parquet")
    save({"text": pa.array(rows, pa.string())}, path)
    got = [row.text if isinstance(row, Row) else row.reason for row in open_source(path).reader()]
    assert got == [
        "missing value" if text is None else text if text.strip() else "empty value"
        for text in rows
    ]
