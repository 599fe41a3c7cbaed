"""Draws of words that may hit the padding after a sentence, as the code of Wolfe & Caliskan (2022) makes them.

It draws an index from 1 to a sentence's length, both included, in a batch that is padded on the right: the first token
is never drawn, and the last index is one past the end. GPT-2's padding is its end-of-text token, which has the vector
there that it has where it is appended to the sentence.
"""

from collections.abc import Sequence

import numpy as np

from embstore.recipes.multiset import self_similarity
from embstore.recipes.verdicts import Reading
from embstore.space import Layer, Unit
from embstore.storage.catalog import Catalog, Ids
from embstore.text import Item, item_id, words_in


def padded_self_similarity(
    catalog: Catalog, space: str, padding: str, layers: Sequence[Layer], *, sample: int | None, seed: int
) -> list[Reading]:
    """Return the mean pairwise cosine of draws that may hit the padding, layer by layer.

    Args:
        catalog: the store.
        space: of occurrences, one or a few of each sentence.
        padding: of sentences, with the vector of the token that follows them.
        layers: of both spaces.
        sample: how many draws are taken, at random; None takes all.
        seed: of the draws.
    """
    items = catalog.items(catalog.ids(space).tolist())
    words, paddings = draw([items[item] for item in sorted(items)], sample=sample, seed=seed)
    return self_similarity(catalog, {space: words, padding: paddings}, layers)


def draw(occurrences: Sequence[Item], *, sample: int | None, seed: int) -> tuple[Ids, Ids]:
    """Draw, for each occurrence, this word of its sentence unless it is the first, or the sentence's padding.

    Of w words the padding has a chance of 1/w. The word is one that was drawn when the space was built, from all w;
    where it is the first, and the padding is not drawn, there is nothing.

    Args:
        occurrences: the words, by ascending id.
        sample: how many draws are kept, at random; None keeps all.
        seed: of both draws.

    Returns:
        The ids of the words, and of the sentences whose padding is drawn, as often as it is, each ascending.
    """
    rng = np.random.default_rng(seed)
    spans = [words_in(item.context or "") for item in occurrences]
    n_words = np.array([len(of) for of in spans], np.int64)
    is_padding = rng.integers(1, n_words, endpoint=True) == n_words
    is_first = np.array([item.span == of[0] for item, of in zip(occurrences, spans, strict=True)], np.bool_)
    kept = np.flatnonzero(is_padding | ~is_first)
    if sample is not None and sample < len(kept):
        kept = np.sort(rng.choice(kept, sample, replace=False))
    words = [occurrences[at].id for at in kept[~is_padding[kept]].tolist()]
    paddings = [item_id(Unit.SENTENCE, occurrences[at].context or "") for at in kept[is_padding[kept]].tolist()]
    return np.array(words, np.int64), np.array(sorted(paddings), np.int64)
