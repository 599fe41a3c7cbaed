import os
from pathlib import Path

import pytest

from embstore.base import disk
from embstore.base.errors import EmbstoreError, SourceError, UnknownNameError, UsageError
from embstore.sources.opening import open_source
from embstore.sources.rows import Row


@pytest.mark.parametrize("name", ["A.TXT", "a.Txt", "A.CSV", "A.TSV", "A.JSONL"])
def test_suffixes_are_read_in_any_case(write, name):
    content = '{"text": "cat"}\n' if name == "A.JSONL" else "text\ncat\n"
    rows = list(open_source(write(name, content)).rows())
    assert [row.text for row in rows if isinstance(row, Row)][-1] == "cat"


def test_origins_are_paths_as_given(write):
    write("deep/er/a.txt", "cat\n")
    for spec in ("deep/er/a.txt", "./deep/er/a.txt", str(Path("deep/er/a.txt").absolute())):
        assert list(open_source(spec).rows()) == [Row("cat", f"{spec}:1")]


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("data/sentence.txt", SourceError, r"^data/sentence\.txt does not exist\. Did you mean data/sentences\.txt\?$"),
        ("wrods.txt", SourceError, r"^wrods\.txt does not exist\. Did you mean words\?$"),
        ("q.csv", SourceError, r"^q\.csv does not exist\. Check the path, or name a dataset: words, rg65, "),
        ("library", UnknownNameError, r"unknown dataset 'library'.* similar names: library\.txt\."),
        ("no/a.txt", SourceError, r"^no/a\.txt does not exist: there is no folder 'no'"),
        ("library.txt/b.txt", SourceError, r"^library\.txt/b\.txt does not exist: there is no folder 'library\.txt'"),
        ("link.txt", SourceError, r"^link\.txt does not exist"),
        ("", UsageError, "cannot be an empty string"),
    ],
)
def test_a_missing_file_names_what_is_similar(write, folder, spec, error, message):
    for name in ("data/sentences.txt", "data/other.csv", "library.txt"):
        write(name, "x\n")
    (folder / "link.txt").symlink_to("gone")
    with pytest.raises(error, match=message):
        open_source(spec)


def test_a_folder_and_a_pipe_are_errors(folder):
    for spec in ("data", "data/", ".", "data.txt"):
        (folder / spec).mkdir(exist_ok=True)
        with pytest.raises(SourceError, match=r"is a folder\. Give the files in it, such as .*\*\.txt"):
            open_source(spec)
    os.mkfifo(folder / "pipe.txt")
    with pytest.raises(SourceError, match=r"^pipe\.txt is not a regular file\. Give .* standard input"):
        open_source("pipe.txt")


@pytest.mark.parametrize("name", ["a.log", "a.cvs", "a.txt.bak", "corpus", ".txt"])
def test_an_unknown_file_type_names_the_known_ones(write, name):
    with pytest.raises(UnknownNameError, match=r"\.txt, \.csv, \.tsv, \.jsonl, \.parquet\. Rename") as caught:
        open_source(write(name, "x\n"))
    assert caught.value.kind == "file type"
    assert f"give - < {name} in its place" in str(caught.value)


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.tsv", "a.jsonl", "a.parquet"])
def test_a_file_of_size_0_has_no_texts(write, name):
    with pytest.raises(SourceError, match=rf"^{name} has no texts: it is empty\."):
        open_source(write(name, ""))


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.parquet"])
def test_a_file_that_may_not_be_read_is_an_error(write, name):
    def refuse(operation: str, path: Path, _: Path | None) -> None:
        if operation == "open":
            raise PermissionError(13, "Permission denied", str(path))

    write(name, "x\n")
    words = rf"^{name} cannot be read: Permission denied\. Check its permissions, and those of the folders above it\.$"
    with disk.watched(refuse), pytest.raises(SourceError, match=words):
        open_source(name)


def test_a_file_that_goes_away_is_an_error(write, folder):
    source = open_source(write("a.txt", "x\n"))
    (folder / "a.txt").unlink()
    with pytest.raises(SourceError, match=r"^a\.txt cannot be read: No such file"):
        list(source.rows())


@pytest.mark.parametrize("spec", ["x" * 5000, "a\0.txt", "\ud800.txt", "https://example.org/a.txt", "~/none.txt"])
def test_strange_names_are_errors_of_our_own(spec):
    with pytest.raises(EmbstoreError):
        open_source(spec)
