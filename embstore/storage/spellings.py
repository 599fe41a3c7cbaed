"""Find the stored words that differ from given words in case only."""

from collections.abc import Sequence

import numpy as np

from embstore.base.text import escaped
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.sql import interruptible

_LOWER = (
    "SELECT lower(word) FROM (SELECT unnest($words) AS word, generate_subscripts($words, 1) AS place) ORDER BY place"
)
_VARIANTS = """SELECT DISTINCT item_id, lower(text) AS lowered FROM items
               WHERE unit = 'word' AND lower(text) IN (SELECT unnest($words)) ORDER BY item_id"""


def spellings(catalog: Catalog, words: Sequence[str]) -> tuple[list[str], Ids, list[str]]:
    """Find the stored words that are equal to given words but for case.

    Returns:
        The words in lower case (as DuckDB's ``lower``); and the item ids (n,), ascending, of the stored words that are
        among them in lower case, with these (n).
    """
    catalog.checked_item_tables()
    connection = catalog.reader.connection
    lowered = [row[0] for row in interruptible.rows(connection, _LOWER, {"words": [escaped(word) for word in words]})]
    catalog.create_item_view(connection)
    rows = interruptible.rows(connection, _VARIANTS, {"words": sorted({*lowered})})
    interruptible.execute(connection, "DROP VIEW items")
    return lowered, np.array([row[0] for row in rows], np.int64), [row[1] for row in rows]
