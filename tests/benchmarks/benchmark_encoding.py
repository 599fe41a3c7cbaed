"""Embedding words: against the bare model, the loop over single texts, and sentence-transformers."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from benchmark_stores import Workspace
from benchmark_timing import Contender, Result, compare, interleave
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from embstore.encode import Tokenizer, plan_batches, resolve
from embstore.encode.batches import CPU_BATCH_TOKENS
from embstore.encode.inputs import tensors
from embstore.sources import open_source
from embstore.space import Pooling, Template, Unit
from embstore.text import Item, passages_of

Inputs = dict[str, torch.Tensor]
_GEMM_SIZE = 1536
_BEST_BATCH = 256  # of sentence-transformers, for words on this kind of machine: 32 is its default


def encoding(space: Workspace) -> list[Result]:
    """Build a store of words, all layers, against everything else that embeds them."""
    checkpoint = resolve("minilm")
    items = [Item.whole(Unit.WORD, row.text) for row in open_source(f"words:{space.size.words}").rows()]
    words = [item.text for item in items]
    model = AutoModel.from_pretrained(checkpoint.folder, dtype=torch.float32).eval()
    batches = _batches(model, Tokenizer.load(checkpoint), items)
    plain = AutoTokenizer.from_pretrained(checkpoint.folder)
    sentences = SentenceTransformer(str(checkpoint.folder), device="cpu")
    loop_words = words[:: max(1, len(words) // space.size.loop_words)][: space.size.loop_words]
    per_word = len(words) / len(loop_words)
    with _builder(space) as build:
        seconds = interleave(
            {
                "build": build,
                "bare": lambda: _bare(model, batches),
                "loop": lambda: per_word * _loop(model, plain, loop_words),
                "default": lambda: _timed(lambda: sentences.encode(words, show_progress_bar=False)),
                "best": lambda: _timed(
                    lambda: sentences.encode(words, batch_size=_BEST_BATCH, show_progress_bar=False)
                ),
                "gemm": _gemm,
            },
            space.size.builds,
        )
    ours = seconds["build"]
    what = f"build of {len(words):,} words, MiniLM, 7 layers, written and indexed,"
    flops = _flops(model, batches)
    shares = [flops / min(seconds[name]) * min(seconds["gemm"]) for name in ("build", "bare")]
    return [
        compare(f"{what} to the bare forward passes", ours, seconds["bare"], goal=1.25),
        compare(f"{what} to one text per call ({len(loop_words)} words, scaled)", ours, seconds["loop"],
                goal=15, faster=True),
        compare(f"{what} to SentenceTransformer.encode, one layer", ours, seconds["default"], goal=1.3, faster=True),
        compare(f"… with batches of {_BEST_BATCH}, sorted by length", ours, seconds["best"], faster=True),
        Result("share of the float32 GEMM rate: the build, the bare passes", f"{shares[0]:.0%}", f"{shares[1]:.0%}",
               rounds=len(ours)),
    ]  # fmt: skip


def _timed(work: Contender | object) -> float:
    began = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - began


@contextmanager
def _builder(space: Workspace) -> Iterator[Contender]:
    """Give what builds a new store. Start-up, reading the source and loading the model are not counted."""
    script = Path(__file__).with_name("benchmark_builder.py")
    command = (sys.executable, str(script), f"words:{space.size.words}")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        asked, answered = process.stdin, process.stdout
        if asked is None or answered is None:
            raise AssertionError("no pipes")

        def build() -> float:
            os.sync()
            print(space.new("build"), file=asked, flush=True)
            return float(answered.readline())

        yield build
        asked.close()


def _batches(model: AutoModel, tokenizer: Tokenizer, items: Sequence[Item]) -> list[Inputs]:
    """Return the tensors that a build gives to the model."""
    batches = []
    for texts, _ in tokenizer.windows(passages_of(items, Template()), poolings=[Pooling.LAST], long="skip"):
        for batch in plan_batches([len(text.ids) for text in texts], CPU_BATCH_TOKENS):
            batches.append(tensors(model, [texts[row] for row in batch.rows], pad_id=tokenizer.pad_id))
    return batches


@torch.inference_mode()
def _bare(model: AutoModel, batches: Sequence[Inputs]) -> float:
    began = time.perf_counter()
    for inputs in batches:
        model(**inputs, output_hidden_states=True)
    return time.perf_counter() - began


@torch.no_grad()
def _loop(model: AutoModel, tokenizer: AutoTokenizer, words: Sequence[str]) -> float:
    """The usual way: a text at a time, the hidden states of all layers to numpy, the last token's vector of each."""
    vectors = []
    began = time.perf_counter()
    for word in words:
        outputs = model(**tokenizer(word, return_tensors="pt"), output_hidden_states=True)
        vectors.append([state.numpy()[0, -2] for state in outputs.hidden_states])  # -1 is [SEP]
    return time.perf_counter() - began


def _gemm() -> float:
    """Return the seconds that one floating-point operation takes in a large matrix product."""
    a = torch.ones(_GEMM_SIZE, _GEMM_SIZE)
    best = min(_timed(lambda: a @ a) for _ in range(10))
    return best / (2 * _GEMM_SIZE**3)


def _flops(model: AutoModel, batches: Sequence[Inputs]) -> float:
    """Return the operations of the matrix products: all linear maps of the blocks, and attention."""
    dim, n_blocks = model.config.hidden_size, model.config.num_hidden_layers
    linear = sum(p.numel() for name, p in model.named_parameters() if "encoder.layer" in name and p.dim() == 2)
    shapes = [batch["input_ids"].shape for batch in batches]
    return float(sum(2 * n * t * linear + 4 * n * t * t * dim * n_blocks for n, t in shapes))
