"""The occurrences of a space, grouped by word or by sentence."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from embstore.errors import DamagedError
from embstore.storage import duck
from embstore.storage.catalog import Catalog, Ids

GroupBy = Literal["word", "folded word", "sentence"]

_NAMES: dict[GroupBy, str] = {
    "word": "SELECT item_id, text AS name FROM items",
    "folded word": "SELECT item_id, lower(text) AS name FROM items",
    "sentence": """SELECT occurrence.item_id, sentence.text AS name
                   FROM items AS occurrence LEFT JOIN items AS sentence ON sentence.item_id = occurrence.context_id""",
}
# The same item may stand in several files: builds that were cut short, stores that were copied together.
_GROUPED = """CREATE OR REPLACE TEMP TABLE grouped AS
              SELECT item_id, any_value(name) AS name FROM ({names})
              SEMI JOIN wanted USING (item_id) {condition} GROUP BY item_id"""


def group_occurrences(
    catalog: Catalog, space: str, by: GroupBy, words: Sequence[str] = ()
) -> tuple[Ids, NDArray[np.int64], tuple[str, ...]]:
    """Return the occurrences of a space in groups.

    Args:
        catalog: the store.
        space: its name.
        by: ``word``: those of the same text; ``folded word``: of the same text but for case, which is then lower;
            ``sentence``: those in the same context.
        words: keep only these words, in this order; none keeps all, by name.

    Returns:
        Ids (n,), ascending; the group of each, int64 (n,); and the names of the groups, which these index. A word of
        ``words`` that the space lacks has a name and no occurrence.

    Raises:
        DamagedError: a table of texts was altered, or an occurrence or its sentence has no text.
    """
    catalog.check_texts(space)
    # Checks each table of items against the SHA-256 in its name, and leaves the view ``items`` behind.
    ids = np.intersect1d(catalog.select("unit = 'occurrence'"), catalog.ids(space), assume_unique=True)
    connection = catalog.reader.connection
    if words and by == "folded word":
        words = [connection.execute("SELECT lower(?)", [word]).fetchall()[0][0] for word in words]
    names = tuple(dict.fromkeys(words))
    condition, values = ("WHERE list_contains($words, name)", {"words": list(names)}) if names else ("", {})
    with duck.with_ids(connection, "wanted", ids):
        connection.execute(_GROUPED.format(names=_NAMES[by], condition=condition), values)
    place = "list_position($words, name)" if names else "dense_rank() OVER (ORDER BY name NULLS LAST)"
    found = connection.execute(f"SELECT item_id, {place} - 1 AS place FROM grouped ORDER BY item_id", values)
    columns = found.fetchnumpy()
    if not names:
        rows = connection.execute("SELECT DISTINCT name FROM grouped ORDER BY name NULLS LAST").fetchall()
        names = tuple(row[0] for row in rows)
    connection.execute("DROP TABLE grouped")
    if None in names[-1:]:
        raise DamagedError(
            f"a sentence of {space} has no text in {catalog.paths.items}: a table is lost. Build the same sources "
            "again: their texts are written anew."
        )
    return np.asarray(columns["item_id"], np.int64), np.asarray(columns["place"], np.int64), names
