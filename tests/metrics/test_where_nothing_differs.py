"""Simulations where nothing differs: p is uniform, intervals cover, and labels without meaning are
not predicted.

Each statement is of draws with a fixed seed; p-values of B shuffles are whole numbers of 1/(B + 1),
and are spread over that step before they are held against the uniform distribution.
"""

from collections import Counter, defaultdict

import numpy as np
import pytest
from metric_data import Arrays
from scipy.stats import kstest

from embstore.metrics.change import change
from embstore.metrics.data import Contexts, ItemLabels
from embstore.metrics.labels import knn
from embstore.metrics.numerics import statistics
from embstore.metrics.numerics.estimates import compare_estimates
from embstore.metrics.numerics.statistics import calibrate, draw_permutations, permuted_products
from embstore.metrics.numerics.units import Correlation, mean_of
from embstore.metrics.probe import probe

pytestmark = pytest.mark.slow


def is_uniform(p_values, step, rng):
    return bool(
        kstest(np.asarray(p_values) - step * rng.random(len(p_values)), "uniform").pvalue > 0.01
    )


def unit_gram(x):
    x = x - x.mean(axis=0)
    gram = x @ x.T
    return np.asarray(gram / np.linalg.norm(gram))


@pytest.fixture
def in_one_thread(monkeypatch):
    """Multiply matrices of ten items in this thread: to start others a thousand times takes
    longer.
    """
    monkeypatch.setattr(statistics, "in_threads", lambda function, calls: [*map(function, calls)])


@pytest.mark.usefixtures("in_one_thread")
def test_p_of_shuffled_items_is_uniform_and_so_is_that_of_the_highest():
    rng = np.random.default_rng(1)
    p_values, smallest = [], []
    for number in range(1000):
        left, right = ([unit_gram(rng.normal(size=(10, 3))) for _ in range(2)] for _ in range(2))
        observed, shuffled = permuted_products(left, right, draw_permutations(10, 39, number))
        p_values.append(calibrate(observed, shuffled).p[0, 1])
        smallest.append(calibrate(observed, shuffled, np.ones((2, 2), bool)).p.min())
    assert is_uniform(p_values, 1 / 40, rng)
    assert is_uniform(smallest, 1 / 40, rng), (
        "the highest of a grid, against the highest of each shuffle"
    )


@pytest.mark.usefixtures("in_one_thread")
def test_p_of_ties_is_never_too_small():
    """Lists of neighbours in common are whole numbers: shuffles with as many are as high, whatever
    their rounding.
    """
    rng = np.random.default_rng(2)
    p_values = []
    for number in range(1000):
        matrices = []
        for _ in range(2):
            matrix = np.zeros((9, 9))
            for row in range(9):
                matrix[row, rng.choice(np.delete(np.arange(9), row), 2, replace=False)] = (
                    1 / np.sqrt(18)
                )
            matrices.append(matrix)
        observed, shuffled = permuted_products(
            matrices[:1], matrices[1:], draw_permutations(9, 19, number)
        )
        p_values.append(calibrate(observed, shuffled).p[0, 0])
        exact = round(float(observed[0, 0]) * 18)
        assert p_values[-1] == (1 + (np.round(shuffled * 18) >= exact).sum()) / 20
    for level in (0.05, 0.1, 0.5):
        assert np.mean(np.array(p_values) <= level) <= level + 3 * np.sqrt(
            level * (1 - level) / 1000
        )


@pytest.mark.parametrize("n", [10, 12, 25, 60])
def test_differences_of_equal_layers_are_covered(n):
    """Of 1,000 pairs of layers whose numbers are equally good: coverage, and p at most uniform at
    usual levels.
    """
    rng = np.random.default_rng(n)
    units, p_values, n_covered = np.arange(n), defaultdict[str, list[float]](list), Counter()
    true = {"mean": 0.0, "pearson": 0.5**0.5, "spearman": 6 / np.pi * np.arcsin(0.5**0.5 / 2)}
    for _ in range(1000):
        gold = rng.normal(size=n)
        layers = gold + rng.normal(size=(2, n))
        for statistic in true:
            first, second = (
                mean_of(units, values)
                if statistic == "mean"
                else Correlation(
                    units, values, gold, statistic, np.zeros(n), ("", "", "")
                ).estimate()
                for values in layers
            )
            low, high = first.interval()
            n_covered[statistic] += low <= true[statistic] <= high
            p_values[statistic].append(compare_estimates(first, second).p)
    for statistic, found in p_values.items():
        assert 930 <= n_covered[statistic] <= 985
        assert np.mean(np.array(found) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)


def test_p_of_change_is_uniform():
    rng = np.random.default_rng(4)
    groups = np.tile([0, 0, 0, 0, 0, 1, 1, 1, 1], 1000)
    words = np.repeat(np.arange(1000), 9)
    x = rng.normal(size=(9000, 4)) + 0.5
    contexts = Contexts(np.arange(9000), words, tuple(f"w{number}" for number in range(1000)))
    members = [
        (name, np.flatnonzero(groups == number)) for number, name in enumerate(("then", "now"))
    ]
    rows = change(Arrays(x), contexts=contexts, groups=members, min_contexts=4, permutations=99)
    assert len(rows) == 1000
    assert is_uniform([row["p"] for row in rows], 1 / 100, rng)
    assert min(row["p_holm"] for row in rows) > 0.05


@pytest.mark.filterwarnings("error")
def test_labels_without_meaning_are_predicted_as_by_chance():
    """The interval of a probe covers the share of the classes, and that of the nearest neighbour
    its chance.
    """
    rng = np.random.default_rng(5)
    n_covered, n_near = 0, 0
    for number in range(200):
        x, codes = rng.normal(size=(60, 2)), rng.permutation(np.arange(60) % 2)
        labels = ItemLabels(np.arange(60), codes, ("a", "b"))
        near = knn(Arrays(x), labels=labels, k=1)
        n_near += near["low"] <= near["chance"] <= near["high"]
        if number < 12:
            row = probe(Arrays(x), labels=labels, control=False, folds=2)
            n_covered += row["low"] <= 0.5 <= row["high"]
    assert n_covered >= 10
    assert n_near >= 170
