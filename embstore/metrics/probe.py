"""Measure by linear probes what a layer shows of a label of the items."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import numpy as np

from embstore.base.arrays import Float64Array, distinct_rows
from embstore.base.installation import needing
from embstore.metrics.data import ItemLabels
from embstore.metrics.declaration import Column, Ids, LayerData, Result, join_reasons, with_scores
from embstore.metrics.decorator import metric
from embstore.metrics.inputs import (
    GROUP,
    GROUPED_BY,
    Option,
    coefficient,
    count,
    kept_whole,
    limits,
    quantity,
    share,
)
from embstore.metrics.labels import Codes, why_no_classes
from embstore.metrics.numerics.estimates import (
    GROUPS,
    Estimate,
    estimate_of,
    fold_estimate,
    limited_df,
    whole_copies,
)
from embstore.metrics.numerics.statistics import draw_folds
from embstore.metrics.predictivity import Regression

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Values of scikit-learn's C that are tried, the strongest regularisation first."""
_INNER_FOLDS = 3
_INFLATION = 1.5
"""Factor of the variance of R², since squared errors have longer tails than hits, and of accuracies
where items stay together, which vary more between sets of groups than between folds. By simulation
of 60 to 420 items.
"""
_R2_CARRYING = 1 / 2
"""Share of the items that carry the error of R², which is its degrees of freedom."""
_MAX_ITERATIONS = 2000


def _describe_draws(row: Mapping[str, Any]) -> str:
    """Return how the folds and the labels of the control were drawn."""
    control = row["control"]
    if control == "types":
        control = "the control task of Hewitt & Liang (2019): one random label for each word"
    control = f"; control: {control}" if control else ""
    times = f"{row['repeats']} × " if row["repeats"] > 1 else ""
    return f"{times}{row['folds']} folds drawn at random{kept_whole(row['grouped_by'])}{control}"


@metric(
    columns=(
        share(
            "accuracy",
            "items of classes predicted rightly",
            interval=("low", "high"),
            baselines=("control_accuracy", "majority"),
        ),
        quantity(
            "r2",
            "share of the variance of numbers that is predicted",
            maximum=1,
            interval=("low", "high"),
            label="R²",
        ),
        *limits("accuracy or r2", maximum=1),
        share("macro_f1", "mean of the F1 scores of the classes", shown=False, label="macro F1"),
        share("majority", "share of the largest class", label="largest class"),
        share("control_accuracy", "accuracy in the control task", label="control task"),
        coefficient("selectivity", "accuracy minus control_accuracy"),
        Column(
            "control",
            "string",
            "labels of the control task: one for each type, or shuffled",
            shown=False,
        ),
        count("n_classes", "classes among the items"),
        count("n_groups", "groups that the folds are made of"),
        count("null_left_out", "items without a label"),
        GROUPED_BY,
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
    versus=True,
    options=(GROUP,),
    label="Linear probe",
    predicts_numbers=True,
    packages=("scikit-learn",),
    version=4,
    drawn=_describe_draws,
)
def probe(
    data: LayerData,
    *,
    labels: ItemLabels,
    folds: Annotated[int, Option("Number of folds.", minimum=2)] = 5,
    repeats: Annotated[int, Option("Number of times that the folds are drawn.", minimum=1)] = 5,
    control: Annotated[
        bool, Option("Run the control task, which takes as long as one repeat.")
    ] = True,
    seed: int = 0,
) -> Result:
    """How well a linear probe predicts a label from the vectors, on items it was not fitted to.

    Linear only, by scikit-learn: multinomial logistic regression (solver newton-cg), C of 10⁻⁴ to 1
    by the accuracy on three inner folds, components standardised on the fitted items. No group is
    divided between folds: of occurrences no sentence is, by default, since its occurrences come
    from one forward pass; give the lemma to see what carries over to other words. Nor are equal
    vectors, if many items have one. The control task
    gives each type, the word of an occurrence, one random label: what a probe of this capacity
    learns by heart. Items that are their own type get shuffled labels, and selectivity is then the
    distance from chance; so it is where `group` keeps each type on one side, whose label cannot be
    learnt. Columns of numbers are predicted by ridge regression, with the strength of generalised
    cross-validation, and R² is of all folds together. The folds are drawn five times, and the
    number is of all of them; folds share the items that they are fitted to, so that the interval is
    Nadeau & Bengio's (2003) of repeated folds (of R², and where items stay together, with 1.5 times
    their variance, which held in simulations; of R² with at most half as many degrees of freedom as
    items carry its error), and no smaller than that of independent items. Of fewer than 20 groups
    there is none. repeats=1 is faster, and its intervals are wide. Compare an untrained model, with
    `versus`: of accuracies, or of R².
    """
    ids, vectors = data.gather(labels.ids)
    labels = labels.restricted(ids)
    least = max(folds, 2 * _INNER_FOLDS)
    groups, why_whole = whole_copies(labels.group_numbers, distinct_rows(vectors)[1])
    n_clusters = int(groups.max(initial=-1)) + 1
    if n_clusters < least:  # as of a first token in layer 0, of which there is no interval
        groups = labels.group_numbers
    n_groups = int(groups.max(initial=-1)) + 1
    n_classes = None if labels.values is not None else len(np.unique(labels.codes))
    row: Result = {
        "n": len(ids),
        "null_left_out": data.summary.n - len(ids),
        "n_groups": n_groups,
        "n_classes": n_classes,
        "seed": None,
    }
    if n_groups < least:
        return row | {"reason": f"fewer than {least} {labels.noun}"}
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
    row["seed"] = seed
    few = None
    if n_clusters < GROUPS and (why_whole or labels.groups is not None):
        few = f"interval: fewer than {GROUPS} {'different vectors' if why_whole else labels.noun}"
    if labels.values is not None:
        errors, totals = np.stack([_ridge(x, labels.values, fold) for fold in drawn], axis=1)
        estimate = fold_estimate(
            ids, totals - errors, totals, drawn, recomputed, inflation=_INFLATION, clusters=groups
        )
        weights = np.bincount(groups, estimate.contributions - estimate.value)
        estimate = replace(estimate, df=limited_df(estimate.df, weights, _R2_CARRYING))
        low, high = estimate.r2_interval()
        row |= {"r2": estimate.value, "low": low, "high": high}
        return _with_reasons(row, estimate, few, why_whole)
    predictions = [_classify(x, labels.codes, fold, groups, seed) for fold in drawn]
    from sklearn.metrics import f1_score  # which is installed, since a probe was fitted

    are_right = (np.stack(predictions) == labels.codes).astype(np.float64)
    estimate = fold_estimate(
        ids,
        are_right,
        np.ones_like(are_right),
        drawn,
        recomputed,
        inflation=_INFLATION if n_groups < len(ids) else 1.0,
        clusters=groups,
    )
    low, high = estimate.share_interval()
    sizes = np.bincount(labels.codes)
    macro_f1 = np.mean(
        [f1_score(labels.codes, predicted, average="macro") for predicted in predictions]
    )
    row |= {
        "accuracy": estimate.value,
        "low": low,
        "high": high,
        "macro_f1": macro_f1,
        "majority": sizes.max() / len(ids),
    }
    n_few = int(((sizes > 0) & (sizes < folds)).sum())
    why_uneven = f"accuracy: {n_few} of {n_classes} classes have fewer items than there are folds"
    if control:
        codes, name = _control_labels(labels, seed)
        by_chance = float((_classify(x, codes, drawn[0], groups, seed) == codes).mean())
        row |= {
            "control_accuracy": by_chance,
            "selectivity": estimate.value - by_chance,
            "control": name,
        }
    return _with_reasons(row, estimate, few, why_uneven if n_few else None, why_whole)


def _with_reasons(row: Result, estimate: Estimate, few: str | None, *others: str | None) -> Result:
    """Return a row with its reasons and the estimate; without interval for too few groups."""
    row = row | {"reason": join_reasons(*others, few)}
    return with_scores(row, estimate) if few is None else row | {"low": None, "high": None}


def _control_labels(labels: ItemLabels, seed: int) -> tuple[Codes, str]:
    """Return random labels of the items, and how they were drawn."""
    rng = np.random.default_rng([seed, 1])
    if labels.types is None or len(np.unique(labels.types)) == len(labels.codes):
        return rng.permutation(labels.codes), "shuffled labels"
    types = np.unique(labels.types, return_inverse=True)[1]
    return rng.choice(labels.codes, int(types.max()) + 1)[types], "types"


def _classify(x: Float64Array, codes: Codes, fold: Codes, groups: Codes, seed: int) -> Codes:
    """Return the class (n,) of each item as predicted from the folds that it is not in."""
    predicted = np.empty_like(codes)
    for number in range(int(fold.max()) + 1):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        shift, scale = x[train].mean(axis=0), x[train].std(axis=0)
        scaled = (x - shift) / np.where(scale > 0, scale, 1)
        strength = _strength(scaled[train], codes[train], groups[train], seed)
        predicted[test] = _fitted(scaled[train], codes[train], strength).predict(scaled[test])
    return predicted


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
        for place, strength in enumerate(STRENGTHS):
            n_right[place] += (
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
        # Of a weak penalty that does not converge, which loses, or of many classes.
        warnings.simplefilter("ignore")
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
