"""Pairs of occurrences, such as WiC, in files: embedded and evaluated."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sound_stores import problems_of
from tiny_checkpoint import content

from embstore import Store
from embstore.base.errors import EmbstoreError
from embstore.base.space import Unit
from embstore.base.text import Item, Span
from embstore.sources.own import find_file

SENTENCES = [
    ("the bank of the river", 4, 8), ("a bank lends money", 2, 6), ("she sells shells", 10, 16),
    ("rates rose at the bank", 18, 22), ("the sea shells by the shore", 8, 14),
    ("New York sleeps", 0, 8),
]  # fmt: skip
PAIRS = [(0, 1, "F"), (1, 3, "T"), (0, 3, "F"), (2, 4, "T"), (4, 5, "F"), (2, 2, "T")]
COLUMNS = ("text1", "start1", "end1", "text2", "start2", "end2", "label")


def shown(sentence):
    text, start, end = sentence
    return f"{text[:start]}[{text[start:end]}]{text[end:]}"


def write(path, pairs=PAIRS):
    rows = [
        [*map(str, SENTENCES[left]), *map(str, SENTENCES[right]), label]
        for left, right, label in pairs
    ]
    path.write_text("\n".join(map("\t".join, [COLUMNS, *rows])) + "\n", "utf-8")
    return path


def test_similarity_of_occurrences_equals_scipy_over_the_stored_vectors(tmp_path, checkpoint):
    store = Store(tmp_path / "store")
    (tmp_path / "texts.txt").write_text("\n".join(map(shown, SENTENCES)), "utf-8")
    build = {"models": f"tiny={checkpoint}", "targets": "brackets", "index": "none"}
    report = store.build(str(tmp_path / "texts.txt"), poolings="mean", **build)
    assert report.spaces[0].embedded == 6
    spans = f"{write(tmp_path / 'w.tsv')}:{','.join(COLUMNS)}"
    layers = content(tmp_path / "store")["tiny.occurrence.mean"]
    labels = [float(label == "T") for *_, label in PAIRS]
    ids = [Item.occurrence(text, Span(start, end)).id for text, start, end in SENTENCES]
    for answer in store.query("similarity", dataset=spans):
        wide = {item: vector.astype(np.float64) for item, vector in layers[answer["layer"]].items()}
        unit = {item: vector / np.linalg.norm(vector) for item, vector in wide.items()}
        cosines = [float(unit[ids[left]] @ unit[ids[right]]) for left, right, _ in PAIRS]
        assert answer["n"] == 6
        assert answer["spearman"] == pytest.approx(
            spearmanr(np.round(cosines, 12), labels).statistic, abs=1e-12
        )
    assert problems_of(store) == []
    rows = [
        f'"{shown(SENTENCES[a])}","{shown(SENTENCES[b])}",{int(label == "T")}'
        for a, b, label in PAIRS
    ]
    (tmp_path / "m.csv").write_text("\n".join(["a,b,score", *rows]), "utf-8")
    both = [str(tmp_path / "m.csv"), spans]
    found = store.query("similarity", dataset=both, layers=1)
    assert [row["spearman"] for row in found][:1] * 2 == [*found["spearman"]]
    source = store.missing(str(tmp_path / "m.csv"), targets="brackets")
    assert source.to_pylist() == []
    with pytest.raises(EmbstoreError, match="no dataset of pairs of occurrences"):
        store.query("similarity")


@pytest.mark.parametrize(
    ("row", "columns", "reason"),
    [
        (None, COLUMNS[:5], "names 5 columns, and 3 are needed"),
        (["a bank", "2", "9", "a bank", "2", "6", "T"], COLUMNS, r"w\.tsv:2 .*text1.*outside"),
        (["a bank", "2", "6", "a bank", "2", "x", "T"], COLUMNS, r"w\.tsv:2 .*not a whole"),
        (["a bank", "2", "6", "a bank", "2", "6", "maybe"], COLUMNS, "'maybe' is not a number"),
    ],
)
def test_bad_tables_are_refused_with_the_row(tmp_path, row, columns, reason):
    path = write(tmp_path / "w.tsv")
    if row:
        path.write_text("\t".join(COLUMNS) + "\n" + "\t".join(row) + "\n", "utf-8")
    file = find_file(f"{path}:{','.join(columns)}")
    with pytest.raises(EmbstoreError, match=reason):
        list(file.rows(Unit.OCCURRENCE, "pairs"))
