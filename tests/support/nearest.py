"""The neighbours of a text by brute force."""

import numpy as np
import pytest


def nearest(texts, x, text, k, keep=lambda _: True):
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


def hits(found, column="text"):
    return list(zip(found[column], found["cosine"], strict=True))


def assert_same(found, right):
    assert [text for text, _ in found] == [text for text, _ in right]
    assert [cosine for _, cosine in found] == pytest.approx(
        [cosine for _, cosine in right], abs=2e-6
    )
