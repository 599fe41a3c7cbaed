"""Write the merged summary of a space: the sum of its shards' summaries, in one small file.

A store of a million items has hundreds of summaries, and reading them all takes longer than any query that they answer.
A writer that changes the shards of a space calls :func:`write_merged` afterwards; until then, queries read the summary
of each shard.
"""

import pyarrow as pa

from embstore.base import disk
from embstore.base.errors import DamagedError
from embstore.storage.files import names
from embstore.storage.files.card import Card
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.shards import SUMMARY_SCHEMA, summary_row
from embstore.storage.files.summaries import add_summaries, read_merged
from embstore.storage.files.tables import write_table
from embstore.storage.parquet import arrow_arrays
from embstore.storage.transaction.manifest import committed_shards, read_cards

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
    write_table(path, arrow_arrays.to_table(rows, MERGED_SCHEMA), plain=True)
