"""List and check the files of a checkpoint: config, tokenizer and weights."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from stat import S_ISREG
from typing import Any

from embstore.base import disk, documents
from embstore.base.errors import CheckpointError
from embstore.base.messages import first_of

SHORT_NAMES: Mapping[str, str] = {
    "gpt2": "openai-community/gpt2",
    # Its main branch has pickled weights only; this is the hub's own conversion of them to
    # safetensors.
    "clip": "openai/clip-vit-base-patch32@refs/pr/15",
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
}
"""Short names of checkpoints → hub ids, with a revision where the main branch has no
safetensors.
"""

TOKENIZER_FILES = (
    "added_tokens.json",
    "bpe.codes",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "spm.model",
    "tekken.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
"""Names of the files that define a tokenizer."""

MODULES_FILE = (  # file of a checkpoint's own recipe, as sentence-transformers writes it
    "modules.json"
)

ADAPTER_FILE = "adapter_config.json"
"""File of the config of an adapter (LoRA and others of the package peft)."""

_MAX_INDEX_BYTES = 64 << 20
_MAX_BASE_CHARS = 200
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def is_file(path: Path) -> bool:
    """Return whether a path is a regular file, or a link to one."""
    try:
        return S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # or it contains a NUL
        return False


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal."""
    with disk.naming(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path, max_bytes: int = 4 << 20) -> Any:
    """Read a JSON file of a checkpoint; raise CheckpointError if it cannot be parsed."""
    with disk.naming(path), path.open("rb") as file:
        data = file.read(max_bytes + 1)
    try:
        return documents.parse_foreign(data, max_bytes)
    except documents.InvalidDocument as error:
        raise CheckpointError(
            f"{path} cannot be read as JSON: {error}. Download the checkpoint again."
        ) from error


def tokenizer_files(folder: Path) -> list[Path]:
    """List the tokenizer files in ``folder``."""
    return [folder / name for name in TOKENIZER_FILES if is_file(folder / name)]


def weight_files(folder: Path) -> list[Path]:
    """List the weight files to load from ``folder``, with their index: safetensors if any, else
    pickles.
    """
    for whole in ("model.safetensors", "pytorch_model.bin"):
        if is_file(folder / whole):
            return [folder / whole]
        if is_file(index := folder / f"{whole}.index.json"):
            return [index, *(folder / shard for shard in _shards(index, Path(whole).suffix))]
    return []


def read_files(folder: Path) -> list[Path]:
    """List the files that embstore reads from a checkpoint: config, tokenizer and weights."""
    return [folder / "config.json", *tokenizer_files(folder), *weight_files(folder)]


def has_safetensors(folder: Path) -> bool:
    """Return whether ``folder`` has weights in the safetensors format."""
    return any(path.suffix == ".safetensors" for path in weight_files(folder))


def _shards(index: Path, suffix: str) -> list[str]:
    """Read the sorted file names in an index of sharded weights."""
    try:
        names = set(read_json(index, _MAX_INDEX_BYTES)["weight_map"].values())
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is not an index of weight files: {error!r}.") from error
    for name in names:
        if not isinstance(name, str) or not _SHARD.fullmatch(name) or not name.endswith(suffix):
            raise CheckpointError(
                f"{index} names {name!r}: an index of weights names {suffix} files in its own"
                " folder and nothing else. Do not use this checkpoint, or download it again."
            )
    return sorted(names)


def model_subfolder(folder: Path) -> str:
    """Return the subfolder with config, tokenizer and weights; empty if they are in the folder of
    the checkpoint.

    Old versions of sentence-transformers saved them in ``0_Transformer``, the first module of
    ``modules.json``.
    """
    if is_file(folder / "config.json") or not is_file(folder / MODULES_FILE):
        return ""
    try:
        path = read_json(folder / MODULES_FILE)[0]["path"].strip("/")
    except (KeyError, TypeError, AttributeError, IndexError):
        return ""
    return path if _SHARD.fullmatch(path) else ""


def check_folder(folder: Path, spec: str, *, allow_pickle: bool, has_weights: bool = True) -> None:
    """Check that a folder has a config, a tokenizer and weights that may be loaded; raise
    CheckpointError if not.
    """
    where = f"the checkpoint {spec!r} in {folder}"
    if is_file(folder / ADAPTER_FILE) and not weight_files(folder):
        raise CheckpointError(_adapter_message(folder, where))
    if not is_file(folder / "config.json"):
        # As those of a training run.
        subfolders = sorted(path.parent.name for path in folder.glob("*/config.json"))
        hint = (
            f" In it are {first_of(subfolders, 3)}: choose some with revisions={subfolders[0]!r}"
            if subfolders
            else ""
        )
        raise CheckpointError(
            f"{where} has no config.json: give a folder written by save_pretrained().{hint}"
        )
    if not tokenizer_files(folder):
        raise CheckpointError(
            f"{where} has no tokenizer files: save the tokenizer into it with save_pretrained()."
        )
    if not has_weights:
        return
    weights = weight_files(folder)
    if not weights:
        raise CheckpointError(
            f"{where} has no weights (model.safetensors). If there are only pickled weights"
            " (pytorch_model.bin), name a revision with safetensors (id@refs/pr/N: the hub's"
            " discussions of the model list them), or accept the pickles with allow_pickle=True;"
            " a pickle can run code when it is loaded."
        )
    if missing := [path.name for path in weights if not is_file(path)]:
        raise CheckpointError(
            f"{where} lacks {', '.join(missing)}, which its index of weights names."
        )
    if not has_safetensors(folder) and not allow_pickle:
        raise CheckpointError(
            f"{where} has only pickled weights ({weights[0].name}), which can run code when they"
            " are loaded. If you trust them, use allow_pickle=True."
        )


def _adapter_message(folder: Path, where: str) -> str:
    """Return why the folder of an adapter is refused, with the remedy."""
    base, config = "BASE", read_json(folder / ADAPTER_FILE)
    config = config if isinstance(config, dict) else {}
    stated = config.get("base_model_name_or_path")
    if isinstance(stated, str) and stated.isprintable() and 0 < len(stated) <= _MAX_BASE_CHARS:
        base = stated
    return (
        f"{where} is an adapter ({ADAPTER_FILE}) without the model that it changes"
        + (f", {base!r} by its own account" if base != "BASE" else "")
        + f". Name that model, and the adapter beside it: models={base!r}, adapter={str(folder)!r}."
    )
