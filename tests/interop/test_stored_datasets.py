"""Datasets are stored without a build, and every metric with a dataset works on imported vectors."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from embstore import Store
from embstore.base.errors import NotStoredError, QueryError, StoreError, UnknownNameError, UsageError
from embstore.metrics import METRICS

RNG = np.random.default_rng(5)
WORDS = ["dog", "cat", "sun", "sea", "tree", "king", "queen", "man", "woman", "boy"]
VECTORS = dict(zip(WORDS, RNG.standard_normal((len(WORDS), 8)).astype(np.float32), strict=True))
PAIRS = [(a, b, float(score)) for (a, b), score in zip(permutations(WORDS[:5], 2), RNG.integers(0, 9, 20), strict=True)]
TRIED = ("similarity", "alignment", "valnorm", "analogies")


@pytest.fixture
def store(tmp_path: Path, data: Path) -> Store:
    """A store of imported vectors alone, and tables that were added as datasets."""
    store = Store(tmp_path / "store")
    store.add_vectors("mine", WORDS, np.stack([*VECTORS.values()]))
    (tmp_path / "pairs.csv").write_text("a,b,score\n" + "".join(f"{a},{b},{score}\n" for a, b, score in PAIRS))
    (tmp_path / "owl.csv").write_text("a,b,score\ndog,owl,1\n" + "".join(f"{a},{b},{s}\n" for a, b, s in PAIRS))
    (tmp_path / "valence.csv").write_text("word,valence\n" + "".join(f"{w},{n}\n" for n, w in enumerate(WORDS)))
    (tmp_path / "questions.txt").write_text(": family\nman woman king queen\nboy man dog cat\n")
    Store.add_dataset("judged", tmp_path / "pairs.csv", kind="pairs", columns=["a", "b", "score"])
    Store.add_dataset("owl", tmp_path / "owl.csv", kind="pairs", columns=["a", "b", "score"])
    Store.add_dataset("valence", tmp_path / "valence.csv", kind="lexicon", columns=["word", "valence"])
    Store.add_dataset("questions", tmp_path / "questions.txt", kind="analogies")
    return store


def unit(word: str) -> np.ndarray:
    vector = VECTORS[word].astype(np.float64)
    return np.asarray(vector / np.linalg.norm(vector))


def test_metrics_with_datasets_are_those_of_the_imported_vectors(store: Store) -> None:
    stored = store.store_datasets(["judged", "valence", "questions"])
    assert [tuple(row.values()) for row in stored] == [
        ("judged", "word pairs", "word", 20),
        ("valence", "lexicon", "word", 10),
        ("questions", "analogies", "word", 2),
    ]
    [row] = store.query("similarity", dataset="judged")
    cosines = [unit(a) @ unit(b) for a, b, _ in PAIRS]
    assert row["spearman"] == pytest.approx(spearmanr(cosines, [score for *_, score in PAIRS]).statistic, abs=1e-6)
    assert row["n"] == 20

    [row] = store.query("alignment", dataset="judged", min_score=4)
    squares = [((unit(a) - unit(b)) ** 2).sum() for a, b, score in PAIRS if score >= 4]
    assert (row["alignment"], row["n"]) == (pytest.approx(np.mean(squares), abs=1e-6), len(squares))

    [row] = store.query("analogies", dataset="questions")
    right = 0
    for a, b, c, answer in [("man", "woman", "king", "queen"), ("boy", "man", "dog", "cat")]:
        target = unit(b) - unit(a) + unit(c)
        right += max((word for word in WORDS if word not in (a, b, c)), key=lambda word: unit(word) @ target) == answer
    assert (row["accuracy"], row["n"]) == (right / 2, 2)

    [row] = store.query("valnorm", lexicon="valence", pleasant=["dog", "sun"], unpleasant=["sea", "boy"])
    effects = []
    for word in WORDS:
        good, bad = ([unit(word) @ unit(other) for other in words] for words in (("dog", "sun"), ("sea", "boy")))
        effects.append((np.mean(good) - np.mean(bad)) / np.std(good + bad, ddof=1))
    assert row["valnorm"] == pytest.approx(np.corrcoef(effects, range(len(WORDS)))[0, 1], abs=1e-6)
    assert store.verify(deep=True).ok


def test_every_metric_with_a_dataset_is_tried() -> None:
    assert {name for name, metric in METRICS.items() if metric.needs in ("pairs", "lexicon", "analogies")} == {*TRIED}


def test_word_sets_need_no_dataset(store: Store) -> None:
    sets = {"x": "dog,cat", "y": "sun,sea", "a": "king,man", "b": "queen,woman"}
    [row] = store.query("weat", **sets)
    association = {
        word: np.mean([unit(word) @ unit(a) for a in ("king", "man")])
        - np.mean([unit(word) @ unit(b) for b in ("queen", "woman")])
        for word in ("dog", "cat", "sun", "sea")
    }
    values = [*association.values()]
    expected = (np.mean(values[:2]) - np.mean(values[2:])) / np.std(values, ddof=1)
    assert row["effect_size"] == pytest.approx(expected, abs=1e-6)


def test_a_missing_text_is_counted(store: Store) -> None:
    store.store_datasets("owl")
    found = store.query("similarity", dataset="owl")
    assert found["n"] == [20]
    assert "20 of 21 pairs can be used" in found.notes[0]
    assert [row["text"] for row in store.missing("owl")] == ["owl"]
    with pytest.raises(NotStoredError, match="were imported, so that none can be added"):
        store.query("similarity", dataset="owl", missing="error")


def test_stored_again_they_are_replaced(store: Store, tmp_path: Path) -> None:
    store.store_datasets("words:5")
    before = (store.path / "datasets" / "words_5.parquet").read_bytes()
    store.store_datasets(["words:5", "words:5"])
    assert (store.path / "datasets" / "words_5.parquet").read_bytes() == before


def test_mistakes_are_told_with_the_remedy(store: Store, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"datasets store rg65"):
        store.query("similarity")
    with pytest.raises(QueryError, match=r"if its texts have vectors.* embstore datasets store rg65"):
        store.query("similarity", dataset="rg65")
    with pytest.raises(UnknownNameError, match=r"'jugded'.*Did you mean 'judged'.*embstore datasets add NAME FILE"):
        store.store_datasets("jugded")
    with pytest.raises(UsageError, match="the rows of 'judged' are of the unit word, and are not stored for occurr"):
        store.store_datasets("judged", unit="occurrence")
    with pytest.raises(StoreError):
        Store(tmp_path / "none").store_datasets("judged")
    assert not (tmp_path / "none").exists()
