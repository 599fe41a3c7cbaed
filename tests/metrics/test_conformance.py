"""What holds for every metric: values or reasons, blocks in any order, invariances, zero vectors
and transforms.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from metric_data import Arrays, labelled, pairs_of, words
from scipy.stats import ortho_group

from embstore.metrics import METRICS, NotComputable, rows_of
from embstore.metrics.data import Analogies, Contexts, ItemColumn, Lexicon, TokenOrder, Words
from embstore.metrics.transforms import fit, parse_transforms
from embstore.query.layer_data import TransformedLayer

N, DIM = 24, 6
Y = np.random.default_rng(9).normal(size=(N + 3, 5))


class Case(NamedTuple):
    """A metric with settings, what changes none of its values, and the vectors without a value."""

    metric: str
    unchanged: str  # rotation, lengths of the vectors, scale of all, shift of all, zeros: left out
    settings: dict[str, Any]
    without_value: str


CASES = [
    Case("anisotropy", "rotation lengths zeros", {"std": True}, "none one zero lone"),
    Case(
        "anisotropy",
        "rotation scale shift",
        {"variant": "centred", "std": True},
        "none one equal zero",
    ),
    Case("rogue-dims", "lengths zeros", {"k": 3}, "none one zero lone"),
    Case("norms", "", {"top": 1}, "none"),
    Case("uniformity", "rotation lengths zeros", {}, "none one zero lone"),
    Case(
        "alignment",
        "rotation lengths",
        {"min_score": 2.0},
        "none one two three opposite equal zero lone orthogonal",
    ),
    Case("isoscore", "rotation scale shift", {}, "none one equal zero flat"),
    Case("isoscore", "rotation shift", {"zeta": 0.2}, "none one equal zero flat"),
    Case("partition", "rotation", {}, "none one"),
    Case("effective-rank", "rotation scale", {}, "none one zero"),
    Case("effective-rank", "rotation scale", {"variant": "rankme"}, "none one zero"),
    Case("effective-rank", "rotation scale shift", {"variant": "centred"}, "none one equal zero"),
    Case(
        "effective-rank", "rotation scale shift", {"variant": "eigenvalues"}, "none one equal zero"
    ),
    Case("effective-rank", "rotation scale", {"variant": "uncentred-eigenvalues"}, "none one zero"),
    Case("prompt-entropy", "rotation scale", {}, "none one zero flat"),
    Case("prompt-entropy", "rotation scale", {"normalization": "raw"}, "none one zero"),
    Case("curvature", "rotation scale shift", {}, "none one two opposite equal zero lone"),
    Case(
        "curvature",
        "rotation scale shift",
        {"variant": "absolute"},
        "none one two opposite equal zero lone",
    ),
    Case("participation-ratio", "rotation scale shift", {}, "none one equal zero"),
    Case("spectrum", "rotation shift", {"k": 3}, "none one equal zero"),
    Case("spectrum", "rotation", {"k": 3, "variant": "uncentred"}, "none one zero"),
    Case(
        "intrinsic-dimension",
        "rotation scale shift",
        {},
        "none one two opposite equal zero lone orthogonal",
    ),
    Case(
        "intrinsic-dimension",
        "rotation shift",
        {"estimator": "gride"},
        "none one two opposite equal zero lone orthogonal",
    ),
    Case(
        "intrinsic-dimension",
        "rotation shift",
        {"estimator": "mle", "neighbours": 3},
        "none one two opposite equal zero lone orthogonal",
    ),
    Case(
        "hubness",
        "rotation lengths zeros",
        {"k": 3},
        "none one two three opposite equal zero lone duplicates line orthogonal",
    ),
    Case(
        "hubness",
        "rotation scale shift",
        {"k": 3, "distance": "euclidean"},
        "none one two three opposite equal zero orthogonal",
    ),
    Case(
        "similarity",
        "rotation lengths zeros",
        {},
        "none one two three opposite equal zero lone line orthogonal",
    ),
    Case("analogies", "rotation lengths", {"per_section": True}, "none zero lone"),
    Case("analogies", "rotation lengths", {"method": "3cosmul"}, "none zero lone"),
    Case(
        "correlate", "rotation scale", {"value": "norm"}, "none one opposite equal zero orthogonal"
    ),
    Case(
        "correlate",
        "rotation lengths zeros",
        {"value": "hubness", "k": 3},
        "none one two three opposite equal zero lone duplicates line orthogonal",
    ),
    Case(
        "correlate",
        "rotation scale",
        {"value": "cosine-to-mean"},
        "none one opposite equal zero lone line orthogonal",
    ),
    Case(
        "correlate",
        "rotation lengths",
        {"value": "self-similarity"},
        "none one two three opposite equal zero lone duplicates line orthogonal",
    ),
    Case(
        "valnorm",
        "rotation lengths zeros",
        {},
        "none one two three opposite equal zero one-zero lone line orthogonal",
    ),
    Case(
        "weat",
        "rotation lengths zeros",
        {},
        "none one two three opposite equal zero one-zero lone line orthogonal",
    ),
    Case(
        "sc-weat",
        "rotation lengths zeros",
        {},
        "none one two three opposite equal zero lone line orthogonal",
    ),
    Case(
        "ceat",
        "rotation lengths",
        {"draws": 20},
        "none one two three opposite equal zero lone line orthogonal",
    ),
    Case(
        "axis",
        "rotation scale zeros",
        {"top": 3, "k": 2},
        "none one two three opposite equal zero one-zero lone line orthogonal",
    ),
    Case(
        "knn",
        "rotation lengths zeros",
        {"k": 3},
        "none one two three opposite equal zero lone line",
    ),
    Case("clusters", "rotation lengths", {"runs": 2}, "none one two opposite zero lone"),
    Case(
        "probe",
        "scale shift",
        {"folds": 2, "repeats": 1},
        "none one two three opposite equal zero orthogonal",
    ),
    Case(
        "self-similarity",
        "rotation lengths zeros",
        {"adjusted": True, "min_contexts": 2},
        "none one two three opposite zero lone orthogonal",
    ),
    Case(
        "self-similarity",
        "rotation lengths",
        {"per_word": True, "min_contexts": 2},
        "none one two three opposite zero lone orthogonal",
    ),
    Case(
        "intra-sentence",
        "rotation scale",
        {"adjusted": True},
        "none one two three opposite zero lone orthogonal",
    ),
    Case(
        "mev",
        "rotation scale",
        {"adjusted": True, "min_contexts": 2},
        "none one two three opposite zero orthogonal",
    ),
    Case(
        "mev",
        "rotation scale shift",
        {"variant": "centred", "per_word": True, "min_contexts": 2},
        "none one two three opposite equal zero duplicates orthogonal",
    ),
    Case(
        "change",
        "rotation scale zeros",
        {"min_contexts": 2, "permutations": 9},
        "none one two three opposite equal zero lone orthogonal",
    ),
    Case(
        "cka", "rotation scale shift", {}, "none one two three opposite equal zero lone orthogonal"
    ),
    Case("cka", "rotation scale shift", {"variant": "biased"}, "none one equal zero"),
    Case("cka", "rotation scale shift", {"variant": "svcca"}, "none one equal zero"),
    Case(
        "rsa", "rotation lengths zeros", {}, "none one two opposite equal zero lone line orthogonal"
    ),
    Case(
        "rsa",
        "rotation lengths zeros",
        {"correlation": "spearman", "pairs": 50},
        "none one two opposite equal zero lone line orthogonal",
    ),
    Case(
        "overlap",
        "rotation lengths zeros",
        {"k": 4},
        "none one two three opposite zero lone line orthogonal",
    ),
    Case("procrustes", "rotation scale shift", {}, "none one equal zero"),
    Case("predictivity", "rotation scale shift", {"folds": 2}, "none one two opposite equal zero"),
    Case(
        "cknna",
        "rotation lengths zeros",
        {"k": 4},
        "none one two three opposite equal zero lone line orthogonal",
    ),
    Case("imbalance", "rotation scale shift", {}, "none one equal zero"),
    Case(
        "imbalance",
        "rotation lengths zeros",
        {"distance": "cosine", "k": 2},
        "none one two opposite equal zero lone line",
    ),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[2]}")


def inputs_of(metric, n):
    """Return the inputs of a metric of n items, whose ids count up from 0."""
    ids = np.arange(n)
    sets = {name: words(2 * at, 2 * at + 1) for at, name in enumerate("xyab")}
    contexts = Contexts(ids, ids % 4, tuple("abcd"))
    if metric in ("similarity", "alignment"):
        return {"pairs": pairs_of(ids[:-1], ids[1:], np.round(5 * np.sin(3.0 * ids[1:]) ** 2))}
    if metric == "analogies":
        return {"analogies": questions(max(n, 1))}
    if metric == "valnorm":
        lexicon = Lexicon(words(*range(4, N)), np.sin(np.arange(4.0, N)))
        return {"lexicon": lexicon, "pleasant": words(0, 1), "unpleasant": words(2, 3)}
    if metric == "ceat":
        contexts = Contexts(ids, ids % 8, tuple("abcdefgh"))
        names = {"x": "ab", "y": "cd", "a": "ef", "b": "gh"}
        uses = {key: Words(np.arange(2), tuple(texts)) for key, texts in names.items()}
        return {"contexts": contexts, "missing": "skip", **uses}
    if metric == "change":
        contexts = Contexts(ids, ids % 2, tuple("ab"))
        groups = [(name, ids[ids // 2 % 2 == at]) for at, name in enumerate(("then", "now"))]
        return {"contexts": contexts, "groups": groups}
    by_needs = {
        "contexts": {"contexts": contexts},
        "column": {"column": ItemColumn(ids, np.cos(ids * ids)), "contexts": contexts},
        "labels": {"labels": labelled(ids % 2, 2)},
        "order": {"order": TokenOrder(ids, 0 * ids, ids)},
    }
    by_name = {
        "weat": sets,
        "sc-weat": {"words": sets["x"], "a": sets["a"], "b": sets["b"]},
        "axis": {"positive": words(0, 1), "negative": words(2)},
    }
    return by_name.get(metric) or by_needs.get(METRICS[metric].needs, {})


def questions(n):
    """Return questions a : b = c : ? of consecutive words, in two sections."""
    n_questions = 6
    ids = np.arange(n_questions + 3) % n
    first = np.arange(n_questions)[:, None] + [0, 1, 2]
    stored = np.unique(ids)
    return Analogies(
        Words(ids, tuple(f"word{item}" for item in ids)),
        ids,
        stored,
        stored,
        first,
        np.arange(3, n_questions + 3),
        np.arange(n_questions + 1),
        np.arange(n_questions) % 2,
        ("a", "b"),
    )


def ask(case, data, n, other):
    """Return the rows of a metric of n items; of two layers, with ``other``."""
    metric = METRICS[case.metric]
    is_of_two = metric.needs == "layers"
    arguments = ([data], [Arrays(other)], np.arange(n)) if is_of_two else (data,)
    try:
        return rows_of(metric(*arguments, **inputs_of(case.metric, n), **case.settings))
    except NotComputable as error:
        return [metric.empty(error.n, str(error))]


def numbers(row, *left_out):
    return {
        name: value
        for name, value in row.items()
        if isinstance(value, float | int) and name not in left_out
    }


def test_every_metric_has_a_case():
    """Except drift, which searches neighbours through a store's layers."""
    assert {case.metric for case in CASES} == set(METRICS) - {"drift"}


SOME = np.random.default_rng(0).normal(size=(8, 4))
VECTORS = {
    "none": SOME[:0],
    "one": SOME[:1],
    "two": SOME[:2],
    "three": SOME[:3],
    "opposite": np.array([[1.0, 0, 0, 0], [-1, 0, 0, 0]]),
    "equal": np.full((5, 4), 0.3),
    "zero": np.zeros((5, 4)),
    "one-zero": SOME * (np.arange(8) > 0)[:, None],
    "lone": SOME * (np.arange(8) == 0)[:, None],
    "duplicates": np.concatenate([SOME[:4], SOME[:4]]),
    "line": np.outer(np.arange(1, 9), SOME[0]),
    "orthogonal": np.eye(4),
    "huge": SOME * 1e18,
    "tiny": SOME * 1e-25,
    "flat": SOME[:, :1],
}


@each_case
def test_there_is_a_value_in_its_range_or_a_reason(case):
    metric = METRICS[case.metric]
    columns = metric.with_columns_for(metric.check(case.settings)).columns
    filled_later = {column.name for column in metric.columns if column.is_key} | {"best", "text"}
    first = next(column.name for column in columns if column.type.endswith(("number", "numbers")))
    without_value = []
    for name, x in VECTORS.items():
        rows = ask(case, Arrays(x[:2], x[2:]), len(x), 2 * x[::-1])
        for row in rows:
            assert {column.name for column in columns} - filled_later <= set(row) | {
                column.name for column in metric.optional
            } | {"grouped_by"}
            assert type(row["n"]) is int
            assert row["reason"] or row.get(first) is not None
            for column in columns:
                check_values(row.get(column.name), column)
        if all(row.get(first) is None for row in rows):
            without_value.append(name)
    assert " ".join(without_value) == case.without_value


def check_values(given, column):
    for value in given if isinstance(given, list) else [given]:
        assert type(value) in (float, int, str, bool, type(None)), (column.name, value)
        if isinstance(value, float | int) and not isinstance(value, bool):
            assert math.isfinite(value)
            assert column.minimum is None or value >= column.minimum, column.name
            assert column.maximum is None or value <= column.maximum, column.name


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@each_case
def test_blocks_and_order_and_what_is_said_to_change_no_value(case, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, DIM)) * np.arange(1, DIM + 1) + 0.5
    moved = x @ ortho_group.rvs(DIM, random_state=seed) if "rotation" in case.unchanged else x
    if "shift" in case.unchanged:
        moved = moved + rng.normal(size=DIM)
    if "lengths" in case.unchanged:
        moved = moved * rng.uniform(0.1, 10, (N, 1))
    if "scale" in case.unchanged:
        moved = 7 * moved
    order = rng.permutation(N)
    before = ask(case, Arrays(x[:9], x[9:]), N, Y[:N])
    after = ask(case, Arrays(moved[order][:5], moved[order][5:], ids=order), N, Y[:N])
    assert any(isinstance(value, float) for value in numbers(before[0]).values())
    for row, other in zip(before, after, strict=True):
        assert numbers(other) == pytest.approx(numbers(row), rel=1e-8, abs=1e-9)


@pytest.mark.parametrize(
    "case", [case for case in CASES if "zeros" in case.unchanged], ids=lambda case: case[0]
)
def test_zero_vectors_are_left_out_and_counted(case):
    x = np.random.default_rng(3).normal(size=(N, DIM))
    counts = ("n_zero", "undefined_left_out", "total", "coverage", "item_id")
    before = ask(case, Arrays(x), N, Y[:N])
    after = ask(case, Arrays(x, np.zeros((3, DIM))), N + 3, Y)
    for row, other in zip(before, after, strict=True):
        assert numbers(other, *counts) == pytest.approx(numbers(row, *counts), abs=1e-9)
        assert other.get("n_zero", other.get("undefined_left_out", 3)) == 3


@each_case
def test_a_transformed_layer_is_measured_as_its_vectors_are(case):
    x = np.random.default_rng(4).normal(size=(N, DIM)) * np.arange(1, DIM + 1) + 2
    affine = fit(Arrays(x), parse_transforms(["center", "abtt:1"]))
    transformed = TransformedLayer(Arrays(x[:7], x[7:]), affine, affine.columns)
    found = ask(case, transformed, N, Y[:N])
    for row, expected in zip(found, ask(case, Arrays(affine(x)), N, Y[:N]), strict=True):
        assert numbers(row) == pytest.approx(numbers(expected), rel=1e-7, abs=1e-9)
