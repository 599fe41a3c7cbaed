"""Make the card of an imported space: what is known of vectors that were made elsewhere."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from embstore.base import __version__
from embstore.base.errors import SourceError, UsageError
from embstore.base.space import Layer, Layers, Pooling, Template, Unit
from embstore.interop.vector_file import VectorFile
from embstore.sources.files import file_sha256
from embstore.storage.files.card import MAX_BLOCKS, Card

_ORIGIN = ("space", "checkpoint", "revision", "weights_sha256", "unit", "pooling", "template")


def hashed_files(files: Sequence[VectorFile]) -> list[dict[str, Any]]:
    """Return name, SHA-256 and size of each file that vectors or texts are read from."""
    paths = dict.fromkeys(path for file in files for path in file.hashed)
    return [{"name": path.name, "sha256": file_sha256(path), "bytes": path.stat().st_size} for path in paths]


def imported_card(
    name: str, unit: Unit, dtype: str, layers: Layers, files: Sequence[VectorFile], digest: str | None = None
) -> Card:
    """Return the card of an imported space.

    Args:
        name: Name of the space.
        unit: Unit of the items.
        dtype: Stored dtype, ``float32`` or ``float16``.
        layers: Layers of the vectors.
        files: Files that they are read from.
        digest: SHA-256 of vectors and texts that are in no file; None if they are in files.
    """
    hashes = hashed_files(files)
    whole = digest or _joined([file["sha256"] for file in hashes])
    origins = [file.origin for file in files if file.origin is not None]
    origin = {key: origins[0][key] for key in _ORIGIN if key in origins[0]} if origins else None
    return Card(
        space=name, model=name, checkpoint=hashes[0]["name"] if hashes else "array", revision=None,
        weights_sha256=whole, tokenizer_sha256=None, config_sha256=None, architecture="imported", unit=unit,
        pooling=Pooling.IMPORTED, template=Template(), layers=layers, dim=files[0].dim, dtype=dtype, max_tokens=None,
        versions={"embstore": __version__, "numpy": np.__version__},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        imported={"format": files[0].format, "files": hashes, "origin": origin},
    )  # fmt: skip


def choose_layers(files: Sequence[VectorFile], requested: str | None) -> Layers:
    """Return the layers of imported vectors: those requested, else those that the file names, else from 0.

    Args:
        files: Files; all have the same number of layers.
        requested: Numbers of the layers: ``6``, ``0-12`` or ``0,6,12``; None if none are requested.

    Raises:
        UsageError: The numbers are not as many as the file has layers, or not ascending.
        SourceError: The file has more layers than a space can have.
    """
    n_layers = files[0].n_layers
    if requested is None:
        if (named := files[0].layers) is not None:
            return named
        if n_layers > MAX_BLOCKS + 1:
            raise SourceError(
                f"{files[0].name} has {n_layers:,} layers, and a space has at most {MAX_BLOCKS + 1:,}. Import a part."
            )
        return _numbered(range(n_layers))
    numbers = _numbers(requested)
    if len(numbers) != n_layers:
        have = "one layer" if n_layers == 1 else f"{n_layers} layers"
        raise UsageError(f"⦃layer={requested}⦄ names {len(numbers)}, and {files[0].name} has {have}. Name each once.")
    return _numbered(numbers)


def _numbered(numbers: Sequence[int]) -> Layers:
    return Layers(tuple(Layer(number, str(number)) for number in numbers), numbers[-1], None)


def _numbers(requested: str) -> list[int]:
    """Parse numbers of layers."""
    numbers: list[int] = []
    for part in requested.split(","):
        first, dash, last = part.strip().partition("-")
        if not all(
            text.isascii() and text.isdigit() and len(text) <= 4 for text in ([first, last] if dash else [first])
        ):
            raise UsageError(f"⦃layer={requested}⦄ is not a list of layers: write numbers as in 6, 0-12 or 0,6,12.")
        numbers += range(int(first), int(last if dash else first) + 1)
    if numbers != sorted(set(numbers)) or not numbers or numbers[-1] > MAX_BLOCKS:
        raise UsageError(f"⦃layer={requested}⦄: layers are ascending numbers up to {MAX_BLOCKS}, each once.")
    return numbers


def _joined(hashes: Sequence[str]) -> str:
    """Return the hash of one file, or the SHA-256 of the hashes of several, a line each."""
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def file_name(path: Path) -> str:
    """Return the name of a file without its folders and suffixes."""
    return path.name.partition(".")[0]
