"""Measure how much the vector of a word depends on its context: the three measures of Ethayarajh
(2019), exactly.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from embstore.base import messages
from embstore.base.arrays import Mask, positions_of
from embstore.base.space import IN_CONTEXT, Unit
from embstore.base.summary import Float64Array
from embstore.base.text import item_id
from embstore.metrics.data import Contexts
from embstore.metrics.declaration import (
    Block,
    Column,
    LayerData,
    Parameter,
    Result,
    join_reasons,
    with_scores,
)
from embstore.metrics.decorator import metric
from embstore.metrics.geometry import TOO_FEW, mean_pairwise_cosine
from embstore.metrics.inputs import N_ZERO, Option, coefficient, count, key, named, quantity, share
from embstore.metrics.numerics.estimates import Estimate
from embstore.metrics.numerics.groups import (
    Groups,
    GroupSums,
    GroupValues,
    each_group,
    group_values,
    read_groups,
)
from embstore.metrics.numerics.linear_algebra import ROUNDING, Moments, moments
from embstore.metrics.numerics.units import mean_of

_ZERO_MEAN = 1e-12  # share of Σ‖x‖ up to which ‖Σx‖ is rounding


@dataclass(frozen=True, slots=True)
class _Labels:
    """The words for groups and their members in the rows of a metric."""

    value: str  # name of the column of the value
    group: str  # noun for a group, also the name of its column
    member: str  # noun for a member of a group
    undefined: str = ""  # reason why a group with enough members has no value


_SELF_SIMILARITY = _Labels("self_similarity", "word", "context")
_MEV = _Labels("mev", "word", "context", "all vectors are zero, or equal and centred")
_INTRA_SENTENCE = _Labels(
    "intra_sentence_similarity", "sentence", "word", "the mean vector is zero"
)
_WITH_SENTENCES = _Labels(
    _INTRA_SENTENCE.value, "sentence", "word", "the sentence has no vector, or a zero vector"
)


@dataclass(frozen=True, slots=True)
class Baseline:
    """A value of a layer to subtract from those of its words or sentences: NaN if it is undefined,
    for this reason.
    """

    value: float
    undefined: str
    n: int  # number of vectors that it is of
    is_of_one: bool  # whether these are all of one word or sentence


def _baseline(
    data: LayerData, *, contexts: Contexts, adjusted: bool, variant: str | None = None, **_: object
) -> Baseline | None:
    """Return the mean cosine over all pairs of the vectors of a layer, or with ``variant`` their
    MEV; None unless ``adjusted``.
    """
    if not adjusted:
        return None
    if variant is None:
        summary = data.summary
        n, undefined = summary.n - summary.n_zero, TOO_FEW
        value = mean_pairwise_cosine(n, summary.unit_total, summary.unit_square_total)
    else:
        total = moments(data)
        n, undefined = total.n, _MEV.undefined
        value = _explained_by_moments(total, centred=variant == "centred")
    return Baseline(
        math.nan if value is None else value, undefined, n, _are_of_one(data, contexts, n)
    )


def _are_of_one(data: LayerData, contexts: Contexts, n: int) -> bool:
    """Return whether all n vectors of a layer, but for zero vectors, are of one group."""
    if not 0 < n <= np.bincount(contexts.groups).max(initial=0):
        return False
    ids = [*data.map_with_ids(lambda ids, block: ids[block.any(axis=1)])]
    places = positions_of(np.concatenate(ids), contexts.ids)
    groups = {*np.append(contexts.groups, -1)[places].tolist()}  # -1 for other words
    return len(groups) == 1 and -1 not in groups


_CITATION = "Ethayarajh (2019), EMNLP, section 3.3"
_Word = Annotated[
    tuple[str, ...],
    Option("A word that gets a row of its own; may be repeated. Without: the mean over all words."),
]
_PerWord = Annotated[
    bool, Option("A row for every word that has enough contexts.", only_with=("word", ((),)))
]
_Adjusted = Annotated[
    bool, Option("Also subtract the layer's baseline: the mean cosine of all selected occurrences.")
]
_BASELINE = Parameter(
    "baseline",
    "all",
    "Occurrences that the baseline is of: all selected ones, or those of each group of `by`.",
    choices=("all", "group"),
    is_input=True,
    only_with=("adjusted", ()),
)
_FOLD_CASE = Parameter(
    "fold_case", False, "Take words that differ only in case for one.", is_input=True, in_rows=True
)


def _columns(value: Column, group: str, baseline: str) -> tuple[Column, ...]:
    """Declare the columns of :class:`_GroupRows`, given nouns for a group and for the baseline."""
    assert value.minimum is not None
    return (
        key(group, f"the {group}; null in the row of the mean over {group}s"),
        value,
        quantity(
            "baseline",
            f"{baseline} of all selected occurrences, with adjusted=True; with baseline='group', of"
            " those of the group",
            minimum=value.minimum,
            maximum=1,
        ),
        count("n_baseline", "vectors that the baseline is of, with adjusted=True", shown=True),
        quantity(
            "adjusted",
            f"{value.name} less the baseline, with adjusted=True",
            minimum=value.minimum - 1,
            maximum=1 - value.minimum,
            label=f"{value.label} less the baseline",
        ),
        count(f"n_{group}s", f"{group}s that have a value", shown=True),
        count(
            f"n_{group}s_left_out", f"selected {group}s that have no {value.name.replace('_', '-')}"
        ),
        N_ZERO,
    )


@metric(
    columns=_columns(
        coefficient(
            "self_similarity",
            "mean cosine over all pairs of a word's occurrences",
            label="mean cosine",
        ),
        "word",
        "the mean pairwise cosine",
    ),
    formula=(
        "(‖Σu‖² − n) / (n (n − 1)) over the n occurrences of a word, u = x/‖x‖; adjusted: less the"
        " same over all selected occurrences"
    ),
    citation=_CITATION,
    references=("ethayarajh2019",),
    needs="contexts",
    units=IN_CONTEXT,
    options=(_FOLD_CASE, _BASELINE),
    versus=True,
    label="Self-similarity",
    drawn_values=("adjusted", "self_similarity", "baseline"),
    baseline=_baseline,
    version=2,
    elsewhere=(
        "Words by themselves and sentences have one vector each; the mean cosine between"
        " them: embstore query anisotropy"
    ),
)
def self_similarity(
    data: LayerData,
    *,
    contexts: Contexts,
    word: _Word = (),
    per_word: _PerWord = False,
    min_contexts: Annotated[int, Option("Leave out words with fewer contexts.", minimum=2)] = 5,
    adjusted: _Adjusted = False,
    baseline: Baseline | None = None,
) -> list[Result]:
    """Mean cosine between the occurrences of a word.

    Exact over all pairs of a word's occurrences, in float64; the paper's code draws at most 1,000
    pairs. The baseline is the mean cosine over all pairs of selected occurrences, exactly: the
    anisotropy. It is the same for all words and groups: `word` and `by` do not change it, unless
    baseline='group' takes that of each group. Transforms are fitted on all selected occurrences
    either way. A word is its exact text, unless fold_case=True; two occurrences in one sentence are
    two contexts. The mean counts each word once, however many contexts it has. Zero vectors are
    left out and counted, and are no contexts. Layers are compared over their words, each baseline
    taken as known.
    """
    values = group_values(data, contexts, min_contexts, _mean_cosines)
    baseline = baseline or _baseline(data, contexts=contexts, adjusted=adjusted)
    rows = _GroupRows(values, contexts.names, min_contexts, _SELF_SIMILARITY, baseline)
    return rows.rows(is_named=bool(word), is_each=per_word)


def _mean_cosines(sums: GroupSums, _: Groups) -> Float64Array:
    """Return the mean cosine over all pairs of vectors of each group, (g,); NaN for fewer than two
    vectors.
    """
    n_pairs = sums.n * (sums.n - 1)
    square = np.vecdot(sums.unit_total, sums.unit_total) - sums.unit_square_total
    means: Float64Array = np.divide(
        square, n_pairs, out=np.full(len(square), np.nan), where=n_pairs > 0
    )
    return np.clip(means, -1, 1, out=means)


@metric(
    columns=_columns(
        coefficient(
            "intra_sentence_similarity",
            "mean cosine of a sentence's words with it",
            label="mean cosine",
        ),
        "sentence",
        "the mean pairwise cosine",
    ),
    formula=(
        "s/‖s‖ · mean u over the words of a sentence, u = x/‖x‖; s = mean x, or the sentence's"
        " vector; adjusted: less (‖Σu‖² − n) / (n (n − 1)) over all selected occurrences"
    ),
    citation=_CITATION,
    references=("ethayarajh2019",),
    needs="contexts",
    units=IN_CONTEXT,
    options=(
        named(
            "sentence_space",
            "Take the sentences' vectors from this space, of the same checkpoint, instead of their"
            " words' mean.",
            "SPACE",
            in_rows=True,
        ),
        _BASELINE,
    ),
    versus=True,
    label="Intra-sentence similarity",
    drawn_values=("adjusted", "intra_sentence_similarity", "baseline"),
    baseline=_baseline,
    version=3,
    elsewhere=(
        "It compares the words of a sentence with the sentence, whose vector may be one of a"
        " space of sentences: embstore query intra-sentence --sentence-space SPACE"
    ),
)
def intra_sentence(
    data: LayerData,
    *,
    contexts: Contexts,
    sentences: LayerData | None = None,
    per_sentence: Annotated[
        bool, Option("A row for every sentence that has enough words.")
    ] = False,
    min_words: Annotated[int, Option("Leave out sentences with fewer words.", minimum=1)] = 2,
    adjusted: _Adjusted = False,
    baseline: Baseline | None = None,
) -> list[Result]:
    """Mean cosine between the words of a sentence and the sentence's vector.

    Exact, in float64. The words of a sentence are its selected occurrences: of a space that was
    built with `per_text`, or queried with `where` or `sample`, not all of its words. The sentence
    is the mean of its words' vectors as they are, not of unit vectors: the paper's definition. With
    `sentence_space` it is the vector that this space has for it, in the same layer: of pooling mean
    that of all its tokens, also of punctuation; of another pooling or template what that gives. A
    transform that is fitted on the occurrences is applied to it too; sentences that the space lacks
    are left out and counted. One word is its own mean, so that its cosine of 1 says nothing:
    sentences of one word are left out, unless min_words=1, which is the paper's. The baseline is
    the mean cosine over all pairs of selected occurrences, exactly: the anisotropy. It is the same
    for all groups of `by`, unless baseline='group' takes that of each; transforms are fitted on all
    selected occurrences either way. The mean counts each sentence once. Zero vectors are left out
    and counted. Layers are compared over their sentences, each baseline taken as known.
    """
    if sentences is None:
        values = group_values(data, contexts, min_words, _cosines_with_mean, with_total=True)
    else:
        values = group_values(data, contexts, min_words, _cosines_with(sentences, contexts))
    baseline = baseline or _baseline(data, contexts=contexts, adjusted=adjusted)
    labels = _INTRA_SENTENCE if sentences is None else _WITH_SENTENCES
    rows = _GroupRows(values, contexts.names, min_words, labels, baseline)
    return rows.rows(is_named=False, is_each=per_sentence)


def _cosines_with(
    sentences: LayerData, contexts: Contexts
) -> Callable[[GroupSums, Groups], Float64Array]:
    """Return a function from the sums of sentences to the mean cosine of their words with their own
    vectors.
    """
    assert contexts.group_ids is not None
    group_ids = contexts.group_ids

    def cosines(sums: GroupSums, members: Groups) -> Float64Array:
        ids, block = sentences.gather(group_ids[members])
        x = block.astype(np.float64)
        norms = np.sqrt(np.vecdot(x, x))
        means = np.full(len(members), np.nan)
        rows = np.flatnonzero(np.isin(group_ids[members], ids))
        positions = np.searchsorted(ids, group_ids[members][rows])
        products = np.vecdot(x[positions], sums.unit_total[rows])
        is_defined = (norms[positions] > 0) & (sums.n[rows] > 0)
        np.divide(products, norms[positions] * sums.n[rows], out=products, where=is_defined)
        means[rows[is_defined]] = np.clip(products[is_defined], -1, 1)
        return means

    return cosines


def _cosines_with_mean(sums: GroupSums, _: Groups) -> Float64Array:
    """Return the mean cosine of the vectors of each group with their mean, (g,); NaN if the mean is
    zero.
    """
    norms = np.sqrt(np.vecdot(sums.total, sums.total))
    products = np.vecdot(sums.total, sums.unit_total)
    is_defined = norms > _ZERO_MEAN * sums.norm_total
    means: Float64Array = np.divide(
        products, norms * sums.n, out=np.full(len(norms), np.nan), where=is_defined
    )
    return np.clip(means, -1, 1, out=means)


@metric(
    columns=_columns(
        share(
            "mev",
            "share of the first component of a word's occurrences",
            label="share of the first component",
        ),
        "word",
        "the MEV",
    ),
    formula=(
        "σ₁² / Σσᵢ² of the occurrences of a word; adjusted: less that of all selected occurrences"
    ),
    citation=_CITATION,
    references=("ethayarajh2019",),
    needs="contexts",
    units=IN_CONTEXT,
    options=(_FOLD_CASE, _BASELINE),
    versus=True,
    label="Maximum explainable variance",
    drawn_values=("adjusted", "mev", "baseline"),
    baseline=_baseline,
    version=2,
    elsewhere=(
        "Words by themselves and sentences have one vector each; what one direction"
        " explains of all of them: embstore query spectrum -k 1 --variant uncentred"
    ),
)
def mev(
    data: LayerData,
    *,
    contexts: Contexts,
    variant: Annotated[
        Literal["uncentred", "centred"],
        Option(
            "uncentred, as the paper defines it, or centred: the share of variance that a PCA"
            " explains."
        ),
    ] = "uncentred",
    word: _Word = (),
    per_word: _PerWord = False,
    min_contexts: Annotated[int, Option("Leave out words with fewer contexts.", minimum=1)] = 5,
    adjusted: Annotated[
        bool, Option("Also subtract the layer's baseline: the MEV of all selected occurrences.")
    ] = False,
    baseline: Baseline | None = None,
) -> list[Result]:
    """Maximum explainable variance: how much of a word's occurrences one direction explains.

    Exact, in float64, by the top eigenvalue of the smaller of XXᵀ and XᵀX. The baseline is the MEV
    of all selected occurrences, of the same variant. It is the same for all words and groups:
    `word` and `by` do not change it, unless baseline='group' takes that of each group. Transforms
    are fitted on all selected occurrences either way. The paper's code mixes the two variants:
    centred for words, and for the baseline the variance ratio of uncentred axes over 1,000
    occurrences. The MEV
    of n vectors is at least 1/n (centred 1/(n − 1)), so that few contexts raise it, and the
    baseline, of many vectors, does not correct that: compare words of like n. A word is its exact
    text, unless fold_case=True; two occurrences in one sentence are two contexts. The mean counts
    each word once, however many contexts it has. Zero vectors are counted and stay in the matrix.
    Layers are compared over their words, each baseline taken as known.
    """
    centred = variant == "centred"
    values = _explained_by_group(data, contexts, min_contexts, centred=centred)
    baseline = baseline or _baseline(data, contexts=contexts, adjusted=adjusted, variant=variant)
    rows = _GroupRows(values, contexts.names, min_contexts, _MEV, baseline)
    return rows.rows(is_named=bool(word), is_each=per_word)


def _explained(x: Float64Array, *, centred: bool) -> float:
    """Return σ₁² / Σσᵢ² of vectors (n, dim), n ≥ 1, in (0, 1]; NaN if all are zero, or all equal
    and centred.

    The top eigenvalue of the smaller of XXᵀ and XᵀX over its trace, in O(n dim min(n, dim)); 1 for
    n = 1. Centred, it is the share of variance that a PCA explains.
    """
    if len(x) > x.shape[1]:
        return _explained_by_moments(Moments.of(x), centred=centred)
    square_total = float(np.vecdot(x, x).sum())
    if centred and len(x) > 1:
        x = x - x[0]  # equal vectors are exactly zero from here on
        x -= x.mean(axis=0)
    return _top_share(x @ x.T, square_total)


def _explained_by_moments(moments: Moments, *, centred: bool) -> float:
    """Return the value of :func:`_explained`, computed from the moments of the vectors."""
    matrix = moments.scatter if centred and moments.n > 1 else moments.uncentred
    return _top_share(matrix, moments.square_total)


def _top_share(matrix: Float64Array, square_total: float) -> float:
    """Return the top eigenvalue of a matrix over its trace; NaN if the trace is within rounding of
    Σ‖x‖².
    """
    trace = float(np.trace(matrix))
    if trace <= ROUNDING**2 * square_total:
        return math.nan
    return min(1.0, float(np.linalg.eigvalsh(matrix)[-1]) / trace)


def _explained_by_group(
    data: LayerData, contexts: Contexts, minimum: int, *, centred: bool
) -> GroupValues:
    """Compute :func:`_explained` for each group with at least ``minimum`` vectors, of which ``n``
    includes zero ones.

    Groups are read in batches of ``BATCH_BYTES``; a larger group is read block by block.
    """
    result = GroupValues.empty(len(contexts.names))
    for members, n, n_zero in read_groups(data, contexts, _count_vectors):
        result.n[members] += n
        result.n_zero[members] += n_zero
    groups = np.flatnonzero(result.n >= minimum)
    for group, x in each_group(data, contexts, groups, result.n):
        if isinstance(x, Moments):
            result.value[group] = _explained_by_moments(x, centred=centred)
        else:
            result.value[group] = _explained(x, centred=centred)
    return result


def _count_vectors(members: Groups, block: Block) -> tuple[Groups, Groups, Groups]:
    """Return the groups in a block, and their numbers of vectors and of zero vectors, each int64
    (groups,).
    """
    first = np.flatnonzero(np.diff(members, prepend=-1))
    n = np.diff(first, append=len(members))
    return members[first], n, np.add.reduceat(~block.any(axis=1), first, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _GroupRows:
    """Makes the rows of a metric with one value per group: one row per group, or one with their
    mean.
    """

    values: GroupValues  # value and numbers of vectors of each group
    names: Sequence[str]  # name of each group
    minimum: int  # minimum number of vectors of a group
    labels: _Labels  # words for groups and their members
    baseline: Baseline | None  # value to subtract; None for none

    def rows(self, *, is_named: bool, is_each: bool) -> list[Result]:
        """Return a row for each group that is named, or for each with enough vectors; else, or if
        there is none, one row with the mean over them.
        """
        has_enough = self.values.n >= self.minimum
        groups = np.flatnonzero(has_enough | is_named).tolist() if is_named or is_each else []
        return [self._group(group) for group in groups] or [self._mean(has_enough)]

    def _mean(self, has_enough: Mask) -> Result:
        """Return the mean over the groups that have a value, each counted once.

        Its ``n`` counts their vectors; if no group has a value, the vectors of all groups.
        """
        values, labels, n = self.values.value, self.labels, self.values.n
        is_used = has_enough & ~np.isnan(values)
        n_used, n_undefined = int(is_used.sum()), int((has_enough & np.isnan(values)).sum())
        has_vectors = n + self.values.n_zero > 0
        reason = None
        if n_undefined:
            reason = f"{messages.count(n_undefined, labels.group)} left out: {labels.undefined}"
        elif not n_used:
            reason = f"no {labels.group} has {messages.count(self.minimum, labels.member)} or more"
            if n.any():
                reason += f"; the most has {self.names[int(n.argmax())]!r}: {n.max()}"
        row = self._row(
            float(values[is_used].mean()) if n_used else None,
            int(n[is_used if n_used else has_vectors].sum()),
            int(self.values.n_zero.sum()),
            (n_used, int((has_vectors & ~is_used).sum())),
            reason,
        )
        return with_scores(row, self._scores(np.flatnonzero(is_used)))

    def _scores(self, used: Groups) -> Estimate:
        """Return the values of some groups, less the baseline, on which layers can be compared."""
        ids = np.array([item_id(Unit.SENTENCE, self.names[group]) for group in used], np.int64)
        order = np.argsort(ids)
        values = self.values.value[used] - (self.baseline.value if self.baseline else 0.0)
        return mean_of(ids[order], values[order])

    def _group(self, group: int) -> Result:
        """Return the row of the group with this number."""
        n, value = int(self.values.n[group]), float(self.values.value[group])
        reason = None
        if n < self.minimum:
            n_members = messages.count(n, self.labels.member)
            reason = f"{n_members}, and at least {self.minimum} are needed"
        elif math.isnan(value):
            reason = self.labels.undefined
        n_groups = (int(reason is None), int(reason is not None))
        n_zero = int(self.values.n_zero[group])
        row = self._row(None if reason else value, n, n_zero, n_groups, reason)
        return row | {self.labels.group: self.names[group]}

    def _row(
        self,
        value: float | None,
        n: int,
        n_zero: int,
        n_groups: tuple[int, int],
        reason: str | None,
    ) -> Result:
        """Return a row, given the numbers of vectors used and zero, and of groups with and without
        a value.
        """
        baseline, group, why = self.baseline, self.labels.group, None
        row: Result = {self.labels.value: value, "n": n, "n_zero": n_zero}
        row |= zip((f"n_{group}s", f"n_{group}s_left_out"), n_groups, strict=True)
        if baseline is not None:
            row["n_baseline"] = baseline.n
            if math.isnan(baseline.value):
                why = f"baseline: {baseline.undefined}"
            else:
                row["baseline"] = baseline.value
                if value is not None and baseline.is_of_one and group == "word":
                    why = "adjusted: the baseline is of the word itself, since no other is selected"
                elif value is not None:
                    row["adjusted"] = value - baseline.value
        return row | {"reason": join_reasons(reason, why)}
