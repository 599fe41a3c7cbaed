"""What metrics of layers have in common: what changes no value, and layers with too few
directions.
"""

from typing import Any

import numpy as np
import pytest
from metric_data import Arrays, pairs_of, words
from scipy.stats import ortho_group

from embstore.metrics import METRICS, rows_of
from embstore.metrics.data import Contexts, Words

IDS = np.arange(24)
Y = np.random.default_rng(9).normal(size=(24, 5))
CONTEXTS = Contexts(IDS, IDS % 4, tuple("abcd"))
PAIRS = pairs_of(IDS[:-1], IDS[1:], np.round(5 * np.sin(3.0 * IDS[1:]) ** 2))
SETS = {name: words(3 * at, 3 * at + 1, 3 * at + 2) for at, name in enumerate("xyab")}
AB = {name: SETS[name] for name in "ab"}
OF_WORDS = Contexts(IDS, IDS % 8, tuple("abcdefgh"))
USES = {
    name: Words(np.arange(2 * at, 2 * at + 2), OF_WORDS.names[2 * at : 2 * at + 2])
    for at, name in enumerate("xyab")
}

# Beside a rotation and the order of the rows: the lengths of the vectors, one scale for all, a
# shift of all.
UNCHANGED: list[tuple[str, str, dict[str, Any]]] = [
    ("anisotropy", "lengths", {"std": True}),
    ("anisotropy", "scale shift", {"variant": "centred", "std": True}),
    ("uniformity", "lengths", {}),
    ("alignment", "lengths", {"pairs": PAIRS, "min_score": 2}),
    ("isoscore", "scale shift", {}),
    ("partition", "", {}),
    *(("effective-rank", "scale", {"variant": variant}) for variant in ("uncentred", "rankme")),
    *(
        ("effective-rank", "scale shift", {"variant": variant})
        for variant in ("centred", "eigenvalues")
    ),
    ("participation-ratio", "scale shift", {}),
    ("spectrum", "scale shift", {"k": 3}),
    ("hubness", "lengths", {"k": 3}),
    ("hubness", "scale shift", {"k": 3, "distance": "euclidean"}),
    ("intrinsic-dimension", "scale shift", {}),
    ("self-similarity", "lengths", {"contexts": CONTEXTS}),
    ("intra-sentence", "scale", {"contexts": CONTEXTS}),
    ("mev", "scale", {"contexts": CONTEXTS}),
    ("mev", "scale shift", {"contexts": CONTEXTS, "variant": "centred"}),
    ("similarity", "lengths", {"pairs": PAIRS, "resamples": 0}),
    ("weat", "lengths", SETS),
    ("sc-weat", "lengths", {"words": SETS["x"], **AB}),
    ("ceat", "lengths", {"contexts": OF_WORDS, "draws": 50, **USES}),
    ("cka", "scale shift", {}),
    ("cka", "scale shift", {"variant": "biased"}),
    ("rsa", "lengths", {}),
    ("rsa", "lengths", {"correlation": "spearman"}),
    ("overlap", "lengths", {"k": 4}),
    ("cknna", "lengths", {"k": 4}),
    ("procrustes", "scale shift", {}),
    ("imbalance", "scale shift", {}),
    ("imbalance", "lengths", {"distance": "cosine"}),
]


def numbers(
    metric: str, x: np.ndarray, ids: np.ndarray, inputs: dict[str, Any]
) -> list[dict[str, float]]:
    function, data = METRICS[metric].function, Arrays(x[:9], x[9:], ids=ids)
    found = (
        function(data, **inputs)
        if METRICS[metric].needs != "layers"
        else function([data], [Arrays(Y)], IDS, **inputs)
    )
    rows = [
        {name: value for name, value in row.items() if isinstance(value, float | int)}
        for row in rows_of(found)
    ]
    assert all(any(isinstance(value, float) for value in row.values()) for row in rows)
    return rows


@pytest.mark.parametrize(
    ("metric", "kinds", "inputs"), UNCHANGED, ids=[f"{name} {how}" for name, how, _ in UNCHANGED]
)
def test_what_changes_no_value(metric, kinds, inputs):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(24, 6)) * np.arange(1, 7) + 0.5
        moved = x @ ortho_group.rvs(6, random_state=seed)
        if "shift" in kinds:
            moved += rng.normal(size=6)
        moved *= {"lengths": rng.uniform(0.1, 10, (24, 1)), "scale": 7}.get(kinds.split(" ")[0], 1)
        order = rng.permutation(24)
        before, after = (
            numbers(metric, x, IDS, inputs),
            numbers(metric, moved[order], order, inputs),
        )
        for row, other in zip(before, after, strict=True):
            assert other == pytest.approx(row, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("metric", ["anisotropy", "rogue-dims", "uniformity", "hubness"])
@pytest.mark.parametrize(
    "x", [np.zeros((0, 3)), np.ones((1, 3)), np.zeros((4, 3)), np.diag([1.0, 0, 0])]
)
def test_fewer_than_two_directions_have_no_value(metric, x):
    [row] = rows_of(METRICS[metric].function(Arrays(x)))
    n = int(x.any(axis=1).sum())
    assert (row["reason"], row["n"], row["n_zero"]) == (
        "fewer than two non-zero vectors",
        n,
        len(x) - n,
    )
    assert (
        row[next(column.name for column in METRICS[metric].columns if column.type == "number")]
        is None
    )


@pytest.mark.parametrize(
    ("metric", "options"),
    [("anisotropy", {"std": True}), ("uniformity", {}), ("hubness", {"k": 3})],
)
def test_zero_vectors_are_left_out_and_counted(metric, options):
    x = np.random.default_rng(3).normal(size=(20, 4))
    function = METRICS[metric].function
    found = function(Arrays(x[:7], np.zeros((3, 4)), x[7:]), **options)
    assert found == pytest.approx(function(Arrays(x), **options) | {"n_zero": 3})
