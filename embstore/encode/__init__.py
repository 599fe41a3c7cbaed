"""Embed passages with every layer of a checkpoint. The only package that imports torch and transformers.

    checkpoint   a short name, hub id or folder → a local folder and its hashes, without torch (with checkpoint_files)
    hub          downloads from the Hugging Face hub, and finds checkpoints in its cache
    tokens       passages → token ids, without the model; templates, poolings (with special, spans, limits, long_texts)
    batches      lengths of texts → batches
    fence        isolates transformers while it loads a checkpoint: hashed files only, no network
    weights      the type of the weights; untrained models
    text_part    the part of a model that reads text: a tower, an encoder, a language model
    models       a folder → a transformers text model, or an error
    contract     which hidden state is which layer, verified by running the model (with probe: records module calls)
    recipe       a checkpoint's own recipe as sentence-transformers reads it, as data; read by recipe_files
    recipe_text  texts → token ids as a recipe reads them; recipe_head: hidden states → the vectors of a recipe
    records      the results: vectors, skipped texts, plans
    pooling      hidden states → one vector per item
    forward      one batch → its vectors
    workers      batches in parallel
    encoder      all of these in one object
    devices      selection of the device, out-of-memory errors; extra: imports of the optional libraries

Importing the package loads neither torch nor transformers; the first use of ``Encoder`` or ``Tokenizer`` does.
"""

from typing import TYPE_CHECKING, Any

from embstore.encode.batches import default_batch_tokens, plan_batches
from embstore.encode.checkpoint import Checkpoint, Fingerprint, fingerprint, resolve
from embstore.encode.checkpoint_files import SHORT_NAMES
from embstore.encode.extra import installed_versions
from embstore.encode.recipe import Recipe
from embstore.encode.recipe_files import read_recipe
from embstore.encode.records import MODEL_FAILS, Encoded, Long, ModelFailsError, Plan, Skipped, TooLongError
from embstore.encode.weights import Weights

if TYPE_CHECKING:
    from embstore.encode.encoder import Encoder
    from embstore.encode.recipe_text import reader
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
    "Recipe",
    "Skipped",
    "Tokenizer",
    "TooLongError",
    "Weights",
    "default_batch_tokens",
    "fingerprint",
    "installed_versions",
    "plan_batches",
    "read_recipe",
    "reader",
    "resolve",
]


def __getattr__(name: str) -> Any:
    if name == "Encoder":
        from embstore.encode.encoder import Encoder

        return Encoder
    if name == "Tokenizer":
        from embstore.encode.tokens import Tokenizer

        return Tokenizer
    if name == "reader":
        from embstore.encode.recipe_text import reader

        return reader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
