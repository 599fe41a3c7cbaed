"""Unite and rewrite the tables of items' columns, of which several may have the same column."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from embstore.base.arrays import Ids
from embstore.base.errors import DamagedError, StoreError
from embstore.storage import keys, tables
from embstore.storage.cache import StoredFile, StoreFiles
from embstore.storage.item_columns import (
    COLUMN_FILES,
    ColumnTables,
    ColumnValues,
    is_space_column,
    space_columns,
)
from embstore.storage.manifest import Change, Entry, Manifest
from embstore.storage.sql.reader import Reader


def joined(files: Sequence[StoredFile]) -> pa.Table:
    """Return tables of columns of one store as one, with a row per item, by ascending id."""
    reader = Reader(files[0].files.root)
    stored = ColumnTables(reader, files)
    ids = _ids_of(reader, files)
    return _table(ids, stored.values([*stored.types], ids))


def new_columns(
    ours: ColumnTables,
    theirs: ColumnTables,
    names: tuple[str, str],
    spaces: Collection[str],
    requested: Ids | None,
) -> Iterator[pa.Table]:
    """Yield the values of columns of another store that this one does not have, as at most one
    table.

    Args:
        ours: Columns of this store.
        theirs: Columns of the other store.
        names: Folders or URLs of this store and the other one.
        spaces: Spaces whose own columns are taken, as the numbers of tokens.
        requested: Ids of the items of which values are taken, ascending; None for all.
    """
    here, there = names
    chosen = {column for space in spaces for column in space_columns(space)}
    kinds = {
        name: kind
        for name, kind in theirs.types.items()
        if name in chosen or not is_space_column(name)
    }
    if not kinds:
        return
    known = ours.types
    for name in (name for name, kind in kinds.items() if known.get(name, kind) != kind):
        problem = (
            f"the column {name!r} is of type {known[name]} in {here}, and of type {kinds[name]} in"
        )
        raise _conflict(problem, there, name)
    ids = _ids_of(Reader(theirs.files[0].files.root), theirs.files)
    ids = ids if requested is None else np.intersect1d(ids, requested)
    new = theirs.values([*kinds], ids)
    for name, stored in ours.values([name for name in kinds if name in known], ids).items():
        values, other_values = stored.values, new[name].values
        differs = (values != other_values) & (
            (values == values) | (other_values == other_values)
        )  # unless both are NaN
        if len(places := np.flatnonzero(differs & ~stored.is_null & ~new[name].is_null)):
            shown = values[places[:1]].tolist()[0], other_values[places[:1]].tolist()[0]
            problem = (
                f"item {ids[places[0]]} has the value {shown[0]!r} of the column {name!r} in"
                f" {here}, and "
            )
            raise _conflict(f"{problem}{shown[1]!r} in", there, name)
        new[name] = replace(new[name], is_null=new[name].is_null | ~stored.is_null)
    has_value = ~np.all([column.is_null for column in new.values()], axis=0)
    if has_value.any():
        yield _table(ids, new).filter(pa.array(has_value))


def _conflict(problem: str, other: str, name: str) -> StoreError:
    return StoreError(
        f"{problem} {other}. Nothing was taken. To give the values of one store up: embstore remove"
        f" --column {name!r} --store FOLDER"
    )


def _ids_of(reader: Reader, files: Sequence[StoredFile]) -> Ids:
    """Return the ids of the items in tables of columns, ascending."""
    return np.unique(reader.columns(f"SELECT item_id FROM {COLUMN_FILES}", files)["item_id"])


def _table(ids: Ids, columns: Mapping[str, ColumnValues]) -> pa.Table:
    """Return the values of columns for items (n,), by ascending id, as a table."""
    schema = tables.column_schema({name: column.kind for name, column in columns.items()})
    arrays = [
        pa.array(column.values, schema.field(name).type, column.is_null)
        for name, column in columns.items()
    ]
    return pa.table([pa.array(ids), *arrays], schema=schema)


def without_columns(files: StoreFiles, base: Manifest, names: Collection[str]) -> Change:
    """Write the tables of columns without some columns, and return the change; damaged tables stay
    as they are.
    """
    added: dict[str, Entry] = {}
    removed = []
    for file in files.files_of(base, base.keys_of(keys.COLUMNS)):
        kept = [name for name in file.entry["columns"] if name not in names]
        if len(kept) == len(file.entry["columns"]):
            continue
        if kept:
            try:
                table = tables.read(file, ["item_id", *kept])
            except DamagedError:
                continue
            added |= tables.write(files, keys.COLUMNS, table)
        removed.append(file.key)
    return Change(added, removed)
