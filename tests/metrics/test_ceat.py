"""CEAT: draws by hand, the pooling against published numbers, and words that are missing."""

from math import erfc, sqrt

import numpy as np
import pytest
from metric_data import Arrays

from embstore.metrics import ceat as ceat_module
from embstore.metrics.association import weat
from embstore.metrics.ceat import ceat, combine
from embstore.metrics.data import Contexts, Words

TEXTS = {
    "x": ("rose", "tulip", "lily"),
    "y": ("wasp", "flea", "moth"),
    "a": ("good", "kind"),
    "b": ("bad", "vile"),
}
NAMES = tuple(text for texts in TEXTS.values() for text in texts)


def words(texts):
    return Words(np.array([NAMES.index(text) for text in texts]), texts)


def sets(**others):
    return {key: words(texts) for key, texts in (TEXTS | others).items()}


def occurrences(n, seed=0):
    """n contexts of each word, whose vectors are scattered about that of the word."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(NAMES), 8))
    groups = np.repeat(np.arange(len(NAMES)), n)
    return centres[groups] + 0.5 * rng.normal(size=(len(groups), 8)), Contexts(
        np.arange(len(groups)), groups, NAMES
    )


def test_the_pooling_is_that_of_dersimonian_and_laird():
    ces, error = combine(np.array([0.5, 0.8, 0.2, 1.1]), np.array([0.04, 0.09, 0.05, 0.16]))
    assert (ces, error) == pytest.approx((0.558741, 0.171578), abs=1e-6)
    assert erfc(ces / error / sqrt(2)) == pytest.approx(0.001128, abs=1e-6)
    equal = combine(np.full(5, 0.3), np.full(5, 0.1))
    assert equal == pytest.approx((0.3, np.sqrt(0.1 / 5)))


def test_one_context_of_each_word_is_weat():
    x, contexts = occurrences(1)
    row = ceat(Arrays(x), contexts=contexts, draws=7, **sets())
    expected = weat(Arrays(x), permutations=0, **sets())["effect_size"]
    assert [
        row[name] for name in ("q05", "q25", "median", "q75", "q95", "ces", "ces_association")
    ] == [pytest.approx(expected)] * 7
    assert (row["n"], row["sizes"], row["reason"]) == (10, [3, 3, 2, 2], None)


def test_the_distribution_is_that_of_draws_by_hand():
    x, contexts = occurrences(6)
    row = ceat(Arrays(x), contexts=contexts, draws=4000, seed=3, **sets())
    rng, effects = np.random.default_rng(9), []
    for _ in range(1000):
        chosen = x[np.arange(len(NAMES)) * 6 + rng.integers(0, 6, len(NAMES))]
        effects.append(weat(Arrays(chosen), permutations=0, **sets())["effect_size"])
    levels = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
    for name, level in levels.items():
        assert row[name] == pytest.approx(np.quantile(effects, level), abs=0.12)
    more = ceat(Arrays(x), contexts=contexts, draws=16_000, seed=3, **sets())
    assert more["se"] == pytest.approx(row["se"] / 2, rel=0.1), (
        "the error falls with the draws, as the docs say"
    )
    assert more["ces"] == pytest.approx(row["ces"], abs=0.03)


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_batches_have_as_many_draws_as_are_asked_for(monkeypatch, size):
    """With one context a word all draws have one effect and variance, so that the error is
    √(variance / draws).
    """
    x, contexts = occurrences(1)
    monkeypatch.setattr(ceat_module, "_BATCH_VALUES", 8 * size)
    row = ceat(Arrays(x), contexts=contexts, draws=7, **sets())
    effect = float(row["median"])
    variance = 6 / 9 + effect**2 / 12
    assert row["se"] == pytest.approx(sqrt(variance / 7))


def test_words_without_occurrences():
    x, contexts = occurrences(3)
    x[contexts.groups == NAMES.index("moth")] = 0
    assert "no occurrence of moth" in str(ceat(Arrays(x), contexts=contexts, **sets())["reason"])
    row = ceat(Arrays(x), contexts=contexts, missing="skip", draws=20, **sets())
    assert (row["sizes"], row["n"]) == ([3, 2, 2, 2], 27)
    few = ceat(Arrays(x), contexts=contexts, missing="skip", **sets(y=("moth",)))
    assert few["reason"] == "fewer than three target words, or an empty set"
    same = ceat(Arrays(np.ones((30, 8))), contexts=contexts, **sets())
    assert same["reason"] == "all target words are associated alike"
