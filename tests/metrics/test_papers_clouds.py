"""Numbers of clouds of vectors as the code of papers computes them, written down here from its
formulas.

AIRI-Institute/LLM-Microscope (``LLM_microscope.ipynb`` at b6db939), saahithjanapati/
intrinsic-dimension-of-learning-paradigms (``calculate_id.py`` at de35a47), Srgbhwwvb/
anisotropy_in_LLMs (``intrinsic.py`` at eae028d), RitAreaSciencePark/token_geometry (``src/utils.py``
at 847e8ed) and mklabunde/resi (``linear_regression.py``, ``nearest_neighbor.py`` at 24ab9e5).
"""

import numpy as np
import pytest
from metric_data import Arrays, centred, single_row
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from embstore.metrics import METRICS
from embstore.metrics.comparison import overlap
from embstore.metrics.predictivity import predictivity

N, DIM = 300, 12


@pytest.fixture(scope="module")
def layers():
    """Two layers of clustered vectors, one in part a linear map of the other."""
    rng = np.random.default_rng(5)
    x = 2 * rng.normal(size=(5, DIM))[rng.integers(0, 5, N)] + rng.normal(size=(N, DIM)) + 3
    y = x @ rng.normal(size=(DIM, DIM)) + 4 * rng.normal(size=(N, DIM))
    return x, y


def sorted_distances(x):
    return np.sort(cdist(x, x), axis=1)[:, 1:]


def value(metric, column, x, **parameters):
    found = METRICS[metric](Arrays(x), **parameters)
    [row] = found if isinstance(found, list) else [found]
    return row[column]


def test_llm_microscope_anisotropy(layers):
    x, _ = layers
    variances = np.linalg.svd(centred(x), compute_uv=False) ** 2
    assert value("spectrum", "top_share", x, k=1) == pytest.approx(variances[0] / variances.sum())


def test_llm_microscope_intrinsic_dimension_is_of_a_fifth_of_the_points(layers):
    x, _ = layers
    near = sorted_distances(centred(x) / np.linalg.norm(centred(x), axis=1).mean())
    log_ratios = np.log(np.sort(near[:, 1] / near[:, 0]))[: N // 5]
    y = -np.log(1 - np.arange(1, N // 5 + 1) / N)
    expected = (log_ratios * y).sum() / (log_ratios**2).sum()
    assert value("intrinsic-dimension", "dimension", x, discard=0.8) == pytest.approx(expected)
    assert value("intrinsic-dimension", "dimension", x) != pytest.approx(expected, rel=0.01)


def test_llm_microscope_linearity(layers):
    x, y = (centred(layer) / np.linalg.norm(centred(layer)) for layer in layers)
    residual = ((x @ np.linalg.pinv(x) @ y - y) ** 2).sum()
    assert single_row(predictivity, *layers)["r2_in_sample"] == pytest.approx(1 - residual)


def test_resi_linear_regression(layers):
    x, y = map(centred, layers)
    base = x @ np.linalg.inv(sqrtm(x.T @ x))
    expected = np.linalg.norm(base.T @ y) ** 2 / np.linalg.norm(y) ** 2
    assert single_row(predictivity, *layers)["r2_in_sample"] == pytest.approx(expected)


def test_resi_jaccard_is_of_vectors_that_are_not_centred(layers):
    def expected(*both):
        lists = [
            [set(row[1:11]) for row in np.argsort(cdist(each, each, "cosine"), axis=1)]
            for each in both
        ]
        return np.mean([len(a & b) / len(a | b) for a, b in zip(*lists, strict=True)])

    found = single_row(overlap, *layers, k=10)["jaccard"]
    assert found == pytest.approx(expected(*layers))
    assert found != pytest.approx(expected(*map(centred, layers)), abs=1e-3)


def test_twonn_and_mle_of_learning_paradigms(layers):
    x, _ = layers
    near = sorted_distances(x)
    kept = int(0.9 * N)
    log_ratios = np.log(np.sort(near[:, 1] / near[:, 0]))[:kept]
    y = -np.log(1 - np.arange(1, kept + 1) / N)
    expected = (log_ratios * y).sum() / (log_ratios**2).sum()
    assert value("intrinsic-dimension", "dimension", x) == pytest.approx(expected)
    local = 1 / np.log(near[:, 24:25] / near[:, :24]).mean(axis=1)
    found = value("intrinsic-dimension", "dimension", x, estimator="mle", neighbours=25)
    assert found == pytest.approx(1 / (1 / local).mean())  # theirs is local.mean()
    assert found < local.mean() - 0.1


def test_mle_of_anisotropy_in_llms(layers):
    x, _ = layers
    near = sorted_distances(x)[:, :10]
    local = 9 / np.log(near[:, -1:] / near[:, :-1]).sum(axis=1)
    found = value("intrinsic-dimension", "dimension", x, estimator="mle", neighbours=10)
    assert found == pytest.approx(len(local) / (1 / local).sum())


def test_mean_cosine_of_the_geometry_of_tokens_has_the_tokens_themselves(layers):
    x, _ = layers
    with_themselves = (1 - cdist(x, x, "cosine")).mean()
    among_others = value("anisotropy", "anisotropy", x)
    assert with_themselves == pytest.approx((1 + (N - 1) * among_others) / N)
