"""Numbers that were computed elsewhere, and must never change."""

import json
from pathlib import Path

import numpy as np
import pytest
from metric_data import Arrays
from synthetic import synthetic_store

from embstore.metrics.cosine import anisotropy, rogue_dims
from embstore.metrics.norms import norms

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics.json").read_text("utf-8"))
EXPECTED = GOLDEN["expected"]


def x() -> np.ndarray:
    i, j = np.mgrid[0:12, 0:5]
    return np.sin(0.9 * (i + 1) * (j + 1) + 0.37 * (i + 1) ** 2) + 3 * (j == 2)


def close(value: object) -> object:
    return pytest.approx(value, abs=GOLDEN["tolerance"], rel=0)


def test_golden_metrics() -> None:
    data = Arrays(x()[:5], x()[5:])
    assert anisotropy(data)["anisotropy"] == close(EXPECTED["self_similarity"])
    assert anisotropy(data, variant="centred")["anisotropy"] == close(EXPECTED["self_similarity_mean_centred"])
    found = norms(data, top=2)
    assert found["mean"] == close(EXPECTED["mean_norm"])
    assert found["top_share"] == close(EXPECTED["top2_share_signed_ratio_of_means"])
    assert found["top_share_abs"] == close(EXPECTED["top2_share_abs_ratio_of_means"])
    rogue = rogue_dims(data, k=5)
    parts = dict(zip(rogue["dims"], rogue["contributions"], strict=True))
    assert [parts[dim] for dim in range(5)] == close(EXPECTED["cosine_contribution_per_dim"])


def test_golden_metrics_through_a_store_of_float32(tmp_path: Path) -> None:
    made = synthetic_store(tmp_path, dim=5, n_blocks=0, top_form=None, n_shards=3, n=12, vectors=x()[None])
    rounding = 1e-7  # the matrix is stored in float32
    [row] = made.store.query("anisotropy")
    assert row["anisotropy"] == pytest.approx(EXPECTED["self_similarity"], abs=rounding)
    [row] = made.store.query("anisotropy", variant="centred")
    assert row["anisotropy"] == pytest.approx(EXPECTED["self_similarity_mean_centred"], abs=rounding)
    [row] = made.store.query("norms", top=2)
    assert row["top_share"] == pytest.approx(EXPECTED["top2_share_signed_ratio_of_means"], abs=rounding)
    assert row["top_share_abs"] == pytest.approx(EXPECTED["top2_share_abs_ratio_of_means"], abs=rounding)


def test_the_golden_numbers_are_those_of_the_reference(shared: Path) -> None:
    reference = json.loads((shared / "reference" / "metrics_reference.json").read_text("utf-8"))["expected"]
    assert {name: reference[name] for name in EXPECTED} == EXPECTED
