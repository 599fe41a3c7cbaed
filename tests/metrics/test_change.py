"""Change of words between groups of occurrences: by brute force over pairs, shuffles by hand, and through a store."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from metric_data import Arrays
from scipy.spatial.distance import cdist, cosine, pdist

from embstore.metrics.change import change
from embstore.metrics.data import Contexts


def occurrences(sizes: dict[str, tuple[int, ...]], shift: float = 0.0) -> tuple[np.ndarray, Contexts, list[Any]]:
    """Vectors of words, whose uses in the second group are moved by ``shift``; sizes by word and group."""
    rng = np.random.default_rng(0)
    words = np.concatenate([np.full(sum(each), number) for number, each in enumerate(sizes.values())])
    groups = np.concatenate([np.repeat(np.arange(len(each)), each) for each in sizes.values()])
    x = rng.normal(size=(len(words), 6)) + 1
    x[groups == 1] += shift * np.array([1, -1, 0, 0, 1, 0])
    members = [(f"19{number}0", np.flatnonzero(groups == number)) for number in range(max(map(len, sizes.values())))]
    return x, Contexts(np.arange(len(words)), words, tuple(sizes)), members


def test_distances_are_those_of_all_pairs():
    x, contexts, groups = occurrences({"bank": (7, 9), "dog": (5, 6)}, shift=1)
    rows = change(Arrays(x), contexts=contexts, groups=groups, permutations=0)
    assert [(row["word"], row["group_1"], row["group_2"], row["n_1"], row["n_2"]) for row in rows] == [
        ("bank", "1900", "1910", 7, 9), ("dog", "1900", "1910", 5, 6),
    ]  # fmt: skip
    for row, start in zip(rows, (0, 16), strict=True):
        first, second = np.split(x[start : start + row["n_1"] + row["n_2"]], [row["n_1"]])  # type: ignore[operator,list-item]
        within = (pdist(first, "cosine").mean() + pdist(second, "cosine").mean()) / 2
        apd = cdist(first, second, "cosine").mean()
        expected = apd, within, apd - within, cosine(first.mean(axis=0), second.mean(axis=0))
        assert [row[name] for name in ("apd", "within", "apd_change", "prt")] == pytest.approx(expected)
        assert (row["p"], row["seed"]) == (None, None)


def test_p_is_that_of_all_splits():
    """Of 4 and 4 occurrences, all 70 splits can be listed; the shuffles come near them."""
    x, contexts, groups = occurrences({"bank": (4, 4)}, shift=0.7)
    [row] = change(Arrays(x), contexts=contexts, groups=groups, min_contexts=2, permutations=20_000)
    distances = cdist(x, x, "cosine")

    def statistic(first: Any) -> float:
        second = np.setdiff1d(np.arange(8), first)
        inside = [distances[np.ix_(each, each)].sum() / 12 for each in (first, second)]
        return float(distances[np.ix_(first, second)].mean() - np.mean(inside))

    splits = [statistic(np.array(first)) for first in combinations(range(8), 4)]
    assert row["apd_change"] == pytest.approx(splits[0])
    assert row["p"] == pytest.approx(np.mean(np.array(splits) >= splits[0] - 1e-9), abs=0.015)


def test_words_that_change_are_found_and_others_are_not():
    sizes = {f"w{number}": (12, 12) for number in range(40)}
    x, contexts, groups = occurrences(sizes)
    x[(contexts.groups == 3) & np.isin(contexts.ids, groups[1][1])] += [4, -4, 0, 0, 0, 0]
    rows = {row["word"]: row for row in change(Arrays(x), contexts=contexts, groups=groups, permutations=5000)}
    assert rows["w3"]["p"] == pytest.approx(1 / 5001)
    assert [word for word, row in rows.items() if row["p_holm"] < 0.05] == ["w3"]  # type: ignore[operator]
    others = [row["p"] for word, row in rows.items() if word != "w3"]
    assert 0.35 < np.mean(others) < 0.65, "uniform"  # type: ignore[arg-type]


def test_rare_words_and_adjacent_groups():
    x, contexts, groups = occurrences({"bank": (6, 6, 6), "dog": (6, 2, 6)})
    rows = change(Arrays(x), contexts=contexts, groups=groups, permutations=9)
    assert [(row["word"], row["group_1"], row["group_2"]) for row in rows] == [
        ("bank", "1900", "1910"), ("bank", "1910", "1920"),
    ]  # fmt: skip
    assert [row["n_rare"] for row in rows] == [1, 1]
    asked = change(Arrays(x), contexts=contexts, groups=groups, permutations=9, word=("bank", "dog"))
    assert [row["reason"] for row in asked if row["word"] == "dog"] == ["fewer than 5 contexts in a group"] * 2
    [none] = change(Arrays(x), contexts=contexts, groups=groups, min_contexts=9)
    assert none["reason"] == "no word has 9 contexts in two groups"
    [none] = change(Arrays(x), contexts=contexts, groups=groups[:1])
    assert none["reason"] == "fewer than two groups"
    x[contexts.groups == 1] = 0
    assert {row["word"] for row in change(Arrays(x), contexts=contexts, groups=groups, permutations=0)} == {"bank"}
