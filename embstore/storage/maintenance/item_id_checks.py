"""Recompute the item ids in a store: an id is a hash of the item's unit, text, context and span."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from embstore.base import disk
from embstore.base.space import Unit
from embstore.base.text import marked_items
from embstore.storage.files.items import Row, has_its_id
from embstore.storage.files.paths import StorePaths
from embstore.storage.maintenance.file_checks import Problem
from embstore.storage.sql import connections, interruptible

_ROWS = 8192
_FILES = "read_parquet($files, hive_partitioning = false)"
_FILE = "read_parquet($file, hive_partitioning = false)"
_SENTENCES = f"""CREATE TEMP TABLE sentences AS SELECT item_id, any_value(text) AS text FROM {_FILES}
                 WHERE unit = 'sentence' AND item_id IN (SELECT context_id FROM {_FILES}) GROUP BY item_id"""
_ITEMS = f"""SELECT item.item_id, item.unit, item.text, item.context_id, sentences.text, item.start, item."end"
             FROM {_FILE} AS item LEFT JOIN sentences ON sentences.item_id = item.context_id"""


def verify_ids(paths: StorePaths, items: Sequence[Path], datasets: Sequence[Path]) -> Iterator[Problem]:
    """Yield the tables in which an id is not the hash of its item.

    Args:
        paths: Paths of the store.
        items: Sound tables of items.
        datasets: Sound tables of datasets.
    """
    with connections.connect(paths.root) as connection:
        if items:
            interruptible.execute(connection, _SENTENCES, {"files": connections.literal(items)})
            for file in items:
                yield from _first_problem(file, map(_in_items, _rows(connection, _ITEMS, file)))
        for file in datasets:
            for suffix in _suffixes(connection, file):
                sql = f"SELECT unit, item_id{suffix}, text{suffix} FROM {_FILE}"
                yield from _first_problem(file, map(_in_dataset, _rows(connection, sql, file)))


def _first_problem(file: Path, problems: Iterator[str | None]) -> Iterator[Problem]:
    """Yield the first problem of a file, if any; None stands for a row without a problem."""
    if problem := next(filter(None, problems), None):
        yield Problem(file, problem)


def _in_items(row: tuple[Any, ...]) -> str | None:
    """Return the problem of a row of items joined with its sentence, or None."""
    item, unit, text, context_id, context, start, end = row
    if context_id is not None and context is None:
        return f"item {item} is in a sentence that has no text. To repair it, build the same sources again"
    return _id_problem((item, unit, text, context, start, end))


def _in_dataset(row: tuple[Any, ...]) -> str | None:
    """Return the problem of a row's unit, id and text, or None."""
    unit, item, text = row
    if unit == Unit.OCCURRENCE and text is not None and any(found.id == item for found in marked_items(text)):
        return None
    return "a row has no text" if text is None else _id_problem((item, unit, text, None, None, None))


def _id_problem(row: Row) -> str | None:
    item, unit, text = row[:3]
    return None if has_its_id(row) else f"item {item} is not the hash of its unit and text ({unit} {text[:40]!r})"


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, file: Path) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query over the file ``$file``, some thousands at a time."""
    with disk.opening(file):
        interruptible.execute(connection, sql, {"file": connections.literal([file])})
    while rows := interruptible.run(connection, lambda it: it.fetchmany(_ROWS)):
        yield from rows


def _suffixes(connection: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    """Return the suffixes of a dataset's columns item_id and text: "", and "_2" for pairs."""
    with disk.opening(file):
        names = {
            *interruptible.columns(connection, f"SELECT * FROM {_FILE} LIMIT 0", {"file": connections.literal([file])})
        }
    return [suffix for suffix in ("", "_2") if {f"item_id{suffix}", f"text{suffix}"} <= names]
