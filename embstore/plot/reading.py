"""Read a stored result, as ``embstore query METRIC --format json`` writes it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from embstore.base import disk
from embstore.base.chart import COSINE
from embstore.base.errors import UsageError
from embstore.base.table import Table
from embstore.metrics import Metric, all_metrics, get_metric

_REMEDY = "Write one: embstore query METRIC --format json -o result.json"
_NUMBER = int | float
_TYPE_NAMES: Mapping[Any, str] = {
    str: "text",
    int: "a whole number",
    _NUMBER: "a number",
    list: "an array",
}


def read_result(path: str | Path, metric: str | None = None) -> Table:
    """Return the table of a file that ``embstore query METRIC --format json`` (or ``jsonl``), drift
    or cosine wrote.
    """
    path = Path(path)
    rows = read_rows(path)
    columns = tuple(rows[0])
    if metric is None and _is_cosine(rows[0]):
        _check(path, rows, dict.fromkeys(COSINE.panels, str), nullable=False)
        _check(path, rows, {"cosine": _NUMBER})
        return Table(columns, tuple(rows), chart=COSINE)
    declared = _metric(path, rows[0], metric)
    kinds = {"number": _NUMBER, "array": list}
    types = {column.name: kinds.get(column.type.partition(" ")[0]) for column in declared.columns}
    _check(path, rows, {name: kind for name, kind in types.items() if kind})
    optional = (column for column in declared.optional if column.name in columns)
    chart = replace(declared, columns=(*declared.columns, *optional)).chart
    return Table(columns, tuple(rows), chart=chart, types=declared.types)


def _metric(path: Path, row: Mapping[str, Any], name: str | None) -> Metric:
    """Return the metric that a row is of: the one of that name, else the one that has its
    columns.
    """
    if name is not None:
        declared = get_metric(name)
        if missing := _missing_columns(declared, row):
            raise UsageError(
                f"{path} is no result of {name}: it has no column {', '.join(missing)}."
            )
        return declared
    matching = [
        declared for declared in all_metrics()[0].values() if not _missing_columns(declared, row)
    ]
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise UsageError(
            f"{path} is not of a metric, drift or cosines: no metric has its columns. {_REMEDY}"
        )
    names = ", ".join(declared.name for declared in matching)
    raise UsageError(
        f"{path}: the metric is not known: these metrics have its columns: {names}. Name it:"
        f" embstore plot METRIC --from {path}"
    )


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file that ``embstore query`` wrote as JSON or JSON Lines."""
    try:
        text = disk.read_foreign(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}."
            f" {_REMEDY}"
        ) from error
    try:
        rows = (
            json.loads(text)
            if text.lstrip().startswith("[")
            else [*map(json.loads, text.splitlines())]
        )
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}. {_REMEDY}") from error
    if not rows or not all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows):
        raise UsageError(
            f"{path} is no result of embstore query: it must be a list of rows with the same"
            f" columns. {_REMEDY}"
        )
    required: dict[str, Any] = {"space": str, "layer": int, "layer_name": str}
    optional = [] if _is_cosine(rows[0]) else ["n"]
    missing = [name for name in (*required, *optional, "reason") if name not in rows[0]]
    if missing:
        raise UsageError(
            f"{path} is no result of embstore query: it has no column {', '.join(missing)}."
            f" {_REMEDY}"
        )
    second = {f"{name}_2": kind for name, kind in required.items() if f"{name}_2" in rows[0]}
    _check(path, rows, required | second, nullable=False)
    _check(path, rows, {name: int for name in ("n", "step") if name in rows[0]})
    return rows


def _check(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    types: Mapping[str, Any],
    *,
    nullable: bool = True,
) -> None:
    """Raise UsageError for the first value of a column that is of another type."""
    for number, row in enumerate(rows, start=1):
        for column, kind in types.items():
            value = row[column]
            is_of_type = isinstance(value, kind) and not isinstance(value, bool)
            if not is_of_type and not (value is None and nullable):
                raise UsageError(
                    f"{path}: row {number}: {column} must be {_TYPE_NAMES[kind]}, not {value!r}."
                )


def _is_cosine(row: Mapping[str, Any]) -> bool:
    """Return whether a row is of ``embstore cosine``."""
    return {*COSINE.panels, *COSINE.values} <= row.keys() and "n" not in row


def _missing_columns(metric: Metric, row: Mapping[str, Any]) -> list[str]:
    """Return the columns of a metric's results that a row does not have."""
    columns = [column.name for column in metric.columns]
    settings = [parameter.name for parameter in metric.row_parameters]
    second = ["space_2", "layer_2", "layer_name_2"] if metric.compares_layers else []
    return [name for name in (*second, *columns, *settings) if name not in row]
