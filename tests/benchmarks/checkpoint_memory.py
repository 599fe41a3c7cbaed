"""Measure the peak memory of loading a sharded checkpoint and encoding a text, with float32 and with 16-bit weights.

    python tests/benchmarks/checkpoint_memory.py
    python tests/benchmarks/checkpoint_memory.py --dim 4096 --layers 33 --intermediate 11008

Writes a Llama with random weights, one shard a block, and prints the peak (VmHWM) of a process that loads it with each
type of weights, beside that of a process that only imports torch and transformers.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from peak_memory import peak

DTYPES = ("float32", "bfloat16")
LIMIT = 0.6
_IMPORTS = "import torch, transformers; from transformers import AutoModel, LlamaModel"
_LOAD = """
from embstore.encode import Encoder, Weights, resolve
from embstore.space import Pooling
from embstore.text import Passage, Span
encoder = Encoder.load(resolve({folder!r}), device="cpu", weights=Weights({dtype!r}))
list(encoder.encode([Passage("the cat", (Span(0, 7),), (1,))], poolings=[Pooling.MEAN]))
"""


def write(folder: Path, stored: str, *, dim: int, layers: int, intermediate: int) -> float:
    """Write a checkpoint, one shard a block; return the size of its weights in GB."""
    import torch
    from safetensors.torch import save_file
    from tiny_checkpoint import make_checkpoint
    from transformers import LlamaConfig, LlamaModel

    make_checkpoint(folder)  # for its tokenizer
    (folder / "model.safetensors").unlink()
    n_tokens = json.loads((folder / "config.json").read_text())["vocab_size"]
    config = LlamaConfig(
        vocab_size=n_tokens, hidden_size=dim, num_hidden_layers=layers, intermediate_size=intermediate,
        num_attention_heads=dim // 128, num_key_value_heads=dim // 128, dtype=stored,
    )  # fmt: skip
    config.architectures = ["LlamaModel"]
    config.save_pretrained(folder)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in LlamaModel(config).state_dict().items()}
    groups: dict[str, list[str]] = {}
    for name in shapes:
        groups.setdefault(name.split(".")[1] if name.startswith("layers.") else "other", []).append(name)
    block = {}
    for name in (name for name in shapes if name.startswith("layers.0.")):
        values = torch.ones(shapes[name]) if "norm" in name else 0.02 * torch.randn(shapes[name])
        block[name.removeprefix("layers.0.")] = values.to(getattr(torch, stored))
    weight_map, n_bytes = {}, 0
    for number, names in enumerate(groups.values()):
        file = f"model-{number:05}.safetensors"
        tensors = {
            name: block[name.split(".", 2)[2]] if name.startswith("layers.")
            else torch.randn(shapes[name]).to(getattr(torch, stored))
            for name in names
        }  # fmt: skip
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
        n_bytes += sum(tensor.nbytes for tensor in tensors.values())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return n_bytes / 1e9


def main(argv: list[str] | None = None) -> None:
    """Write a checkpoint, load it with each type of weights, and print the peaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--intermediate", type=int, default=8192)
    parser.add_argument("--stored", choices=DTYPES, default="bfloat16", help="type of the weights in the files")
    sizes = vars(parser.parse_args(argv))
    with tempfile.TemporaryDirectory() as name:
        size = write(Path(name), sizes.pop("stored"), **sizes)
        print(f"{sizes['dim']:,} x {sizes['layers']} layers, {size:.2f} GB in shards of a block", flush=True)
        base, _ = peak(_IMPORTS)
        print(f"imports alone: {base / 1e6:.2f} GB", flush=True)
        peaks = {dtype: peak(_LOAD.format(folder=name, dtype=dtype))[0] for dtype in DTYPES}
    for dtype, most in peaks.items():
        print(f"{dtype}: {most / 1e6:.2f} GB")
    ratio = peaks["bfloat16"] / peaks["float32"]
    print(f"ratio {ratio:.2f}, at most {LIMIT}: {'yes' if ratio <= LIMIT else 'no'}")


if __name__ == "__main__":
    main()
