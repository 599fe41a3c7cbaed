"""Levels by chance in closed form, against all 5,040 ways to shuffle seven items."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from metric_data import Arrays

from embstore.metrics.comparison import cka, rsa

ORDERS = np.array([*permutations(range(7))])


def single_row(metric: Any, x: np.ndarray, y: np.ndarray, **settings: Any) -> dict[str, Any]:
    [row] = metric([Arrays(x)], [Arrays(y)], np.arange(len(x)), **settings)
    return dict(row)


def centred_gram(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=0)
    gram: np.ndarray = x @ x.T
    return gram


def u_centred_gram(x: np.ndarray) -> np.ndarray:
    """Székely & Rizzo (2014), section 2: products of two of these sum to n(n − 3) HSIC_1."""
    n, gram = len(x), x @ x.T
    np.fill_diagonal(gram, 0)
    rows = gram.sum(axis=0)
    gram -= (rows + rows[:, None]) / (n - 2) - rows.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(gram, 0)
    return gram


@pytest.mark.parametrize("n_copies", [0, 3])
@pytest.mark.parametrize("variant", ["biased", "unbiased"])
def test_cka_by_chance(variant: str, n_copies: int) -> None:
    rng = np.random.default_rng(n_copies)
    x, y = rng.normal(size=(7, 3)) ** 3 + 2, rng.gamma(0.5, size=(7, 5))
    x[:n_copies] = x[0]
    k, l_ = map(centred_gram if variant == "biased" else u_centred_gram, (x, y))
    shuffled = [(k * l_[np.ix_(order, order)]).sum() for order in ORDERS] / (np.linalg.norm(k) * np.linalg.norm(l_))
    row = single_row(cka, x, y, variant=variant)
    assert row["cka"] == pytest.approx(shuffled[0])
    assert row["chance"] == pytest.approx(shuffled.mean(), abs=1e-12)
    assert row["chance_deviation"] == (pytest.approx(shuffled.std()) if variant == "biased" else None)


def test_rsa_by_chance_is_zero() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 7, 4)) + 1
    units = [each / np.sqrt((each * each).sum(axis=1))[:, None] for each in (x, y)]
    k, l_ = (each @ each.T for each in units)
    upper = np.triu_indices(7, 1)
    shuffled = np.array([np.corrcoef(k[upper], l_[np.ix_(order, order)][upper])[0, 1] for order in ORDERS])
    row = single_row(rsa, x, y)
    assert (row["rsa"], row["chance"]) == (pytest.approx(shuffled[0]), 0)
    assert abs(shuffled.mean()) < 1e-12
