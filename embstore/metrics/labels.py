"""Measure what a layer shows of a label of the items: by nearest neighbours, clusters and a linear
probe.
"""

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Float64Array, slices
from embstore.base.installation import needing
from embstore.metrics.data import ItemLabels
from embstore.metrics.declaration import Column, Ids, LayerData, Result, with_scores
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import GROUP, N_ZERO, Option
from embstore.metrics.numerics.estimates import (
    MIN_GROUPS,
    Estimate,
    estimate_of,
    fold_estimate,
    half_errors,
)
from embstore.metrics.numerics.layer_pairs import Grid
from embstore.metrics.numerics.linear_algebra import unit_rows
from embstore.metrics.numerics.statistics import draw_folds
from embstore.metrics.predictivity import Regression

Codes = NDArray[np.int64]

_ROW_VALUES = 1 << 22
_MORE_NEIGHBOURS = 40  # beyond 2 k, so that nearly always k / 2 are in a half
_LEAST_NEIGHBOURS = 3
_NULLS: Result = dict.fromkeys(
    ("accuracy", "low", "high", "balanced_accuracy", "label_share", "chance", "majority", "best")
)
ONE_CLASS = "fewer than two classes"


_COUNTS = (
    Column("n_classes", "integer", "classes among the items", minimum=0, shown=False),
    N_ZERO,
    Column("null_left_out", "integer", "items without a label", minimum=0, shown=False),
)


@metric(
    columns=(
        Column(
            "accuracy",
            "number",
            "items whose label most neighbours have",
            0,
            1,
            interval=("low", "high"),
            baselines=("majority",),
        ),
        Column("low", "number", "lower limit of the 95 % interval of accuracy", 0, 1),
        Column("high", "number", "upper limit of the 95 % interval of accuracy", 0, 1),
        Column("balanced_accuracy", "number", "mean accuracy of the classes", minimum=0, maximum=1),
        Column(
            "label_share", "number", "neighbours that have the item's own label", 0, 1, shown=False
        ),
        Column("chance", "number", "label_share, and accuracy at k = 1, by chance", 0, 1),
        Column(
            "majority",
            "number",
            "share of the largest class",
            minimum=0,
            maximum=1,
            label="largest class",
        ),
        *_COUNTS,
    ),
    formula=(
        "share of items i whose label is the most frequent one of their k nearest others by cosine"
    ),
    citation=(
        "Fix & Hodges (1951); leave-one-out as in Cover & Hart (1967), IEEE Trans. Inf."
        " Theory 13; interval: Wilson (1927), JASA 22"
    ),
    references=("fix1951", "cover1967", "wilson1927"),
    needs="labels",
    best="accuracy",
    versus="parts",
    label="Nearest-neighbour classification",
    drawn=lambda row: "intervals from random halves of the items",
    version=2,
)
def knn(
    data: LayerData,
    *,
    labels: ItemLabels,
    k: Annotated[int, Option("Number of nearest neighbours.", low=1)] = 10,
    seed: int = 0,
) -> Result:
    """Accuracy of a label taken from the nearest neighbours: what a layer shows of it untrained.

    Exact neighbours by cosine, leaving the item itself out by its id. Of equally frequent labels
    that of the nearest neighbour is taken. Items without a label are left out and counted, and so
    are zero vectors. The classes are the values of a column, or intervals of one of numbers. Items
    that are neighbours are classified rightly or wrongly together, so that the error is not that of
    independent items: it is estimated from 50 random halves of the items (100 of fewer than 100
    items), in which k is halved too, to no less than 3, and is at least that of independent items;
    the interval is Wilson's (1927) of as many independent items as have this error. Halves divide
    no sentence; occurrences of one word still are each other's neighbours, and lift the accuracy.
    chance is Σ m(m − 1) / (n(n − 1)) over the class sizes m. With as many neighbours as a class has
    items, or more, most of them are of other classes, and the accuracy falls to that of the largest
    class or below.
    """
    ids, positions, _ = data.neighbours(2 * k + _MORE_NEIGHBOURS, only=labels.ids)
    found = labels.restricted(ids)
    sizes = np.bincount(found.codes, minlength=len(labels.names)).astype(np.float64)
    n, n_classes = len(ids), int((sizes > 0).sum())
    row: Result = {**_NULLS, **_counts(data, labels, n), "n_classes": n_classes, "seed": None}
    if why := why_no_classes(n, n_classes) or Grid.of([data], None).why_constant(
        0, 0, by_direction=True
    ):
        return row | {"reason": why}
    if k >= n:
        return row | {"reason": f"{k} neighbours of {n - 1} other items: take a smaller k"}
    near = found.codes[positions[:, :k]]
    is_right = _are_right(found.codes, near)
    n_right = np.bincount(found.codes, is_right, minlength=len(sizes))
    row |= {
        "accuracy": float(is_right.mean()),
        "balanced_accuracy": float((n_right[sizes > 0] / sizes[sizes > 0]).mean()),
        "label_share": float((near == found.codes[:, None]).mean()),
        "chance": float((sizes * (sizes - 1)).sum() / (n * (n - 1))),
        "majority": float(sizes.max() / n),
        "reason": _why_large(k, sizes),
    }
    groups = (
        np.arange(n) if found.groups is None else np.unique(found.groups, return_inverse=True)[1]
    )
    if groups.max() + 1 < MIN_GROUPS:
        items = "items" if found.groups is None else "groups of items"
        return row | {"reason": row["reason"] or f"interval: fewer than {MIN_GROUPS} {items}"}

    def recomputed(some: Ids) -> Estimate:
        return estimate_of(knn(data, labels=labels.restricted(some), k=k, seed=seed))

    errors, df = half_errors(partial(_half_accuracies, found.codes, positions, k), groups, seed)
    estimate = Estimate(
        ids, float(is_right.mean()), is_right.astype(np.float64), errors, df, recomputed
    )
    low, high = estimate.share_interval()
    return with_scores(row | {"low": low, "high": high, "seed": seed}, estimate)


def _are_right(codes: Codes, near: Codes) -> NDArray[np.bool_]:
    """Return whether the vote of each item's neighbours (n, k) is its own label (n,)."""
    rows_at_once = _ROW_VALUES // near.shape[1] ** 2 + 1
    are_right: NDArray[np.bool_] = (
        np.concatenate([_vote(near[rows]) for rows in slices(len(near), rows_at_once)]) == codes
    )
    return are_right


def _half_accuracies(
    codes: Codes, positions: Codes, k: int, is_first: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the accuracy in each of two halves, by half as many neighbours, but three if k has as
    many.

    Neighbours are those of the list (n, 2 k + 40) that are in the item's half; where these are too
    few, they vote.
    """
    k = min(k, max(_LEAST_NEIGHBOURS, k // 2), int(np.bincount(is_first).min()) - 1)
    is_near = is_first[positions] == is_first[:, None]
    rank = np.cumsum(is_near, axis=1)
    rows, columns = np.nonzero(is_near & (rank <= k))
    near = np.tile(-1 - np.arange(k), (len(codes), 1))  # labels that no item has
    near[rows, rank[rows, columns] - 1] = codes[positions[rows, columns]]
    are_right = _are_right(codes, near)
    return float(are_right[is_first].mean()), float(are_right[~is_first].mean())


def _why_large(k: int, sizes: NDArray[np.float64]) -> str | None:
    """Return the reason why k is too large for classes of these sizes, with the largest sensible
    one; else None.
    """
    few = sizes[(sizes > 1) & (sizes <= k)]
    if not len(few):
        return None
    n_classes = int((sizes > 0).sum())
    return (
        f"accuracy: {len(few)} of {n_classes} classes have no more than k = {k} items, so that"
        f" neighbours are of other classes: take a k of at most {int(few.min()) - 1}"
    )


def why_no_classes(n: int, n_classes: int) -> str | None:
    """Return the reason why labels of n items say nothing; None if they do."""
    return (
        ONE_CLASS
        if n_classes < 2
        else "each item is a class of its own"
        if n_classes == n
        else None
    )


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
        Column(
            "ami",
            "number",
            "adjusted mutual information: 1 the same, 0 by chance",
            maximum=1,
            interval=("ami_deviation",),
            label="adjusted mutual information",
        ),
        Column(
            "ari",
            "number",
            "adjusted Rand index: 1 the same, 0 by chance",
            minimum=-0.5,
            maximum=1,
            label="adjusted Rand index",
        ),
        Column(
            "v_measure",
            "number",
            "harmonic mean of homogeneity and completeness",
            minimum=0,
            maximum=1,
        ),
        Column("v_chance", "number", "v_measure by chance", minimum=0, maximum=1),
        Column(
            "ami_deviation",
            "number",
            "standard deviation of ami over the runs",
            minimum=0,
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
    drawn=lambda row: f"{row['runs']} random starts of k-means",
)
def clusters(
    data: LayerData,
    *,
    labels: ItemLabels,
    runs: Annotated[int, Option("Number of runs of k-means, each from its own start.", low=1)] = 10,
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
    units, own = units[~is_zero], labels.codes[np.searchsorted(labels.ids, ids[~is_zero])]
    distinct, own = np.unique(own, return_inverse=True)
    counts: Result = {
        "n": len(units),
        "n_zero": int(is_zero.sum()),
        "null_left_out": data.summary.n - len(ids),
    }
    empty: Result = dict.fromkeys(("ami", "ari", "v_measure", "v_chance", "ami_deviation", "best"))
    empty |= counts | {"n_classes": len(distinct), "seed": None}
    if why := why_no_classes(len(units), len(distinct)):
        return empty | {"reason": why}
    seeds = np.random.SeedSequence(seed).generate_state(runs).tolist()
    scores = np.array([_agreement(units, own, len(distinct), each) for each in seeds])
    ami, ari, v_measure, v_chance = scores.mean(axis=0).tolist()
    deviation = float(scores[:, 0].std(ddof=1)) if runs > 1 else None
    values: Result = {
        "ami": ami,
        "ari": ari,
        "v_measure": v_measure,
        "v_chance": v_chance,
        "ami_deviation": deviation,
    }
    return empty | values | {"reason": None, "seed": seed}


def _agreement(
    units: NDArray[np.float64], own: Codes, k: int, seed: int
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
        found = KMeans(k, n_init=1, random_state=seed).fit_predict(units)
    expected = expected_mutual_information(contingency_matrix(own, found, sparse=True), len(own))
    mean_entropy = (entropy(np.bincount(own)) + entropy(np.bincount(found))) / 2
    return (
        float(metrics.adjusted_mutual_info_score(own, found)),
        float(metrics.adjusted_rand_score(own, found)),
        float(metrics.v_measure_score(own, found)),
        float(expected / mean_entropy),
    )


STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Values of scikit-learn's C that are tried, the strongest regularisation first."""
_INNER_FOLDS = 3
_R2_INFLATION = 1.5
"""Factor of the variance of R²: squared errors have longer tails than hits. By simulation of 60 to
420 items.
"""
_MAX_ITERATIONS = 2000
_PROBE_NULLS: Result = dict.fromkeys(
    (
        "accuracy",
        "r2",
        "low",
        "high",
        "macro_f1",
        "majority",
        "control_accuracy",
        "selectivity",
        "control",
        "best",
    )
)


def _describe_draws(row: Mapping[str, Any]) -> str:
    """Return how the folds and the labels of the control were drawn."""
    types = "the control task of Hewitt & Liang (2019): one random label for each word"
    control = (
        ""
        if row["control"] is None
        else f"; control: {types if row['control'] == 'types' else row['control']}"
    )
    groups = f", each {row['grouped_by']} in one of them" if row["grouped_by"] else ""
    times = f"{row['repeats']} × " if row["repeats"] > 1 else ""
    return f"{times}{row['folds']} folds drawn at random{groups}{control}"


@metric(
    columns=(
        Column(
            "accuracy",
            "number",
            "items of classes predicted rightly",
            0,
            1,
            interval=("low", "high"),
            baselines=("control_accuracy", "majority"),
        ),
        Column(
            "r2",
            "number",
            "share of the variance of numbers that is predicted",
            maximum=1,
            interval=("low", "high"),
            label="R²",
        ),
        Column("low", "number", "lower limit of the 95 % interval", maximum=1),
        Column("high", "number", "upper limit of the 95 % interval", maximum=1),
        Column(
            "macro_f1",
            "number",
            "mean of the F1 scores of the classes",
            minimum=0,
            maximum=1,
            shown=False,
            label="macro F1",
        ),
        Column(
            "majority",
            "number",
            "share of the largest class",
            minimum=0,
            maximum=1,
            label="largest class",
        ),
        Column(
            "control_accuracy",
            "number",
            "accuracy in the control task",
            minimum=0,
            maximum=1,
            label="control task",
        ),
        Column("selectivity", "number", "accuracy minus control_accuracy", minimum=-1, maximum=1),
        Column(
            "control",
            "string",
            "labels of the control task: one for each type, or shuffled",
            shown=False,
        ),
        Column("n_classes", "integer", "classes among the items", minimum=0, shown=False),
        Column("n_groups", "integer", "groups that the folds are made of", minimum=0, shown=False),
        Column("null_left_out", "integer", "items without a label", minimum=0, shown=False),
        Column(
            "grouped_by",
            "string",
            "column that the groups are the values of, or sentence",
            shown=False,
        ),
    ),
    formula=(
        "share of items i with argmax_c w_c·z_i + b_c = c_i, fitted to the folds without i; z"
        " standardised"
    ),
    citation=(
        "Hewitt & Liang (2019), EMNLP (control task and selectivity); Alain & Bengio (2017),"
        " ICLR workshop; interval: Nadeau & Bengio (2003), Machine Learning 52"
    ),
    references=("hewitt2019", "alain2017", "nadeau2003"),
    needs="labels",
    best="accuracy",
    versus="parts",
    options=(GROUP,),
    label="Linear probe",
    version=2,
    drawn=_describe_draws,
)
def probe(
    data: LayerData,
    *,
    labels: ItemLabels,
    folds: Annotated[int, Option("Number of folds.", low=2)] = 5,
    repeats: Annotated[int, Option("Number of times that the folds are drawn.", low=1)] = 5,
    control: Annotated[
        bool, Option("Run the control task, which takes as long as one repeat.")
    ] = True,
    seed: int = 0,
) -> Result:
    """How well a linear probe predicts a label from the vectors, on items it was not fitted to.

    Linear only, by scikit-learn: multinomial logistic regression (solver newton-cg), C of 10⁻⁴ to 1
    by the accuracy on three inner folds, components standardised on the fitted items. No group is
    divided between folds: of occurrences no sentence is, by default, since its occurrences come
    from one forward pass; give the lemma to see what carries over to other words. The control task
    gives each type, the word of an occurrence, one random label: what a probe of this capacity
    learns by heart. Items that are their own type get shuffled labels, and selectivity is then the
    distance from chance; so it is where `group` keeps each type on one side, whose label cannot be
    learnt. Columns of numbers are predicted by ridge regression, with the strength of generalised
    cross-validation, and R² is of all folds together. The folds are drawn five times, and the
    number is of all of them; folds share the items that they are fitted to, so that the interval is
    Nadeau & Bengio's (2003) of repeated folds (of R² with 1.5 times their variance, which held in
    simulations), and no smaller than that of independent items: repeats=1 is faster, and its
    intervals are wide. Compare an untrained model, with `versus`: of accuracies, or of R².
    """
    ids, vectors = data.gather(labels.ids)
    labels = labels.restricted(ids)
    groups = (
        np.arange(len(ids))
        if labels.groups is None
        else np.unique(labels.groups, return_inverse=True)[1]
    )
    n_groups = int(groups.max(initial=-1)) + 1
    n_classes = None if labels.values is not None else len(np.unique(labels.codes))
    row = _PROBE_NULLS | {
        "n": len(ids),
        "null_left_out": data.summary.n - len(ids),
        "n_groups": n_groups,
    }
    row |= {"n_classes": n_classes, "seed": None}
    if n_groups < max(folds, 2 * _INNER_FOLDS):
        items = "items" if labels.groups is None else "groups of items"
        return row | {"reason": f"fewer than {max(folds, 2 * _INNER_FOLDS)} {items}"}
    if n_classes is not None and (why := why_no_classes(len(ids), n_classes)):
        return row | {"reason": why}
    if labels.values is not None and np.ptp(labels.values) == 0:
        return row | {"reason": "the values of the column are all equal"}

    def recomputed(some: Ids) -> Estimate:
        result = probe(
            data,
            labels=labels.restricted(some),
            folds=folds,
            repeats=repeats,
            control=False,
            seed=seed,
        )
        return estimate_of(result)

    x = vectors.astype(np.float64)
    drawn = np.stack(
        [
            draw_folds(groups, folds, [seed, 4, repeat] if repeat else seed)
            for repeat in range(repeats)
        ]
    )
    row |= {"reason": None, "seed": seed}
    if labels.values is not None:
        errors, totals = np.stack([_ridge(x, labels.values, fold) for fold in drawn], axis=1)
        estimate = fold_estimate(
            ids, totals - errors, totals, drawn, recomputed, inflation=_R2_INFLATION
        )
        low, high = estimate.r2_interval()
        return with_scores(row | {"r2": estimate.value, "low": low, "high": high}, estimate)
    found = [_classify(x, labels.codes, fold, groups, seed) for fold in drawn]
    from sklearn.metrics import f1_score  # which is installed, since a probe was fitted

    are_right = (np.stack(found) == labels.codes).astype(np.float64)
    estimate = fold_estimate(ids, are_right, np.ones_like(are_right), drawn, recomputed)
    low, high = estimate.share_interval()
    sizes = np.bincount(labels.codes)
    macro_f1 = np.mean([f1_score(labels.codes, each, average="macro") for each in found])
    row |= {
        "accuracy": estimate.value,
        "low": low,
        "high": high,
        "macro_f1": float(macro_f1),
        "majority": float(sizes.max() / len(ids)),
    }
    if few := int(((sizes > 0) & (sizes < folds)).sum()):
        row["reason"] = (
            f"accuracy: {few} of {n_classes} classes have fewer items than there are folds"
        )
    if control:
        codes, name = _control_labels(labels, seed)
        by_chance = float((_classify(x, codes, drawn[0], groups, seed) == codes).mean())
        row |= {
            "control_accuracy": by_chance,
            "selectivity": estimate.value - by_chance,
            "control": name,
        }
    return with_scores(row, estimate)


def _control_labels(labels: ItemLabels, seed: int) -> tuple[Codes, str]:
    """Return random labels of the items, and how they were drawn."""
    rng = np.random.default_rng([seed, 1])
    if labels.types is None or len(np.unique(labels.types)) == len(labels.codes):
        return rng.permutation(labels.codes), "shuffled labels"
    types = np.unique(labels.types, return_inverse=True)[1]
    return rng.choice(labels.codes, int(types.max()) + 1)[types], "types"


def _classify(x: Float64Array, codes: Codes, fold: Codes, groups: Codes, seed: int) -> Codes:
    """Return the class (n,) of each item as predicted from the folds that it is not in."""
    found = np.empty_like(codes)
    for number in range(int(fold.max()) + 1):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        shift, scale = x[train].mean(axis=0), x[train].std(axis=0)
        scaled = (x - shift) / np.where(scale > 0, scale, 1)
        strength = _strength(scaled[train], codes[train], groups[train], seed)
        found[test] = _fitted(scaled[train], codes[train], strength).predict(scaled[test])
    return found


def _strength(x: Float64Array, codes: Codes, groups: Codes, seed: int) -> float:
    """Return the value of C with the highest accuracy on inner folds, of equally good ones the
    smallest.
    """
    inner = draw_folds(np.unique(groups, return_inverse=True)[1], _INNER_FOLDS, seed)
    n_right = np.zeros(len(STRENGTHS))
    for number in range(_INNER_FOLDS):
        train, test = inner != number, inner == number
        if not train.any() or not test.any():  # fewer groups than folds
            continue
        for at, strength in enumerate(STRENGTHS):
            n_right[at] += (
                _fitted(x[train], codes[train], strength).predict(x[test]) == codes[test]
            ).sum()
    return STRENGTHS[int(n_right.argmax())]


def _fitted(x: Float64Array, codes: Codes, strength: float) -> Any:
    """Return a fitted model; of a single class, one that always predicts it."""
    with needing("probes need scikit-learn", "probe"):
        from sklearn.dummy import DummyClassifier
        from sklearn.linear_model import LogisticRegression
    if (codes == codes[0]).all():
        return DummyClassifier(strategy="most_frequent").fit(x, codes)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of a weak penalty that does not converge, which loses, or of many classes
        return LogisticRegression(C=strength, max_iter=_MAX_ITERATIONS, solver="newton-cg").fit(
            x, codes
        )


def _ridge(x: Float64Array, values: Float64Array, fold: Codes) -> tuple[Float64Array, Float64Array]:
    """Return the squared errors of left-out items (n,), and those of the mean of the fitted ones.

    By ridge regression as in :func:`.predictivity.predictivity`.
    """
    errors, totals = np.empty(len(x)), np.empty(len(x))
    for number in range(int(fold.max()) + 1):
        train, test = fold != number, fold == number
        scale = x[train].std(axis=0)
        scaled = x / np.where(scale > 0, scale, 1)
        residuals, deviations = Regression.on(scaled[train]).residuals(
            values[train, None], scaled[test], values[test, None]
        )
        errors[test], totals[test] = (
            np.vecdot(residuals, residuals),
            np.vecdot(deviations, deviations),
        )
    return errors, totals
