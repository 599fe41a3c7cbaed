"""Write files that add to a store, and commit them: texts, skipped texts, datasets, cards and single shards."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from embstore.base import atomic
from embstore.base.space import Unit
from embstore.storage.files import tables
from embstore.storage.files.card import Card, store_card
from embstore.storage.files.paths import Shard, StorePaths
from embstore.storage.files.shards import ShardContent, publish_shard, stage_shard
from embstore.storage.transaction.commit import Change, committing


def write_shard(paths: StorePaths, content: ShardContent) -> Shard:
    """Write one shard and its summary, and commit it.

    Args:
        paths: Paths of the store.
        content: Vectors, with the card of their space.

    Raises:
        NonFiniteVectorError: A component is NaN or infinite.
        Float16OverflowError: A component is too large for float16.
        StoreError: The disk is full or cannot be written.
    """
    with atomic.temporary(paths.embeddings(content.card.space)) as temp:
        staged = stage_shard(temp, paths, content)
        with committing(paths, Change(added=(staged.shard.path,))):
            publish_shard(staged)
    return staged.shard


def write_card(paths: StorePaths, card: Card) -> None:
    """Store the card of a space, and commit the space."""
    with committing(paths, Change(added=(paths.card(card.space),))):
        store_card(paths, card)


def write_item_rows(paths: StorePaths, rows: pa.Table) -> list[Path]:
    """Write rows of items as new tables, each of bounded size, and return their files."""
    return _write_parts(paths, paths.items, [rows])


def write_skipped_rows(paths: StorePaths, parts: Iterable[pa.Table]) -> None:
    """Write rows of skipped texts as new tables, each of bounded size."""
    _write_parts(paths, paths.skipped, parts)


def write_column_rows(paths: StorePaths, parts: Iterable[pa.Table]) -> list[Path]:
    """Write values of items' columns as new tables, each of bounded size, and return their files.

    Args:
        paths: Paths of the store.
        parts: Tables of one schema: ``item_id``, then columns of int64, float64, bool or string.
    """
    return _write_parts(paths, paths.columns, parts)


def write_dataset(paths: StorePaths, name: str, kind: str, unit: Unit, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write the rows of a dataset for a unit; see :func:`.tables.store_dataset` for the arguments."""
    with committing(paths, Change(added=(paths.dataset(name),))):
        tables.store_dataset(paths, name, kind, unit, columns)


def _write_parts(paths: StorePaths, folder: Path, parts: Iterable[pa.Table]) -> list[Path]:
    """Write rows as new part files of a folder, and return their paths; none if there are no rows."""
    found = []
    for rows in tables.bounded(part for part in parts if part.num_rows):
        with atomic.temporary(folder) as temp:
            found.append(tables.stage_part(temp, rows))
            with committing(paths, Change(added=(found[-1],))):
                atomic.publish(temp, found[-1])
    return found
