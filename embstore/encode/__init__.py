"""Passages to the vectors of every layer: the only package that imports torch and transformers.

    checkpoint   a spec (short name, hub id, folder) → a folder on this machine, and its hashes       no torch
    hub          … by way of the Hugging Face hub
    tokens       passages → token ids; templates, poolings (with special, spans, limits, long_texts)   runs no model
    batches      lengths → batches                                                                    pure
    fence        what transformers sees and may do while it reads a checkpoint
    models       a folder → the right transformers model, in float32, or a refusal (with fused: in fewer operations)
    contract     what the model's hidden states are, verified on one text (with probe: the calls of its blocks)
    inputs       token ids → the tensors of a forward pass
    pooling      hidden states → one vector an item
    forward      a batch → its vectors
    workers      batches side by side (with memory)
    encoder      all of these in one object; records: what it yields
    devices      where it runs; extra: the libraries that it needs

Importing the package loads neither torch nor transformers; the first use of ``Encoder`` or ``Tokenizer`` does.
"""

from typing import TYPE_CHECKING, Any

from embstore.encode.batches import default_batch_tokens, plan_batches
from embstore.encode.checkpoint import Checkpoint, Fingerprint, fingerprint, resolve
from embstore.encode.checkpoint_files import SHORT_NAMES
from embstore.encode.records import MODEL_FAILS, Encoded, Long, ModelFailsError, Plan, Skipped, TooLongError

if TYPE_CHECKING:
    from embstore.encode.encoder import Encoder
    from embstore.encode.tokens import Tokenizer

__all__ = [
    "MODEL_FAILS",
    "SHORT_NAMES",
    "Checkpoint",
    "Encoded",
    "Encoder",
    "Fingerprint",
    "Long",
    "ModelFailsError",
    "Plan",
    "Skipped",
    "Tokenizer",
    "TooLongError",
    "default_batch_tokens",
    "fingerprint",
    "plan_batches",
    "resolve",
]


def __getattr__(name: str) -> Any:
    if name == "Encoder":
        from embstore.encode.encoder import Encoder

        return Encoder
    if name == "Tokenizer":
        from embstore.encode.tokens import Tokenizer

        return Tokenizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
