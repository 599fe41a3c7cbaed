"""Check, unite and rewrite the tables of items' columns; salvage those of texts, which cannot be made again."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embstore.base import disk
from embstore.base.errors import DamagedError, StoreError
from embstore.base.space import Unit
from embstore.base.text import item_id
from embstore.storage.item_columns import COLUMN_FILES, ColumnTables, ColumnValues, is_token_column, token_column
from embstore.storage.items import PartChecks, has_its_id
from embstore.storage.files.paths import StorePaths
from embstore.storage.tables import ITEMS_SCHEMA, column_schema, read_part, read_table
from embstore.storage.check import Problem
from embstore.storage.parquet.footer import read_columns
from embstore.storage.sql import connections
from embstore.storage.sql.reader import Reader
from embstore.storage.transaction.commit import Change, commit, rewrite_tables
from embstore.storage.transaction.manifest import list_parts

Ids = NDArray[np.int64]


def contradictions(root: Path, files: Sequence[Path]) -> Iterator[Problem]:
    """Yield the tables that contradict others before them: another type of a column, or value of an item."""
    reader = Reader(root)
    kinds: dict[str, str] = {}
    tables_of: dict[str, list[Path]] = {}  # by column, the tables before that contradict none
    for path in files:
        columns = {column.name: column.kind for column in read_columns(path)[1:]}
        earlier = {name: tables_of[name] for name in columns if name in tables_of}
        if problem := _other_type(columns, kinds) or _other_value(reader, path, earlier):
            yield Problem(path, problem)
            continue
        kinds |= columns
        for name in columns:
            tables_of.setdefault(name, []).append(path)


def _other_type(columns: Mapping[str, str], kinds: Mapping[str, str]) -> str | None:
    """Return which column of a table has another type than elsewhere; None if none has."""
    for name, kind in columns.items():
        if kinds.get(name, kind) != kind:
            return f"its column {name!r} is of type {kind}, and of type {kinds[name]} elsewhere"
    return None


def _other_value(reader: Reader, path: Path, earlier: Mapping[str, Sequence[Path]]) -> str | None:
    """Return for which item a table has another value of a column than earlier tables, by column; None if for none."""
    if not earlier:
        return None
    values = [connections.quote_name(name) for name in earlier]
    differing = " ".join(f"WHEN min({value}) <> max({value}) THEN {at}" for at, value in enumerate(values))
    sql = f"""SELECT * FROM (SELECT item_id, CASE {differing} END FROM {COLUMN_FILES} GROUP BY item_id)
              AS found(item_id, place) WHERE place IS NOT NULL ORDER BY ALL LIMIT 1"""
    rows = reader.rows(sql, [*dict.fromkeys(chain(*earlier.values())), path])
    name = [*earlier][rows[0][1]] if rows else ""
    return f"item {rows[0][0]} has another value of the column {name!r} in another table" if rows else None


def joined(root: Path, files: Sequence[Path]) -> pa.Table:
    """Return tables of columns as one, with a row per item, by ascending id."""
    tables = ColumnTables(Reader(root), files, PartChecks())
    for problem in contradictions(root, files):
        raise DamagedError(f"{problem.file} is damaged: {problem.problem}. Run: embstore repair")
    ids = _ids_of(root, files)
    return _table(ids, tables.values([*tables.types], ids))


def new_columns(
    root: Path,
    stored: Sequence[Path],
    other: Path,
    files: Sequence[Path],
    spaces: Collection[str],
    requested: Ids | None = None,
) -> list[pa.Table]:
    """Return the values of columns in files of another store that this one does not have, as at most one table.

    Numbers of tokens are taken of the given spaces only, and values of the requested items, or of all.
    """
    theirs, ours = (ColumnTables(Reader(root), each, PartChecks()) for each in (files, stored))
    counts = {*map(token_column, spaces)}
    kinds = {name: kind for name, kind in theirs.types.items() if name in counts or not is_token_column(name)}
    if not kinds:
        return []
    known = ours.types
    for name in (name for name, kind in kinds.items() if known.get(name, kind) != kind):
        problem = f"the column {name!r} is of type {known[name]} in {root}, and of type {kinds[name]} in"
        raise _conflict(problem, other, name)
    ids = _ids_of(root, files)
    ids = ids if requested is None else np.intersect1d(ids, requested)
    new = theirs.values([*kinds], ids)
    for name, own in ours.values([name for name in kinds if name in known], ids).items():
        value, given = own.values, new[name].values
        differs = (value != given) & ((value == value) | (given == given))  # unless both are NaN
        if len(places := np.flatnonzero(differs & ~own.is_null & ~new[name].is_null)):
            shown = value[places[:1]].tolist()[0], given[places[:1]].tolist()[0]
            problem = f"item {ids[places[0]]} has the value {shown[0]!r} of the column {name!r} in {root}, and "
            raise _conflict(f"{problem}{shown[1]!r} in", other, name)
        new[name] = replace(new[name], is_null=new[name].is_null | ~own.is_null)
    has_value = ~np.all([column.is_null for column in new.values()], axis=0)
    return [_table(ids, new).filter(pa.array(has_value))] if has_value.any() else []


def _conflict(problem: str, other: Path, name: str) -> StoreError:
    return StoreError(
        f"{problem} {other}. Nothing was taken. To give the values of one store up: embstore remove --column {name!r} "
        "--store FOLDER"
    )


def _ids_of(root: Path, files: Sequence[Path]) -> Ids:
    """Return the ids of the items in tables of columns, ascending."""
    return np.unique(Reader(root).columns(f"SELECT item_id FROM {COLUMN_FILES}", files)["item_id"])


def _table(ids: Ids, columns: Mapping[str, ColumnValues]) -> pa.Table:
    """Return the values of columns for items (n,), by ascending id, as a table."""
    schema = column_schema({name: column.kind for name, column in columns.items()})
    arrays = [pa.array(column.values, schema.field(name).type, column.is_null) for name, column in columns.items()]
    return pa.table([pa.array(ids), *arrays], schema=schema)


def remove_columns(paths: StorePaths, names: Collection[str]) -> None:
    """Remove columns, with their values of all items; requires the store's lock. Damaged tables stay as they are."""

    def without_them() -> Iterator[tuple[Path, pa.Table | None]]:
        for path in list_parts(paths, paths.columns).files:
            try:
                kinds = {column.name: column.kind for column in read_columns(path)[1:]}
                kept = {name: kind for name, kind in kinds.items() if name not in names}
                if kept == kinds:
                    continue
                PartChecks().check(path)
            except (DamagedError, ValueError):
                continue
            yield path, read_table(path, ["item_id", *kept]).cast(column_schema(kept)) if kept else None

    rewrite_tables(paths, paths.columns, without_them())


def sound_rows(path: Path, tables: Sequence[Path]) -> pa.Table:
    """Return the intact rows of a damaged table of items: their ids are hashes of the other columns."""
    import pyarrow.compute as pc  # as slow as the rest of pyarrow, and not needed to verify

    try:
        table = read_table(path)
        if not table.schema.equals(ITEMS_SCHEMA):
            return ITEMS_SCHEMA.empty_table()
        rows = table.to_pylist()
    except (DamagedError, OSError, pa.ArrowException, UnicodeDecodeError):
        return ITEMS_SCHEMA.empty_table()
    sentences = {row["item_id"]: row["text"] for row in rows if row["unit"] == Unit.SENTENCE}
    context_ids = pa.array({row["context_id"] for row in rows if row["context_id"] is not None}, pa.int64())
    for other in tables:
        found = read_part(other, ["item_id", "text"])
        found = found.filter(pc.is_in(found["item_id"], context_ids))
        sentences |= dict(zip(found["item_id"].to_pylist(), found["text"].to_pylist(), strict=True))
    sentences = {item: text for item, text in sentences.items() if item_id(Unit.SENTENCE, text) == item}
    is_sound = []
    for row in rows:
        context = sentences.get(row["context_id"])
        values = (row["item_id"], row["unit"], row["text"], context, row["start"], row["end"])
        is_sound.append((context is None) == (row["context_id"] is None) and has_its_id(values))
    return table.filter(pa.array(is_sound, pa.bool_()))


def rewrite_table(paths: StorePaths, path: Path, ids: Ids, rows: pa.Table | None = None) -> None:
    """Replace a table of items by a row of each of some items (n,), of its own or given rows, after copying it out."""
    import pyarrow.compute as pc

    rows = read_part(path) if rows is None else rows
    _, first = np.unique(rows["item_id"].to_numpy(), return_index=True)
    rows = rows.take(first)
    rows = rows.filter(pc.is_in(rows["item_id"], pa.array(ids)))
    copy = paths.damaged_path(path)
    disk.make_folder(copy.parent)
    disk.copy(path, copy)
    rewrite_tables(paths, path.parent, [(path, rows)])


def move_out(paths: StorePaths, path: Path) -> Path:
    """Move a damaged file into :attr:`StorePaths.damaged`, commit that it is not of the store, return its new path."""
    target = paths.damaged_path(path)
    disk.make_folder(target.parent)
    disk.replace(path, target)  # before the commit, after which a file that no manifest names would be deleted
    commit(paths, Change(removed=(path,)))
    return target
