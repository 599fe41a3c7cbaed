"""Numbers that other packages' own tests expect, on the arrays of those tests."""

import json
from math import erfc, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from metric_data import Arrays

from embstore.metrics.ceat import combine
from embstore.metrics.imbalance import imbalance
from embstore.metrics.neighbourhood import intrinsic_dimension
from embstore.metrics.numerics.differences import steiger_test, williams_test

DADAPY = json.loads((Path(__file__).parents[1] / "golden" / "dadapy.json").read_text("utf-8"))
EXPECTED = DADAPY["expected"]


def test_dimension_over_scales_of_dadapy() -> None:
    x = np.array(DADAPY["2gaussians_in_2d"])
    rows: Any = intrinsic_dimension(Arrays(x), estimator="gride")
    columns = {"dimension": "gride", "standard_error": "gride_errors", "distance": "gride_distances"}
    for column, name in columns.items():
        assert [row[column] for row in rows] == pytest.approx(EXPECTED[name], abs=1e-4)
    twonn: Any = intrinsic_dimension(Arrays(x))
    assert twonn["twonn_ls"] == pytest.approx(EXPECTED["twonn"], abs=1e-5)


@pytest.mark.parametrize("columns", EXPECTED["imbalance"])
def test_information_imbalance_of_dadapy(columns: str) -> None:
    x = np.array(DADAPY["3d_gauss_small_z_var"])
    part = x[:, [int(column) for column in columns.split(",")]]
    [row] = imbalance([Arrays(x)], [Arrays(part)], np.arange(len(x)))
    assert [row["imbalance"], row["imbalance_back"]] == pytest.approx(EXPECTED["imbalance"][columns], abs=1e-12)


def test_pooled_effects_have_the_published_p() -> None:
    ces, error = combine(np.array([0.5, 0.8, 0.2, 1.1]), np.array([0.04, 0.09, 0.05, 0.16]))
    assert erfc(ces / error / sqrt(2)) == pytest.approx(0.001128, abs=1e-6)


@pytest.mark.parametrize("test", [williams_test, steiger_test])
def test_negative_correlations_keep_their_sign(test: Any) -> None:
    """Both of the other sign: the difference too, where nlpstats takes absolute values."""
    statistic, p = test(0.4, 0.5, 0.1, 103)
    assert test(-0.4, -0.5, 0.1, 103) == (pytest.approx(-statistic), pytest.approx(p))
    assert test(-0.4, 0.5, 0.1, 103)[1] < 1e-6


@pytest.mark.parametrize("test", [williams_test, steiger_test])
def test_the_same_scores_twice_have_no_test(test: Any) -> None:
    assert np.isnan(test(0.4, 0.4, 1.0, 50)).all()
