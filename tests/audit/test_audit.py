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
from scipy.spatial import distance

from embstore.metrics import METRICS, rows_of
from embstore.metrics.data import Contexts, ItemLabels, Lexicon, Pairs, Words

pytestmark = pytest.mark.slow

NUMBERS = json.loads(audit_numbers.NUMBERS.read_text("utf-8"))
X = audit_numbers.layers()
IDS = np.arange(len(WORDS))
CONTEXTS = Contexts(IDS, IDS // 30, ("first", "second", "third", "fourth"))
# What no package was found for; the tests of these metrics hold them against their definitions,
# written out.
NO_PEER = {
    "analogies", "correlate", "rogue-dims", "partition", "effective-rank", "uniformity",
    "alignment", "intra-sentence",
    "probe", "cknna", "axis", "ceat", "drift", "prompt-entropy", "curvature",
}  # fmt: skip
"""Metrics without a peer here; gensim is that of analogies, which needs a dataset, and scikit-learn
that of probe: tests/metrics/test_analogies.py and test_probe.py.
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
    names = ("twonn_ls", "twonn_mle_unbiased")
    return shared_columns(
        query_rows("intrinsic-dimension", layer)[0], {name: theirs[name] for name in names}
    )


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
        (query_rows("intrinsic-dimension", layer)[0]["twonn_ls"], theirs["twonn_ls"]),
        (
            query_rows("intrinsic-dimension", layer, discard=0.3)[0]["twonn_ls"],
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


@against("valnorm", "scipy", 1e-9)
def correlation_with_valence(layer):
    cosines, a, b = similarities(layer), words("a"), words("b")
    both = np.concatenate([a.ids, b.ids])
    effects = (cosines[:, a.ids].mean(axis=1) - cosines[:, b.ids].mean(axis=1)) / cosines[
        :, both
    ].std(axis=1)
    valence = np.sin(3.0 * IDS)
    lexicon = Lexicon(Words(IDS, tuple(WORDS)), valence)
    [row] = query_rows("valnorm", layer, lexicon=lexicon, pleasant=a, unpleasant=b)
    right = stats.pearsonr(effects, valence)
    found = (row["valnorm"], row["p_value"], row["low"], row["high"])
    n = len(IDS)
    kept = [np.delete(IDS, at) for at in range(n)]
    without = np.arctanh([stats.pearsonr(effects[ids], valence[ids]).statistic for ids in kept])
    half = stats.t.ppf(0.975, n - 1) * np.sqrt((n - 1) * without.var())  # of the jackknife
    limits = np.tanh(np.arctanh(right.statistic) + half * np.array([-1, 1]))
    return zip(found, (right.statistic, right.pvalue, *limits), strict=True)


@against("weat", "WEFE", 2e-6)
def association_of_sets(layer):
    """WEFE computes in float32, and has ddof 0."""
    theirs = stored("wefe", str(layer))
    [row] = query_rows("weat", layer, **{name: words(name) for name in "xyab"}, ddof=0)
    return [
        (row["statistic"], theirs["statistic"]),
        (row["effect_size"], theirs["effect_size_ddof0"]),
    ]


def exact_p_value(values, n_first):
    found = stats.permutation_test(
        (values[:n_first], values[n_first:]),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        vectorized=True,
        n_resamples=np.inf,
        alternative="greater",
    )
    return float(found.pvalue)


@against("weat", "scipy", 1e-12)
def p_value_of_sets(layer):
    sets = {name: words(name, 5) for name in "xyab"}
    cosines = similarities(layer)[np.concatenate([sets["x"].ids, sets["y"].ids])]
    associations = cosines[:, sets["a"].ids].mean(axis=1) - cosines[:, sets["b"].ids].mean(axis=1)
    return [(query_rows("weat", layer, **sets)[0]["p_value"], exact_p_value(associations, 5))]


@against("sc-weat", "scipy", 1e-12)
def p_values_of_words(layer):
    a, b, targets = words("a", 5), words("b", 5), words("x")
    rows = query_rows("sc-weat", layer, words=targets, a=a, b=b)
    cosines = similarities(layer)[:, np.concatenate([a.ids, b.ids])]
    return [
        (row["p_value"], exact_p_value(cosines[word], 5))
        for row, word in zip(rows, targets.ids, strict=True)
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


@against("predictivity", "scikit-learn", 1e-9)
def variance_explained_in_sample(_):
    model = pytest.importorskip("sklearn.linear_model").LinearRegression()
    score = pytest.importorskip("sklearn.metrics").r2_score
    x, y = X[0][:, :20], X[6]
    [row] = METRICS["predictivity"].function([Arrays(x)], [Arrays(y)], IDS)
    return [
        (row["r2_in_sample"], score(y, model.fit(x, y).predict(x), multioutput="variance_weighted"))
    ]


CLASSES = ItemLabels(
    IDS,
    np.array(
        [
            next(i for i, name in enumerate("xyab*") if word in SETS.get(name, WORDS))
            for word in WORDS
        ]
    ),
    tuple("xyab*"),
)


@against("knn", "scikit-learn", 1e-12)
def labels_of_the_nearest(layer):
    neighbors = pytest.importorskip("sklearn.neighbors").KNeighborsClassifier(
        1, metric="cosine", algorithm="brute"
    )
    selection = pytest.importorskip("sklearn.model_selection")
    found = selection.cross_val_predict(
        neighbors, X[layer], CLASSES.codes, cv=selection.LeaveOneOut()
    )
    score = pytest.importorskip("sklearn.metrics").balanced_accuracy_score
    [row] = query_rows("knn", layer, labels=CLASSES, k=1)
    return [
        (row["accuracy"], (found == CLASSES.codes).mean()),
        (row["balanced_accuracy"], score(CLASSES.codes, found)),
    ]


@against("clusters", "scikit-learn", 1e-9)
def clusters_of_directions(layer):
    cluster, metrics = (
        pytest.importorskip("sklearn.cluster"),
        pytest.importorskip("sklearn.metrics"),
    )
    units = X[layer] / np.linalg.norm(X[layer], axis=1)[:, None]
    [seed] = np.random.SeedSequence(0).generate_state(1).tolist()
    found = cluster.KMeans(5, n_init=1, random_state=seed).fit_predict(units)
    [row] = query_rows("clusters", layer, labels=CLASSES, runs=1)
    return [
        (row["ami"], metrics.adjusted_mutual_info_score(CLASSES.codes, found)),
        (row["ari"], metrics.adjusted_rand_score(CLASSES.codes, found)),
        (row["v_measure"], metrics.v_measure_score(CLASSES.codes, found)),
    ]


@against("change", "scipy", 1e-9)
def distances_between_groups(layer):
    halves = [("first", IDS[:50]), ("second", IDS[50:])]
    contexts = Contexts(IDS, np.zeros(len(IDS), np.int64), ("all",))
    [row] = query_rows("change", layer, contexts=contexts, groups=halves, permutations=0)
    first, second = (X[layer][ids] for _, ids in halves)
    within = (distance.pdist(first, "cosine").mean() + distance.pdist(second, "cosine").mean()) / 2
    return [
        (row["apd"], distance.cdist(first, second, "cosine").mean()),
        (row["within"], within),
        (row["prt"], distance.cosine(first.mean(axis=0), second.mean(axis=0))),
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
    assert with_peer | NO_PEER == set(METRICS)
    assert not with_peer & NO_PEER
