"""Simulate the tests of differences between layers, and the intervals: of ``knn`` and ``probe``,
and of metrics of a set of vectors.

    python benchmarks/error_rates.py [--repeats 300] [--only sets|knn|probe|r2] [--seed 0]
    [--kinds normal t3 copies] [--items 60 120 420] [--dims 64] > error_rates.jsonl
    python benchmarks/error_rates.py --only units --repeats 2000 --items 8 12 25 60
    python benchmarks/error_rates.py --only texts --repeats 300 --items 12 25 60

Layers are drawn again in each repeat, alike: no layer is better than another, so that each
difference with p ≤ .05 is an error, and the expectation of a number is its mean over layers and
repeats. Every number is queried from a store, as users do. A line of JSON for each cell: the share
of repeats in which a named layer of two is found to differ (p), and, of ``knn`` and probes with
--all-layers, in which any of seven is found to differ from the best (p_holm); and the share of
intervals, two a repeat, that hold the expectation. Another --seed gives other repeats.

The kinds of items are those of :func:`drawn_items`; ``words`` are random words of a store (--store,
--space, --layer), ``word copies`` the same with copies. Layers are correlated item by item.

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
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
import numpy as np
from kept_columns import write_columns
from synthetic import synthetic_store

from embstore import Store
from embstore.metrics import probe
from embstore.metrics.numerics.estimates import Estimate, compare_estimates
from embstore.metrics.numerics.statistics import holm, wilson_interval
from embstore.metrics.numerics.units import Correlation, mean_of

N_LAYERS, LEVEL = 7, 0.05
ONLY = ("sets", "knn", "probe", "r2", "units", "texts")
STRENGTH = 1e-2
"""Regularisation of the probes, which is chosen in inner folds only with --chosen: that takes 16
times as long.
"""
Rows = list[list[dict[str, Any]]]


@dataclass(frozen=True)
class Clusters:
    """Clusters of items, whose centres make a share of the variance.

    Attributes:
        n: Number of clusters; None for sentences of 4 to 12 items.
        anew: Whether the centres are drawn again in each repeat, as of sources or sentences.
        are_equal: Whether the clusters have equal probabilities.
    """

    n: int | None
    share: float = 0.9
    anew: bool = True
    are_equal: bool = True

    def of_items(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return the number of the cluster of each item, (n,)."""
        if self.n is None:
            return np.repeat(np.arange(n), rng.integers(4, 13, n))[:n]
        sizes = np.exp(np.random.default_rng(1).normal(size=self.n) * (not self.are_equal))
        return rng.choice(self.n, n, p=sizes / sizes.sum())


CLUSTERS = {
    "8 clusters": Clusters(8, anew=False),
    "40 clusters": Clusters(40, anew=False),
    "40 groups": Clusters(40),
    "40 unequal groups": Clusters(40, are_equal=False),
    "25 groups": Clusters(25),
    "sentences": Clusters(None),
    "loose sentences": Clusters(None, 0.3),
    "40 sources": Clusters(40),
}
TAILS = {"t3": 3, "t5": 5}
KINDS = (
    *("normal", "isotropic", "t3", "t5", "outliers", "rogue", "copies"),
    *CLUSTERS,
    *("words", "word copies"),
    *("t3 dims", "lognormal"),
)


def drawn_items(
    kind: str,
    shape: tuple[int, int, int],
    correlation: float,
    rng: np.random.Generator,
    words: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return layers of one distribution, and the number of each item's cluster (n,).

    Normally distributed, with variances that decay as 1/i and a mean of 1 in one dimension;
    ``isotropic``: with equal variances; ``t3``, ``t5``: multivariate t, with norms in long tails;
    ``lognormal``: likewise; ``t3 dims``: independent numbers of Student's t, in layers too;
    ``outliers``: 3 % of the items 8 times as far; ``rogue``: 94 % of the variance in one dimension;
    ``copies``: 30 % of the items have the vector of another; ``40 groups``: their centres are drawn
    anew, and --group names them; ``40 sources``: the same, and nothing names them.

    Args:
        shape: Numbers of layers, items and dimensions.
        words: Vectors to draw the items of ``words`` and ``word copies`` from, (m, dim).
    """
    n_layers, n, dim = shape
    n_distinct = round(0.7 * n) if kind.endswith("copies") else n
    source = np.concatenate([np.arange(n_distinct), rng.integers(0, n_distinct, n - n_distinct)])
    if words is not None and kind.startswith("word"):
        chosen = rng.choice(len(words), n_layers * n_distinct, replace=False)
        return words[chosen.reshape(n_layers, -1)][:, source], source

    def normal(size: int) -> np.ndarray:
        common, own = rng.normal(size=(size, dim)), rng.normal(size=(n_layers, size, dim))
        return np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own

    x = normal(n_distinct)[:, source]
    if (clusters := CLUSTERS.get(kind)) is not None:
        source = clusters.of_items(n, rng)
        n_clusters = int(source.max()) + 1
        fixed = np.random.default_rng(clusters.n).normal(size=(1, n_clusters, dim))
        centres = normal(n_clusters) if clusters.anew else fixed
        x = np.sqrt(clusters.share) * centres[:, source] + np.sqrt(1 - clusters.share) * x
    if (df := TAILS.get(kind)) is not None:
        x /= np.sqrt(rng.chisquare(df, n) / df)[:, None]
    if kind == "t3 dims":
        return rng.standard_t(3, (n_layers, n, dim)), source
    if kind == "lognormal":
        x *= np.exp(rng.normal(size=n))[:, None]
    if kind == "outliers":
        x[:, rng.choice(n, max(1, round(0.03 * n)), replace=False)] *= 8
    return x * scales(kind, dim) + (np.arange(dim) == 1), source


def scales(kind: str, dim: int) -> np.ndarray:
    """Return the standard deviation of each dimension."""
    if kind in ("isotropic", "t3 dims"):
        return np.ones(dim)
    found = np.arange(1, dim + 1) ** -0.5
    if kind == "rogue":
        found[0] = 4 * np.linalg.norm(found)
    return found


def written(
    folder: str, kind: str, vectors: np.ndarray, clusters: np.ndarray, **columns: list[Any]
) -> Store:
    """Write a store of layers; clusters that are drawn in each repeat are its sentences, or its
    column ``source``.
    """
    options: dict[str, Any] = {"n": len(clusters)}
    if kind.endswith("sentences"):
        ends = np.cumsum(np.bincount(clusters))
        of_sentences = np.split(np.arange(len(clusters)), ends[:-1])
        texts = [" ".join(f"word{item}" for item in members) for members in of_sentences]
        options = {"texts": texts, "unit": "occurrence"}
    made = synthetic_store(
        Path(folder) / "store",
        dim=vectors.shape[2],
        n_blocks=len(vectors) - 1,
        top_form=None,
        vectors=vectors.astype(np.float32),
        index=False,
        **options,
    )
    write_columns(made, {"source": clusters.tolist()} | columns)
    return made.store


def grouping(kind: str) -> dict[str, str]:
    """Return the option that names the column of groups, if the items come in such."""
    return {"group": "source"} if kind.endswith("groups") else {}


def query_rows(store: Store, metric: str, **options: Any) -> list[dict[str, Any]]:
    """Return the rows of a metric, computed."""
    return list(store.query(metric, cache=False, **options).rows)


def labelled(
    options: argparse.Namespace, n: int, kind: str, signal: float, share: float | None
) -> Iterator[Store]:
    """Yield stores of seven layers that know a label alike: a class of this share of the items, or
    a number if there is no share. Copies, and items of a group, have the same.
    """
    shape = (N_LAYERS, n, options.label_dims)
    for repeat in range(options.repeats):
        rng = np.random.default_rng([options.seed, n, KINDS.index(kind), repeat])
        vectors, clusters = drawn_items(kind, shape, 0, rng)
        units = np.arange(n)
        if kind == "copies" or getattr(CLUSTERS.get(kind), "anew", False):
            units = clusters
        n_units = int(units.max()) + 1
        values = (
            rng.normal(size=n_units)
            if share is None
            else (rng.permutation(n_units) < share * n_units).astype(np.float64)
        )[units]
        vectors[:, :, 0] += signal * values
        named = values.tolist() if share is None else np.where(values, "a", "b").tolist()
        with tempfile.TemporaryDirectory() as folder:
            yield written(folder, kind, vectors, clusters, y=named)


def cell(two: Rows, every: Rows, value: str) -> dict[str, Any]:
    """Return the rates of errors of a cell, given the rows of each repeat for two layers and for
    all.
    """
    values = [row[value] for table in [*two, *every] for row in table]
    mean = float(np.mean(values))
    first = [table[0] for table in two]
    of_layers = [row for table in two for row in table]
    intervals = [(row["low"], row["high"]) for row in of_layers if row["low"] is not None]
    found: dict[str, Any] = {"repeats": len(two), "value": round(mean, 3)}
    found["intervals"] = len(intervals) / len(of_layers)
    if not intervals:
        return found | {"reason": first[0]["reason"]}
    tests = [row["p"] <= LEVEL for row in first if row["p"] is not None]
    found["named"] = float(np.mean(tests)) if tests else None
    if every:
        smallest = [
            min(row["p_holm"] for row in table if row["p_holm"] is not None) for table in every
        ]
        found["best"] = float(np.mean(np.array(smallest) <= LEVEL))
    found["coverage"] = float(np.mean([low <= mean <= high for low, high in intervals]))
    found["width"] = round(float(np.median([high - low for low, high in intervals])), 4)
    return found


SETS: dict[str, tuple[str, dict[str, Any]]] = {
    "mean": ("norms", {"top": 0}),
    "anisotropy": ("anisotropy", {}),
    "uniformity": ("uniformity", {}),
    "participation_ratio": ("participation-ratio", {}),
    "isoscore": ("isoscore", {}),
    "effective_rank": ("effective-rank", {}),
    "twonn": ("intrinsic-dimension", {}),
    "mle": ("intrinsic-dimension", {"estimator": "mle"}),
    "robin_hood": ("hubness", {}),
}
"""Metrics of a set of vectors, by the column that is compared, or the estimator of a dimension."""


def rates_of_sets(
    options: argparse.Namespace, n: int, dim: int, kind: str, words: np.ndarray | None
) -> Iterator[dict[str, Any]]:
    """Yield the rates of errors of each metric of a set of vectors."""
    tables: dict[str, Rows] = defaultdict(list)
    for repeat in range(options.repeats):
        rng = np.random.default_rng([options.seed, n, dim, KINDS.index(kind), repeat])
        vectors, clusters = drawn_items(kind, (2, n, dim), options.correlation, rng, words)
        with tempfile.TemporaryDirectory() as folder:
            store = written(folder, kind, vectors, clusters)
            for column in options.columns:
                metric, parameters = SETS[column]
                given = parameters | grouping(kind) | {"versus": "1", "seed": repeat}
                tables[column].append(query_rows(store, metric, **given))
    about = {"n": n, "dim": vectors.shape[2], "kind": kind}
    for column, rows in tables.items():
        value = "dimension" if SETS[column][0] == "intrinsic-dimension" else column
        yield {"column": column} | about | cell(rows, [], value)
    rows = tables["participation_ratio"]
    if rows and kind not in CLUSTERS and not kind.startswith("word"):
        variances = scales(kind, dim) ** 2
        true = float(variances.sum() ** 2 / (variances**2).sum())
        of_population = [
            [row | {"low": row["population_low"], "high": row["population_high"]} for row in table]
            for table in rows
        ]
        limits = [(t[0]["low"], t[0]["high"]) for t in of_population if t[0]["low"] is not None]
        covered = float(np.mean([low <= true <= high for low, high in limits])) if limits else None
        yield {"column": "population"} | about | {"repeats": len(rows), "coverage": covered}


def rates_of_labels(
    options: argparse.Namespace, metric: str, n: int, kind: str, signal: float, share: float | None
) -> Iterator[dict[str, Any]]:
    """Yield the rates of errors of ``knn`` for two numbers of neighbours, or of a probe."""
    ks: list[dict[str, Any]] = [{"k": 3}, {"k": 10}] if metric == "knn" else [{"control": False}]
    two: dict[int, Rows] = defaultdict(list)
    every: dict[int, Rows] = defaultdict(list)
    name = "knn" if metric == "knn" else "probe"
    stores = labelled(options, n, kind, signal, share)
    for repeat, store in enumerate(stores):
        for number, given in enumerate(ks):
            given = given | grouping(kind) | {"label": "y", "seed": repeat}
            two[number].append(query_rows(store, name, layers="0,1", versus="1", **given))
            if options.all_layers:
                every[number].append(query_rows(store, name, versus="best", **given))
    for number, given in enumerate(ks):
        about = {"metric": metric, "n": n, "kind": kind, "share": share, "signal": signal}
        value = "r2" if metric == "r2" else "accuracy"
        yield about | {"k": given.get("k")} | cell(two[number], every[number], value)


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
    rows: dict[str, Rows] = {"two": [], "all": []}
    for repeat in range(repeats):
        rng = np.random.default_rng([n, 5, repeat])
        lengths = (rng.normal(size=(N_LAYERS, n)) + rng.normal(size=n)) / 2 + 5
        vectors = rng.normal(size=(N_LAYERS, 8 * n, 16))
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
        vectors *= np.repeat(lengths, 8, axis=1)[:, :, None]
        with tempfile.TemporaryDirectory() as folder:
            made = synthetic_store(
                Path(folder) / "store",
                n=8 * n,
                dim=16,
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
    return {"column": "mean over texts", "n": n} | cell(rows["two"], rows["all"], "mean")


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=ONLY, nargs="+")
    parser.add_argument("--kinds", nargs="+", default=["normal"], choices=KINDS)
    parser.add_argument("--items", type=int, nargs="+", default=[60, 120, 420])
    parser.add_argument("--dims", type=int, nargs="+", default=[64])
    parser.add_argument("--columns", nargs="+", default=[*SETS], choices=[*SETS])
    parser.add_argument("--correlation", type=float, default=0.8)
    parser.add_argument("--label-dims", type=int, default=16, help="Of layers with a label.")
    parser.add_argument("--signals", type=float, nargs="+", default=[0.0, 1.5])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 0.1])
    parser.add_argument("--all-layers", action="store_true", help="Compare seven layers too.")
    parser.add_argument(
        "--chosen", action="store_true", help="Choose the regularisation of probes in inner folds."
    )
    parser.add_argument("--store", help="Store that words are drawn from.")
    parser.add_argument("--space", default="minilm.word.last")
    parser.add_argument("--layer", default="6")
    return parser.parse_args()


def main() -> None:
    """Print the requested cells."""
    options = parsed()
    if not options.chosen:
        probe._strength = lambda *_: STRENGTH
    kinds = options.only or ONLY[:4]
    words = None
    if options.store:
        words = Store(options.store).vectors(options.space, options.layer)[2]
    if "sets" in kinds:
        for kind, n, dim in product(options.kinds, options.items, options.dims):
            for found in rates_of_sets(options, n, dim, kind, words):
                print(json.dumps(found), flush=True)
    if "units" in kinds:
        of_units = [(0.0, 0.5), (0.0, 0.9), (0.5, 0.5), (0.5, 0.9), (0.9, 0.9)]
        for kind, (rho, between), n in product(UNITS, of_units, options.items):
            if rho and kind not in ("spearman", "pearson"):
                continue
            for found in rates_of_units(options.repeats, kind, n, rho, between):
                print(json.dumps(found), flush=True)
    if "texts" in kinds:
        for n in options.items:
            print(json.dumps(rates_of_texts(options.repeats, n)), flush=True)
    for metric in ("knn", "probe", "r2"):
        shares = [None] if metric == "r2" else options.shares
        cells = product(options.kinds, options.items, options.signals, shares)
        for kind, n, signal, share in cells if metric in kinds else ():
            for found in rates_of_labels(options, metric, n, kind, signal, share):
                print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
