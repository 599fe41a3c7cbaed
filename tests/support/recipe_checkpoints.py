"""Checkpoints with a recipe of sentence-transformers: its own saves, and the files of older
releases.
"""

import json
import shutil

import numpy as np
from encode_texts import passage, run

from embstore.base.space import Pooling
from embstore.encode.checkpoint import resolve
from embstore.encode.forward import Encoder

OLD = "sentence_transformers.models."
SWITCHES = {
    "cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens",
    "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "weightedmean": "weightedmean_tokens", "lasttoken": "lasttoken",
}  # fmt: skip
TEXTS = [
    "dog",
    "A man is playing a guitar.",
    "The cat, it sat on the mat: 42 times!",
    "Ünïcode — text",
    "a b c d e",
]


def write_json(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def old_layout(folder, base, modes, *, dim=32, modules=(), **pooling):
    """Copy a checkpoint and add the files that releases 2 to 5.2 wrote: one switch for each pooling
    mode.

    Args:
        folder: Folder to write.
        base: Checkpoint of transformers.
        modes: Pooling modes.
        dim: Dimension of a token's vector.
        modules: Names of further modules without files.
        pooling: Further settings of the module Pooling.
    """
    shutil.copytree(base, folder)
    names = ["Transformer", "Pooling", *modules]
    write_json(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": "" if i == 0 else f"{i}_{name}", "type": OLD + name}
            for i, name in enumerate(names)
        ],
    )
    switches = {f"pooling_mode_{switch}": mode in modes for mode, switch in SWITCHES.items()}
    write_json(
        folder / "1_Pooling/config.json", {"word_embedding_dimension": dim, **switches, **pooling}
    )
    write_json(
        folder / "sentence_bert_config.json", {"max_seq_length": None, "do_lower_case": False}
    )
    return folder


def configure_tokenizer(folder, **settings):
    """Change settings of a tokenizer, which gets a token to pad with if it has none, as the package
    needs.
    """
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text())
    write_json(
        file, config | {"pad_token": config.get("pad_token") or config.get("eos_token")} | settings
    )


def saved(folder, base, *modules, safe=True, **options):
    """Save a checkpoint with the modules by sentence-transformers itself."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Transformer

    model = SentenceTransformer(modules=[Transformer(str(base)), *modules], device="cpu", **options)
    model.save(str(folder), create_model_card=False, safe_serialization=safe)
    return folder


def witness(folder, texts, **options):
    """The vectors of sentence-transformers, text by text, so that no text is padded."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return np.asarray(model.encode(list(texts), batch_size=1, **options), np.float32)


def encoded(encoder, texts, prompt=""):
    """The vectors (layers, dim) of each text by pooling ``model``, and what was skipped."""
    passages = [passage(text, i) for i, text in enumerate(texts)]
    return run(encoder, passages, Pooling.MODEL, long="truncate", prompt=prompt)


def outputs(folder, texts, prompt="", **options):
    """The outputs (n, dim) of the whole recipe by embstore."""
    vectors, _ = encoded(Encoder(resolve(str(folder)), device="cpu", **options), texts, prompt)
    return np.stack([vectors[i][-1] for i in range(len(texts))])
