"""embstore's metrics against those of other packages, on vectors of MiniLM.

Numbers of packages that do not live beside numpy 2 are stored, with their versions: see
:mod:`audit_numbers`.
"""

import json

import audit_numbers
import numpy as np
import pytest
from audit_numbers import LAYERS, SETS, WORDS
from metric_data import Arrays
from scipy import stats

from embstore.metrics import METRICS, rows_of
from embstore.metrics.data import Contexts, Pairs, Words

pytestmark = pytest.mark.slow

NUMBERS = json.loads(audit_numbers.NUMBERS.read_text("utf-8"))
X = audit_numbers.layers()
IDS = np.arange(len(WORDS))
CONTEXTS = Contexts(IDS, IDS // 30, ("first", "second", "third", "fourth"))
COMPARED_ELSEWHERE = {
    "analogies", "probe", "knn", "clusters", "valnorm", "sc-weat", "predictivity", "change",
    "correlate",
}  # fmt: skip
"""Metrics that :mod:`test_analogies`, :mod:`test_probe`, :mod:`test_label_metrics`,
:mod:`test_association`, :mod:`test_likeness`, :mod:`test_change` and :mod:`test_correlate` compare
with gensim, scikit-learn and scipy.
"""
NO_PEER = {
    "rogue-dims", "partition", "effective-rank", "uniformity", "alignment",
    "intra-sentence", "cknna", "axis", "ceat", "drift", "prompt-entropy", "curvature",
}  # fmt: skip
"""Metrics that no package was found for: their tests hold them against their definitions, written
out.
"""

COMPARED = []


def against(metric, peer, rel):
    """Register a function of a layer that returns values of embstore's, each with that of a
    peer.
    """

    def register(function):
        COMPARED.append((metric, peer, rel, function))
        return function

    return register


def stored(package, *keys):
    found = NUMBERS[package]["found"]
    for key in keys:
        found = found[key]
    return found


def query_rows(metric, layer, **inputs):
    x = X[layer]
    return rows_of(METRICS[metric].function(Arrays(x[:40], x[40:]), **inputs))


def compared(metric, **inputs):
    [row] = METRICS[metric].function([Arrays(X[0])], [Arrays(X[6])], IDS, **inputs)
    return row


def words(name, n=None):
    chosen = tuple(SETS[name][:n])
    return Words(np.array([WORDS.index(word) for word in chosen]), chosen)


def shared_columns(row, theirs):
    return [(row[name], value) for name, value in theirs.items()]


def similarities(layer):
    pairwise = pytest.importorskip("sklearn.metrics.pairwise")
    return pairwise.cosine_similarity(X[layer])


@against("anisotropy", "scikit-learn", 1e-12)
def mean_and_spread_of_cosines(layer):
    cosines = similarities(layer)[np.triu_indices(len(WORDS), 1)]
    [row] = query_rows("anisotropy", layer, std=True)
    return [(row["anisotropy"], cosines.mean()), (row["std"], cosines.std())]


@against("norms", "scipy", 1e-9)
def norms_of_vectors(layer):
    described = stats.describe(np.linalg.norm(X[layer], axis=1), ddof=0)
    [row] = query_rows("norms", layer)
    found = (row["mean"], row["std"], row["min"], row["max"])
    return zip(found, (described.mean, described.variance**0.5, *described.minmax), strict=True)


@against("isoscore", "IsoScore", 1e-5)
def isotropy(layer):
    package = pytest.importorskip("IsoScore.IsoScore")
    return [(query_rows("isoscore", layer)[0]["isoscore"], float(package.IsoScore(X[layer])))]


@against("participation-ratio", "scikit-dimension", 1e-9)
def participation(layer):
    [row] = query_rows("participation-ratio", layer)
    return [
        (row["participation_ratio"], stored("scikit-dimension", str(layer), "participation_ratio"))
    ]


@against("spectrum", "scikit-learn", 1e-9)
def principal_components(layer):
    fitted = pytest.importorskip("sklearn.decomposition").PCA(7, svd_solver="full").fit(X[layer])
    [row] = query_rows("spectrum", layer, k=7)
    return [
        *zip(row["shares"], fitted.explained_variance_ratio_, strict=True),
        *zip(row["variances"], fitted.explained_variance_, strict=True),
    ]


@against("intrinsic-dimension", "DADApy", 1e-7)
def dimension_by_the_authors(layer):
    theirs = stored("dadapy", str(layer))
    requests = {"twonn_ls": {}, "twonn_mle_unbiased": {"estimator": "gride", "neighbours": 2}}
    return [
        (query_rows("intrinsic-dimension", layer, **options)[0]["dimension"], theirs[name])
        for name, options in requests.items()
    ]


@against("intrinsic-dimension", "DADApy, over scales", 1e-6)
def dimension_over_scales(layer):
    theirs = stored("dadapy", str(layer))
    rows = query_rows("intrinsic-dimension", layer, estimator="gride")
    columns = {
        "dimension": "gride",
        "standard_error": "gride_errors",
        "distance": "gride_distances",
    }
    return [
        (row[column], value)
        for column, key in columns.items()
        for row, value in zip(rows, theirs[key], strict=True)
    ]


@against("intrinsic-dimension", "scikit-dimension, maximum likelihood", 1e-7)
def dimension_by_likelihood(layer):
    [row] = query_rows("intrinsic-dimension", layer, estimator="mle")
    return [(row["dimension"], stored("scikit-dimension", str(layer), "mle_20"))]


@against("intrinsic-dimension", "scikit-dimension", 1e-7)
def dimension_by_others(layer):
    theirs = stored("scikit-dimension", str(layer))
    return [
        (query_rows("intrinsic-dimension", layer)[0]["dimension"], theirs["twonn_ls"]),
        (
            query_rows("intrinsic-dimension", layer, discard=0.3)[0]["dimension"],
            theirs["twonn_ls_discard_0.3"],
        ),
    ]


@against("hubness", "scikit-hubness", 1e-12)
def hubs(layer):
    return [
        pair
        for distance in ("cosine", "euclidean")
        for pair in shared_columns(
            query_rows("hubness", layer, distance=distance)[0],
            stored("scikit-hubness", distance, str(layer)),
        )
    ]


@against("similarity", "scipy", 1e-9)
def correlations_with_scores(layer):
    left, right = IDS[:-1], IDS[1:]
    score = np.round(2 * np.sin(7.0 * left))  # with ties
    texts = tuple(WORDS)
    [row] = query_rows("similarity", layer, pairs=Pairs(left, right, score, texts[:-1], texts[1:]))
    cosines = similarities(layer)[left, right]
    return [
        (row["spearman"], stats.spearmanr(cosines, score).statistic),
        (row["pearson"], stats.pearsonr(cosines, score).statistic),
    ]


@against("weat", "WEFE", 2e-6)
def association_of_sets(layer):
    """WEFE computes in float32, and has ddof 0."""
    theirs = stored("wefe", str(layer))
    [row] = query_rows("weat", layer, **{name: words(name) for name in "xyab"}, ddof=0)
    return [
        (row["statistic"], theirs["statistic"]),
        (row["effect_size"], theirs["effect_size_ddof0"]),
    ]


@against("self-similarity", "scikit-learn", 1e-12)
def cosines_of_occurrences(layer):
    cosines = similarities(layer)
    means = []
    for group in range(len(CONTEXTS.names)):
        [members] = np.nonzero(CONTEXTS.groups == group)
        means.append(cosines[np.ix_(members, members)][np.triu_indices(len(members), 1)].mean())
    return [
        (
            query_rows("self-similarity", layer, contexts=CONTEXTS)[0]["self_similarity"],
            np.mean(means),
        )
    ]


@against("mev", "scikit-learn", 1e-9)
def first_components_of_occurrences(layer):
    pca = pytest.importorskip("sklearn.decomposition").PCA
    shares = [
        pca(1, svd_solver="full")
        .fit(X[layer][CONTEXTS.groups == group])
        .explained_variance_ratio_[0]
        for group in range(len(CONTEXTS.names))
    ]
    [row] = query_rows("mev", layer, contexts=CONTEXTS, variant="centred")
    return [(row["mev"], np.mean(shares))]


@against("cka", "cka-pytorch", 1e-9)
def alignment_of_kernels(_):
    return [(compared("cka")["cka"], stored("cka-pytorch", "unbiased"))]


@against("rsa", "rsatoolbox", 1e-9)
def correlation_of_dissimilarities(_):
    return [
        (compared("rsa", correlation=name)["rsa"], value)
        for name, value in stored("rsatoolbox").items()
    ]


@against("overlap", "scikit-learn", 1e-12)
def shared_neighbours(_):
    search = pytest.importorskip("sklearn.neighbors").NearestNeighbors
    lists = [
        search(n_neighbors=10, metric="cosine").fit(x).kneighbors(return_distance=False)
        for x in X.values()
    ]
    pairs = zip(*(part.tolist() for part in lists), strict=True)
    shared = np.array([len({*first} & {*other}) for first, other in pairs])
    row = compared("overlap", k=10)
    return [(row["overlap"], shared.mean() / 10), (row["jaccard"], (shared / (20 - shared)).mean())]


@against("procrustes", "netrep", 1e-7)
def angle_after_rotation(_):
    return [(compared("procrustes")["procrustes"], stored("netrep", "angle"))]


@against("imbalance", "DADApy", 1e-12)
def information_imbalance(_):
    return [
        pair
        for k, theirs in stored("dadapy", "imbalance").items()
        for row in [compared("imbalance", k=int(k))]
        for pair in zip((row["imbalance"], row["imbalance_back"]), theirs, strict=True)
    ]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("metric", "peer", "rel", "function"),
    COMPARED,
    ids=[f"{metric}, {peer}" for metric, peer, *_ in COMPARED],
)
def test_a_metric_is_that_of_its_peer(metric, peer, rel, function, layer):
    pairs = list(function(layer))
    assert pairs
    for ours, theirs in pairs:
        assert ours == pytest.approx(theirs, rel=rel, abs=1e-15), (metric, peer)


def test_every_metric_has_a_peer_or_is_known_to_have_none():
    with_peer = {metric for metric, *_ in COMPARED}
    assert with_peer | COMPARED_ELSEWHERE | NO_PEER == set(METRICS)
    assert not with_peer & (COMPARED_ELSEWHERE | NO_PEER)
