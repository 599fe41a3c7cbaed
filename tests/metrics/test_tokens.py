"""Values of a text against the formulas of the papers' programs, coded here token by token."""

import math

import numpy as np
import pytest
from metric_data import Arrays
from scipy.linalg import svdvals
from scipy.spatial.distance import cosine

from embstore.metrics import METRICS, NotComputable
from embstore.metrics.data import TokenOrder
from embstore.metrics.transforms import fit, parse_transforms

SIZES = [1, 2, 3, 200, *np.random.default_rng(0).integers(1, 201, 196).tolist()]


@pytest.fixture(scope="module")
def texts():
    """200 texts of 1 to 200 tokens, each with a mean that is large beside the spread."""
    rng = np.random.default_rng(1)
    return [(rng.normal(size=(t, 24)) + rng.normal(size=24) * 3).astype(np.float32) for t in SIZES]


def in_order(n, ids=None):
    ids = np.arange(n) if ids is None else ids
    return TokenOrder(np.sort(ids), np.zeros(n, np.int64), np.argsort(ids))


def value(metric, x, **arguments):
    """Return the value of a metric; None if it cannot be computed."""
    try:
        row = METRICS[metric](Arrays(x), **arguments)
    except NotComputable:
        return None
    return row[metric.replace("-", "_")]


def normalized(x):
    """Subtract the mean of the tokens, then divide each by its norm."""
    x = x.astype(np.float64) - x.astype(np.float64).mean(axis=0)
    return np.array([row / np.linalg.norm(row) for row in x])


def entropy(z):
    """−Σ λ ln λ over the eigenvalues of ZᵀZ, or of the smaller ZZᵀ, divided by the trace."""
    gram = z.T @ z if len(z) > z.shape[1] else z @ z.T
    shares = np.linalg.eigvalsh(gram / np.trace(gram))
    return -sum(share * math.log(share) for share in shares if share > 0)


def turning(x, absolute=False):
    """Mean over triples of tokens of the angle between their two steps."""
    angles = []
    for first, second, third in zip(x, x[1:], x[2:], strict=False):
        similarity = 1 - cosine(second - first, third - second)
        angles.append(math.acos(abs(similarity) if absolute else similarity))
    return sum(angles) / len(angles)


def transformed(x):
    return fit(Arrays(x), parse_transforms(["center", "normalize"]))(x)


@pytest.mark.parametrize(
    ("normalization", "largest"),
    [
        ("maximum", lambda t, dim: math.log(min(t, dim))),
        ("log-n", lambda t, dim: math.log(t)),
        ("log-dim", lambda t, dim: math.log(dim)),
        ("raw", lambda t, dim: 1.0),
    ],
)
def test_prompt_entropy_is_the_entropy_of_the_normalised_tokens(texts, normalization, largest):
    n_values = 0
    for x in texts:
        found = value("prompt-entropy", transformed(x), normalization=normalization)
        assert (found is None) == (len(x) < 2)
        if found is not None:
            n_values += 1
            assert found == pytest.approx(entropy(normalized(x)) / largest(*x.shape), abs=1e-6)
            plain = value("prompt-entropy", x, normalization=normalization)
            assert plain == pytest.approx(entropy(x.astype(float)) / largest(*x.shape), abs=1e-6)
    assert n_values > 190


def test_effective_rank_of_uncentred_eigenvalues_is_that_of_diff_erank(texts):
    for x in texts:
        found = value("effective-rank", transformed(x), variant="uncentred-eigenvalues")
        assert (found is None) == (len(x) < 2)
        if found is not None:
            z = normalized(x)
            shares = svdvals(z.T @ z / len(z) / np.trace(z.T @ z / len(z)))
            expected = math.exp(-sum(share * math.log(share) for share in shares if share > 1e-15))
            assert found == pytest.approx(expected, rel=1e-6)
            raw = value("prompt-entropy", transformed(x), normalization="raw")
            assert math.exp(raw) == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("variant", ["signed", "absolute"])
def test_curvature_is_the_mean_turning_angle(texts, variant):
    for x in texts:
        found = value("curvature", x, order=in_order(len(x)), variant=variant)
        assert (found is None) == (len(x) < 3)
        if found is not None:
            expected = turning(x.astype(np.float64), variant == "absolute")
            assert found == pytest.approx(expected, abs=1e-6)


def test_curvature_of_information_flow_is_of_centred_and_scaled_states(texts):
    for x in texts:
        found = value("curvature", transformed(x), order=in_order(len(x)), variant="absolute")
        if found is not None:
            assert found == pytest.approx(turning(normalized(x), absolute=True), abs=1e-6)


def test_the_order_is_that_of_the_text_and_not_of_the_ids():
    x = np.random.default_rng(2).normal(size=(40, 6))
    ids = np.random.default_rng(3).permutation(40) * 7
    shuffled = METRICS["curvature"](Arrays(x, ids=ids), order=in_order(40, ids))["curvature"]
    assert shuffled == pytest.approx(turning(x), abs=1e-12)
    assert shuffled != pytest.approx(turning(x[np.argsort(ids)]), abs=1e-3)


def test_straight_and_back_and_forth():
    straight = np.outer(np.arange(9.0), [1, 2, -1])
    assert value("curvature", straight, order=in_order(9)) == pytest.approx(0, abs=1e-7)
    there_and_back = straight[[0, 3, 1, 4, 2, 5]]
    found = [
        value("curvature", there_and_back, order=in_order(6), variant=variant)
        for variant in ("signed", "absolute")
    ]
    assert found == pytest.approx([math.pi, 0], abs=1e-7)


def test_what_has_no_curvature_says_why():
    x = np.random.default_rng(2).normal(size=(6, 4))
    order = in_order(6)
    curvature = METRICS["curvature"]
    with pytest.raises(NotComputable, match="fewer than three tokens"):
        curvature(Arrays(x[:2]), order=order)
    with pytest.raises(NotComputable, match="equal vectors in succession: a step without a dir"):
        curvature(Arrays(x[[0, 1, 1, 2]]), order=order)
    of_two = TokenOrder(order.ids, order.ids // 3, order.ranks)
    with pytest.raises(NotComputable, match="tokens of 2 texts: by='context' takes each"):
        curvature(Arrays(x), order=of_two)
    assert curvature(Arrays(x[:3]), order=of_two)["curvature"] == pytest.approx(turning(x[:3]))
    with pytest.raises(NotComputable, match="vectors of one dimension"):
        METRICS["prompt-entropy"](Arrays(x[:, :1]))
