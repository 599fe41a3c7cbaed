"""Intra-sentence similarity: how near the words of a sentence are to the sentence's vector."""

from collections.abc import Callable

import numpy as np

from embstore.metrics.data import Contexts
from embstore.metrics.declaration.spec import LayerData, Result
from embstore.metrics.group_rows import Baseline, GroupRows, Labels
from embstore.metrics.numerics.groups import Groups, GroupSums, group_values
from embstore.summary import Float64Array

# ‖Σx‖ below this share of Σ‖x‖ is rounding, not a direction.
_ZERO_MEAN = 1e-12

_INTRA_SENTENCE = Labels("intra_sentence_similarity", "sentence", "word", "the mean vector is zero")
_WITH_SENTENCES = Labels(_INTRA_SENTENCE.value, "sentence", "word", "the sentence has no vector, or a zero vector")


def intra_sentence(
    data: LayerData,
    *,
    contexts: Contexts,
    sentences: LayerData | None = None,
    per_sentence: bool = False,
    min_words: int = 2,
    adjusted: bool = False,
) -> list[Result]:
    """Compute the mean cosine between the words of a sentence and its vector, and its mean over sentences.

    s/‖s‖ · Σu/n over the n words of a sentence, s = Σx/n: IntraSim of Ethayarajh (2019), section 3.3. Given
    ``sentences``, s is the sentence's own vector.

    Args:
        data: Vectors of occurrences.
        contexts: Occurrences in each sentence; with ``sentences``, also the ids of the sentences.
        sentences: Vectors of sentences, of the same layer and checkpoint; None for the mean of the words' vectors.
        per_sentence: Whether to return a row for each sentence with enough words.
        min_words: Minimum number of non-zero vectors of a sentence, at least 1; other sentences are omitted.
        adjusted: Whether to subtract the mean cosine of all selected occurrences.

    Returns:
        One row, or one per sentence: ``intra_sentence_similarity`` in [-1, 1], ``baseline``, ``adjusted``,
        ``n_sentences``, ``n_sentences_left_out``, ``n`` occurrences in these sentences, ``n_zero`` and ``reason``.
    """
    if sentences is None:
        found = group_values(data, contexts, min_words, _cosines_with_mean, with_total=True)
    else:
        found = group_values(data, contexts, min_words, _cosines_with(sentences, contexts))
    baseline = Baseline.mean_cosine(data) if adjusted else None
    labels = _INTRA_SENTENCE if sentences is None else _WITH_SENTENCES
    rows = GroupRows(found, contexts.names, min_words, labels, baseline)
    return rows.each_with_enough() if per_sentence else rows.mean()


def _cosines_with(sentences: LayerData, contexts: Contexts) -> Callable[[GroupSums, Groups], Float64Array]:
    """Return the function that gives the mean cosine of each sentence's words with the sentence's own vector."""
    assert contexts.of_groups is not None
    of_groups = contexts.of_groups

    def cosines(sums: GroupSums, members: Groups) -> Float64Array:
        ids, block = sentences.gather(of_groups[members])
        x = block.astype(np.float64)
        lengths = np.sqrt(np.vecdot(x, x))
        means = np.full(len(members), np.nan)
        rows = np.flatnonzero(np.isin(of_groups[members], ids))
        places = np.searchsorted(ids, of_groups[members][rows])
        products = np.vecdot(x[places], sums.unit_total[rows])
        exists = (lengths[places] > 0) & (sums.n[rows] > 0)
        np.divide(products, lengths[places] * sums.n[rows], out=products, where=exists)
        means[rows[exists]] = np.clip(products[exists], -1, 1)
        return means

    return cosines


def _cosines_with_mean(sums: GroupSums, _: Groups) -> Float64Array:
    lengths = np.sqrt(np.vecdot(sums.total, sums.total))
    products = np.vecdot(sums.total, sums.unit_total)
    exists = lengths > _ZERO_MEAN * sums.norm_total
    means: Float64Array = np.divide(products, lengths * sums.n, out=np.full(len(lengths), np.nan), where=exists)
    return np.clip(means, -1, 1, out=means)
