"""What a source may be called: a file, a folder, standard input or a dataset; and the words of
wordfreq.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import wordfreq
from file_operations import watched

import embstore
from embstore.base.errors import EmbstoreError, SourceError, UnknownNameError, UsageError
from embstore.base.space import Unit
from embstore.sources.datasets import DATASETS
from embstore.sources.opening import open_source
from embstore.sources.rows import Blank, Row


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
        (
            "data/sentence.txt",
            SourceError,
            r"^data/sentence\.txt does not exist\. Did you mean data/sentences\.txt\?$",
        ),
        ("wrods.txt", SourceError, r"^wrods\.txt does not exist\. Did you mean words\?$"),
        (
            "q.csv",
            SourceError,
            r"^q\.csv does not exist\. Check the path, or name a dataset: words, rg65, ",
        ),
        ("library", UnknownNameError, r"unknown dataset 'library'.* similar names: library\.txt\."),
        ("no/a.txt", SourceError, r"^no/a\.txt does not exist: there is no folder 'no'"),
        (
            "library.txt/b.txt",
            SourceError,
            r"^library\.txt/b\.txt does not exist: there is no folder 'library\.txt'",
        ),
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
        with pytest.raises(
            SourceError, match=r"is a folder\. Give the files in it, such as .*\*\.txt"
        ):
            open_source(spec)
    os.mkfifo(folder / "pipe.txt")
    with pytest.raises(
        SourceError, match=r"^pipe\.txt is not a regular file\. Give .* standard input"
    ):
        open_source("pipe.txt")


@pytest.mark.parametrize("name", ["a.log", "a.cvs", "a.txt.bak", "corpus", ".txt"])
def test_an_unknown_file_type_names_the_known_ones(write, name):
    with pytest.raises(
        UnknownNameError, match=r"\.txt, \.csv, \.tsv, \.jsonl, \.parquet\. Rename"
    ) as caught:
        open_source(write(name, "x\n"))
    assert caught.value.kind == "file type"
    assert f"give - < {name} in its place" in str(caught.value)


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.tsv", "a.jsonl", "a.parquet"])
def test_a_file_of_size_0_has_no_texts(write, name):
    with pytest.raises(SourceError, match=rf"^{name} has no texts: it is empty\."):
        open_source(write(name, ""))


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.parquet"])
def test_a_file_that_may_not_be_read_is_an_error(write, name):
    def refuse(_, path, __):
        raise PermissionError(13, "Permission denied", str(path))

    write(name, "x\n")
    words = rf"^{name} cannot be read: Permission denied\. Check the permissions"
    with watched(refuse, Path()), pytest.raises(SourceError, match=words):
        open_source(name)


def test_a_file_that_goes_away_is_an_error(write, folder):
    source = open_source(write("a.txt", "x\n"))
    (folder / "a.txt").unlink()
    with pytest.raises(SourceError, match=r"^a\.txt cannot be read: No such file"):
        list(source.rows())


@pytest.mark.parametrize(
    "spec", ["x" * 5000, "a\0.txt", "\ud800.txt", "https://example.org/a.txt", "~/none.txt"]
)
def test_strange_names_are_errors_of_our_own(spec):
    with pytest.raises(EmbstoreError):
        open_source(spec)


def words(spec):
    rows = list(open_source(spec).rows())
    assert not any(isinstance(row, Blank) for row in rows)
    return [row for row in rows if isinstance(row, Row)]


def test_words_are_the_most_frequent_words_of_letters():
    found = [row.text for row in words("words")]
    assert found[0] == "the"
    assert len(found) == len(set(found)) == 10_000
    assert all(word.isalpha() for word in found)
    assert found == [word for word in wordfreq.top_n_list("en", 20_000) if word.isalpha()][:10_000]


def test_words_have_their_rank():
    rows = words("words:5000")
    assert [row.values for row in rows] == [{"rank": rank} for rank in range(1, 5001)]
    assert [row.text for row in rows] == [row.text for row in words("words")][:5000]
    assert rows[11].origin == "words rank 12"


@pytest.mark.parametrize(
    ("spec", "name", "stored"),
    [
        ("words", "words", "words"),
        ("words:5000", "words:5000", "words_5000"),
        ("words:05000", "words:5000", "words_5000"),
        ("words_5000", "words:5000", "words_5000"),
        ("words:10000", "words", "words"),
        ("words:1", "words:1", "words_1"),
    ],
)
def test_the_name_and_the_stored_name(spec, name, stored):
    source = open_source(spec)
    assert (source.name, source.stored_name) == (name, stored)
    assert source.dataset is DATASETS["words"]
    assert source.dataset.unit is Unit.WORD


@pytest.mark.parametrize(
    "size", ["abc", "0", "-1", "", "1.5", "1e3", "5 000", "٥", "²", "9" * 5000, "txt"]
)
def test_a_size_that_is_no_number_is_an_error(size):
    with pytest.raises(
        UsageError, match=r"not a number of texts\. Write .* words:5000, or \./words:"
    ) as caught:
        open_source(f"words:{size}")
    assert repr(f"words:{size}") in str(caught.value)


@pytest.mark.slow
def test_more_words_than_there_are_is_an_error_that_says_how_many():
    most = sum(word.isalpha() for word in wordfreq.top_n_list("en", 10**7))
    for size in ("5000000", str(most + 1), "9" * 30):
        with pytest.raises(
            SourceError, match=rf"words:{size}: .*'words' has {most:,} texts.*at most words:{most}"
        ):
            open_source(f"words:{size}")
    assert open_source(f"words:{most}").name == f"words:{most}"


def test_a_dataset_wins_over_a_file_of_its_name(write):
    write("words", "from the file\n")
    write("words:2", "from the file\n")
    assert [row.text for row in words("words:2")] == ["the", "to"]
    for spec in ("./words", "./words:2"):
        with pytest.raises(UnknownNameError, match="unknown file type"):
            open_source(spec)
    write("words:2.txt", "from the file\n")
    assert [row.text for row in words("./words:2.txt")] == ["from the file"]


@pytest.mark.parametrize("spec", ["wrods", "Words", "word", "wordss:500"])
def test_an_unknown_dataset_names_the_nearest(spec):
    with pytest.raises(
        UnknownNameError, match=r"Did you mean 'words'.*Known: words, rg65, .* There is no file"
    ) as caught:
        open_source(spec)
    assert (caught.value.kind, caught.value.name) == ("dataset", spec)


def test_every_dataset_is_described():
    for name, spec in DATASETS.items():
        assert spec.name == name
        for text in (spec.kind, spec.help, spec.citation, spec.licence):
            assert text.strip()
            assert "\n" not in text
        assert spec.unit is (Unit.SENTENCE if spec.kind == "sentence pairs" else Unit.WORD)
        assert spec.rows > 0
        assert spec.scores is not None
        assert spec.scores[0] < spec.scores[1]
    assert {spec.kind for spec in DATASETS.values()} == {
        "word list",
        "word pairs",
        "sentence pairs",
        "lexicon",
    }
    assert {key: type(value) for key, value in words("words:1")[0].values.items()} == dict(
        DATASETS["words"].columns
    )


def test_nothing_heavy_is_loaded_before_it_is_needed():
    heavy = {"wordfreq", "pyarrow", "numpy", "torch", "requests", "platformdirs"}
    code = f"import sys, embstore.sources; print({heavy} & set(sys.modules))"
    root = Path(embstore.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout == "set()\n"
