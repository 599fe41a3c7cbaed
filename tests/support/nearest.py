"""The neighbours of a text by brute force."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from embstore.base.table import Table


def nearest(
    texts: Sequence[str],
    x: np.ndarray,
    text: str,
    k: int,
    keep: Callable[[str], bool] = lambda _: True,
) -> list[tuple[str, float]]:
    """Other texts that are kept, by their cosine with one in float64, best first."""
    units = x.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    cosines = (units @ units[list(texts).index(text)]).tolist()
    hits = [
        (other, cosine)
        for other, cosine in zip(texts, cosines, strict=True)
        if other != text and keep(other)
    ]
    return sorted(hits, key=lambda hit: -hit[1])[:k]


def hits(found: Table, column: str = "text") -> list[tuple[str, float]]:
    return list(zip(found[column], found["cosine"], strict=True))


def assert_same(found: list[tuple[str, float]], right: list[tuple[str, float]]) -> None:
    assert [text for text, _ in found] == [text for text, _ in right]
    assert [cosine for _, cosine in found] == pytest.approx(
        [cosine for _, cosine in right], abs=2e-6
    )
