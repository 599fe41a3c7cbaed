"""What does not change a vector, and what becomes of texts that cannot be embedded whole."""

import random
from dataclasses import replace

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from encode_models import TINY
from encode_texts import OF_TEXTS, SENTENCES, WORDS, items, passage, passages, run
from encode_witness import worst

from embstore.base.errors import EncodeError, QueryError, UsageError
from embstore.base.space import Pooling, Template, Unit
from embstore.base.text import Passage, Span
from embstore.encode import tokens as tokens_module
from embstore.encode.records import ModelFailsError, Skipped

pytestmark = pytest.mark.slow

LONG = " ".join(["the quick brown fox"] * 60)


@pytest.mark.parametrize("name", ["gpt2", "bert", "t5", "clip"])
def test_neither_batches_nor_order_matter(tiny, name):
    """Of the others test_encode_equality.py holds batches of 200 tokens against texts alone."""
    encoder = tiny(name)
    given = [p for unit in OF_TEXTS for p in passages(items(unit), encoder)]
    expected, _ = run(encoder, given, Pooling.MEAN, batch_tokens=1)
    random.Random(0).shuffle(given)
    for budget in (64, 100_000):
        actual, _ = run(encoder, given, Pooling.MEAN, batch_tokens=budget)
        assert actual.keys() == expected.keys()
        assert max(worst(actual[item], expected[item]) for item in expected) <= 1e-4


def test_passages_are_consumed_in_windows(tiny, monkeypatch):
    monkeypatch.setattr(tokens_module, "WINDOW", 10)
    taken = 0

    def stream():
        nonlocal taken
        for number in range(500):
            taken += 1
            yield passage(f"cat {number}", number)

    results = tiny("gpt2").encode([stream()], poolings=[Pooling.LAST])
    assert taken == 0
    next(results)
    assert taken <= 100
    seen = sum(len(result.item_ids) for result in results)
    assert taken == 500
    assert seen > 400


@pytest.mark.parametrize("pads", [True, False])
def test_the_plan_is_what_happens(tiny, monkeypatch, pads):
    encoder = tiny("opt")
    monkeypatch.setattr(encoder, "_contract", replace(encoder._contract, pads=pads))
    given = [
        *passages(items(Unit.OCCURRENCE), encoder),
        passage(LONG),
        passage("", 2),
        passage("\ud800", 3),
    ]
    plan = encoder.plan(given, batch_tokens=100)
    results = list(encoder.encode([given], poolings=[Pooling.LAST], batch_tokens=100))
    encoded = [result for result in results if not isinstance(result, Skipped)]
    assert sum(len(result.item_ids) for result in encoded) == len(items(Unit.OCCURRENCE))
    assert plan.n_tokens == sum(result.n_tokens for result in encoded)
    assert plan.n_batches == len(encoded)
    assert plan.skipped == tuple(result for result in results if isinstance(result, Skipped))
    assert len(plan.skipped) == 3


@pytest.mark.parametrize("name", TINY)
def test_what_cannot_be_embedded_is_skipped_with_its_reason(tiny, name):
    encoder = tiny(name)
    given = [
        passage(LONG, 1),
        passage("cat\x00", 2),
        passage("a \ud800 b", 3),
        passage("", 4),
        passage("   ", 5),
    ]
    vectors, skipped = run(encoder, given)
    found = {skip.item_id: skip for skip in skipped}
    assert vectors.keys() | found.keys() == {1, 2, 3, 4, 5}
    assert {1, 3, 4} <= found.keys() <= {1, 3, 4, 5}, (
        "byte-level vocabularies have a token for blanks"
    )
    assert found[3] == Skipped(3, "not valid Unicode (lone surrogate)", "skipped")
    assert {found[item].reason for item in found.keys() & {4, 5}} == {"no tokens"}
    assert found[1].outcome == "skipped"
    assert f"{len(encoder.tokenizer._tokenise([LONG])[0].ids)} tokens" in found[1].reason
    assert str(encoder.tokenizer.max_tokens) in found[1].reason


@pytest.mark.parametrize("name", TINY)
def test_truncated_as_transformers_does(tiny, witness, name):
    encoder = tiny(name)
    assert encoder.tokenizer.max_tokens == (77 if name.startswith("clip") else 64)
    options = {"truncation": True, "max_length": encoder.tokenizer.max_tokens}
    for pooling in (Pooling.LAST, Pooling.MEAN):
        vectors, skipped = run(encoder, [passage(LONG)], pooling, long="truncate")
        assert (
            worst(vectors[1], witness(name).vector(LONG, 0, len(LONG), pooling, (0, 0), **options))
            <= 1e-4
        )
    assert [(s.item_id, s.outcome) for s in skipped] == [(1, "truncated")]


@pytest.mark.parametrize("pooling", [Pooling.EOS, Pooling.PROJECTION])
def test_truncated_clip_keeps_its_end_token(tiny, witness, pooling):
    vectors, _ = run(tiny("clip"), [passage(LONG)], pooling, long="truncate")
    options = {"truncation": True, "max_length": 77}
    assert (
        worst(vectors[1], witness("clip").vector(LONG, 0, len(LONG), pooling, (0, 0), **options))
        <= 1e-4
    )


def test_truncated_gpt2_has_no_end_token(tiny):
    encoder = tiny("gpt2")
    before, offset = Template("{bos}{text}{eos}").render(
        LONG, bos=encoder.tokenizer.bos or "", eos=encoder.tokenizer.eos or ""
    )
    given = [Passage(before, (Span(offset, offset + len(LONG)),), (1,))]
    vectors, skipped = run(encoder, given, Pooling.EOS, long="truncate")
    assert not vectors
    assert skipped[0].outcome == "skipped"
    assert "no special token at the end" in skipped[0].reason


def test_what_is_beyond_the_cut_or_no_token_is_skipped_and_too_long_can_be_an_error(
    tiny, monkeypatch
):
    given = [Passage(LONG, (Span(4, 9), Span(len(LONG) - 3, len(LONG))), (1, 2))]
    vectors, skipped = run(tiny("bert"), given, long="truncate")
    assert vectors.keys() == {1}
    assert {(s.item_id, s.outcome) for s in skipped} == {(1, "truncated"), (2, "skipped")}
    assert next(s for s in skipped if s.item_id == 2).reason.startswith("beyond the cut")
    with monkeypatch.context() as patch:
        patch.setattr(tiny("bert").tokenizer, "vocab_size", 10)
        _, skipped = run(tiny("bert"), [passage("cat")])
    assert "the model has no token" in skipped[0].reason
    with pytest.raises(EncodeError, match=r"the quick brown.*too long.*long=.skip"):
        run(tiny("gpt2"), [passage(LONG)], long="error")


@pytest.mark.parametrize(
    "failure",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_batch(tiny, monkeypatch, failure):
    encoder = tiny("gpt2")
    given = passages(items(Unit.SENTENCE), encoder) + [passage(f"cat {n}", n) for n in range(20)]
    expected, _ = run(encoder, given)
    kind, sizes = type(encoder._model), []
    forward = kind.forward

    def limited(self, **kwargs):
        sizes.append(kwargs["input_ids"].shape[0])
        if sizes[-1] > 3:
            raise failure
        return forward(self, **kwargs)

    monkeypatch.setattr(kind, "forward", limited)
    actual, skipped = run(encoder, given, batch_tokens=10_000)
    assert not skipped
    assert actual.keys() == expected.keys()
    assert max(worst(actual[item], expected[item]) for item in expected) <= 1e-4
    # What did not fit is not tried again and again.
    assert sum(size > 3 for size in sizes) <= 4 * torch.get_num_threads()


FAILURES = [
    IndexError("index out of range in self"),
    ValueError("Cannot forward sequence"),
    RuntimeError("The size of tensor a must match"),
    AssertionError(),
    KeyError("full_attention"),
]


def fails_at(encoder, monkeypatch, text, failure):
    """Let the model fail at batches with the last token of a text, at all for None; return a list
    of batch sizes.
    """
    kind = type(encoder._model)
    forward, sizes = kind.forward, []
    token = None if text is None else encoder.tokenizer.texts([text])[0].ids[-1]

    def failing(self, **kwargs):
        sizes.append(len(kwargs["input_ids"]))
        if token is None or (kwargs["input_ids"] == token).any():
            raise failure
        return forward(self, **kwargs)

    monkeypatch.setattr(kind, "forward", failing)
    return sizes


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_a_text_at_which_the_model_fails_is_skipped_alone(tiny, monkeypatch, failure):
    encoder = tiny("gpt2")
    given = [passage(f"cat {number}", number) for number in range(40)]
    given[17] = Passage("dog !", (Span(0, 3), Span(4, 5)), (17, 117))
    expected, _ = run(encoder, [each for each in given if each.item_ids[0] != 17])
    sizes = fails_at(encoder, monkeypatch, "dog !", failure)
    vectors, skipped = run(encoder, given, batch_tokens=1000)
    assert vectors.keys() == expected.keys()
    assert max(worst(vectors[item], expected[item]) for item in expected) <= 1e-4
    reason = f"the model fails at this text: {type(failure).__name__}: "
    assert [(s.item_id, s.outcome) for s in skipped] == [(17, "skipped"), (117, "skipped")]
    assert all(s.reason.startswith(reason) for s in skipped)
    assert len(sizes) <= 3 * 6 + 4  # by halves, each failure followed by the reference text


def test_a_model_that_fails_at_every_text_or_has_no_memory_for_one_is_an_error(tiny, monkeypatch):
    encoder = tiny("gpt2")
    with monkeypatch.context() as patch:
        fails_at(encoder, patch, None, KeyError("full_attention"))
        with pytest.raises(
            ModelFailsError, match=r"fails at every text.*\(KeyError: .*`device`"
        ) as caught:
            run(encoder, [passage("cat", 5), passage("dog", 6)])
    assert caught.value.item_id == 5
    with monkeypatch.context() as patch:
        fails_at(encoder, patch, None, torch.OutOfMemoryError("CUDA out of memory."))
        with pytest.raises(EncodeError, match="even alone"):
            run(encoder, [passage("cat", n) for n in range(5)])
    fails_at(encoder, monkeypatch, None, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(encoder, [passage("cat")])


def test_arguments_are_checked_at_the_call(tiny):
    encoder = tiny("gpt2")
    with pytest.raises(UsageError, match="at least one pooling"):
        encoder.encode([[]], poolings=[])
    with pytest.raises(UsageError, match="batch_tokens"):
        encoder.encode([[]], poolings=[Pooling.LAST], batch_tokens=0)
    with pytest.raises(UsageError, match="no text projection"):
        encoder.encode([[]], poolings=[Pooling.PROJECTION])
    with pytest.raises(UsageError, match="has the layers"):
        encoder.encode(
            [[]], poolings=[Pooling.LAST], layers=tiny("clip").layers_of(Pooling.PROJECTION)
        )


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_weighted_all_is_the_mean_of_mexa_and_of_sentence_transformers(tiny, witness, name):
    """MEXA (embed_extractor.py) weights the tokens of one text by 1 … t; sentence-transformers
    those of a padded batch.
    """
    modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules")
    encoder, hf = tiny(name), witness(name)
    members = items(Unit.SENTENCE)
    stored, skipped = run(encoder, passages(members, encoder), Pooling.WEIGHTED_ALL)
    assert not skipped
    for item in members:
        states = torch.from_numpy(hf._states_of(item.text, ())[0])
        n_layers, n_tokens, dim = states.shape
        weights = torch.arange(1, n_tokens + 1, dtype=torch.float64)[:, None]
        mexa = (weights * states.double()).sum(1) / weights.sum()
        assert worst(stored[item.id][:n_layers], mexa.numpy()) <= 1e-4
        padded = torch.cat([states, torch.full((n_layers, 3, dim), 9.0)], dim=1)
        features = {
            "token_embeddings": padded,
            "attention_mask": (torch.arange(n_tokens + 3) < n_tokens).long().expand(n_layers, -1),
        }
        package = modules.Pooling(dim, "weightedmean")(features)["sentence_embedding"]
        assert worst(stored[item.id][:n_layers], package.numpy()) <= 1e-4


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_mean_all_is_the_mean_over_the_attention_mask_of_a_padded_batch(tiny, witness, name):
    """As platonic-rep (extract_features.py) and information_flow pool: a batch, padded, and its
    mask.
    """
    encoder, hf = tiny(name), witness(name)
    members = items(Unit.SENTENCE)
    found, skipped = run(encoder, passages(members, encoder), Pooling.MEAN_ALL)
    hf.tokenizer.pad_token = hf.tokenizer.pad_token or hf.tokenizer.eos_token
    inputs = hf.tokenizer(
        [item.text for item in members], padding=True, padding_side="right", return_tensors="pt"
    )
    with torch.no_grad():
        states = torch.stack(hf.model(**inputs, output_hidden_states=True).hidden_states)
    mask = inputs["attention_mask"][None, :, :, None]
    expected = ((states * mask).sum(2) / mask.sum(2)).numpy()
    n_layers = len(expected)
    assert len({*inputs["attention_mask"].sum(1).tolist()}) > 1  # the rows are padded
    assert (not skipped, found.keys()) == (True, {item.id for item in members})
    for number, item in enumerate(members):
        assert worst(found[item.id][:n_layers], expected[:, number]) <= 1e-4
    means, _ = run(encoder, passages(members, encoder), Pooling.MEAN)
    has_special = sum(inputs.encodings[0].special_tokens_mask) > sum(
        mark == 0 for mark in inputs.encodings[0].attention_mask
    )
    differences = [worst(found[item.id], means[item.id]) for item in members]
    assert (min(differences) > 1e-3) == has_special


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("gpt2", "{text}", Pooling.MEAN),
        ("gpt2", "{bos}{text}{eos}", Pooling.EOS),
        ("clip", "{text}", Pooling.EOS),
        ("bert", "{text}", Pooling.MEAN),
        ("t5", "{text}", Pooling.MEAN),
        ("llama", "{text}", Pooling.MEAN),
        ("llama", "{text}{eos}", Pooling.EOS),
        ("modernbert", "{text}", Pooling.MEAN),
    ],
)
def test_default_pooling(tiny, name, pattern, expected):
    tokenizer, template = tiny(name).tokenizer, Template(pattern)
    defaults = dict.fromkeys(Unit, Pooling.LAST) | {Unit.SENTENCE: expected}
    assert {unit: tokenizer.default_pooling(unit, template) for unit in Unit} == defaults
    tokenizer.check(Unit.SENTENCE, expected, template)


def test_check_names_the_known_poolings_and_the_remedy(tiny):
    with pytest.raises(
        UsageError, match=r"eos.*.\{bos\}\{text\}\{eos\}.\..*Known for words: last, first, mean"
    ):
        tiny("gpt2").tokenizer.check(Unit.WORD, Pooling.EOS, Template())
    with pytest.raises(UsageError, match=r"no pooling .eos.*.\{text\}\{eos\}."):
        tiny("qwen2").tokenizer.check(Unit.WORD, Pooling.EOS, Template())
    with pytest.raises(UsageError, match="only CLIP has one"):
        tiny("bert").tokenizer.check(Unit.SENTENCE, Pooling.PROJECTION, Template())
    with pytest.raises(QueryError, match="cannot stand for an occurrence"):
        tiny("bert").tokenizer.check(Unit.OCCURRENCE, Pooling.EOS, Template())
    tiny("clip").tokenizer.check(Unit.SENTENCE, Pooling.PROJECTION, Template())
    with pytest.raises(UsageError, match=r"no pooling 'bos': .*Known for words"):
        tiny("t5").tokenizer.check(Unit.WORD, Pooling.BOS, Template())


@pytest.mark.parametrize("name", TINY)
def test_the_tokens_are_those_of_the_tokenizer_called_as_transformers_does(tiny, name):
    tokenizer = tiny(name).tokenizer
    strings = [*WORDS, *SENTENCES, LONG, "<|endoftext|>cat</s>", ""]
    for truncated in (True, False, True, False):
        limit = (
            {"truncation": True, "max_length": tokenizer.max_tokens}
            if truncated and tokenizer.max_tokens
            else {}
        )
        expected = tokenizer._hf(strings, padding=False, verbose=False, **limit).encodings
        for mine, its in zip(
            tokenizer._tokenise(strings, truncated=truncated), expected, strict=True
        ):
            assert (mine.ids, mine.type_ids) == (its.ids, its.type_ids)
            assert (mine.offsets, mine.special_tokens_mask) == (
                its.offsets,
                its.special_tokens_mask,
            )


def test_gpt2_with_its_marks_is_the_literal_string(tiny):
    encoder = tiny("gpt2")
    bos, eos = encoder.tokenizer.template_strings(Template("{bos}{text}{eos}"))
    assert Template("{bos}{text}{eos}").render("cat", bos=bos, eos=eos) == (
        "<|endoftext|>cat<|endoftext|>",
        13,
    )
    assert encoder.tokenizer.texts(["<|endoftext|>cat<|endoftext|>"])[0].ids == [50256, 9246, 50256]
    assert (tiny("clip").tokenizer.bos, tiny("clip").tokenizer.eos) == ("", "")
