"""Simulate the tests of differences between layers, and the intervals: of ``knn`` and ``probe``,
and of metrics of a set of vectors.

    python benchmarks/error_rates.py [--repeats 400] [--only knn|probe|r2|sets]
    [--items 60 120 420] > error_rates.jsonl
    python benchmarks/error_rates.py --only units --repeats 2000 --items 8 12 25 60
    python benchmarks/error_rates.py --only texts --repeats 300 --items 12 25 60

Layers are drawn anew in each repeat, independent of each other and alike: normally distributed
vectors of 16 dimensions, of which the first also has the class (or the number) if there is a
signal. No layer is better than another, so that each difference with p ≤ .05 is an error, and the
expectation of a number is its mean over layers and repeats. Every number is queried from a store,
as users do. A line of JSON for each cell: the share of repeats in which a named layer of two is
found to differ (p), and in which any of seven is found to differ from the best (p_holm), and the
share of intervals that hold the expectation.

For metrics of a set of vectors (``--only sets``) there are two layers over the same items, normally
distributed in 16 dimensions and correlated by --correlation: with equal variances, with a common
mean too, or with variances that decay as 1/i. The expectation of ``population`` is known.

Of units (``--only units``) there are seven layers too, and their numbers are not queried: means of
numbers of each unit, shares of ones, and correlations with other numbers. ``--only texts`` queries
means over texts (``--average``).
"""

import argparse
import json
import math
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
import numpy as np
from kept_columns import write_columns
from synthetic import Synthetic, synthetic_store

from embstore import Store
from embstore.metrics import probe
from embstore.metrics.numerics.differences import holm
from embstore.metrics.numerics.estimates import Estimate, compare_estimates
from embstore.metrics.numerics.statistics import wilson_interval
from embstore.metrics.numerics.units import Correlation, mean_of

N_LAYERS, DIM, LEVEL = 7, 16, 0.05
STRENGTH = 1e-2
"""Regularisation of the probes, which is chosen in inner folds only with --chosen: that takes 16
times as long.
"""


def drawn(
    folder: Path, n: int, values: np.ndarray, signal: float, rng: np.random.Generator
) -> Synthetic:
    """Write a store of layers that know the values alike."""
    vectors = rng.normal(size=(N_LAYERS, n, DIM))
    vectors[:, :, 0] += signal * values
    return synthetic_store(
        folder,
        n=n,
        dim=DIM,
        n_blocks=N_LAYERS - 1,
        top_form=None,
        vectors=vectors.astype(np.float32),
        index=False,
    )


def query_rows(
    store: Store, metric: str, layers: str, versus: str, **options: Any
) -> list[dict[str, Any]]:
    """Return the rows of a metric of the label."""
    return list(
        store.query(metric, label="y", layers=layers, versus=versus, cache=False, **options).rows
    )


def repeated(
    repeats: int, n: int, signal: float, share: float | None, seed: int
) -> Iterator[Store]:
    """Yield stores with a label: a class of this share of the items, or a number if there is no
    share.
    """
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        values = (
            rng.normal(size=n)
            if share is None
            else (rng.permutation(n) < share * n).astype(np.float64)
        )
        with tempfile.TemporaryDirectory() as folder:
            made = drawn(Path(folder) / "store", n, values, signal, rng)
            write_columns(
                made,
                {"y": values.tolist() if share is None else np.where(values, "a", "b").tolist()},
            )
            yield made.store


def cell(rows: dict[str, list[list[dict[str, Any]]]], value: str) -> dict[str, Any]:
    """Return the rates of errors of a cell, given the rows of each repeat for two layers and for
    all.
    """
    found: dict[str, Any] = {}
    values = [row[value] for tables in rows.values() for table in tables for row in table]
    mean = float(np.mean(values))
    intervals = [(row["low"], row["high"]) for row in (table[0] for table in rows["two"])]
    found["repeats"] = len(rows["two"])
    found["value"] = round(mean, 3)
    found["named"] = float(np.mean([table[0]["p"] <= LEVEL for table in rows["two"]]))
    if rows["all"]:
        smallest = [
            min(row["p_holm"] for row in table if row["p_holm"] is not None)
            for table in rows["all"]
        ]
        found["best"] = float(np.mean(np.array(smallest) <= LEVEL))
    found["coverage"] = float(np.mean([low <= mean <= high for low, high in intervals]))
    found["width"] = round(float(np.mean([high - low for low, high in intervals])), 3)
    return found


SETS: dict[str, tuple[str, dict[str, Any]]] = {
    "mean": ("norms", {"top": 0}),
    "anisotropy": ("anisotropy", {}),
    "uniformity": ("uniformity", {}),
    "participation_ratio": ("participation-ratio", {}),
    "isoscore": ("isoscore", {}),
    "effective_rank": ("effective-rank", {}),
    "twonn_ls": ("intrinsic-dimension", {}),
    "dimension": ("intrinsic-dimension", {"estimator": "mle"}),
    "robin_hood": ("hubness", {}),
}
"""Metrics of a set of vectors, by the column that is compared."""
SHAPES = ("isotropic", "mean", "decaying")


def correlated(n: int, shape: str, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Return two layers (2, n, dim) of one distribution, correlated item by item."""
    first, other = rng.normal(size=(2, n, DIM))
    second = correlation * first + np.sqrt(1 - correlation**2) * other
    vectors = np.stack([first, second])
    if shape == "decaying":
        vectors /= np.sqrt(np.arange(1, DIM + 1))
    return vectors + 0.5 * (shape == "mean")


def rates_of_sets(repeats: int, n: int, shape: str, correlation: float) -> Iterator[dict[str, Any]]:
    """Yield the rates of errors of each metric of a set of vectors."""
    tables: dict[str, list[list[dict[str, Any]]]] = defaultdict(list)
    for repeat in range(repeats):
        rng = np.random.default_rng([n, SHAPES.index(shape), round(100 * correlation), repeat])
        vectors = correlated(n, shape, correlation, rng).astype(np.float32)
        with tempfile.TemporaryDirectory() as folder:
            made = synthetic_store(
                Path(folder) / "store",
                n=n,
                dim=DIM,
                n_blocks=1,
                top_form=None,
                vectors=vectors,
                index=False,
            )
            for column, (metric, options) in SETS.items():
                table = made.store.query(metric, versus="1", cache=False, **options)
                tables[column].append(list(table.rows))
    for column, rows in tables.items():
        about = {"column": column, "n": n, "shape": shape, "correlation": correlation}
        yield about | cell({"two": rows, "all": []}, column)
    variances = 1 / np.arange(1, DIM + 1) if shape == "decaying" else np.ones(DIM)
    true = float(variances.sum() ** 2 / (variances**2).sum())
    intervals = [
        (row["population_low"], row["population_high"])
        for table in tables["participation_ratio"]
        for row in table[:1]
    ]
    coverage = float(np.mean([low <= true <= high for low, high in intervals]))
    about = {"column": "population", "n": n, "shape": shape, "correlation": correlation}
    yield about | {"repeats": repeats, "value": round(true, 3), "coverage": coverage}


UNITS = ("normal", "log-normal", "t3", "binary", "spearman", "pearson")


def estimates_of_units(
    kind: str, n: int, rho: float, between: float, rng: np.random.Generator
) -> list[Estimate]:
    """Return the estimates of seven layers that are alike: correlated by ``between`` unit by unit,
    and by ``rho`` with what they are held against.
    """
    gold, common, own = rng.normal(size=n), rng.normal(size=n), rng.normal(size=(N_LAYERS, n))
    values = rho * gold + np.sqrt(between - rho**2) * common + np.sqrt(1 - between) * own
    if kind in ("spearman", "pearson"):
        nouns = ("units", "values", "scores")
        return [
            Correlation(np.arange(n), each, gold, kind, np.zeros(n), nouns).estimate()
            for each in values
        ]
    shapes = {
        "log-normal": lambda: np.exp(values),
        "t3": lambda: values / np.sqrt(rng.chisquare(3, size=n) / 3),
        "binary": lambda: (values > -0.5).astype(float),
        "normal": lambda: values,
    }
    is_share = kind == "binary"
    return [mean_of(np.arange(n), each, are_shares=is_share) for each in shapes[kind]()]


def rates_of_units(
    repeats: int, kind: str, n: int, rho: float, between: float
) -> Iterator[dict[str, Any]]:
    """Yield the shares of two layers found to differ, of seven of which any differs from the best,
    and of intervals that hold the truth.
    """
    truths = {
        "log-normal": math.exp(0.5),
        "binary": 0.5 * (1 + math.erf(0.5 / math.sqrt(2))),
        "spearman": 6 / math.pi * math.asin(rho / 2),
        "pearson": rho,
    }
    truth = truths.get(kind, 0.0)
    found = []
    for repeat in range(repeats):
        rng = np.random.default_rng(
            [n, UNITS.index(kind), *(round(100 * x) for x in (rho, between)), repeat]
        )
        layers = estimates_of_units(kind, n, rho, between, rng)
        if not all(math.isfinite(each.value) for each in layers):
            continue  # a correlation of 1 has no interval and no test
        best = max(range(N_LAYERS), key=lambda layer: layers[layer].value)
        pairs = list(combinations(range(N_LAYERS), 2))
        p = np.array([compare_estimates(layers[a], layers[b]).p for a, b in pairs])
        of_best = holm(p)[[best in pair for pair in pairs]]
        low, high = layers[0].interval()
        if kind == "binary":
            low, high = wilson_interval(layers[0].value, n)
        found.append((p[0] <= LEVEL, of_best.min() <= LEVEL, low <= truth <= high))
    named, any_best, coverage = np.mean(found, axis=0).tolist()
    about = {"kind": kind, "n": n, "rho": rho, "between": between, "repeats": len(found)}
    yield about | {"named": named, "best": any_best, "coverage": coverage}


def rates_of_texts(repeats: int, n: int) -> dict[str, Any]:
    """Return the same for means over n texts of eight items, which are queried from stores."""
    rows: dict[str, list[list[dict[str, Any]]]] = {"two": [], "all": []}
    for repeat in range(repeats):
        rng = np.random.default_rng([n, 5, repeat])
        lengths = (rng.normal(size=(N_LAYERS, n)) + rng.normal(size=n)) / 2 + 5
        vectors = rng.normal(size=(N_LAYERS, 8 * n, DIM))
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
        vectors *= np.repeat(lengths, 8, axis=1)[:, :, None]
        with tempfile.TemporaryDirectory() as folder:
            made = synthetic_store(
                Path(folder) / "store",
                n=8 * n,
                dim=DIM,
                n_blocks=N_LAYERS - 1,
                top_form=None,
                vectors=vectors.astype(np.float32),
                index=False,
            )
            write_columns(made, {"text_of": [f"text {item // 8}" for item in range(8 * n)]})
            for name, layers, versus in (("two", "0,1", "1"), ("all", "all", "best")):
                options = {"layers": layers, "versus": versus, "cache": False}
                table = made.store.query("norms", by="text_of", average=True, **options)
                rows[name].append(list(table.rows))
    return {"column": "mean over texts", "n": n} | cell(rows, "mean")


def main() -> None:
    """Print the requested cells."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--only", choices=("knn", "probe", "r2", "sets", "units", "texts"))
    parser.add_argument("--items", type=int, nargs="+", default=[60, 120, 420])
    parser.add_argument("--signals", type=float, nargs="+", default=[0.0, 1.5])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 0.1])
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--correlation", type=float, nargs="+", default=[0.0, 0.8])
    parser.add_argument(
        "--all-layers", action="store_true", help="Compare probes of seven layers too."
    )
    parser.add_argument(
        "--chosen", action="store_true", help="Choose the regularisation of probes in inner folds."
    )
    options = parser.parse_args()
    if not options.chosen:
        probe._strength = lambda *_: STRENGTH
    if options.only in (None, "sets"):
        for n, shape, correlation in product(options.items, options.shapes, options.correlation):
            for found in rates_of_sets(options.repeats, n, shape, correlation):
                print(json.dumps(found), flush=True)
    if options.only == "units":
        cells = [(0.0, 0.5), (0.0, 0.9), (0.5, 0.5), (0.5, 0.9), (0.9, 0.9)]
        for kind, (rho, between), n in product(UNITS, cells, options.items):
            if rho and kind not in ("spearman", "pearson"):
                continue
            for found in rates_of_units(options.repeats, kind, n, rho, between):
                print(json.dumps(found), flush=True)
    if options.only == "texts":
        for n in options.items:
            print(json.dumps(rates_of_texts(options.repeats, n)), flush=True)
    for metric in ("knn", "probe", "r2"):
        if options.only not in (None, metric):
            continue
        shares = [None] if metric == "r2" else options.shares
        for n, signal, share in product(options.items, options.signals, shares):
            settings: list[dict[str, Any]] = (
                [{"k": 3}, {"k": 10}] if metric == "knn" else [{"control": False}]
            )
            rows: dict[int, dict[str, list[list[dict[str, Any]]]]] = defaultdict(
                lambda: {"two": [], "all": []}
            )
            for store in repeated(options.repeats, n, signal, share, n):
                for number, setting in enumerate(settings):
                    name = "knn" if metric == "knn" else "probe"
                    rows[number]["two"].append(query_rows(store, name, "0,1", "1", **setting))
                    if metric == "knn" or options.all_layers:
                        rows[number]["all"].append(
                            query_rows(store, name, "all", "best", **setting)
                        )
            for number, setting in enumerate(settings):
                value = "r2" if metric == "r2" else "accuracy"
                about = {
                    "metric": metric,
                    "n": n,
                    "share": share,
                    "signal": signal,
                    "k": setting.get("k"),
                }
                print(json.dumps(about | cell(rows[number], value)), flush=True)


if __name__ == "__main__":
    main()
