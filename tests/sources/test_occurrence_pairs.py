"""Datasets of pairs of occurrences, such as WiC: added, embedded, evaluated."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from tiny_checkpoint import content

from embstore import Store
from embstore.base.errors import EmbstoreError, SourceError, UsageError
from embstore.base.text import Item, Span, marked_items

SENTENCES = [
    ("the bank of the river", 4, 8), ("a bank lends money", 2, 6), ("she sells shells", 10, 16),
    ("rates rose at the bank", 18, 22), ("the sea shells [by the shore]", 8, 14),
    ("New York sleeps", 0, 8),
]  # fmt: skip
PAIRS = [(0, 1, "F"), (1, 3, "T"), (0, 3, "F"), (2, 4, "T"), (4, 5, "F"), (2, 2, "T")]
COLUMNS = ("text1", "start1", "end1", "text2", "start2", "end2", "label")


@pytest.fixture(autouse=True)
def own(data):
    return data


def write(path: Path, pairs: list[tuple[int, int, str]] = PAIRS) -> Path:
    rows = [
        [*map(str, SENTENCES[left]), *map(str, SENTENCES[right]), label]
        for left, right, label in pairs
    ]
    path.write_text("\n".join(map("\t".join, [COLUMNS, *rows])) + "\n", "utf-8")
    return path


def test_similarity_of_occurrences_equals_scipy_over_the_stored_vectors(tmp_path, checkpoint):
    [row] = Store.add_dataset(
        "wic", write(tmp_path / "w.tsv"), kind="pairs", unit="occurrence", columns=COLUMNS
    )
    assert (row["kind"], row["unit"], row["rows"], row["score_min"], row["score_max"]) == (
        "occurrence pairs",
        "occurrence",
        6,
        0.0,
        1.0,
    )
    store = Store(tmp_path / "store")
    assert (
        store.build("wic", models=f"tiny={checkpoint}", poolings="mean", index="none")
        .spaces[0]
        .embedded
        == 6
    )
    layers = content(tmp_path / "store")["tiny.occurrence.mean"]
    labels = [float(label == "T") for *_, label in PAIRS]
    ids = [Item.occurrence(text, Span(start, end)).id for text, start, end in SENTENCES]
    for answer in store.query("similarity", dataset="wic", resamples=0):
        wide = {item: vector.astype(np.float64) for item, vector in layers[answer["layer"]].items()}
        unit = {item: vector / np.linalg.norm(vector) for item, vector in wide.items()}
        cosines = [float(unit[ids[left]] @ unit[ids[right]]) for left, right, _ in PAIRS]
        assert answer["n"] == 6
        assert answer["spearman"] == pytest.approx(
            spearmanr(np.round(cosines, 12), labels).statistic, abs=1e-12
        )
    assert store.verify(deep=True).ok
    assert store.missing("wic").to_pylist() == []


def test_missing_occurrences_are_shown_in_their_sentences(tmp_path, checkpoint):
    store = Store(tmp_path / "store")
    Store.add_dataset(
        "wic", write(tmp_path / "w.tsv"), kind="pairs", unit="occurrence", columns=COLUMNS
    )
    (tmp_path / "one.txt").write_text("the [bank] of the river\n", "utf-8")
    store.build(
        str(tmp_path / "one.txt"), models=f"tiny={checkpoint}", targets="brackets", index="none"
    )
    expected = {Item.occurrence(text, Span(start, end)).shown for text, start, end in SENTENCES[1:]}
    assert set(store.missing("wic")["text"]) == expected
    with pytest.raises(EmbstoreError, match=r"no dataset of pairs of occurrences\. Add one"):
        store.query("similarity")


def test_targets_in_brackets_make_the_same_items(tmp_path, checkpoint):
    shown = [f"{text[:start]}[{text[start:end]}]{text[end:]}" for text, start, end in SENTENCES]
    pairs = [(left, right, label) for left, right, label in PAIRS if 4 not in (left, right)]
    rows = [f"{shown[left]},{shown[right]},{int(label == 'T')}" for left, right, label in pairs]
    (tmp_path / "m.csv").write_text("a,b,score\n" + "\n".join(rows), "utf-8")
    Store.add_dataset(
        "marked", tmp_path / "m.csv", kind="pairs", unit="occurrence", columns=["a", "b", "score"]
    )
    Store.add_dataset(
        "wic", write(tmp_path / "w.tsv", pairs), kind="pairs", unit="occurrence", columns=COLUMNS
    )
    store = Store(tmp_path / "store")
    first = store.build(["marked"], models=f"tiny={checkpoint}", index="none")
    again = store.build(["wic"], models=f"tiny={checkpoint}", index="none")
    assert (first.spaces[0].embedded, again.spaces[0].embedded, again.spaces[0].present) == (
        4,
        0,
        4,
    )
    scores = {row["dataset"]: row["spearman"] for row in store.query("similarity", layers=1)}
    assert scores["marked"] == scores["wic"]


@pytest.mark.parametrize(
    ("error", "options", "reason"),
    [
        (UsageError, {"columns": COLUMNS[:5]}, "seven columns, text, start and end"),
        (
            UsageError,
            {"kind": "lexicon", "columns": ["text1", "label"]},
            "a lexicon is of words or of sentences",
        ),
        (UsageError, {"unit": "word"}, "three columns: the two texts and the score"),
        (
            SourceError,
            {"row": ["a bank", "2", "9", "a bank", "2", "6", "T"]},
            r"w\.tsv:2 .*text1.*outside the text",
        ),
        (
            SourceError,
            {"row": ["a bank", "2", "6", "a bank", "2", "x", "T"]},
            r"w\.tsv:2 .*end2.*not a whole number",
        ),
        (
            SourceError,
            {"row": ["a bank", "2", "6", "a bank", "2", "6", "maybe"]},
            "'maybe' is not a number",
        ),
    ],
)
def test_bad_tables_are_refused_with_the_row(tmp_path, error, options, reason):
    path = write(tmp_path / "w.tsv")
    if row := options.pop("row", None):
        path.write_text("\t".join(COLUMNS) + "\n" + "\t".join(row) + "\n", "utf-8")
    with pytest.raises(error, match=reason):
        Store.add_dataset(
            "wic", path, **{"kind": "pairs", "unit": "occurrence", "columns": COLUMNS} | options
        )


def test_a_marked_text_is_read_back_whatever_brackets_its_sentence_has():
    item = Item.occurrence("a [b] c]", Span(3, 4))
    assert item.shown == "a [[b]] c]"
    assert item in [*marked_items(item.shown)]
