"""Train a small GPT-2 on these pages, and draw how its layers change: python docs/_training.py,
with the extra plot.

The run has checkpoints at steps 0, 1, 2, 4 … 512. It takes some minutes; the picture is
docs/training.svg.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

DOCS = Path(__file__).parent
STEPS = (0, *(2**power for power in range(10)))
BATCH, CONTEXT = 16, 64
PLOT = "anisotropy --model run --unit word --x step --logx"


def train(run: Path) -> None:
    """Train the model, and save it at each of the steps into a subfolder of ``run``."""
    text = "\n".join(path.read_text("utf-8") for path in sorted(DOCS.rglob("*.md")))
    tokenizer = _tokenizer(text)
    tokens = torch.tensor(tokenizer(text)["input_ids"])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_layer=4,
        n_head=4,
        n_embd=64,
        n_positions=CONTEXT,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = transformers.GPT2LMHeadModel(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            model.save_pretrained(run / f"checkpoint-{step}")
            tokenizer.save_pretrained(run / f"checkpoint-{step}")
        starts = torch.randint(len(tokens) - CONTEXT, (BATCH,))
        batch = torch.stack([tokens[start : start + CONTEXT] for start in starts])
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def _tokenizer(text: str) -> transformers.PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator([text], trainer)
    end = "<|endoftext|>"
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=end, eos_token=end, model_max_length=CONTEXT
    )


def main() -> None:
    """Train, build the sweep, and draw the picture."""
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder, "run"))
        revisions = ",".join(f"checkpoint-{step}" for step in STEPS)
        environment = os.environ | {"HF_HUB_OFFLINE": "1"}
        for command in (
            [
                "build",
                "words:2000",
                "--model",
                "./run",
                "--revision",
                revisions,
                "--template",
                " {text}",
            ],
            ["plot", *PLOT.split(), "-o", str(DOCS / "training.svg")],
        ):
            subprocess.run(
                [sys.executable, "-m", "embstore", *command],
                cwd=folder,
                env=environment,
                check=True,
            )


if __name__ == "__main__":
    main()
