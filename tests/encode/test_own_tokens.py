"""An item's own tokens are all but those that the tokenizer and the template add, also where these
are blanks.
"""

from functools import cache

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import transformers as tf
from encode_models import TINY
from encode_texts import passage, passages
from encode_vocabularies import bpe, metaspace_bpe, unigram
from encode_witness import worst
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import normalizers, processors

from embstore.base.space import Pooling, Unit
from embstore.base.text import Item, Passage, Span
from embstore.encode.records import Skipped
from embstore.encode.tokens import Tokenizer

BLANKS = [
    "dog ",
    " dog",
    "dog  ",
    "a b ",
    " a  b  ",
    "dog\t",
    "dog\n ",
    "dog\u00a0",
    "dog\u3000",
    " ",
    "  ",
    "\n",
]
POOLINGS = [Pooling.LAST, Pooling.FIRST, Pooling.MEAN]


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_the_blanks_of_a_text_are_pooled_as_transformers_reads_them(tiny, witness, name):
    encoder, plain = tiny(name), witness(name)
    sentences = passages([Item.whole(Unit.SENTENCE, text) for text in BLANKS], encoder)
    found, lengths, skipped = {}, {}, set()
    for result in encoder.encode([sentences], poolings=POOLINGS):
        if isinstance(result, Skipped):
            skipped.add(result.item_id)
            continue
        for row, item in enumerate(result.item_ids.tolist()):
            found[item] = {pooling: result.vectors[pooling][:, row] for pooling in POOLINGS}
            lengths[item] = int(result.item_lengths[row])
    for text, _, [item], *_ in sentences:
        read = plain.tokenizer(text, add_special_tokens=False)["input_ids"]
        n_added = plain.n_added(text, 0, plain.tokenizer.convert_ids_to_tokens(read))
        assert lengths.get(item, 0) == len(read) - n_added, text
        assert (item in skipped) == (not read)
        for pooling in POOLINGS if item in found else ():
            assert worst(found[item][pooling], plain.vector(text, 0, 0, pooling, (0, 0))) <= 1e-4, (
                text
            )


def byte_level(case):
    """Return a tokenizer of byte-level BPE that trims the blanks off its offsets."""
    parts = bpe(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    if case == "bart":
        return tf.BartTokenizer(**parts)
    hf = tf.RobertaTokenizer(
        **parts, add_prefix_space=case == "roberta with a space before each text"
    )
    marks = hf.backend_tokenizer.post_processor
    if case == "byte level":  # GPT-NeoX, OLMo
        hf.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    if case == "sequence":  # Llama 3
        hf.backend_tokenizer.post_processor = processors.Sequence(
            [processors.ByteLevel(trim_offsets=True), marks]
        )
    return hf


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", ["roberta", "roberta with a space before each text", "bart", "byte level", "sequence"]
)
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
    # The tokenizer puts a blank before the whole, which is nobody's where it is a token of its own.
    puts_blank = case == "roberta with a space before each text" and not text.startswith(" ")
    n_added = puts_blank and not before and hf.convert_ids_to_tokens(row.ids[special]) == "Ġ"
    assert row.tokens == [list(range(special + counts[0] + n_added, special + counts[1]))]
    assert len(row.ids) == counts[2] + 2 * special


@pytest.mark.parametrize("case", ["roberta", "bart", "sequence"])
def test_the_words_of_a_sentence_keep_their_tokens(case):
    sentence = "The cat  sat on the mat , and she sells seashells. "
    hf = byte_level(case)
    expected = hf(sentence)
    spans = tuple(
        Span(start, end) for start, end in [(0, 3), (4, 7), (9, 12), (20, 23), (34, 39), (40, 49)]
    )
    tokenizer = Tokenizer(hf, tf.RobertaConfig(vocab_size=len(hf)), case)
    [([row], _)] = tokenizer.windows(
        [Passage(sentence, spans, tuple(range(len(spans))))], poolings=[], long="skip"
    )
    assert row.ids == expected["input_ids"]
    for span, positions in zip(spans, row.tokens, strict=True):
        assert (
            hf.decode([row.ids[position] for position in positions]).strip()
            == sentence[span.start : span.end]
        )
        assert np.diff(positions).tolist() == [1] * (len(positions) - 1)


def metaspace(case):
    """Return a tokenizer that puts a blank before the first word, in Metaspace or by the normalizer
    of older ones.
    """
    if case == "t5":
        return tf.T5Tokenizer(vocab=unigram(), extra_ids=0)
    hf = tf.LlamaTokenizer(**metaspace_bpe(["<unk>", "<s>", "</s>"]), add_bos_token=True)
    if case == "older llama":
        steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        hf.backend_tokenizer.normalizer = normalizers.Sequence(steps)
        hf.backend_tokenizer.pre_tokenizer = None
    return hf


PREFIXING = {
    "t5": metaspace, "llama": metaspace, "older llama": metaspace,
    "roberta with a space before each text": byte_level,
}  # fmt: skip
STARTS = {"t5": "▁", "llama": "▁", "older llama": "▁", "roberta with a space before each text": "Ġ"}


@pytest.fixture(scope="module")
def prefixing():
    """Load a tokenizer that puts a blank before each text; its own tokens of a span are given by
    their names.
    """

    @cache
    def load(case):
        hf = PREFIXING[case](case)
        tokenizer = Tokenizer(hf, tf.RobertaConfig(vocab_size=len(hf)), case)

        def own_tokens(text, span):
            [([row], _)] = tokenizer.windows([passage(text, span=span)], poolings=[], long="skip")
            return hf.convert_ids_to_tokens([row.ids[position] for position in row.tokens[0]])

        return own_tokens

    return load


WORDS = st.text("abcdehoqrtwz" + "éŋ字🙂", min_size=1, max_size=6)


@pytest.mark.slow
@pytest.mark.parametrize("case", PREFIXING)
@given(
    st.lists(WORDS, min_size=1, max_size=3).map(" ".join),
    st.sampled_from(["", " ", "the ", "a  ", "Zoë sat on "]),
)
@example("zebra", "the ").via("the blank before it is a token of its own")
@example("cat", "the ").via("the blank before it is a part of its first token")
@example("\u3000zebra", "the ").via("it has a blank of its own")
def test_an_item_has_the_same_tokens_at_the_start_of_a_text_and_within_it(
    prefixing, case, item, before
):
    """It is a word, or a sentence of several: a blank within it is its own, and one that is put
    before it nobody's.
    """
    own_tokens = prefixing(case)
    alone = own_tokens(item, Span(0, len(item)))
    within = own_tokens(f"{before}{item} on", Span(len(before), len(before) + len(item)))
    blank = STARTS[case]
    assert alone[0] != blank
    assert within[0].removeprefix(blank) == alone[0].removeprefix(blank)
    assert within[1:] == alone[1:]
    assert sum(token.startswith(blank) for token in alone[1:]) == item.count(" ")


@pytest.mark.parametrize("case", PREFIXING)
def test_what_is_a_blank_or_its_sign_keeps_its_token(prefixing, case):
    own_tokens, blank = prefixing(case), STARTS[case]
    assert own_tokens(blank, Span(0, 1))
    if blank == "▁":
        assert own_tokens("▁x", Span(0, 2))[0] == "▁"
    if case != "t5":  # which has no tokens of blanks
        assert own_tokens(" ", Span(0, 1))
        assert own_tokens("the zebra", Span(3, 9))[0] == blank


def test_a_word_of_which_the_cut_leaves_only_the_blank_before_it_is_beyond_the_cut():
    hf = metaspace("t5")
    config = tf.T5Config(vocab_size=len(hf))
    text = "zebra zebra"  # ▁ z e b ra ▁ z e b ra </s>
    spans = (Span(0, 5), Span(6, 11))
    for limit, n_own in ((6, [4]), (7, [4]), (8, [4, 1])):
        hf.model_max_length = limit
        tokenizer = Tokenizer(hf, config, "t5")
        [([row], skipped)] = tokenizer.windows(
            [Passage(text, spans, (1, 2))], poolings=[], long="truncate"
        )
        assert [len(positions) for positions in row.tokens] == n_own
        assert [skip.reason.startswith("beyond the cut") for skip in skipped] == [
            False,
            n_own == [4],
        ]
