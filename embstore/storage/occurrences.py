"""Group the occurrences of a space by word or by sentence."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from embstore.base.errors import DamagedError
from embstore.base.space import Unit
from embstore.base.text import escaped
from embstore.storage.catalog import Catalog, Ids
from embstore.storage.sql import connections, interruptible

GroupBy = Literal["word", "folded word", "sentence"]

_KEYS: dict[GroupBy, str] = {"word": "text", "folded word": "lower(text)", "sentence": "context_id"}
# Only the names of the groups are sorted: sorting a name for every occurrence, above all sentences, would take far more
# memory.
_GROUPS = """CREATE OR REPLACE TEMP TABLE groups AS
             SELECT key, name, {place} - 1 AS place
             FROM (SELECT DISTINCT {key} AS key FROM items SEMI JOIN wanted USING (item_id)) {names} {condition}"""
_SENTENCES = """LEFT JOIN (SELECT item_id AS key, any_value(text) AS name FROM items
                           WHERE unit = 'sentence' GROUP BY item_id) USING (key)"""
_PLACES = """SELECT item_id, place FROM (SELECT item_id, {key} AS key FROM items SEMI JOIN wanted USING (item_id))
             JOIN groups USING (key)"""


_OF_WORDS = """SELECT item_id, list_position($words, text) - 1 AS place FROM items
               WHERE unit = 'occurrence' AND text IN (SELECT unnest($words))"""


def occurrences_of_words(catalog: Catalog, words: Sequence[str]) -> tuple[Ids, NDArray[np.int64]]:
    """Find the occurrences of distinct words in all spaces.

    Returns:
        Item ids (n,), ascending, and the position in ``words`` of the word of each, int64 (n,).
    """
    catalog.checked_item_tables()
    connection = catalog.reader.connection
    catalog.create_item_view(connection)
    values = {"words": [escaped(word) for word in words]}
    columns = interruptible.columns(connection, _OF_WORDS, values)
    interruptible.execute(connection, "DROP VIEW items")
    found, first = np.unique(np.asarray(columns["item_id"], np.int64), return_index=True)
    return found, np.asarray(columns["place"], np.int64)[first]


def group_occurrences(
    catalog: Catalog, space: str, by: GroupBy, words: Sequence[str] = ()
) -> tuple[Ids, NDArray[np.int64], tuple[str, ...]]:
    """Group the occurrences of a space by word or by sentence.

    Args:
        catalog: Catalog of the store.
        space: Name of the space.
        by: ``word`` (equal texts), ``folded word`` (equal texts in lower case) or ``sentence`` (equal contexts).
        words: Words to keep, in this order; if empty, all groups, sorted by name.

    Returns:
        Item ids (n,), ascending; the group of each, int64 (n,); and the names of the groups, by group. A word of
        ``words`` without occurrences in the space has a name and an empty group.
    """
    catalog.check_texts(space)
    # Checks each table of items against the SHA-256 in its name.
    ids = np.intersect1d(catalog.ids_of_unit(Unit.OCCURRENCE), catalog.ids(space), assume_unique=True)
    connection = catalog.reader.connection
    catalog.create_item_view(connection)
    if words and by == "folded word":
        words = [interruptible.rows(connection, "SELECT lower(?)", [word])[0][0] for word in words]
    names = tuple(dict.fromkeys(words))
    condition, values = ("WHERE list_contains($words, name)", {"words": list(names)}) if names else ("", {})
    place = "list_position($words, name)" if names else "row_number() OVER (ORDER BY name NULLS LAST)"
    of_names = _SENTENCES if by == "sentence" else "CROSS JOIN LATERAL (SELECT key AS name)"
    with connections.with_ids(connection, "wanted", ids):
        groups = _GROUPS.format(key=_KEYS[by], place=place, names=of_names, condition=condition)
        interruptible.execute(connection, groups, values)
        columns = interruptible.columns(connection, _PLACES.format(key=_KEYS[by]))
    if not names:
        names = tuple(row[0] for row in interruptible.rows(connection, "SELECT name FROM groups ORDER BY place"))
    interruptible.execute(connection, "DROP TABLE groups; DROP VIEW items")
    if None in names[-1:]:
        raise DamagedError(
            f"a sentence of {space} has no text in {catalog.paths.items}: a table is lost. Build the same sources "
            "again: their texts are written anew."
        )
    # An item may be in several files: after builds that were interrupted, or stores that were copied together.
    found, first = np.unique(np.asarray(columns["item_id"], np.int64), return_index=True)
    return found, np.asarray(columns["place"], np.int64)[first], names
