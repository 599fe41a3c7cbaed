"""Numbers that were computed elsewhere, and must never change: every value of the project's
reference.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from metric_data import Arrays, words
from synthetic import synthetic_store

from embstore.index.exact_knn import nearest_rows
from embstore.metrics import METRICS, rows_of
from embstore.metrics.data import Contexts, ItemLabels, Pairs, TokenOrder
from embstore.metrics.transforms import fit, parse_transforms

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics.json").read_text("utf-8"))
EXPECTED = GOLDEN["expected"]
ADDED = GOLDEN["added"]["expected"]
IDS = np.arange(12)

i, j = np.mgrid[0:12, 0:5]
X = np.sin(0.9 * (i + 1) * (j + 1) + 0.37 * (i + 1) ** 2) + 3 * (j == 2)
Y = (np.sin(0.9 * (i + 1) * (j + 1) + 0.37 * (i + 1) ** 2 + 0.4 * j + 0.3))[:, :4]
ONE_GROUP = Contexts(IDS, np.zeros(12, np.int64), ("all",))


def of(x):
    return Arrays(x[:5], x[5:])


def of_metric(metric, column, **inputs):
    """Ask a metric of the vectors X."""
    return lambda: rows_of(METRICS[metric].function(of(X), **inputs))[0][column]


def compared(metric, column, **inputs):
    """Ask a metric of the layers X and Y."""
    return lambda: rows_of(METRICS[metric].function([of(X)], [of(Y)], IDS, **inputs))[0][column]


WEAT = {"x": words(6, 7, 8), "y": words(9, 10, 11), "a": words(0, 1, 2), "b": words(3, 4, 5)}
SC_WEAT = {"words": words(6, 7, 8, 9, 10, 11), "a": words(0, 1, 2), "b": words(3, 4, 5)}


def contributions():
    rogue = METRICS["rogue-dims"].function(of(X), k=5)
    parts = dict(zip(rogue["dims"], rogue["contributions"], strict=True))
    return [parts[dim] for dim in range(5)]


def effect_sizes(ddof):
    return lambda: [
        row["effect_size"] for row in METRICS["sc-weat"].function(of(X), **SC_WEAT, ddof=ddof)
    ]


def k_occurrences():
    nearest, _ = nearest_rows(X, 3)
    return np.bincount(nearest.ravel(), minlength=12).tolist()


def alignment():
    texts = tuple(map(str, range(12)))
    pairs = Pairs(IDS, IDS + 12, np.full(12, 5.0), texts, texts)
    return METRICS["alignment"].function(Arrays(X, X + 0.1 * np.cos(i + j)), pairs=pairs)[
        "alignment"
    ]


def hsic1():
    from embstore.metrics.comparison import hsic1
    from embstore.metrics.numerics.layer_pairs import reduce_pairs

    return reduce_pairs((of(X), of(Y)), [(0, 1)], IDS, hsic1)[0, 1]


def after_abtt():
    fitted = fit(of(X), parse_transforms(["abtt:1"]))
    return METRICS["anisotropy"].function(of(fitted(X)))["anisotropy"]


PLAIN = {
    "self_similarity": ("anisotropy", "anisotropy", {}),
    "pairwise_cosine_std_ddof0": ("anisotropy", "std", {"std": True}),
    "self_similarity_mean_centred": ("anisotropy", "anisotropy", {"variant": "centred"}),
    "top2_share_signed_ratio_of_means": ("norms", "top_share", {"top": 2}),
    "top2_share_abs_ratio_of_means": ("norms", "top_share_abs", {"top": 2}),
    "mean_norm": ("norms", "mean", {}),
    "participation_ratio": ("participation-ratio", "participation_ratio", {}),
    "isoscore": ("isoscore", "isoscore", {}),
    "isoscore_star_zeta0.2_C0_identity": ("isoscore", "isoscore", {"zeta": 0.2}),
    "effective_rank_sv_centred": ("effective-rank", "effective_rank", {"variant": "centred"}),
    "effective_rank_sv_uncentred": ("effective-rank", "effective_rank", {"variant": "uncentred"}),
    "effective_rank_cov_eig": ("effective-rank", "effective_rank", {"variant": "eigenvalues"}),
    "partition_log_isotropy_pm_eigvecs": ("partition", "log_partition", {}),
    "partition_first_order": ("partition", "first_order", {}),
    "partition_second_order": ("partition", "second_order", {}),
    "hubness_skew_k3_cosine": ("hubness", "skewness", {"k": 3}),
    "antihub_rate_k3": ("hubness", "antihub_share", {"k": 3}),
    "twonn_ls_discard0.1": ("intrinsic-dimension", "dimension", {"discard": 0.1}),
    "twonn_mle": ("intrinsic-dimension", "dimension", {"estimator": "mle", "neighbours": 2}),
    "twonn_mle_unbiased": (
        "intrinsic-dimension",
        "dimension",
        {"estimator": "gride", "neighbours": 2},
    ),
    "uniform_t2": ("uniformity", "uniformity", {}),
}
"""What a layer is asked for without other inputs: the metric, its column and its parameters."""

REQUESTS = {
    **{
        name: of_metric(metric, column, **inputs)
        for name, (metric, column, inputs) in PLAIN.items()
    },
    "cosine_contribution_per_dim": contributions,
    "mev_uncentred": of_metric("mev", "mev", contexts=ONE_GROUP),
    "pca1_ratio_centred": of_metric("mev", "mev", contexts=ONE_GROUP, variant="centred"),
    "intra_sentence_similarity": of_metric(
        "intra-sentence", "intra_sentence_similarity", contexts=ONE_GROUP
    ),
    "linear_cka": compared("cka", "cka", variant="biased"),
    "linear_cka_unbiased": compared("cka", "cka"),
    "hsic1_xy": hsic1,
    "rsa_cosine_pearson": compared("rsa", "rsa"),
    "rsa_cosine_spearman": compared("rsa", "rsa", correlation="spearman"),
    "knn_jaccard_k3": compared("overlap", "jaccard", k=3),
    "knn_overlap_k3": compared("overlap", "overlap", k=3),
    "k_occurrence_k3_cosine": k_occurrences,
    "align_alpha2": alignment,
    "weat_test_stat": of_metric("weat", "statistic", **WEAT),
    "weat_effect_ddof1": of_metric("weat", "effect_size", **WEAT),
    "weat_effect_ddof0": of_metric("weat", "effect_size", **WEAT, ddof=0),
    "weat_p_exact": of_metric("weat", "p_value", **WEAT),
    "sc_weat_ddof0": effect_sizes(0),
    "sc_weat_ddof1": effect_sizes(1),
    "abtt_D1_self_similarity": after_abtt,
}


LABELS = ItemLabels(IDS, IDS % 3, ("a", "b", "c"))


def rows_of_metric(metric, column, **inputs):
    """Ask a metric of the vectors X for a column of all of its rows."""
    return lambda: [row[column] for row in rows_of(METRICS[metric].function(of(X), **inputs))]


def changed(column):
    halves = [("first", IDS[:6]), ("second", IDS[6:])]
    return of_metric("change", column, contexts=ONE_GROUP, groups=halves, permutations=0)


def axis_scores():
    rows = rows_of(
        METRICS["axis"].function(of(X), positive=words(0, 1), negative=words(2, 3), top=0)
    )
    return [row["score"] for row in sorted(rows, key=lambda row: row["item_id"])]


IN_ORDER = TokenOrder(IDS, 0 * IDS, IDS)
REQUESTS_ADDED = {
    "prompt_entropy": of_metric("prompt-entropy", "prompt_entropy"),
    "effective_rank_eig_uncentred": of_metric(
        "effective-rank", "effective_rank", variant="uncentred-eigenvalues"
    ),
    "curvature": of_metric("curvature", "curvature", order=IN_ORDER),
    "curvature_absolute": of_metric("curvature", "curvature", order=IN_ORDER, variant="absolute"),
    "procrustes_angular": compared("procrustes", "procrustes"),
    "linear_r2_in_sample": compared("predictivity", "r2_in_sample"),
    "information_imbalance": compared("imbalance", "imbalance"),
    "information_imbalance_back": compared("imbalance", "imbalance_back"),
    "cknna_k4": compared("cknna", "cknna", k=4),
    "rv_chance": compared("cka", "chance", variant="biased"),
    "knn1_accuracy_labels_mod3": of_metric("knn", "accuracy", labels=LABELS, k=1),
    "knn3_label_share_mod3": of_metric("knn", "label_share", labels=LABELS, k=3),
    "apd": changed("apd"),
    "within": changed("within"),
    "prt": changed("prt"),
    "semaxis_k0": axis_scores,
    "gride": rows_of_metric("intrinsic-dimension", "dimension", estimator="gride", neighbours=8),
    "levina_bickel_k6_harmonic": of_metric(
        "intrinsic-dimension", "dimension", estimator="mle", neighbours=6
    ),
}


@pytest.mark.parametrize("name", [*REQUESTS, *REQUESTS_ADDED])
def test_golden_metrics(name):
    found = (REQUESTS | REQUESTS_ADDED)[name]()
    assert found == pytest.approx((EXPECTED | ADDED)[name], abs=GOLDEN["tolerance"], rel=0)


@pytest.fixture(
    scope="module", params=[("float32", 3e-7), ("float16", 3e-3)], ids=lambda param: param[0]
)
def stored(request, tmp_path_factory):
    """A store of the matrix X in shards of four rows, and how far its rounding may move a value."""
    dtype, rounding = request.param
    root = tmp_path_factory.mktemp(dtype) / "store"
    made = synthetic_store(
        root, dim=5, n_blocks=0, top_form=None, n_shards=3, n=12, vectors=X[None], dtype=dtype
    )
    return made.store, rounding


AFTER_ABTT = {"abtt_D1_self_similarity": ("anisotropy", "anisotropy", {"transforms": "abtt:1"})}


@pytest.mark.parametrize("name", [*PLAIN, *AFTER_ABTT])
def test_golden_metrics_through_a_store(stored, name):
    (store, rounding), (metric, column, parameters) = stored, (PLAIN | AFTER_ABTT)[name]
    [row] = store.query(metric, **parameters)
    assert row[column] == pytest.approx(
        EXPECTED[name], abs=rounding * max(1, abs(EXPECTED[name])), rel=0
    )
    assert (row["n"], row["reason"]) == (12, None)


def test_every_value_of_the_reference_is_asked_for():
    assert (set(REQUESTS), set(REQUESTS_ADDED)) == (set(EXPECTED), set(ADDED))


def test_the_golden_numbers_are_those_of_the_reference(shared):
    reference = json.loads((shared / "reference" / "metrics_reference.json").read_text("utf-8"))
    corrected = GOLDEN["corrected"]
    assert {name: value for name, value in EXPECTED.items() if name not in corrected} == {
        name: value
        for name, value in reference["expected"].items()
        if name not in (*corrected, "weat_p_exact_strict_gt")
    }
