"""Of a very long text only a part is tokenised, and what the model reads is what transformers gives
for all of it.
"""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers")
from peak_memory import peak

from embstore.base.space import Pooling
from embstore.base.text import Passage, Span
from embstore.encode import spans as module
from embstore.encode.checkpoint import resolve
from embstore.encode.records import TooLongError
from embstore.encode.spans import read_part
from embstore.encode.tokens import Tokenizer

pytestmark = pytest.mark.slow

LIMIT = 8
NAMES = ("gpt2", "clip", "bert", "llama", "roberta", "t5")

_FRAGMENTS = st.sampled_from(
    [
        "the quick brown fox ",
        "a",
        " ",
        "  \n\t",
        "seashells",
        "a" * 120,
        "1,234.5",
        "日本語",
        "नमस्ते ",
        "e\u0301",
        "👩\u200d👧",
        "\ufb01",
        "İstanbul ",
        "x" * 300,
        "xy" * 50,
        "!?… ",
        "AAA\x0c",
        "<|endoftext|>",
        "</s>",
        "[SEP] ",
        "<s>",
        " " * 90,
        "\u200b",
        "don't ",
        "ΑΣ ",
    ]
)
_TEXTS = st.lists(
    st.tuples(_FRAGMENTS | st.text(max_size=8), st.integers(1, 40)), min_size=1, max_size=6
).map(lambda parts: "".join(fragment * n for fragment, n in parts))


@pytest.fixture
def load(tiny_folder, monkeypatch):
    """Load a tokenizer of a short context, for which some hundred characters are a very long
    text.
    """
    monkeypatch.setattr(module, "_MAX_CHARS", 2048)

    def tokenizer(name, side="right"):
        found = Tokenizer.load(resolve(f"{name}={tiny_folder(name)}"))
        found.max_tokens = LIMIT
        found._hf.truncation_side = side
        return found

    return tokenizer


@pytest.mark.parametrize(
    ("name", "side"), [*((name, "right") for name in NAMES), ("gpt2", "left"), ("bert", "left")]
)
def test_the_tokens_are_those_of_the_whole_text(load, name, side):
    tokenizer = load(name, side)

    @settings(deadline=None, max_examples=30)
    @given(_TEXTS.filter(bool))
    @example("the quick brown fox " + "a" * 120 + "AAA\x0c" * 34)  # BERT deletes form feeds
    def check(text):
        text *= 1 + 4096 // len(text)
        whole = tokenizer._truncated(text)
        part = read_part(text, LIMIT, from_end=side == "left")
        tokens = tokenizer._truncated(part)
        start = len(text) - len(part) if side == "left" else 0
        assert text[start : start + len(part)] == part != text
        if not tokens.overflowing:
            return  # such a text is skipped
        moved = [
            (a, b) if mark else (a + start, b + start)
            for (a, b), mark in zip(tokens.offsets, tokens.special_tokens_mask, strict=True)
        ]
        assert (tokens.ids, tokens.type_ids, moved) == (whole.ids, whole.type_ids, whole.offsets)

    check()


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_items_are_those_of_the_whole_text(load, monkeypatch, side):
    tokenizer = load("bert", side)
    text = "the quick brown fox jumps over the lazy dog " * 400
    spans = (Span(0, 3), Span(4, 5), Span(len(text) - 4, len(text) - 1), Span(8000, 8004))
    passage = Passage(text, spans, (1, 2, 3, 4))

    def read():
        [(texts, skipped)] = tokenizer.windows([passage], poolings=[Pooling.LAST], long="truncate")
        assert all("the context of 'bert' holds 8" in skip.reason for skip in skipped)
        return texts, [(skip.item_id, skip.outcome) for skip in skipped]

    parts = read()
    monkeypatch.setattr(module, "_MAX_CHARS", 1 << 18)
    assert parts == read()
    assert [item for text in parts[0] for item in text.item_ids] == (
        [1, 2] if side == "right" else [3]
    )


def test_a_very_long_text_is_skipped_truncated_or_an_error(load):
    tokenizer = load("gpt2")
    passage = Passage("seashells " * 2000, (Span(0, 20_000),), (7,))
    [(texts, [skipped])] = tokenizer.windows([passage], poolings=[Pooling.LAST], long="skip")
    assert (texts, skipped.outcome) == ([], "skipped")
    assert skipped.reason == "more than 8 tokens, the context of 'gpt2' holds 8"
    [([text], [cut])] = tokenizer.windows([passage], poolings=[Pooling.LAST], long="truncate")
    assert (len(text.ids), cut.outcome) == (8, "truncated")
    with pytest.raises(TooLongError, match=r"the text 'seashells .*more than 8 tokens.*long=.skip"):
        list(tokenizer.windows([passage], poolings=[Pooling.LAST], long="error"))


@pytest.mark.parametrize("long", ["skip", "truncate"])
def test_a_text_whose_beginning_does_not_fill_the_context_is_skipped_and_not_read_on(load, long):
    """WordPiece makes one unknown token of a word of any length."""
    tokenizer = load("bert")
    passage = Passage("x" * 5000, (Span(0, 5000),), (7,))
    [(texts, [skipped])] = tokenizer.windows([passage], poolings=[Pooling.LAST], long=long)
    assert texts == []
    assert (
        skipped.reason
        == "its first 2,048 characters do not fill the context of 'bert', 8 tokens, and no more are"
        " read"
    )
    with pytest.raises(TooLongError, match="its first 2,048 characters"):
        list(tokenizer.windows([passage], poolings=[Pooling.LAST], long="error"))


def test_long_texts_are_tokenised_a_few_at_a_time(load, monkeypatch):
    tokenizer, sizes = load("gpt2"), []
    monkeypatch.setattr("embstore.encode.tokens._TOKENISED_CHARS", 100)
    inner = tokenizer._tokenise
    monkeypatch.setattr(
        tokenizer,
        "_tokenise",
        lambda texts, **more: sizes.append(sum(map(len, texts))) or inner(texts, **more),
    )
    passages = [Passage("a cat " * (n % 7), (Span(0, 5),), (n,)) for n in range(1, 60) if n % 7]
    [(texts, _)] = tokenizer.windows(passages, poolings=[Pooling.LAST], long="truncate")
    assert [item for text in texts for item in text.item_ids] == [
        n for passage in passages for n in passage.item_ids
    ]
    assert max(sizes) <= 100
    assert len(sizes) < len(passages)


_BUILD = """
from embstore import Store
report = Store({store!r}).build({source!r}, models="tiny={model}", unit={unit!r}, long="truncate", index="none")
assert report.spaces[0].embedded == {n}, report
"""


@pytest.mark.slow
def test_a_line_of_20_mb_takes_little_memory(tmp_path, checkpoint):
    (tmp_path / "short.txt").write_text("dog\ncat\n")
    (tmp_path / "long.txt").write_text("dog\n" + "the quick brown fox " * 1_000_000 + "\ncat\n")
    builds = (
        _BUILD.format(
            store=str(tmp_path / name),
            source=str(tmp_path / f"{name}.txt"),
            model=checkpoint,
            unit="sentence",
            n=n,
        )
        for name, n in (("short", 2), ("long", 3))
    )
    before, after = builds
    long, grown = peak(after, before)
    assert grown < long - grown, f"{long} kB with the line, {long - grown} kB without"
