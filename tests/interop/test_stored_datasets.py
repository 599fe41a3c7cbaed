"""Datasets are stored without a build; ``test_importing`` has each metric that needs one."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import spearmanr
from tiny_checkpoint import named

from embstore import Store
from embstore.base.errors import (
    NotStoredError,
    QueryError,
    StoreError,
    UnknownNameError,
    UsageError,
)

RNG = np.random.default_rng(5)
WORDS = ["dog", "cat", "sun", "sea", "tree", "king", "queen", "man", "woman", "boy"]
VECTORS = dict(zip(WORDS, RNG.standard_normal((len(WORDS), 8)).astype(np.float32), strict=True))
PAIRS = [
    (a, b, float(score))
    for (a, b), score in zip(permutations(WORDS[:5], 2), RNG.integers(0, 9, 20), strict=True)
]


@pytest.fixture
def store(tmp_path, data):
    """A store of imported vectors alone, and tables that were added as datasets."""
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
    Store.add_dataset("judged", tmp_path / "pairs.csv", kind="pairs", columns=["a", "b", "score"])
    Store.add_dataset("owl", tmp_path / "owl.csv", kind="pairs", columns=["a", "b", "score"])
    Store.add_dataset(
        "valence", tmp_path / "valence.csv", kind="lexicon", columns=["word", "valence"]
    )
    Store.add_dataset("questions", tmp_path / "questions.txt", kind="analogies")
    return store


def test_a_metric_with_a_dataset_is_that_of_the_imported_vectors(store):
    stored = store.store_datasets(["judged", "valence", "questions"])
    assert [tuple(row.values()) for row in stored] == [
        ("judged", "word pairs", "word", 20),
        ("valence", "lexicon", "word", 10),
        ("questions", "analogies", "word", 2),
    ]
    [row] = store.query("similarity", dataset="judged")
    units = {word: vector / np.linalg.norm(vector) for word, vector in VECTORS.items()}
    cosines = [units[a] @ units[b] for a, b, _ in PAIRS]
    assert row["spearman"] == pytest.approx(
        spearmanr(cosines, [score for *_, score in PAIRS]).statistic, abs=1e-6
    )
    assert row["n"] == 20
    assert store.verify(deep=True).ok


def test_a_missing_text_is_counted(store):
    store.store_datasets("owl")
    found = store.query("similarity", dataset="owl")
    assert found["n"] == [20]
    assert "20 of 21 pairs can be used" in found.notes[0]
    assert [row["text"] for row in store.missing("owl")] == ["owl"]
    with pytest.raises(NotStoredError, match="were imported, so that none can be added"):
        store.query("similarity", dataset="owl", missing="error")


def test_stored_again_they_are_replaced(store, tmp_path):
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
        UnknownNameError, match=r"'jugded'.*Did you mean 'judged'.*embstore datasets add NAME FILE"
    ):
        store.store_datasets("jugded")
    with pytest.raises(
        UsageError, match="the rows of 'judged' are of the unit word, and are not stored for occurr"
    ):
        store.store_datasets("judged", unit="occurrence")
    with pytest.raises(StoreError):
        Store(tmp_path / "none").store_datasets("judged")
    assert not (tmp_path / "none").exists()
