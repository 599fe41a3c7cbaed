"""Vectors that make trouble, for every metric of a layer: no NaN, no exception, a reason where
there is no value.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from kept_columns import write_columns
from synthetic import synthetic_store

from embstore.metrics import METRICS, Column, Metric

DIM = 4
SOME = np.random.default_rng(0).normal(size=(8, DIM))
VECTORS = {
    "one": SOME[:1],
    "two": SOME[:2],
    "three": SOME[:3],
    "two opposite": np.array([[1.0, 0, 0, 0], [-1, 0, 0, 0]]),
    "equal": np.full((5, DIM), 0.3),
    "zero": np.zeros((5, DIM)),
    "one zero": SOME * (np.arange(8) > 0)[:, None],
    "all but one zero": SOME * (np.arange(8) == 0)[:, None],
    "duplicates": np.concatenate([SOME[:4], SOME[:4]]),
    "a line": np.outer(np.arange(1, 9), SOME[0]),
    "orthogonal": np.eye(DIM),
    "huge": SOME * 1e18,
    "tiny": SOME * 1e-25,
    "one dimension": SOME[:, :1],
}
OPTIONS: Mapping[str, list[dict[str, Any]]] = {
    "anisotropy": [{"std": True}, {"std": True, "variant": "centred"}],
    "effective-rank": [
        {"variant": name} for name in ("uncentred", "centred", "eigenvalues", "rankme")
    ],
    "isoscore": [{}, {"zeta": 0.2}, {"zeta": 1.0}],
    "spectrum": [{}, {"variant": "uncentred"}],
    "hubness": [{"k": k, "distance": name} for k in (1, 10) for name in ("cosine", "euclidean")],
    "overlap": [{"k": 1}, {"k": 10}],
    "cka": [{}, {"variant": "biased"}],
    "rsa": [{}, {"correlation": "spearman"}],
    "cknna": [{"k": 2}, {"k": 10}],
    "imbalance": [{"k": k, "distance": name} for k in (1, 3) for name in ("cosine", "euclidean")],
    "predictivity": [{}, {"folds": 2}],
}
# Which have columns that are empty by themselves: only that no value is out of its range.
FURTHER: list[tuple[str, dict[str, Any]]] = [
    *(("intrinsic-dimension", {"estimator": name}) for name in ("gride", "mle")),
    ("intrinsic-dimension", {"estimator": "mle", "neighbours": 2}),
    *(
        (
            name,
            {"permutations": 3, "over": over} | ({"k": 2} if name in ("overlap", "cknna") else {}),
        )
        for name in ("cka", "rsa", "overlap", "procrustes", "cknna", "imbalance", "predictivity")
        for over in ("pair", "max")
    ),
    ("rsa", {"correlation": "spearman", "permutations": 3}),
    ("knn", {"label": "kind", "k": 1}),
    ("clusters", {"label": "kind", "runs": 1}),
    ("probe", {"label": "kind", "folds": 2, "control": False}),
    ("probe", {"label": "number", "folds": 2}),
    ("axis", {"positive": ["text0"], "negative": ["text1"], "k": 1, "missing": "skip"}),
    (
        "correlate",
        {"column": "number", "value": "axis", "positive": ["text0"], "negative": ["text1"]},
    ),
]
OF_A_LAYER = [
    each
    for each in METRICS.values()
    if each.needs in ("summary", "vectors", "neighbours", "layers")
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "transforms"),
    [
        *((case, "") for case in VECTORS),
        *((case, "abtt:1") for case in ("two", "three", "equal", "one zero", "huge")),
    ],
)
def test_every_metric_of_a_layer_gives_values_or_reasons(tmp_path, case, transforms):
    x = VECTORS[case]
    made = synthetic_store(
        tmp_path / "store",
        dim=x.shape[1],
        n=len(x),
        n_blocks=1,
        top_form=None,
        vectors=np.stack([x, 2 * x[::-1]]),
    )
    store = made.store
    for metric in OF_A_LAYER:
        for options in OPTIONS.get(metric.name, [{}]):
            for row in store.query(metric.name, transforms=transforms.split(), **options):
                check(metric, row)
                assert 0 <= row["n"] <= len(x)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in VECTORS if case != "one"])
def test_labels_scales_shuffles_and_axes_stay_in_range(tmp_path, case):
    x = VECTORS[case]
    made = synthetic_store(
        tmp_path / "store",
        dim=x.shape[1],
        n=len(x),
        n_blocks=1,
        top_form=None,
        vectors=np.stack([x, 2 * x[::-1]]),
    )
    write_columns(
        made,
        {"kind": ["AB"[n % 2] for n in range(len(x))], "number": [n / 7 for n in range(len(x))]},
    )
    for name, options in FURTHER:
        table = made.store.query(name, **options)
        columns = METRICS[name].with_columns_for(METRICS[name].check(options)).columns
        for row in table.rows:
            first = next(column.name for column in METRICS[name].columns if column.type == "number")
            assert (
                row["reason"] or row[first] is not None or name in ("probe", "intrinsic-dimension")
            )
            check_values(name, columns, row)


def check(metric: Metric, row: Mapping[str, Any]) -> None:
    check_values(metric.name, metric.columns, row)
    for column in metric.columns:
        values = row[column.name] if isinstance(row[column.name], list) else [row[column.name]]
        assert row["reason"] or None not in values, (metric.name, column.name)


def check_values(metric: str, columns: Sequence[Column], row: Mapping[str, Any]) -> None:
    for column in columns:
        values = row[column.name] if isinstance(row[column.name], list) else [row[column.name]]
        for value in values:
            assert type(value) in (float, int, str, bool, type(None)), (metric, column.name, value)
            if isinstance(value, float):
                assert math.isfinite(value)
            if isinstance(value, float | int):
                assert column.minimum is None or value >= column.minimum, (metric, column.name)
                assert column.maximum is None or value <= column.maximum, (metric, column.name)
