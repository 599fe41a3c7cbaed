"""The unit of a source that nobody names: its texts show it, or the source is refused."""

import io
import os
from functools import partial

import pytest

from embstore.base.errors import SourceError, UsageError
from embstore.build import pipeline

SENTENCES = [f"This is sentence {number}." for number in range(20)]
WORDS = [f"word{number}" for number in range(20)]


@pytest.fixture
def build(build):
    """Say what a build would do."""
    return partial(build, dry_run=True, poolings="mean", layers="0")


def embedded(report):
    return {space.space.split(".")[1]: space.embedded for space in report.spaces}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_sentences", "unit"), [(20, "sentence"), (18, "sentence"), (2, "word"), (0, "word")]
)
def test_most_texts_decide_and_only_sentences_are_said(build, source, n_sentences, unit):
    name = source(*SENTENCES[:n_sentences], *WORDS[: 20 - n_sentences])
    report = build(name)
    assert embedded(report) == {unit: 20}
    said = f"{name}: taken for sentences, since {n_sentences} of its 20 texts, one in each line or row, have white"
    assert report.notes == (
        (f"{said} space; for words or phrases, add unit='word'.",) if unit == "sentence" else ()
    )
    assert build(name, unit="word").notes == ()
    assert embedded(build(texts=[*SENTENCES[:n_sentences], *WORDS[: 20 - n_sentences]])) == {
        unit: 20
    }


@pytest.mark.slow
def test_a_build_writes_what_its_dry_run_says(build, source):
    names = [source(*SENTENCES, name="a.txt"), source(*WORDS, name="b.txt"), "words:5"]
    estimate, report = build(names), build(names, dry_run=False)
    assert embedded(estimate) == embedded(report) == {"sentence": 20, "word": 25}
    assert estimate.notes[0] == report.notes[0]


@pytest.mark.parametrize("n_sentences", [3, 10, 17])
def test_a_mixed_source_is_refused_with_examples(build, source, tmp_path, n_sentences):
    name = source(*SENTENCES[:n_sentences], *WORDS[: 20 - n_sentences])
    with pytest.raises(UsageError) as refused:
        build(name, dry_run=False, models="no/such")
    assert (
        f"{n_sentences} of 20 texts have white space, such as 'This is sentence 0.' ({name}:1)"
        in str(refused.value)
    )
    assert f"{20 - n_sentences} have none, such as 'word0' ({name}:{n_sentences + 1})" in str(
        refused.value
    )
    assert "All words or phrases: unit='word'" in str(refused.value)
    assert "All sentences, some of one word: unit='sentence'" in str(refused.value)
    assert not (tmp_path / "store").exists()
    assert str(refused.value).endswith("Both: build a file of each.")


@pytest.mark.slow
def test_a_source_is_read_once_and_refused_at_its_end_if_its_beginning_deceived(
    build, source, monkeypatch
):
    monkeypatch.setattr(pipeline, "_FIRST_TEXTS", 10)
    stream = io.StringIO("".join(f"{line}\n" for line in SENTENCES))
    monkeypatch.setattr("sys.stdin", stream)
    report = build("-")
    assert embedded(report) == {"sentence": 20}
    assert "since 10 of its first 10 texts, one in each" in report.notes[0]
    with pytest.raises(UsageError, match="20 of 40 texts have white space"):
        build(source(*SENTENCES, *WORDS))
    with pytest.raises(UsageError, match="190 of 200 texts have white space"):
        build(source(*WORDS[:10], *SENTENCES[:19] * 10))
    assert embedded(build(source(*SENTENCES, *WORDS), limit=12)) == {"sentence": 12}
    with pytest.raises(UsageError, match="20 of 25 texts have white space"):
        build(source(*SENTENCES, *WORDS), limit=25)
    blank = build(source(*[""] * 12, *SENTENCES))
    assert embedded(blank) == {"sentence": 20}
    assert "taken for sentences" in blank.notes[0]
    assert embedded(build(source("", *SENTENCES), limit=1)) == {"sentence": 1}


@pytest.mark.slow
def test_of_many_files_few_are_open(build, source):
    resource = pytest.importorskip("resource")
    names = [source(*SENTENCES * 60, name=f"{number}.txt") for number in range(40)]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_open = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_open + 30, before[1]))
    try:
        assert embedded(build(names)) == {"sentence": 20}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_what_declares_its_unit_keeps_it(build, source):
    marked = source(*(f"the [{word}] is here" for word in WORDS))
    assert embedded(build(marked, targets="brackets")) == {"occurrence": 20}
    spans = [(text, {"start": 0, "end": 4}) for text in SENTENCES]
    assert embedded(build(texts=spans)) == {"occurrence": 20}
    assert embedded(build(source(*SENTENCES), unit="word")) == {"word": 20}
    with pytest.raises(UsageError, match=r"needs the unit 'occurrence' or 'token', not 'sentence'"):
        build(source(*SENTENCES), per_text=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no texts: it is empty"),
        (b"a\0b\n", r"texts\.txt:1: the text has NUL characters, as binary files"),
        (
            "dog\ncat\n".encode("utf-16-le"),
            "NUL characters, as binary files and texts in UTF-16 have",
        ),
        (
            b"\x89PNG\r\n\x1a\n\0\0",
            r"texts\.txt:1: byte 0x89 .* is not valid UTF-8.*if it is text at all",
        ),
    ],
)
def test_files_that_are_no_texts(build, tmp_path, content, message):
    (tmp_path / "texts.txt").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        build(str(tmp_path / "texts.txt"))


def test_a_file_of_one_line_is_said(build, source):
    [note] = build(source("Many words in one line. " * 3)).notes
    assert (
        "taken for sentences, since 1 of its 1 texts, one in each line or row, have white space"
        in note
    )
    assert build(source("dog")).notes == ()
