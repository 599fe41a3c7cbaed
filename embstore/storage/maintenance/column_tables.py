"""Check, unite and rewrite the tables of items' columns."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embstore.base import atomic, disk
from embstore.base.errors import DamagedError, StoreError
from embstore.base.progress import finish_part
from embstore.storage.files.item_columns import (
    COLUMN_FILES,
    ColumnTables,
    is_token_column,
    token_column,
)
from embstore.storage.files.items import PartChecks, is_column_table
from embstore.storage.files.paths import StorePaths
from embstore.storage.files.tables import column_schema, read_table, stage_part
from embstore.storage.files.unpacked import unpacked_problem
from embstore.storage.maintenance.file_checks import Problem
from embstore.storage.parquet.footer import read_columns
from embstore.storage.sql import connections, interruptible
from embstore.storage.sql.reader import Reader
from embstore.storage.transaction.commit import Change, committing
from embstore.storage.transaction.manifest import list_parts

Ids = NDArray[np.int64]
Kinds = Mapping[str, str]


def verify_columns(root: Path, files: Sequence[Path]) -> Iterator[Problem]:
    """Yield the problems of tables of columns: each by itself, and an item with two values of a column."""
    sound: list[Path] = []
    for path in files:
        if (problem := _problem(path)) or (problem := _contradiction(root, [*sound, path])):
            yield Problem(path, problem)
        else:
            sound.append(path)
        finish_part()


def _problem(path: Path) -> str | None:
    """Return the problem of a table by itself, or None."""
    try:
        if path.stem != f"part-{disk.sha256(path)[:16]}":
            return "its SHA-256 is not the one in its name, so it was altered or truncated"
        if problem := unpacked_problem(path):
            return problem
        if not is_column_table(read_columns(path)):
            return "its columns are not those of the format"
        ids = read_table(path, ["item_id"])["item_id"].to_numpy()
    except (DamagedError, ValueError, OSError, pa.ArrowException) as error:
        return f"it cannot be read: {str(error).splitlines()[0]}"
    return "it has an item twice" if len(np.unique(ids)) < len(ids) else None


def _contradiction(root: Path, files: Sequence[Path]) -> str | None:
    """Return how the last table contradicts the others, or None."""
    kinds: dict[str, str] = {}
    for path in files:
        for column in read_columns(path)[1:]:
            if kinds.setdefault(column.name, column.kind) != column.kind:
                return (
                    f"its column {column.name!r} is of type {column.kind}, and of type {kinds[column.name]} elsewhere"
                )
    shared = [column.name for column in read_columns(files[-1])[1:]]
    reader = Reader(root)
    if not reader.rows(f"SELECT item_id FROM {COLUMN_FILES} GROUP BY item_id HAVING count(*) > 1 LIMIT 1", files):
        return None
    for name in shared:
        if (item := _ambiguous_item(reader, files, name)) is not None:
            return f"item {item} has another value of the column {name!r} in another table"
    return None


def _ambiguous_item(reader: Reader, files: Sequence[Path], name: str) -> int | None:
    """Return an item with two values of a column, or None."""
    having = [file for file in files if any(column.name == name for column in read_columns(file))]
    if len(having) < 2:
        return None
    value = connections.quote_name(name)
    sql = (
        f"SELECT item_id FROM {COLUMN_FILES} GROUP BY item_id HAVING min({value}) <> max({value}) ORDER BY ALL LIMIT 1"
    )
    rows = reader.rows(sql, having)
    return int(rows[0][0]) if rows else None


def joined(root: Path, files: Sequence[Path]) -> pa.Table:
    """Return tables of columns as one, with a row per item, by ascending id."""
    kinds = ColumnTables(Reader(root), files, PartChecks()).types
    for number in range(2, len(files) + 1):
        if problem := _contradiction(root, files[:number]):
            raise DamagedError(f"{files[number - 1]} is damaged: {problem}. Run: embstore repair")
    return _grouped(Reader(root), files, kinds)


def _grouped(reader: Reader, files: Sequence[Path], kinds: Kinds) -> pa.Table:
    names = [connections.quote_name(name) for name in kinds]
    values = ", ".join(f"any_value({name}) AS {name}" for name in names)
    sql = f"SELECT item_id, {values} FROM {COLUMN_FILES} GROUP BY item_id ORDER BY item_id"
    return _table(reader, files, sql, kinds)


def _table(reader: Reader, files: Sequence[Path], sql: str, kinds: Kinds, **more: Sequence[Path]) -> pa.Table:
    """Return the result of a query over files as a table of columns."""
    values = {"files": connections.literal(files)} | {key: connections.literal(found) for key, found in more.items()}
    every = [*files, *(file for found in more.values() for file in found)]
    table = reader.run_over(
        every,
        lambda query: interruptible.run(reader.connection, lambda it: it.sql(query, params=values).to_arrow_table()),
        sql,
    )
    return table.cast(column_schema(kinds))


def new_columns(
    root: Path,
    stored: Sequence[Path],
    other: Path,
    files: Sequence[Path],
    spaces: Collection[str],
    requested: Ids | None = None,
) -> list[pa.Table]:
    """Return the values of columns in another store that this store does not have, as at most one table.

    Args:
        root: Folder of this store.
        stored: Tables of this store.
        other: Folder of the other store, for messages.
        files: Tables of the other store.
        spaces: Names of the spaces that are taken; numbers of tokens in others are not.
        requested: Ids of the items to take; None for all.
    """
    if not files:
        return []
    reader = Reader(root)
    counts = {*map(token_column, spaces)}
    types = ColumnTables(reader, files, PartChecks()).types
    kinds = {name: kind for name, kind in types.items() if name in counts or not is_token_column(name)}
    if not kinds:
        return []
    known = ColumnTables(reader, stored, PartChecks()).types if stored else {}
    remedy = "Nothing was taken. To give the values of one store up: embstore remove --column {name!r} --store FOLDER"
    for name, kind in kinds.items():
        if known.get(name, kind) != kind:
            raise StoreError(
                f"the column {name!r} is of type {known[name]} in {root}, and of type {kind} in {other}. "
                + remedy.format(name=name)
            )
    with ExitStack() as stack:
        if requested is not None:
            stack.enter_context(connections.with_ids(reader.connection, "requested", requested))
        shared = [name for name in kinds if name in known]
        for name in shared:
            if (found := _differing(reader, stored, files, name, requested is not None)) is not None:
                item, here, there = found
                raise StoreError(
                    f"item {item} has the value {here!r} of the column {name!r} in {root}, and {there!r} in {other}. "
                    + remedy.format(name=name)
                )
        table = _table(reader, files, _new_sql(kinds, shared, requested is not None), kinds, **_stored(stored, shared))
    return [table] if len(table) else []


def _stored(stored: Sequence[Path], shared: Sequence[str]) -> dict[str, Sequence[Path]]:
    return {"stored": stored} if shared else {}


_STORED_FILES = COLUMN_FILES.replace("$files", "$stored")


def _sources(names: Sequence[str], is_part: bool) -> str:
    """Return the SQL for the values of the other store, one row per item."""
    values = ", ".join(f"any_value({name}) AS {name}" for name in map(connections.quote_name, names))
    part = "SEMI JOIN requested USING (item_id)" if is_part else ""
    return f"(SELECT item_id, {values} FROM {COLUMN_FILES} {part} GROUP BY item_id)"


def _differing(
    reader: Reader, stored: Sequence[Path], files: Sequence[Path], name: str, is_part: bool
) -> tuple[int, object, object] | None:
    """Return an item with different values of a column in two stores, and the values; None if there is none."""
    value = connections.quote_name(name)
    sql = f"""SELECT item_id, stored.value, other.{value} FROM {_sources([name], is_part)} AS other
              JOIN (SELECT item_id, any_value({value}) AS value FROM {_STORED_FILES} GROUP BY item_id) AS stored
              USING (item_id) WHERE stored.value <> other.{value} ORDER BY item_id LIMIT 1"""
    values = {"files": connections.literal(files), "stored": connections.literal(stored)}
    rows = reader.run_over([*stored, *files], lambda query: interruptible.rows(reader.connection, query, values), sql)
    return rows[0] if rows else None


def _new_sql(kinds: Kinds, shared: Sequence[str], is_part: bool) -> str:
    """Return the SQL for the values that this store does not have."""
    quoted = {name: connections.quote_name(name) for name in kinds}
    new = ", ".join(
        f"CASE WHEN stored.{q} IS NULL THEN other.{q} END AS {q}" if name in shared else f"other.{q}"
        for name, q in quoted.items()
    )
    join = ""
    if shared:
        before = ", ".join(f"any_value({quoted[name]}) AS {quoted[name]}" for name in shared)
        join = f"LEFT JOIN (SELECT item_id, {before} FROM {_STORED_FILES} GROUP BY item_id) AS stored USING (item_id)"
    some = " OR ".join(f"{q} IS NOT NULL" for q in quoted.values())
    return f"""FROM (SELECT item_id, {new} FROM {_sources([*kinds], is_part)} AS other {join})
               SELECT item_id, {", ".join(quoted.values())} WHERE {some} ORDER BY item_id"""


def count_values(root: Path, files: Sequence[Path], name: str) -> int:
    """Return the number of items with a value of a column."""
    having = [file for file in files if any(column.name == name for column in read_columns(file))]
    sql = f"SELECT count(DISTINCT item_id) FROM {COLUMN_FILES} WHERE {connections.quote_name(name)} IS NOT NULL"
    return int(Reader(root).rows(sql, having)[0][0])


def remove_columns(paths: StorePaths, names: Collection[str]) -> None:
    """Remove columns, with their values of all items; requires the store's lock. Damaged tables stay as they are."""
    removed, staged = [], {}
    with ExitStack() as stack:
        for path in list_parts(paths, paths.columns).files:
            kinds = _kinds(path)
            kept = {name: kind for name, kind in kinds.items() if name not in names}
            if kept == kinds or not _is_sound(path):
                continue
            removed.append(path)
            if kept:
                table = read_table(path, ["item_id", *kept]).cast(column_schema(kept))
                temp = stack.enter_context(atomic.temporary(paths.columns))
                staged[stage_part(temp, table)] = temp
        with committing(paths, Change(tuple(staged), tuple(removed))):
            for target, temp in staged.items():
                if not disk.exists(target):
                    atomic.publish(temp, target)
        for path in removed:
            if path not in staged:
                disk.remove(path, missing_ok=True)


def _kinds(path: Path) -> dict[str, str]:
    """Return the type of each column of a table, by name; none if its footer is damaged."""
    try:
        return {column.name: column.kind for column in read_columns(path)[1:]}
    except ValueError:
        return {}


def _is_sound(path: Path) -> bool:
    try:
        PartChecks().check(path)
    except DamagedError:
        return False
    return True
