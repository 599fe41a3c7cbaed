"""Check names against their grammar before they become paths in a store.

Files with other names are not embstore's: they are never read, written or removed, and verify lists them.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from embstore.base import disk
from embstore.base.errors import DamagedError, StoreError
from embstore.base.space import SPACE_NAME


class Names(NamedTuple):
    """Grammar of one type of names in a folder.

    Attributes:
        grammar: Regular expression of the name.
        prefix: Text before the name on disk.
        suffix: Text after the name on disk.
        of_folders: Whether the names are of folders rather than files.
    """

    grammar: str
    prefix: str = ""
    suffix: str = ""
    of_folders: bool = False

    def path(self, folder: Path, name: str) -> Path:
        """Return the path of a name in a folder.

        Raises:
            StoreError: The name does not match the grammar.
        """
        if not re.fullmatch(self.grammar, name):
            raise StoreError(
                f"{name!r} cannot be a name in {folder}, where names look like {self.grammar} (a regular expression). "
                "Give another name."
            )
        return folder / f"{self.prefix}{name}{self.suffix}"

    def name(self, entry: str) -> str | None:
        """Return the name in a folder's entry, or None if the entry is not of this type."""
        if not (entry.startswith(self.prefix) and entry.endswith(self.suffix)):
            return None
        name = entry[len(self.prefix) : len(entry) - len(self.suffix)]
        return name if re.fullmatch(self.grammar, name) else None

    def listed(self, folder: Path) -> dict[str, Path]:
        """Return the paths in a folder by name, for the names of this type; empty if the folder is missing.

        Raises:
            DamagedError: An entry is a symbolic link, or of the wrong type.
        """
        found = {}
        for entry in disk.entries(folder):
            if (name := self.name(entry.name)) is not None:
                if problem := disk.irregular(entry, folder=self.of_folders):
                    raise DamagedError(f"{entry.path} is damaged: {problem}.")
                found[name] = folder / entry.name
        return found


MANIFESTS = Names(r"[0-9]{20}", suffix=".json")
PARTS = Names(r"part-[0-9a-f]{16}", suffix=".parquet")
LISTS = Names(r"[0-9a-f]{64}", suffix=".json")
CARDS = Names(SPACE_NAME, suffix=".json")
MERGED = Names(SPACE_NAME, suffix=".parquet")
SPACES = Names(SPACE_NAME, prefix="space=", of_folders=True)
DATASETS = Names(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", suffix=".parquet")
INDEXES = Names(r"layer=[0-9]{2,5}", suffix=".faiss")
INDEX_CARDS = Names(r"layer=[0-9]{2,5}", suffix=".json")
ANSWERS = Names(r"[0-9a-f]{32}", suffix=".json")
MAPS = Names(r"layer=[0-9]{2,5}-(pca|tsne)-[0-9a-f]{16}", suffix=".parquet")
SHARD_LOCKS = Names(r"[0-9]{1,9}-of-[0-9]{1,9}", prefix=".lock-shard-")

_IN_FOLDERS = {"items": PARTS, "columns": PARTS, "skipped": PARTS, "spaces": CARDS, "datasets": DATASETS}


def hash_of(names: Iterable[str]) -> str:
    """Return the SHA-256 of some names in the given order, in hexadecimal: that of the names joined by commas."""
    return hashlib.sha256(",".join(names).encode()).hexdigest()


def is_file_key(key: str) -> bool:
    """Return whether a text is the path, below a store's folder, of a file that a manifest may name."""
    folder, _, entry = key.rpartition("/")
    kind = _IN_FOLDERS.get(folder)
    if kind is None:
        if not folder.startswith("embeddings/") or SPACES.name(folder.removeprefix("embeddings/")) is None:
            return False
        kind = PARTS
    return kind.name(entry) is not None


_DERIVED = {"summaries": (PARTS,), "indexes": (INDEXES, INDEX_CARDS), "maps": (MAPS,)}


def is_derived_key(key: str) -> bool:
    """Return whether a text is the path, below a store's folder, of a summary, an index, its card or a map."""
    folder, _, entry = key.rpartition("/")
    if folder == "merged":
        return MERGED.name(entry) is not None
    kind, _, space = folder.partition("/")
    return SPACES.name(space) is not None and any(names.name(entry) for names in _DERIVED.get(kind, ()))
