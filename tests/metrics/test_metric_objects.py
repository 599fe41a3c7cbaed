"""Metrics that are given as objects: built-in ones, and a caller's own that no package registers."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from embstore import Store, Stores
from embstore.metrics import METRICS, Column, LayerData, Metric, Parameter
from embstore.metrics.plugins import PluginError


def median_norm(data: LayerData, *, power: float) -> dict[str, Any]:
    norms = list(data.map(lambda block: np.linalg.norm(block.astype(np.float64), axis=1)))
    return {"norm": float(np.median(np.concatenate(norms))) ** power, "n": data.summary.n}


OWN = Metric(
    name="median-norm", help="Median of the norms.", function=median_norm, formula="median ‖x‖", citation="own",
    columns=(Column("norm", "number", "the median", minimum=0),), parameters=(Parameter("power", 1.0, "Exponent."),),
)  # fmt: skip


def test_a_built_in_metric_may_be_given_by_name_or_as_an_object(make_store):
    store = make_store(n=20, index=False).store
    assert store.query(METRICS["norms"]).to_pylist() == store.query("norms").to_pylist()
    assert str(Store.explain(METRICS["norms"])) == str(Store.explain("norms"))


def test_an_own_metric_is_computed_explained_and_not_stored(make_store, tmp_path):
    made = make_store(n=20, index=False)
    table = made.store.query(OWN, layers="0,1", power=2)
    for row in table:
        norms = np.linalg.norm(made.vectors[row["layer"]].astype(np.float64), axis=1)
        assert row["norm"] == pytest.approx(np.median(norms) ** 2)
        assert (row["n"], row["power"]) == (20, 2.0)
    assert not [*made.root.glob("answers/*")]
    assert "median ‖x‖" in str(Store.explain(OWN))
    make_store("other", n=5, index=False)
    both = Stores([made.root, tmp_path / "other"]).query(OWN, layers=0)
    assert both["n"] == [20, 5]


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (replace(OWN, name="norms"), "embstore has another metric of that name"),
        (replace(OWN, name="No name"), "declared wrongly"),
        (median_norm, "no embstore.metrics.Metric"),
        (replace(OWN, function=lambda data, power: {"n": 1}), "returned a row without 'norm'"),
        (replace(OWN, function=lambda data, power: 1 / 0), "division by zero"),
    ],
)
def test_what_is_no_metric_is_refused(make_store, metric, reason):
    with pytest.raises(PluginError, match=reason):
        make_store(n=5, index=False).store.query(metric)
