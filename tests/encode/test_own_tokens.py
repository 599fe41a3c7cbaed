"""An item's own tokens are all but those that the tokenizer and the template add, also where these are blanks."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import transformers as tf
from encode_models import TINY
from encode_texts import passage, passages
from encode_vocabularies import bpe
from encode_witness import worst
from tokenizers import processors

from embstore.base.space import Pooling, Unit
from embstore.base.text import Item, Passage, Span
from embstore.encode.records import Skipped
from embstore.encode.tokens import Tokenizer

BLANKS = ["dog ", " dog", "dog  ", "a b ", " a  b  ", "dog\t", "dog\n ", "dog\u00a0", "dog\u3000", " ", "  ", "\n"]
POOLINGS = [Pooling.LAST, Pooling.FIRST, Pooling.MEAN]


@pytest.mark.parametrize("name", TINY)
def test_the_blanks_of_a_text_are_pooled_as_transformers_reads_them(tiny, witness, name):
    encoder, plain = tiny(name), witness(name)
    given = passages([Item.whole(Unit.SENTENCE, text) for text in BLANKS], encoder)
    found, lengths, skipped = {}, {}, set()
    for result in encoder.encode([given], poolings=POOLINGS):
        if isinstance(result, Skipped):
            skipped.add(result.item_id)
            continue
        for row, item in enumerate(result.item_ids.tolist()):
            found[item] = {pooling: result.vectors[pooling][:, row] for pooling in POOLINGS}
            lengths[item] = int(result.item_lengths[row])
    for text, _, [item] in given:
        mask = plain.tokenizer(text, return_special_tokens_mask=True)["special_tokens_mask"]
        assert lengths.get(item, 0) == mask.count(0), text
        assert (item in skipped) == (0 not in mask)
        for pooling in POOLINGS if item in found else ():
            assert worst(found[item][pooling], plain.vector(text, 0, 0, pooling, (0, 0))) <= 1e-4, text


def byte_level(case: str) -> tf.PreTrainedTokenizerFast:
    """Return a tokenizer of byte-level BPE that trims the blanks off its offsets."""
    parts = bpe(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    if case == "bart":
        return tf.BartTokenizer(**parts)
    hf = tf.RobertaTokenizer(**parts, add_prefix_space=case == "roberta with a space before each text")
    marks = hf.backend_tokenizer.post_processor
    if case == "byte level":  # GPT-NeoX, OLMo
        hf.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    if case == "sequence":  # Llama 3
        hf.backend_tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), marks])
    return hf


@pytest.mark.parametrize("case", ["roberta", "roberta with a space before each text", "bart", "byte level", "sequence"])
@pytest.mark.parametrize(
    ("before", "text", "after"),
    [
        *(("", text, "") for text in BLANKS),
        *(("This is:", text, "") for text in BLANKS),
        ("", "dog ", " and"),
        ("This is", " dog  ", " and a mat"),
        ("This is ", " dog", " "),
    ],
)
def test_a_template_takes_its_own_tokens_only(case, before, text, after):
    hf = byte_level(case)
    counts = [
        len(hf(part, add_special_tokens=False)["input_ids"]) if part else 0
        for part in (before, before + text, before + text + after)
    ]
    tokenizer = Tokenizer(hf, tf.RobertaConfig(vocab_size=len(hf)), case)
    whole = before + text + after
    span = Span(len(before), len(before + text))
    [([row], _)] = tokenizer.windows([passage(whole, span=span)], poolings=[], long="skip")
    special = row.begin is not None
    assert row.tokens == [list(range(special + counts[0], special + counts[1]))]
    assert len(row.ids) == counts[2] + 2 * special


@pytest.mark.parametrize("case", ["roberta", "bart", "sequence"])
def test_the_words_of_a_sentence_keep_their_tokens(case):
    sentence = "The cat  sat on the mat , and she sells seashells. "
    hf = byte_level(case)
    expected = hf(sentence)
    spans = tuple(Span(start, end) for start, end in [(0, 3), (4, 7), (9, 12), (20, 23), (34, 39), (40, 49)])
    tokenizer = Tokenizer(hf, tf.RobertaConfig(vocab_size=len(hf)), case)
    given = Passage(sentence, spans, tuple(range(len(spans))))
    [([row], _)] = tokenizer.windows([given], poolings=[], long="skip")
    assert row.ids == expected["input_ids"]
    for span, positions in zip(spans, row.tokens, strict=True):
        assert hf.decode([row.ids[position] for position in positions]).strip() == sentence[span.start : span.end]
        assert np.diff(positions).tolist() == [1] * (len(positions) - 1)
