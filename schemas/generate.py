"""The schemas that are made from the table of metrics: ``python -m embstore_schemas.generate`` writes them anew."""

import json
from pathlib import Path
from typing import Any

from embstore.metrics import METRICS, Column, Metric

FOLDER = Path(__file__).parent

_TYPES: dict[str, dict[str, Any]] = {
    "number": {"type": ["number", "null"]},
    "integer": {"type": ["integer", "null"]},
    "array of numbers": {"type": ["array", "null"], "items": {"type": ["number", "null"]}},
    "array of integers": {"type": ["array", "null"], "items": {"type": "integer"}},
}
_SPACE: dict[str, Any] = {
    "space": {"type": "string"},
    "model": {"type": "string", "description": "Short name of the checkpoint."},
    "unit": {"enum": ["word", "sentence", "occurrence"]},
    "pooling": {"enum": ["last", "first", "mean", "bos", "eos", "projection"]},
    "template": {"type": "string"},
    "layer": {"type": "integer", "minimum": 0},
    "layer_name": {"type": "string", "description": "The number, or raw, normed or projection."},
    "n": {"type": "integer", "minimum": 0, "description": "Vectors that the values are computed from."},
}
_ROWS: dict[str, Any] = {
    "reason": {"type": ["string", "null"], "description": "Why a value is null."},
    "where": {"type": "string", "description": "Present if the items were filtered: the SQL."},
    "sample": {"type": "integer", "minimum": 1, "description": "Present if the items were drawn: how many."},
    "seed": {"type": "integer", "description": "Present with sample: the seed of the draw."},
}


def query_schema(metric: Metric) -> dict[str, Any]:
    """Return the JSON Schema of ``embstore query METRIC --format json``: one object per space and layer."""
    columns = {column.name: _column(column) for column in metric.columns}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"embstore:query-{metric.name}",
        "title": f"embstore query {metric.name} --format json",
        "description": f"{metric.help} {metric.formula}. {metric.citation}.",
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": [*_SPACE, *columns, "reason"],
            "properties": {**_SPACE, **columns, **_ROWS},
        },
    }


def _column(column: Column) -> dict[str, Any]:
    return {**_TYPES[column.type], "description": column.help}


def write() -> None:
    """Write the schema of every metric."""
    for metric in METRICS.values():
        path = FOLDER / f"query-{metric.name}.schema.json"
        path.write_text(json.dumps(query_schema(metric), indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    write()
