"""Find different items of two stores that have the same id, which one store could not distinguish."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embstore.base import atomic
from embstore.storage.files.paths import StorePaths
from embstore.storage.sql import connections, interruptible
from embstore.storage.sql.reader import Reader
from embstore.storage.staging.staging import SHOWN, collision

_MEMORY = "1GB"
_SOURCE = "SELECT * FROM read_parquet($theirs, hive_partitioning = false)"
_REQUESTED = f"""{_SOURCE} SEMI JOIN (SELECT item_id FROM requested UNION ALL
                 SELECT context_id AS item_id FROM ({_SOURCE}) SEMI JOIN requested USING (item_id)) USING (item_id)"""
_DIFFERING = """SELECT item_id, ours.text, theirs.text
FROM read_parquet($ours, hive_partitioning = false) AS ours JOIN ({source}) AS theirs USING (item_id)
WHERE ours.unit <> theirs.unit OR ours.text <> theirs.text OR ours.context_id IS DISTINCT FROM theirs.context_id
   OR ours.start IS DISTINCT FROM theirs.start OR ours."end" IS DISTINCT FROM theirs."end"
ORDER BY item_id LIMIT 1"""


def check_same_items(
    paths: StorePaths,
    stored_tables: Sequence[Path],
    source_paths: StorePaths,
    source_tables: Sequence[Path],
    requested: NDArray[np.int64] | None,
) -> None:
    """Raise SourceError, with both texts, if two stores have different items with the same id.

    Args:
        paths: Paths of the importing store.
        stored_tables: Sound tables of items of the importing store.
        source_paths: Paths of the other store.
        source_tables: Sound tables of items of the other store.
        requested: Ids of the items to import, with their sentences; None for all.
    """
    if not stored_tables or not source_tables:
        return
    spill = atomic.temporary_path(paths.root)
    connection = connections.connect_to_spill(spill, _MEMORY)
    try:
        if requested is not None:
            interruptible.run(connection, lambda it: it.register("requested", {"item_id": requested}))
        sql = _DIFFERING.format(source=_SOURCE if requested is None else _REQUESTED)
        files = {"ours": connections.literal(stored_tables), "theirs": connections.literal(source_tables)}
        tables = [*stored_tables, *source_tables]
        reader = Reader(paths.root, connection)
        found = reader.run_over(tables, lambda sql: interruptible.rows(connection, sql, files), sql)
    finally:
        connection.close()
        atomic.discard(spill)
    for _, text, other in found:
        raise collision(
            f"{text[:SHOWN]!r} (in {paths.root})", f"{other[:SHOWN]!r} (in {source_paths.root}, nothing was taken)"
        )
