"""Isolate transformers while it loads a checkpoint: only the files that embstore hashes, and no network."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from embstore.base.errors import CheckpointError
from embstore.encode.checkpoint import Checkpoint
from embstore.encode.checkpoint_files import read_files
from embstore.encode.extra import need

_MAX_METHOD_CHARS = 40


@contextmanager
def fenced(checkpoint: Checkpoint) -> Iterator[Path]:
    """Provide a temporary folder with only the fingerprinted files of a checkpoint, and block access to the hub.

    Other files of the checkpoint's folder (code, adapters, other weights, distributed states) are not visible. Kernels
    from the hub are neither downloaded nor run.

    Raises:
        CheckpointError: A file is missing.
    """
    with TemporaryDirectory(prefix="embstore-checkpoint-") as name, _offline():
        view = Path(name)
        for file in read_files(checkpoint.folder):
            _link(file.resolve(), view / file.name)
        yield view


def check_config(config: Any, checkpoint: Checkpoint) -> Any:
    """Reject a quantized config, and reset its attention and experts implementations to those of transformers.

    Raises:
        CheckpointError: The checkpoint is quantized, so that its weights need external kernels.
    """
    for part in _parts(config):
        if (quantization := getattr(part, "quantization_config", None)) is not None:
            raise CheckpointError(_quantized_message(quantization, checkpoint))
        part._attn_implementation = None
        part._experts_implementation = None
    return config


def _quantized_message(quantization: Any, checkpoint: Checkpoint) -> str:
    """Return why a quantized checkpoint is refused, with the remedy."""
    stated = quantization if isinstance(quantization, dict) else vars(quantization)
    method = str(getattr(stated.get("quant_method"), "value", stated.get("quant_method")))[:_MAX_METHOD_CHARS]
    how = f" by {method!r}" if method.isprintable() and method != "None" else ""
    return (
        f"the checkpoint {checkpoint.name!r} in {checkpoint.folder} is quantized{how} (quantization_config in its "
        "config.json): its weights need kernels, which embstore does not load. Use the checkpoint that it was made "
        "from; ⦃weights-dtype=bfloat16⦄ loads that in half the memory of float32."
    )


def _parts(config: Any) -> Iterator[Any]:
    """Yield a config and its nested configs."""
    base = need("transformers").PretrainedConfig
    yield config
    for value in vars(config).values():
        if isinstance(value, base):
            yield from _parts(value)


@contextmanager
def _offline() -> Iterator[None]:
    """Block requests to the hub and the loading of its kernels inside a ``with`` block."""
    switches: list[tuple[Any, str, Any]] = [(need("huggingface_hub.constants"), "HF_HUB_OFFLINE", True)]
    with suppress(CheckpointError):  # some versions of transformers do not have the module
        switches.append((need("transformers.integrations.hub_kernels"), "_kernels_enabled", False))
    previous = [(module, name, getattr(module, name, None)) for module, name, _ in switches]
    for module, name, value in switches:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in previous:
            setattr(module, name, value)


def _link(file: Path, link: Path) -> None:
    """Create a symbolic link to a file, or a copy if the system permits no links."""
    try:
        os.symlink(file, link)
    except OSError:  # on Windows it takes a privilege
        shutil.copyfile(file, link)
