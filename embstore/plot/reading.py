"""Read a stored result, as ``embstore query METRIC --format json`` writes it."""

import json
import math
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


def read_result(path: str | Path, metric: str | None = None) -> Table:
    """Return the table of a file that ``embstore query METRIC --format json`` (or ``jsonl``), drift
    or cosine wrote.
    """
    path = Path(path)
    rows = read_rows(path)
    if metric is None and _is_cosine(rows[0]):
        for name in COSINE.panels:
            _check(path, rows, name, str, "text", nullable=False)
        _check(path, rows, "cosine", int | float, "of type number")
        return Table(tuple(rows[0]), tuple(rows), chart=COSINE)
    declared = _metric(path, rows[0], metric)
    for column in declared.columns:
        if column.type == "number" or column.type.startswith("array"):
            kind = list if column.type.startswith("array") else int | float
            _check(path, rows, column.name, kind, f"of type {column.type}")
    optional = (column for column in declared.optional if column.name in rows[0])
    chart = replace(declared, columns=(*declared.columns, *optional)).chart
    return Table(tuple(rows[0]), tuple(rows), chart=chart, types=declared.types)


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
    found = [
        declared for declared in all_metrics()[0].values() if not _missing_columns(declared, row)
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"{path} is not of a metric, drift or cosines: no metric has its columns. {_REMEDY}"
        )
    names = ", ".join(declared.name for declared in found)
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
    required = ("space", "layer", "layer_name", *(() if _is_cosine(rows[0]) else ("n",)), "reason")
    missing = [name for name in required if name not in rows[0]]
    if missing:
        columns = ", ".join(missing)
        raise UsageError(
            f"{path} is no result of embstore query: it has no column {columns}. {_REMEDY}"
        )
    for name, kind in (
        ("space", str),
        ("layer", int),
        ("layer_name", str),
        ("n", int),
        ("step", int),
    ):
        for column in (name, f"{name}_2"):
            if column in rows[0]:
                expected, is_step = "text" if kind is str else "a whole number", name == "step"
                _check(
                    path,
                    rows,
                    column,
                    kind,
                    expected,
                    nullable=is_step,
                    least=0 if is_step else -math.inf,
                )
    return rows


def _check(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    column: str,
    kind: Any,
    expected: str,
    *,
    nullable: bool = True,
    least: float = -math.inf,
) -> None:
    """Raise UsageError for the first value of a column that is of another type."""
    for number, row in enumerate(rows, start=1):
        value = row[column]
        if value is None and nullable:
            continue
        if (
            not isinstance(value, kind)
            or isinstance(value, bool)
            or (kind is int and value < least)
        ):
            raise UsageError(f"{path}: row {number}: {column} must be {expected}, not {value!r}.")


def _is_cosine(row: Mapping[str, Any]) -> bool:
    """Return whether a row is of ``embstore cosine``."""
    return {*COSINE.panels, *COSINE.values} <= row.keys() and "n" not in row


def _missing_columns(metric: Metric, row: Mapping[str, Any]) -> list[str]:
    """Return the columns of a metric's results that a row does not have."""
    own = [column.name for column in metric.columns]
    settings = [parameter.name for parameter in metric.row_parameters]
    second = ["space_2", "layer_2", "layer_name_2"] if metric.compares_layers else []
    return [name for name in (*second, *own, *settings) if name not in row]
