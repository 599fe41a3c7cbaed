"""Embedding words: against the bare model, the loop over single texts, and sentence-transformers."""

import time
from collections.abc import Sequence
from typing import Any

import torch
from benchmark_passes import bare, batches, builder, flops, gemm, words_of
from benchmark_stores import Workspace
from benchmark_timing import Result, compare, interleave, timed

from embstore.encode import Tokenizer, resolve

_BEST_BATCH = 256  # of sentence-transformers, for words on this kind of machine: 32 is its default


def encoding(space: Workspace) -> list[Result]:
    """Build a store of words, all layers, against everything else that embeds them."""
    checkpoint = resolve("minilm")
    source = f"words:{space.size.words}"
    items = words_of(source)
    words = [item.text for item in items]
    from sentence_transformers import SentenceTransformer  # both take seconds to load, which only this needs
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(checkpoint.folder, dtype=torch.float32).eval()
    inputs = batches(model, Tokenizer.load(checkpoint), items)
    plain = AutoTokenizer.from_pretrained(checkpoint.folder)
    sentences = SentenceTransformer(str(checkpoint.folder), device="cpu")
    loop_words = words[:: max(1, len(words) // space.size.loop_words)][: space.size.loop_words]
    per_word = len(words) / len(loop_words)
    with builder(space, source, "minilm") as build:
        seconds = interleave(
            {
                "build": build,
                "bare": lambda: bare(model, inputs),
                "loop": lambda: per_word * _loop(model, plain, loop_words),
                "default": timed(lambda: sentences.encode(words, show_progress_bar=False)),
                "best": timed(lambda: sentences.encode(words, batch_size=_BEST_BATCH, show_progress_bar=False)),
                "gemm": gemm,
            },
            space.size.builds,
        )
    ours = seconds["build"]
    what = f"build of {len(words):,} words, MiniLM, 7 layers, written and indexed,"
    n_flops = flops(model, inputs)
    shares = [n_flops / min(seconds[name]) * min(seconds["gemm"]) for name in ("build", "bare")]
    return [
        compare(f"{what} to the bare forward passes", ours, seconds["bare"], goal=1.25),
        compare(f"{what} to one text per call ({len(loop_words)} words, scaled)", ours, seconds["loop"],
                goal=15, faster=True),
        compare(f"{what} to SentenceTransformer.encode, one layer", ours, seconds["default"], goal=1.3, faster=True),
        compare(f"… with batches of {_BEST_BATCH}, sorted by length", ours, seconds["best"], faster=True),
        Result("share of the float32 GEMM rate: the build, the bare passes", f"{shares[0]:.0%}", f"{shares[1]:.0%}",
               rounds=len(ours)),
    ]  # fmt: skip


@torch.no_grad()
def _loop(model: Any, tokenizer: Any, words: Sequence[str]) -> float:
    """The usual way: a text at a time, the hidden states of all layers to numpy, the last token's vector of each."""
    vectors = []
    began = time.perf_counter()
    for word in words:
        outputs = model(**tokenizer(word, return_tensors="pt"), output_hidden_states=True)
        vectors.append([state.numpy()[0, -2] for state in outputs.hidden_states])  # -1 is [SEP]
    return time.perf_counter() - began
