"""Measure the peak memory of `embstore build` with a sharded checkpoint, with float32 and with
bfloat16 weights.

    python benchmarks/checkpoint_memory.py
    python benchmarks/checkpoint_memory.py --dim 4096 --blocks 32 --intermediate 1024 --kv-heads 2

Writes a Llama with random weights, one shard a block, and prints two peaks of a process that builds
a few words with each type of weights: its resident memory (VmHWM), which counts the pages of the
shards that are mapped, and its anonymous memory (RssAnon, read every 10 ms), which does not. A
process that only imports torch and transformers is the base. N blocks have N + 1 layers.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

DTYPES = ("float32", "bfloat16")
LIMIT = 0.6
_IMPORTS = "import torch, transformers; from transformers import AutoModel, LlamaModel"
_READ_AFTER_SECONDS = 0.01


def peaks(*arguments: str) -> tuple[float, float]:
    """Run Python in a process; return the peaks of its resident and of its anonymous memory in
    GB.
    """
    command = (sys.executable, "-W", "ignore", *arguments)
    most = {"VmHWM": 0, "RssAnon": 0}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status").read_text()
            for name, kilobytes in re.findall(r"(VmHWM|RssAnon):\s+(\d+)", status):
                most[name] = max(most[name], int(kilobytes))
            time.sleep(_READ_AFTER_SECONDS)
    if process.returncode:
        raise SystemExit(f"the process ended with {process.returncode}")
    return most["VmHWM"] / 1e6, most["RssAnon"] / 1e6


def write(
    folder: Path, stored: str, *, dim: int, blocks: int, intermediate: int, kv_heads: int
) -> float:
    """Write a checkpoint, one shard a block; return the size of its weights in GB."""
    import torch
    from safetensors.torch import save_file
    from tiny_checkpoint import make_checkpoint
    from transformers import LlamaConfig, LlamaModel

    make_checkpoint(folder)  # for its tokenizer
    (folder / "model.safetensors").unlink()
    n_tokens = json.loads((folder / "config.json").read_text())["vocab_size"]
    config = LlamaConfig(
        vocab_size=n_tokens,
        hidden_size=dim,
        num_hidden_layers=blocks,
        intermediate_size=intermediate,
        num_attention_heads=dim // 128,
        num_key_value_heads=kv_heads or dim // 128,
        dtype=stored,
    )
    config.architectures = ["LlamaModel"]
    config.save_pretrained(folder)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in LlamaModel(config).state_dict().items()}
    groups: dict[str, list[str]] = {}
    for name in shapes:
        groups.setdefault(name.split(".")[1] if name.startswith("layers.") else "other", []).append(
            name
        )
    block = {}
    for name in (name for name in shapes if name.startswith("layers.0.")):
        values = torch.ones(shapes[name]) if "norm" in name else 0.02 * torch.randn(shapes[name])
        block[name.removeprefix("layers.0.")] = values.to(getattr(torch, stored))
    weight_map, n_bytes = {}, 0
    for number, names in enumerate(groups.values()):
        file = f"model-{number:05}.safetensors"
        tensors = {
            name: (
                block[name.split(".", 2)[2]]
                if name.startswith("layers.")
                else torch.randn(shapes[name]).to(getattr(torch, stored))
            )
            for name in names
        }
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
        n_bytes += sum(tensor.nbytes for tensor in tensors.values())
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    return n_bytes / 1e9


def main(argv: list[str] | None = None) -> None:
    """Write a checkpoint, load it with each type of weights, and print the peaks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--intermediate", type=int, default=8192)
    parser.add_argument("--kv-heads", type=int, default=0, help="0: as many as heads")
    parser.add_argument(
        "--stored", choices=DTYPES, default="bfloat16", help="type of the weights in the files"
    )
    sizes = vars(parser.parse_args(argv))
    with tempfile.TemporaryDirectory() as name:
        checkpoint, words = Path(name, "checkpoint"), Path(name, "words.txt")
        checkpoint.mkdir()
        stored = sizes.pop("stored")
        size = write(checkpoint, stored, **sizes)
        words.write_text("cat\ndog\nriver bank\n")
        layers = sizes["blocks"] + 1
        print(
            f"{sizes['dim']:,} x {layers} layers, {size:.2f} GB of {stored} in shards of a block",
            flush=True,
        )
        print(
            "imports alone: {:.2f} GB resident, {:.2f} GB anonymous".format(*peaks("-c", _IMPORTS)),
            flush=True,
        )
        resident = {}
        for dtype in DTYPES:
            build = (
                "-m",
                "embstore",
                "build",
                str(words),
                "--model",
                str(checkpoint),
                "--device",
                "cpu",
                "--weights-dtype",
                dtype,
            )
            resident[dtype], anonymous = peaks(*build, "--store", str(Path(name, dtype)))
            print(
                f"{dtype}: {resident[dtype]:.2f} GB resident, {anonymous:.2f} GB anonymous",
                flush=True,
            )
    ratio = resident["bfloat16"] / resident["float32"]
    print(
        f"ratio of the resident {ratio:.2f}, at most {LIMIT}: {'yes' if ratio <= LIMIT else 'no'}"
    )


if __name__ == "__main__":
    main()
