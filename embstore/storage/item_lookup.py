"""Look up items by SQL over a catalog: their columns, occurrences of words, and spellings that
differ in case only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Ids, Positions
from embstore.base.errors import DamagedError, check_known
from embstore.base.space import Unit
from embstore.base.text import TOKEN_INDEX, escaped
from embstore.storage.catalog import Catalog
from embstore.storage.item_columns import (
    BUILT_IN,
    ColumnValues,
    computed,
    is_space_column,
    space_columns,
)
from embstore.storage.sql import connections, interruptible
from embstore.storage.sql.interruptible import Columns, Connection
from embstore.storage.sql.reader import FILES, Reader

_HOW_TO_KEEP = "To store columns of a source: embstore build FILE --column text --keep NAME"


def column_types(catalog: Catalog, space: str) -> dict[str, str]:
    """Return the type of each column of a space's items, by name: stored ones, then built-in ones
    of its unit.

    Types are ``int64``, ``float64``, ``bool`` and ``string``.
    """
    unit = catalog.cards[space].unit
    stored = catalog.columns.types
    types = {name: kind for name, kind in stored.items() if not is_space_column(name)}
    of_space = space_columns(space).items()
    types |= {name: stored[column] for column, name in of_space if column in stored}
    return types | {name: column.kind for name, column in BUILT_IN.items() if unit in column.units}


def chosen_columns(catalog: Catalog, space: str, names: Sequence[str]) -> dict[str, str]:
    """Return the type of each of some columns, by name; ``all`` stands for every stored one."""
    if tuple(names) == ("all",):
        return {
            name: kind
            for name, kind in column_types(catalog, space).items()
            if name not in BUILT_IN
        }
    known = column_types(catalog, space)
    for name in names:
        check_known("column", name, known, _HOW_TO_KEEP)
    return {name: known[name] for name in names}


def column_values(
    catalog: Catalog, space: str, names: Iterable[str], ids: Ids
) -> dict[str, ColumnValues]:
    """Return the values of columns for some items (n,) of a space, in the order of their ids, by
    name.
    """
    requested = tuple(chosen_columns(catalog, space, tuple(names)))
    built_in = [name for name in requested if name in BUILT_IN]
    stored_names = {name: column for column, name in space_columns(space).items()}
    stored = {stored_names.get(name, name): name for name in requested if name not in BUILT_IN}
    columns = {
        stored[name]: replace(values, name=stored[name])
        for name, values in catalog.columns.values([*stored], ids).items()
    }
    if built_in:
        items = catalog.items(ids.tolist())
        ordered = [items[item] for item in ids.tolist()]
        columns |= {name: computed(name, ordered) for name in built_in}
    return {name: columns[name] for name in requested}


GroupBy = Literal["word", "folded word", "sentence"]

_KEYS: dict[GroupBy, str] = {"word": "text", "folded word": "lower(text)", "sentence": "context_id"}
# Only the names of the groups are sorted: sorting a name for every occurrence, above all sentences,
# would take far more memory.
_GROUPS = """CREATE OR REPLACE TEMP TABLE groups AS
             SELECT key, name, {place} - 1 AS place
             FROM (SELECT DISTINCT {key} AS key FROM {files} SEMI JOIN wanted USING (item_id))
                  {names} {condition}"""
_SENTENCES = f"""LEFT JOIN (SELECT item_id AS key, any_value(text) AS name FROM {FILES}
                            WHERE unit = 'sentence' GROUP BY item_id) USING (key)"""
_PLACES = """SELECT item_id, place
             FROM (SELECT item_id, {key} AS key FROM {files} SEMI JOIN wanted USING (item_id))
             JOIN groups USING (key)"""


_OF_WORDS = f"""SELECT item_id, list_position($words, text) - 1 AS place FROM {FILES}
               WHERE unit = $unit AND text IN (SELECT unnest($words))"""


def occurrences_of_words(
    catalog: Catalog, unit: Unit, words: Sequence[str]
) -> tuple[Ids, Positions]:
    """Find the occurrences of distinct words, or of tokens, in all spaces.

    Returns:
        Item ids (n,), ascending, and the position in ``words`` of the word of each, int64 (n,).
    """
    columns = catalog.reader.columns(
        _OF_WORDS,
        catalog.checked_item_tables(),
        unit=unit.value,
        words=[escaped(word) for word in words],
    )
    return _by_id(columns)


def _by_id(columns: Columns) -> tuple[Ids, Positions]:
    """Return the item ids of some rows, ascending, and the place of each.

    An item may be in several files: after builds that were interrupted, or stores that were copied
    together.
    """
    ids, first = np.unique(np.asarray(columns["item_id"], np.int64), return_index=True)
    return ids, np.asarray(columns["place"], np.int64)[first]


def group_occurrences(
    catalog: Catalog, space: str, by: GroupBy, words: Sequence[str] = ()
) -> tuple[Ids, NDArray[np.int64], tuple[str, ...]]:
    """Group the occurrences of a space by word or by sentence, or its tokens by string or text.

    Args:
        catalog: Catalog of the store.
        space: Name of the space.
        by: ``word`` (equal texts), ``folded word`` (equal texts in lower case) or ``sentence``
            (equal contexts).
        words: Words to keep, in this order; if empty, all groups, sorted by name.

    Returns:
        Item ids (n,), ascending; the group of each, int64 (n,); and the names of the groups, by
        group. A word of ``words`` without occurrences in the space has a name and an empty group.
    """
    catalog.check_texts(space)
    ids = catalog.ids(space)
    if not (files := catalog.item_files):
        return ids, np.empty(0, np.int64), tuple(words)
    # A DuckDB of its own: the memory for all texts is released with it.
    with (
        connections.connect(catalog.root) as connection,
        connections.with_ids(connection, "wanted", ids),
    ):
        reader = Reader(catalog.root, connection)
        if by == "folded word":
            words = _lowered(connection, words)
        names = tuple(dict.fromkeys(words))
        condition, values = (
            ("WHERE list_contains($words, name)", {"words": list(names)}) if names else ("", {})
        )
        place = (
            "list_position($words, name)"
            if names
            else "row_number() OVER (ORDER BY name NULLS LAST)"
        )
        of_names = _SENTENCES if by == "sentence" else "CROSS JOIN LATERAL (SELECT key AS name)"
        groups = _GROUPS.format(
            key=_KEYS[by], files=FILES, place=place, names=of_names, condition=condition
        )
        reader.run(interruptible.execute, groups, files, **values)
        columns = reader.columns(_PLACES.format(key=_KEYS[by], files=FILES), files)
        if not names:
            names = tuple(
                row[0]
                for row in interruptible.rows(connection, "SELECT name FROM groups ORDER BY place")
            )
    if None in names[-1:]:
        raise DamagedError(
            f"a sentence of {space} has no text in {catalog.name}/items: a table is lost. Build the"
            " same sources again: their texts are written anew."
        )
    return *_by_id(columns), names


_ORDER = f"""SELECT item_id, any_value(context_id) AS text, any_value("start") AS place
             FROM {FILES} SEMI JOIN wanted USING (item_id) GROUP BY item_id ORDER BY item_id"""


def token_order(catalog: Catalog, space: str) -> tuple[Ids, NDArray[np.int64], NDArray[np.int64]]:
    """Return the order of the items of a space in their texts.

    Returns:
        Item ids (n,), ascending; the id of the text that each is in, int64 (n,); and a number,
        int64 (n,), which ascends within a text from its first item to the last: of tokens their
        number in the text, of occurrences their first character.
    """
    catalog.check_texts(space)
    with (
        connections.connect(catalog.root) as connection,
        connections.with_ids(connection, "wanted", catalog.ids(space)),
    ):
        columns = Reader(catalog.root, connection).columns(_ORDER, catalog.item_files)
    ids, texts, places = (
        np.asarray(columns[name], np.int64) for name in ("item_id", "text", "place")
    )
    if catalog.cards[space].unit is Unit.TOKEN:
        places = column_values(catalog, space, [TOKEN_INDEX], ids)[TOKEN_INDEX].values
    return ids, texts, places


_LOWER = (
    "SELECT lower(word) FROM (SELECT unnest($words) AS word, generate_subscripts($words, 1) AS"
    " place) ORDER BY place"
)
_VARIANTS = f"""SELECT DISTINCT item_id, lower(text) AS lowered FROM {FILES}
               WHERE unit = 'word' AND lower(text) IN (SELECT unnest($words)) ORDER BY item_id"""


def _lowered(connection: Connection, words: Sequence[str]) -> list[str]:
    """Return words in lower case, as DuckDB's ``lower``."""
    return [row[0] for row in interruptible.rows(connection, _LOWER, {"words": [*words]})]


def spellings(catalog: Catalog, words: Sequence[str]) -> tuple[list[str], Ids, list[str]]:
    """Find the stored words that are equal to given words but for case.

    Returns:
        The words in lower case (as DuckDB's ``lower``); and the item ids (n,), ascending, of the
        stored words that are among them in lower case, with these (n).
    """
    reader, files = catalog.reader, catalog.checked_item_tables()
    lowered = _lowered(reader.connection, [escaped(word) for word in words])
    rows = reader.rows(_VARIANTS, files, words=sorted({*lowered}))
    return lowered, np.array([row[0] for row in rows], np.int64), [row[1] for row in rows]
