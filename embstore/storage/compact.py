"""Merge many small part files into few large ones: neighbours by their smallest id, up to a size.

Rows are copied bit for bit, so results do not change. All new files are complete before any is committed, and the old
ones are deleted last (:mod:`embstore.storage.transaction.commit`).

The summaries of a space are merged into one small file too: a store of a million items has hundreds of them, and
reading them all takes longer than any query that they answer. A writer that changes the shards of a space calls
:func:`write_merged` afterwards; until then, queries read the summary of each shard.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError
from embstore.base.space import Layer
from embstore.storage import keys
from embstore.storage.card import Card
from embstore.storage.answers import add_summaries, read_merged
from embstore.storage.files.names import check_content
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.vectors import (
    SHARD_BYTES,
    SUMMARY_SCHEMA,
    ShardContent,
    StagedShard,
    publish_shard,
    stage_shard,
    stored_sums,
    summary_row,
)
from embstore.storage.tables import ITEMS_SCHEMA, read_part, write_table
from embstore.storage.vectors import LayerVectors, shard_row_groups
from embstore.storage.column_tables import joined
from embstore.storage.arrow import to_table
from embstore.storage.transaction.commit import replacing, rewrite_tables
from embstore.storage.transaction.manifest import committed_shards, list_parts, read_cards

TABLE_BYTES = 32 << 20
_ROUND_BYTES = 8 << 30
"""Bytes written before the replaced parts are deleted: the disk space that a compaction needs."""

Ids = NDArray[np.int64]


class Sized(NamedTuple):
    """A part file that may be merged: its name, its smallest item id, and the bytes it adds to a merged file."""

    name: str
    first: int
    n_bytes: int


class Compacted(NamedTuple):
    """A part file that replaced others: its path, their number, and its number of rows, or of items for a shard."""

    path: Path
    n_old: int
    n_items: int


def plan_groups(parts: Sequence[Sized], target_bytes: int) -> list[tuple[str, ...]]:
    """Group the part files to merge: runs of neighbours by smallest id, of at most ``target_bytes``.

    No two adjacent groups fit together, so that a second compaction finds nothing to do.
    """
    groups: list[tuple[list[str], int]] = []
    for part in sorted(parts, key=lambda part: (part.first, part.name)):
        if groups and groups[-1][1] + part.n_bytes <= target_bytes:
            names, n_bytes = groups[-1]
            groups[-1] = ([*names, part.name], n_bytes + part.n_bytes)
        else:
            groups.append(([part.name], part.n_bytes))
    return [tuple(names) for names, _ in groups if len(names) > 1]


def plan_shards(paths: StorePaths, card: Card, target_bytes: int = SHARD_BYTES) -> list[tuple[Shard, ...]]:
    """Return the groups of a space's shards to merge."""
    shards = {shard.name: shard for shard in committed_shards(paths, card.space)}
    row_bytes = card.dim * np.dtype(card.dtype).itemsize
    sized = []
    for shard in shards.values():
        groups = shard_row_groups(shard)
        n_rows = sum(group.item_ids.num_values for group in groups)
        sized.append(Sized(shard.name, min((group.first for group in groups), default=0), n_rows * row_bytes))
    return [tuple(shards[name] for name in names) for names in plan_groups(sized, target_bytes)]


def compact_shards(paths: StorePaths, card: Card, groups: Sequence[Sequence[Shard]]) -> Iterator[Compacted]:
    """Merge each group of shards into one, layer by layer; yield each new shard. Requires the store's lock.

    Several groups, of :data:`_ROUND_BYTES` together, are committed at once; their old shards are deleted before the
    next groups are merged, which limits the disk space needed.
    """
    totals = itertools.accumulate(sum(disk.size(shard.path) for shard in group) for group in groups)
    rounds = itertools.groupby(zip(totals, groups, strict=True), lambda each: each[0] // _ROUND_BYTES)
    for _, round_ in rounds:
        staged: list[tuple[StagedShard, tuple[Path, ...]]] = []
        with ExitStack() as stack:
            for _, group in round_:
                temp = stack.enter_context(atomic.temporary(paths.embeddings(card.space)))
                staged.append((_stage(temp, paths, card, group), tuple(shard.path for shard in group)))
            with replacing(paths, {new.shard.path: old for new, old in staged}):
                for new, _ in staged:
                    publish_shard(new)
        for new, old in staged:
            yield Compacted(new.shard.path, len(old), new.summary["n"][0].as_py())


def _stage(temp: Path, paths: StorePaths, card: Card, group: Sequence[Shard]) -> StagedShard:
    """Write the merged shard of a group to a temporary file, after checking the old shards."""
    for shard in group:
        check_content(shard.path)
    ids = LayerVectors(group, card.layers.ids[0], card.dim).ids()
    if len(duplicates := ids[1:][ids[1:] == ids[:-1]]):
        raise DamagedError(f"item {duplicates[0]} is twice in {paths.embeddings(card.space)}. Run: ⦃embstore repair⦄")

    def gathered(layer: Layer) -> NDArray[np.float32]:
        found, vectors = LayerVectors(group, layer.id, card.dim).gather()
        if not np.array_equal(found, ids):
            raise DamagedError(
                f"{group[0].path.parent} is damaged: layer {layer.name} does not have the ids of layer "
                f"{card.layers.names[0]}. Run: ⦃embstore verify⦄"
            )
        return vectors

    staged = stage_shard(temp, paths, ShardContent(card, ids, map(gathered, card.layers)))
    sums = add_summaries(card, group)
    if not all(stored_sums(row).isclose(sums[row["layer"]]) for row in staged.summary.to_pylist()):
        raise DamagedError(
            f"{group[0].summary_path.parent} is damaged: the summaries there are not those of the shards. Run: "
            "⦃embstore repair⦄"
        )
    return staged


def compact_tables(paths: StorePaths, folder: Path, groups: Sequence[Sequence[Path]]) -> Iterator[Compacted]:
    """Merge each group of small tables of a folder into one, without duplicate rows; yield each new table."""
    for files in groups:
        table = joined(paths.root, files) if folder == paths.columns else _merged_rows(files)
        first, *others = files
        [path] = rewrite_tables(paths, folder, [(first, table), *((file, None) for file in others)])
        yield Compacted(path, len(files), len(table))


def plan_tables(paths: StorePaths, folder: Path) -> list[tuple[Path, ...]]:
    """Return the groups of a folder's tables to merge."""
    files = {file.stem: file for file in list_parts(paths, folder).files}
    parts = [Sized(name, _first(file), disk.size(file)) for name, file in files.items()]
    return [tuple(files[name] for name in group) for group in plan_groups(parts, TABLE_BYTES)]


def _first(file: Path) -> int:
    """Return the smallest item id of a table; 0 where it has none."""
    ids = read_part(file, ["item_id"])["item_id"].drop_null().to_numpy()
    return int(ids.min()) if len(ids) else 0


def _merged_rows(files: Sequence[Path]) -> pa.Table:
    """Return the distinct rows of several tables, sorted by item id and then by the other columns."""
    table = pa.concat_tables([read_part(file) for file in files]).combine_chunks()
    if table.schema.equals(ITEMS_SCHEMA):
        _, first = np.unique(table["item_id"].to_numpy(), return_index=True)
        return table.take(first)
    names = table.column_names
    distinct = table.group_by(names).aggregate([]).select(names).cast(table.schema)
    return distinct.sort_by([(name, "ascending") for name in sorted(names, key=lambda name: name != "item_id")])


MERGED_SCHEMA = pa.schema(
    [
        pa.field("shards_sha256", pa.string(), nullable=False),
        *(SUMMARY_SCHEMA.field(name) for name in SUMMARY_SCHEMA.names[3:]),
    ]
)


def write_all_merged(paths: StorePaths) -> None:
    """Write the merged summaries of all spaces that are not up to date; see :func:`write_merged`."""
    for card in read_cards(paths).values():
        write_merged(paths, card)


def write_merged(paths: StorePaths, card: Card, *, force: bool = False) -> None:
    """Write the merged summary of a space, also one that is up to date with ``force``; remove one of other shards.

    Summaries are added in the order of the shards' names. Of a single shard, or if a summary is damaged, nothing is
    written; a query that needs it reports it.
    """
    shards, path = committed_shards(paths, card.space), paths.merged(card.space)
    merged = None if force else read_merged(paths, card)
    if merged is not None and merged.is_of(shards):
        return
    disk.remove(path, missing_ok=True)
    if len(shards) < 2:
        return
    try:
        sums = add_summaries(card, shards)
    except DamagedError:
        return
    shards_sha256 = names.hash_of(shard.name for shard in shards)
    rows = [{"shards_sha256": shards_sha256, **summary_row(layer, summary)} for layer, summary in sums.items()]
    write_table(path, to_table(rows, MERGED_SCHEMA), plain=True)
