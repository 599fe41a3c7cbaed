"""Merge small files into few large ones: neighbours by their smallest id, up to a size.

Vectors are copied bit for bit, and a layer has the same items afterwards, so that sums and indexes
stay current.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from embstore.base.errors import StoreError
from embstore.storage import keys, tables
from embstore.storage.arrow import to_numpy
from embstore.storage.cache import StoredFile, StoreFiles
from embstore.storage.card import Card
from embstore.storage.column_tables import joined
from embstore.storage.keys import Kind
from embstore.storage.manifest import Change, Entry, Files, Manifest
from embstore.storage.vectors import LayerVectors, Shard
from embstore.storage.writer import write_layer

TABLE_BYTES = 32 << 20
COMPACT_BYTES = 1 << 30
"""Largest size of a merged shard's vectors in bytes."""

Group = Mapping[int, Sequence[StoredFile]]
"""Shards that become one in each layer, by layer id."""


class Merged(NamedTuple):
    """New files in place of others: of one table, or a shard of each layer."""

    old: Sequence[StoredFile]
    new: Files


def _neighbours(
    files: Iterable[StoredFile], n_bytes: Callable[[Entry], int], max_bytes: int
) -> list[list[StoredFile]]:
    """Group the files to merge: runs of neighbours by smallest id, up to a number of bytes.

    No two adjacent groups fit together, so that a second compaction finds nothing to do.
    """
    groups: list[list[StoredFile]] = []
    room = 0
    for file in sorted(files, key=lambda file: (file.entry.get("first", 0), file.key)):
        size = n_bytes(file.entry)
        if not groups or size > room:
            groups.append([])
            room = max_bytes
        groups[-1].append(file)
        room -= size
    return [group for group in groups if len(group) > 1]


def plan_tables(files: StoreFiles, named: Manifest, kind: Kind) -> list[list[StoredFile]]:
    """Return the groups of tables of a kind to merge."""
    return _neighbours(
        files.files_of(named, named.keys_of(kind)), lambda entry: entry["bytes"], TABLE_BYTES
    )


def merge_tables(
    files: StoreFiles, kind: Kind, groups: Sequence[Sequence[StoredFile]]
) -> Iterator[Merged]:
    """Write each group of tables as one, without duplicate rows."""
    for group in groups:
        table = (
            joined(group) if kind is keys.COLUMNS else _distinct_rows(kind, map(tables.read, group))
        )
        yield Merged(group, tables.write(files, kind, table))


def _distinct_rows(kind: Kind, parts: Iterable[pa.Table]) -> pa.Table:
    """Return the distinct rows of several tables, sorted by item id and then by the other
    columns.
    """
    table = pa.concat_tables(parts).combine_chunks()
    if kind is keys.ITEMS:
        _, first = np.unique(to_numpy(table["item_id"]), return_index=True)
        return table.take(first)
    names = table.column_names
    distinct = table.group_by(names).aggregate([]).select(names).cast(table.schema)
    return distinct.sort_by(
        [(name, "ascending") for name in sorted(names, key=lambda name: name != "item_id")]
    )


def plan_shards(files: StoreFiles, named: Manifest, card: Card, max_bytes: int) -> list[Group]:
    """Return the groups of a space's shards to merge; a group has the same items in each layer."""
    stored = [
        files.files_of(named, named.keys_of(keys.VECTORS, card.space, layer))
        for layer in card.layers.ids
    ]
    by_items = [
        {(file.entry["n"], file.entry["ids"]): file for file in of_layer} for of_layer in stored
    ]
    row_bytes = card.layer_bytes
    shared = [
        file for items, file in by_items[0].items() if all(items in layer for layer in by_items)
    ]
    groups = _neighbours(shared, lambda entry: entry["n"] * row_bytes, max_bytes)
    return [
        {
            layer: [of_layer[file.entry["n"], file.entry["ids"]] for file in group]
            for layer, of_layer in zip(card.layers.ids, by_items, strict=True)
        }
        for group in groups
    ]


def merge_shards(files: StoreFiles, card: Card, groups: Sequence[Group]) -> Iterator[Merged]:
    """Write each group of shards as one shard in each layer."""
    for group in groups:
        old = [file for of_layer in group.values() for file in of_layer]
        for file in old:
            file.check()  # the new hash must not be one of altered vectors
        new: dict[str, Entry] = {}
        for layer in card.layers:  # one at a time, since it is held in memory
            shards = [Shard(file, card.dim, card.dtype) for file in group[layer.id]]
            vectors = LayerVectors(shards, card.dim)
            new |= write_layer(files, card, layer, *vectors.gather())[0]
        yield Merged(old, new)


def in_place(files: StoreFiles, base: Manifest, added: Files, removed: Collection[str]) -> Change:
    """Return the change that puts files in place of others, which they were made from.

    Raises:
        StoreError: Another process has replaced or removed some of these meanwhile.
    """
    for key in removed:
        if key not in base.files:
            raise StoreError(
                f"another process has replaced or removed {key} in {files.name} meanwhile. Nothing"
                " was changed; run the same command again."
            )
    return Change(added, removed)
