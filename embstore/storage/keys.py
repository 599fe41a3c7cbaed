"""Name the files of a store by keys: paths below its folder or URL, with slashes, checked against
one grammar.

A key is checked before it becomes a path or a request, so that no name in a received store leads
outside it. Files of other names are not embstore's: they are never read, written or removed, and
verify lists them.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from embstore.base.errors import StoreError
from embstore.base.space import SPACE_NAME

HASH_DIGITS = 32
"""Number of digits of a file's SHA-256 in its key."""

_HASH = f"(?P<hash>[0-9a-f]{{{HASH_DIGITS}}})"
_SPACE = f"(?P<name>{SPACE_NAME})"
_DATASET = r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,199})"
_LAYER = r"layer=(?P<layer>[0-9]{2}|[1-9][0-9]{2,4})"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of files of a store.

    Attributes:
        folder: Folder below the store's.
        pattern: Regular expression of the rest of the key, with groups ``hash``, ``name`` and
            ``layer``.
        template: Format of the rest of the key, with the same names.
        noun: Noun that files are counted by.
        remedy: What brings the content of a damaged file back, as a sentence.
        is_derived: Whether the files are computed from others and named by no manifest, so that
            they may be deleted.
    """

    folder: str
    pattern: str
    template: str
    noun: str
    remedy: str = ""
    is_derived: bool = False


_SAME_SOURCES = (
    "build the same sources again, or merge a sound copy of the store: embstore merge COPY"
)


ITEMS = Kind(
    "items",
    rf"{_HASH}\.parquet",
    "{hash}.parquet",
    "table of texts",
    f"To get the texts back, {_SAME_SOURCES}",
)
COLUMNS = Kind(
    "columns",
    rf"{_HASH}\.parquet",
    "{hash}.parquet",
    "table of columns",
    f"To get the values back, {_SAME_SOURCES}. Give `build` the same `keep`",
)
SKIPPED = Kind(
    "skipped",
    rf"{_HASH}\.parquet",
    "{hash}.parquet",
    "table of skipped texts",
    "The next build lists the skipped texts again",
)
DATASETS = Kind(
    "datasets",
    rf"{_DATASET}-{_HASH}\.parquet",
    "{name}-{hash}.parquet",
    "dataset",
    "To get the dataset back, build it again, or merge a sound copy of the store",
)
CARDS = Kind(
    "spaces", rf"{_SPACE}-{_HASH}\.json", "{name}-{hash}.json", "card", "Restore it from a copy"
)
VECTORS = Kind(
    "vectors",
    rf"space={_SPACE}/{_LAYER}/{_HASH}\.parquet",
    "space={name}/layer={layer:02d}/{hash}.parquet",
    "shard",
    f"To get the items back, {_SAME_SOURCES}",
)
SUMS = Kind(
    "sums",
    rf"{_SPACE}-{_HASH}\.npz",
    "{name}-{hash}.npz",
    "file of sums",
    "Sums are computed again",
)
INDEXES = Kind(
    "indexes",
    rf"space={_SPACE}/{_LAYER}-{_HASH}\.faiss",
    "space={name}/layer={layer:02d}-{hash}.faiss",
    "index",
    "Indexes are built again",
)
ANSWERS = Kind("derived/answers", rf"{_HASH}\.json", "{hash}.json", "answer", is_derived=True)
MAPS = Kind(
    "derived/maps",
    rf"space={_SPACE}/{_LAYER}-(?:pca|tsne)-(?P<hash>[0-9a-f]{{16}})\.parquet",
    "",
    "map",
    is_derived=True,
)
MANIFESTS = Kind("manifest", r"(?P<name>[0-9]{20})\.json", "{name}.json", "manifest")

TABLES = (ITEMS, COLUMNS, SKIPPED)
KINDS = (*TABLES, DATASETS, CARDS, VECTORS, SUMS, INDEXES, ANSWERS, MAPS, MANIFESTS)
DAMAGED = "damaged"
"""Folder into which a repair moves damaged files."""
PUBLISHED = "manifest.json"
"""Copy of the newest manifest, for web servers and the hub, which list no files."""

_BY_FOLDER = {kind.folder: (kind, re.compile(kind.pattern, re.ASCII)) for kind in KINDS}


class Key(NamedTuple):
    """The parts of a key.

    Attributes:
        kind: Kind of the file.
        name: Name of the space or dataset, or number of the manifest; empty for other kinds.
        layer: Number of the layer; None for files of no layer.
        hash: First digits of the SHA-256 of the content, of a derived file those of its request;
            empty for manifests.
    """

    kind: Kind
    name: str
    layer: int | None
    hash: str


def parse(key: str) -> Key | None:
    """Return the parts of a key; None if it is not that of a file of a store."""
    folder, _, rest = key.partition("/")
    if folder == "derived":
        below, _, rest = rest.partition("/")
        folder = f"{folder}/{below}"
    if folder not in _BY_FOLDER:
        return None
    kind, pattern = _BY_FOLDER[folder]
    if (match := pattern.fullmatch(rest)) is None:
        return None
    parts = match.groupdict()
    layer = parts.get("layer")
    return Key(
        kind,
        parts.get("name") or "",
        None if layer is None else int(layer),
        parts.get("hash") or "",
    )


def make(kind: Kind, sha256: str = "", *, name: str = "", layer: int | None = None) -> str:
    """Return the key of a file of this content; raise StoreError if the name cannot be one."""
    key = f"{kind.folder}/{kind.template.format(name=name, layer=layer, hash=sha256[:HASH_DIGITS])}"
    if parse(key) != (kind, name, layer, sha256[:HASH_DIGITS]):
        raise StoreError(
            f"{name!r} cannot be a name in a store. Use letters, digits, points, hyphens and"
            " underscores."
        )
    return key


def folder_of(kind: Kind, space: str) -> str:
    """Return the key of the folder with the files of a space, such as
    ``vectors/space=gpt2.word.last``.
    """
    return f"{kind.folder}/space={space}"


def manifest_key(number: int) -> str:
    """Return the key of the manifest of a number."""
    return f"{MANIFESTS.folder}/{number:020d}.json"


def hash_of(names: Iterable[str]) -> str:
    """Return the SHA-256 of some keys in the given order, in hexadecimal: that of the keys joined
    by commas.
    """
    return hashlib.sha256(",".join(names).encode()).hexdigest()
