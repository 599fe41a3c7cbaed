"""Sample words, or the padding after their sentence, as the code of Wolfe & Caliskan (2022) does.

Their code draws an index from 1 to the sentence's length, inclusive, in a batch padded on the right: so it never draws
the first token, and the last index is one past the end. GPT-2's padding is its end-of-text token.
"""

from collections.abc import Sequence

import numpy as np

from embstore.base.space import Layer, Unit
from embstore.base.text import Item, item_id, words_in
from embstore.recipes.multiset import self_similarity
from embstore.recipes.verdicts import LayerValue
from embstore.storage.catalog import Catalog, Ids


def padded_self_similarity(
    catalog: Catalog, space: str, padding: str, layers: Sequence[Layer], *, sample: int | None, seed: int
) -> list[LayerValue]:
    """Compute the mean pairwise cosine of a sample of words and paddings, layer by layer.

    Args:
        catalog: Store.
        space: Space of occurrences, with one or a few words of each sentence.
        padding: Space of the sentences, with the vectors of the token that follows them.
        layers: Layers to compute, present in both spaces.
        sample: Number of draws to keep, at random; None for all.
        seed: Random seed of the draws.
    """
    items = catalog.items(catalog.ids(space).tolist())
    words, paddings = draw([items[item] for item in sorted(items)], sample=sample, seed=seed)
    return self_similarity(catalog, {space: words, padding: paddings}, layers)


def draw(occurrences: Sequence[Item], *, sample: int | None, seed: int) -> tuple[Ids, Ids]:
    """Draw for each occurrence the word itself or the padding of its sentence.

    In a sentence of w words the padding has probability 1/w. Otherwise the draw is the word, which was itself sampled
    from all w when the space was built; a first word is dropped.

    Args:
        occurrences: Words in their sentences, by ascending id.
        sample: Number of draws to keep, at random; None for all.
        seed: Random seed of the draws and of the sample.

    Returns:
        The ids of the drawn words, and of the sentences whose padding was drawn, with duplicates; each ascending.
    """
    rng = np.random.default_rng(seed)
    sentences = [words_in(item.context or "") for item in occurrences]
    n_words = np.array([len(spans) for spans in sentences], np.int64)
    is_padding = rng.integers(1, n_words, endpoint=True) == n_words
    is_first = np.array([item.span == spans[0] for item, spans in zip(occurrences, sentences, strict=True)], np.bool_)
    kept = np.flatnonzero(is_padding | ~is_first)
    if sample is not None and sample < len(kept):
        kept = np.sort(rng.choice(kept, sample, replace=False))
    words = [occurrences[i].id for i in kept[~is_padding[kept]].tolist()]
    paddings = [item_id(Unit.SENTENCE, occurrences[i].context or "") for i in kept[is_padding[kept]].tolist()]
    return np.array(words, np.int64), np.array(sorted(paddings), np.int64)
