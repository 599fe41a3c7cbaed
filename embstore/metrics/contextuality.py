"""Measure how much the vector of a word depends on its context: the three measures of Ethayarajh (2019), exactly."""

import numpy as np

from embstore.base.space import Unit
from embstore.base.summary import Float64Array
from embstore.metrics.data import Contexts
from embstore.metrics.declaration.parameters import N_ZERO
from embstore.metrics.declaration.spec import Column, LayerData, Metric, Parameter, Result
from embstore.metrics.group_rows import Baseline, GroupRows, Labels
from embstore.metrics.intra_sentence import intra_sentence
from embstore.metrics.mev import explained_by_group, explained_by_moments
from embstore.metrics.numerics.groups import Groups, GroupSums, group_values
from embstore.metrics.numerics.moments import moments

_SELF_SIMILARITY = Labels("self_similarity", "word", "context")
_MEV = Labels("mev", "word", "context", "all vectors are zero, or equal and centred")


def self_similarity(
    data: LayerData,
    *,
    contexts: Contexts,
    word: tuple[str, ...] = (),
    per_word: bool = False,
    min_contexts: int = 5,
    adjusted: bool = False,
) -> list[Result]:
    """Compute the mean cosine between the occurrences of a word, and its mean over words.

    (‖Σu‖² − Σ‖u‖²) / (n (n − 1)) over the n occurrences of a word: SelfSim of Ethayarajh (2019), section 3.3, over all
    pairs rather than a sample.

    Args:
        data: Vectors of occurrences.
        contexts: Occurrences of each word, or of the requested words.
        word: Requested words; ``contexts`` has only these.
        per_word: Whether to return a row for each word with enough contexts.
        min_contexts: Minimum number of non-zero vectors of a word, at least 2; words with fewer have no value.
        adjusted: Whether to subtract the mean cosine of all selected occurrences.

    Returns:
        One row, or one per word: ``self_similarity`` in [-1, 1], ``baseline``, ``adjusted``, ``n_words``,
        ``n_words_left_out``, ``n`` occurrences of these words, ``n_zero`` and ``reason``.
    """
    values = group_values(data, contexts, min_contexts, _mean_cosines)
    baseline = Baseline.mean_cosine(data) if adjusted else None
    rows = GroupRows(values, contexts.names, min_contexts, _SELF_SIMILARITY, baseline)
    return _rows_of_words(rows, word, per_word=per_word)


def _mean_cosines(sums: GroupSums, _: Groups) -> Float64Array:
    """Return the mean cosine over all pairs of vectors of each group, (g,); NaN for fewer than two vectors."""
    n_pairs = sums.n * (sums.n - 1)
    square = np.vecdot(sums.unit_total, sums.unit_total) - sums.unit_square_total
    means: Float64Array = np.divide(square, n_pairs, out=np.full(len(square), np.nan), where=n_pairs > 0)
    return np.clip(means, -1, 1, out=means)


def mev(
    data: LayerData,
    *,
    contexts: Contexts,
    variant: str = "uncentred",
    word: tuple[str, ...] = (),
    per_word: bool = False,
    min_contexts: int = 5,
    adjusted: bool = False,
) -> list[Result]:
    """Compute the share of a word's occurrences that one direction explains, and its mean over words.

    σ₁² / Σσᵢ² of the matrix of a word's occurrences: MEV of Ethayarajh (2019), section 3.3.

    Args:
        data: Vectors of occurrences.
        contexts: Occurrences of each word, or of the requested words.
        variant: ``uncentred`` for the singular values of the matrix; ``centred`` to subtract its mean row first.
        word: Requested words; ``contexts`` has only these.
        per_word: Whether to return a row for each word with enough contexts.
        min_contexts: Minimum number of vectors of a word, at least 1; words with fewer have no value.
        adjusted: Whether to subtract the MEV, of the same variant, of all selected occurrences.

    Returns:
        One row, or one per word: ``mev`` in (0, 1], ``baseline``, ``adjusted``, ``n_words``, ``n_words_left_out``,
        ``n`` occurrences of these words (zero vectors included), ``n_zero`` and ``reason``.
    """
    centred = variant == "centred"
    values = explained_by_group(data, contexts, min_contexts, centred=centred)
    baseline = Baseline(explained_by_moments(moments(data), centred=centred), _MEV.undefined) if adjusted else None
    rows = GroupRows(values, contexts.names, min_contexts, _MEV, baseline)
    return _rows_of_words(rows, word, per_word=per_word)


def _rows_of_words(rows: GroupRows, word: tuple[str, ...], *, per_word: bool) -> list[Result]:
    """Return a row for each requested word, else for each word with enough contexts, or the row of their mean."""
    if word:
        return rows.each()
    return rows.each_with_enough() if per_word else rows.mean()


_WORDS = (
    Parameter("word", (), "A word that gets a row of its own; may be repeated. Without: the mean over all words."),
    Parameter("per_word", False, "A row for every word that has enough contexts."),
    Parameter("fold_case", False, "Take words that differ only in case for one.", is_input=True, in_rows=True),
)
_CITATION = "Ethayarajh (2019), EMNLP, section 3.3"
_GROUPING = (
    "A word is its exact text, unless ⦃fold-case=True⦄; two occurrences in one sentence are two contexts. The mean "
    "counts each word once, however many contexts it has."
)


def _min_contexts(minimum: int) -> Parameter:
    """Return the parameter ``min_contexts`` with its smallest valid value."""
    return Parameter("min_contexts", 5, "Leave out words with fewer contexts.", minimum=minimum)


def _adjusted(baseline: str) -> Parameter:
    """Return the parameter ``adjusted``, given a noun phrase for the baseline."""
    return Parameter("adjusted", False, f"Also subtract the layer's baseline: {baseline} of all selected occurrences.")


def _columns(value: Column, group: str, baseline: str) -> tuple[Column, ...]:
    """Declare the result columns of a metric with one row per group (a word or a sentence): see :class:`GroupRows`.

    Args:
        value: Column of the value, with its range.
        group: Noun for a group, also the name of its column.
        baseline: Noun phrase for the baseline.
    """
    assert value.minimum is not None
    lowest = value.minimum - 1
    return (
        Column(group, "string", f"the {group}; null in the row of the mean over {group}s", is_key=True),
        value,
        Column("baseline", "number", f"{baseline} of all selected occurrences, with ⦃adjusted=True⦄", value.minimum, 1),
        Column(
            "adjusted", "number", f"{value.name} less the baseline, with ⦃adjusted=True⦄", lowest, 1 - value.minimum
        ),
        Column(f"n_{group}s", "integer", f"{group}s that have a value", minimum=0),
        Column(f"n_{group}s_left_out", "integer", f"selected {group}s without one", minimum=0, shown=False),
        N_ZERO,
    )


METRICS = (
    Metric(
        name="self-similarity",
        drawn_values=("adjusted", "self_similarity", "baseline"),
        elsewhere="Words by themselves and sentences have one vector each; the mean cosine between them: embstore "
        "query anisotropy",
        help="Mean cosine between the occurrences of a word.",
        function=self_similarity,
        columns=_columns(
            Column("self_similarity", "number", "mean cosine over all pairs of a word's occurrences", -1, 1),
            "word",
            "the mean pairwise cosine",
        ),
        parameters=(*_WORDS, _min_contexts(2), _adjusted("the mean cosine")),
        formula="(‖Σu‖² − n) / (n (n − 1)) over the n occurrences of a word, u = x/‖x‖",
        citation=_CITATION,
        references=("ethayarajh2019",),
        needs="contexts",
        estimator="Exact over all pairs of a word's occurrences, in float64; the paper's code draws at most 1,000 "
        "pairs. The baseline is the mean cosine over all pairs of selected occurrences, exactly: the anisotropy. "
        f"{_GROUPING} Zero vectors are left out and counted, and are no contexts.",
        units=(Unit.OCCURRENCE,),
    ),
    Metric(
        name="intra-sentence",
        drawn_values=("adjusted", "intra_sentence_similarity", "baseline"),
        version=2,
        elsewhere="It compares the words of a sentence with the sentence, whose vector may be one of a space of "
        "sentences: embstore query intra-sentence --sentence-space SPACE",
        help="Mean cosine between the words of a sentence and the sentence's vector.",
        function=intra_sentence,
        columns=_columns(
            Column("intra_sentence_similarity", "number", "mean cosine of a sentence's words with it", -1, 1),
            "sentence",
            "the mean pairwise cosine",
        ),
        parameters=(
            Parameter(
                "sentence_space",
                None,
                "Take the sentences' vectors from this space, of the same checkpoint, instead of their words' mean.",
                value_type=str,
                metavar="SPACE",
                is_input=True,
                in_rows=True,
            ),
            Parameter("per_sentence", False, "A row for every sentence that has enough words."),
            Parameter("min_words", 2, "Leave out sentences with fewer words.", minimum=1),
            _adjusted("the mean cosine"),
        ),
        formula="s/‖s‖ · mean u over the words of a sentence, u = x/‖x‖; s = mean x, or the sentence's vector",
        citation=_CITATION,
        references=("ethayarajh2019",),
        needs="contexts",
        estimator="Exact, in float64. The words of a sentence are its selected occurrences: of a space that was built "
        "with ⦃per-text⦄, or queried with ⦃where⦄ or ⦃sample⦄, not all of its words. The sentence is the mean of its "
        "words' vectors as they are, not of unit vectors: the paper's definition. With ⦃sentence-space⦄ it is the "
        "vector that this space has for it, in the same layer: of pooling mean that of all its tokens, also of "
        "punctuation; of another pooling or template what that gives. A transform that is fitted on the occurrences is "
        "applied to it too; sentences that the space lacks are left out and counted. One word is its own mean, so that "
        "its cosine of 1 says nothing: sentences of one word are left out, unless ⦃min-words=1⦄, which is the paper's. "
        "The baseline is the mean cosine over all pairs of selected occurrences, exactly: the anisotropy. The mean "
        "counts each sentence once. Zero vectors are left out and counted.",
        units=(Unit.OCCURRENCE,),
    ),
    Metric(
        name="mev",
        drawn_values=("adjusted", "mev", "baseline"),
        elsewhere="Words by themselves and sentences have one vector each; what one direction explains of all of them: "
        "embstore query spectrum -k 1 --variant uncentred",
        help="Maximum explainable variance: how much of a word's occurrences one direction explains.",
        function=mev,
        columns=_columns(
            Column("mev", "number", "share of the first component of a word's occurrences", 0, 1), "word", "the MEV"
        ),
        parameters=(
            Parameter(
                "variant",
                "uncentred",
                "uncentred, as the paper defines it, or centred: the share of variance that a PCA explains.",
                choices=("uncentred", "centred"),
            ),
            *_WORDS,
            _min_contexts(1),
            _adjusted("the MEV"),
        ),
        formula="σ₁² / Σσᵢ² of the occurrences of a word",
        citation=_CITATION,
        references=("ethayarajh2019",),
        needs="contexts",
        estimator="Exact, in float64, by the top eigenvalue of the smaller of XXᵀ and XᵀX. The baseline is the MEV of "
        "all selected occurrences, of the same variant. The paper's code mixes the two: centred for words, and for "
        "the baseline the variance ratio of uncentred axes over 1,000 occurrences. The MEV of n vectors is at least "
        "1/n (centred 1/(n − 1)), so that few contexts raise it, and the baseline, of many vectors, does not "
        f"correct that: compare words of like n. {_GROUPING} Zero vectors are counted and stay in the matrix.",
        units=(Unit.OCCURRENCE,),
    ),
)
