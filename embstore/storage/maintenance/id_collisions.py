"""Find two items of two stores that have one id: an id is a hash, and a store could not tell them apart."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embstore import atomic
from embstore.errors import SourceError
from embstore.storage.files.paths import StorePaths
from embstore.storage.sql import connections, interruptible
from embstore.storage.sql.reader import Reader
from embstore.storage.staging.staging import SHOWN, collision

_MEMORY = "1GB"
_TAKEN = """SELECT * FROM read_parquet($theirs, hive_partitioning = false)"""
_OF_WANTED = f"""{_TAKEN} SEMI JOIN (SELECT item_id FROM wanted UNION ALL
                 SELECT context_id AS item_id FROM ({_TAKEN}) SEMI JOIN wanted USING (item_id)) USING (item_id)"""
_DIFFERING = """SELECT item_id, ours.text, theirs.text
FROM read_parquet($ours, hive_partitioning = false) AS ours JOIN ({taken}) AS theirs USING (item_id)
WHERE ours.unit <> theirs.unit OR ours.text <> theirs.text OR ours.context_id IS DISTINCT FROM theirs.context_id
   OR ours.start IS DISTINCT FROM theirs.start OR ours."end" IS DISTINCT FROM theirs."end"
ORDER BY item_id LIMIT 1"""


def check_same_items(
    ours: StorePaths, held: Sequence[Path], theirs: StorePaths, taken: Sequence[Path], wanted: NDArray[np.int64] | None
) -> None:
    """Raise SourceError, with both texts, if two stores have different items with the same id.

    Args:
        ours: Paths of the importing store.
        held: Sound tables of items of the importing store.
        theirs: Paths of the other store.
        taken: Sound tables of items of the other store.
        wanted: Ids of the items to import, with their sentences; None for all.
    """
    if not held or not taken:
        return
    spill = atomic.temporary_path(ours.root)
    connection = connections.connect_to_spill(spill, _MEMORY)
    try:
        if wanted is not None:
            connection.register("wanted", {"item_id": wanted})
        sql = _DIFFERING.format(taken=_TAKEN if wanted is None else _OF_WANTED)
        files = {"ours": connections.literal(held), "theirs": connections.literal(taken)}
        reader = Reader(ours.root, [*held, *taken], connection)
        found = reader.run_over([*held, *taken], lambda q: interruptible.rows(connection, q, files), sql)
    finally:
        connection.close()
        atomic.discard(spill)
    for _, mine, other in found:
        raise _collision(mine, ours, other, theirs)


def _collision(mine: str, ours: StorePaths, other: str, theirs: StorePaths) -> SourceError:
    return collision(f"{mine[:SHOWN]!r} (in {ours.root})", f"{other[:SHOWN]!r} (in {theirs.root}, nothing was taken)")
