"""Measure what a layer shows of a label of the items, without training: nearest neighbours and clusters."""

import warnings

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import slices
from embstore.base.installation import needing
from embstore.metrics.data import ItemLabels
from embstore.metrics.declaration import N_ZERO, Column, LayerData, Metric, Parameter, Result, Scored
from embstore.metrics.numerics.differences import Scores
from embstore.metrics.numerics.layer_pairs import Grid
from embstore.metrics.numerics.linear_algebra import unit_rows
from embstore.metrics.numerics.statistics import wilson_interval
from embstore.metrics.significance import VERSUS

Codes = NDArray[np.int64]

_ROW_VALUES = 1 << 22
_NULLS: Result = dict.fromkeys(
    ("accuracy", "low", "high", "balanced_accuracy", "label_share", "chance", "majority", "best")
)
ONE_CLASS = "fewer than two classes"


def knn(data: LayerData, *, labels: ItemLabels, k: int = 10) -> Result:
    """Classify each item by the labels of its k nearest others (Fix & Hodges 1951), leaving itself out.

    The label that most of them have is taken, of equally frequent ones that of the nearest.

    Args:
        data: Vectors of a layer, all of which are read into memory.
        labels: The label of each item that has one; others are neither classified nor neighbours.
        k: Number of neighbours, by cosine.

    Returns:
        ``accuracy`` with ``low`` and ``high``, its 95 % interval; ``balanced_accuracy``, the mean over the classes;
        ``label_share``, the mean share of neighbours with the item's label, and ``chance``, its expectation if labels
        were shuffled, which for k = 1 is also that of accuracy; ``majority``, the share of the largest class; all in
        [0, 1]; ``n_classes``; ``n`` items used; ``n_zero`` and ``null_left_out`` items omitted; ``reason``.
    """
    ids, positions, _ = data.neighbours(k, only=labels.ids)
    counts = _counts(data, labels, len(ids))
    own = labels.codes[np.searchsorted(labels.ids, ids)]
    sizes = np.bincount(own, minlength=len(labels.names)).astype(np.float64)
    n, n_classes = len(ids), int((sizes > 0).sum())
    counts |= {"n_classes": n_classes}
    if why := why_no_classes(n, n_classes) or Grid.of([data], None).why_constant(0, 0, by_direction=True):
        return {**_NULLS, **counts, "reason": why}
    if k >= n:
        return {**_NULLS, **counts, "reason": f"{k} neighbours of {n - 1} other items: take a smaller k"}
    near = own[positions]
    is_right = np.concatenate([_vote(near[rows]) for rows in slices(n, _ROW_VALUES // k**2 + 1)]) == own
    n_right = np.bincount(own, is_right, minlength=len(sizes))
    low, high = wilson_interval(int(is_right.sum()), n)
    row: Result = {
        "accuracy": float(is_right.mean()), "low": low, "high": high,
        "balanced_accuracy": float((n_right[sizes > 0] / sizes[sizes > 0]).mean()),
        "label_share": float((near == own[:, None]).mean()),
        "chance": float((sizes * (sizes - 1)).sum() / (n * (n - 1))),
        "majority": float(sizes.max() / n), "best": None, **counts, "reason": None,
    }  # fmt: skip
    return Scored(row, Scores(ids, is_right.astype(np.float64), "mean"))


def why_no_classes(n: int, n_classes: int) -> str | None:
    """Return the reason why labels of n items say nothing; None if they do."""
    return ONE_CLASS if n_classes < 2 else "each item is a class of its own" if n_classes == n else None


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


def clusters(data: LayerData, *, labels: ItemLabels, runs: int = 10, seed: int = 0) -> Result:
    """Compare clusters of directions with the labels: k-means with as many clusters as there are labels.

    Args:
        data: Vectors of a layer, all of which are read into memory and made unit vectors.
        labels: The label of each item that has one; others are left out.
        runs: Number of runs of k-means, each from its own random start.
        seed: Random seed.

    Returns:
        Means over the runs: ``ami``, adjusted mutual information (Vinh, Epps & Bailey 2010), and ``ari``, the adjusted
        Rand index (Hubert & Arabie 1985), both 1 for equal partitions and 0 by chance; ``v_measure`` in [0, 1]
        (Rosenberg & Hirschberg 2007), and ``v_chance``, its value for clusters of these sizes by chance;
        ``ami_deviation``, the standard deviation of ami over the runs (ddof 1); ``n_classes``, ``n``, ``n_zero``,
        ``null_left_out``, ``reason``, ``seed``.
    """
    ids, vectors = data.gather(labels.ids)
    units, is_zero = unit_rows(vectors)
    units, own = units[~is_zero], labels.codes[np.searchsorted(labels.ids, ids[~is_zero])]
    distinct, own = np.unique(own, return_inverse=True)
    counts: Result = {"n": len(units), "n_zero": int(is_zero.sum()), "null_left_out": data.summary.n - len(ids)}
    empty: Result = dict.fromkeys(("ami", "ari", "v_measure", "v_chance", "ami_deviation", "best"))
    empty |= counts | {"n_classes": len(distinct), "seed": None}
    if why := why_no_classes(len(units), len(distinct)):
        return empty | {"reason": why}
    seeds = np.random.SeedSequence(seed).generate_state(runs).tolist()
    scores = np.array([_agreement(units, own, len(distinct), each) for each in seeds])
    ami, ari, v_measure, v_chance = scores.mean(axis=0).tolist()
    deviation = float(scores[:, 0].std(ddof=1)) if runs > 1 else None
    values: Result = {"ami": ami, "ari": ari, "v_measure": v_measure, "v_chance": v_chance, "ami_deviation": deviation}
    return empty | values | {"reason": None, "seed": seed}


def _agreement(units: NDArray[np.float64], own: Codes, k: int, seed: int) -> tuple[float, float, float, float]:
    """Return AMI, ARI, V-measure and its value by chance, of one run of k-means."""
    with needing("clusters need scikit-learn", "probe"):
        from scipy.stats import entropy
        from sklearn import metrics
        from sklearn.cluster import KMeans
        from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information
        from threadpoolctl import threadpool_limits
    # One thread, since several add up in any order; a warning is of fewer different directions than clusters.
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


LABEL = Parameter("label", None, "Column of the items whose values are classes, stored by build ⦃keep⦄ or built-in.",
                  value_type=str, metavar="NAME", is_input=True)  # fmt: skip
LABEL_BINS = Parameter(
    "label_bins", None, "Cut a label of numbers into this many intervals, or at these edges, as in 0,10,100.",
    value_type=str, metavar="N|EDGES", takes_numbers=True, is_input=True, in_rows=True,
)  # fmt: skip
LABEL_COLUMN = Column("label", "string", "the column with the classes", is_key=True)
LABEL_COUNTS = (
    Column("n_classes", "integer", "classes among the items", minimum=0, shown=False),
    N_ZERO,
    Column("null_left_out", "integer", "items without a label", minimum=0, shown=False),
)
_LEFT_OUT = (
    "Items without a label are left out and counted, and so are zero vectors. The classes are the values of a column, "
    "or intervals of one of numbers. "
)

METRICS = (
    Metric(
        name="knn", label="Nearest-neighbour classification",
        help="Accuracy of a label taken from the nearest neighbours: what a layer shows of it untrained.",
        function=knn,
        columns=(
            LABEL_COLUMN,
            Column("accuracy", "number", "items whose label most neighbours have", 0, 1, interval=("low", "high"),
                   baselines=("majority",)),
            Column("low", "number", "lower limit of the 95 % interval of accuracy", 0, 1),
            Column("high", "number", "upper limit of the 95 % interval of accuracy", 0, 1),
            Column("balanced_accuracy", "number", "mean accuracy of the classes", minimum=0, maximum=1),
            Column("label_share", "number", "neighbours that have the item's own label", 0, 1, shown=False),
            Column("chance", "number", "label_share, and accuracy at k = 1, by chance", 0, 1),
            Column("majority", "number", "share of the largest class", minimum=0, maximum=1, label="largest class"),
            *LABEL_COUNTS,
            Column("best", "boolean", "whether accuracy is the highest of the requested layers of the space"),
        ),
        parameters=(LABEL, LABEL_BINS, Parameter("k", 10, "Number of nearest neighbours.", minimum=1), *VERSUS),
        formula="share of items i whose label is the most frequent one of their k nearest others by cosine",
        citation="Fix & Hodges (1951); leave-one-out as in Cover & Hart (1967), IEEE Trans. Inf. Theory 13; interval: "
        "Wilson (1927), JASA 22",
        references=("fix1951", "cover1967", "wilson1927"), needs="labels", best="accuracy",
        estimator="Exact neighbours by cosine, leaving the item itself out by its id. Of equally frequent labels that "
        f"of the nearest neighbour is taken. {_LEFT_OUT}The interval is Wilson's "
        "(1927) of a share of the items; it takes items for independent, which occurrences of one word or sentence are "
        "not: they are each other's nearest neighbours, and lift the accuracy. "
        "chance is Σ m(m − 1) / (n(n − 1)) over the class sizes m.",
    ),
    Metric(
        name="clusters", label="Agreement of clusters with a label",
        help="Whether clusters of directions are the classes of a label: k-means, mutual information.",
        function=clusters,
        columns=(
            LABEL_COLUMN,
            Column("ami", "number", "adjusted mutual information: 1 the same, 0 by chance", maximum=1,
                   band=("ami_deviation",), label="adjusted mutual information"),
            Column("ari", "number", "adjusted Rand index: 1 the same, 0 by chance", minimum=-0.5, maximum=1,
                   label="adjusted Rand index"),
            Column("v_measure", "number", "harmonic mean of homogeneity and completeness", minimum=0, maximum=1),
            Column("v_chance", "number", "v_measure by chance", minimum=0, maximum=1),
            Column("ami_deviation", "number", "standard deviation of ami over the runs", minimum=0, shown=False,
                   label="standard deviation"),
            *LABEL_COUNTS,
            Column("best", "boolean", "whether ami is the highest of the requested layers of the space"),
        ),
        parameters=(
            LABEL, LABEL_BINS, Parameter("runs", 10, "Number of runs of k-means, each from its own start.", minimum=1),
        ),
        formula="AMI(labels, k-means of x/‖x‖ with as many clusters as classes), mean over the runs",
        citation="Vinh, Epps & Bailey (2010), JMLR 11; Hubert & Arabie (1985), J. Classif. 2; Rosenberg & Hirschberg "
        "(2007), EMNLP",
        references=("vinh2010", "hubert1985", "rosenberg2007"), needs="labels", best="ami",
        estimator="scikit-learn's k-means with k-means++ on all unit vectors, in float64, one start a run; means over "
        f"the runs. {_LEFT_OUT}V-measure is not corrected for chance, and rises with the number of clusters: v_chance "
        "is its value for clusters of these sizes by chance, from the expected mutual information; ami and ari are "
        "corrected. A dominant dimension or a common mean decides the clusters of many raw layers: compare "
        "⦃transform=center⦄.",
        drawn=lambda row: f"{row['runs']} random starts of k-means",
    ),
)  # fmt: skip
