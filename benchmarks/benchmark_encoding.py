"""Embedding words: against the bare model, the loop over single texts, and
sentence-transformers.
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from benchmark_passes import bare, batches, builder, flops, gemm, words_of
from benchmark_start import process, program
from benchmark_stores import Workspace
from benchmark_timing import Contender, Result, compare, interleave, timed

from embstore.base.space import Unit
from embstore.base.text import Item
from embstore.encode.checkpoint import resolve
from embstore.encode.tokens import Tokenizer

_SENTENCE_WORDS = 44  # of some 46 tokens
_BEST_BATCH = 256  # of sentence-transformers, for words on this kind of machine: 32 is its default


def encoding(space: Workspace) -> list[Result]:
    """Build a store of words, all layers, against everything else that embeds them."""
    checkpoint = resolve("minilm")
    source = f"words:{space.size.words}"
    items = words_of(source)
    words = [item.text for item in items]
    # Both take seconds to load, which only this needs.
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(checkpoint.folder, dtype=torch.float32).eval()
    inputs = batches(model, Tokenizer.load(checkpoint), items)
    plain = AutoTokenizer.from_pretrained(checkpoint.folder)
    sentences = SentenceTransformer(str(checkpoint.folder), device="cpu")
    loop_words = words[:: max(1, len(words) // space.size.loop_words)][: space.size.loop_words]
    per_word = len(words) / len(loop_words)
    with builder(space) as building:
        seconds = interleave(
            {
                "build": building(source, models="minilm"),
                "bare": lambda: bare(model, inputs),
                "loop": lambda: per_word * _loop(model, plain, loop_words),
                "default": timed(lambda: sentences.encode(words, show_progress_bar=False)),
                "best": timed(
                    lambda: sentences.encode(words, batch_size=_BEST_BATCH, show_progress_bar=False)
                ),
                "gemm": gemm,
            },
            space.size.builds,
        )
        of_sentences = _sentences(space, building, sentences, model, Tokenizer.load(checkpoint))
    ours = seconds["build"]
    what = f"build of {len(words):,} words, MiniLM, 7 layers, written and indexed,"
    n_flops = flops(model, inputs)
    shares = [n_flops / min(seconds[name]) * min(seconds["gemm"]) for name in ("build", "bare")]
    return [
        compare(f"{what} to the bare forward passes", ours, seconds["bare"], goal=1.1),
        compare(
            f"{what} to one text per call ({len(loop_words)} words, scaled)",
            ours,
            seconds["loop"],
            goal=15,
            faster=True,
        ),
        compare(
            f"{what} to SentenceTransformer.encode, one layer",
            ours,
            seconds["default"],
            goal=1.3,
            faster=True,
        ),
        compare(
            f"… with batches of {_BEST_BATCH}, sorted by length", ours, seconds["best"], faster=True
        ),
        Result(
            "share of the float32 GEMM rate: the build, the bare passes",
            f"{shares[0]:.0%}",
            f"{shares[1]:.0%}",
            rounds=len(ours),
        ),
        *of_sentences,
        _first(space),
    ]


def _sentences(
    space: Workspace,
    building: Callable[..., Contender],
    peer: Any,
    model: Any,
    tokenizer: Tokenizer,
) -> list[Result]:
    """Build a store of sentences of some 46 tokens, one layer and all, against one layer of
    sentence-transformers.
    """
    words = [item.text for item in words_of(f"words:{space.size.words}")]
    chosen = np.random.default_rng(0).integers(
        0, len(words), (space.size.sentences, _SENTENCE_WORDS)
    )
    texts = [" ".join(words[number] for number in row) for row in chosen]
    source = space.root / "sentences.txt"
    source.write_text("\n".join(texts), "utf-8")
    n_tokens = sum(map(len, peer.tokenizer(texts)["input_ids"])) / len(texts)
    inputs = batches(model, tokenizer, [Item.whole(Unit.SENTENCE, text) for text in texts])
    options = {"models": "minilm", "unit": "sentence", "poolings": "mean"}
    contenders = {
        "one": building(source, **options, layers="top"),
        "all": building(source, **options),
        "low": building(source, **options, layers="0-2"),
        "bare": lambda: bare(model, inputs),
        "peer": timed(lambda: peer.encode(texts, show_progress_bar=False)),
    }
    seconds = interleave(contenders, space.size.builds)
    what = (
        f"build of {len(texts):,} sentences of {n_tokens:.0f} tokens, MiniLM, the top layer,"
        " written and indexed,"
    )
    return [
        compare(
            f"{what} to SentenceTransformer.encode",
            seconds["one"],
            seconds["peer"],
            goal=1.8,
            faster=True,
        ),
        compare("… all 7 layers, to the same", seconds["all"], seconds["peer"], faster=True),
        compare("… layers 0 to 2, to all 7 layers", seconds["low"], seconds["all"], faster=True),
        compare(
            "… the bare forward passes, to the same: the limit",
            seconds["bare"],
            seconds["peer"],
            faster=True,
        ),
    ]


def _first(space: Workspace) -> Result:
    """Build the first words of a store in a new process, against loading the checkpoint in one."""
    folder, source = resolve("minilm").folder, space.root / "first.txt"
    source.write_text("\n".join(item.text for item in words_of("words:50")), "utf-8")
    load = (
        f"import torch, transformers; [each.from_pretrained({str(folder)!r}) for each in"
        " (transformers.AutoTokenizer, transformers.AutoModel)]"
    )

    def build() -> float:
        store = space.new("first")
        return process(
            ("build", str(source), "--model", "minilm", "--store", str(store)), space.root
        )()

    seconds = interleave(
        {"build": build, "load": program((sys.executable, "-c", load), space.root)},
        space.size.builds,
    )
    what = (
        "embstore build of 50 words, MiniLM, one process, to importing torch and transformers and"
        " loading it"
    )
    return compare(what, seconds["build"], seconds["load"], goal=1.15)


@torch.no_grad()
def _loop(model: Any, tokenizer: Any, words: Sequence[str]) -> float:
    """The usual way: a text at a time, the hidden states of all layers to numpy, the last token's
    vector of each.
    """
    vectors = []
    began = time.perf_counter()
    for word in words:
        outputs = model(**tokenizer(word, return_tensors="pt"), output_hidden_states=True)
        vectors.append([state.numpy()[0, -2] for state in outputs.hidden_states])  # -1 is [SEP]
    return time.perf_counter() - began
