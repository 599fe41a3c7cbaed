"""The traps of the published files, on small files that have them, and the files themselves where
they are.
"""

import hashlib
import math
from collections import Counter

import pytest
from dataset_files import FILES, RG65, STSB, STSB_LINES, authors_reading, put

from embstore.base.errors import SourceError
from embstore.sources.datasets import DATASETS, PLEASANT, UNPLEASANT, add_dataset
from embstore.sources.opening import open_source
from embstore.sources.rows import Blank
from embstore.sources.source import DataFile

pytestmark = pytest.mark.usefixtures("data")


@pytest.fixture
def rows(data, monkeypatch):
    def read(name, content=None):
        put(data, monkeypatch, name, content)
        found = list(open_source(name).rows())
        assert not any(isinstance(row, Blank) for row in found)
        return found

    return read


def triples(found):
    return [(row.text, row.text_2, row.values["score"]) for row in found]


TRIPLES = {
    # Trailing blanks, no final newline, and words that look missing.
    "rg65": [("cord", "smile", 0.02), ("null", "nan", 3.5), ("NA", "None", 1.25)],
    # Capitals, a word with itself, and pairs that stand twice.
    "wordsim353": [
        ("FBI", "investigation", 8.31),
        ("tiger", "tiger", 10.0),
        ("money", "bank", 8.12),
        ("money", "bank", 8.5),
    ],
    # Hyphens where there are no marks.
    "rw": [("up-to-date", "new", 5.88), ("null", "squirt", 0.0)],
    "mturk771": [("up-to-date", "new", 5.88), ("null", "squirt", 0.0)],
}


@pytest.mark.parametrize("name", TRIPLES)
def test_words_and_scores_stay_as_they_are(rows, name):
    assert triples(rows(name)) == TRIPLES[name]
    if name == "rg65":
        assert [row.origin for row in rows(name)] == ["rg65.csv:1", "rg65.csv:2", "rg65.csv:3"]


def test_the_score_of_simverb_is_its_fourth_column(rows):
    first, second = rows("simverb3500")
    assert (first.text, first.text_2) == ("take", "remove")
    assert first.values == {"score": 6.81, "pos": "V", "relation": "SYNONYMS"}
    assert second.values == {"score": 1.16, "pos": "V", "relation": "NONE"}


def test_stsb_is_split_at_tabs_and_its_quotes_are_text(rows):
    found = rows("stsb")
    fields = [line.split("\t") for line in STSB_LINES]
    assert [(row.text, row.text_2) for row in found] == [(line[5], line[6]) for line in fields]
    assert [row.values["score"] for row in found] == [3.75, 1.0, 5.0, 0.0, 2.5]
    assert found[3].values == {
        "score": 0.0,
        "genre": "main-forums",
        "file": "answer-answer",
        "year": "2016",
        "id": "0004",
    }
    assert found[0].text == 'He said, "Go home."'


def test_the_authors_reading_of_stsb_loses_pairs_and_commas(rows):
    # A quote after a comma opens a value, which ends at the next quote, lines later: with the lines
    # in between two pairs are lost. The commas go everywhere else. Worked out by hand.
    assert triples(rows("stsb-wolfe2022")) == [
        ('He said "Go home."', "He went then.", 3.75),
        ('"It works he said.', "It, works.\nmain-captions", 1.0),
        ("A plain start", "And end.\n", 2.5),
    ]
    assert [(row.text, row.text_2) for row in rows("stsb-wolfe2022")] == authors_reading(STSB)
    assert [row.values["score_text"] for row in rows("stsb-wolfe2022")] == ["3.750", "1.0", "2.5"]
    assert [row.origin for row in rows("stsb-wolfe2022")] == [
        "sts-test.csv:1",
        "sts-test.csv:2",
        "sts-test.csv:5",
    ]


def test_a_lexicon_with_a_header_and_carriage_returns(rows):
    first, last = rows("bellezza")
    assert first.text == "abuse"
    assert first.text_2 is None
    assert first.values == {
        "valence": 1.53,
        "male_pleasantness": 1.62,
        "female_pleasantness": 1.44,
        "male_frequency": 2.69,
        "female_frequency": 3.26,
        "combined_frequency": 3.0,
    }
    assert next(iter(first.values)) == "valence"
    assert last.values["combined_frequency"] == 3.86
    assert first.origin == "Bellezza_Lexicon.csv:2"


def test_the_marks_of_men_become_columns(rows):
    first, second = rows("men")
    assert (first.text, first.text_2) == ("sun", "sunlight")
    assert first.values == {"score": 50.0, "pos": "n", "pos_2": "n"}
    assert (second.text, second.text_2) == ("feel", "happy")
    assert second.values == {"score": 40.0, "pos": "v", "pos_2": "j"}


def test_every_row_has_the_columns_that_are_announced(rows):
    for name in FILES:
        for row in rows(name):
            assert {key: type(value) for key, value in row.values.items()} == dict(
                DATASETS[name].columns
            )
            assert len(row.texts) == (1 if name == "bellezza" else 2)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rg65", b"cord;smile;0.02\ngem;3.94", r"^rg65\.csv:2: 2 values, and there should be 3"),
        ("rg65", b"cord;smile;low", r"^rg65\.csv:1 \(score\): 'low' is not a number"),
        ("rg65", b"cord;smile;nan", r"^rg65\.csv:1 \(score\): 'nan' is not a finite number"),
        ("rg65", b"cord;smile;", r"^rg65\.csv:1 \(score\): '' is not a number"),
        ("rg65", b"cord; ;1", r"^rg65\.csv:1: the text is empty"),
        (
            "men",
            b",a,b,c\n0,sun-n,moon,1\n",
            r"^men\.csv:2: 'moon' does not end with one of -n, -v, -j",
        ),
        (
            "stsb",
            b"main\tnews\t2012\t1\t2.5\tOne.\n",
            r"^sts-test\.csv:1: 6 values, and there should be 7",
        ),
        ("rg65", b"cord;smile;1\n\xff;b;2", r"^rg65\.csv:2: byte 0xFF .* not valid UTF-8"),
    ],
)
def test_a_line_that_is_wrong_is_named(rows, name, content, message):
    with pytest.raises(SourceError, match=message):
        rows(name, content)


def test_a_file_that_was_altered_is_refused_with_both_hashes(data, monkeypatch):
    spec = put(data, monkeypatch, "rg65")
    assert isinstance(spec.content, DataFile)
    (data / "rg65.csv").write_bytes(RG65 + b" ")
    with pytest.raises(SourceError, match="fetch rg65") as caught:
        open_source("rg65")
    assert spec.content.sha256 in str(caught.value)
    assert hashlib.sha256(RG65 + b" ").hexdigest() in str(caught.value)


def test_the_attribute_words_come_with_the_lexicon():
    assert DATASETS["bellezza"].extra == (*PLEASANT, *UNPLEASANT)
    assert (len(set(PLEASANT)), len(set(UNPLEASANT)), set(PLEASANT) & set(UNPLEASANT)) == (
        25,
        25,
        set(),
    )


# Of the whole files: rows, different texts, and pairs that stand twice (PAPER.md 1.6 and 1.7).
WHOLE = {
    "rg65": (65, 48, 0),
    "wordsim353": (353, 437, 2),
    "simlex999": (999, 1028, 1),
    "simverb3500": (3500, 827, 1),
    "stsb": (1379, 2552, 2),  # counted with awk, sort and uniq
    "stsb-wolfe2022": (1273, 2341, 0),
    "bellezza": (399, 399, 0),
}


@pytest.mark.parametrize("name", WHOLE)
def test_the_whole_file(published_files, name):
    spec = DATASETS[name]
    assert isinstance(spec.content, DataFile)
    add_dataset(name, published_files / spec.content.name)
    found = list(open_source(name).rows())
    n_rows, n_texts, n_twice = WHOLE[name]
    pairs = Counter(frozenset(row.texts) for row in found)
    texts = {text for row in found for text in row.texts}
    if name == "stsb-wolfe2022":
        assert len({row.text for row in found}) == 1150
        assert next(iter(spec.columns)) == "score"
        written = {row.values["score_text"] for row in found}
        assert (len(written), len({float(text) for text in written})) == (148, 67)  # PAPER.md 1.6
        assert all(float(row.values["score_text"]) == row.values["score"] for row in found)
        assert [(row.text, row.text_2) for row in found] == authors_reading(
            (published_files / "sts-test.csv").read_bytes()
        )
    else:
        assert sum(count == 2 for count in pairs.values()) == n_twice
    assert (len(found), len(texts)) == (n_rows, n_texts) == (spec.rows, n_texts)
    first = [float(row.values[next(iter(spec.columns))]) for row in found]
    assert (min(first), max(first)) == spec.scores
    assert all(math.isfinite(value) for value in first)
    if name == "bellezza":
        assert len(set(spec.extra) - texts) == 2  # PAPER.md 1.5: 48 of the 50 are rows as well
