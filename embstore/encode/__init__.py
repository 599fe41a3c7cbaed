"""Embed passages with every layer of a checkpoint. The only package that imports torch and transformers.

    checkpoint        a short name, hub id or folder → a local folder and its hashes, without torch
    checkpoint_files  lists and checks the files of a checkpoint
    recipe            a checkpoint's own recipe as sentence-transformers reads it, as data
    tokens            passages → token ids, without the model; templates, poolings
    spans             the tokens of each item; the part of a very long text to tokenise
    models            a folder → the part of a transformers model that reads text; only hashed files, no network
    contract          which hidden state is which layer, verified by running the model
    recipe_head       texts → token ids, and hidden states → vectors, by a checkpoint's own recipe
    forward           all of these in one object; batches → their vectors, several in parallel
    records           types of weights, batches, and the results: vectors, skipped texts, plans
    extra             imports of the optional libraries; selection of the device

Importing the package loads neither torch nor transformers; the first use of ``Encoder`` or ``Tokenizer`` does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from embstore.encode.checkpoint import Checkpoint, Fingerprint, expand_revisions, fingerprint, resolve
from embstore.encode.checkpoint_files import SHORT_NAMES
from embstore.encode.extra import installed_versions
from embstore.encode.recipe import Recipe, read_recipe
from embstore.encode.records import (
    MODEL_FAILS,
    Encoded,
    Long,
    ModelFailsError,
    Skipped,
    TooLongError,
    Weights,
    plan_batches,
)

if TYPE_CHECKING:
    from embstore.encode.forward import Encoder
    from embstore.encode.recipe_head import reader
    from embstore.encode.tokens import Tokenizer

__all__ = [
    "MODEL_FAILS", "SHORT_NAMES", "Checkpoint", "Encoded", "Encoder", "Fingerprint", "Long", "ModelFailsError",
    "Recipe", "Skipped", "Tokenizer", "TooLongError", "Weights", "expand_revisions",
    "fingerprint", "installed_versions", "plan_batches", "read_recipe", "reader", "resolve",
]  # fmt: skip


_LAZY = {"Encoder": "forward", "Tokenizer": "tokens", "reader": "recipe_head"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
