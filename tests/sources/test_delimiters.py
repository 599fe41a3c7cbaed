"""The delimiter of a table: found, asked for, and never such that joined cells become texts."""

import gzip

import pytest

from embstore.base.errors import EmbstoreError, SourceError, UnknownNameError
from embstore.sources.opening import open_source
from embstore.sources.rows import Blank

SEMICOLON = "word;score\ndog;1,5\ncat;2,5\n"


def texts(path, **options):
    return [
        row.text for row in open_source(str(path), **options).rows() if not isinstance(row, Blank)
    ]


@pytest.fixture
def write(tmp_path):
    def write(content, name="table.csv"):
        (tmp_path / name).write_text(content)
        return tmp_path / name

    return write


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter_is_found_and_said(write, delimiter):
    path = write(f"word{delimiter}score\ndog{delimiter}1,5\n'a, b'{delimiter}2\n")
    source = open_source(str(path), columns=["word"])
    assert [row.text for row in source.rows()] == ["dog", "'a, b'"]
    assert "delimiter=" in source.remarks[0]
    with pytest.raises(UnknownNameError, match="Known: word, score"):
        open_source(str(path), columns=["wrod"])


def test_a_sentence_with_semicolons_is_one_text(write):
    assert texts(write("text\na; b\nc; d\n")) == ["a; b", "c; d"]
    assert texts(write('text\n"a; b, c"\nd\n')) == ["a; b, c", "d"]
    assert texts(write("text,x\na; b,1\nc; d,2\n"), columns=["text"]) == ["a; b", "c; d"]


@pytest.mark.parametrize(
    ("content", "name", "options"),
    [
        ("dog;1,5\ncat;2,5\n", "t.csv", {"header": False, "columns": ["1"]}),
        ("dog;1\ncat;2\n", "t.csv", {"header": False}),
        ("word;score\ndog;1;2\ncat\n", "t.csv", {}),
        ("a;b,c\nd;e,f\n", "t.csv", {"columns": ["a;b"]}),
        ("word,score\ndog,1\n", "t.tsv", {}),
    ],
)
def test_a_doubtful_delimiter_must_be_named(write, content, name, options):
    with pytest.raises(
        SourceError, match=r":1: columns may be separated by .* Say which with delimiter="
    ):
        open_source(str(write(content, name)), **options)


def test_the_delimiter_that_is_named_is_taken(write):
    assert texts(write("dog;1,5\ncat;2,5\n"), header=False, columns=["1"], delimiter=";") == [
        "dog",
        "cat",
    ]
    assert texts(write("dog;1,5\ncat;2,5\n"), header=False, columns=["1"], delimiter=",") == [
        "dog;1",
        "cat;2",
    ]
    assert texts(write("a\tb\nc\td\n"), columns=["a"], delimiter="tab") == ["c"]
    assert texts(write('a,b\n"c, d",e\n', "t.tsv"), columns=["a"], delimiter=",") == ["c, d"]
    for bad in ("ab", "", '"', "a"):
        with pytest.raises(EmbstoreError, match="cannot separate"):
            open_source(str(write(SEMICOLON)), columns=["word"], delimiter=bad or "xy")
    with pytest.raises(EmbstoreError, match="`delimiter` does not fit"):
        open_source(str(write("dog\n", "t.txt")), delimiter=";")


def test_a_record_that_goes_on_beyond_the_first_lines_changes_nothing(write):
    content = "a;b\n" + "c;d\n" * 98 + 'e;"f\n' + "g\n" * 50 + '"\n'
    assert len(texts(write(content), columns=["a"])) == 99


@pytest.mark.parametrize("n_before", range(97, 102))
def test_a_record_that_is_cut_after_the_first_lines_is_not_counted(write, n_before):
    """What is left of it has one value: as a whole record, it would speak against the delimiter."""
    content = "a;b\n" + "c;d\n" * n_before + '"e\n' + "f\n" * 10 + '";g\n'
    found = texts(write(content), columns=["a"])
    assert found == ["c"] * n_before + ["e\n" + "f\n" * 10]


PACKED = {
    "t.txt": "dog\ncat\n",
    "t.csv": "text,x\ndog,1\ncat,2\n",
    "t.tsv": "text\tx\ndog\t1\ncat\t2\n",
    "t.jsonl": '{"text": "dog"}\n{"text": "cat"}\n',
}


@pytest.mark.parametrize("name", PACKED)
def test_packed_sources_are_read(tmp_path, name):
    path = tmp_path / f"{name}.gz"
    path.write_bytes(gzip.compress(PACKED[name].encode()))
    assert texts(path) == ["dog", "cat"]


def test_a_packed_file_that_is_damaged_is_named(tmp_path):
    whole = gzip.compress("\n".join(f"text {number}" for number in range(5000)).encode())
    path = tmp_path / "t.txt.gz"
    for data in (whole[: len(whole) // 2], b"no gzip at all", whole[:40] + bytes(40) + whole[80:]):
        path.write_bytes(data)
        with pytest.raises(SourceError, match=r"t\.txt\.gz"):
            texts(path)
    (tmp_path / "t.parquet.gz").write_bytes(whole)
    with pytest.raises(SourceError, match="gunzip"):
        open_source(str(tmp_path / "t.parquet.gz"))


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("t.xlsx", "Save the sheet as .csv"),
        ("t.json", r"jq -c '.\[\]' .*t.json > t.jsonl"),
        ("t.npy", "texts"),
        ("t.zip", "Unpack"),
        ("t.pdf", "plain text"),
        ("t.log", "in its place"),
    ],
)
def test_other_files_say_the_way_out(write, name, way):
    with pytest.raises(UnknownNameError, match=way) as found:
        open_source(str(write("dog\n", name)))
    assert ("in its place" in str(found.value)) == (name == "t.log")


def test_what_was_found_is_said_though_only_some_rows_are_read(write):
    """A build with a limit does not read to the end."""
    source = open_source(str(write(SEMICOLON)), columns=["word"])
    assert next(iter(source.rows())).text == "dog"
    assert "delimiter=" in source.remarks[0]
