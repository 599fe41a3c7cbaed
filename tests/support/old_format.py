"""Stores of format 1, as earlier versions wrote them: no manifests, and documents of the part files that are hidden."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from embstore import atomic
from embstore.storage.files.marker import write_marker
from embstore.storage.files.paths import StorePaths


def as_format_1(root: Path) -> StorePaths:
    """Make a store one of format 1."""
    paths = StorePaths(root.resolve())
    shutil.rmtree(paths.manifests)
    write_marker(paths, 1)
    return paths


def hide(
    paths: StorePaths,
    folder: Path,
    names: Iterable[str],
    replaced: Mapping[str, list[str]] | None = None,
    number: int = 1,
) -> None:
    """Write the document of hidden part files of a folder."""
    document = {"format": 1, "generation": 1, "hidden": sorted(names), "replaced": dict(replaced or {})}
    paths.hidden(folder).write_bytes(atomic.document_bytes(document))
