"""Read a result that was written as JSON, so that it can be drawn."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embstore.base import disk
from embstore.base.chart import COSINE, DRIFT, with_groups
from embstore.base.errors import UsageError
from embstore.base.table import Table
from embstore.metrics import Metric, all_metrics, get_metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_REMEDY = "Write one: embstore query METRIC --format json -o result.json"


def read_result(path: "str | Path", metric: str | None = None) -> Table:
    """Return the table of a file that ``embstore query METRIC --format json`` (or ``jsonl``), drift or cosine wrote.

    Args:
        path: The file.
        metric: Name of the metric, or ``drift``; None to recognise it by the columns.

    Raises:
        UsageError: The file cannot be read, is no such result, or several metrics have its columns.
    """
    rows = _rows(Path(path))
    if metric in (None, DRIFT.title) and {*DRIFT.values, "mean_overlap", DRIFT.series} <= rows[0].keys():
        return Table(tuple(rows[0]), tuple(rows), chart=DRIFT)
    if metric is None and _is_cosine(rows[0]):
        _check_cosines(path, rows)
        return Table(tuple(rows[0]), tuple(rows), chart=COSINE)
    declared = _metric(Path(path), rows[0], metric)
    _check_numbers(path, declared, rows)
    chart = declared.chart
    if "group" in rows[0]:
        chart = with_groups(chart, is_ordered="bins" in rows[0])
    return Table(tuple(rows[0]), tuple(rows), chart=chart, types=declared.types)


def _metric(path: Path, row: "Mapping[str, Any]", name: str | None) -> Metric:
    """Return the metric that a row is of: the one of that name, else the one that has its columns."""
    if name == DRIFT.title:
        raise UsageError(f"{path} is no result of embstore drift.")
    if name is not None:
        declared = get_metric(name)
        if missing := _missing_columns(declared, row):
            raise UsageError(f"{path} is no result of {name}: it has no column {', '.join(missing)}.")
        return declared
    found = [declared for declared in all_metrics()[0].values() if not _missing_columns(declared, row)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"{path} is not of a metric, drift or cosines: no metric has its columns. {_REMEDY}")
    names = ", ".join(declared.name for declared in found)
    raise UsageError(
        f"{path}: the metric is not known: these metrics have its columns: {names}. Name it: embstore plot METRIC "
        f"--from {path}"
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        text = disk.read_foreign(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}.") from error
    try:
        rows = json.loads(text) if text.lstrip().startswith("[") else [*map(json.loads, text.splitlines())]
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}. {_REMEDY}") from error
    if not rows or not all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows):
        raise UsageError(
            f"{path} is no result of embstore query: it must be a list of rows with the same columns. {_REMEDY}"
        )
    required = ("space", "layer", "layer_name", *(() if _is_cosine(rows[0]) else ("n",)), "reason")
    missing = [name for name in required if name not in rows[0]]
    if missing:
        columns = ", ".join(missing)
        raise UsageError(f"{path} is no result of embstore query: it has no column {columns}. {_REMEDY}")
    for number, row in enumerate(rows, start=1):
        for name, kind in (("space", str), ("layer", int), ("layer_name", str), ("n", int)):
            for column in (name, f"{name}_2"):
                if column in row and (not isinstance(row[column], kind) or isinstance(row[column], bool)):
                    expected = "text" if kind is str else "a whole number"
                    raise UsageError(f"{path}: row {number}: {column} must be {expected}, not {row[column]!r}.")
        for column in ("step", "step_2"):
            if not (row.get(column) is None or (isinstance(row[column], int) and row[column] >= 0)):
                raise UsageError(f"{path}: row {number}: {column} must be a whole number, not {row[column]!r}.")
    return rows


def _is_cosine(row: "Mapping[str, Any]") -> bool:
    """Return whether a row is of ``embstore cosine``."""
    return {*COSINE.facets, *COSINE.values} <= row.keys() and "n" not in row


def _check_cosines(path: "str | Path", rows: "Sequence[dict[str, Any]]") -> None:
    """Refuse texts and cosines of another type."""
    for number, row in enumerate(rows, start=1):
        for name in COSINE.facets:
            if not isinstance(row[name], str):
                raise UsageError(f"{path}: row {number}: {name} must be text, not {row[name]!r}.")
        value = row["cosine"]
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
            raise UsageError(f"{path}: row {number}: cosine must be of type number, not {value!r}.")


def _missing_columns(metric: Metric, row: "Mapping[str, Any]") -> list[str]:
    """Return the columns of a metric's results that a row does not have."""
    own = [column.name for column in metric.columns]
    settings = [parameter.name for parameter in metric.row_parameters]
    second = ["space_2", "layer_2", "layer_name_2"] if metric.needs == "layers" else []
    return [name for name in (*second, *own, *settings) if name not in row]


def _check_numbers(path: "str | Path", metric: Metric, rows: "Sequence[dict[str, Any]]") -> None:
    """Refuse values that are of another type than the metric's columns."""
    for column in metric.columns:
        kind = list if column.type.startswith("array") else int | float if column.type == "number" else None
        for number, row in enumerate(rows, start=1):
            value = row[column.name]
            if kind is not None and value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
                raise UsageError(f"{path}: row {number}: {column.name} must be of type {column.type}, not {value!r}.")
