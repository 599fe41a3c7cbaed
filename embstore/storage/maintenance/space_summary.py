"""Write the merged summary of a space: the sum of its shards' summaries, in one small file.

A store of a million items has hundreds of summaries, and reading them all takes longer than any query that they answer.
A writer that changes the shards of a space calls :func:`write_merged` afterwards; until then, queries read the
summaries of the other shards too.
"""

import pyarrow as pa

from embstore.errors import DamagedError
from embstore.storage.files.card import Card
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.shards import SUMMARY_SCHEMA, summary_row
from embstore.storage.files.summaries import add_summaries, read_merged
from embstore.storage.files.tables import write_table
from embstore.storage.parquet import arrow_arrays
from embstore.storage.sql.reader import Reader
from embstore.storage.transaction.manifest import committed_shards, read_cards

MERGED_SCHEMA = pa.schema(
    [
        pa.field("shards", pa.list_(pa.field("element", pa.string(), nullable=False)), nullable=False),
        *(SUMMARY_SCHEMA.field(name) for name in SUMMARY_SCHEMA.names[3:]),
    ]
)

_MOST_PLAIN_NAMES = 10_000
"""Number of names of shards, which each row repeats, up to which they are written without a dictionary."""


def write_all_merged(paths: StorePaths) -> None:
    """Write the merged summaries of all spaces that are not up to date; see :func:`write_merged`."""
    for card in read_cards(paths).values():
        write_merged(paths, card)


def write_merged(paths: StorePaths, card: Card) -> None:
    """Write the merged summary of a space, unless it is up to date or there is only one shard.

    Summaries are added in the order of the shards' names, whatever was merged before. If a summary is damaged, nothing
    is written; a query that needs the summary reports it.

    Raises:
        StoreError: The disk is full or cannot be written.
    """
    shards = committed_shards(paths, card.space)
    names = [shard.name for shard in shards]
    reader = Reader(paths.root, ())
    merged = read_merged(reader, paths, card)
    if len(shards) < 2 or (merged is not None and merged.shards == {*names}):
        return
    try:
        sums = add_summaries(reader, card, shards)
    except DamagedError:
        return
    rows = [{"shards": names, **summary_row(layer, summary)} for layer, summary in sums.items()]
    is_small = len(names) * len(rows) <= _MOST_PLAIN_NAMES
    write_table(paths.merged(card.space), arrow_arrays.to_table(rows, MERGED_SCHEMA), plain=is_small)
