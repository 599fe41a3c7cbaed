"""Vectors in memory as a metric sees them, and the plain definitions that metrics are held
against.
"""

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, pdist

from embstore.base.summary import Summary
from embstore.metrics.data import ItemLabels, Pairs, Words


class Arrays:
    """Some blocks of vectors of one layer (the protocol ``LayerData``).

    Ids count up from 0 unless they are given, one for each row of the blocks in their order, which
    need not ascend.
    """

    def __init__(self, *blocks, ids=None):
        self.blocks = blocks
        self.dim = blocks[0].shape[1]
        self.dims = np.arange(self.dim)
        self.ids = np.arange(sum(map(len, blocks))) if ids is None else np.asarray(ids, np.int64)
        self.n_reads = 0

    @property
    def summary(self):
        total = Summary.empty(self.dim)
        for block in self.blocks:
            total = total + Summary.of(block)
        return total

    def map(self, function):
        self.n_reads += 1
        return (function(block) for block in self.blocks if len(block))

    def map_with_ids(self, function):
        self.n_reads += 1
        ends = np.cumsum([len(block) for block in self.blocks])
        for block, ids in zip(self.blocks, np.split(self.ids, ends[:-1]), strict=True):
            if len(block):
                order = np.argsort(ids)
                yield function(ids[order], block[order])

    def gather(self, ids=None):
        order = np.argsort(self.ids)
        if ids is not None:
            order = order[np.isin(self.ids[order], ids)]
        return self.ids[order], np.concatenate(self.blocks)[order]

    def neighbours(self, k, distance="cosine", *, distinct=False, only=None):
        """By brute force in float64. Zero vectors have no cosine, and are left out of it."""
        ids, x = self.gather(only)
        if distance == "cosine":
            ids, x = ids[x.any(axis=1)], x[x.any(axis=1)]
        if distinct:
            first = sorted(
                {tuple(row): place for place, row in reversed(list(enumerate(x.tolist())))}.values()
            )
            ids, x = ids[first], x[first]
        return (ids, *plain_neighbours(x, k, distance))

    def neighbours_of(self, items, k, only):
        ids, x = self.gather(only)
        rows = np.searchsorted(ids, items)
        return tuple(values[rows] for values in plain_neighbours(x, k, "cosine"))


seeds = st.integers(0, 2**32 - 1)


@st.composite
def clouds(draw, min_n=2, min_dim=2):
    """Clouds with axes of different lengths round a mean that may be large; fewer vectors than
    dimensions or more.
    """
    rng = np.random.default_rng(draw(seeds))
    n, dim = draw(st.integers(min_n, 40)), draw(st.integers(min_dim, 30))
    x = rng.normal(size=(n, dim)) * rng.uniform(0.1, 3, dim) + draw(
        st.sampled_from([0.0, 1.0, 30.0])
    )
    stored = x.astype(draw(st.sampled_from([np.float16, np.float32, np.float64])))
    assume((stored != stored[0]).any())  # a few values of float16 may be equal
    return stored.astype(draw(st.sampled_from([np.float32, np.float64])))


def split(x, data):
    return Arrays(*np.split(x, sorted(data.draw(st.lists(st.integers(0, len(x)), max_size=3)))))


def labelled(codes, n_classes=3, **more):
    codes = np.asarray(codes, np.int64)
    return ItemLabels(np.arange(len(codes)), codes, tuple("abcdefghij"[:n_classes]), **more)


def close(value):
    return pytest.approx(value, abs=1e-9, rel=0)


def plain_neighbours(x, k, distance):
    """Row by row: all values to all rows, without the row itself, sorted by (value, position)."""
    wide = x.astype(np.float64)
    n = len(wide)
    width = max(0, min(k, n - 1))
    positions, values = np.empty((n, width), np.int64), np.empty((n, width))
    norms = np.sqrt((wide * wide).sum(axis=1))
    for i in range(n):
        if distance == "cosine":
            row = np.minimum(1.0, (wide * wide[i]).sum(axis=1) / (norms * norms[i]))
        else:
            row = np.sqrt(((wide - wide[i]) ** 2).sum(axis=1))
        order = np.lexsort((np.arange(n), -row if distance == "cosine" else row))
        positions[i] = order[order != i][:width]
        values[i] = row[positions[i]]
    return positions, values


def mean_cosine(x):
    """The mean over all pairs, by scipy's distance of each pair, in float64."""
    return float(np.mean(1 - pdist(x.astype(np.float64), "cosine")))


def centred(x):
    wide = x.astype(np.float64)
    return wide - wide.mean(axis=0)


def plain_intra_sentence(x):
    wide = x.astype(np.float64)
    return float(np.mean(1 - cdist(wide.mean(axis=0, keepdims=True), wide, "cosine")))


def plain_mev(x, *, is_centred=False):
    squares = (
        np.linalg.svd(centred(x) if is_centred else x.astype(np.float64), compute_uv=False) ** 2
    )
    return float(squares[0] / squares.sum())


def single_row(metric, x, y, **settings):
    """The row of two layers."""
    [row] = metric([Arrays(x)], [Arrays(y)], np.arange(len(x)), **settings)
    return row


def gram_hsic1(x, y):
    """Song et al. (2012), eq. 5, by its letter."""
    n, ones = len(x), np.ones(len(x))
    k, l_ = (x @ x.T, y @ y.T)
    np.fill_diagonal(k, 0), np.fill_diagonal(l_, 0)
    totals = (ones @ k @ ones) * (ones @ l_ @ ones) / ((n - 1) * (n - 2))
    return float((np.trace(k @ l_) + totals - 2 / (n - 2) * (ones @ k @ l_ @ ones)) / (n * (n - 3)))


def gram_hsic(x, y):
    """Kornblith et al. (2019), eq. 3, by its letter."""
    h = np.eye(len(x)) - 1 / len(x)
    return float(np.trace(x @ x.T @ h @ y @ y.T @ h)) / (len(x) - 1) ** 2


def gram_cka(x, y, variant="unbiased"):
    hsic = {"unbiased": gram_hsic1, "biased": gram_hsic}[variant]
    wide = x.astype(np.float64), y.astype(np.float64)
    # Both are the same for shifted vectors, and keep more digits.
    wide = tuple(x - x.mean(axis=0) for x in wide)
    return hsic(*wide) / np.sqrt(hsic(wide[0], wide[0]) * hsic(wide[1], wide[1]))


def triangles(x, y):
    return pdist(x.astype(np.float64), "cosine"), pdist(y.astype(np.float64), "cosine")


def neighbour_sets(x, k):
    distances = cdist(x.astype(np.float64), x.astype(np.float64), "cosine")
    np.fill_diagonal(distances, np.inf)
    return [set(row.tolist()) for row in np.argsort(distances, axis=1, kind="stable")[:, :k]]


def words(*ids):
    return Words(np.array(ids, np.int64), tuple(f"word{item}" for item in ids))


def pairs_of(left, right, score):
    left, right = np.asarray(left, np.int64), np.asarray(right, np.int64)
    texts = [tuple(f"text{item}" for item in side.tolist()) for side in (left, right)]
    return Pairs(left, right, np.asarray(score, np.float64), *texts)
