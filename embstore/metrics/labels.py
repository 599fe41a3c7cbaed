"""Measure by nearest neighbours and clusters what a layer shows of a label of the items."""

import warnings
from dataclasses import replace
from functools import partial
from typing import Annotated

import numpy as np

from embstore.base.arrays import Float64Array, Int64Array, Mask, distinct_rows, slices
from embstore.base.installation import needing
from embstore.metrics.data import ItemLabels
from embstore.metrics.declaration import Ids, LayerData, Result, join_reasons, with_scores
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import (
    GROUP,
    GROUPED_BY,
    N_ZERO,
    NearestNeighbours,
    Option,
    amount,
    count,
    kept_whole,
    limits,
    quantity,
    share,
)
from embstore.metrics.numerics.estimates import (
    GROUPS,
    MIN_GROUPS,
    MORE_NEIGHBOURS,
    Estimate,
    estimate_of,
    half_errors,
    halved,
    whole_copies,
)
from embstore.metrics.numerics.layer_pairs import Grid
from embstore.metrics.numerics.linear_algebra import unit_rows
from embstore.metrics.numerics.neighbours import why_too_many

Codes = Int64Array

_ROW_VALUES = 1 << 22
_COUNTS = (
    count("n_classes", "classes among the items"),
    N_ZERO,
    count("null_left_out", "items without a label"),
)


@metric(
    columns=(
        share(
            "accuracy",
            "items whose label most neighbours have",
            interval=("low", "high"),
            baselines=("majority",),
        ),
        *limits("accuracy", share),
        share("balanced_accuracy", "mean accuracy of the classes"),
        share("label_share", "neighbours that have the item's own label", shown=False),
        share("chance", "label_share, and accuracy at k = 1, by chance"),
        share("majority", "share of the largest class", label="largest class"),
        *_COUNTS,
        GROUPED_BY,
    ),
    formula=(
        "share of items i whose label is the most frequent one of their k nearest others by cosine"
    ),
    citation=(
        "Fix & Hodges (1951); leave-one-out as in Cover & Hart (1967), IEEE Trans. Inf."
        " Theory 13; interval: Korn & Graubard (1998), Survey Methodology 24, after Clopper &"
        " Pearson (1934), Biometrika 26"
    ),
    references=("fix1951", "cover1967", "korn1998", "clopper1934"),
    needs="labels",
    best="accuracy",
    versus=True,
    label="Nearest-neighbour classification",
    options=(
        replace(
            GROUP,
            help=(
                "Column whose items stay together in the halves of the interval, such as lemma; by"
                " default the sentence of an occurrence."
            ),
        ),
    ),
    drawn=lambda row: f"intervals from random halves of the items{kept_whole(row['grouped_by'])}",
    version=3,
)
def knn(data: LayerData, *, labels: ItemLabels, k: NearestNeighbours = 10, seed: int = 0) -> Result:
    """Accuracy of a label taken from the nearest neighbours: what a layer shows of it untrained.

    Exact neighbours by cosine, leaving the item itself out by its id. Of equally frequent labels
    that of the nearest neighbour is taken. Items without a label are left out and counted, and so
    are zero vectors. The classes are the values of a column, or intervals of one of numbers. Items
    that are neighbours are classified rightly or wrongly together, so that the error is not that of
    independent items: it is estimated from 50 random halves of the items (100 of fewer than 100
    items, or sentences of occurrences), in which k is halved too, if above 3 to no less than 3, and
    is at least that of independent items; the interval is Korn & Graubard's (1998): Clopper &
    Pearson's (1934) of as many independent items as have this error. Halves divide no sentence, no
    group, and no equal vectors if many items have one; of fewer than 20 groups there is no
    interval; occurrences of one word still are each
    other's neighbours, and so are the tokens of one text, which share its labels: both lift the
    accuracy, as above chance without any signal. chance is Σ m(m − 1) / (n(n − 1)) over the class
    sizes m. With as many neighbours as a class has items, or more, some of them are of other
    classes; with twice as many most are, and the accuracy falls, down to that of the largest class
    or below.
    """
    ids, positions, _ = data.neighbours(2 * k + MORE_NEIGHBOURS, only=labels.ids)
    labelled = labels.restricted(ids)
    sizes = np.bincount(labelled.codes, minlength=len(labels.names)).astype(np.float64)
    n, n_classes = len(ids), int((sizes > 0).sum())
    row = _counts(data, labels, n) | {"n_classes": n_classes, "seed": None}
    why = (
        why_no_classes(n, n_classes)
        or Grid.of([data], None).constant_reason(0, 0, by_direction=True)
        or why_too_many(k, n)
    )
    if why:
        return row | {"reason": why}
    near = labelled.codes[positions[:, :k]]
    is_right = _are_right(labelled.codes, near)
    n_right = np.bincount(labelled.codes, is_right, minlength=len(sizes))
    row |= {
        "accuracy": is_right.mean(),
        "balanced_accuracy": (n_right[sizes > 0] / sizes[sizes > 0]).mean(),
        "label_share": (near == labelled.codes[:, None]).mean(),
        "chance": (sizes * (sizes - 1)).sum() / (n * (n - 1)),
        "majority": sizes.max() / n,
    }
    why_large = _why_large(k, sizes)
    groups, why_whole = whole_copies(labelled.group_numbers, distinct_rows(data.gather(ids)[1])[1])
    least = MIN_GROUPS if labelled.groups is None else GROUPS
    if groups.max() + 1 < least:
        few = f"interval: fewer than {least} {'different vectors' if why_whole else labelled.noun}"
        return row | {"reason": join_reasons(why_large, few)}

    def recomputed(some: Ids) -> Estimate:
        return estimate_of(knn(data, labels=labels.restricted(some), k=k, seed=seed))

    errors, df = half_errors(partial(_half_accuracies, labelled.codes, positions, k), groups, seed)
    hits = is_right.astype(np.float64)
    estimate = Estimate(ids, float(hits.mean()), hits, errors, df, recomputed, clusters=groups)
    low, high = estimate.share_interval()
    row |= {"low": low, "high": high, "seed": seed, "reason": join_reasons(why_large, why_whole)}
    return with_scores(row, estimate)


def _are_right(codes: Codes, near: Codes) -> Mask:
    """Return whether the vote of each item's neighbours (n, k) is its own label (n,)."""
    rows_at_once = _ROW_VALUES // near.shape[1] ** 2 + 1
    are_right: Mask = (
        np.concatenate([_vote(near[rows]) for rows in slices(len(near), rows_at_once)]) == codes
    )
    return are_right


def _half_accuracies(codes: Codes, positions: Codes, k: int, is_first: Mask) -> tuple[float, float]:
    """Return the accuracy in each of two halves, by half as many neighbours, but three if k has as
    many.

    Neighbours are those of the list (n, 2 k + 40) that are in the item's half; where these are too
    few, they vote.
    """
    k = min(halved(k), int(np.bincount(is_first).min()) - 1)
    is_near = is_first[positions] == is_first[:, None]
    rank = np.cumsum(is_near, axis=1)
    rows, columns = np.nonzero(is_near & (rank <= k))
    near = np.tile(-1 - np.arange(k), (len(codes), 1))  # labels that no item has
    near[rows, rank[rows, columns] - 1] = codes[positions[rows, columns]]
    are_right = _are_right(codes, near)
    return float(are_right[is_first].mean()), float(are_right[~is_first].mean())


def _why_large(k: int, sizes: Float64Array) -> str | None:
    """Return the reason why k is too large for classes of these sizes, with the largest sensible
    one; else None.
    """
    few = sizes[(sizes > 1) & (sizes <= k)]
    if not len(few):
        return None
    n_classes = int((sizes > 0).sum())
    return (
        f"accuracy: {len(few)} of {n_classes} classes have no more than k = {k} items, so that"
        f" some neighbours are of other classes: take a k of at most {int(few.min()) - 1}"
    )


def why_no_classes(n: int, n_classes: int) -> str | None:
    """Return the reason why labels of n items say nothing; None if they do."""
    if n_classes < 2:
        return "fewer than two classes"
    return "each item is a class of its own" if n_classes == n else None


def _vote(labels: Codes) -> Codes:
    """Return the most frequent label in each row (n, k), of equally frequent ones the first."""
    n_equal = (labels[:, :, None] == labels[:, None, :]).sum(axis=2)
    return np.take_along_axis(labels, n_equal.argmax(axis=1)[:, None], axis=1)[:, 0]


def _counts(data: LayerData, labels: ItemLabels, n_used: int) -> Result:
    """Return n, and the numbers of selected items that are zero vectors or have no label."""
    total, n_labelled = data.summary.n, n_used
    if data.summary.n_zero:
        n_labelled = sum(data.map_with_ids(lambda ids, _: int(np.isin(ids, labels.ids).sum())))
    return {"n": n_used, "n_zero": n_labelled - n_used, "null_left_out": total - n_labelled}


@metric(
    columns=(
        quantity(
            "ami",
            "adjusted mutual information: 1 the same, 0 by chance",
            maximum=1,
            interval=("ami_deviation",),
            label="adjusted mutual information",
        ),
        quantity(
            "ari",
            "adjusted Rand index: 1 the same, 0 by chance",
            minimum=-0.5,
            maximum=1,
            label="adjusted Rand index",
        ),
        share("v_measure", "harmonic mean of homogeneity and completeness"),
        share("v_chance", "v_measure by chance"),
        amount(
            "ami_deviation",
            "standard deviation of ami over the runs",
            shown=False,
            label="standard deviation",
        ),
        *_COUNTS,
    ),
    formula="AMI(labels, k-means of x/‖x‖ with as many clusters as classes), mean over the runs",
    citation=(
        "Vinh, Epps & Bailey (2010), JMLR 11; Hubert & Arabie (1985), J. Classif. 2;"
        " Rosenberg & Hirschberg (2007), EMNLP"
    ),
    references=("vinh2010", "hubert1985", "rosenberg2007"),
    needs="labels",
    best="ami",
    label="Agreement of clusters with a label",
    packages=("scikit-learn",),
    drawn=lambda row: f"{row['runs']} random starts of k-means",
)
def clusters(
    data: LayerData,
    *,
    labels: ItemLabels,
    runs: Annotated[
        int, Option("Number of runs of k-means, each from its own start.", minimum=1)
    ] = 10,
    seed: int = 0,
) -> Result:
    """Whether clusters of directions are the classes of a label: k-means, mutual information.

    scikit-learn's k-means with k-means++ on all unit vectors, in float64, one start a run; means
    over the runs. Items without a label are left out and counted, and so are zero vectors. The
    classes are the values of a column, or intervals of one of numbers. V-measure is not corrected
    for chance, and rises with the number of clusters: v_chance is its value for clusters of these
    sizes by chance, from the expected mutual information; ami and ari are corrected. A dominant
    dimension or a common mean decides the clusters of many raw layers: compare transforms='center'.
    """
    ids, vectors = data.gather(labels.ids)
    units, is_zero = unit_rows(vectors)
    units, codes = units[~is_zero], labels.codes[np.searchsorted(labels.ids, ids[~is_zero])]
    distinct, codes = np.unique(codes, return_inverse=True)
    row: Result = {
        "n": len(units),
        "n_zero": is_zero.sum(),
        "null_left_out": data.summary.n - len(ids),
        "n_classes": len(distinct),
        "seed": None,
    }
    if why := why_no_classes(len(units), len(distinct)):
        return row | {"reason": why}
    seeds = np.random.SeedSequence(seed).generate_state(runs).tolist()
    scores = np.array([_agreement(units, codes, len(distinct), start) for start in seeds])
    means = scores.mean(axis=0).tolist()
    row |= dict(zip(("ami", "ari", "v_measure", "v_chance"), means, strict=True))
    if runs > 1:
        row["ami_deviation"] = scores[:, 0].std(ddof=1)
    return row | {"seed": seed}


def _agreement(
    units: Float64Array, codes: Codes, k: int, seed: int
) -> tuple[float, float, float, float]:
    """Return AMI, ARI, V-measure and its value by chance, of one run of k-means."""
    with needing("clusters need scikit-learn", "probe"):
        from scipy.stats import entropy
        from sklearn import metrics
        from sklearn.cluster import KMeans
        from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information
        from threadpoolctl import threadpool_limits
    # One thread, since several add up in any order; a warning is of fewer different directions than
    # clusters.
    with warnings.catch_warnings(action="ignore"), threadpool_limits(1):
        assigned = KMeans(k, n_init=1, random_state=seed).fit_predict(units)
    expected = expected_mutual_information(
        contingency_matrix(codes, assigned, sparse=True), len(codes)
    )
    mean_entropy = (entropy(np.bincount(codes)) + entropy(np.bincount(assigned))) / 2
    return (
        float(metrics.adjusted_mutual_info_score(codes, assigned)),
        float(metrics.adjusted_rand_score(codes, assigned)),
        float(metrics.v_measure_score(codes, assigned)),
        float(expected / mean_entropy),
    )
