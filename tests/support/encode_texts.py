"""Texts for the tests: short and long, capitals, emoji, words of many tokens, a word twice in a
sentence.
"""

from embstore.base.space import Pooling, Template, Unit
from embstore.base.text import Passage, Span, items_of, passages_of
from embstore.encode.records import Skipped

TEXTS = ("The quick brown fox", "a dog", "She sells sea shells by the sea shore")
WORDS = [
    "cat", "dog", "FBI", "McDonald", "antidisestablishmentarianism", "ice cream", "don't", "naïve",
    "🙂", "42", "a",
]  # fmt: skip
# About equally long, so that batches have several rows and padding, whatever the vocabulary.
ALIKE = [
    "The quick brown fox jumps over the cat and the hat" + end
    for end in (
        "",
        ".",
        "!",
        " on",
        " on a",
        " on the",
        " and",
        " and a mat",
        ", the fox",
        " the sea",
    )
]
SENTENCES = [
    "Hi.",
    "The cat sat on the mat, and the other cat sat on the hat.",
    "She asked: “Who's there?” — nobody answered.",
    "I ❤ NY 🙂🙂, said Maradona in 1986!",
    "Central banks raised rates; the river bank flooded.",
    "the the the the the the the the the the the the",
    "quick brown fox",
    *ALIKE,
]
CONTEXTS = [
    "The cat sat on the mat, and the other cat sat on the hat.",
    "Central banks raised rates; the river bank flooded.",
    "A cat",
    "She sells seashells to McDonald and the FBI by the shore",
    *ALIKE,
]


OF_TEXTS = {Unit.WORD: WORDS, Unit.SENTENCE: SENTENCES, Unit.OCCURRENCE: CONTEXTS}
"""Texts of each unit that no tokenizer makes; test_token_items.py has the tokens."""


def items(unit):
    return [item for text in OF_TEXTS[unit] for item in items_of(text, unit)]


def passages(
    members,
    encoder,
    template=Template(),  # noqa: B008
):
    bos, eos = encoder.tokenizer.template_strings(template)
    return list(passages_of(members, template, bos=bos, eos=eos))


def passage(text, item_id=1, span=None):
    return Passage(text, (span or Span(0, len(text)),), (item_id,))


def run(encoder, given, pooling=Pooling.LAST, **options):
    """Encode for one pooling; return {item id: (layers, dim)} and what was skipped."""
    vectors, skipped = {}, []
    for result in encoder.encode([given], poolings=[pooling], **options):
        if isinstance(result, Skipped):
            skipped.append(result)
        else:
            vectors.update(by_id(result, pooling))
    return vectors, skipped


def by_id(result, pooling):
    return {int(item): result.vectors[pooling][:, row] for row, item in enumerate(result.item_ids)}
