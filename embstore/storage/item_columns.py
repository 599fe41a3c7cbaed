"""Columns of items: the names and types that are allowed, and their values, stored and built-in.

A table of columns has the item's id and any number of columns, which are null where the item has no
value. Several tables may have the same column for different items; an item has at most one value of
a column.
"""

from bisect import bisect_left
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embstore.base.arrays import Ids, Mask
from embstore.base.space import Unit
from embstore.base.text import IS_SPECIAL, N_POOLED, N_TOKENS, OF_SPACE, TOKEN_INDEX, Item, words_in
from embstore.storage.cache import StoredFile
from embstore.storage.sql import connections
from embstore.storage.sql.reader import Reader

DTYPES: Mapping[str, Any] = {
    "int64": np.int64,
    "float64": np.float64,
    "bool": np.bool_,
    "string": np.object_,
}
"""dtype of the values of each type of columns."""


@dataclass(frozen=True, slots=True, eq=False)
class ColumnValues:
    """The values of a column for some items.

    Attributes:
        name: Name of the column.
        kind: ``int64``, ``float64``, ``bool`` or ``string``.
        values: Values (n,) of dtype int64, float64, bool or object (str); undefined where
            ``is_null``.
        is_null: Mask (n,) of the items without a value.
    """

    name: str
    kind: str
    values: NDArray[Any]
    is_null: Mask

    @classmethod
    def of(cls, name: str, kind: str, values: Sequence[Any]) -> "ColumnValues":
        """Return the values of a column from a sequence in which None is null."""
        is_null = np.array([value is None for value in values], np.bool_)
        filler = "" if kind == "string" else 0
        filled = np.array([filler if value is None else value for value in values], DTYPES[kind])
        return cls(name, kind, filled, is_null)

    def with_missing(self) -> NDArray[Any]:
        """Return the values as an array (n,), with NaN among floats and None among others for
        missing ones.
        """
        if self.kind == "float64":
            return np.where(self.is_null, np.nan, self.values)
        if self.kind != "string" and not self.is_null.any():
            return self.values
        values: NDArray[Any] = self.values.astype(object)
        values[self.is_null] = None
        return values


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A column that is computed from the items when it is used, and stored nowhere."""

    kind: str
    units: tuple[Unit, ...]
    compute: Callable[[Item], float]
    meaning: str


def _position(item: Item) -> int:
    """Return the number of words that begin before an occurrence in its sentence."""
    assert item.context is not None
    assert item.span is not None
    return bisect_left(_word_starts(item.context), item.span.start)


@lru_cache(maxsize=256)  # the occurrences of a sentence follow each other
def _word_starts(sentence: str) -> tuple[int, ...]:
    return tuple(start for start, _ in words_in(sentence))


def _zipf_frequency(item: Item) -> float:
    from wordfreq import zipf_frequency  # loads word lists, for this column only

    return float(zipf_frequency(item.text, "en"))


BUILT_IN: Mapping[str, BuiltIn] = {
    "position": BuiltIn(
        "int64",
        (Unit.OCCURRENCE,),
        _position,
        "number of words before an occurrence in its sentence",
    ),
    "zipf_frequency": BuiltIn(
        "float64",
        (Unit.WORD, Unit.OCCURRENCE),
        _zipf_frequency,
        "log10 of a word's frequency per billion words of English by the package wordfreq; 0 for an"
        " unknown word",
    ),
}
"""Built-in columns, by name."""


def computed(name: str, items: Sequence[Item]) -> ColumnValues:
    """Return the values of a built-in column for some items; null for items of other units."""
    column = BUILT_IN[name]
    values = [column.compute(item) if item.unit in column.units else None for item in items]
    return ColumnValues.of(name, column.kind, values)


def built_in_table(items: Mapping[int, Item]) -> Any:
    """Return the built-in columns of items as an Arrow table, with their ids; a row per item, by
    ascending id.
    """
    import pyarrow as pa  # loaded for this alone

    ids = sorted(items)
    columns = [computed(name, [items[item] for item in ids]) for name in BUILT_IN]
    arrays = {column.name: pa.array(column.values, mask=column.is_null) for column in columns}
    return pa.table({"item_id": pa.array(ids, pa.int64()), **arrays})


def space_column(name: str, space: str) -> str:
    """Return the name of the stored column with the values of a column that depends on the
    space.
    """
    return f"{name}.{space}"


def space_columns(space: str) -> dict[str, str]:
    """Return the names of the stored columns that depend on a space: stored name → name."""
    return {space_column(name, space): name for name in OF_SPACE}


MEANINGS = {
    N_TOKENS: "number of tokens, without special tokens, template and prompt",
    TOKEN_INDEX: "position of a token in the input of the model, from 0",
    IS_SPECIAL: "whether a token is a special one of the model",
    N_POOLED: "number of vectors that the vector of an item was pooled from",
}
"""Meanings of the columns that depend on the space, as phrases."""


def is_space_column(name: str) -> bool:
    """Return whether a stored column has values that depend on the space."""
    return name.partition(".")[0] in OF_SPACE


def joined_items(sql: str, stored: Container[str], space: str | None) -> tuple[str, list[str]]:
    """Return the SQL of a source of items for an expression over their columns, and the views that
    it reads.

    The columns that depend on the space are those of the given one, as in ``n_tokens``.
    """
    source, views = "items", ["items"]
    stored_names = {} if space is None else space_columns(space)
    aliases = ", ".join(
        f"{connections.quote_name(column)} AS {name}"
        for column, name in stored_names.items()
        if column in stored and mentions(sql, [name])
    )
    if aliases:
        source = f"(SELECT *, {aliases} FROM items) AS items"
    if mentions(sql, BUILT_IN):
        source, views = f"{source} LEFT JOIN built_in USING (item_id)", [*views, "built_in"]
    return source, views


def mentions(sql: str, names: Iterable[str]) -> bool:
    """Return whether an expression may contain one of these names, quoted or not."""
    folded = _plain(sql)
    return any(_plain(name) in folded for name in names)


def _plain(name: str) -> str:
    return name.casefold().replace('""', '"')


class ColumnTables:
    """Tables of the columns of a store's items."""

    def __init__(self, reader: Reader, files: Sequence[StoredFile]) -> None:
        self.files = files
        self._reader = reader

    def check(self) -> None:
        """Raise DamagedError if a table was altered."""
        from embstore.storage import tables  # and pyarrow

        tables.check_all(self.files)

    @cached_property
    def names(self) -> frozenset[str]:
        """Names of the stored columns; no table is read."""
        return frozenset(name for file in self.files for name in file.entry["columns"])

    @cached_property
    def types(self) -> dict[str, str]:
        """Type of each stored column, by name, sorted; no table is read."""
        kinds: dict[str, tuple[str, StoredFile]] = {}
        for file in self.files:
            for name, kind in file.entry["columns"].items():
                known, other = kinds.setdefault(name, (kind, file))
                if kind != known:
                    raise file.damage(
                        f"its column {name!r} is of type {kind}, and of type {known} in {other.key}"
                    )
        return {name: kinds[name][0] for name in sorted(kinds)}

    def counts(self) -> dict[str, int]:
        """Return the number of items with a value of each stored column, by name."""
        names = [*self.types]
        if not names:
            return {}
        values = ", ".join(
            f"count(DISTINCT item_id) FILTER (WHERE {connections.quote_name(name)} IS NOT NULL)"
            for name in names
        )
        self.check()
        [row] = self._reader.rows(f"SELECT {values} FROM {COLUMN_FILES}", self.files)
        return dict(zip(names, row, strict=True))

    def values(self, names: Sequence[str], ids: Ids) -> dict[str, ColumnValues]:
        """Return the values of stored columns for some items (n,), in the order of their ids, by
        name.
        """
        if not names:
            return {}
        self.check()
        kinds = [self.types[name] for name in names]
        quoted = ", ".join(
            f"any_value({connections.quote_name(name)}) AS c{number}"
            for number, name in enumerate(names)
        )
        sql = f"""SELECT item_id, {quoted} FROM {COLUMN_FILES} SEMI JOIN wanted USING (item_id)
                  GROUP BY item_id"""
        with connections.with_ids(self._reader.connection, "wanted", np.unique(ids)):
            columns = self._reader.columns(sql, self.files)
        return {
            name: _aligned(name, kind, ids, columns["item_id"], columns[f"c{number}"])
            for number, (name, kind) in enumerate(zip(names, kinds, strict=True))
        }


COLUMN_FILES = "read_parquet($files, hive_partitioning = false, union_by_name = true)"
"""SQL for tables that may have different columns, with the files as a parameter."""


def _aligned(name: str, kind: str, ids: Ids, stored_ids: Ids, stored: NDArray[Any]) -> ColumnValues:
    """Return the values of a column for ids (n,), from the values found for some ids, both
    (n_found,).

    Values may be masked where they are null, as DuckDB returns them.
    """
    is_null = np.ones(len(ids), np.bool_)
    values = np.full(len(ids), "" if kind == "string" else 0, DTYPES[kind])
    if len(stored_ids):
        order = np.argsort(stored_ids)
        places = np.searchsorted(stored_ids, ids, sorter=order).clip(max=len(stored_ids) - 1)
        chosen = order[places]
        mask = np.broadcast_to(getattr(stored, "mask", False), stored.shape)
        is_null = (np.asarray(stored_ids)[chosen] != ids) | mask[chosen]
        values[~is_null] = np.asarray(getattr(stored, "data", stored))[chosen[~is_null]]
    return ColumnValues(name, kind, values, is_null)
