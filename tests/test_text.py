"""Item ids, words, draws, passages and marked sentences."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embstore.base.errors import UsageError
from embstore.base.space import Template, Unit
from embstore.base.text import (
    Item,
    Span,
    is_too_long,
    item_id,
    items_of,
    parse_marked,
    passages_of,
    words_in,
)

GOLDEN_IDS = json.loads((Path(__file__).parent / "golden" / "item_ids.json").read_text("utf-8"))
texts = st.text(st.characters(), max_size=30)  # lone surrogates and NUL among them


@pytest.mark.parametrize(
    "golden", GOLDEN_IDS, ids=lambda golden: f"{golden['unit']} {golden['text']!a}"
)
def test_ids_never_change(golden):
    """Stores are keyed by them: a change of any of these numbers is a change of the store's
    format.
    """
    span = golden["span"] and Span(*golden["span"])
    assert (
        item_id(Unit(golden["unit"]), golden["text"], golden["context"], span) == golden["item_id"]
    )


@given(texts, st.sampled_from([Unit.WORD, Unit.SENTENCE]))
def test_an_id_has_63_bits_and_depends_on_text_and_unit_alone(text, unit):
    item = Item.whole(unit, text)
    assert 0 <= item.id < 2**63
    assert item.id == Item.whole(unit, text).id
    assert item.id != Item.whole(unit, text + " ").id
    assert item.id != Item.whole(Unit.WORD if unit is Unit.SENTENCE else Unit.SENTENCE, text).id


def test_an_occurrence_has_an_id_of_its_own_in_each_place():
    sentence = "the bank of the bank"
    first, second = (Item.occurrence(sentence, span) for span in (Span(4, 8), Span(16, 20)))
    other = Item.occurrence(sentence + ".", Span(4, 8))
    ids = {
        first.id,
        second.id,
        other.id,
        Item.whole(Unit.WORD, "bank").id,
        Item.whole(Unit.SENTENCE, sentence).id,
    }
    assert len(ids) == 5
    assert first.context_id == Item.whole(Unit.SENTENCE, sentence).id


@given(st.text(st.sampled_from("ab é\ud800"), max_size=30))
def test_the_occurrences_of_a_sentence_have_the_ids_that_each_has_by_itself(sentence):
    items = items_of(sentence, Unit.OCCURRENCE)
    assert items == [Item.occurrence(sentence, span) for span in words_in(sentence)]


@pytest.mark.slow
def test_a_sentence_is_too_long_by_its_different_words_and_by_half_a_million_of_them():
    assert not is_too_long("ab " * 333_334)
    assert not is_too_long("ab " * (1 << 19))
    assert is_too_long("ab " * ((1 << 19) + 1))
    assert not is_too_long(" ".join(f"w{number % 5000}" for number in range(150_000)))
    assert is_too_long(" ".join(f"w{number}" for number in range(150_000)))
    assert is_too_long("\ud800 " + " ".join(f"w{number}" for number in range(150_000)))


def test_fields_cannot_run_into_each_other():
    assert item_id(Unit.WORD, "a\x00b") != item_id(Unit.WORD, "a")
    assert item_id(Unit.OCCURRENCE, "a", "bc", Span(0, 1)) != item_id(
        Unit.OCCURRENCE, "ab", "c", Span(0, 1)
    )


def test_a_draw_depends_on_seed_and_text_alone():
    sentences = [f"one two three four five {number}" for number in range(50)]

    def drawn(order, seed, n=2):
        return {
            s: [item.text for item in items_of(s, Unit.OCCURRENCE, per_text=n, seed=seed)]
            for s in order
        }

    first = drawn(sentences, 0)
    assert drawn(random.Random(1).sample(sentences, 50), 0) == first
    assert drawn(sentences, 1) != first
    assert {len(words) for words in first.values()} == {2}
    assert len({tuple(words) for words in first.values()}) > 5
    positions = [
        sentence.split().index(word) for sentence, words in first.items() for word in words
    ]
    assert set(positions) == set(range(6))
    assert all(w == sorted(w, key=s.split().index) for s, w in first.items()), (
        "in the order of the sentence"
    )
    assert (
        drawn(sentences, 0, n=6) == {s: s.split() for s in sentences} == drawn(sentences, 0, n=99)
    )


def test_a_word_has_one_passage_and_the_occurrences_of_a_sentence_share_one():
    words = [Item.whole(Unit.WORD, text) for text in ("dog", "cat")]
    template = Template("{bos} This is {text}.{eos}")
    passages = list(passages_of(words, template, bos="<s>", eos="</s>"))
    assert [p.text for p in passages] == ["<s> This is dog.</s>", "<s> This is cat.</s>"]
    assert [p.item_ids for p in passages] == [(item.id,) for item in words]
    assert [p.text[p.spans[0].start : p.spans[0].end] for p in passages] == ["dog", "cat"]

    sentences = ("the bank of the bank", "a bank")
    items = [item for s in sentences for item in items_of(s, Unit.OCCURRENCE)]
    random.Random(0).shuffle(items)
    passages = list(passages_of(items, Template(" {text}")))
    assert sorted(p.text for p in passages) == sorted(f" {s}" for s in sentences)
    by_id = {item.id: item for item in items}
    for passage in passages:
        for span, item in zip(passage.spans, passage.item_ids, strict=True):
            assert passage.text[span.start : span.end] == by_id[item].text
    assert sorted(item for p in passages for item in p.item_ids) == sorted(by_id)


@given(texts, texts, st.sampled_from(["{text}", " {text}", "{bos}{text}{eos}", "This is {text}"]))
def test_an_items_span_in_its_passage_is_its_text(before, after, pattern):
    item = Item.occurrence(before + "word" + after, Span(len(before), len(before) + 4))
    [passage] = passages_of([item], Template(pattern), bos="<bos>", eos="<eos>")
    [span] = passage.spans
    assert passage.text[span.start : span.end] == "word"


@given(texts, texts)
def test_a_marked_sentence_is_read_as_it_is_shown(before, after):
    before, after = (part.replace("[", "(").replace("]", ")") for part in (before, after))
    item = parse_marked(f"{before}[bank]{after}")
    assert (item.text, item.context, item.unit) == ("bank", f"{before}bank{after}", Unit.OCCURRENCE)
    assert item.shown == f"{before}[bank]{after}"
    assert parse_marked(item.shown) == item


@pytest.mark.parametrize("text", ["the bank", "the [] bank", "[a] [b]", "[a", "a]", "[[a]]", "]a["])
def test_a_sentence_that_does_not_mark_one_word_is_refused(text):
    with pytest.raises(UsageError, match="exactly one word with brackets"):
        parse_marked(text)
