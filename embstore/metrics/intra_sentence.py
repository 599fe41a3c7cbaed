"""Compute intra-sentence similarity: the mean cosine of the words of a sentence with the sentence's vector."""

from collections.abc import Callable

import numpy as np

from embstore.base.summary import Float64Array
from embstore.metrics.data import Contexts
from embstore.metrics.declaration.spec import LayerData, Result
from embstore.metrics.group_rows import Baseline, GroupRows, Labels
from embstore.metrics.numerics.groups import Groups, GroupSums, group_values

# Share of Σ‖x‖ up to which ‖Σx‖ is rounding.
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
        values = group_values(data, contexts, min_words, _cosines_with_mean, with_total=True)
    else:
        values = group_values(data, contexts, min_words, _cosines_with(sentences, contexts))
    baseline = Baseline.mean_cosine(data) if adjusted else None
    labels = _INTRA_SENTENCE if sentences is None else _WITH_SENTENCES
    rows = GroupRows(values, contexts.names, min_words, labels, baseline)
    return rows.each_with_enough() if per_sentence else rows.mean()


def _cosines_with(sentences: LayerData, contexts: Contexts) -> Callable[[GroupSums, Groups], Float64Array]:
    """Return a function from the sums of sentences to the mean cosine of their words with their own vectors.

    Args:
        sentences: Vectors of sentences.
        contexts: Occurrences in each sentence, and the ids of the sentences.
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
    """Return the mean cosine of the vectors of each group with their mean, (g,); NaN if the mean is zero."""
    norms = np.sqrt(np.vecdot(sums.total, sums.total))
    products = np.vecdot(sums.total, sums.unit_total)
    is_defined = norms > _ZERO_MEAN * sums.norm_total
    means: Float64Array = np.divide(products, norms * sums.n, out=np.full(len(norms), np.nan), where=is_defined)
    return np.clip(means, -1, 1, out=means)
