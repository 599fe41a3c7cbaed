"""Read and write maps: the positions in the plane of the items of one layer, in a Parquet table
with a header.

The header, in the table's metadata, holds all that the positions depend on and a digest of the
items of the layer. A map is used only if it is the requested one, of the current items: one in the
place of another, or of other items, is as good as missing. Maps are derived and may be deleted at
any time. They need no lock, since a file is written whole and its content is checked when it is
read.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embstore.base import atomic, disk, documents
from embstore.base.arrays import Ids as Ids
from embstore.base.documents import Document
from embstore.base.errors import DamagedError
from embstore.storage.arrow import readable, to_numpy
from embstore.storage.keys import MAPS, folder_of, parse
from embstore.storage.manifest import ItemSet

MAPS_FORMAT = 2
REMEDY = "It is not used, and may be deleted."

MAP_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.int64(), nullable=False),
        pa.field("x", pa.float32(), nullable=False),
        pa.field("y", pa.float32(), nullable=False),
    ]
)
_HEADER = b"embstore_map"
_OF_WORDS = ("words", "words_sha256")
"""Members that the header of a map has only if its items are those of a list of words."""

Positions = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MapKey:
    """What a map shows and how it is made: all that it depends on besides the vectors.

    Attributes:
        method: ``pca`` or ``tsne``.
        version: Version of the method.
        fitted_on: Names of the layers that the positions depend on, by ascending id.
        where: SQL expression that selects the items; None for all.
        sample: Number of items drawn at random; None for all.
        numpy: Version of numpy, which determines the drawn items; None without ``sample``.
        duckdb: Version of DuckDB, which evaluates ``where``; None without it.
        words: Name of the list of words whose items are selected; None for all.
    """

    space: str
    layer: int
    layer_name: str
    method: str
    version: int
    fitted_on: tuple[str, ...]
    where: str | None = None
    sample: int | None = None
    seed: int = 0
    numpy: str | None = None
    duckdb: str | None = None
    words: str | None = None
    words_sha256: str | None = None

    def path(self, root: Path) -> Path:
        """Return the path of the map, whose name has a hash of what was requested; versions are not
        part of it.
        """
        request = [list(self.fitted_on), self.where, self.sample, self.seed]
        request += [] if self.words_sha256 is None else [self.words_sha256]
        digest = hashlib.blake2b(json.dumps(request).encode(), digest_size=8).hexdigest()
        return (
            root
            / f"{folder_of(MAPS, self.space)}/layer={self.layer:02d}-{self.method}-{digest}.parquet"
        )


@dataclass(frozen=True, slots=True, eq=False)
class LayerMap:
    """A map of one layer.

    Attributes:
        items: Items of the layer when the map was made.
        ids: Item ids, int64 (n,), ascending.
        positions: Positions of the items, float32 (n, 2).
        n_zero: Number of selected items without a position, since their vector is zero.
        kept: Share of the ten nearest neighbours in the layer that are among the ten nearest on the
            map, in [0, 1]; None if not computable.
        n_kept: Number of items that ``kept`` is the mean of.
        made_with: Versions of the libraries that made it, by name.
    """

    key: MapKey
    items: ItemSet
    ids: Ids
    positions: Positions
    n_zero: int
    kept: float | None
    n_kept: int
    reason: str | None
    made_with: dict[str, str]

    def header(self) -> Document:
        """Return the header as a JSON object."""
        key = {
            name: value
            for name, value in asdict(self.key).items()
            if name not in _OF_WORDS or value is not None
        }
        return {
            "format": MAPS_FORMAT,
            **key,
            "items": self.items.facts,
            "sha256": _hash_of(self.ids, self.positions),
            "n": len(self.ids),
            "n_zero": self.n_zero,
            "kept": self.kept,
            "n_kept": self.n_kept,
            "reason": self.reason,
            "made_with": self.made_with,
        }


def write_map(root: Path, made: LayerMap) -> Path:
    """Write a map below the folder of a store, and return its path."""
    path = made.key.path(root)
    columns = [made.ids, made.positions[:, 0], made.positions[:, 1]]
    table = pa.table(
        [pa.array(np.ascontiguousarray(column)) for column in columns], schema=MAP_SCHEMA
    )
    header = json.dumps(made.header(), ensure_ascii=False, allow_nan=False)
    disk.check_inside(root, path.parent)
    disk.make_folder(path.parent)
    atomic.discard_leftovers(path.parent)
    with atomic.temporary(path.parent) as temp:
        pq.write_table(table.replace_schema_metadata({_HEADER: header.encode()}), temp)
        os.replace(temp, path)
    return path


def stored_maps(root: Path, space: str) -> list[Path]:
    """Return the files of the stored maps of a space below the folder of a store."""
    folder = folder_of(MAPS, space)
    disk.check_inside(root, root / folder)
    return [
        path for path in disk.listed(root / folder) if parse(f"{folder}/{path.name}") is not None
    ]


def find_map(root: Path, key: MapKey, items: ItemSet) -> LayerMap | None:
    """Return the stored map of some items; None if it is missing, damaged, or of another request or
    other items.
    """
    try:
        stored = read_map(root, key.path(root))
    except (DamagedError, FileNotFoundError):
        return None
    return stored if stored.key == key and stored.items == items else None


def read_map(root: Path, path: Path) -> LayerMap:
    """Read the map in a file."""
    with readable(partial(_damage, path)), disk.opening(path), pq.ParquetFile(path) as parquet:
        table = parquet.read()
    if not table.schema.remove_metadata().equals(MAP_SCHEMA):
        raise _damage(path, "its columns are not those of a map")
    data = (table.schema.metadata or {}).get(_HEADER, b"")
    header = documents.read_bytes(data, path, "map-header", REMEDY, is_sealed=False)
    values: dict[str, Any] = {field.name: header.get(field.name) for field in fields(MapKey)}
    key = MapKey(**{**values, "fitted_on": tuple(header["fitted_on"])})
    if key.path(root) != path:
        raise _damage(path, f"it is the map that belongs in {key.path(root).name}")
    ids = to_numpy(table["item_id"])
    positions = np.stack([to_numpy(table[axis]) for axis in ("x", "y")], axis=1)
    if len(ids) != header["n"] or header["sha256"] != _hash_of(ids, positions):
        raise _damage(path, "its rows are not those that its header describes")
    others = ("n_zero", "kept", "n_kept", "reason", "made_with")
    return LayerMap(
        key,
        ItemSet.of_entry(header["items"]),
        ids,
        positions,
        **{name: header[name] for name in others},
    )


def _hash_of(ids: Ids, positions: Positions) -> str:
    """Return the SHA-256 of the rows of a map."""
    return hashlib.sha256(ids.tobytes() + positions.astype(np.float32).tobytes()).hexdigest()


def _damage(path: Path, problem: str) -> DamagedError:
    return DamagedError(f"{path} is damaged: {problem}. {REMEDY}")
