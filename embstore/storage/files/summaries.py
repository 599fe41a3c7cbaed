"""Read the sums of a space, from its merged summary if possible, else from the summary of each shard.

The merged summary (:mod:`embstore.storage.maintenance.space_summary`) contains a hash of the names of its shards,
which are hashes of their contents. If it is missing, altered or of other shards, the summaries of the shards are read
instead.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import numpy as np

from embstore.base import checksum, disk, supply
from embstore.base.errors import DamagedError
from embstore.base.summary import Summary
from embstore.storage.files import names
from embstore.storage.files.card import Card
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.parquet.reader import Values, read_plain_table
from embstore.storage.sql.reader import REMEDY

Sums = dict[int, Summary]
Columns = Mapping[str, Values]
"""Values of each row, by name of the column."""

_NAMES = [field.name for field in fields(Summary)]


class Merged(NamedTuple):
    """Merged summary of several shards.

    Attributes:
        shards_sha256: Hash of the names of the shards, ascending; see :func:`.names.hash_of`.
        sums: Summary by layer id.
    """

    shards_sha256: str
    sums: Sums

    def is_of(self, shards: Iterable[Shard]) -> bool:
        """Return whether these are the shards that it is the sum of."""
        return self.shards_sha256 == names.hash_of(sorted(shard.name for shard in shards))


def read_merged(paths: StorePaths, card: Card) -> Merged | None:
    """Return the merged summary of a space, or None if it is missing or damaged."""
    file = paths.merged(card.space)
    try:
        data = disk.read(file)
        if not checksum.has_valid_checksum(data):
            return None
        columns = read_plain_table(data)
        sums = dict(_rows(columns, card))
        [shards_sha256] = {str(value) for value in columns["shards_sha256"]}
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    return Merged(shards_sha256, sums) if set(sums) == {*card.layers.ids} else None


def add_summaries(card: Card, shards: Sequence[Shard]) -> Sums:
    """Return the sum of the shards' summaries, by layer id."""
    files = [shard.summary_path for shard in sorted(shards, key=lambda shard: shard.name)]
    supply.fetch(dict.fromkeys(files))
    total = {layer.id: Summary.empty(card.dim) for layer in card.layers}
    for file in files:
        data = check_summary(file)
        try:
            for layer, summary in _rows(read_plain_table(data), card):
                total[layer] += summary
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedError(f"{file} is damaged: it is not a summary of {card.space} ({error}). {REMEDY}") from error
    return total


def _rows(columns: Columns, card: Card) -> Iterator[tuple[int, Summary]]:
    """Yield the layer and the sums of each row."""
    for layer, *sums in zip(*(columns[name] for name in ("layer", *_NAMES)), strict=True):
        if int(layer) not in card.layers.ids or any(np.shape(vector) != (card.dim,) for vector in sums[2:5]):
            raise ValueError(f"layer {layer} has other dimensions")
        yield int(layer), Summary(int(sums[0]), int(sums[1]), *sums[2:5], *map(float, sums[5:]))


def check_summary(summary: Path) -> bytes:
    """Return the bytes of a summary; raise DamagedError if it was altered or is missing."""
    try:
        data = disk.read(summary)
    except FileNotFoundError as error:
        raise DamagedError(f"{summary} is missing. {REMEDY}") from error
    checksum.check(summary, data, REMEDY)
    return data
