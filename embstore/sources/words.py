"""The dataset ``words``: the most frequent English words, by wordfreq."""

from collections.abc import Iterator
from itertools import islice

from embstore.sources.rows import Row


def read_words(size: int) -> Iterator[Row]:
    """Yield the ``size`` most frequent words, with their ``rank`` from 1.

    wordfreq rounds frequencies and sorts alphabetically within each, so that one version of it gives the same
    order on every machine.
    """
    for rank, word in enumerate(islice(_alphabetic(), size), 1):
        yield Row(word, f"words rank {rank}", {"rank": rank})


def count_words() -> int:
    """Return how many words there are."""
    return sum(1 for _ in _alphabetic())


def _alphabetic() -> Iterator[str]:
    import wordfreq  # 25 MB of word lists, for this dataset only

    return (word for word in wordfreq.iter_wordlist("en") if word.isalpha())
