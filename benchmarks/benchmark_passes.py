"""What a build cannot do without: the forward passes over its batches, and the machine's matrix
products.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from benchmark_stores import Workspace
from benchmark_timing import Contender, timed
from torch import nn

from embstore.base.space import Pooling, Template, Unit
from embstore.base.text import Item, passages_of
from embstore.encode.forward import tensors
from embstore.encode.records import CPU_BATCH_TOKENS, plan_batches
from embstore.encode.tokens import Tokenizer
from embstore.sources.opening import open_source
from embstore.sources.rows import Row

Inputs = dict[str, torch.Tensor]
_GEMM_SIZE = 1536


@contextmanager
def builder(space: Workspace) -> Iterator[Callable[..., Contender]]:
    """Give what builds new stores of a source. Start-up, reading the source and loading the model
    are not counted.
    """
    command = (sys.executable, str(Path(__file__).with_name("benchmark_builder.py")))
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        requests, answered = process.stdin, process.stdout
        if requests is None or answered is None:
            raise AssertionError("no pipes")

        def building(source: str | Path, **options: Any) -> Contender:
            def build() -> float:
                os.sync()
                print(
                    json.dumps([str(space.new("build")), str(source), options]),
                    file=requests,
                    flush=True,
                )
                return float(answered.readline())

            return build

        yield building
        requests.close()


def words_of(source: str) -> list[Item]:
    """Return the words that a build embeds."""
    return [
        Item.whole(Unit.WORD, row.text)
        for row in open_source(source).rows()
        if isinstance(row, Row)
    ]


def batches(model: Any, tokenizer: Tokenizer, words: Sequence[Item]) -> list[Inputs]:
    """Return the tensors that a build of words gives to the model."""
    made = []
    for texts, _ in tokenizer.windows(
        passages_of(list(words), Template()), poolings=[Pooling.LAST], long="skip"
    ):
        for batch in plan_batches([len(text.ids) for text in texts], CPU_BATCH_TOKENS):
            made.append(tensors(model, [texts[row] for row in batch], pad_id=tokenizer.pad_id))
    return made


@torch.inference_mode()
def bare(model: Any, inputs: Sequence[Inputs]) -> float:
    """Run the passes, all hidden states kept for a moment, and return the seconds."""
    began = time.perf_counter()
    for each in inputs:
        model(**each, output_hidden_states=True)
    return time.perf_counter() - began


def gemm() -> float:
    """Return the seconds that one floating-point operation takes in a large matrix product."""
    a = torch.ones(_GEMM_SIZE, _GEMM_SIZE)
    product = timed(lambda: a @ a)
    best = min(product() for _ in range(10))
    return best / (2 * _GEMM_SIZE**3)


def flops(model: Any, inputs: Sequence[Inputs]) -> float:
    """Return the operations of the matrix products: all linear maps of the blocks, and
    attention.
    """
    config = model.config
    dim, n_blocks = config.hidden_size, config.num_hidden_layers
    [blocks] = [
        part
        for part in model.modules()
        if isinstance(part, nn.ModuleList) and len(part) == n_blocks
    ]
    from transformers.pytorch_utils import Conv1D

    linear = sum(
        part.weight.numel() for part in blocks.modules() if isinstance(part, nn.Linear | Conv1D)
    )
    shapes = [each["input_ids"].shape for each in inputs]
    return float(sum(2 * n * t * linear + 4 * n * t * t * dim * n_blocks for n, t in shapes))
