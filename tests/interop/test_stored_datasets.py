"""Datasets are files, or stored without a build."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import spearmanr
from synthetic import synthetic_store
from tiny_checkpoint import named

from embstore import Store
from embstore.base.errors import (
    NotStoredError,
    QueryError,
    SourceError,
    StoreError,
    UnknownNameError,
)

RNG = np.random.default_rng(5)
WORDS = ["dog", "cat", "sun", "sea", "tree", "king", "queen", "man", "woman", "boy"]
VECTORS = dict(zip(WORDS, RNG.standard_normal((len(WORDS), 8)).astype(np.float32), strict=True))
PAIRS = [
    (a, b, float(score))
    for (a, b), score in zip(permutations(WORDS[:5], 2), RNG.integers(0, 9, 20), strict=True)
]


@pytest.fixture
def store(tmp_path):
    """A store of imported vectors alone, and files of datasets."""
    store = Store(tmp_path / "store")
    store.add_vectors("mine", WORDS, np.stack([*VECTORS.values()]))
    (tmp_path / "pairs.csv").write_text(
        "a,b,score\n" + "".join(f"{a},{b},{score}\n" for a, b, score in PAIRS)
    )
    (tmp_path / "owl.csv").write_text(
        "a,b,score\ndog,owl,1\n" + "".join(f"{a},{b},{s}\n" for a, b, s in PAIRS)
    )
    (tmp_path / "valence.csv").write_text(
        "word,valence\n" + "".join(f"{w},{n}\n" for n, w in enumerate(WORDS))
    )
    (tmp_path / "questions.txt").write_text(": family\nman woman king queen\nboy man dog cat\n")
    return store


def test_metrics_take_files_of_the_imported_vectors(store, tmp_path):
    units = {word: vector / np.linalg.norm(vector) for word, vector in VECTORS.items()}
    cosines = [units[a] @ units[b] for a, b, _ in PAIRS]
    expected = spearmanr(cosines, [score for *_, score in PAIRS]).statistic
    pairs = tmp_path / "pairs.csv"
    for name in (pairs, f"{pairs}:a,b,score"):
        [row] = store.query("similarity", dataset=str(name))
        assert row["spearman"] == pytest.approx(expected, abs=1e-6)
        assert (row["n"], row["dataset"]) == (20, str(name))
    sets = {"pleasant": WORDS[:4], "unpleasant": WORDS[4:8]}
    [row] = store.query("valnorm", lexicon=str(tmp_path / "valence.csv"), **sets)
    assert row["n"] == 10
    [*_, row] = store.query("analogies", dataset=str(tmp_path / "questions.txt"))
    assert row["n"] == 2
    assert store.cite(result=store.query("similarity", dataset=str(pairs))).notes


@pytest.mark.parametrize("metric", ["similarity", "analogies", "valnorm"])
def test_spaces_of_occurrences_are_passed_over_where_a_file_has_no_marked_words(
    store, tmp_path, metric
):
    of_words = {
        "similarity": {"dataset": str(tmp_path / "pairs.csv")},
        "analogies": {"dataset": str(tmp_path / "questions.txt")},
        "valnorm": {
            "lexicon": str(tmp_path / "valence.csv"),
            "pleasant": WORDS[:4],
            "unpleasant": WORDS[4:8],
        },
    }[metric]
    alone = store.query(metric, **of_words)
    synthetic_store(tmp_path / "store", texts=["the [dog] ran", "a [cat] sat"], unit="occurrence")
    synthetic_store(tmp_path / "store", texts=["the dog ran", "a cat sat"], unit="sentence")
    found = Store(tmp_path / "store").query(metric, **of_words)
    assert (found.rows, found.notes) == (alone.rows, alone.notes)


def test_an_error_is_about_words_rather_than_sentences(store, tmp_path):
    synthetic_store(tmp_path / "store", texts=["the dog ran", "a cat sat"], unit="sentence")
    sets = {"x": ["bee"], "y": ["fly"], "a": ["red"], "b": ["blue"]}
    with pytest.raises(QueryError, match=r"^mine holds none of the 4 words"):
        Store(tmp_path / "store").query("weat", **sets)


def test_an_answer_follows_the_file(store, tmp_path):
    pairs = tmp_path / "pairs.csv"
    first = store.query("similarity", dataset=str(pairs))
    assert store.query("similarity", dataset=str(pairs)).rows == first.rows
    pairs.write_text(pairs.read_text().replace(",0.0\n", ",9.5\n"))
    again = store.query("similarity", dataset=str(pairs))
    assert again.rows == store.query("similarity", dataset=str(pairs), cache=False).rows
    assert again["spearman"] != first["spearman"]


def test_a_missing_text_is_counted(store, tmp_path):
    owl = str(tmp_path / "owl.csv")
    found = store.query("similarity", dataset=owl)
    assert found["n"] == [20]
    assert "20 of 21 pairs can be used" in found.notes[1]
    assert [row["text"] for row in store.missing(owl)] == ["owl"]
    with pytest.raises(NotStoredError, match="were imported, so that none can be added"):
        store.query("similarity", dataset=owl, missing="error")


def test_stored_again_they_are_replaced(store):
    store.store_datasets("words:5")
    before = named(store.path, "datasets/")
    assert [key.partition("-")[0] for key in before] == ["datasets/words_5"]
    store.store_datasets(["words:5", "words:5"])
    assert named(store.path, "datasets/") == before


def test_mistakes_are_told_with_the_remedy(store, tmp_path):
    with pytest.raises(QueryError, match=r"datasets store rg65"):
        store.query("similarity")
    with pytest.raises(
        QueryError, match=r"if its texts have vectors.* embstore datasets store rg65"
    ):
        store.query("similarity", dataset="rg65")
    with pytest.raises(
        SourceError, match=r"pears\.csv does not exist\. Check the path, or name a da"
    ):
        store.query("similarity", dataset="pears.csv")
    with pytest.raises(
        UnknownNameError, match=r"Pairs of your own are stored by: embstore datasets add"
    ):
        store.store_datasets(str(tmp_path / "pairs.csv"))
    with pytest.raises(StoreError):
        Store(tmp_path / "none").store_datasets("words:5")
    assert not (tmp_path / "none").exists()
