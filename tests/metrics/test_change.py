"""Change of words between groups of occurrences: by brute force over pairs, shuffles by hand, and
through a store.
"""

from itertools import combinations

import numpy as np
import pytest
from metric_data import Arrays
from scipy.spatial.distance import cdist, cosine, pdist

from embstore.base.errors import UnknownNameError
from embstore.metrics.change import change
from embstore.metrics.data import Contexts


def occurrences(sizes, shift=0.0):
    """Vectors of words, whose uses in the second group are moved by ``shift``; sizes by word and
    group.
    """
    rng = np.random.default_rng(0)
    words = np.concatenate(
        [np.full(sum(each), number) for number, each in enumerate(sizes.values())]
    )
    groups = np.concatenate([np.repeat(np.arange(len(each)), each) for each in sizes.values()])
    x = rng.normal(size=(len(words), 6)) + 1
    x[groups == 1] += shift * np.array([1, -1, 0, 0, 1, 0])
    members = [
        (f"19{number}0", np.flatnonzero(groups == number))
        for number in range(max(map(len, sizes.values())))
    ]
    return x, Contexts(np.arange(len(words)), words, tuple(sizes)), members


def test_distances_are_those_of_all_pairs():
    x, contexts, groups = occurrences({"bank": (7, 9), "dog": (5, 6)}, shift=1)
    rows = change(Arrays(x), contexts=contexts, groups=groups, permutations=0)
    assert [
        (row["word"], row["group_1"], row["group_2"], row["n_1"], row["n_2"]) for row in rows
    ] == [("bank", "1900", "1910", 7, 9), ("dog", "1900", "1910", 5, 6)]
    for row, start in zip(rows, (0, 16), strict=True):
        first, second = np.split(x[start : start + row["n_1"] + row["n_2"]], [row["n_1"]])
        within = (pdist(first, "cosine").mean() + pdist(second, "cosine").mean()) / 2
        apd = cdist(first, second, "cosine").mean()
        expected = apd, within, apd - within, cosine(first.mean(axis=0), second.mean(axis=0))
        assert [row[name] for name in ("apd", "within", "apd_change", "prt")] == pytest.approx(
            expected
        )
        assert (row["p"], row["seed"]) == (None, None)


def test_p_is_that_of_all_splits():
    """Of 4 and 4 occurrences, all 70 splits can be listed; the shuffles come near them."""
    x, contexts, groups = occurrences({"bank": (4, 4)}, shift=0.7)
    [row] = change(Arrays(x), contexts=contexts, groups=groups, min_contexts=2, permutations=20_000)
    distances = cdist(x, x, "cosine")

    def statistic(first):
        second = np.setdiff1d(np.arange(8), first)
        inside = [distances[np.ix_(each, each)].sum() / 12 for each in (first, second)]
        return float(distances[np.ix_(first, second)].mean() - np.mean(inside))

    splits = [statistic(np.array(first)) for first in combinations(range(8), 4)]
    assert row["apd_change"] == pytest.approx(splits[0])
    assert row["p"] == pytest.approx(np.mean(np.array(splits) >= splits[0] - 1e-9), abs=0.015)


def test_rare_words_and_adjacent_groups():
    x, contexts, groups = occurrences({"bank": (6, 6, 6), "dog": (6, 2, 6)})
    rows = change(Arrays(x), contexts=contexts, groups=groups, permutations=9)
    assert [(row["word"], row["group_1"], row["group_2"]) for row in rows] == [
        ("bank", "1900", "1910"),
        ("bank", "1910", "1920"),
    ]
    assert [(row["n_rare"], row["rare"]) for row in rows] == [(1, "dog")] * 2
    asked = change(
        Arrays(x), contexts=contexts, groups=groups, permutations=9, word=("bank", "dog")
    )
    assert [row["reason"] for row in asked if row["word"] == "dog"] == [
        "fewer than 5 contexts in a group"
    ] * 2
    [none] = change(Arrays(x), contexts=contexts, groups=groups, min_contexts=9)
    assert none["reason"] == "no word has 9 contexts in two groups"
    [none] = change(Arrays(x), contexts=contexts, groups=groups[:1])
    assert none["reason"] == "fewer than two groups"
    x[contexts.groups == 1] = 0
    assert {
        row["word"] for row in change(Arrays(x), contexts=contexts, groups=groups, permutations=0)
    } == {"bank"}


def pairs(rows):
    return [(row["word"], row["group_1"], row["group_2"]) for row in rows]


def test_groups_without_an_order_are_compared_in_all_pairs():
    """Senses of three words, in the order of the alphabet: those of one word need not be neighbours
    there.
    """
    senses = {"bank": (6, 0, 7, 2), "spring": (0, 8, 6, 6), "mouse": (5, 0, 0, 1)}
    x, contexts, groups = occurrences(senses)
    groups = [
        *zip(("money", "season", "water", "wheel"), (members for _, members in groups), strict=True)
    ]
    rows = change(Arrays(x), contexts=contexts, groups=groups, is_ordered=False, permutations=99)
    assert pairs(rows) == [
        ("bank", "money", "water"),
        ("spring", "season", "water"),
        ("spring", "season", "wheel"),
        ("spring", "water", "wheel"),
    ]
    assert {(row["n_rare"], row["rare"]) for row in rows} == {(2, "bank (wheel), mouse")}
    in_order = change(Arrays(x), contexts=contexts, groups=groups, permutations=0)
    assert pairs(in_order) == [("spring", "season", "water"), ("spring", "water", "wheel")]
    asked = change(
        Arrays(x),
        contexts=contexts,
        groups=groups,
        is_ordered=False,
        permutations=0,
        word=("bank", "mouse", "spring"),
    )
    assert [row["reason"] for row in asked if row["word"] == "mouse"] == [
        "fewer than 5 contexts in a group"
    ]
    assert {row["n_rare"] for row in asked} == {0}
    distances = cdist(x[:6], x[6:13], "cosine")
    assert rows[0]["apd"] == pytest.approx(distances.mean())


def test_each_group_is_compared_with_a_chosen_one_or_with_the_rest():
    x, contexts, groups = occurrences({"bank": (6, 5, 7)})
    call = {"contexts": contexts, "groups": groups, "permutations": 0}
    chosen = change(Arrays(x), **call, against="1920")
    assert pairs(chosen) == [("bank", "1900", "1920"), ("bank", "1910", "1920")]
    rest = change(Arrays(x), **call, against="rest")
    assert pairs(rest) == [
        ("bank", "1900", "rest"),
        ("bank", "1910", "rest"),
        ("bank", "1920", "rest"),
    ]
    for row, (_, members) in zip(rest, groups, strict=True):
        others = np.setdiff1d(np.arange(len(x)), members)
        assert row["apd"] == pytest.approx(cdist(x[members], x[others], "cosine").mean())
        assert (row["n_1"], row["n_2"]) == (len(members), len(others))
    x, contexts, groups = occurrences({"bank": (6, 0, 7), "spring": (5, 6, 7), "mouse": (6, 0, 0)})
    call = {"contexts": contexts, "groups": groups, "is_ordered": False, "permutations": 0}
    rest = change(Arrays(x), **call, against="rest", word=("bank", "spring", "mouse"))
    assert pairs(rest) == [
        ("bank", "1900", "1920"),
        ("spring", "1900", "rest"),
        ("spring", "1910", "rest"),
        ("spring", "1920", "rest"),
        ("mouse", None, None),
    ]
    assert [row["reason"] for row in rest] == [*[None] * 4, "in fewer than two of the groups"]
    with pytest.raises(UnknownNameError, match=r"unknown group '1921'.*1920"):
        change(Arrays(x), **call, against="1921")


def exact_change(x, is_second):
    """The mean distance between two groups, minus that within them, in extended precision."""
    units = x.astype(np.longdouble)
    units /= np.sqrt((units**2).sum(axis=1))[:, None]
    units -= units.mean(axis=0)
    squares = (units**2).sum(axis=1)
    sums, totals, sizes = [], [], []
    for side in (~is_second, is_second):
        sums.append(units[side].sum(axis=0))
        totals.append(squares[side].sum())
        sizes.append(int(side.sum()))
    between = (totals[0] / sizes[0] + totals[1] / sizes[1]) / 2 - (sums[0] @ sums[1]) / (
        sizes[0] * sizes[1]
    )
    within = [
        total / n - ((each @ each) - total) / (n * (n - 1))
        for each, total, n in zip(sums, totals, sizes, strict=True)
    ]
    return float(between - (within[0] + within[1]) / 2)


def test_p_of_a_frequent_word_is_not_rounded_where_one_dimension_is_massive():
    """The cosines differ by 1e-7, and their mean by less: 2,000 occurrences, moved by .2 of a
    standard deviation.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 8)).astype(np.float32)
    is_second = np.arange(2000) >= 1000
    x[is_second, 1] += np.float32(0.2)
    x[:, 0] += 3000
    contexts = Contexts(np.arange(2000), np.zeros(2000, np.int64), ("bank",))
    groups = [("1900", np.arange(1000)), ("1910", np.arange(1000, 2000))]
    [row] = change(Arrays(x), contexts=contexts, groups=groups)
    expected = exact_change(x, is_second)
    assert row["apd_change"] == pytest.approx(expected, rel=1e-6)
    shuffled = [exact_change(x, rng.permutation(is_second)) for _ in range(300)]
    assert max(shuffled) < expected
    assert row["p"] == pytest.approx(1 / 1001)


def test_equal_splits_count_as_large_whatever_the_rounding():
    """Of 5 and 5 occurrences a split and its mirror image have one distance: p is that of all 252
    splits.
    """
    rng = np.random.default_rng(2)
    x = (rng.normal(size=(10, 6)) + np.array([3000, 0, 0, 0, 0, 0])).astype(np.float32)
    x[5:, 1] += 3
    contexts = Contexts(np.arange(10), np.zeros(10, np.int64), ("bank",))
    groups = [("1900", np.arange(5)), ("1910", np.arange(5, 10))]
    [row] = change(Arrays(x), contexts=contexts, groups=groups, permutations=20_000)
    splits = [
        exact_change(x, np.isin(np.arange(10), chosen)) for chosen in combinations(range(10), 5)
    ]
    observed = exact_change(x, np.arange(10) >= 5)
    assert row["p"] == pytest.approx(np.mean(np.array(splits) >= observed * (1 - 1e-9)), abs=0.004)
